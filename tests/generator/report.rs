//! What a run found, as text: scripts for the `mysql` client with both answers, and a line of progress.

use crate::expected::{Expected, name, shape};
use crate::maker::Scenario;
use crate::pair::{Outcome, What};
use crate::peer::Dialect;
use crate::shrink::Case;
use basalt_tests::statement::Answer;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

/// Rows of an answer that are printed.
const ROWS_MAX: usize = 12;
/// Expected differences of one reason that are kept, for those who ask whether the reason holds.
const EXAMPLES: usize = 10;
/// Differences that are printed whole.
const PRINT: usize = 40;

/// See the module.
pub struct Report {
    /// Why differences are expected.
    pub expected: Arc<Expected>,
    /// By shape: how often, and the first one.
    shapes: BTreeMap<String, (usize, String)>,
    /// Shapes of expected errors, with the reason.
    expected_errors: BTreeMap<String, String>,
    /// Reasons of expected ones: how often.
    reasons: BTreeMap<String, usize>,
    /// What Basalt refuses: how often.
    refused: BTreeMap<String, usize>,
    /// Differences that did not show a second time.
    pub lost: Vec<String>,
    folder: Option<std::path::PathBuf>,
}

impl Report {
    /// Nothing found yet.
    pub fn new() -> Report {
        let folder = std::env::var_os("GENERATOR_FOUND").map(Into::into);
        Report {
            expected: Arc::new(Expected::read()),
            shapes: BTreeMap::new(),
            expected_errors: BTreeMap::new(),
            reasons: BTreeMap::new(),
            refused: BTreeMap::new(),
            lost: Vec::new(),
            folder,
        }
    }

    /// Adds a difference that has been shrunk.
    pub fn add(&mut self, scenario: &Scenario, case: &Case, what: &What, outcomes: &[Outcome; 2], dialect: Dialect) {
        let sql = case.step.tree.sql();
        let text = script(scenario, case, what, outcomes, dialect);
        if let Some(reason) = self.expected.reason(what, &text, dialect) {
            let (reason, number) = (reason.to_string(), self.expected.number(reason));
            let count = self.explain(&reason, what, &sql, outcomes);
            if count <= EXAMPLES {
                self.keep(&format!("expected-{number:02}-seed{:05}-{count:03}", scenario.seed), &text);
            }
            return;
        }
        let next = self.shapes.len();
        let shape = shape(what, &sql, outcomes);
        if !self.shapes.contains_key(&shape) {
            self.keep(&format!("{}-seed{:05}-{next:03}", name(what).replace(' ', "-"), scenario.seed), &text);
        }
        self.shapes.entry(shape).or_insert((0, text)).0 += 1;
    }

    /// Notes a difference in which a MySQL sides with Basalt.
    pub fn judged(&mut self, what: &What, case: &Case, outcomes: &[Outcome; 2]) {
        self.explain("the judge answers as Basalt does", what, &case.step.tree.sql(), outcomes);
    }

    /// Counts a difference that has a reason; returns how many have it now.
    fn explain(&mut self, reason: &str, what: &What, sql: &str, outcomes: &[Outcome; 2]) -> usize {
        if matches!(what, What::Error(_) | What::NoError(_)) {
            self.expected_errors.insert(shape(what, sql, outcomes), reason.to_string());
        }
        let count = self.reasons.entry(reason.to_string()).or_default();
        *count += 1;
        *count
    }

    /// A file of its own, where there is a folder for them.
    fn keep(&self, name: &str, text: &str) {
        if let Some(folder) = &self.folder {
            // A folder that cannot be written does not make an answer wrong.
            let _ = std::fs::write(folder.join(format!("{name}.sql")), text);
        }
    }

    /// Whether an error like this one has been followed already; then it is counted.
    pub fn has_error(&mut self, what: &What, outcomes: &[Outcome; 2]) -> bool {
        if !matches!(what, What::Error(_) | What::NoError(_)) {
            return false;
        }
        let shape = shape(what, "", outcomes);
        if let Some(reason) = self.expected_errors.get(&shape) {
            *self.reasons.entry(reason.clone()).or_default() += 1;
            return true;
        }
        let found = self.shapes.get_mut(&shape);
        let has = found.is_some();
        if let Some((count, _)) = found {
            *count += 1;
        }
        has
    }

    /// Notes what Basalt refused.
    pub fn refuse(&mut self, message: &str) {
        *self.refused.entry(message.to_string()).or_default() += 1;
    }

    /// Differences that are not expected, by shape.
    pub fn found(&self) -> usize {
        self.shapes.len()
    }

    /// What was expected and what was refused, a line each.
    pub fn remarks(&self) -> String {
        let mut out = String::new();
        for (reason, count) in &self.reasons {
            let _ = writeln!(out, "generator: expected {count} times: {reason}");
        }
        for (message, count) in &self.refused {
            let _ = writeln!(out, "generator: refused {count} times: {message}");
        }
        for lost in &self.lost {
            let _ = writeln!(out, "generator: not seen again: {lost}");
        }
        out
    }

    /// Everything that is not expected; empty when the test passes.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for (count, text) in self.shapes.values().take(PRINT) {
            let _ = writeln!(out, "-- {count} of this shape\n{text}");
        }
        if self.shapes.len() > PRINT {
            let _ = writeln!(out, "-- and {} more shapes", self.shapes.len() - PRINT);
        }
        out
    }
}

/// What can be pasted into `mysql`, and what came back.
pub fn script(scenario: &Scenario, case: &Case, what: &What, outcomes: &[Outcome; 2], dialect: Dialect) -> String {
    let mut out = format!("-- seed {}, {}, {:?}, way {}\n", scenario.seed, name(what), case.step.send, scenario.way);
    let _ = writeln!(out, "SET NAMES utf8mb4 COLLATE {};", scenario.collation.name(Dialect::MySql));
    for table in &case.tables {
        let _ = writeln!(out, "{};", table.create(Dialect::MySql));
        for row in table.fill() {
            let _ = writeln!(out, "{row};");
        }
    }
    for step in case.before.iter().chain([&case.step]) {
        let _ = writeln!(out, "{};", step.tree.sql());
    }
    let peer = if dialect == Dialect::MariaDb { "MariaDB" } else { "MySQL" };
    for (who, outcome) in ["Basalt", peer].iter().zip(outcomes) {
        let _ = writeln!(out, "-- {who}: {}", told(outcome));
    }
    out
}

fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Error(code, message) => format!("ERROR {code}: {message}"),
        Outcome::Lost(why) => format!("no answer: {why}"),
        Outcome::Answer(Answer::Done(affected)) => format!("{affected} rows affected"),
        Outcome::Answer(Answer::Rows { rows, .. }) => {
            let mut out = format!("{} rows", rows.len());
            for row in rows.iter().take(ROWS_MAX) {
                let _ = write!(out, "\n--   {}", row.join(" | "));
            }
            out
        }
    }
}
