//! What the made-up tables tell of this session and its server.

use super::grants;
use super::server::Shared;
use super::session::{Diagnostic, SqlSession};
use super::users::same;
use super::variables::{DEFINITIONS, Globals, Scope};
use crate::catalog::information_schema::{AccountInfo, Process, RegionInfo, Row, SessionInfo, StoreInfo};
use crate::catalog::size::{self, TableSize};
use crate::deadlocks::Deadlock;
use crate::error::Result;
use crate::privilege::{Privileges, Rights};
use crate::server::registry::Connections;
use crate::server::session_api::Account;
use crate::server::tls::Agreed;
use async_trait::async_trait;
use basalt_common::{KeyRange, TableId};
use basalt_expr::Warnings;
use basalt_expr::value::Value;
use basalt_proto::pd::LockWait;
use basalt_proto::schema::{DdlJob, DdlJobState, User};
use basalt_proto::sql::ProcessesRequest;
use std::sync::Arc;

/// A copy of what the tables may ask, so that filling them does not borrow the session.
pub struct Info {
    server: Arc<Shared>,
    connections: Arc<Connections>,
    variables: Vec<(String, String)>,
    diagnostics: Vec<Diagnostic>,
    /// Takes what the statement that reads the tables is to be warned of.
    statement_warnings: Warnings,
    /// The session's account, what it holds, and the name its client gave.
    account: Arc<Account>,
    rights: Arc<Rights>,
    user: String,
    tls: Agreed,
}

impl SqlSession {
    pub(super) fn session_info(&self, statement_warnings: Warnings) -> Info {
        let variables = DEFINITIONS.iter().map(|d| (d.name.to_string(), self.variables.get(d).to_string())).collect();
        Info {
            server: self.server.clone(),
            connections: self.connection.connections.clone(),
            variables,
            diagnostics: self.diagnostics.clone(),
            statement_warnings,
            account: self.connection.account.clone(),
            rights: self.rights(),
            user: self.account.0.clone(),
            tls: self.connection.peer.tls.unwrap_or_default(),
        }
    }
}

#[async_trait]
impl SessionInfo for Info {
    fn variables(&self, global: bool) -> Vec<(String, String)> {
        if !global {
            return self.variables.clone();
        }
        let globals: &Globals = &self.server.globals;
        let shown = DEFINITIONS.iter().filter(|d| d.scope != Scope::Session);
        shown.map(|d| (d.name.to_string(), globals.get(d).to_string())).collect()
    }

    fn status(&self, _global: bool) -> Vec<(String, String)> {
        let pair = |name: &str, value: u64| (name.to_string(), value.to_string());
        vec![
            pair("Aborted_connects", self.connections.aborted()),
            pair("Connections", self.connections.accepted()),
            pair("Connection_errors_max_connections", self.connections.refused()),
            pair("Plan_cache_plans", self.server.plans.len() as u64),
            pair("Prepared_stmt_count", self.server.prepared.load(std::sync::atomic::Ordering::Relaxed)),
            pair("Questions", self.server.questions()),
            ("Ssl_cipher".to_string(), self.tls.cipher.to_string()),
            ("Ssl_version".to_string(), self.tls.version.to_string()),
            pair("Threads_connected", self.connections.len() as u64),
            pair("Uptime", self.server.uptime_s()),
        ]
    }

    async fn processes(&self) -> Vec<Process> {
        let who = ProcessesRequest { user: self.user.clone(), everybody: self.sees_everybody() };
        let row = |process: basalt_proto::sql::Process| Process {
            id: process.id,
            user: process.user,
            host: process.host,
            database: process.database,
            command: process.command,
            seconds: process.seconds,
            state: process.state,
            statement: process.statement,
            memory_bytes: process.memory_bytes,
            transaction: process.transaction,
        };
        self.server.processes(&who, &self.statement_warnings).await.into_iter().map(row).collect()
    }

    fn now_unix_ms(&self) -> u64 {
        self.server.env.wall_ms()
    }

    fn sees_everybody(&self) -> bool {
        self.rights.global.has(Privileges::PROCESS)
    }

    async fn lock_waits(&self) -> Result<Vec<LockWait>> {
        Ok(self.server.cluster.pd().lock_waits().await?)
    }

    fn deadlocks(&self) -> Vec<Deadlock> {
        self.server.deadlocks.latest()
    }

    fn warnings(&self) -> Vec<(&'static str, u16, String)> {
        self.diagnostics.iter().map(|d| (d.level, d.code, d.message.clone())).collect()
    }

