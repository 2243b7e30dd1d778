//! Faults, drawn from a seed and done to the processes one round after the other.
//!
//! Rounds are the same for the same seed, kinds and time; what they meet is not.

use anyhow::{Context, Result};
use basalt_tests::processes::{NAMES, Processes};
use basalt_tests::up::pause;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rustix::process::Signal;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;
use tokio::time::Instant;

/// Between rounds.
const QUIET_MS: RangeInclusive<u64> = 500..=3000;
/// How long a process stays dead before it is started again.
const DEAD_MS: RangeInclusive<u64> = 100..=3000;
/// How long it is stopped, or cut off.
const HOLD_MS: RangeInclusive<u64> = 1000..=5000;
/// One round in so many has two faults at once.
const DOUBLE: u32 = 4;

/// What can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Kill,
    Pause,
    Partition,
}

impl Kind {
    /// By the name in HISTORIES_FAULTS.
    pub fn named(name: &str) -> Option<Kind> {
        match name {
            "kill" => Some(Kind::Kill),
            "pause" => Some(Kind::Pause),
            "partition" => Some(Kind::Partition),
            _ => None,
        }
    }
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL, and a start when the round is over.
    Kill(&'static str),
    /// SIGSTOP and SIGCONT.
    Pause(&'static str),
    /// One reaches nobody.
    Cut(&'static str),
    /// Two do not reach each other.
    Part(&'static str, &'static str),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Kill(name) => write!(f, "kill {name}"),
            Fault::Pause(name) => write!(f, "pause {name}"),
            Fault::Cut(name) => write!(f, "cut {name}"),
            Fault::Part(one, other) => write!(f, "part {one} {other}"),
        }
    }
}

/// Faults that are there at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    pub quiet_ms: u64,
    pub hold_ms: u64,
    pub faults: Vec<Fault>,
}

/// A round as it was: nanoseconds from the run's beginning when its first fault began and when its last had ended.
#[derive(Debug, Clone)]
pub struct Done {
    pub start: u64,
    pub end: u64,
    pub faults: Vec<Fault>,
}

/// Rounds that fill a time if restarts take none.
pub fn draw(seed: u64, kinds: &[Kind], time: Duration) -> Vec<Round> {
    let mut random = SmallRng::seed_from_u64(seed);
    let (mut rounds, mut left) = (Vec::new(), time.as_millis() as u64);
    while !kinds.is_empty() {
        let first = fault(&mut random, kinds);
        let second = (random.random_range(0..DOUBLE) == 0).then(|| fault(&mut random, kinds));
        let second = second.filter(|second| !overlap(first, *second));
        let faults: Vec<Fault> = [first].into_iter().chain(second).collect();
        let is_kill = faults.iter().all(|fault| matches!(fault, Fault::Kill(_)));
        let hold_ms = random.random_range(if is_kill { DEAD_MS } else { HOLD_MS });
        let round = Round { quiet_ms: random.random_range(QUIET_MS), hold_ms, faults };
        let Some(rest) = left.checked_sub(round.quiet_ms + round.hold_ms) else { break };
        left = rest;
        rounds.push(round);
    }
    rounds
}

