//! The list of differences that are known and not mended yet.
//!
//! ```text
//! joins/null_safe.slt<TAB>text,binary<TAB>SELECT l.id FROM l JOIN r ON …
//! locks/rows.ses<TAB>whole,apart<TAB>a timeout in autocommit
//! ```
//! A record is named by its statement or its title, so that the list survives records that are put in before it. The same
//! statement twice in one file is one line: known as long as one of them differs. A way is how a record was run: a form of
//! its statements, or where its rows lie.

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
    pub fn ran(&mut self, file: &str, way: &str) {
        self.ran.insert((file.to_string(), way.to_string()));
    }

    /// Whether a difference is in the list.
    pub fn lists(&self, file: &str, record: &str, way: &str) -> bool {
        self.lines.get(&(file.to_string(), record.to_string())).is_some_and(|ways| ways.contains(way))
    }

    /// Notes a difference; true when it is in the list.
    pub fn has(&mut self, file: &str, record: &str, way: &str) -> bool {
        let is_known = self.lists(file, record, way);
        let key = (file.to_string(), record.to_string());
        self.seen.entry(key).or_default().insert(way.to_string());
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

    /// Writes what was seen as the new list; lines of files and ways that did not run stay.
    pub fn write(&self, path: &Path, title: &str) {
        let mut lines = self.seen.clone();
        for ((file, record), ways) in &self.lines {
            let stays = |way: &&String| !self.ran.contains(&(file.clone(), way.to_string()));
            let ways: Vec<String> = ways.iter().filter(stays).cloned().collect();
            if !ways.is_empty() {
                lines.entry((file.clone(), record.clone())).or_default().extend(ways);
            }
        }
        let mut out = format!("# {title} (tests/harness/known.rs).\n");
        for ((file, record), ways) in &lines {
            let ways = ways.iter().map(String::as_str).collect::<Vec<_>>().join(",");
            let _ = writeln!(out, "{file}\t{ways}\t{record}");
        }
        std::fs::write(path, out).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}
