//! What the allocator gave to a piece of work: measured from outside, for what cannot be counted piece by piece.
//!
//! jemalloc counts for each thread the bytes it ever took and ever gave back. The difference, read before and after a piece
//! of work that stays on its thread (a poll of a future, a synchronous call), is what that work kept or freed. Two reads of
//! thread-local memory: cheap enough for every poll.
//!
//! A measurement is wrong by what the work passes on to other threads, or frees for them. So only work that keeps what it
//! takes is measured (planning, operators), and a sum below zero counts as nothing.
//!
//! While a thread does measured work, [`check`] tells whether that work is within its limit: the parser, the binder and the
//! planner ask it wherever they loop or recurse, so that a statement which grows while it is read ends there, not later.
//! Expressions and aggregates that make long values ask [`check_growth`] before they make the next. Whoever asks also tells
//! the meter what the thread has taken so far, so that others see a long piece of work grow, not only what it left.
//!
//! The binary [`install`]s the allocator's counter; without one (tests of other crates) everything measures zero.

use super::Exceeded;
use std::cell::RefCell;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

static BALANCE: OnceLock<fn() -> i64> = OnceLock::new();

/// Sets where [`balance`] reads; the first call counts.
pub fn install(balance: fn() -> i64) {
    BALANCE.get_or_init(|| balance);
}

/// Bytes that this thread took from the allocator, less those it gave back. Only differences mean something.
#[inline]
pub fn balance() -> i64 {
    BALANCE.get().map_or(0, |balance| balance())
}

/// What was measured of one statement, by however many threads.
#[derive(Debug)]
pub struct Meter {
    bytes: AtomicI64,
    peak: AtomicI64,
    limit: AtomicI64,
}

impl Default for Meter {
    fn default() -> Meter {
        Meter { bytes: AtomicI64::new(0), peak: AtomicI64::new(0), limit: AtomicI64::new(i64::MAX) }
    }
}

/// The work that a thread does, and the thread's balance when the meter was last told of it.
struct Current {
    meter: Arc<Meter>,
    told_at: i64,
}

