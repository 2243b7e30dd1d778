//! Makes what shows a difference small: statements before it, rows, columns, keys, then the statement itself.
//!
//! Delta debugging: cut, ask whether the same difference is still there, keep the cut if so. What "the same"
//! means is the judge's business.

use crate::maker::{Scenario, Send, Step};
use crate::schema::Table;
use std::time::{Duration, Instant};

/// Questions asked of the servers about one difference.
const QUESTIONS_MAX: usize = 600;
/// How long they are asked: a statement that a peer is slow with keeps its size.
const SHRINK_MAX: Duration = Duration::from_secs(30);

/// What shows a difference.
#[derive(Debug, Clone)]
pub struct Case {
    /// Tables with their first rows.
    pub tables: Vec<Table>,
    /// Statements that changed them before.
    pub before: Vec<Step>,
    /// The statement whose answers differ.
    pub step: Step,
}

/// Says whether a case still shows what it showed.
pub trait Judge {
    /// With the case's tables made anew.
    fn shows(&mut self, scenario: &Scenario, case: &Case) -> impl Future<Output = bool>;
    /// With the tables as they are; only for statements that change nothing.
    fn still_shows(&mut self, step: &Step) -> impl Future<Output = bool>;
    /// Whether it is known already why the case shows it: then it is small enough.
    fn is_explained(&mut self, _: &Scenario, _: &Case) -> impl Future<Output = bool> {
        std::future::ready(false)
    }
}

/// See the module.
pub struct Shrinker<'a, J> {
    /// Who says whether a cut is kept.
    pub judge: &'a mut J,
    /// Session settings.
    pub scenario: &'a Scenario,
    /// How often it was asked.
    questions: usize,
    began: Instant,
}

impl<'a, J: Judge> Shrinker<'a, J> {
    /// Nothing asked yet.
    #[expect(clippy::disallowed_methods, reason = "measures real time")]
    pub fn new(judge: &'a mut J, scenario: &'a Scenario) -> Self {
        Shrinker { judge, scenario, questions: 0, began: Instant::now() }
    }

    /// The smallest case that was found; `None` when the case does not show its difference a second time.
    pub async fn shrink(&mut self, case: Case) -> Option<Case> {
        let mut case = case;
        if !self.shows(&case).await {
            return None;
        }
        let plain = Case { step: Step { send: Send::Text, ..case.step.clone() }, ..case.clone() };
        if case.step.send != Send::Text && self.shows(&plain).await {
            case = plain;
        }
        self.shorten_before(&mut case).await;
        self.cut_statement(&mut case).await;
        self.drop_tables(&mut case).await;
        self.drop_columns(&mut case).await;
        if self.judge.is_explained(self.scenario, &case).await {
            return Some(case);
        }
        self.drop_rows(&mut case).await;
        self.cut_statement(&mut case).await;
        self.drop_columns(&mut case).await;
        self.shorten_before(&mut case).await;
        self.drop_rows(&mut case).await;
        Some(case)
    }

    async fn shows(&mut self, case: &Case) -> bool {
        self.questions += 1;
        self.may_ask() && self.judge.shows(self.scenario, case).await
    }

    fn may_ask(&self) -> bool {
        self.questions <= QUESTIONS_MAX && self.began.elapsed() < SHRINK_MAX
    }

    async fn keep(&mut self, case: &mut Case, cut: Case) -> bool {
        let is_kept = self.shows(&cut).await;
        if is_kept {
            *case = cut;
        }
        is_kept
    }

    async fn shorten_before(&mut self, case: &mut Case) {
        let none = Case { before: Vec::new(), ..case.clone() };
        if case.before.is_empty() || self.keep(case, none).await {
            return;
        }
        for at in (0..case.before.len()).rev() {
            let mut cut = case.clone();
            cut.before.remove(at);
            self.keep(case, cut).await;
        }
    }

    async fn drop_tables(&mut self, case: &mut Case) {
        for at in (0..case.tables.len()).rev() {
            let mut cut = case.clone();
            cut.tables.remove(at);
            self.keep(case, cut).await;
        }
    }

    async fn drop_rows(&mut self, case: &mut Case) {
        for table in 0..case.tables.len() {
            let mut size = case.tables[table].rows.len().div_ceil(2);
            while size > 0 {
                let mut at = 0;
                while at < case.tables[table].rows.len() {
                    let mut cut = case.clone();
                    let end = (at + size).min(cut.tables[table].rows.len());
                    cut.tables[table].rows.drain(at..end);
                    if !self.keep(case, cut).await {
                        at += size;
                    }
                }
                size /= 2;
            }
        }
    }

    async fn drop_columns(&mut self, case: &mut Case) {
        for table in 0..case.tables.len() {
            for at in (0..case.tables[table].keys.len()).rev() {
                let mut cut = case.clone();
                cut.tables[table].keys.remove(at);
                self.keep(case, cut).await;
            }
            for at in (0..case.tables[table].columns.len()).rev() {
                let mut cut = case.clone();
                cut.tables[table] = cut.tables[table].without(at);
                self.keep(case, cut).await;
            }
        }
    }

    /// Cuts of the statement itself: without making tables anew where it changes nothing.
    async fn cut_statement(&mut self, case: &mut Case) {
        let reads = case.step.changes.is_none();
        if reads && !self.shows(case).await {
            return;
        }
        let mut found = true;
        while found {
            found = false;
            let (mut at, mut cuts) = (0, case.step.tree.cuts());
            while at < cuts.len() && self.may_ask() {
                let step = Step { tree: cuts[at].clone(), ..case.step.clone() };
                let cut = Case { step, ..case.clone() };
                let is_kept = if reads {
                    self.questions += 1;
                    self.judge.still_shows(&cut.step).await
                } else {
                    self.shows(&cut).await
                };
                if is_kept {
                    // What was tried before this place was no use; a last round looks again.
                    cuts = cut.step.tree.cuts();
                    *case = cut;
                    found = true;
                } else {
                    at += 1;
                }
            }
        }
    }
}
