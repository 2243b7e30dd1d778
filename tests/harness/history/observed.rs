//! What reads and writes tell before there is a graph: who wrote what, in which order lists grew, and anomalies of one read.

use super::{Anomaly, History, Kind, Level, Object, Operation, Outcome, Reading};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Who wrote a value.
#[derive(Debug, Clone, Copy)]
pub struct Write {
    pub transaction: usize,
    /// Taken back to a savepoint.
    pub undone: bool,
    /// The last of its transaction to that object.
    pub last: bool,
}

/// A read of what others wrote.
#[derive(Debug)]
pub struct Read<'a> {
    pub transaction: usize,
    pub statement: usize,
    pub object: Object,
    pub reading: Reading,
    pub seen: Seen<'a>,
    /// Of a list: all that must be the beginning of every longer read.
    pub whole: &'a [i64],
    /// The transaction had written the object before.
    pub own: bool,
    /// The read's statement was taken back to a savepoint.
    pub undone: bool,
}

/// What was read, without what the reader itself had written.
#[derive(Debug, Clone, Copy)]
pub enum Seen<'a> {
    List(&'a [i64]),
    Value(Option<i64>),
    /// A register that the reader had written.
    Own,
}

/// See the module.
#[derive(Debug)]
pub struct Observed<'a> {
    history: &'a History,
    /// Which transactions count as committed.
    pub committed: Vec<bool>,
    pub writers: HashMap<(Object, i64), Write>,
    /// The longest that was seen of each list.
    pub orders: BTreeMap<Object, &'a [i64]>,
    /// Committed writes that replaced a value that their transaction had read: the value, then transaction and new value.
    pub successors: HashMap<(Object, Option<i64>), Vec<(usize, i64)>>,
    /// By transaction, then by statement.
    pub reads: Vec<Read<'a>>,
    pub anomalies: Vec<Anomaly>,
}

