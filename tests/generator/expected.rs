//! Differences that are expected: faults of MariaDB, differences between MySQL 8 and MariaDB, and what Basalt
//! does not do yet. `tests/generator/expected.toml` has an entry each, with a reason.

use crate::pair::{Outcome, What};
use crate::peer::Dialect;
use regex::Regex;
use serde::Deserialize;
use std::path::Path;

/// See the module.
pub struct Expected(Vec<Entry>);

struct Entry {
    of: String,
    what: Option<String>,
    script: Regex,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    /// mariadb, mysql or basalt: who differs from the MySQL that is wanted, or which peer.
    of: String,
    /// As [`name`] says; any when left out.
    what: Option<String>,
    /// Matches the shrunk script.
    script: String,
    reason: String,
}

#[derive(Deserialize)]
struct File {
    difference: Vec<Written>,
}

impl Expected {
    /// Reads the list.
    pub fn read() -> Expected {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("generator/expected.toml");
        let text = std::fs::read_to_string(&path).expect("the list is there");
        let file: File = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let entry = |written: Written| {
            let script = Regex::new(&format!("(?is){}", written.script)).expect("a pattern is a regex");
            Entry { of: written.of, what: written.what, script, reason: written.reason }
        };
        Expected(file.difference.into_iter().map(entry).collect())
    }

    /// A reason's place in the list, from 1.
    pub fn number(&self, reason: &str) -> usize {
        self.0.iter().position(|entry| entry.reason == reason).map_or(0, |at| at + 1)
    }

    /// The reason for which this one is expected.
    pub fn reason(&self, what: &What, script: &str, dialect: Dialect) -> Option<&str> {
        let peer = if dialect == Dialect::MariaDb { "mariadb" } else { "mysql" };
        let fits = |entry: &&Entry| {
            (entry.of == "basalt" || entry.of == peer)
                && entry.what.as_ref().is_none_or(|wanted| *wanted == name(what))
                && entry.script.is_match(script)
        };
        self.0.iter().find(fits).map(|entry| entry.reason.as_str())
    }
}

/// What differs, as the list names it.
pub fn name(what: &What) -> String {
    match what {
        What::Rows => "rows".into(),
        What::Digits => "digits".into(),
        What::Shape => "shape".into(),
        What::Affected => "affected".into(),
        What::Contents => "contents".into(),
        What::Error(code) => format!("basalt {code}"),
        What::NoError(code) => format!("peer {code}"),
        What::Lost => "lost".into(),
    }
}

/// What differs, without names and values: differences of one shape are reported once. An error's shape is its message.
pub fn shape(what: &What, sql: &str, outcomes: &[Outcome; 2]) -> String {
    let text = match (what, outcomes) {
        (What::Error(_), [Outcome::Error(_, message), _]) => message.lines().next().unwrap_or_default(),
        (What::NoError(_), [_, Outcome::Error(_, message)]) => message,
        _ => sql,
    };
    let names =
        r"'(?:[^']|'')*'|\b(?:[a-z]+\d+(?:\.\w+)?|\d+(?:\.\d+)?(?:e-?\d+)?|x'[0-9A-F]*')\b|Column#\d+|__\w+|`[^`]*`";
    let names = Regex::new(names).expect("a constant regex");
    format!("{}: {}", name(what), names.replace_all(text, "#"))
}
