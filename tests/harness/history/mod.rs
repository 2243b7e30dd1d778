//! Histories of transactions, and a checker of what isolation they show.
//!
//! A history says what clients did and were told: which values transactions wrote and read, when, and how they ended. The
//! checker knows nothing of the system that made it. It works as Elle does (Kingsbury and Alvaro, "Elle: Inferring Isolation
//! Anomalies from Experimental Observations", VLDB 2020), with anomalies named as in Adya, Liskov and O'Neil, "Generalized
//! Isolation Level Definitions", ICDE 2000, and Cerone and Gotsman, "Analysing Snapshot Isolation", JACM 2018.
//!
//! # Objects
//!
//! *Lists* grow by appends of elements that are unique in their list; a read returns the whole list, and with it the order of
//! all versions up to the one it saw. *Registers* take values that are unique in their register. A register's order is known
//! only as far as transactions read a value and then wrote the next; what wrote blindly is compared with nobody.
//!
//! # Points and edges
//!
//! A transaction is not one node of the graph but some *points* in time, and each level says which:
//!
//! ```text
//!                  plain reads                                        locking reads          writes
//!  READ COMMITTED  a point for each statement                         statement to commit    commit point
//!  REPEATABLE READ one snapshot point, within the first plain read    statement to commit    commit point
//!  snapshot        one snapshot point, not before the transaction     as plain reads         commit point, and no other
//!  (optimistic)    began                                                                     commit since the snapshot
//!  SERIALIZABLE    commit point                                       commit point           commit point
//! ```
//! A locking read sees what is newest at its statement, and the row stays locked from then until the commit: it is a point
//! within the statement as for what it sees, and the commit point as for what it does not see. That is not so for a locking
//! read that found no row (only some systems lock gaps), for one that was taken back to a savepoint, and for those of a
//! transaction that did not commit: each of these is but a point within its statement. A plain read of an object that the
//! transaction has written is like a locking read, for it is of the newest version, locked, and not of the snapshot.
//!
//! Between points run edges, each of which says "earlier than":
//!
//! - `ww`: from the writer of a version to the writer of the next; commit to commit, or for a snapshot transaction to its
//!   snapshot point (first committer wins);
//! - `wr`: from the writer of a version to the point that read it;
//! - `rw`: from the point that read a version to the writer of the next;
//! - within a transaction from statement to statement, and from all points to the commit;
//! - *session*: from a transaction's commit to the points of the session's next;
//! - *time*: from a point whose statement had ended to one whose statement had not begun.
//!
//! The read of one row outside of a transaction is a point within its statement, whatever the level, which sees what is newest there
//! without asking what time it is. It comes after the commits of that row that had ended, and after the reads of it of its own kind;
//! and everything that begins later comes after it. But a snapshot that was taken before it may hold a commit that was under
//! way all the time, and reached the row only behind it: nothing else leads to such a point by time or session.
//!
//! All points lie on one line where a system keeps its promise, so a cycle is a broken promise, and whatever has none could
//! have come about. Levels can be mixed in one history: each transaction is held to its own.
//!
//! # What each level forbids
//!
//! | | READ COMMITTED | REPEATABLE READ | snapshot | SERIALIZABLE |
//! |---|---|---|---|---|
//! | G0, G1a, G1b, G1c | forbidden | forbidden | forbidden | forbidden |
//! | own writes unseen, orders that do not fit, lost or doubled appends | forbidden | forbidden | forbidden | forbidden |
//! | G-single (read skew), long fork | forbidden in one plain statement, and among locking reads | forbidden among plain reads, and among locking reads | forbidden | forbidden |
//! | lost update | forbidden after a locking read | forbidden after a locking read | forbidden | forbidden |
//! | G2-item (write skew) | forbidden after locking reads | forbidden after locking reads | allowed | forbidden |
//! | order of sessions, real time (but see above) | forbidden | forbidden | forbidden | forbidden |
//!
//! Why REPEATABLE READ is like this in InnoDB and what follows it: a transaction's plain reads are of one snapshot, so
//! (a) *with plain reads only* it is as good as snapshot isolation for what it reads: no G-single, no long fork. Its writes
//! though are of the newest version, and nobody checks that this is the snapshot's: a plain read followed by a write may
//! lose an update, and with two objects show write skew. (b) *With locking reads only* it is two-phase locking, and all its
//! operations on rows that exist are at one point: serializable but for phantoms. (c) *Mixed*, it has two points, and what
//! others commit between them is seen by the locking reads and not by the plain ones: G-single that is legitimate. But a
//! locking read never sees less than the snapshot did, and where it comes before the first plain read, the snapshot has
//! what it saw.
//!
//! READ COMMITTED is held to more than Adya's PL-2, because the systems promise more: a plain statement is of one snapshot,
//! and a later statement's is not older.
//!
//! # Cost and limits
//!
//! Linear in operations, elements read, and n log n for time; a history of 100,000 transactions takes a second or two.
//! Cycles are sought in rounds, each with one more kind of edges: the first to find a cycle names it, and of a strongly
//! connected component (Tarjan 1972) one short cycle is told. Reads of transactions that did not commit are checked as well.
//! A transaction of unknown outcome counts as committed if somebody saw a write of it. Predicates are not modelled: G2 is
//! G2-item.

