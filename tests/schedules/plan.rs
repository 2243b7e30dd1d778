//! What the sessions of a schedule do, drawn from a seed.

use basalt_tests::history::{Level, Reading};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use std::collections::BTreeSet;

/// Keys of lists; tables are split between 4 and 5.
pub const LISTS: std::ops::RangeInclusive<u32> = 1..=8;
/// Keys of registers.
pub const REGISTERS: std::ops::RangeInclusive<u32> = 1..=2;
/// Elements of one deed, one for each time it is tried.
pub const ATTEMPTS_MAX: usize = 4;
const SESSIONS: std::ops::RangeInclusive<usize> = 2..=6;
const TRANSACTIONS_MAX: usize = 6;
const DEEDS_MAX: usize = 6;
/// Most pauses are short; some are longer than any bound, so that who waits for a lock is seen to.
const SHORT_PAUSE_MS: std::ops::RangeInclusive<u64> = 0..=4;
const LONG_PAUSE_MS: std::ops::RangeInclusive<u64> = 100..=160;

/// A schedule.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where it came from.
    pub seed: u64,
    /// Lists that are used.
    pub lists: Vec<u32>,
    /// Those whose row is there at the beginning.
    pub present: BTreeSet<u32>,
    /// Who does it.
    pub sessions: Vec<Session>,
}

/// What one connection does.
#[derive(Debug, Clone)]
pub struct Session {
    /// What it is promised; [`Level::Snapshot`] is Basalt's optimistic mode.
    pub level: Level,
    /// One after the other.
    pub transactions: Vec<Transaction>,
}

/// BEGIN, deeds, COMMIT; or one statement.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// Holds one deed, which is one statement.
    pub autocommit: bool,
    /// Otherwise it ends with ROLLBACK.
    pub commits: bool,
    /// Each with the milliseconds that pass before it.
    pub deeds: Vec<(u64, Deed)>,
}

/// A statement; or two, of [`Deed::Replace`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// UPDATE of rows that are there.
    Append {
        lists: Vec<u32>,
        element: i64,
    },
    /// INSERT … ON DUPLICATE KEY UPDATE.
    Upsert {
        list: u32,
        element: i64,
    },
    /// UPDATE of a register.
    Set {
        register: u32,
        value: i64,
    },
    /// DELETE and INSERT of a register.
    Replace {
        register: u32,
        value: i64,
    },
    /// SELECT of some lists, or of all by an index.
    Read {
        lists: Vec<u32>,
        how: How,
        by_index: bool,
    },
    /// SELECT of registers.
    ReadRegisters {
        registers: Vec<u32>,
        how: How,
    },
    Savepoint(usize),
    RollbackTo(usize),
}

/// A SELECT's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Plain,
    ForUpdate,
    ForShare,
}

impl How {
    fn sql(self) -> &'static str {
        match self {
            How::Plain => "",
            How::ForUpdate => " FOR UPDATE",
            How::ForShare => " FOR SHARE",
        }
    }

    /// As a history has it.
    pub fn reading(self) -> Reading {
        if self == How::Plain { Reading::Plain } else { Reading::Locking }
    }
}

impl Plan {
    /// The schedule of a seed, whose sessions draw from some levels.
    pub fn draw(seed: u64, levels: &[Level]) -> Plan {
        let mut random = SmallRng::seed_from_u64(seed);
        let all: Vec<u32> = LISTS.collect();
        let count = random.random_range(1..=all.len());
        let mut lists: Vec<u32> = all.choose_multiple(&mut random, count).copied().collect();
        lists.sort_unstable();
        let present = lists.iter().copied().filter(|_| random.random_range(0..5) != 0).collect();
        let mut plan = Plan { seed, lists, present, sessions: Vec::new() };
        let mut next = 1;
        for _ in 0..random.random_range(SESSIONS) {
            let level = levels[random.random_range(0..levels.len())];
            let count = random.random_range(1..=TRANSACTIONS_MAX);
            let transactions = (0..count).map(|_| plan.transaction(&mut random, &mut next)).collect();
            plan.sessions.push(Session { level, transactions });
        }
        plan
    }