impl Current {
    fn tell(&mut self) {
        let now = balance();
        self.meter.add(now - self.told_at);
        self.told_at = now;
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

/// Whether the measured work that this thread does is within its limit; always so outside of such work.
///
/// # Errors
/// [`Exceeded`]: the work should end.
pub fn check() -> Result<(), Exceeded> {
    ask(0, |limit| limit)
}

/// Whether running work may take `more` bytes on top. It may be over its limit by a quarter: operators that spill keep to
/// what they count, and that may be a little less than what they have.
///
/// # Errors
/// [`Exceeded`]: the work should end.
pub fn check_growth(more: usize) -> Result<(), Exceeded> {
    ask(more, late)
}

/// A limit and the quarter by which running work may be over it.
pub fn late(limit: i64) -> i64 {
    limit.saturating_add(limit / 4)
}

/// Tells the meter of the work that this thread does what the thread has taken and given back so far.
pub fn tell() {
    CURRENT.with_borrow_mut(|current| current.iter_mut().for_each(Current::tell));
}

fn ask(more: usize, bound: impl Fn(i64) -> i64) -> Result<(), Exceeded> {
    CURRENT.with_borrow_mut(|current| {
        let Some(current) = current else { return Ok(()) };
        current.tell();
        let used = current.meter.bytes.load(Ordering::Relaxed);
        let limit = current.meter.limit.load(Ordering::Relaxed);
        if used.saturating_add_unsigned(more as u64) <= bound(limit) {
            return Ok(());
        }
        let bytes = |value: i64| usize::try_from(value).unwrap_or(0);
        Err(Exceeded { label: "the statement".into(), used: bytes(used), wanted: more, limit: bytes(limit) })
    })
}

impl Meter {
    /// Bytes measured so far and not given back.
    pub fn bytes(&self) -> usize {
        usize::try_from(self.bytes.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// The most that [`Meter::bytes`] was.
    pub fn peak(&self) -> usize {
        usize::try_from(self.peak.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Adds what was measured, or is known to have come from elsewhere and to be freed here.
    pub fn add(&self, bytes: i64) {
        if bytes == 0 {
            return;
        }
        let now = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if now > self.peak.load(Ordering::Relaxed) {
            self.peak.fetch_max(now, Ordering::Relaxed);
        }
    }

    /// A meter of its own, whose work may hold `limit` bytes.
    pub fn with_limit(limit: usize) -> Meter {
        let meter = Meter::default();
        meter.restart(i64::try_from(limit).unwrap_or(i64::MAX));
        meter
    }

    /// Ends the work: whatever it asks for next is too much.
    pub fn end(&self) {
        self.limit.store(-1, Ordering::Relaxed);
    }

    /// Forgets everything, and sets the limit that [`check`] looks at.
    pub(super) fn restart(&self, limit: i64) {
        self.limit.store(limit, Ordering::Relaxed);
        if self.bytes.load(Ordering::Relaxed) != 0 || self.peak.load(Ordering::Relaxed) != 0 {
            self.bytes.store(0, Ordering::Relaxed);
            self.peak.store(0, Ordering::Relaxed);
        }
    }

    /// Measures synchronous work.
    pub fn measure<T>(self: &Arc<Self>, work: impl FnOnce() -> T) -> T {
        let span = Span::enter(self);
        let result = work();
        drop(span);
        result
    }

    /// Whose work the calling thread does.
    pub fn current() -> Option<Arc<Meter>> {
        CURRENT.with_borrow(|current| current.as_ref().map(|current| current.meter.clone()))
    }
}

/// A stretch of work on one thread; ends when dropped, also by a panic.
struct Span {
    outer: Option<Current>,
    before: i64,
}

impl Span {
    fn enter(meter: &Arc<Meter>) -> Span {
        let before = balance();
        let outer = CURRENT.replace(Some(Current { meter: meter.clone(), told_at: before }));
        Span { outer, before }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let inner = CURRENT.take();
        let told_at = inner.map_or(self.before, |mut inner| {
            inner.tell();
            inner.told_at
        });
        let spent = told_at - self.before;
        // The work around it counts for itself what it does, not what this did.
        CURRENT.set(self.outer.take().map(|outer| Current { told_at: outer.told_at + spent, ..outer }));
    }
}

/// A future or stream whose polls, and whose end, are measured.
pub struct Metered<W> {
    /// `None` only while it is dropped.
    work: Option<W>,
    meter: Arc<Meter>,
}

impl<W: Unpin> Metered<W> {
    /// Measures `work` for `meter`.
    pub fn new(work: W, meter: Arc<Meter>) -> Metered<W> {
        Metered { work: Some(work), meter }
    }

    /// Polls the work by `poll`.
    pub fn poll_with<T>(self: Pin<&mut Self>, poll: impl FnOnce(Pin<&mut W>) -> T) -> T {
        let this = self.get_mut();
        let work = this.work.as_mut().expect("it is there until it is dropped");
        this.meter.measure(|| poll(Pin::new(work)))
    }
}

impl<F: Future + Unpin> Future for Metered<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.poll_with(|work| work.poll(cx))
    }
}

impl<W> Drop for Metered<W> {
    fn drop(&mut self) {
        let work = self.work.take();
        self.meter.measure(|| drop(work));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    thread_local! { static FAKE: Cell<i64> = const { Cell::new(0) }; }

    #[test]
    fn work_is_measured_where_it_is_done_and_what_it_spawns_knows_whose_it_is() {
        install(|| FAKE.get());
        let meter = Arc::new(Meter::default());
        meter.measure(|| FAKE.set(FAKE.get() + 100));
        FAKE.set(FAKE.get() + 1_000);
        assert_eq!((meter.bytes(), meter.peak()), (100, 100));
        meter.measure(|| assert!(Arc::ptr_eq(&Meter::current().expect("inside"), &meter)));
        assert!(Meter::current().is_none());
        meter.measure(|| FAKE.set(FAKE.get() - 300));
        assert_eq!((meter.bytes(), meter.peak()), (0, 100));
        meter.restart(500);
        assert_eq!(meter.peak(), 0);
        let grown = meter.measure(|| {
            FAKE.set(FAKE.get() + 500);
            let within = check();
            FAKE.set(FAKE.get() + 1);
            (within, check())
        });
        assert!(grown.0.is_ok() && grown.1.is_err() && check().is_ok());
        meter.restart(1_000);
        meter.measure(|| {
            FAKE.set(FAKE.get() + 1_000);
            assert!(check_growth(250).is_ok() && check_growth(251).is_err());
            assert_eq!(meter.bytes(), 1_000, "who asks tells");
            Arc::new(Meter::default()).measure(|| FAKE.set(FAKE.get() + 7));
            FAKE.set(FAKE.get() + 1);
        });
        assert_eq!(meter.bytes(), 1_001);
        meter.end();
        assert!(meter.measure(|| check_growth(0)).is_err());
    }
}
