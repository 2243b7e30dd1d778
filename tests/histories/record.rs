//! What was played as a history for the checker, and as a text for people.

use crate::nemesis::Done;
use crate::workload::{Attempt, Part, Played, Said, Step, brief};
use basalt_tests::history::{History, Level, Operation, Outcome, Reading, Statement, Transaction, check};
use std::fmt::Write;

/// Longest answer that is told whole.
const ANSWER_CHARS_MAX: usize = 600;

/// The attempts in their order, so that the checker's T5 is the fifth, from 0; then what was read last; then `before`, what
/// was there at the beginning.
pub fn history<D>(
    played: &Played<D>,
    before: Vec<Operation>,
    operations: impl Fn(&D, &Said) -> Vec<Operation>,
) -> History {
    let mut history = History::default();
    let attempts = played.attempts.iter().map(|attempt| transaction(attempt, played.level, &operations));
    history.transactions.extend(attempts);
    let last = played.last.iter().map(|attempt| transaction(attempt, Level::RepeatableRead, &operations));
    history.transactions.extend(last);
    if !before.is_empty() {
        history.transactions.push(Transaction {
            session: u32::MAX - 1,
            level: Level::RepeatableRead,
            outcome: Outcome::Committed,
            statements: vec![Statement { start: 0, end: 0, operations: before }],
        });
    }
    history
}

/// What the checker finds, a text each.
pub fn anomalies(history: &History) -> Vec<String> {
    check(history).iter().map(|anomaly| anomaly.to_string()).collect()
}

fn transaction<D>(
    attempt: &Attempt<D>,
    level: Level,
    operations: &impl Fn(&D, &Said) -> Vec<Operation>,
) -> Transaction {
    let statement = |said: &Said| {
        let operations = match said.part {
            // Also what failed or was lost: it must not be seen, or may have been done.
            Part::Step(place) => operations(&attempt.transaction.steps[place].deed, said),
            _ => Vec::new(),
        };
        Statement { start: said.start, end: said.end, operations }
    };
    let mut statements: Vec<Statement> = attempt.said.iter().map(statement).collect();
    let outcome = attempt.outcome();
    let level = if level == Level::Serializable && reads_a_snapshot(outcome, &statements) {
        Level::RepeatableRead
    } else {
        level
    };
    let finds_by_index = |step: &Step<D>| step.sql.contains("FORCE INDEX");
    if attempt.transaction.autocommit && !attempt.transaction.steps.iter().any(finds_by_index) {
        statements = statements.into_iter().map(Statement::of_newest).collect();
    }
    Transaction { session: attempt.client, level, outcome, statements }
}

/// Basalt's SERIALIZABLE reads a snapshot, and its COMMIT looks whether what was read is still so: a transaction that does not
/// commit has read as at REPEATABLE READ, and so has one that neither writes nor locks.
fn reads_a_snapshot(outcome: Outcome, statements: &[Statement]) -> bool {
    let mut operations = statements.iter().flat_map(|statement| &statement.operations);
    outcome == Outcome::Aborted
        || operations.all(|operation| match operation {
            Operation::ReadList { reading, .. } | Operation::ReadRegister { reading, .. } => *reading == Reading::Plain,
            _ => false,
        })
}

/// All statements and faults in the order in which they began.
pub fn text<D>(played: &Played<D>, faults: &[Done]) -> String {
    let mut lines: Vec<(u64, String)> = Vec::new();
    let ms = |at: u64| at as f64 / 1e6;
    for (number, attempt) in played.attempts.iter().chain(&played.last).enumerate() {
        let client = if attempt.client == u32::MAX { "last".into() } else { format!("client {}", attempt.client) };
        for said in &attempt.said {
            let sql = match said.part {
                Part::Begin => "BEGIN",
                Part::Step(place) => &attempt.transaction.steps[place].sql,
                Part::Commit => "COMMIT",
                Part::Rollback => "ROLLBACK",
            };
            let answer: String = brief(&said.answer).chars().take(ANSWER_CHARS_MAX).collect();
            let times = format!("{:10.1} {:10.1}", ms(said.start), ms(said.end));
            lines.push((said.start, format!("{times}  {client} T{number} {sql} -> {answer}")));
        }
    }
    for done in faults {
        let names: Vec<String> = done.faults.iter().map(ToString::to_string).collect();
        let line = format!("{:10.1} {:10.1}  FAULT {}", ms(done.start), ms(done.end), names.join(", "));
        lines.push((done.start, line));
    }
    lines.sort();
    let mut text = format!("level {:?}\n  start ms     end ms\n", played.level);
    for (_, line) in lines {
        let _ = writeln!(text, "{line}");
    }
    text
}