fn fault(random: &mut SmallRng, kinds: &[Kind]) -> Fault {
    let (kind, place) = (kinds[random.random_range(0..kinds.len())], random.random_range(0..6));
    let mut one_of = |names: &[&'static str]| names[random.random_range(0..names.len())];
    let (pd, storage, sql) = (&NAMES[..1], &NAMES[1..4], &NAMES[4..]);
    match kind {
        Kind::Kill => Fault::Kill(one_of(&NAMES)),
        // PD may die, and be out of reach; stopped, it is but out of reach.
        Kind::Pause => Fault::Pause(one_of(&NAMES[1..])),
        Kind::Partition => match place {
            0..3 => Fault::Cut(one_of(&NAMES)),
            3 => Fault::Part(storage[0], one_of(&storage[1..])),
            4 => Fault::Part(one_of(&[pd[0], storage[2]]), storage[1]),
            _ => Fault::Part(one_of(sql), one_of(storage)),
        },
    }
}

/// Whether two faults take a process in common, or are both of the bridge's isolation, which knows one set only.
fn overlap(one: Fault, other: Fault) -> bool {
    let names = |fault| match fault {
        Fault::Kill(name) | Fault::Pause(name) | Fault::Cut(name) => [name, name],
        Fault::Part(one, other) => [one, other],
    };
    let both_part = matches!((one, other), (Fault::Part(..), Fault::Part(..)));
    both_part || names(one).iter().any(|name| names(other).contains(name))
}

/// Does all rounds that begin before `time` has passed; afterwards all processes run and reach each other.
///
/// # Errors
/// A process does not start again, a fault cannot be done.
pub fn play(processes: &mut Processes, rounds: &[Round], began: Instant, time: Duration) -> Result<Vec<Done>> {
    let nanos = || began.elapsed().as_nanos() as u64;
    let mut done = Vec::new();
    for round in rounds {
        let needed = Duration::from_millis(round.quiet_ms + round.hold_ms);
        if began.elapsed() + needed > time {
            break;
        }
        pause(Duration::from_millis(round.quiet_ms));
        let start = nanos();
        round.faults.iter().try_for_each(|fault| begin(processes, *fault))?;
        pause(Duration::from_millis(round.hold_ms));
        // Who is started needs the others: the dead come last, in the order in which processes start.
        let mut faults = round.faults.clone();
        faults.sort_by_key(|fault| match fault {
            Fault::Kill(name) => NAMES.iter().position(|known| known == name).map(|place| place + 1),
            _ => None,
        });
        faults.iter().try_for_each(|fault| end(processes, *fault).with_context(|| format!("after {fault}")))?;
        done.push(Done { start, end: nanos(), faults: round.faults.clone() });
    }
    pause(time.saturating_sub(began.elapsed()));
    Ok(done)
}

fn begin(processes: &mut Processes, fault: Fault) -> Result<()> {
    match fault {
        Fault::Kill(name) => processes.kill(name),
        Fault::Pause(name) => processes.signal(name, Signal::STOP),
        Fault::Cut(_) | Fault::Part(..) => set_partition(processes, fault, true),
    }
}

fn end(processes: &mut Processes, fault: Fault) -> Result<()> {
    match fault {
        Fault::Kill(name) => processes.start_one(name),
        Fault::Pause(name) => processes.signal(name, Signal::CONT),
        Fault::Cut(_) | Fault::Part(..) => set_partition(processes, fault, false),
    }
}

fn set_partition(processes: &Processes, fault: Fault, is_on: bool) -> Result<()> {
    let network = processes.network.as_ref().context("processes on loopback cannot be cut off")?;
    match fault {
        Fault::Cut(name) => network.cut(name, is_on),
        Fault::Part(one, other) => network.part(&[one, other], is_on),
        Fault::Kill(_) | Fault::Pause(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_faults() {
        let minute = Duration::from_secs(60);
        let all = [Kind::Kill, Kind::Pause, Kind::Partition];
        assert_eq!(draw(7, &all, minute), draw(7, &all, minute));
        assert_ne!(draw(7, &all, minute), draw(8, &all, minute));
        assert!(draw(7, &[], minute).is_empty());
        for seed in 0..100 {
            let rounds = draw(seed, &[Kind::Kill], Duration::from_secs(10));
            assert!(rounds.iter().flat_map(|round| &round.faults).all(|fault| matches!(fault, Fault::Kill(_))));
            let rounds = draw(seed, &all, minute);
            assert!(rounds.len() > 5);
            assert!(rounds.iter().all(|r| r.faults.len() < 2 || !overlap(r.faults[0], r.faults[1])));
        }
    }
}
