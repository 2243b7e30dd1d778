//! SQL logic tests: every file of `tests/slt` in every way that Basalt can execute its statements.
//!
//! ```text
//! tests/slt/**/*.slt ── records ──▶ for each way: a database `slt`, sessions set up for the way ──▶ answers
//!                                                                        must be those of the record
//! ```
//! A record holds one answer; a way that gives another is a difference. Ways are in `harness/ways.rs`, the format of records in
//! `tests/slt/README.md`. Differences that are known and not mended yet stand in `tests/slt/known.txt`, a line each with the
//! ways that show it. The list only shrinks: the test fails for a difference that is not in it, and for a line that the
//! server has outgrown.
//!
//! | environment | effect |
//! |---|---|
//! | `SLT_WAYS=text,named` | only these ways; `all`: every way over every file. Without it `text` over every file, each other way over every fourth |
//! | `SLT_KNOWN=write` | writes `known.txt` anew, from the ways that ran |
//! | `SLT_KNOWN=ignore` | prints the known differences too |
//! | `SLT_FILES=joins/` | only files whose path holds this |
//! | `MYSQL_URL=mysql://root@127.0.0.1:3406` | the same files on that MariaDB, as written |
//! | `SLT_PRINT=200` | differences printed, of a way |

mod database;

use basalt_tests::known::{self, Known};
use basalt_tests::ways::Way;
use basalt_tests::{Up, alone, files_below, runtime, say, timed};
use database::{Database, Target};
use sqllogictest::{Record, Runner};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A file that takes longer is told.
const SLOW: Duration = Duration::from_secs(5);
/// A file that takes longer waits for something that does not come.
const TOO_SLOW: Duration = Duration::from_secs(120);
/// Differences printed of one way when nothing else is asked.
const PRINT: usize = 40;

#[test]
fn every_file_in_every_way() {
    let _alone = alone();
    let files = files();
    assert!(!files.is_empty(), "no .slt file matches SLT_FILES");
    let print = std::env::var("SLT_PRINT").ok().and_then(|n| n.parse().ok()).unwrap_or(PRINT);
    let mut report = String::new();
    if let Ok(url) = std::env::var("MYSQL_URL") {
        let target = Target::mariadb(&url);
        run(&target, Way::Text, &files, print, &mut Known::default(), &mut report);
    } else {
        let list = root().join("known.txt");
        let asked = std::env::var("SLT_KNOWN").unwrap_or_default();
        let writes = asked == "write";
        let mut known = if asked.is_empty() { Known::read(&list) } else { Known::default() };
        let up = Up::start(&[]);
        for (way, every) in wanted_ways() {
            let chosen: Vec<_> =
                files.iter().enumerate().filter(|(at, _)| every.takes(*at)).map(|(_, f)| f.clone()).collect();
            run(&Target::basalt(up.port), way, &chosen, print, &mut known, &mut report);
        }
        if writes {
            return known
                .write(&list, "Records whose answer is not MySQL's yet: file, ways, statement. It only shrinks");
        }
        report.push_str(&known.outgrown());
    }
    assert!(report.is_empty(), "answers differ from the records:\n{report}");
}

/// Which of the files a way runs over.
#[derive(Debug, Clone, Copy)]
struct Every {
    nth: usize,
    from: usize,
}

impl Every {
    const ONE: Every = Every { nth: 1, from: 0 };

    fn takes(self, at: usize) -> bool {
        at % self.nth == self.from
    }
}

