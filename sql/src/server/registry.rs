//! The connections of a server: their ids, what they are doing, and the way to stop them.
//!
//! An id is unique over all servers and tells which of them has the connection:
//!
//! ```text
//! 31 bits = number of the server (11) ⊕ number of the connection there (20)
//! ```
//! The greeting has room for 32 bits, of which some clients take the highest for a sign. A server takes a number at its start that
//! no other has ([`server_number`]). Its own numbers come round after a million connections, past those that are open.

use super::config::PROCESS_TEXT_BYTES_MAX;
use super::kill::KillSwitch;
use crate::memory::SessionMemory;
use basalt_common::env::Monotonic;
use basalt_common::metrics;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bits of an id that are the server's number for the connection.
const LOCAL_BITS: u32 = 20;
/// Servers that have numbers.
pub const SERVER_NUMBERS: u64 = 1 << 11;

/// The number of the server with an id of PD's.
pub fn server_number(server_id: u64) -> u64 {
    server_id % SERVER_NUMBERS
}

/// The number of the server that has a connection.
pub fn server_of(connection_id: u64) -> u64 {
    connection_id >> LOCAL_BITS
}

/// All open connections, and counts of those there were.
#[derive(Debug, Default)]
pub struct Connections {
    /// The number of this server.
    server: u64,
    open: Mutex<BTreeMap<u64, Arc<ConnectionEntry>>>,
    last_id: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    aborted: AtomicU64,
}

/// One open connection.
#[derive(Debug)]
pub struct ConnectionEntry {
    id: u64,
    kill: Arc<KillSwitch>,
    memory: Arc<SessionMemory>,
    transaction: Arc<AtomicU64>,
    process: Mutex<Process>,
}

#[derive(Debug)]
struct Process {
    user: String,
    host: String,
    schema: Option<String>,
    command: &'static str,
    since: Monotonic,
    state: String,
    text: ProcessText,
}

/// A query's text is copied into memory that is kept; a prepared statement's is shared.
#[derive(Debug)]
struct ProcessText {
    copied: Vec<u8>,
    shared: Option<Arc<[u8]>>,
}

/// A row of the process list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProcessInfo {
    /// The connection's id.
    pub id: u64,
    /// The client's user name.
    pub user: String,
    /// Address and port.
    pub host: String,
    /// The current schema.
    pub schema: Option<String>,
    /// What it does, by MySQL's names: Connect, Sleep, Query, Execute, …
    pub command: &'static str,
    /// Since when.
    pub since: Monotonic,
    /// How far a long statement is.
    pub state: String,
    /// The statement's beginning, up to a bound.
    pub text: Option<Vec<u8>>,
    /// Bytes that the connection holds, its statement's and its transaction's.
    pub memory: usize,
    /// The start_ts of the transaction that it is in; 0 without one.
    pub transaction: u64,
}

impl Connections {
    /// None yet, of the server with an id of PD's.
    pub fn new(server_id: u64) -> Connections {
        Connections { server: server_number(server_id), ..Connections::default() }
    }

    /// The number of this server.
    pub fn server(&self) -> u64 {
        self.server
    }

    /// Enters a connection, unless there are `max` already.
    pub(crate) fn register(&self, host: String, now: Monotonic, max: usize) -> Option<Arc<ConnectionEntry>> {
        let mut open = self.open.lock();
        let locals = 1 << LOCAL_BITS;
        if open.len() >= max.min(locals - 1) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        self.accepted.fetch_add(1, Ordering::Relaxed);
        let id = loop {
            let local = (self.last_id.fetch_add(1, Ordering::Relaxed) + 1) % locals as u64;
            let id = (self.server << LOCAL_BITS) | local;
            if local != 0 && !open.contains_key(&id) {
                break id;
            }
        };
        let process = Process {
            user: "unauthenticated user".to_owned(),
            host,
            schema: None,
            command: "Connect",
            since: now,
            state: String::new(),
            text: ProcessText { copied: Vec::new(), shared: None },
        };
        let entry = Arc::new(ConnectionEntry {
            id,
            kill: Arc::default(),
            memory: Arc::new(SessionMemory::new(id)),
            transaction: Arc::default(),
            process: Mutex::new(process),
        });
        open.insert(id, Arc::clone(&entry));
        metrics::SQL_CONNECTIONS.inc();
        Some(entry)
    }

    pub(super) fn unregister(&self, id: u64) {
        if let Some(entry) = self.open.lock().remove(&id) {
            debug_assert_eq!(entry.memory.session().counted(), 0, "connection {id} has ended and holds memory");
            metrics::SQL_CONNECTIONS.dec();
        }
    }

    pub(super) fn count_aborted(&self) {
        self.aborted.fetch_add(1, Ordering::Relaxed);
    }

    /// The connection of an id.
    pub fn get(&self, id: u64) -> Option<Arc<ConnectionEntry>> {
        self.open.lock().get(&id).cloned()
    }

