//! Rows with one value each, written and read alone and in transactions; judged by the checker of histories, and by
//! `linearizable.rs` row by row.

use crate::linearizable::{Access, violations};
use crate::record;
use crate::workload::{Answer, Attempt, Played, Said, Step, Transaction, Workload};
use basalt_tests::history::{Level, Object, Operation, Outcome, Reading};
use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};

/// Keys of rows, two a region.
const REGISTERS: std::ops::Range<u32> = 0..6;

/// See the module.
#[derive(Debug, Default)]
pub struct Register {
    values: AtomicI64,
}

/// What a statement means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// UPDATE.
    Write { register: u32, value: i64 },
    /// SELECT.
    Read { registers: Vec<u32>, reading: Reading },
}

impl Register {
    fn write(&self, register: u32) -> Step<Deed> {
        let value = self.values.fetch_add(1, Ordering::Relaxed) + 1;
        Step::new(format!("UPDATE registers SET v = {value} WHERE id = {register}"), Deed::Write { register, value })
    }
}

fn read(registers: Vec<u32>, how: &str, by_index: bool) -> Step<Deed> {
    let ids = registers.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    let index = if by_index { " FORCE INDEX (by_v)" } else { "" };
    let condition = if by_index { "v >= 0 AND " } else { "" };
    let reading = if how.is_empty() { Reading::Plain } else { Reading::Locking };
    let sql = format!("SELECT id, v FROM registers{index} WHERE {condition}id IN ({ids}){how}");
    Step::new(sql, Deed::Read { registers, reading })
}

impl Workload for Register {
    type Deed = Deed;

    fn setup(&self) -> Vec<String> {
        let rows: Vec<String> = REGISTERS.map(|id| format!("({id}, 0)")).collect();
        vec![
            "CREATE TABLE registers (id INT PRIMARY KEY, v BIGINT NOT NULL, KEY by_v (v))".into(),
            "SPLIT TABLE registers BY (2), (4)".into(),
            "SPLIT TABLE registers INDEX by_v BY (500), (5000)".into(),
            format!("INSERT INTO registers VALUES {}", rows.join(", ")),
        ]
    }

    fn draw(&self, random: &mut SmallRng) -> Transaction<Deed> {
        let all: Vec<u32> = REGISTERS.collect();
        let autocommit = random.random_range(0..2) == 0;
        let count = if autocommit { 1 } else { random.random_range(1..=3) };
        let mut chosen: Vec<u32> = all.choose_multiple(random, count).copied().collect();
        if random.random_range(0..2) == 0 {
            chosen.sort_unstable();
        }
        let mut steps = Vec::new();
        for register in chosen {
            match random.random_range(0..6) {
                0 => steps.push(self.write(register)),
                1 => steps.push(read(all.clone(), "", random.random_range(0..2) == 0)),
                2 | 3 => steps.push(read(vec![register], "", false)),
                4 => steps.push(read(vec![register], " FOR SHARE", false)),
                _ if autocommit => steps.push(self.write(register)),
                // Read and written under a lock, so that the order of its values is known.
                _ => steps.extend([read(vec![register], " FOR UPDATE", false), self.write(register)]),
            }
        }
        if let Some(step) = steps.last_mut().filter(|_| random.random_range(0..6) == 0) {
            step.pause_ms = random.random_range(1..30);
        }
        Transaction { autocommit, commits: random.random_range(0..20) != 0, steps }
    }

    fn last(&self) -> Vec<Step<Deed>> {
        [false, true].map(|by_index| read(REGISTERS.collect(), "", by_index)).to_vec()
    }

    fn judge(&self, played: &Played<Deed>) -> Vec<String> {
        let write = |id| Operation::Write { object: Object::Register(id), value: 0 };
        let mut found = record::anomalies(&record::history(played, REGISTERS.map(write).collect(), operations));
        let mut registers: BTreeMap<u32, Vec<Access>> =
            REGISTERS.map(|id| (id, vec![Access { value: 0, is_write: true, start: 0, end: 0 }])).collect();
        for (number, attempt) in played.attempts.iter().chain(&played.last).enumerate() {
            let answers = attempt.steps().filter_map(|(_, said)| twice(said));
            found.extend(answers.map(|rows| format!("T{number}: a row twice: {rows:?}")));
            for (register, access) in accesses(attempt, played.level) {
                registers.entry(register).or_default().push(access);
            }
        }
        for (register, accesses) in registers {
            found.extend(violations(&accesses).into_iter().map(|text| format!("register {register}: {text}")));
        }
        found
    }
}

