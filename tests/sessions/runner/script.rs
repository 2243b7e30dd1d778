//! The language of session scripts (`tests/sessions/README.md`): read from a file, and written back with other answers.
//!
//! ```text
//! CREATE TABLE t (id INT PRIMARY KEY, v INT)      ◀ preamble of the file: part of every script's set-up
//! == a title
//! each> SET innodb_lock_wait_timeout = 1          ◀ preamble of the script
//! A> UPDATE t SET v = 1 WHERE id = 1              ◀ step: session A says this
//!    waits                                        ◀ its answer; without one `ok`
//! A returns                                       ◀ step: the statement that A waits for has ended
//!    ERROR 1205
//!    Basalt, a reason:                            ◀ what follows is Basalt's answer, by design
//!    affected 1
//! ```

use anyhow::{Context, Result, bail, ensure};
use std::fmt::Write;

/// Names for the sessions of a circle, going round from the victim against the direction of waiting.
pub const ROLES: [&str; 5] = ["loser", "winner", "third", "fourth", "fifth"];

/// A file.
#[derive(Debug)]
pub struct File {
    /// Set-up of all its scripts.
    pub preamble: Preamble,
    pub scripts: Vec<Script>,
}

/// Lines in front of scripts, or of a script's steps, as they stand: comments, set-up, what each session begins with.
#[derive(Debug, Default)]
pub struct Preamble(Vec<String>);

/// A script.
#[derive(Debug)]
pub struct Script {
    pub title: String,
    pub preamble: Preamble,
    pub steps: Vec<Step>,
}

/// A line of a script, with what it is expected to do.
#[derive(Debug, Clone)]
pub struct Step {
    /// In the file, from 1.
    pub line: usize,
    pub comments: Vec<String>,
    /// A session, or its role in a circle.
    pub session: String,
    pub deed: Deed,
    /// MySQL's answer.
    pub answer: Answer,
    pub by_design: Option<ByDesign>,
}

/// What a session does.
#[derive(Debug, Clone)]
pub enum Deed {
    Says(String),
    Returns,
}

/// What comes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Nothing yet.
    Waits,
    /// One of these, each of whom waits for the next, gets 1213.
    Deadlock(Vec<String>),
    /// `ok`, `affected 1`, `(1, 10) (2, 20)`, `no rows`, `ERROR 1205`, `lost`.
    Is(String),
}

/// Basalt's answer where it is meant to be another one.
#[derive(Debug, Clone)]
pub struct ByDesign {
    reason: String,
    pub answer: Answer,
}

impl File {
    /// Reads a file.
    ///
    /// # Errors
    /// It is not in the language, or two scripts have one title.
    pub fn parse(text: &str) -> Result<File> {
        let mut parts = vec![(1, None, Vec::new())];
        for (at, line) in text.lines().enumerate() {
            if let Some(title) = line.strip_prefix("== ") {
                parts.push((at + 2, Some(title.to_string()), Vec::new()));
            } else if let Some((_, _, lines)) = parts.last_mut() {
                lines.push(line);
            }
        }
        let mut file = File { preamble: Preamble::default(), scripts: Vec::new() };
        for (first, title, lines) in parts {
            let Some(title) = title else {
                file.preamble = Preamble::of(&lines);
                continue;
            };
            let script = Script::parse(&title, first, &lines).with_context(|| title.clone())?;
            ensure!(file.scripts.iter().all(|other| other.title != title), "{title}: there are two of this title");
            file.scripts.push(script);
        }
        Ok(file)
    }

    /// The file as text.
    pub fn text(&self) -> String {
        let mut out = self.preamble.0.join("\n") + "\n";
        for script in &self.scripts {
            let _ = writeln!(out, "\n== {}", script.title);
            for line in &script.preamble.0 {
                let _ = writeln!(out, "{line}");
            }
            script.steps.iter().for_each(|step| step.print(&mut out));
        }
        out
    }
}

impl Preamble {
    fn of(lines: &[&str]) -> Preamble {
        let filled = lines.iter().rposition(|line| !line.trim().is_empty()).map_or(0, |at| at + 1);
        Preamble(lines[..filled].iter().map(|line| line.to_string()).collect())
    }

