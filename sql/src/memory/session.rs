//! The trackers of one connection.

use super::QUOTA_BYTES_DEFAULT;
use basalt_common::memory::{Account, Tracker, process};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a connection and its statement hold. Shared by the connection's task, which counts, and whoever lists processes.
#[derive(Debug)]
pub struct SessionMemory {
    session: Arc<Tracker>,
    statement: Arc<Tracker>,
    runs: AtomicBool,
}

impl SessionMemory {
    /// For the connection of an id.
    pub fn new(connection: u64) -> SessionMemory {
        let session = process().child(format!("session {connection}"));
        let statement = session.child("the statement");
        statement.restart(QUOTA_BYTES_DEFAULT);
        SessionMemory { session, statement, runs: AtomicBool::new(false) }
    }

    /// What outlives a statement, and within it the statement.
    pub fn session(&self) -> &Arc<Tracker> {
        &self.session
    }

    /// The running statement.
    pub fn statement(&self) -> &Arc<Tracker> {
        &self.statement
    }

    /// An account of the session's.
    pub fn account(&self) -> Account {
        Account::new(self.session.clone())
    }

    /// A statement begins that may hold `quota` bytes.
    pub fn begin(&self, quota: usize) {
        self.statement.restart(quota);
        self.runs.store(true, Ordering::Relaxed);
    }

    /// The statement has ended, and what was measured of it is gone or was handed on.
    pub fn end(&self) {
        debug_assert_eq!(self.statement.counted(), 0, "a statement is over and holds memory");
        if self.runs.swap(false, Ordering::Relaxed) {
            self.statement.restart(self.statement.limit());
        }
    }

    /// True between the beginning and the end of a statement.
    pub fn runs(&self) -> bool {
        self.runs.load(Ordering::Relaxed)
    }

    /// Bytes that the connection holds, its statement's included.
    pub fn used(&self) -> usize {
        let outside = self.session.counted().saturating_sub(self.statement.counted());
        outside + self.statement.used()
    }
}
