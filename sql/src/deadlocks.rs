//! The deadlocks whose victims were transactions of this server: who waited for whom, on which key, in which statement.
//!
//! They are noted when the victim hears of it and has not let go yet, so that the others still wait. Of connections of other
//! servers nothing but the transaction is known.

use crate::server::registry::Connections;
use basalt_common::Timestamp;
use basalt_common::env::Env;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;

/// Deadlocks that are kept.
const LATEST_MAX: usize = 32;

/// The latest deadlocks of a server.
pub struct Deadlocks {
    env: Env,
    connections: Arc<Connections>,
    latest: Mutex<Latest>,
}

#[derive(Default)]
struct Latest {
    count: u64,
    deadlocks: VecDeque<Deadlock>,
}

/// A circle of waits that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deadlock {
    /// Counts from the server's start.
    pub number: u64,
    /// When it was found, milliseconds since 1970.
    pub found_unix_ms: u64,
    /// Who waited, each for the next, the last for the first.
    pub members: Vec<Member>,
}

/// A transaction in a circle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// By its start_ts.
    pub transaction: Timestamp,
    /// The key that it waited for.
    pub key: Bytes,
    /// Whether it was rolled back.
    pub is_victim: bool,
    /// Its connection, if that is one of this server's.
    pub connection: Option<u64>,
    /// What it was doing.
    pub statement: Option<Vec<u8>>,
}

impl Deadlocks {
    /// None yet.
    pub fn new(env: Env, connections: Arc<Connections>) -> Deadlocks {
        Deadlocks { env, connections, latest: Mutex::default() }
    }

    /// Notes a circle that `victim` is told of; its locks are still there.
    pub fn note(&self, circle: &[(Timestamp, Bytes)], victim: Timestamp) {
        if circle.is_empty() {
            return;
        }
        let processes: Vec<_> = self.connections.all().iter().map(|entry| entry.info()).collect();
        let member = |(transaction, key): &(Timestamp, Bytes)| {
            let process = processes.iter().find(|process| process.transaction == transaction.0);
            Member {
                transaction: *transaction,
                key: key.clone(),
                is_victim: *transaction == victim,
                connection: process.map(|process| process.id),
                statement: process.and_then(|process| process.text.clone()),
            }
        };
        let members = circle.iter().map(member).collect();
        let mut latest = self.latest.lock();
        latest.count += 1;
        let deadlock = Deadlock { number: latest.count, found_unix_ms: self.env.wall_ms(), members };
        latest.deadlocks.truncate(LATEST_MAX - 1);
        latest.deadlocks.push_front(deadlock);
    }

    /// The latest ones, newest first.
    pub fn latest(&self) -> Vec<Deadlock> {
        self.latest.lock().deadlocks.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use basalt_common::env::Monotonic;
    use std::sync::atomic::Ordering;

    #[test]
    fn a_circle_is_kept_with_the_statements_of_its_connections() {
        let connections = Arc::new(Connections::default());
        let entry = connections.register("h:1".to_owned(), Monotonic(0), 9).expect("there is room");
        entry.begin("Query", b"UPDATE t", Monotonic(1));
        entry.transaction().store(7, Ordering::Relaxed);
        let deadlocks = Deadlocks::new(Env::real(), connections);
        deadlocks.note(&[], Timestamp(7));
        assert!(deadlocks.latest().is_empty(), "a circle that nobody knows");
        for _ in 0..LATEST_MAX + 1 {
            deadlocks.note(&[(Timestamp(7), Bytes::from("a")), (Timestamp(8), Bytes::from("b"))], Timestamp(8));
        }
        let latest = deadlocks.latest();
        assert_eq!((latest.len(), latest[0].number), (LATEST_MAX, LATEST_MAX as u64 + 1));
        let members: Vec<_> =
            latest[0].members.iter().map(|m| (m.is_victim, m.connection, m.statement.clone())).collect();
        assert_eq!(members, [(false, Some(entry.id()), Some(b"UPDATE t".to_vec())), (true, None, None)]);
    }
}