/// Runs files in one way and adds what differs and is not known to the report.
fn run(target: &Target, way: Way, files: &[PathBuf], print: usize, known: &mut Known, report: &mut String) {
    let (mut records, mut differences, mut unknown) = (0, 0, 0);
    for file in files {
        let ((count, found), took) = timed(|| runtime().block_on(run_in_time(target, way, file)));
        if took > SLOW {
            say(&format!("slt: {way}: {} took {took:.1?}\n", file.display()));
        }
        records += count;
        let name = file.strip_prefix(root()).unwrap_or(file).display().to_string();
        known.ran(&name, way.name());
        for difference in found {
            differences += 1;
            if known.has(&name, &difference.record, way.name()) {
                continue;
            }
            unknown += 1;
            if unknown <= print {
                let _ = writeln!(report, "[{way}] {}", difference.text);
            }
        }
    }
    say(&format!("slt: {way}: {records} records, {differences} differences, {unknown} of them not known\n"));
    if unknown > print {
        let _ = writeln!(report, "[{way}] and {} more", unknown - print);
    }
}

/// A record whose answer was another one.
struct Difference {
    /// The statement in one line, as `known.txt` names it.
    record: String,
    text: String,
}

/// As [`run_file`], but a file without end is a difference.
async fn run_in_time(target: &Target, way: Way, file: &Path) -> (usize, Vec<Difference>) {
    match tokio::time::timeout(TOO_SLOW, run_file(target, way, file)).await {
        Ok(found) => found,
        Err(_) => whole(format!("{}: no end after {TOO_SLOW:?}", file.display())),
    }
}

/// A difference of all of a file.
fn whole(text: String) -> (usize, Vec<Difference>) {
    (0, vec![Difference { record: "the file".into(), text }])
}

/// The records of one file in one way: how many, and what differs.
async fn run_file(target: &Target, way: Way, file: &Path) -> (usize, Vec<Difference>) {
    let name = file.strip_prefix(root()).unwrap_or(file).display().to_string();
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{name}: {error}"));
    if !way.suits(&text) {
        return (0, Vec::new());
    }
    if let Err(error) = target.empty_database().await {
        return whole(format!("{name}: no database: {error}"));
    }
    let records = match sqllogictest::parse_with_name(&typed(&text), name.as_str()) {
        Ok(records) => records,
        Err(error) => return whole(error.to_string()),
    };
    let mut runner = Runner::new(|| Database::connect(target.clone(), way));
    runner.add_label(way.name());
    runner.with_validator(|_, actual, expected| actual.iter().map(|row| row.join("\t")).eq(expected.iter().cloned()));
    let (mut count, mut differences) = (0, Vec::new());
    for record in records {
        let sql = match &record {
            Record::Statement { sql, .. } | Record::Query { sql, .. } => Some(sql.clone()),
            _ => None,
        };
        count += usize::from(sql.is_some());
        if let Err(error) = runner.run_async(record).await {
            let record = known::one_line(sql.as_deref().unwrap_or_default());
            differences.push(Difference { record, text: format!("{name}: {error}") });
        }
    }
    runner.shutdown_async().await;
    (count, differences)
}

/// The crate wants a type for every column of a query, and how rows are sorted behind it; records here name no types.
fn typed(text: &str) -> String {
    let line = |line: &str| match line.trim_end() {
        "query" => "query T nosort".to_string(),
        "query rowsort" => "query T rowsort".to_string(),
        other => other.to_string(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n") + "\n"
}

fn wanted_ways() -> Vec<(Way, Every)> {
    const SAMPLE: usize = 4;
    let Ok(names) = std::env::var("SLT_WAYS") else {
        let every = |at: usize| if at == 0 { Every::ONE } else { Every { nth: SAMPLE, from: at % SAMPLE } };
        return Way::ALL.into_iter().enumerate().map(|(at, way)| (way, every(at))).collect();
    };
    let is_wanted = |way: &Way| names.split(',').any(|name| name == way.name() || name == "all");
    let wanted: Vec<_> = Way::ALL.into_iter().filter(is_wanted).map(|way| (way, Every::ONE)).collect();
    assert!(!wanted.is_empty(), "SLT_WAYS names none of {:?}", Way::ALL.map(Way::name));
    wanted
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("slt")
}

fn files() -> Vec<PathBuf> {
    let mut out = files_below(&root(), "slt");
    if let Ok(part) = std::env::var("SLT_FILES") {
        out.retain(|path| path.display().to_string().contains(&part));
    }
    out
}
