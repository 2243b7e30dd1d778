//! Time and chance, handed to constructors: with a simulated [`Env`] one seed replays a cluster.
//!
//! Pure code takes `now` as an argument. Code at the edges asks its [`Env`]. Asynchronous waits use `tokio::time`, which
//! a test can pause; [`Env::simulated`] reads the same paused clock.

#![expect(
    unsafe_code,
    reason = "the clock that counts suspended time has no safe call in what the workspace builds with"
)]

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use std::sync::Arc;
use std::time::Duration;

/// A point on the process's monotonic clock, in nanoseconds since an arbitrary start. It goes on while the machine sleeps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Monotonic(pub u64);

impl Monotonic {
    /// This point moved forward by `by`.
    pub fn after(self, by: Duration) -> Monotonic {
        Monotonic(self.0.saturating_add(by.as_nanos() as u64))
    }

    /// Time from `earlier` to this point; zero when `earlier` is later.
    pub fn since(self, earlier: Monotonic) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// The two clocks of a process.
pub trait Clock: Send + Sync {
    /// Never goes back, does not jump, and does not stand still while the machine is suspended, as others' clocks do not: a lease
    /// is over when it would be over for them. For leases and timeouts.
    fn monotonic(&self) -> Monotonic;
    /// Microseconds since 1970; may jump either way.
    fn wall_micros(&self) -> u64;
}

/// Clock and chance of one process. Cheap to clone.
#[derive(Clone)]
pub struct Env {
    clock: Arc<dyn Clock>,
    rng: Arc<Mutex<SmallRng>>,
}

impl Env {
    /// The machine's clocks and a seed from the operating system.
    pub fn real() -> Env {
        let clock = SystemClock { start_ns: since_boot_ns() };
        Env { clock: Arc::new(clock), rng: Arc::new(Mutex::new(SmallRng::from_os_rng())) }
    }

    /// tokio's (pausable) clock, the wall clock starting at `wall_start_ms`, and chance from `seed`.
    pub fn simulated(seed: u64, wall_start_ms: u64) -> Env {
        let clock = TokioClock { start: tokio::time::Instant::now(), wall_start_ms };
        Env { clock: Arc::new(clock), rng: Arc::new(Mutex::new(SmallRng::seed_from_u64(seed))) }
    }

    /// A process with clocks of its own, and chance from `seed`.
    pub fn with_clock(clock: Arc<dyn Clock>, seed: u64) -> Env {
        Env { clock, rng: Arc::new(Mutex::new(SmallRng::seed_from_u64(seed))) }
    }

    /// See [`Clock::monotonic`].
    pub fn now(&self) -> Monotonic {
        self.clock.monotonic()
    }

    /// Milliseconds since 1970 on [`Clock::wall_micros`].
    pub fn wall_ms(&self) -> u64 {
        self.clock.wall_micros() / 1000
    }

    /// See [`Clock::wall_micros`].
    pub fn wall_micros(&self) -> u64 {
        self.clock.wall_micros()
    }

    /// A random number.
    pub fn random_u64(&self) -> u64 {
        self.rng.lock().next_u64()
    }

    /// A random number in `[low, high)`; `low` when the range is empty.
    pub fn random_range(&self, low: u64, high: u64) -> u64 {
        if low >= high { low } else { self.rng.lock().random_range(low..high) }
    }

    /// A source of chance of its own, seeded from this one: for a component that must not be disturbed by others' draws.
    pub fn fork_rng(&self) -> SmallRng {
        SmallRng::seed_from_u64(self.random_u64())
    }
}

struct SystemClock {
    start_ns: u64,
}

/// `CLOCK_BOOTTIME`, ns. The standard library's `Instant` is `CLOCK_MONOTONIC`, which stands still while the machine is suspended.
fn since_boot_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one `timespec` to where the pointer says, and keeps nothing.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    assert_eq!(done, 0, "every Linux since 2.6.39 has the clock");
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

impl Clock for SystemClock {
    fn monotonic(&self) -> Monotonic {
        Monotonic(since_boot_ns().saturating_sub(self.start_ns))
    }
    #[expect(clippy::disallowed_methods, reason = "this is where the wall clock is read")]
    fn wall_micros(&self) -> u64 {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_micros() as u64)
    }
}

struct TokioClock {
    start: tokio::time::Instant,
    wall_start_ms: u64,
}

impl Clock for TokioClock {
    fn monotonic(&self) -> Monotonic {
        Monotonic(self.start.elapsed().as_nanos() as u64)
    }
    fn wall_micros(&self) -> u64 {
        self.wall_start_ms * 1000 + self.start.elapsed().as_micros() as u64
    }
}
