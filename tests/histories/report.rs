//! What a run comes to, and what is kept of one that failed.

use crate::Settings;
use crate::nemesis::Done;
use crate::workload::{Answer, Played};
use anyhow::{Context, Result};
use basalt_tests::history::Outcome;
use basalt_tests::processes::{NAMES, Processes};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

/// Findings that are printed whole; all are in the file.
const PRINTED_MAX: usize = 12;

/// See the module.
#[derive(Debug)]
pub struct Report {
    name: String,
    outcomes: [usize; 3],
    /// Of the clients' statements.
    errors: BTreeMap<u16, usize>,
    lost: usize,
    faults: Vec<String>,
    longest_gap: Duration,
    /// Everything that is wrong.
    pub findings: Vec<String>,
    kept: Option<PathBuf>,
}

impl Report {
    /// Of a run whose clients were there between two times since its beginning.
    pub fn of<D>(
        settings: &Settings,
        played: &Played<D>,
        done: &[Done],
        (start, end): (Duration, Duration),
        findings: Vec<String>,
    ) -> Report {
        let count = |outcome| played.attempts.iter().filter(|attempt| attempt.outcome() == outcome).count();
        let committed = played.attempts.iter().filter(|attempt| attempt.outcome() == Outcome::Committed);
        let ends = committed.filter_map(|attempt| attempt.said.last()).map(|last| Duration::from_nanos(last.end));
        let statements = played.attempts.iter().flat_map(|attempt| &attempt.said);
        let faults = done.iter().flat_map(|round| round.faults.iter().map(ToString::to_string));
        Report {
            name: format!("{}-{}-{}", settings.workload_name, settings.level_name, settings.seed),
            outcomes: [Outcome::Committed, Outcome::Aborted, Outcome::Unknown].map(count),
            errors: played.errors(),
            lost: statements.filter(|said| matches!(said.answer, Answer::Lost(_))).count(),
            faults: faults.collect(),
            longest_gap: longest_gap(ends.collect(), start, end),
            findings,
            kept: None,
        }
    }

    /// Writes the history and the findings into a folder, and the logs beside them.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn keep(&mut self, history: &str, processes: &Processes) -> Result<()> {
        let folder = std::env::temp_dir().join("basalt-histories").join(&self.name);
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text);
        std::fs::create_dir_all(&folder)
            .and_then(|()| write("history.txt", &format!("{}\n\n{history}", self.findings.join("\n\n"))))
            .and_then(|()| NAMES.iter().try_for_each(|name| write(&format!("{name}.log"), &processes.log(name))))
            .with_context(|| format!("cannot write {}", folder.display()))?;
        self.kept = Some(folder.join("history.txt"));
        Ok(())
    }

    /// A line, and the first findings.
    pub fn text(&self) -> String {
        let Report { name, outcomes: [committed, failed, unknown], lost, faults, longest_gap, findings, .. } = self;
        let errors: Vec<String> = self.errors.iter().map(|(code, count)| format!("{code}: {count}")).collect();
        let mut text = format!(
            "histories: {name}: {committed} committed, {failed} failed, {unknown} unknown; errors {{{}}}, {lost} answers lost; \
             {} faults ({}); longest gap {longest_gap:.1?}; {} findings\n",
            errors.join(", "),
            faults.len(),
            faults.join(", "),
            findings.len(),
        );
        for finding in findings.iter().take(PRINTED_MAX) {
            let _ = writeln!(text, "  {finding}");
        }
        if let Some(kept) = &self.kept {
            let _ = writeln!(text, "  history and logs: {}", kept.display());
        }
        text
    }
}

/// The longest time between two commits, or between one and the clients' beginning or end.
fn longest_gap(mut ends: Vec<Duration>, start: Duration, end: Duration) -> Duration {
    ends.retain(|at| *at > start && *at < end);
    ends.extend([start, end]);
    ends.sort_unstable();
    ends.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

/// Errors that neither the level nor the faults explain, a text for each code; `refused` are those of connections.
pub fn strange_errors<D>(played: &Played<D>, refused: &[(u16, String)], allows: impl Fn(u16) -> bool) -> Vec<String> {
    let mut strange: BTreeMap<u16, (usize, String)> = BTreeMap::new();
    let mut add = |code: u16, text: String| strange.entry(code).or_insert((0, text)).0 += 1;
    for (number, attempt) in played.attempts.iter().enumerate() {
        for said in &attempt.said {
            if let Answer::Error(code, text) = &said.answer
                && !allows(*code)
            {
                add(*code, format!("T{number} in {:?}: {text}", said.part));
            }
        }
    }
    refused
        .iter()
        .filter(|(code, _)| !allows(*code))
        .for_each(|(code, text)| add(*code, format!("at connect: {text}")));
    strange.into_iter().map(|(code, (count, text))| format!("error {code}, {count} times: {text}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{Attempt, Part, Said, Transaction};
    use basalt_tests::history::Level;

    #[test]
    fn gaps_reach_to_both_ends() {
        let at = Duration::from_secs;
        assert_eq!(longest_gap(vec![at(3), at(12), at(5)], at(1), at(10)), at(5));
        assert_eq!(longest_gap(vec![], at(1), at(10)), at(9));
    }

    #[test]
    fn strange_errors_are_told_once_for_each_code() {
        let said = |code| Said { part: Part::Commit, start: 0, end: 1, answer: Answer::Error(code, "x".into()) };
        let transaction = Transaction { autocommit: false, commits: true, steps: vec![] };
        let attempt = Attempt::<()> { client: 0, transaction, said: [1213, 1105, 1105].map(said).to_vec() };
        let played = Played { level: Level::RepeatableRead, attempts: vec![attempt], last: vec![] };
        let found = strange_errors(&played, &[(1045, "no".into())], |code| code == 1213);
        assert_eq!(found, ["error 1045, 1 times: at connect: no", "error 1105, 2 times: T0 in Commit: x"]);
    }
}
