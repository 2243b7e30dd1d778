//! Session scripts: clients beside each other, in a written order.
//!
//! ```text
//! tests/sessions/**/*.ses ── scripts ──▶ in each place, eight at once, each in a database of its own ──▶ every step must
//!                                        answer at once, wait, or return as it is written
//! ```
//! The language is in `tests/sessions/README.md`; the answers are those of a MySQL 9.7. Scripts whose answers differ here and
//! are not mended yet stand in `tests/sessions/known.txt`, a line each with the places that show it. The list only shrinks:
//! the test fails for a difference that is not in it, and for a line that the server has outgrown. A script ends with its
//! first difference, for what follows has another state.
//!
//! A machine can be too busy for a step to be in time. A script whose outcome is a surprise (it differs and is not listed, or
//! the other way round) is played again alone, and only a second surprise counts.
//!
//! | environment | effect |
//! |---|---|
//! | `SESSIONS_PLACES=whole,stores` | only these places (`place.rs`), `all` for every one. Without it `whole`, and `schema/` in `servers` |
//! | `SESSIONS_FILES=locks/` | only files whose path holds this |
//! | `SESSIONS_TITLE=autocommit` | only scripts whose title holds this; `known.txt` is not held against the others |
//! | `SESSIONS_KNOWN=write` | writes `known.txt` anew, where it is about the places and files that ran |
//! | `SESSIONS_KNOWN=ignore` | prints the known differences too |
//! | `MYSQL_URL=mysql://root@127.0.0.1:3499` | the same scripts on that MySQL |
//! | `SESSIONS_WRITE=1` | with `MYSQL_URL`: writes what that MySQL answers into the files |

mod place;
mod play;
mod script;
mod stage;

use anyhow::{Context, Result};
use basalt_tests::known::Known;
use basalt_tests::{alone, files_below, runtime, say, timed};
use futures::StreamExt;
use place::{Kind, Place};
use script::{File, Script};
use stage::Stage;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Scripts that are played at once.
const AT_ONCE: usize = 8;

#[test]
fn every_script_in_every_place() {
    let _alone = alone();
    let mut files = files();
    let mut report = Report::default();
    if let Ok(url) = std::env::var("MYSQL_URL") {
        let place = Place::mysql(&url);
        if std::env::var_os("SESSIONS_WRITE").is_some() {
            report.text = runtime().block_on(record_all(&place, &mut files));
        } else {
            run(&place, "mysql", &files.iter().collect::<Vec<_>>(), &mut Known::default(), &mut report);
        }
    } else {
        let list = root().join("known.txt");
        let asked = std::env::var("SESSIONS_KNOWN").unwrap_or_default();
        let mut known = Known::read(&list);
        report.tells_known = asked == "ignore";
        for (kind, below) in wanted_places() {
            let files: Vec<_> = files.iter().filter(|file| file.name.starts_with(below)).collect();
            run(&Place::start(kind), kind.name(), &files, &mut known, &mut report);
        }
        if asked == "write" {
            let title = "Scripts whose answers are not MySQL's yet: file, places, title. It only shrinks";
            return known.write(&list, title);
        }
        report.text.push_str(&known.outgrown());
    }
    assert!(report.text.is_empty(), "answers differ from the scripts:\n{}", report.text);
}

/// What the test fails with.
#[derive(Debug, Default)]
struct Report {
    text: String,
    /// Differences that are known are told as well.
    tells_known: bool,
}

/// A file of scripts, and its name below `tests/sessions`.
struct Named {
    name: String,
    path: PathBuf,
    file: File,
}

/// Plays all scripts in one place and adds what differs and is not known to the report.
fn run(place: &Place, way: &str, files: &[&Named], known: &mut Known, report: &mut Report) {
    let is_wanted = wanted_title();
    let wanted = files.iter().flat_map(|file| file.file.scripts.iter().map(move |script| (*file, script)));
    let wanted: Vec<_> = wanted.filter(|(_, script)| is_wanted(&script.title)).collect();
    let ((differences, again), took) = timed(|| runtime().block_on(play_all(place, way, &wanted, known)));
    let (mut differing, mut unknown) = (0, 0);
    for ((file, script), difference) in wanted.iter().zip(differences) {
        let Some(difference) = difference else { continue };
        differing += 1;
        let is_known = known.has(&file.name, &script.title, way);
        unknown += usize::from(!is_known);
        if !is_known || report.tells_known {
            let _ = writeln!(report.text, "[{way}] {}: {}\n   {difference}", file.name, script.title);
        }
    }
    if wanted.len() == files.iter().map(|file| file.file.scripts.len()).sum::<usize>() {
        files.iter().for_each(|file| known.ran(&file.name, way));
    }
    say(&format!(
        "sessions: {way}: {} scripts in {took:.1?}, {differing} differ, {unknown} of them not known, \
         {again} played twice\n",
        wanted.len()
    ));
}

