//! A tiny multi-version store with locks, for histories that are right, and wrong in known ways.
//!
//! Time goes on by one with each statement, which takes effect at once. Writes and locking reads take a lock that nobody
//! else gets (who does not get one rolls back); snapshot transactions take theirs at commit, where they also look for newer
//! versions. SERIALIZABLE reads with locks.

use super::*;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};

/// Ways to be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Plain reads see what is not committed.
    DirtyReads,
    /// Snapshots are older than they should be.
    StaleSnapshots,
    /// Each plain read takes a new snapshot.
    MovingSnapshots,
    /// A commit is seen object by object.
    FracturedCommits,
    /// Pessimistic transactions take no locks.
    WritesWithoutLocks,
    /// Snapshot transactions look for no newer versions.
    FirstCommitterDoesNotWin,
    /// A rollback leaves the first write.
    HalfRollbacks,
    /// A commit forgets its last write now and then.
    LostWrites,
}

const SESSIONS: usize = 4;
/// Lists are drawn from a window that moves on, so that they stay short.
const LISTS: u32 = 3;
const APPENDS_MAX: u64 = 40;

#[derive(Debug)]
struct Open {
    transaction: Transaction,
    id: usize,
    snapshot: Option<u64>,
    /// Statement, object, value.
    pending: Vec<(usize, Object, i64)>,
}

struct Store {
    random: SmallRng,
    bug: Option<Bug>,
    now: u64,
    next: i64,
    /// When committed, by whom, value; of a register the last is its value.
    versions: BTreeMap<Object, Vec<(u64, i64)>>,
    locks: BTreeMap<Object, usize>,
    dirty: BTreeMap<Object, Vec<i64>>,
}

/// A history of at least so many transactions, and one at its end that reads everything.
pub fn simulate(seed: u64, count: usize, bug: Option<Bug>) -> History {
    let mut store = Store {
        random: SmallRng::seed_from_u64(seed),
        bug,
        now: 10,
        next: 1,
        versions: BTreeMap::new(),
        locks: BTreeMap::new(),
        dirty: BTreeMap::new(),
    };
    let mut history = History::default();
    let mut open: [Option<Open>; SESSIONS] = Default::default();
    let mut id = 0;
    while history.transactions.len() < count || open.iter().any(Option::is_some) {
        let session = store.random.random_range(0..SESSIONS);
        let Some(mut running) = open[session].take() else {
            if history.transactions.len() < count {
                id += 1;
                open[session] = Some(store.begin(session, id));
            }
            continue;
        };
        store.now += 2;
        let ends = running.transaction.statements.len() > 1 + store.random.random_range(0..6);
        if !ends && store.step(&mut running).is_some() {
            open[session] = Some(running);
        } else {
            let commits = ends && store.random.random_range(0..8) != 0;
            history.transactions.push(store.end(running, commits));
        }
    }
    store.now += 2;
    let reads = store.versions.iter().map(|(object, versions)| match object {
        Object::List(_) => Operation::ReadList {
            object: *object,
            elements: versions.iter().map(|(_, value)| *value).collect(),
            reading: Reading::Plain,
        },
        Object::Register(_) => Operation::ReadRegister {
            object: *object,
            value: versions.last().map(|(_, value)| *value),
            reading: Reading::Plain,
        },
    });
    let statement = Statement { start: store.now, end: store.now + 1, operations: reads.collect() };
    let (session, level, outcome) = (SESSIONS as u32, Level::RepeatableRead, Outcome::Committed);
    history.transactions.push(Transaction { session, level, outcome, statements: vec![statement] });
    history
}

impl Store {
    fn begin(&mut self, session: usize, id: usize) -> Open {
        use Level::*;
        let level = [ReadCommitted, RepeatableRead, Snapshot, Serializable][self.random.random_range(0..4)];
        let statements = vec![Statement { start: self.now, end: self.now + 1, operations: vec![] }];
        let transaction = Transaction { session: session as u32, level, outcome: Outcome::Aborted, statements };
        let snapshot = (level == Snapshot).then(|| self.snapshot());
        self.now += 2;
        Open { transaction, id, snapshot, pending: vec![] }
    }

    fn snapshot(&mut self) -> u64 {
        let is_stale = self.bug == Some(Bug::StaleSnapshots);
        if is_stale { self.now.saturating_sub(self.random.random_range(0..60)) } else { self.now }
    }