fn operations(deed: &Deed, said: &Said) -> Vec<Operation> {
    match deed {
        Deed::Write { register, value } => {
            vec![Operation::Write { object: Object::Register(*register), value: *value }]
        }
        Deed::Read { registers, reading } => {
            let Answer::Rows(rows) = &said.answer else { return Vec::new() };
            let of = |register: &u32| rows.iter().filter(|row| row[0] == register.to_string()).collect::<Vec<_>>();
            let read = |register: &u32| Operation::ReadRegister {
                object: Object::Register(*register),
                value: of(register).first().and_then(|row| row[1].parse().ok()),
                reading: *reading,
            };
            // A row that comes twice is told as that, once.
            registers.iter().filter(|register| of(register).len() < 2).map(read).collect()
        }
    }
}

/// The rows of an answer in which a row comes twice.
fn twice(said: &Said) -> Option<&Vec<Vec<String>>> {
    let Answer::Rows(rows) = &said.answer else { return None };
    let ids: BTreeSet<&String> = rows.iter().map(|row| &row[0]).collect();
    (ids.len() < rows.len()).then_some(rows)
}

/// Writes and reads of a transaction with the times between which each has taken place.
fn accesses(attempt: &Attempt<Deed>, level: Level) -> Vec<(u32, Access)> {
    let outcome = attempt.outcome();
    let first_plain = attempt.steps().find(|(deed, _)| matches!(deed, Deed::Read { reading: Reading::Plain, .. }));
    let (commit_start, commit_end) = attempt.commit_window();
    let (mut found, mut written): (Vec<(u32, Access)>, Vec<u32>) = Default::default();
    for (deed, said) in attempt.steps() {
        match deed {
            Deed::Write { register, value } => {
                written.push(*register);
                if outcome != Outcome::Aborted {
                    let access = Access { value: *value, is_write: true, start: commit_start, end: commit_end };
                    found.push((*register, access));
                }
            }
            Deed::Read { reading, .. } => {
                let end = attempt.said.last().map_or(said.end, |last| last.end);
                let (start, end) = match (level, reading, first_plain) {
                    (Level::Serializable, ..) => (attempt.began(), end),
                    // What the snapshot holds may have been on its way to the row until it was read there.
                    (Level::RepeatableRead, Reading::Plain, Some((_, first))) => (first.start, said.end),
                    (Level::Snapshot, ..) => (attempt.began(), said.end),
                    _ => (said.start, said.end),
                };
                for operation in operations(deed, said) {
                    if let Operation::ReadRegister { object: Object::Register(register), value, .. } = operation
                        && !written.contains(&register)
                    {
                        // Where the row is missing: a value that nobody wrote.
                        let access = Access { value: value.unwrap_or(i64::MIN), is_write: false, start, end };
                        found.push((register, access));
                    }
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Part;

    fn attempt(client: u32, start: u64, step: Step<Deed>, answer: Answer) -> Attempt<Deed> {
        let transaction = Transaction { autocommit: true, commits: true, steps: vec![step] };
        Attempt { client, transaction, said: vec![Said { part: Part::Step(0), start, end: start + 2, answer }] }
    }

    fn judged(seen: &[(u64, &str)]) -> String {
        let workload = Register::default();
        let mut attempts: Vec<_> = [10, 20]
            .into_iter()
            .zip(1..)
            .map(|(at, client)| attempt(client, at, workload.write(1), Answer::Done(1)))
            .collect();
        attempts.extend(seen.iter().zip(3..).map(|((at, value), client)| {
            let rows = Answer::Rows(vec![vec!["1".into(), value.to_string()]]);
            attempt(client, *at, read(vec![1], "", false), rows)
        }));
        workload.judge(&Played { level: Level::RepeatableRead, attempts, last: vec![] }).join("\n")
    }

    #[test]
    fn planted_faults_are_found() {
        assert_eq!(judged(&[(11, "0"), (15, "1"), (21, "1"), (30, "2")]), "");
        // Two wrote blindly, so the checker of histories does not know their order; time does.
        assert!(judged(&[(30, "1")]).contains("register 1: "));
        assert!(judged(&[(15, "0")]).contains("register 1: "));
        assert!(judged(&[(15, "2")]).contains("register 1: "));
        assert!(judged(&[(20, "2"), (23, "1")]).contains("register 1: "));
        assert!(judged(&[(30, "77")]).contains("garbage read"));
        let rows = [1, 2].map(|value| vec!["1".to_string(), value.to_string()]).to_vec();
        let twice = attempt(1, 30, read(vec![1], "", true), Answer::Rows(rows));
        let played = Played { level: Level::RepeatableRead, attempts: vec![twice], last: vec![] };
        assert_eq!(Register::default().judge(&played), ["T0: a row twice: [[\"1\", \"1\"], [\"1\", \"2\"]]"]);
    }
}
