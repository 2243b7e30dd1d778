//! Timestamps of transactions, handed out by PD (Percolator §2: the timestamp oracle).

/// A point in the cluster's one order of transactions: 46 bits of milliseconds since 1970, 18 bits of counter.
///
/// ```text
/// 63                    18 17            0
/// ├── physical, ms ───────┼── logical ────┤
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

/// Bits of the counter.
pub const LOGICAL_BITS: u32 = 18;
/// One past the largest counter within one millisecond.
pub const LOGICAL_MAX: u64 = 1 << LOGICAL_BITS;

impl Timestamp {
    /// Before everything; also "none" on the wire.
    pub const ZERO: Timestamp = Timestamp(0);
    /// After everything: reads at it see the newest committed version. No transaction ever starts or commits at it.
    pub const MAX: Timestamp = Timestamp(u64::MAX);

    /// Puts a timestamp together; `logical` must be below [`LOGICAL_MAX`].
    pub fn compose(physical_ms: u64, logical: u64) -> Self {
        debug_assert!(logical < LOGICAL_MAX, "logical part {logical} does not fit");
        Timestamp((physical_ms << LOGICAL_BITS) + logical)
    }

    /// Milliseconds since 1970 by PD's clock.
    pub fn physical_ms(self) -> u64 {
        self.0 >> LOGICAL_BITS
    }

    /// The counter within the millisecond.
    pub fn logical(self) -> u64 {
        self.0 & (LOGICAL_MAX - 1)
    }

    /// The next timestamp; stays at `MAX`.
    pub fn next(self) -> Self {
        Timestamp(self.0.saturating_add(1))
    }

    /// The timestamp just before; stays at zero.
    pub fn prev(self) -> Self {
        Timestamp(self.0.saturating_sub(1))
    }

    /// True for zero, which on the wire means "none".
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl From<u64> for Timestamp {
    fn from(ts: u64) -> Self {
        Timestamp(ts)
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl std::fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}