    fn transaction(&self, random: &mut SmallRng, next: &mut i64) -> Transaction {
        let autocommit = random.random_range(0..10) < 3;
        let count = if autocommit { 1 } else { random.random_range(1..=DEEDS_MAX) };
        let mut deeds = Vec::new();
        let mut savepoints = Vec::new();
        while deeds.len() < count {
            let pause = match random.random_range(0..10) {
                0 => random.random_range(LONG_PAUSE_MS),
                _ => random.random_range(SHORT_PAUSE_MS),
            };
            match random.random_range(0..16) {
                0 if !autocommit && deeds.len() + 2 < count => {
                    savepoints.push(deeds.len());
                    deeds.push((pause, Deed::Savepoint(deeds.len())));
                }
                1 if !savepoints.is_empty() => {
                    let back = savepoints.len() - 1;
                    let to = savepoints[random.random_range(0..=back)];
                    savepoints.retain(|savepoint| *savepoint <= to);
                    deeds.push((pause, Deed::RollbackTo(to)));
                }
                2 if !autocommit => {
                    // Read and written under a lock, so that the order of its values is known.
                    let register = random.random_range(REGISTERS);
                    deeds.push((pause, Deed::ReadRegisters { registers: vec![register], how: How::ForUpdate }));
                    *next += 1;
                    let value = *next;
                    let set = Deed::Set { register, value };
                    let replace = Deed::Replace { register, value };
                    deeds.push((0, if random.random_range(0..3) == 0 { replace } else { set }));
                }
                _ => deeds.push((pause, self.deed(random, next))),
            }
        }
        Transaction { autocommit, commits: autocommit || random.random_range(0..10) != 0, deeds }
    }

    /// A deed of one statement.
    fn deed(&self, random: &mut SmallRng, next: &mut i64) -> Deed {
        *next += 1;
        let element = *next;
        let some = |random: &mut SmallRng, of: &[u32]| -> Vec<u32> {
            let most = of.len().min(3);
            let count = random.random_range(1..=most);
            of.choose_multiple(random, count).copied().collect()
        };
        let how = [How::Plain, How::Plain, How::Plain, How::ForUpdate, How::ForShare][random.random_range(0..5)];
        let present: Vec<u32> = self.present.iter().copied().collect();
        match random.random_range(0..12) {
            0..=2 if !present.is_empty() => Deed::Append { lists: some(random, &present)[..1].to_vec(), element },
            3 if !present.is_empty() => Deed::Append { lists: some(random, &present), element },
            4 | 5 => Deed::Upsert { list: self.lists[random.random_range(0..self.lists.len())], element },
            6 if random.random_range(0..3) == 0 => {
                Deed::Set { register: random.random_range(REGISTERS), value: element }
            }
            7 => Deed::ReadRegisters { registers: REGISTERS.collect(), how },
            8 => Deed::Read { lists: self.lists.clone(), how, by_index: true },
            9 => Deed::Read { lists: self.lists.clone(), how, by_index: false },
            _ => Deed::Read { lists: some(random, &self.lists), how, by_index: false },
        }
    }
}

impl Deed {
    /// Its statements.
    pub fn sql(&self, attempt: usize) -> Vec<String> {
        let number = |value: i64| number(value, attempt);
        match self {
            Deed::Append { lists, element } => vec![format!(
                "UPDATE lists SET l = CONCAT(l, ',{}'), n = n + 1 WHERE {}",
                number(*element),
                keys(lists)
            )],
            Deed::Upsert { list, element } => vec![format!(
                "INSERT INTO lists (id, n, l) VALUES ({list}, 1, ',{0}') \
                 ON DUPLICATE KEY UPDATE n = n + 1, l = CONCAT(l, ',{0}')",
                number(*element)
            )],
            Deed::Set { register, value } => {
                vec![format!("UPDATE registers SET v = {} WHERE id = {register}", number(*value))]
            }
            Deed::Replace { register, value } => vec![
                format!("DELETE FROM registers WHERE id = {register}"),
                format!("INSERT INTO registers VALUES ({register}, {})", number(*value)),
            ],
            Deed::Read { how, by_index: true, .. } => {
                vec![format!("SELECT id, n, l FROM lists FORCE INDEX (by_n) WHERE n >= 0{}", how.sql())]
            }
            Deed::Read { lists, how, .. } => {
                vec![format!("SELECT id, n, l FROM lists WHERE {}{}", keys(lists), how.sql())]
            }
            Deed::ReadRegisters { registers, how } => {
                vec![format!("SELECT id, v FROM registers WHERE {}{}", keys(registers), how.sql())]
            }
            Deed::Savepoint(name) => vec![format!("SAVEPOINT s{name}")],
            Deed::RollbackTo(name) => vec![format!("ROLLBACK TO s{name}")],
        }
    }

    /// Whether it is a SELECT without locks.
    pub fn is_plain_read(&self) -> bool {
        matches!(self, Deed::Read { how: How::Plain, .. } | Deed::ReadRegisters { how: How::Plain, .. })
    }
}

/// What is written the nth time a deed is tried.
pub fn number(value: i64, attempt: usize) -> i64 {
    value * ATTEMPTS_MAX as i64 + attempt as i64
}

fn keys(keys: &[u32]) -> String {
    match keys {
        [key] => format!("id = {key}"),
        _ => format!("id IN ({})", keys.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")),
    }
}
