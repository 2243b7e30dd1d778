//! All SQL servers as one: KILL, the process list, and whose a transaction is.
//!
//! A connection's id tells which server has it ([`registry`]). The servers are those that PD knows; they are asked by way of PD,
//! which holds a request of each until somebody calls.

use super::server::Shared;
use super::session::SqlSession;
use crate::error::{Error, Result};
use crate::privilege::Privileges;
use crate::server::registry::{self, ProcessInfo};
use basalt_common::Timestamp;
use basalt_expr::Warnings;
use basalt_proto::pd::{SqlServer, SqlServerMessage};
use basalt_proto::sql::kill_response::Outcome;
use basalt_proto::sql::{
    KillRequest, KillResponse, LookResponse, OwnsRequest, OwnsResponse, Process, ProcessesRequest, ProcessesResponse,
    Request, Response, request, response,
};
use futures::future::join_all;
use prost::Message;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long the process list waits for PD and the other servers.
const LIST_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of statements in one server's list, about; many long ones are cut.
const LIST_TEXT_BYTES_MAX: usize = 1 << 20;
/// The pause after PD could not be asked for calls.
const LISTEN_AGAIN: Duration = Duration::from_millis(500);

impl Shared {
    /// Answers other servers until stopped.
    pub(super) async fn listen(&self, stop: CancellationToken) {
        let mut answer = None;
        loop {
            let called = tokio::select! {
                () = stop.cancelled() => return,
                called = self.cluster.pd().listen(self.catalog.server_id(), answer.take()) => called,
            };
            match called {
                Ok(call) => answer = call.map(|call| SqlServerMessage { body: self.answer(&call.body), ..call }),
                Err(error) => {
                    tracing::debug!(%error, "cannot listen to other SQL servers");
                    tokio::time::sleep(LISTEN_AGAIN).await;
                }
            }
        }
    }

    /// What another server asks; nothing is the answer to what is not understood.
    fn answer(&self, request: &[u8]) -> bytes::Bytes {
        let cmd = match Request::decode(request).ok().and_then(|request| request.cmd) {
            Some(request::Cmd::Kill(kill)) => {
                response::Cmd::Kill(KillResponse { outcome: self.kill_here(&kill) as i32 })
            }
            Some(request::Cmd::Processes(who)) => {
                response::Cmd::Processes(ProcessesResponse { processes: self.processes_here(&who) })
            }
            Some(request::Cmd::Owns(of)) => {
                response::Cmd::Owns(OwnsResponse { owns: self.cluster.owns(Timestamp(of.start_ts)) })
            }
            Some(request::Cmd::Look(_)) => {
                self.catalog.look_now();
                response::Cmd::Look(LookResponse {})
            }
            None => return bytes::Bytes::new(),
        };
        Response { cmd: Some(cmd) }.encode_to_vec().into()
    }

    /// Asks another server; `None` when it does not answer.
    async fn ask(&self, server: u64, cmd: request::Cmd) -> Result<Option<response::Cmd>> {
        let body = Request { cmd: Some(cmd) }.encode_to_vec().into();
        let answer = self.cluster.pd().call_sql_server(server, body).await?;
        Ok(answer.and_then(|body| Response::decode(body).ok()).and_then(|response| response.cmd))
    }

    /// Has the cluster's client ask the other servers whose a lock is that somebody here waits for.
    pub(super) fn find_owners_of_locks(self: &Arc<Shared>) {
        let shared = Arc::downgrade(self);
        self.cluster.set_is_nobodys(Box::new(move |start_ts| {
            let shared = shared.upgrade();
            Box::pin(async move {
                match shared {
                    Some(shared) => shared.is_nobodys(start_ts).await,
                    None => false,
                }
            })
        }));
    }

    /// True when every server that may be alive says that a transaction is not its own.
    async fn is_nobodys(&self, start_ts: Timestamp) -> bool {
        let Some(alive) = self.catalog.live_servers() else { return false };
        let others = alive.into_iter().filter(|id| *id != self.catalog.server_id());
        let asked = others.map(|id| self.ask(id, request::Cmd::Owns(OwnsRequest { start_ts: start_ts.0 })));
        let says_no = |answer| matches!(answer, Ok(Some(response::Cmd::Owns(OwnsResponse { owns: false }))));
        join_all(asked).await.into_iter().all(says_no)
    }

