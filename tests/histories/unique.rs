//! Clients race for few values of a unique index, and give them back; `slots.rs` judges who held what when.

use crate::slots;
use crate::workload::{Answer, Attempt, ER_DUPLICATE, Played, Step, Transaction, Workload};
use basalt_tests::history::Outcome;
use rand::Rng;
use rand::rngs::SmallRng;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

/// Values that are raced for.
const VALUES: i64 = 30;
/// From a region's rows to the next region's.
const STRIDE: i64 = 1_000_000_000;
const REGIONS: i64 = 3;
/// Rows that a DELETE chooses from.
const RECENT_MAX: usize = 60;

/// See the module.
#[derive(Debug, Default)]
pub struct Unique {
    ids: AtomicI64,
    /// Rows that may be there, with their values.
    recent: Mutex<VecDeque<(i64, i64)>>,
}

/// What a statement means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// INSERT of a row of its own with a value that another may have.
    Insert { id: i64, value: i64 },
    /// DELETE of a row, by its primary key.
    Delete { id: i64 },
    /// SELECT of a value's rows; it is locked or not.
    Holder { value: i64, locks: bool },
    /// SELECT of everything.
    All { by_index: bool },
    /// SELECT COUNT(*).
    Count,
}

impl Unique {
    fn recent(&self) -> std::sync::MutexGuard<'_, VecDeque<(i64, i64)>> {
        self.recent.lock().expect("nobody panics who holds it")
    }

    fn step(&self, random: &mut SmallRng) -> Step<Deed> {
        let value = random.random_range(0..VALUES);
        let mut step = match random.random_range(0..10) {
            0..5 => {
                let number = self.ids.fetch_add(1, Ordering::Relaxed) + 1;
                let id = number % REGIONS * STRIDE + number;
                Step::new(format!("INSERT INTO slots VALUES ({id}, {value})"), Deed::Insert { id, value })
            }
            5..8 => {
                let mut recent = self.recent();
                let place = random.random_range(0..recent.len().max(1));
                // Some are chosen again, by others at the same time.
                let is_last = random.random_range(0..3) != 0;
                let chosen = if is_last { recent.remove(place) } else { recent.get(place).copied() };
                let id = chosen.map_or(0, |chosen| chosen.0);
                Step::new(format!("DELETE FROM slots WHERE id = {id}"), Deed::Delete { id })
            }
            8 => holder(value, true),
            _ => holder(value, false),
        };
        step.pause_ms = if random.random_range(0..8) == 0 { random.random_range(1..30) } else { 0 };
        step
    }
}

fn holder(value: i64, locks: bool) -> Step<Deed> {
    let end = if locks { " FOR UPDATE" } else { "" };
    Step::new(format!("SELECT id, v FROM slots WHERE v = {value}{end}"), Deed::Holder { value, locks })
}

fn all(by_index: bool) -> Step<Deed> {
    let index = if by_index { "FORCE INDEX (by_v) WHERE v >= 0" } else { "IGNORE INDEX (by_v)" };
    Step::new(format!("SELECT id, v FROM slots {index}"), Deed::All { by_index })
}

impl Workload for Unique {
    type Deed = Deed;

    fn setup(&self) -> Vec<String> {
        vec![
            "CREATE TABLE slots (id BIGINT PRIMARY KEY, v BIGINT NOT NULL, UNIQUE KEY by_v (v))".into(),
            format!("SPLIT TABLE slots BY ({STRIDE}), ({})", 2 * STRIDE),
            format!("SPLIT TABLE slots INDEX by_v BY ({}), ({})", VALUES / 3, VALUES * 2 / 3),
        ]
    }

    fn draw(&self, random: &mut SmallRng) -> Transaction<Deed> {
        match random.random_range(0..10) {
            0 => {
                let steps = vec![all(random.random_range(0..2) == 0)];
                Transaction { autocommit: true, commits: true, steps }
            }
            1 => Transaction { autocommit: false, commits: true, steps: vec![all(false), all(true)] },
            2..6 => Transaction { autocommit: true, commits: true, steps: vec![self.step(random)] },
            _ => {
                let steps = (0..random.random_range(1..=3)).map(|_| self.step(random)).collect();
                Transaction { autocommit: false, commits: random.random_range(0..10) != 0, steps }
            }
        }
    }

    fn note(&self, attempt: &Attempt<Deed>) {
        if attempt.outcome() == Outcome::Aborted {
            return;
        }
        let mut recent = self.recent();
        for (deed, _) in attempt.steps() {
            if let Deed::Insert { id, value } = deed {
                recent.push_back((*id, *value));
            }
        }
        while recent.len() > RECENT_MAX {
            recent.pop_front();
        }
    }

    fn last(&self) -> Vec<Step<Deed>> {
        vec![
            all(false),
            all(true),
            Step::new("SELECT COUNT(*) FROM slots IGNORE INDEX (by_v)".into(), Deed::Count),
            Step::new("SELECT COUNT(*) FROM slots FORCE INDEX (by_v) WHERE v >= 0".into(), Deed::Count),
        ]
    }

    fn allows(&self, code: u16) -> bool {
        code == ER_DUPLICATE
    }

    fn judge(&self, played: &Played<Deed>) -> Vec<String> {
        let mut found = slots::judge(played);
        let answers = || played.last.iter().flat_map(|attempt| attempt.steps());
        let sizes = answers().filter_map(|(deed, said)| match (deed, &said.answer) {
            (Deed::All { .. }, Answer::Rows(rows)) => Some(rows.len().to_string()),
            (Deed::Count, Answer::Rows(rows)) => Some(rows.iter().flatten().cloned().collect()),
            _ => None,
        });
        let sizes: Vec<String> = sizes.collect();
        if sizes.windows(2).any(|pair| pair[0] != pair[1]) {
            found.push(format!("in the end rows and index, listed and counted, are so many: {}", sizes.join(", ")));
        }
        found
    }
}