impl<'a> Observed<'a> {
    pub fn of(history: &'a History) -> Observed<'a> {
        let committed = history.transactions.iter().map(|t| t.outcome == Outcome::Committed).collect();
        let (writers, orders, successors) = (HashMap::new(), BTreeMap::new(), HashMap::new());
        let mut observed =
            Observed { history, committed, writers, orders, successors, reads: Vec::new(), anomalies: Vec::new() };
        observed.collect_writes();
        for transaction in 0..history.transactions.len() {
            observed.collect_reads(transaction);
        }
        observed.settle_unknown();
        observed.check_orders();
        observed.check_reads();
        observed.follow_registers();
        observed
    }

    /// Notes an anomaly of one or two transactions.
    pub fn report(&mut self, kind: Kind, transactions: &[usize], line: String) {
        self.anomalies.push(Anomaly { kind, transactions: transactions.to_vec(), lines: vec![line] });
    }

    fn collect_writes(&mut self) {
        for (at, transaction) in self.history.transactions.iter().enumerate() {
            let undone = undone(&transaction.statements);
            let mut last: HashMap<Object, i64> = HashMap::new();
            for (number, statement) in transaction.statements.iter().enumerate() {
                for operation in &statement.operations {
                    let (Operation::Append { object, element: value } | Operation::Write { object, value }) = operation
                    else {
                        continue;
                    };
                    let write = Write { transaction: at, undone: undone[number], last: false };
                    if let Some(first) = self.writers.insert((*object, *value), write) {
                        let line = format!("{object}: {value} was written by T{} and by T{at}", first.transaction);
                        self.report(Kind::Duplicate, &[first.transaction, at], line);
                    }
                    if !undone[number] {
                        last.insert(*object, *value);
                    }
                }
            }
            for key in last {
                self.writers.get_mut(&key).expect("it was put there").last = true;
            }
        }
    }

    /// Takes a transaction's own writes out of what it read, and keeps the longest lists.
    fn collect_reads(&mut self, at: usize) {
        let history = self.history;
        let transaction = &history.transactions[at];
        let undone = undone(&transaction.statements);
        // What it has written so far and not taken back: statement, object, value.
        let mut pending: Vec<(usize, Object, i64)> = Vec::new();
        for (number, statement) in transaction.statements.iter().enumerate() {
            for operation in &statement.operations {
                let (object, reading, seen, whole, own) = match operation {
                    Operation::Append { object, element: value } | Operation::Write { object, value } => {
                        pending.push((number, *object, *value));
                        continue;
                    }
                    Operation::Undo { from } => {
                        pending.retain(|(number, ..)| number < from);
                        continue;
                    }
                    Operation::ReadList { object, elements, reading } => {
                        let own: Vec<_> = pending.iter().filter(|(_, written, _)| written == object).collect();
                        let others = elements.len().saturating_sub(own.len());
                        if elements.len() < own.len() || own.iter().zip(&elements[others..]).any(|(a, b)| a.2 != *b) {
                            let own: Vec<i64> = own.iter().map(|own| own.2).collect();
                            let line = format!("T{at} had appended {own:?} to {object} and read {elements:?}");
                            self.report(Kind::Internal, &[at], line);
                            continue;
                        }
                        let is_final = self.committed[at] && own.iter().all(|own| !undone[own.0]);
                        let longest = self.orders.entry(*object).or_default();
                        let whole = if is_final { &elements[..] } else { &elements[..others] };
                        if whole.len() > longest.len() {
                            *longest = whole;
                        }
                        (object, reading, Seen::List(&elements[..others]), whole, !own.is_empty())
                    }
                    Operation::ReadRegister { object, value, reading } => {
                        match pending.iter().rfind(|(_, written, _)| written == object) {
                            Some((.., own)) if *value != Some(*own) => {
                                let line = format!("T{at} had set {object} to {own} and read {}", text(*value));
                                self.report(Kind::Internal, &[at], line);
                                continue;
                            }
                            Some(_) => (object, reading, Seen::Own, &[][..], true),
                            None => (object, reading, Seen::Value(*value), &[][..], false),
                        }
                    }
                };
                let (object, reading, undone) = (*object, *reading, undone[number]);
                self.reads.push(Read { transaction: at, statement: number, object, reading, seen, whole, own, undone });
            }
        }
    }

    /// A transaction whose outcome nobody was told has committed if somebody else saw a write of it.
    fn settle_unknown(&mut self) {
        let unknown = |at: usize| self.history.transactions[at].outcome == Outcome::Unknown;
        for read in &self.reads {
            let last = match read.seen {
                Seen::List(elements) => elements.last().copied(),
                Seen::Value(value) => value,
                Seen::Own => None,
            };
            if let Some(writer) = last.and_then(|value| self.writers.get(&(read.object, value)))
                && writer.transaction != read.transaction
                && unknown(writer.transaction)
            {
                self.committed[writer.transaction] = true;
            }
        }
        for (object, order) in &self.orders {
            for writer in order.iter().filter_map(|element| self.writers.get(&(*object, *element))) {
                self.committed[writer.transaction] |= unknown(writer.transaction);
            }
        }
    }

    /// What is wrong with a value that a transaction read and did not write; `is_last` where nothing of the writer may follow.
    fn wrong(
        &self,
        object: Object,
        value: i64,
        reader: Option<usize>,
        is_last: bool,
    ) -> Option<(Kind, Vec<usize>, String)> {
        let who = reader.map_or("somebody".to_string(), |reader| format!("T{reader}"));
        let Some(write) = self.writers.get(&(object, value)) else {
            let line = format!("{who} read {value} in {object}, which nobody wrote");
            return Some((Kind::Garbage, reader.into_iter().collect(), line));
        };
        let writer = write.transaction;
        let both = reader.into_iter().chain([writer]).collect();
        if Some(writer) == reader && write.undone {
            Some((Kind::Internal, vec![writer], format!("{who} read {value} in {object}, which it had taken back")))
        } else if write.undone {
            Some((Kind::G1a, both, format!("{who} read {value} in {object}, which T{writer} took back to a savepoint")))
        } else if !self.committed[writer] {
            Some((
                Kind::G1a,
                both,
                format!("{who} read {value} in {object}, and T{writer}, which wrote it, was rolled back"),
            ))
        } else if is_last && !write.last && Some(writer) != reader {
            Some((
                Kind::G1b,
                both,
                format!("{who} read {value} in {object}, which T{writer} wrote before it wrote more"),
            ))
        } else {
            None
        }
    }

    fn check_orders(&mut self) {
        for (object, order) in self.orders.clone() {
            let mut met = HashSet::new();
            if let Some(twice) = order.iter().find(|element| !met.insert(**element)) {
                let writer: Vec<_> = self.writers.get(&(object, *twice)).map(|w| w.transaction).into_iter().collect();
                self.report(Kind::Duplicate, &writer, format!("{object}: {twice} stands twice in {order:?}"));
            }
            let wrong: Vec<_> = order.iter().filter_map(|element| self.wrong(object, *element, None, false)).collect();
            wrong.into_iter().for_each(|(kind, who, line)| self.report(kind, &who, line));
        }
    }

    fn check_reads(&mut self) {
        let mut found = Vec::new();
        let mut is_told = HashSet::new();
        self.reads.retain(|read| {
            let Seen::List(_) = read.seen else { return true };
            let is_prefix = self.orders.get(&read.object).is_some_and(|order| order.starts_with(read.whole));
            if !is_prefix && is_told.insert(read.object) {
                found.push((read.transaction, read.object, read.whole));
            }
            is_prefix
        });
        for (reader, object, elements) in found {
            let order = self.orders[&object];
            let line = format!("{object}: T{reader} read {elements:?}, and somebody read {order:?}");
            self.report(Kind::IncompatibleOrder, &[reader], line);
            let wrong: Vec<_> =
                elements.iter().filter_map(|element| self.wrong(object, *element, Some(reader), false)).collect();
            wrong.into_iter().for_each(|(kind, who, line)| self.report(kind, &who, line));
        }
        let last = |read: &Read<'_>| match read.seen {
            Seen::List(elements) => elements.last().copied(),
            Seen::Value(value) => value,
            Seen::Own => None,
        };
        let wrong = self.reads.iter().filter_map(|read| {
            let wrong = self.wrong(read.object, last(read)?, Some(read.transaction), true)?;
            // Lists' other wrongs are told of the longest.
            (matches!(read.seen, Seen::Value(_)) || matches!(wrong.0, Kind::G1b | Kind::Internal)).then_some(wrong)
        });
        let wrong: Vec<_> = wrong.collect();
        wrong.into_iter().for_each(|(kind, who, line)| self.report(kind, &who, line));
    }