mod anomaly;
mod check;
mod cycles;
mod graph;
mod observed;
#[cfg(test)]
mod simulated;
#[cfg(test)]
mod tests;

pub use anomaly::{Anomaly, Kind};
pub use check::check;

use std::fmt;

/// What happened. Transactions are known by their place.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// In any order; those of a session in the session's.
    pub transactions: Vec<Transaction>,
}

/// A transaction as its client saw it.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// Whose: transactions of one session follow each other.
    pub session: u32,
    /// What it was promised.
    pub level: Level,
    /// How it ended.
    pub outcome: Outcome,
    /// All its statements: also BEGIN and COMMIT, which hold no operation. Only one in autocommit.
    pub statements: Vec<Statement>,
}

impl Transaction {
    /// When it was begun.
    pub fn invoked(&self) -> u64 {
        self.statements.first().map_or(0, |statement| statement.start)
    }

    /// When its end was known.
    pub fn completed(&self) -> u64 {
        self.statements.last().map_or(u64::MAX, |statement| statement.end)
    }
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It said so.
    Committed,
    /// Rolled back, by the client or the server.
    Aborted,
    /// The answer to COMMIT was lost.
    Unknown,
}

/// An isolation level; what each forbids is in the module's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// READ COMMITTED, a snapshot for each plain statement.
    ReadCommitted,
    /// REPEATABLE READ as InnoDB has it: plain reads of a snapshot, writes and locking reads of what is newest.
    RepeatableRead,
    /// Snapshot isolation: of two writers at once the first to commit wins.
    Snapshot,
    /// SERIALIZABLE.
    Serializable,
}

/// Some operations that one statement did at once.
#[derive(Debug, Clone, Default)]
pub struct Statement {
    /// When it was sent, in nanoseconds of a clock that all sessions share and that never goes back.
    pub start: u64,
    /// When its answer was there.
    pub end: u64,
    /// What it did.
    pub operations: Vec<Operation>,
}

impl Statement {
    /// The same as a statement outside of a transaction that finds its row by the primary key: if it reads one and does nothing
    /// else, it reads what is newest.
    pub fn of_newest(mut self) -> Statement {
        if let [Operation::ReadList { reading, .. } | Operation::ReadRegister { reading, .. }] =
            &mut self.operations[..]
            && *reading == Reading::Plain
        {
            *reading = Reading::Newest;
        }
        self
    }
}

/// What is read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Object {
    /// Begins empty.
    List(u32),
    /// Begins with no value, `None`.
    Register(u32),
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Object::List(id) => write!(f, "list {id}"),
            Object::Register(id) => write!(f, "register {id}"),
        }
    }
}

/// What a statement did to one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Put an element at a list's end.
    Append {
        /// A list.
        object: Object,
        /// Unique in the list.
        element: i64,
    },
    /// Gave a register another value.
    Write {
        /// A register.
        object: Object,
        /// Unique in the register.
        value: i64,
    },
    /// Read a list.
    ReadList {
        /// A list.
        object: Object,
        /// All of it; nothing where there was no row.
        elements: Vec<i64>,
        /// How.
        reading: Reading,
    },
    /// Read a register.
    ReadRegister {
        /// A register.
        object: Object,
        /// None where nobody had written it.
        value: Option<i64>,
        /// How.
        reading: Reading,
    },
    /// Took back what the transaction's statements from this one on had done, up to here: ROLLBACK TO a savepoint, or a
    /// statement that failed after it was recorded.
    Undo {
        /// Place of the first statement that is taken back.
        from: usize,
    },
}

/// How an object is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// A plain SELECT.
    Plain,
    /// A plain SELECT of one row outside of a transaction.
    Newest,
    /// FOR UPDATE, FOR SHARE.
    Locking,
}
