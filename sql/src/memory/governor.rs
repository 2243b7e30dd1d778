//! Looks after the process: when it holds more than `memory_limit`, the statement that holds most is ended.
//!
//! Forty times a second the governor reads the resident memory (`/proc/self/status` in the binary) and notes it at the root
//! of the tree, where operators see it and spill. Over the limit it
//! 1. asks the allocator to give back what it only keeps for later, and reads again;
//! 2. picks the connection that holds most, its open transaction included, unless even that holds too little to matter;
//! 3. ends its statement with 8176. One that is idle within a transaction is disconnected, which rolls back;
//! 4. counts what that one holds as given back, and picks another only if the others are over the limit without it.
//!
//! Everybody else goes on. What grows is bounded by the quota of each statement and by what fits between two looks. The
//! governor has a thread of its own, since those that serve statements may all be busy making what it looks for; and a
//! statement that is ended hears of it wherever it asks for memory ([`Meter::end`](basalt_common::memory::Meter::end)),
//! not only when it next waits for something.

use crate::server::registry::{ConnectionEntry, Connections};
use basalt_common::memory::process;
use basalt_common::metrics;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(25);
/// How long a statement that was ended may take to let go before another is ended.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// A connection below this share of the limit is not worth ending.
const SHARE_MIN: usize = 32;
/// Between two complaints that there is nobody to end.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// What the process may hold, and how it is known.
#[derive(Debug, Clone, Copy)]
pub struct MemoryOptions {
    /// Bytes of resident memory; `usize::MAX` for no limit.
    pub limit: usize,
    /// Reads the resident memory of the process.
    pub resident: fn() -> Option<usize>,
    /// Gives back what the allocator keeps for later.
    pub purge: fn(),
}

impl Default for MemoryOptions {
    fn default() -> Self {
        MemoryOptions { limit: usize::MAX, resident: || None, purge: || () }
    }
}

/// Somebody who was ended and may not have let go yet.
struct Ended {
    entry: Arc<ConnectionEntry>,
    held: usize,
    at: Instant,
}

/// See the module.
pub struct Governor {
    options: MemoryOptions,
    connections: Arc<Connections>,
    ended: Vec<Ended>,
    complained: Option<Instant>,
}

impl Governor {
    /// A governor over the statements of `connections`.
    pub fn new(options: MemoryOptions, connections: Arc<Connections>) -> Governor {
        process().set_limit(options.limit);
        Governor { options, connections, ended: Vec::new(), complained: None }
    }

    /// Looks until it is stopped; keeps the thread for itself.
    #[expect(clippy::disallowed_methods, reason = "it must look also while no runtime has a thread free")]
    pub fn run(mut self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            std::thread::sleep(INTERVAL);
            self.look();
        }
    }

    fn look(&mut self) {
        let used = self.read();
        metrics::SQL_MEMORY.set(process().counted() as i64);
        metrics::PROCESS_MEMORY.set(used as i64);
        if used <= self.options.limit {
            self.ended.clear();
            return;
        }
        let promised = self.promised();
        if used.saturating_sub(promised) <= self.options.limit {
            return;
        }
        (self.options.purge)();
        let used = self.read();
        if used.saturating_sub(promised) > self.options.limit {
            self.end_largest(used);
        }
    }

    /// Reads the resident memory and notes it at the root.
    fn read(&self) -> usize {
        let meter = process().meter();
        if let Some(resident) = (self.options.resident)() {
            meter.add(resident as i64 - meter.bytes() as i64);
        }
        process().used()
    }

    /// What those who were ended still hold. One that takes too long is no longer believed.
    fn promised(&mut self) -> usize {
        self.ended.retain(|ended| ended.entry.memory().used() > ended.held / 2 && ended.at.elapsed() < PATIENCE);
        self.ended.iter().map(|ended| ended.entry.memory().used()).sum()
    }

    fn end_largest(&mut self, used: usize) {
        let is_ended = |entry: &Arc<ConnectionEntry>| self.ended.iter().any(|ended| Arc::ptr_eq(&ended.entry, entry));
        let entries = self.connections.all().into_iter().filter(|entry| !is_ended(entry));
        let largest = entries.map(|entry| (entry.memory().used(), entry)).max_by_key(|(held, _)| *held);
        let worth = |(held, _): &(usize, Arc<ConnectionEntry>)| *held >= self.options.limit / SHARE_MIN;
        let Some((held, entry)) = largest.filter(worth) else {
            if self.complained.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
                self.complained = Some(Instant::now());
                tracing::warn!(used, limit = self.options.limit, "over the memory limit, and no statement holds much");
            }
            return;
        };
        tracing::warn!(connection = entry.id(), held, used, limit = self.options.limit, "ended for its memory");
        metrics::SQL_MEMORY_CANCELLED.with_label_values(&["process"]).inc();
        entry.kill().kill_for_memory(used);
        entry.memory().statement().meter().end();
        if !entry.memory().runs() {
            entry.kill().kill_connection();
        }
        self.ended.push(Ended { entry, held, at: Instant::now() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use basalt_common::env::Monotonic;
    use std::sync::atomic::{AtomicUsize, Ordering};

    static RESIDENT: AtomicUsize = AtomicUsize::new(0);

    #[test]
    fn the_largest_is_ended_and_the_next_only_after_it_let_go() {
        let connections = Arc::new(Connections::default());
        let [small, large, idle] =
            ["a", "b", "c"].map(|host| connections.register(host.into(), Monotonic(0), 9).expect("there is room"));
        for (entry, held) in [(&small, 100), (&large, 5_000)] {
            entry.memory().begin(usize::MAX);
            entry.memory().statement().add(held);
        }
        idle.memory().session().add(2_000);
        let resident = || Some(RESIDENT.load(Ordering::Relaxed));
        let options = MemoryOptions { limit: 10_000, resident, purge: || () };
        let mut governor = Governor::new(options, connections);
        RESIDENT.store(9_999, Ordering::Relaxed);
        governor.look();
        assert!(!large.kill().is_interrupted());
        RESIDENT.store(14_000, Ordering::Relaxed);
        governor.look();
        assert!(large.kill().memory_at_kill().is_some() && !idle.kill().is_interrupted());
        governor.look();
        assert!(!idle.kill().is_interrupted(), "what the first holds will do");
        large.memory().statement().sub(5_000);
        governor.look();
        assert!(idle.kill().is_connection_killed() && !small.kill().is_interrupted());
        idle.memory().session().sub(2_000);
        governor.look();
        assert!(!small.kill().is_interrupted(), "it would not help");
        small.memory().statement().sub(100);
        process().set_limit(usize::MAX);
    }
}