    /// A statement; None where a lock is not to be had.
    fn step(&mut self, open: &mut Open) -> Option<()> {
        let number = open.transaction.statements.len();
        let mut statement = Statement { start: self.now, end: self.now + 1, operations: vec![] };
        let level = open.transaction.level;
        let kind = self.random.random_range(0..10);
        let count = self.random.random_range(1..3);
        let base = (self.next as u64 / APPENDS_MAX) as u32;
        let objects: BTreeSet<Object> = (0..count)
            .map(|_| match self.random.random_range(0..2 * LISTS) {
                list if list < LISTS => Object::List(base + list),
                register => Object::Register(base + register - LISTS),
            })
            .collect();
        let (writes, locking) = (kind < 4, kind == 4 || kind == 5);
        if kind == 9 && number > 1 && level != Level::Snapshot {
            let from = self.random.random_range(1..number);
            open.pending.retain(|(number, ..)| *number < from);
            statement.operations.push(Operation::Undo { from });
        } else {
            if level != Level::Snapshot && (writes || locking || level == Level::Serializable) {
                objects.iter().try_for_each(|object| self.lock(open, *object))?;
            }
            if !writes && !locking && (open.snapshot.is_none() || level == Level::ReadCommitted) {
                open.snapshot = Some(self.snapshot());
            }
            for object in objects {
                if writes {
                    open.pending.push((number, object, self.next));
                    self.dirty.entry(object).or_default().push(self.next);
                    statement.operations.push(match object {
                        Object::List(_) => Operation::Append { object, element: self.next },
                        Object::Register(_) => Operation::Write { object, value: self.next },
                    });
                    self.next += 1;
                } else {
                    statement.operations.push(self.read(open, object, locking));
                }
            }
        }
        open.transaction.statements.push(statement);
        Some(())
    }

    fn lock(&mut self, open: &Open, object: Object) -> Option<()> {
        if self.bug != Some(Bug::WritesWithoutLocks) {
            if self.locks.get(&object).is_some_and(|holder| *holder != open.id) {
                return None;
            }
            self.locks.insert(object, open.id);
        }
        Some(())
    }

    fn read(&mut self, open: &Open, object: Object, locking: bool) -> Operation {
        let own: Vec<i64> =
            open.pending.iter().filter(|pending| pending.1 == object).map(|pending| pending.2).collect();
        let level = open.transaction.level;
        let is_current = level == Level::Serializable || level != Level::Snapshot && (locking || !own.is_empty());
        let at = match open.snapshot {
            Some(snapshot) if !is_current && self.bug != Some(Bug::MovingSnapshots) => snapshot,
            _ => self.now,
        };
        let versions = self.versions.get(&object).map_or(&[][..], |versions| versions);
        let mut seen: Vec<i64> = versions.iter().filter(|(when, _)| *when <= at).map(|(_, value)| *value).collect();
        if self.bug == Some(Bug::DirtyReads) && own.is_empty() && !locking {
            seen.extend(self.dirty.get(&object).into_iter().flatten());
        }
        seen.extend(own);
        let reading = if locking { Reading::Locking } else { Reading::Plain };
        match object {
            Object::List(_) => Operation::ReadList { object, elements: seen, reading },
            Object::Register(_) => Operation::ReadRegister { object, value: seen.last().copied(), reading },
        }
    }

    fn end(&mut self, mut open: Open, mut commits: bool) -> Transaction {
        let start = self.now;
        if open.transaction.level == Level::Snapshot {
            let snapshot = open.snapshot.unwrap_or(0);
            let is_newer = |object| self.versions.get(object).and_then(|v| v.last()).is_some_and(|v| v.0 > snapshot);
            let conflicts = open.pending.iter().any(|(_, object, _)| {
                self.locks.contains_key(object) || is_newer(object) && self.bug != Some(Bug::FirstCommitterDoesNotWin)
            });
            commits &= !conflicts;
        }
        let kept = match self.bug {
            _ if commits => open.pending.len(),
            Some(Bug::HalfRollbacks) if open.transaction.level != Level::Snapshot => 1,
            _ => 0,
        };
        for (number, (_, object, value)) in open.pending.iter().take(kept).enumerate() {
            let is_late = self.bug == Some(Bug::FracturedCommits) && number > 0;
            let is_lost = self.bug == Some(Bug::LostWrites) && number > 2;
            if !is_lost {
                self.versions.entry(*object).or_default().push((self.now + if is_late { 6 } else { 0 }, *value));
            }
        }
        for (object, dirty) in &mut self.dirty {
            dirty.retain(|value| !open.pending.iter().any(|pending| (pending.1, pending.2) == (*object, *value)));
        }
        self.dirty.retain(|_, dirty| !dirty.is_empty());
        self.locks.retain(|_, holder| *holder != open.id);
        open.transaction.outcome = if commits { Outcome::Committed } else { Outcome::Aborted };
        open.transaction.statements.push(Statement { start, end: start + 1, operations: vec![] });
        open.transaction
    }
}