    /// All open connections, by id.
    pub fn all(&self) -> Vec<Arc<ConnectionEntry>> {
        self.open.lock().values().cloned().collect()
    }

    /// Number of open connections (`Threads_connected`).
    pub fn len(&self) -> usize {
        self.open.lock().len()
    }

    /// True when nobody is connected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Connections there have been (`Connections`).
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Connections refused for their number (`Connection_errors_max_connections`).
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Connections that did not get through their handshake (`Aborted_connects`).
    pub fn aborted(&self) -> u64 {
        self.aborted.load(Ordering::Relaxed)
    }
}

impl ConnectionEntry {
    /// `CONNECTION_ID()`.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Stops the statement or the connection.
    pub fn kill(&self) -> &Arc<KillSwitch> {
        &self.kill
    }

    /// What the connection and its statement hold.
    pub fn memory(&self) -> &Arc<SessionMemory> {
        &self.memory
    }

    /// Where the session notes the start_ts of its transaction, 0 without one.
    pub fn transaction(&self) -> &Arc<AtomicU64> {
        &self.transaction
    }

    /// What the connection is doing now.
    pub fn info(&self) -> ProcessInfo {
        let process = self.process.lock();
        let text = match &process.text {
            ProcessText { shared: Some(text), .. } => Some(text.get(..PROCESS_TEXT_BYTES_MAX).unwrap_or(text).to_vec()),
            ProcessText { copied, .. } if !copied.is_empty() => Some(copied.clone()),
            ProcessText { .. } => None,
        };
        ProcessInfo {
            id: self.id,
            user: process.user.clone(),
            host: process.host.clone(),
            schema: process.schema.clone(),
            command: process.command,
            since: process.since,
            state: process.state.clone(),
            text,
            memory: self.memory.used(),
            transaction: self.transaction.load(Ordering::Relaxed),
        }
    }

    /// Records the current schema; a session calls it after USE.
    pub fn set_schema(&self, schema: Option<&str>) {
        self.process.lock().schema = schema.map(str::to_owned);
    }

    /// Says how far a long statement is; forgotten with its end.
    pub fn set_state(&self, state: &str) {
        let mut process = self.process.lock();
        process.state.clear();
        process.state.push_str(state);
    }

    pub(super) fn set_user(&self, user: &str, schema: Option<&str>) {
        let mut process = self.process.lock();
        process.user = user.to_owned();
        process.schema = schema.map(str::to_owned);
    }

    pub(crate) fn begin(&self, command: &'static str, text: &[u8], now: Monotonic) {
        let mut process = self.process.lock();
        (process.command, process.since) = (command, now);
        process.text.copied.clear();
        process.text.copied.extend_from_slice(text.get(..PROCESS_TEXT_BYTES_MAX).unwrap_or(text));
    }

    pub(super) fn share_text(&self, text: &Arc<[u8]>) {
        self.process.lock().text.shared = Some(Arc::clone(text));
    }

    pub(super) fn end(&self, now: Monotonic) {
        self.memory.end();
        let mut process = self.process.lock();
        (process.command, process.since) = ("Sleep", now);
        process.state.clear();
        process.text.copied.clear();
        process.text.shared = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_and_bounded() {
        let connections = Connections::default();
        let register = || connections.register("h:1".to_owned(), Monotonic(0), 2);
        let first = register().unwrap();
        assert!(register().is_some());
        assert!(register().is_none());
        connections.unregister(first.id());
        assert_eq!(register().map(|entry| entry.id()), Some(3));
        assert_eq!((connections.len(), connections.accepted(), connections.refused()), (2, 3, 1));
    }

    #[test]
    fn ids_tell_the_server_and_are_positive_and_not_used_twice() {
        let connections = Connections::new(5 * SERVER_NUMBERS + SERVER_NUMBERS - 1);
        let register = || connections.register("h:1".to_owned(), Monotonic(0), 9).unwrap().id();
        let first = register();
        assert_eq!((server_of(first), connections.server()), (SERVER_NUMBERS - 1, SERVER_NUMBERS - 1));
        assert!(i32::try_from(first).is_ok());
        connections.last_id.store((1 << LOCAL_BITS) - 1, Ordering::Relaxed);
        assert_eq!(register(), first + 1);
    }

    #[test]
    fn process_text_is_bounded_and_forgotten() {
        let connections = Connections::default();
        let entry = connections.register("h:1".to_owned(), Monotonic(0), 2).unwrap();
        entry.begin("Query", &vec![b'x'; 1 << 20], Monotonic(5));
        assert_eq!(entry.info().text.map(|text| text.len()), Some(PROCESS_TEXT_BYTES_MAX));
        entry.end(Monotonic(6));
        assert_eq!((entry.info().command, entry.info().text), ("Sleep", None));
    }
}
