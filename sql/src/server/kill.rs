//! Stopping statements and connections from outside: KILL, shutdown, a client that went away.
//!
//! One [`KillSwitch`] belongs to a connection for its whole life. Its flags are set by anybody and read by the
//! connection's task and by whatever executes its statement:
//!
//! | flag | set by | effect |
//! |---|---|---|
//! | query | KILL QUERY, a statement's time limit | the running statement ends with error 1317; cleared when the next begins |
//! | connection | KILL, the client vanished | as query, and the connection closes |
//! | memory | the governor of `crate::memory` | with query: the error says why |
//! | drain | shutdown | the connection closes once it is idle |
//!
//! An executor calls [`KillSwitch::check`] once a batch and awaits [`KillSwitch::interrupted`] beside its own waits.
//! Flags are only ever added while a statement runs, so a waiter that checks, enlists and checks again misses nothing.

use super::error::MySqlError;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use tokio::sync::Notify;

const QUERY: u8 = 1;
const CONNECTION: u8 = 2;
const DRAIN: u8 = 4;
const MEMORY: u8 = 8;

/// The flags of one connection, and a way to wait for them.
#[derive(Debug, Default)]
pub struct KillSwitch {
    flags: AtomicU8,
    /// What the process held when MEMORY was set.
    memory: AtomicUsize,
    changed: Notify,
}

impl KillSwitch {
    /// Nothing is killed.
    pub fn new() -> KillSwitch {
        KillSwitch::default()
    }

    /// Ends the running statement, if any.
    pub fn kill_query(&self) {
        self.set(QUERY);
    }

    /// Ends the running statement because the process holds `used` bytes.
    pub fn kill_for_memory(&self, used: usize) {
        self.memory.store(used, Ordering::Relaxed);
        self.set(QUERY | MEMORY);
    }

    /// What the process held when the running statement was ended for that; `None` when it was not.
    pub fn memory_at_kill(&self) -> Option<usize> {
        let is_set = self.flags.load(Ordering::Acquire) & MEMORY != 0;
        is_set.then(|| self.memory.load(Ordering::Relaxed))
    }

    /// Ends the running statement and then the connection.
    pub fn kill_connection(&self) {
        self.set(CONNECTION);
    }

    /// Ends the connection when no statement runs.
    pub fn drain(&self) {
        self.set(DRAIN);
    }

    /// # Errors
    /// 1317 when the statement must end.
    #[inline]
    pub fn check(&self) -> Result<(), MySqlError> {
        if self.is_interrupted() { Err(MySqlError::interrupted()) } else { Ok(()) }
    }

    /// True when the running statement must end.
    #[inline]
    pub fn is_interrupted(&self) -> bool {
        self.flags.load(Ordering::Acquire) & (QUERY | CONNECTION) != 0
    }

    /// True when the connection must end now.
    pub fn is_connection_killed(&self) -> bool {
        self.flags.load(Ordering::Acquire) & CONNECTION != 0
    }

    /// True when the connection must end once idle.
    pub fn is_draining(&self) -> bool {
        self.flags.load(Ordering::Acquire) & DRAIN != 0
    }

    /// Resolves when the running statement must end.
    pub async fn interrupted(&self) {
        self.wait(QUERY | CONNECTION).await;
    }

    /// Resolves when the connection must end even in the middle of a statement.
    pub async fn connection_killed(&self) {
        self.wait(CONNECTION).await;
    }

    /// Resolves when an idle connection must end.
    pub async fn closed_while_idle(&self) {
        self.wait(CONNECTION | DRAIN).await;
    }

    /// Forgets a KILL QUERY that found no statement.
    pub(super) fn begin_statement(&self) {
        if self.flags.load(Ordering::Relaxed) & QUERY != 0 {
            self.flags.fetch_and(!(QUERY | MEMORY), Ordering::AcqRel);
        }
    }

    fn set(&self, flag: u8) {
        self.flags.fetch_or(flag, Ordering::AcqRel);
        self.changed.notify_waiters();
    }

    async fn wait(&self, mask: u8) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.flags.load(Ordering::Acquire) & mask != 0 {
                return;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn query_flag_ends_with_the_statement_and_connection_flag_stays() {
        let switch = KillSwitch::new();
        assert!(switch.interrupted().now_or_never().is_none());
        switch.kill_query();
        assert!(switch.interrupted().now_or_never().is_some());
        assert!(switch.connection_killed().now_or_never().is_none());
        switch.begin_statement();
        assert!(switch.check().is_ok());
        switch.kill_connection();
        switch.begin_statement();
        assert!(switch.check().is_err());
    }

    #[test]
    fn drain_does_not_interrupt() {
        let switch = KillSwitch::new();
        switch.drain();
        assert!(switch.check().is_ok());
        assert!(switch.closed_while_idle().now_or_never().is_some());
    }
}
