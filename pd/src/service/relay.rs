//! Calls between SQL servers: one calls and waits, the other listens.
//!
//! ```text
//! server 1                      PD                       server 2
//!                               ◀───────────── listen ─── PD holds the request until somebody calls
//! call(2, body) ──────────────▶ ── call ────────────────▶
//!                               ◀───── listen, answer ───
//! ◀────────────────────── body
//! ```
//! So no server needs an address for the others, and a call costs two round trips. PD does not look into the bodies. It
//! remembers nothing that must survive: a call that is lost is one that was not answered.

use super::PdService;
use crate::config::{CALLS_WAITING_MAX, LISTEN_MAX, SQL_CALL_TIMEOUT, SQL_SERVER_DEAF_AFTER, SQL_SERVERS_MAX};
use crate::error::Error;
use basalt_common::env::Monotonic;
use basalt_proto::pd;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tokio::sync::{Notify, oneshot};

/// Calls on their way.
#[derive(Debug, Default)]
pub(super) struct Relay {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    is_closed: bool,
    last_id: u64,
    listeners: BTreeMap<u64, Listener>,
    /// Callers, by the ids of their calls.
    callers: BTreeMap<u64, oneshot::Sender<Bytes>>,
}

#[derive(Debug)]
struct Listener {
    calls: VecDeque<pd::SqlServerMessage>,
    bell: Arc<Notify>,
    /// When it asked for calls, or got some, last.
    heard: Monotonic,
}

impl Relay {
    /// Ends all waits, and those to come.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        state.callers.clear();
        state.listeners.values().for_each(|listener| listener.bell.notify_one());
    }
}

impl State {
    fn hand_over(&mut self, answer: pd::SqlServerMessage) {
        if let Some(caller) = self.callers.remove(&answer.id) {
            // A caller that has gone needs no answer.
            let _ = caller.send(answer.body);
        }
    }

    fn enter(&mut self, server: u64, now: Monotonic) -> Result<Arc<Notify>, Error> {
        self.listeners.retain(|_, listener| now.since(listener.heard) < SQL_SERVER_DEAF_AFTER);
        if self.listeners.len() >= SQL_SERVERS_MAX && !self.listeners.contains_key(&server) {
            return Err(Error::Unavailable("too many SQL servers".into()));
        }
        let new = || Listener { calls: VecDeque::new(), bell: Arc::default(), heard: now };
        let listener = self.listeners.entry(server).or_insert_with(new);
        listener.heard = now;
        Ok(listener.bell.clone())
    }

    fn next_call(&mut self, server: u64, now: Monotonic) -> Option<pd::SqlServerMessage> {
        let listener = self.listeners.get_mut(&server)?;
        listener.heard = now;
        listener.calls.pop_front()
    }

    fn call(&mut self, server: u64, body: Bytes, now: Monotonic) -> Option<(u64, oneshot::Receiver<Bytes>)> {
        let listener = self.listeners.get_mut(&server)?;
        let is_deaf = now.since(listener.heard) >= SQL_SERVER_DEAF_AFTER;
        if self.is_closed || is_deaf || listener.calls.len() >= CALLS_WAITING_MAX {
            return None;
        }
        self.last_id += 1;
        listener.calls.push_back(pd::SqlServerMessage { id: self.last_id, body });
        listener.bell.notify_one();
        let (caller, answer) = oneshot::channel();
        self.callers.insert(self.last_id, caller);
        Some((self.last_id, answer))
    }
}

/// A call whose caller waits; forgotten with it.
struct Call<'a> {
    relay: &'a Relay,
    id: u64,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.relay.state.lock().callers.remove(&self.id);
    }
}

impl PdService {
    pub(super) async fn listen(&self, request: pd::ListenRequest) -> Result<pd::ListenResponse, Error> {
        let server = request.server;
        let bell = {
            let mut state = self.relay.state.lock();
            if let Some(answer) = request.answer {
                state.hand_over(answer);
            }
            state.enter(server, self.env.now())?
        };
        let wait = async {
            loop {
                {
                    let mut state = self.relay.state.lock();
                    let call = state.next_call(server, self.env.now());
                    if call.is_some() || state.is_closed {
                        return call;
                    }
                }
                bell.notified().await;
            }
        };
        let call = tokio::time::timeout(LISTEN_MAX, wait).await.unwrap_or_default();
        Ok(pd::ListenResponse { call })
    }

    pub(super) async fn call_sql_server(&self, request: pd::CallSqlServerRequest) -> pd::CallSqlServerResponse {
        let called = self.relay.state.lock().call(request.server, request.body, self.env.now());
        let Some((id, answer)) = called else { return pd::CallSqlServerResponse::default() };
        let _call = Call { relay: &self.relay, id };
        match tokio::time::timeout(SQL_CALL_TIMEOUT, answer).await {
            Ok(Ok(body)) => pd::CallSqlServerResponse { body, answered: true },
            _ => pd::CallSqlServerResponse::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PdConfig;
    use crate::meta_store::memory::MemoryMetaStore;
    use basalt_common::env::Env;

    async fn service() -> Arc<PdService> {
        let meta = Arc::new(MemoryMetaStore::default());
        PdService::open(Env::simulated(1, 1_000), meta, PdConfig::default()).await.unwrap()
    }

    fn call(server: u64) -> pd::CallSqlServerRequest {
        pd::CallSqlServerRequest { server, body: Bytes::from_static(b"who?") }
    }

    #[tokio::test]
    async fn a_call_is_answered_by_the_next_request_of_its_listener() {
        let service = service().await;
        let listener = async {
            let heard = service.listen(pd::ListenRequest { server: 2, answer: None }).await.unwrap();
            let call = heard.call.unwrap();
            assert_eq!(&call.body[..], b"who?");
            let answer = Some(pd::SqlServerMessage { id: call.id, body: Bytes::from_static(b"me") });
            service.listen(pd::ListenRequest { server: 2, answer }).await.unwrap()
        };
        let answer = tokio::select! {
            biased;
            _ = listener => panic!("nobody called again"),
            answer = service.call_sql_server(call(2)) => answer,
        };
        assert!(answer.answered);
        assert_eq!(&answer.body[..], b"me");
        assert!(service.relay.state.lock().callers.is_empty());
    }

    #[tokio::test]
    async fn nobody_waits_for_a_server_that_is_not_there_or_does_not_answer() {
        let service = service().await;
        assert!(!service.call_sql_server(call(7)).await.answered);
        let (heard, answer) = tokio::join!(
            service.listen(pd::ListenRequest { server: 2, answer: None }),
            service.call_sql_server(call(2))
        );
        assert!(heard.unwrap().call.is_some() && !answer.answered);
        assert!(service.relay.state.lock().callers.is_empty());
    }
}
