//! What a history should not show.

use std::fmt;

/// Names of anomalies, as Adya and others gave them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Dirty write: a cycle of `ww`.
    G0,
    /// Aborted read.
    G1a,
    /// Intermediate read: of a version that its writer replaced.
    G1b,
    /// Circular information flow: a cycle of `ww` and `wr`.
    G1c,
    /// Read skew: a cycle with one `rw`.
    GSingle,
    /// Two wrote after reading the same version.
    LostUpdate,
    /// G-SIb: a cycle whose `rw`s do not touch; two who see two writes in different orders.
    LongFork,
    /// Write skew: a cycle with `rw`s one behind the other.
    G2Item,
    /// A transaction does not see what it wrote itself.
    Internal,
    /// Two reads of a list, neither of which is the beginning of the other.
    IncompatibleOrder,
    /// An element stands in a list twice, or was written twice.
    Duplicate,
    /// A committed append is missing in a read that began afterwards.
    LostAppend,
    /// A value that nobody wrote.
    Garbage,
    /// A session does not see what it did before.
    SessionOrder,
    /// What had ended does not come before what had not begun.
    RealTime,
}

impl Kind {
    /// The name as papers write it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::G0 => "G0 (dirty write)",
            Kind::G1a => "G1a (aborted read)",
            Kind::G1b => "G1b (intermediate read)",
            Kind::G1c => "G1c (circular information flow)",
            Kind::GSingle => "G-single (read skew)",
            Kind::LostUpdate => "lost update",
            Kind::LongFork => "G-SIb (long fork)",
            Kind::G2Item => "G2-item (write skew)",
            Kind::Internal => "internal inconsistency",
            Kind::IncompatibleOrder => "incompatible order",
            Kind::Duplicate => "duplicate",
            Kind::LostAppend => "lost append",
            Kind::Garbage => "garbage read",
            Kind::SessionOrder => "session order violation",
            Kind::RealTime => "real-time violation",
        }
    }
}

/// One that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anomaly {
    /// Its name.
    pub kind: Kind,
    /// Who takes part, by place in the history.
    pub transactions: Vec<usize>,
    /// What happened, a line for each step.
    pub lines: Vec<String>,
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind.name())?;
        self.lines.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}
