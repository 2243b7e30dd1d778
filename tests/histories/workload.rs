//! What clients do, and what they were told: the shapes that all workloads share.

use basalt_tests::history::{Level, Outcome};
use rand::rngs::SmallRng;
use std::collections::BTreeMap;
use std::fmt::Debug;

/// A circle's victim; at SERIALIZABLE also a COMMIT that found what it had read changed.
pub const ER_DEADLOCK: u16 = 1213;
/// innodb_lock_wait_timeout has passed.
pub const ER_LOCK_WAIT_TIMEOUT: u16 = 1205;
/// A unique value is taken.
pub const ER_DUPLICATE: u16 = 1062;
/// Another committed first; or others rolled the transaction back, since its server did not answer for so long.
pub const ER_WRITE_CONFLICT: u16 = 9007;
/// Whether COMMIT was done is not known.
pub const ER_UNDETERMINED: u16 = 8501;

/// Tables, transactions over them, and who says what was wrong.
pub trait Workload: Send + Sync + 'static {
    /// What a statement means.
    type Deed: Debug + Clone + Send + Sync + 'static;

    /// Makes the tables, split over several regions.
    fn setup(&self) -> Vec<String>;
    /// The next transaction of any client.
    fn draw(&self, random: &mut SmallRng) -> Transaction<Self::Deed>;
    /// Hears how a transaction went, for what is drawn later.
    fn note(&self, _attempt: &Attempt<Self::Deed>) {}
    /// Statements that read what is there in the end.
    fn last(&self) -> Vec<Step<Self::Deed>>;
    /// An error beyond those that any workload may get.
    fn allows(&self, _code: u16) -> bool {
        false
    }
    /// Every anomaly, a text each.
    fn judge(&self, played: &Played<Self::Deed>) -> Vec<String>;
}

/// BEGIN, steps, COMMIT; or one statement.
#[derive(Debug, Clone)]
pub struct Transaction<D> {
    /// It has one step, and no BEGIN and COMMIT.
    pub autocommit: bool,
    /// Otherwise it ends with ROLLBACK.
    pub commits: bool,
    /// In order.
    pub steps: Vec<Step<D>>,
}

/// A statement.
#[derive(Debug, Clone)]
pub struct Step<D> {
    /// Milliseconds that pass before it.
    pub pause_ms: u64,
    /// Its text.
    pub sql: String,
    /// What it means.
    pub deed: D,
}

impl<D> Step<D> {
    /// One that is sent at once.
    pub fn new(sql: String, deed: D) -> Step<D> {
        Step { pause_ms: 0, sql, deed }
    }
}

/// A statement's part in a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Begin,
    /// The step's place.
    Step(usize),
    Commit,
    Rollback,
}

/// What a server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// So many rows were affected.
    Done(u64),
    /// NULL is `NULL`.
    Rows(Vec<Vec<String>>),
    Error(u16, String),
    /// Nothing: the connection is gone, or was given up.
    Lost(String),
}

/// A statement that was sent, and its answer.
#[derive(Debug, Clone)]
pub struct Said {
    pub part: Part,
    /// Nanoseconds since the run began.
    pub start: u64,
    pub end: u64,
    pub answer: Answer,
}

/// A transaction as its client saw it.
#[derive(Debug, Clone)]
pub struct Attempt<D> {
    pub client: u32,
    pub transaction: Transaction<D>,
    pub said: Vec<Said>,
}

impl<D> Attempt<D> {
    /// How it ended. An error at COMMIT or of an autocommit statement promises that nothing was done, but for 8501; so does a
    /// connection that was lost before COMMIT was sent.
    pub fn outcome(&self) -> Outcome {
        let Some(last) = self.said.last() else { return Outcome::Aborted };
        let decides = match last.part {
            Part::Commit => true,
            Part::Step(_) => self.transaction.autocommit,
            Part::Begin | Part::Rollback => false,
        };
        match &last.answer {
            _ if !decides => Outcome::Aborted,
            Answer::Done(_) | Answer::Rows(_) => Outcome::Committed,
            Answer::Lost(_) | Answer::Error(ER_UNDETERMINED, _) => Outcome::Unknown,
            Answer::Error(..) => Outcome::Aborted,
        }
    }

    /// Steps that were sent.
    pub fn steps(&self) -> impl Iterator<Item = (&D, &Said)> {
        self.said.iter().filter_map(|said| match said.part {
            Part::Step(place) => Some((&self.transaction.steps[place].deed, said)),
            _ => None,
        })
    }

    /// Between which two times it can have committed; without an end where that is not known.
    pub fn commit_window(&self) -> (u64, u64) {
        let last = self.said.last();
        let end = if self.outcome() == Outcome::Unknown { u64::MAX } else { last.map_or(u64::MAX, |last| last.end) };
        (last.map_or(0, |last| last.start), end)
    }

    /// When its first statement was sent.
    pub fn began(&self) -> u64 {
        self.said.first().map_or(0, |first| first.start)
    }
}

/// All that clients saw in a run.
#[derive(Debug)]
pub struct Played<D> {
    /// Of all clients.
    pub level: Level,
    /// By client, and in each client's order.
    pub attempts: Vec<Attempt<D>>,
    /// [`Workload::last`] on each server, when all was quiet.
    pub last: Vec<Attempt<D>>,
}

impl<D> Played<D> {
    /// How often each error was given.
    pub fn errors(&self) -> BTreeMap<u16, usize> {
        let mut errors = BTreeMap::new();
        for said in self.attempts.iter().flat_map(|attempt| &attempt.said) {
            if let Answer::Error(code, _) = said.answer {
                *errors.entry(code).or_default() += 1;
            }
        }
        errors
    }
}

/// What a statement's rows say, for tests and for texts.
pub fn brief(answer: &Answer) -> String {
    match answer {
        Answer::Done(affected) => affected.to_string(),
        Answer::Rows(rows) => rows.iter().map(|row| format!("({})", row.join(" "))).collect::<Vec<_>>().join(" "),
        Answer::Error(code, text) => format!("ERROR {code}: {text}"),
        Answer::Lost(why) => format!("LOST: {why}"),
    }
}
