//! The inner nodes of the tree: sums, peaks, limits.

use super::heap::Meter;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};

static PROCESS: LazyLock<Arc<Tracker>> = LazyLock::new(|| Arc::new(Tracker::new("process".into(), None)));

/// The root: everything that is counted in this process.
pub fn process() -> &'static Arc<Tracker> {
    &PROCESS
}

/// A limit that was met.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{label} holds {used} bytes and wants {wanted} more, its limit is {limit}")]
pub struct Exceeded {
    /// Whose limit.
    pub label: String,
    /// What it holds.
    pub used: usize,
    /// What it asked for on top.
    pub wanted: usize,
    /// Its limit.
    pub limit: usize,
}

/// A sum of bytes with a place in the tree.
pub struct Tracker {
    label: String,
    parent: Option<Arc<Tracker>>,
    used: AtomicI64,
    peak: AtomicI64,
    /// `i64::MAX`: none.
    limit: AtomicI64,
    /// What the allocator says of the same work.
    meter: Arc<Meter>,
}

impl Tracker {
    fn new(label: String, parent: Option<Arc<Tracker>>) -> Tracker {
        Tracker {
            label,
            parent,
            used: AtomicI64::new(0),
            peak: AtomicI64::new(0),
            limit: AtomicI64::new(i64::MAX),
            meter: Arc::default(),
        }
    }

    /// A tracker whose bytes count for `self` as well.
    pub fn child(self: &Arc<Self>, label: impl Into<String>) -> Arc<Tracker> {
        Arc::new(Tracker::new(label.into(), Some(self.clone())))
    }

    /// What it stands for, for messages.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Counts bytes here and above; no limit is asked.
    pub fn add(&self, bytes: usize) {
        self.change(bytes as i64);
    }

    /// Counts bytes, or nothing when that would go over this tracker's own limit. Limits above it are not asked: the
    /// governor looks after the process's.
    ///
    /// # Errors
    /// [`Exceeded`].
    pub fn try_add(&self, bytes: usize) -> Result<(), Exceeded> {
        self.check(bytes)?;
        self.add(bytes);
        Ok(())
    }

    /// Whether `bytes` more would be within the limit.
    ///
    /// # Errors
    /// [`Exceeded`].
    pub fn check(&self, bytes: usize) -> Result<(), Exceeded> {
        let (used, limit) = (self.used(), self.limit());
        if used.saturating_add(bytes) <= limit {
            return Ok(());
        }
        Err(Exceeded { label: self.label.clone(), used, wanted: bytes, limit })
    }

    /// Gives bytes back.
    pub fn sub(&self, bytes: usize) {
        self.change(-(bytes as i64));
    }

    fn change(&self, bytes: i64) {
        let mut node = Some(self);
        while let Some(tracker) = node {
            let used = tracker.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
            debug_assert!(used >= 0, "{} gave back more than it took", tracker.label);
            if bytes > 0 && used > tracker.peak.load(Ordering::Relaxed) {
                tracker.peak.fetch_max(used, Ordering::Relaxed);
            }
            node = tracker.parent.as_deref();
        }
    }

    /// Bytes in use: counted, or measured when that is more.
    pub fn used(&self) -> usize {
        self.counted().max(self.meter.bytes())
    }

    /// Bytes counted here and below.
    pub fn counted(&self) -> usize {
        usize::try_from(self.used.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// The most that was counted, or measured, since [`Tracker::restart`].
    pub fn peak(&self) -> usize {
        usize::try_from(self.peak.load(Ordering::Relaxed)).unwrap_or(0).max(self.meter.peak())
    }

    /// What the allocator says of this tracker's work.
    pub fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// The limit; `usize::MAX` for none.
    pub fn limit(&self) -> usize {
        match self.limit.load(Ordering::Relaxed) {
            i64::MAX => usize::MAX,
            limit => usize::try_from(limit).unwrap_or(0),
        }
    }

    /// Sets the limit; `usize::MAX` for none.
    pub fn set_limit(&self, bytes: usize) {
        self.limit.store(i64::try_from(bytes).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// Begins anew, for a tracker that serves one statement after the other: another limit, no peak, nothing measured.
    /// What is still counted stays, for whoever still holds it.
    pub fn restart(&self, limit: usize) {
        self.set_limit(limit);
        self.meter.restart(i64::try_from(limit).unwrap_or(i64::MAX));
        if self.peak.load(Ordering::Relaxed) != 0 {
            self.peak.store(self.used.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Tracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} bytes, at most {}", self.label, self.used(), self.peak())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Account, STEP_BYTES};
    use super::*;

    #[test]
    fn bytes_count_for_all_above_and_go_with_their_owner() {
        let root = Arc::new(Tracker::new("root".into(), None));
        let session = root.child("session");
        let (a, b) = (session.child("a"), session.child("b"));
        a.add(5);
        b.add(7);
        a.sub(5);
        assert_eq!((a.used(), b.used(), session.used(), root.used()), (0, 7, 7, 7));
        assert_eq!((a.peak(), session.peak()), (5, 12));
        b.sub(7);
        let mut account = Account::new(b.clone());
        account.add(STEP_BYTES - 1);
        assert_eq!(root.used(), 0, "less than a step is not worth telling");
        account.add(STEP_BYTES);
        assert_eq!(root.used(), 2 * STEP_BYTES - 1);
        account.set(1);
        assert!(root.used() <= STEP_BYTES);
        drop(account);
        assert_eq!((root.used(), session.used()), (0, 0));
    }

    #[test]
    fn a_limit_refuses_and_counts_nothing_of_what_it_refused() {
        let statement = Arc::new(Tracker::new("statement".into(), None));
        statement.restart(100);
        assert!(statement.try_add(60).is_ok());
        let refused = statement.try_add(41).unwrap_err();
        assert_eq!((refused.used, refused.wanted, refused.limit), (60, 41, 100));
        assert_eq!(statement.used(), 60);
        statement.sub(60);
        statement.restart(usize::MAX);
        assert!(statement.try_add(1 << 40).is_ok());
    }

    #[test]
    fn what_was_measured_counts_when_it_is_more() {
        let statement = Arc::new(Tracker::new("statement".into(), None));
        statement.add(10);
        statement.meter().add(4_000);
        assert_eq!((statement.used(), statement.counted(), statement.peak()), (4_000, 10, 4_000));
        statement.meter().add(-5_000);
        assert_eq!(statement.used(), 10);
        statement.restart(50);
        assert_eq!(statement.peak(), 10);
    }
}