/// What differs, by script; and how many were played again, for their outcome was a surprise.
async fn play_all(
    place: &Place,
    way: &str,
    scripts: &[(&Named, &Script)],
    known: &Known,
) -> (Vec<Option<String>>, usize) {
    let mut found = some_at_once(scripts.iter().map(|(file, script)| play(place, file, script))).await;
    let mut again = 0;
    for ((file, script), found) in scripts.iter().zip(&mut found) {
        if found.is_some() != known.lists(&file.name, &script.title, way) {
            again += 1;
            let second = play(place, file, script).await;
            if second.is_some() != found.is_some() {
                say(&format!(
                    "sessions: {way}: {}: {}: once so, once otherwise: {}\n",
                    file.name,
                    script.title,
                    second.as_ref().or(found.as_ref()).map_or("", String::as_str)
                ));
                *found = second;
            }
        }
    }
    (found, again)
}

/// The results of all, in order; a few run at a time.
async fn some_at_once<F: Future>(work: impl Iterator<Item = F>) -> Vec<F::Output> {
    let numbered = work.enumerate().map(|(at, work)| async move { (at, work.await) });
    let mut done: Vec<_> = futures::stream::iter(numbered).buffer_unordered(AT_ONCE).collect().await;
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Plays a script; says what differs.
async fn play(place: &Place, file: &Named, script: &Script) -> Option<String> {
    let played = async {
        let mut stage = Stage::open(place, database(), [&file.file.preamble, &script.preamble]).await?;
        let difference = play::compare(&mut stage, script, place.is_basalt()).await;
        stage.close().await;
        difference
    };
    played.await.unwrap_or_else(|error: anyhow::Error| Some(format!("cannot be played: {error:#}")))
}

/// Writes the answers of a place into the files; says which scripts could not be played.
async fn record_all(place: &Place, files: &mut [Named]) -> String {
    let mut report = String::new();
    let is_wanted = wanted_title();
    for named in files {
        let scripts = named.file.scripts.iter().filter(|script| is_wanted(&script.title));
        let records = scripts.map(|script| async {
            let mut stage = Stage::open(place, database(), [&named.file.preamble, &script.preamble]).await?;
            let steps = play::record(&mut stage, script).await;
            stage.close().await;
            steps
        });
        let records: Vec<Result<_>> = some_at_once(records).await;
        let scripts = named.file.scripts.iter_mut().filter(|script| is_wanted(&script.title));
        for (script, steps) in scripts.zip(records) {
            match steps {
                Ok(steps) => script.steps = steps,
                Err(error) => {
                    let _ = writeln!(report, "{}: {}: {error:#}", named.name, script.title);
                }
            }
        }
        std::fs::write(&named.path, named.file.text()).unwrap_or_else(|error| panic!("{}: {error}", named.name));
    }
    report
}

/// A name that no other script has.
fn database() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    format!("sessions_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Places, and below which folder the files are whose scripts are played there.
fn wanted_places() -> Vec<(Kind, &'static str)> {
    let Ok(names) = std::env::var("SESSIONS_PLACES") else { return Kind::DEFAULT.to_vec() };
    let is_wanted = |kind: &Kind| names.split(',').any(|name| name == kind.name() || name == "all");
    let wanted: Vec<_> = Kind::ALL.into_iter().filter(is_wanted).map(|kind| (kind, "")).collect();
    assert!(!wanted.is_empty(), "SESSIONS_PLACES names none of {:?}", Kind::ALL.map(Kind::name));
    wanted
}

fn wanted_title() -> impl Fn(&str) -> bool {
    let part = std::env::var("SESSIONS_TITLE").unwrap_or_default();
    move |title| title.contains(&part)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sessions")
}

fn files() -> Vec<Named> {
    let part = std::env::var("SESSIONS_FILES").unwrap_or_default();
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let file = File::parse(&text).with_context(|| name.clone()).unwrap_or_else(|error| panic!("{error:#}"));
        Named { name, path, file }
    };
    let files: Vec<_> = files_below(&root(), "ses").into_iter().map(read).collect();
    let files: Vec<_> = files.into_iter().filter(|file| file.name.contains(&part)).collect();
    assert!(!files.is_empty(), "no .ses file matches SESSIONS_FILES");
    files
}