    fn statements(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str).filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
    }

    /// What is done once, before the steps.
    pub fn setup(&self) -> impl Iterator<Item = &str> {
        self.statements().filter(|line| !line.starts_with(EACH))
    }

    /// What every session begins with.
    pub fn each(&self) -> impl Iterator<Item = &str> {
        self.statements().filter_map(|line| line.strip_prefix(EACH))
    }
}

const EACH: &str = "each> ";

impl Script {
    fn parse(title: &str, first: usize, lines: &[&str]) -> Result<Script> {
        let steps_from = lines.iter().position(|line| head_of(line).is_some()).unwrap_or(lines.len());
        let mut steps: Vec<Step> = Vec::new();
        let mut comments = Vec::new();
        let mut answers: Vec<Vec<&str>> = Vec::new();
        for (at, line) in lines.iter().enumerate().skip(steps_from) {
            let line_number = first + at;
            if let Some((session, deed)) = head_of(line) {
                let comments = std::mem::take(&mut comments);
                let answer = Answer::Is(OK.into());
                steps.push(Step { line: line_number, comments, session, deed, answer, by_design: None });
                answers.push(Vec::new());
            } else if let Some(answer) = line.strip_prefix(INDENT) {
                answers.last_mut().context("an answer to nothing")?.push(answer);
            } else if line.starts_with('#') {
                comments.push(line.to_string());
            } else if !line.trim().is_empty() {
                bail!("line {line_number}: neither a step nor an answer: {line}");
            }
        }
        ensure!(comments.is_empty(), "a comment stands behind the last step");
        for (step, lines) in steps.iter_mut().zip(answers) {
            step.read_answers(&lines);
        }
        Ok(Script { title: title.into(), preamble: Preamble::of(&lines[..steps_from]), steps })
    }
}

const INDENT: &str = "   ";
const OK: &str = "ok";
const BY_DESIGN: &str = "Basalt, ";

/// The session and its deed, where a line is the first of a step.
fn head_of(line: &str) -> Option<(String, Deed)> {
    let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric());
    if let Some(session) = line.strip_suffix(" returns").filter(|name| is_name(name)) {
        return Some((session.into(), Deed::Returns));
    }
    let (session, statement) = line.split_once("> ")?;
    (is_name(session) && session != "each").then(|| (session.into(), Deed::Says(statement.into())))
}

impl Step {
    fn read_answers(&mut self, lines: &[&str]) {
        let design = lines.iter().position(|line| line.starts_with(BY_DESIGN)).unwrap_or(lines.len());
        self.answer = Answer::of(&lines[..design]);
        self.by_design = lines.get(design).map(|line| ByDesign {
            reason: line[BY_DESIGN.len()..].trim_end_matches(':').into(),
            answer: Answer::of(&lines[design + 1..]),
        });
    }

    fn print(&self, out: &mut String) {
        for comment in &self.comments {
            let _ = writeln!(out, "{comment}");
        }
        let answer = self.answer.text();
        match &self.deed {
            Deed::Says(statement) => {
                let _ = writeln!(out, "{}> {statement}", self.session);
                if answer != OK || self.by_design.is_some() {
                    let _ = writeln!(out, "{INDENT}{answer}");
                }
            }
            Deed::Returns => {
                let _ = writeln!(out, "{} returns\n{INDENT}{answer}", self.session);
            }
        }
        if let Some(ByDesign { reason, answer }) = &self.by_design {
            let _ = writeln!(out, "{INDENT}{BY_DESIGN}{reason}:\n{INDENT}{}", answer.text());
        }
    }
}

impl Answer {
    fn of(lines: &[&str]) -> Answer {
        let text = lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
        match text.as_str() {
            "" => Answer::Is(OK.into()),
            "waits" => Answer::Waits,
            other => match other.strip_prefix("deadlock of ") {
                Some(names) => Answer::Deadlock(names.split(", ").map(str::to_string).collect()),
                None => Answer::Is(text),
            },
        }
    }

    /// As it stands in a file.
    pub fn text(&self) -> String {
        match self {
            Answer::Waits => "waits".into(),
            Answer::Deadlock(names) => format!("deadlock of {}", names.join(", ")),
            Answer::Is(text) => text.clone(),
        }
    }
}