    /// Finds which values replaced which, and two that replaced the same.
    fn follow_registers(&mut self) {
        // Final writes of each committed transaction.
        let mut finals: HashMap<(usize, Object), i64> = HashMap::new();
        for ((object, value), write) in &self.writers {
            if write.last && self.committed[write.transaction] && matches!(object, Object::Register(_)) {
                finals.insert((write.transaction, *object), *value);
            }
        }
        let mut replaced_by: HashMap<(Object, Option<i64>), usize> = HashMap::new();
        let mut lost = Vec::new();
        for read in &self.reads {
            let Seen::Value(value) = read.seen else { continue };
            let (at, key) = (read.transaction, (read.object, value));
            // A write before the read was taken back, or the read would be of the transaction's own.
            let Some(new) = finals.get(&(at, read.object)) else { continue };
            let successors = self.successors.entry(key).or_default();
            if successors.last().is_none_or(|(last, _)| *last != at) {
                successors.push((at, *new));
            }
            let is_next = match self.history.transactions[at].level {
                Level::Snapshot | Level::Serializable => true,
                _ => read.reading == Reading::Locking && value.is_some() && !read.undone,
            };
            if is_next && let Some(first) = replaced_by.insert(key, at).filter(|first| *first != at) {
                let line = format!("T{first} and T{at} both read {} in {} and replaced it", text(value), read.object);
                lost.push((first, at, line));
            }
        }
        lost.into_iter().for_each(|(first, second, line)| self.report(Kind::LostUpdate, &[first, second], line));
    }
}

/// Which statements were taken back.
fn undone(statements: &[super::Statement]) -> Vec<bool> {
    let mut undone = vec![false; statements.len()];
    for (number, statement) in statements.iter().enumerate() {
        for operation in &statement.operations {
            if let Operation::Undo { from } = operation {
                undone[(*from).min(number)..=number].fill(true);
            }
        }
    }
    undone
}

fn text(value: Option<i64>) -> String {
    value.map_or("nothing".into(), |value| value.to_string())
}
