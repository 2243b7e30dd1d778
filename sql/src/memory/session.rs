//! The trackers of one connection.

use super::QUOTA_BYTES_DEFAULT;
use basalt_common::memory::{Account, Exceeded, Tracker, process};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a connection and its statement hold. Shared by the connection's task, which counts, and whoever lists processes.
#[derive(Debug)]
pub struct SessionMemory {
    session: Arc<Tracker>,
    kept: Arc<Tracker>,
    statement: Arc<Tracker>,
    runs: AtomicBool,
}

impl SessionMemory {
    /// For the connection of an id.
    pub fn new(connection: u64) -> SessionMemory {
        let session = process().child(format!("session {connection}"));
        let kept = session.child("what the session keeps");
        let statement = session.child("the statement");
        statement.restart(QUOTA_BYTES_DEFAULT);
        SessionMemory { session, kept, statement, runs: AtomicBool::new(false) }
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

    /// An account for what the client has the session keep: variables, prepared statements, their long data.
    pub fn account_of_kept(&self) -> Account {
        Account::new(self.kept.clone())
    }

    /// Whether the session may keep `bytes` more. All that it keeps is bounded as one statement is.
    ///
    /// # Errors
    /// [`Exceeded`].
    pub fn check_kept(&self, bytes: usize) -> Result<(), Exceeded> {
        let (used, limit) = (self.kept.counted(), self.statement.limit());
        if used.saturating_add(bytes) <= limit {
            return Ok(());
        }
        Err(Exceeded { label: self.kept.label().into(), used, wanted: bytes, limit })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_session_keeps_is_bounded_as_a_statement_is() {
        let memory = SessionMemory::new(7);
        memory.begin(1 << 20);
        let mut variables = memory.account_of_kept();
        assert!(memory.check_kept(1 << 20).is_ok());
        variables.add(900_000);
        let error = memory.check_kept(200_000).expect_err("more than the quota");
        assert_eq!((&*error.label, error.wanted, error.limit), ("what the session keeps", 200_000, 1 << 20));
        memory.begin(usize::MAX);
        assert!(memory.check_kept(1 << 40).is_ok() && memory.used() == 900_000);
        drop(variables);
        assert_eq!(memory.used(), 0);
    }
}
