//! A machine with a store: what survives a crash, how late its work is, and the process if one runs.

use basalt_common::env::{Clock, Env, Monotonic};
use basalt_storage::engine::memory::MemoryEngine;
use basalt_storage::raftlog::memory::MemoryRaftLog;
use basalt_storage::raftstore::driver::task::{Lateness, Queue};
use basalt_storage::raftstore::node::Node;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a store's process finds when it starts.
#[derive(Clone)]
pub struct Disk {
    pub engine: MemoryEngine,
    pub log: Arc<MemoryRaftLog>,
    pub folder: PathBuf,
}

/// See the module.
pub struct Machine {
    pub disk: Mutex<Disk>,
    pub running: Mutex<Option<Arc<Node>>>,
    /// Beside the store, while the process runs: tells PD who waits for locks, collects garbage.
    pub beside: Mutex<Vec<tokio::task::AbortHandle>>,
    /// The disk was made to fail, so the store may stop by itself.
    pub is_doomed: Arc<AtomicBool>,
    /// It did.
    pub has_stopped: Arc<AtomicBool>,
    pub pace: Arc<Pace>,
    pub clock: Arc<SkewedClock>,
}

impl Machine {
    pub fn disk(&self) -> Disk {
        self.disk.lock().expect("not poisoned").clone()
    }

    pub fn running(&self) -> Option<Arc<Node>> {
        self.running.lock().expect("not poisoned").clone()
    }
}

/// How late a machine's threads and disk are, at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Slowness {
    /// A millisecond or two, now and then.
    None,
    /// Tens of milliseconds.
    Some,
    /// Up to two seconds.
    Much,
    /// One piece of work stalls for up to thirty seconds, the rest is as usual.
    Stall,
}

/// The lateness of a machine's queues.
pub struct Pace {
    chance: Env,
    slowness: AtomicU8,
}

impl Pace {
    pub fn new(chance: Env) -> Pace {
        Pace { chance, slowness: AtomicU8::new(Slowness::None as u8) }
    }

    pub fn set(&self, slowness: Slowness) {
        self.slowness.store(slowness as u8, Ordering::Relaxed);
    }
}

impl Lateness for Pace {
    fn late(&self, queue: Queue) -> Duration {
        let dice = self.chance.random_range(0, 100);
        let max_ms = match self.slowness.load(Ordering::Relaxed) {
            0 => 3 * u64::from(dice < 20),
            1 => 40,
            2 => {
                if dice < 20 {
                    2_000
                } else {
                    50
                }
            }
            _ => {
                self.set(Slowness::None);
                30_000
            }
        };
        let times = if queue == Queue::Snapshot { 3 } else { 1 };
        Duration::from_millis(self.chance.random_range(0, (max_ms * times).min(30_000) + 1))
    }

    fn may_do_at_once(&self) -> bool {
        let usual = self.slowness.load(Ordering::Relaxed) == Slowness::None as u8;
        self.chance.random_range(0, 100) < if usual { 70 } else { 20 }
    }
}

/// The clocks of one machine: the monotonic one runs a little fast or slow, the wall clock may jump.
pub struct SkewedClock {
    /// Of a million microseconds, how many the monotonic clock runs ahead.
    drift_ppm: i64,
    wall_ahead_us: AtomicI64,
}

impl SkewedClock {
    pub fn new(drift_ppm: i64) -> SkewedClock {
        SkewedClock { drift_ppm, wall_ahead_us: AtomicI64::new(0) }
    }

    /// Sets the wall clock this far ahead of true time, or behind.
    pub fn set_wall_ahead(&self, ms: i64) {
        self.wall_ahead_us.store(ms * 1000, Ordering::Relaxed);
    }
}

impl Clock for SkewedClock {
    fn monotonic(&self) -> Monotonic {
        let ns = crate::clock::elapsed().as_nanos() as i64;
        Monotonic((ns + ns / 1_000_000 * self.drift_ppm) as u64)
    }

    fn wall_micros(&self) -> u64 {
        let us = crate::clock::wall_ms() as i64 * 1000 + self.wall_ahead_us.load(Ordering::Relaxed);
        us.max(0) as u64
    }
}
