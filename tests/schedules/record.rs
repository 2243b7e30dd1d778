//! What was played, as a history for the checker.

use crate::plan::{Deed, How, Plan, REGISTERS, number};
use crate::play::{Answer, Attempt, ER_DEADLOCK, ER_WRITE_CONFLICT, Played, What};
use basalt_tests::history::{History, Level, Object, Operation, Outcome, Reading, Statement, Transaction};
use std::collections::BTreeMap;

/// What was played as a history: first what was there before, then the attempts in their order, then what is there last.
pub fn history(plan: &Plan, played: &Played, is_basalt: bool) -> History {
    let write = |id| Operation::Write { object: Object::Register(id), value: 0 };
    let setup = Statement { start: 0, end: 0, operations: REGISTERS.map(write).collect() };
    let alone = |session, statement| Transaction {
        session,
        level: Level::RepeatableRead,
        outcome: Outcome::Committed,
        statements: vec![statement],
    };
    let mut history = History { transactions: vec![alone(u32::MAX, setup)] };
    history.transactions.extend(played.attempts.iter().map(|attempt| transaction(plan, attempt, is_basalt)));
    for said in &played.last {
        let Answer::Rows(rows) = &said.answer else { continue };
        let deed = if said.sql.contains("registers") {
            Deed::ReadRegisters { registers: REGISTERS.collect(), how: How::Plain }
        } else {
            Deed::Read { lists: plan.lists.clone(), how: How::Plain, by_index: false }
        };
        let operations = operations(&deed, 0, Some(rows));
        history.transactions.push(alone(u32::MAX, Statement { start: said.start, end: said.end, operations }));
    }
    history
}

fn transaction(plan: &Plan, attempt: &Attempt, is_basalt: bool) -> Transaction {
    let session = &plan.sessions[attempt.session];
    let planned = &session.transactions[attempt.transaction];
    let mut statements: Vec<Statement> = Vec::new();
    let mut savepoints = BTreeMap::new();
    for said in &attempt.said {
        let mut statement = Statement { start: said.start, end: said.end, operations: Vec::new() };
        if let What::Deed(number, true) = said.what {
            let deed = &planned.deeds[number].1;
            match &said.answer {
                Answer::Rows(rows) => statement.operations = operations(deed, attempt.attempt, Some(rows)),
                Answer::Done(_) => statement.operations = operations(deed, attempt.attempt, None),
                Answer::Error(..) | Answer::Lost(_) if deed.is_plain_read() => {}
                // What failed wrote nothing, and must not be seen; what was lost may have been done.
                Answer::Error(..) => {
                    statement.operations = operations(deed, attempt.attempt, None);
                    statement.operations.push(Operation::Undo { from: statements.len() });
                }
                Answer::Lost(_) => statement.operations = operations(deed, attempt.attempt, None),
            }
            match (deed, &said.answer) {
                (Deed::Savepoint(name), Answer::Done(_)) => drop(savepoints.insert(*name, statements.len())),
                (Deed::RollbackTo(name), Answer::Done(_)) => {
                    let from = savepoints.get(name).copied().unwrap_or(statements.len());
                    statement.operations = vec![Operation::Undo { from }];
                }
                _ => {}
            }
        }
        statements.push(statement);
    }
    let last = attempt.said.last();
    let outcome = match last.map(|said| (said.what, &said.answer)) {
        Some((What::Commit, Answer::Lost(_))) => Outcome::Unknown,
        Some((What::Commit, Answer::Error(code, _))) if ![ER_WRITE_CONFLICT, ER_DEADLOCK].contains(code) => {
            Outcome::Unknown
        }
        Some((What::Commit, Answer::Done(_))) => Outcome::Committed,
        Some((What::Deed(..), Answer::Lost(_))) if planned.autocommit => Outcome::Unknown,
        Some((What::Deed(..), Answer::Done(_) | Answer::Rows(_))) if planned.autocommit => Outcome::Committed,
        _ => Outcome::Aborted,
    };
    let level = match session.level {
        Level::Serializable if is_basalt && reads_a_snapshot(outcome, &statements) => Level::RepeatableRead,
        level => level,
    };
    let finds_by_index = |(_, deed): &(_, Deed)| matches!(deed, Deed::Read { by_index: true, .. });
    if planned.autocommit && is_basalt && !planned.deeds.iter().any(finds_by_index) {
        statements = statements.into_iter().map(Statement::of_newest).collect();
    }
    Transaction { session: attempt.session as u32, level, outcome, statements }
}

/// Basalt's SERIALIZABLE reads a snapshot, and its COMMIT looks whether what was read is still so: a transaction that does not
/// commit has read as at REPEATABLE READ, and so has one that neither writes nor locks. What was taken back to a savepoint is
/// judged like that, too.
fn reads_a_snapshot(outcome: Outcome, statements: &[Statement]) -> bool {
    let mut operations = statements.iter().flat_map(|statement| &statement.operations);
    let is_plain = |operation: &Operation| match operation {
        Operation::ReadList { reading, .. } | Operation::ReadRegister { reading, .. } => *reading == Reading::Plain,
        _ => false,
    };
    outcome == Outcome::Aborted
        || operations.clone().all(is_plain)
        || operations.any(|operation| matches!(operation, Operation::Undo { .. }))
}

/// What a deed did; `rows` are those that it read.
fn operations(deed: &Deed, attempt: usize, rows: Option<&[Vec<String>]>) -> Vec<Operation> {
    let row = |id: &u32| rows.and_then(|rows| rows.iter().find(|row| row[0] == id.to_string()));
    let append =
        |list: &u32, element: i64| Operation::Append { object: Object::List(*list), element: number(element, attempt) };
    match deed {
        Deed::Append { lists, element } => lists.iter().map(|list| append(list, *element)).collect(),
        Deed::Upsert { list, element } => vec![append(list, *element)],
        Deed::Set { register, value } | Deed::Replace { register, value } => {
            vec![Operation::Write { object: Object::Register(*register), value: number(*value, attempt) }]
        }
        Deed::Read { lists, how, .. } if rows.is_some() => {
            let read = |list: &u32| Operation::ReadList {
                object: Object::List(*list),
                elements: row(list).map_or_else(Vec::new, |row| elements(&row[2])),
                reading: how.reading(),
            };
            lists.iter().map(read).collect()
        }
        Deed::ReadRegisters { registers, how } if rows.is_some() => {
            let read = |register: &u32| Operation::ReadRegister {
                object: Object::Register(*register),
                value: row(register).and_then(|row| row[1].parse().ok()),
                reading: how.reading(),
            };
            registers.iter().map(read).collect()
        }
        Deed::Read { .. } | Deed::ReadRegisters { .. } | Deed::Savepoint(_) | Deed::RollbackTo(_) => Vec::new(),
    }
}

/// The elements of a row's list.
pub fn elements(list: &str) -> Vec<i64> {
    list.split(',').filter_map(|element| element.parse().ok()).collect()
}