    fn kill_here(&self, kill: &KillRequest) -> Outcome {
        let Some(entry) = self.connections.get(kill.connection) else { return Outcome::Unknown };
        if !kill.everybody && entry.info().user != kill.user {
            return Outcome::Denied;
        }
        if kill.query {
            entry.kill().kill_query();
        } else {
            entry.kill().kill_connection();
        }
        Outcome::Done
    }

    async fn kill_elsewhere(&self, kill: KillRequest) -> Result<Outcome> {
        let number = registry::server_of(kill.connection);
        let servers = self.cluster.pd().sql_server_heartbeat(None, false).await?;
        let Some(server) = servers.iter().find(|server| registry::server_number(server.id) == number) else {
            return Ok(Outcome::Unknown);
        };
        match self.ask(server.id, request::Cmd::Kill(kill)).await? {
            Some(response::Cmd::Kill(answer)) => Ok(answer.outcome()),
            _ => Err(Error::User { code: 1105, sqlstate: "HY000", message: no_answer(server) }),
        }
    }

    /// The connections of this server that the asking account may see.
    pub(super) fn processes_here(&self, who: &ProcessesRequest) -> Vec<Process> {
        let now = self.env.now();
        let all = self.connections.all();
        let text_bytes_max = LIST_TEXT_BYTES_MAX / all.len().max(1);
        let row = |info: ProcessInfo| Process {
            id: info.id,
            user: info.user,
            host: info.host,
            database: info.schema,
            command: info.command.to_owned(),
            seconds: now.since(info.since).as_secs(),
            state: info.state,
            statement: info.text.map(|text| {
                let text = text.get(..text_bytes_max).unwrap_or(&text);
                String::from_utf8_lossy(text).into_owned()
            }),
            memory_bytes: info.memory as u64,
            transaction: info.transaction,
        };
        let all = all.into_iter().map(|entry| entry.info());
        all.filter(|info| who.everybody || info.user == who.user).map(row).collect()
    }

    /// The connections of all servers; the warnings name servers that do not answer.
    pub(super) async fn processes(&self, who: &ProcessesRequest, warnings: &Warnings) -> Vec<Process> {
        let mut processes = self.processes_here(who);
        let known = tokio::time::timeout(LIST_TIMEOUT, self.cluster.pd().sql_server_heartbeat(None, false)).await;
        let Ok(Ok(servers)) = known else {
            warnings.push(1105, "The threads of other SQL servers are missing: PD does not answer");
            return processes;
        };
        let others = servers.iter().filter(|server| server.id != self.catalog.server_id());
        let asked = others.map(|server| async move {
            let answer = self.ask(server.id, request::Cmd::Processes(who.clone()));
            (server, tokio::time::timeout(LIST_TIMEOUT, answer).await)
        });
        for (server, answer) in join_all(asked).await {
            match answer {
                Ok(Ok(Some(response::Cmd::Processes(answer)))) => processes.extend(answer.processes),
                _ => warnings.push(1105, format!("Its threads are missing: {}", no_answer(server))),
            }
        }
        processes.sort_by_key(|process| process.id);
        processes
    }
}

fn no_answer(server: &SqlServer) -> String {
    format!("the SQL server at {} does not answer", server.address)
}

impl SqlSession {
    /// KILL: of one's own connections, or of any with SUPER.
    pub(super) async fn kill_connection(&self, id: u64, query: bool) -> Result<()> {
        let everybody = self.rights().global.has(Privileges::SUPER);
        let kill = KillRequest { connection: id, query, user: self.account.0.clone(), everybody };
        let outcome = match registry::server_of(id) == self.server.connections.server() {
            true => self.server.kill_here(&kill),
            false => self.server.kill_elsewhere(kill).await?,
        };
        match outcome {
            Outcome::Done => Ok(()),
            Outcome::Unknown => Err(unknown_thread(id)),
            Outcome::Denied => {
                let message = format!("You are not owner of thread {id}");
                Err(Error::User { code: 1095, sqlstate: "HY000", message })
            }
        }
    }
}

/// 1094.
pub(super) fn unknown_thread(id: impl std::fmt::Display) -> Error {
    Error::User { code: 1094, sqlstate: "HY000", message: format!("Unknown thread id: {id}") }
}
