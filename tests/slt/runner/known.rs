//! The list of differences that are known and not mended yet.
//!
//! ```text
//! joins/null_safe.slt<TAB>text,binary<TAB>SELECT l.id FROM l JOIN r ON …
//! ```
//! A record is named by its statement, so that the list survives records that are put in before it. The same statement twice
//! in one file is one line: known as long as one of them differs.

use basalt_tests::ways::Way;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

/// Longest statement that names a record whole.
const STATEMENT_CHARS_MAX: usize = 160;

/// See the module.
#[derive(Debug, Default)]
pub struct Known {
    /// By file and statement: the ways that show it.
    lines: BTreeMap<(String, String), BTreeSet<String>>,
    /// Differences that were seen in this run.
    seen: BTreeMap<(String, String), BTreeSet<String>>,
    /// Files and ways that ran.
    ran: BTreeSet<(String, String)>,
}

/// A statement as the list names it.
pub fn one_line(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(STATEMENT_CHARS_MAX).collect()
}

impl Known {
    /// Reads the list.
    pub fn read(path: &Path) -> Known {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let mut known = Known::default();
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let parts: Vec<&str> = line.splitn(3, '\t').collect();
            let [file, ways, record] = parts.as_slice() else { panic!("{}: {line}", path.display()) };
            let ways = ways.split(',').map(str::to_string).collect();
            known.lines.insert((file.to_string(), record.to_string()), ways);
        }
        known
    }

    /// Notes that a file was run in a way.
    pub fn ran(&mut self, file: &str, way: Way) {
        self.ran.insert((file.to_string(), way.name().to_string()));
    }

    /// Notes a difference; true when it is in the list.
    pub fn has(&mut self, file: &str, record: &str, way: Way) -> bool {
        let key = (file.to_string(), record.to_string());
        let is_known = self.lines.get(&key).is_some_and(|ways| ways.contains(way.name()));
        self.seen.entry(key).or_default().insert(way.name().to_string());
        is_known
    }

    /// Lines of the list whose difference was not seen though the file was run in that way.
    pub fn outgrown(&self) -> String {
        let mut out = String::new();
        for (key, ways) in &self.lines {
            let seen = self.seen.get(key);
            let is_gone = |way: &&String| {
                self.ran.contains(&(key.0.clone(), way.to_string())) && !seen.is_some_and(|seen| seen.contains(*way))
            };
            for way in ways.iter().filter(is_gone) {
                let _ = writeln!(out, "[{way}] {}: mended, take it off known.txt: {}", key.0, key.1);
            }
        }
        out
    }

    /// Writes what was seen as the new list.
    pub fn write(&self, path: &Path) {
        let mut out = String::from(
            "# Records whose answer is not MySQL's yet: file, ways, statement. It only shrinks (runner/known.rs).\n",
        );
        for ((file, record), ways) in &self.seen {
            let ways = ways.iter().map(String::as_str).collect::<Vec<_>>().join(",");
            let _ = writeln!(out, "{file}\t{ways}\t{record}");
        }
        std::fs::write(path, out).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}