    fn accounts(&self) -> Vec<AccountInfo> {
        let sees_all = self.rights.on_table("mysql", "user").has(Privileges::SELECT);
        let is_own = |user: &User| same(user, &self.account.user, &self.account.host);
        let all = self.server.users.list().into_iter().filter(|(user, _)| sees_all || is_own(user));
        all.map(|(user, rights)| grants::describe(&user, &rights)).collect()
    }

    fn sees_database(&self, name: &str) -> bool {
        // As MySQL lists them; of performance_schema only some tables can be read.
        matches!(name, "information_schema" | "performance_schema") || self.rights.sees_database(name)
    }

    fn column_privileges(&self, database: &str, table: &str) -> String {
        let of_columns = [Privileges::SELECT, Privileges::INSERT, Privileges::UPDATE, Privileges::REFERENCES];
        let here = self.rights.on_table(database, table);
        let held = of_columns.into_iter().filter(|privilege| here.has(*privilege));
        held.map(|privilege| privilege.names().to_lowercase()).collect::<Vec<_>>().join(",")
    }

    async fn regions(&self, start: &[u8], end: &[u8]) -> Result<Vec<RegionInfo>> {
        let found = self.server.cluster.regions_in(&KeyRange::new(start, end)).await?;
        let row = |r: basalt_client::pd_client::RegionAndLeader| RegionInfo {
            id: r.region.id.0,
            start_key: r.region.range.start.0.to_vec(),
            end_key: r.region.range.end.0.to_vec(),
            leader_peer: r.leader.map_or(0, |l| l.id.0),
            leader_store: r.leader.map_or(0, |l| l.store_id.0),
            peers: r.region.peers.iter().map(|p| p.id.0).collect(),
            size_bytes: r.approximate_size_bytes,
            keys: r.approximate_keys,
        };
        Ok(found.into_iter().map(row).collect())
    }

    async fn stores(&self) -> Result<Vec<StoreInfo>> {
        let found = self.server.cluster.pd().stores().await?;
        let row = |found: basalt_proto::pd::StoreAndStats| {
            let (store, stats) = (found.store.unwrap_or_default(), found.stats.unwrap_or_default());
            let name = store.state().as_str_name().to_lowercase();
            let state = name.get(..1).map(str::to_uppercase).unwrap_or_default() + name.get(1..).unwrap_or_default();
            StoreInfo {
                id: store.id,
                address: store.address,
                state,
                regions: stats.region_count,
                leaders: stats.leader_count,
                used_bytes: stats.used_bytes,
                capacity_bytes: stats.capacity_bytes,
            }
        };
        Ok(found.into_iter().map(row).collect())
    }

    async fn table_sizes(&self, tables: &[TableId]) -> Result<Vec<TableSize>> {
        size::of_tables(&self.server.cluster, tables).await
    }

    async fn ddl_jobs(&self) -> Result<Vec<Row>> {
        let cluster = &self.server.cluster;
        let mut jobs = crate::catalog::store::read_jobs(&cluster.snapshot(cluster.timestamp().await?)).await?;
        jobs.reverse();
        Ok(jobs.into_iter().map(job_row).collect())
    }
}

/// A schema change as a row of `BASALT_DDL_JOBS`.
fn job_row(job: DdlJob) -> Row {
    let text = |t: &str| Value::String(t.into());
    let words = |name: &str| text(&name.to_lowercase().replace('_', " "));
    let indexes: Vec<&str> = job.indexes.iter().map(|i| i.name.as_str()).collect();
    // A job that was stopped is one that failed for this reason.
    let is_stopped = job.state() == DdlJobState::Failed && job.error_code == u32::from(crate::ddl::INTERRUPTED);
    vec![
        Value::UInt(job.id),
        words(job.kind().as_str_name()),
        if is_stopped { text("cancelled") } else { words(job.state().as_str_name()) },
        words(job.schema_state().as_str_name()),
        Value::UInt(job.database_id),
        Value::UInt(job.table_id),
        text(&indexes.join(", ")),
        Value::UInt(job.rows_done),
        Value::UInt(job.rows_total.max(job.rows_done)),
        text(&job.error_message),
        text(&job.statement),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::information_schema::columns;

    #[test]
    fn a_job_has_a_value_for_every_column() {
        let columns = columns("information_schema", "BASALT_DDL_JOBS").unwrap();
        let row = job_row(DdlJob { error_code: 1317, state: DdlJobState::Failed as i32, ..DdlJob::default() });
        assert_eq!(row.len(), columns.len());
        for (value, (name, ty)) in row.iter().zip(&columns) {
            let fits = matches!(value, Value::UInt(_)) == ty.is_integer();
            assert!(fits, "{name}: {value:?}");
        }
        assert_eq!(row[2], Value::String("cancelled".into()));
    }
}
