//! Schema changes of several steps, as rows that any SQL server can go on with.
//!
//! ```text
//! add    delete-only → write-only → write-reorganization (rows are filled in) → public ─┬─ done
//!            │             │              │  1062, KILL: rolling back                   └─ replaced indexes: drop
//!            ▼             ▼              ▼
//! drop   absent    ←  delete-only  ←  write-only  ← public
//! ```
//! All indexes of a job take each step together: a statement that adds several shows all of them at once, or none ever.
//!
//! A job runs in a task of its own, so that no step is left half-way when its statement's connection dies. Whoever waits for
//! the task may ask it to stop ([`JobTask`]); an addition that is not public yet is then undone, and so is a removal that still
//! waits for transactions at its first step. Its statement ends there and then: what is undone in the background has no name
//! any more, and nobody sees it.

use super::backfill::{self, Progress};
use crate::catalog::model::{Index, SchemaState, Table};
use crate::catalog::store::{self, Step};
use crate::catalog::{Catalog, Wanted, keys, record};
use crate::error::{Error, Result};
use basalt_client::TxnOptions;
use basalt_common::env::Monotonic;
use basalt_common::{IndexId, TableId};
use basalt_proto::schema as pb;
use basalt_proto::schema::{DdlJob, DdlJobState, DdlKind};
use prost::Message;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// What the process list says of a change that waits for transactions, as MySQL has it.
pub const METADATA_LOCK_STATE: &str = "Waiting for table metadata lock";
/// How long an owner that shows no sign of life keeps its job.
pub(super) const OWNER_SILENCE_MAX_MS: u64 = 30_000;
/// How often an owner says that it lives, while it waits.
pub(super) const RENEW: Duration = Duration::from_millis(OWNER_SILENCE_MAX_MS / 3);
/// How often a step is tried when something gets in between.
const STEP_TRIES: u32 = 50;
/// After which time a job goes on when the cluster could not be reached.
const RUN_AGAIN: Duration = Duration::from_secs(1);

/// What a job is to do.
pub(super) struct NewJob<'a> {
    /// Its id.
    pub id: u64,
    /// The table as the step that enters the job leaves it.
    pub table: &'a Table,
    /// Indexes that are about to enter `DeleteOnly`.
    pub added: &'a [Index],
    /// Indexes that are about to leave `Public`: now, or once the added ones are public.
    pub dropped: &'a [Index],
    /// Who asked for it.
    pub statement: &'a str,
}

/// Enters a job, in the same step that moves its indexes to their first state.
pub(super) fn enqueue(step: &mut Step, new: &NewJob<'_>, owner: u64) -> Result<()> {
    let records = |indexes: &[Index]| -> Vec<pb::Index> {
        indexes.iter().map(|i| record::index_to_proto(i, &new.table.columns)).collect()
    };
    let adds = !new.added.is_empty();
    let (kind, state) =
        if adds { (DdlKind::AddIndex, SchemaState::DeleteOnly) } else { (DdlKind::DropIndex, SchemaState::WriteOnly) };
    let job = DdlJob {
        id: new.id,
        kind: kind as i32,
        state: DdlJobState::Running as i32,
        schema_state: record::state_to_proto(state) as i32,
        database_id: new.table.database_id,
        table_id: new.table.id.0,
        indexes: records(if adds { new.added } else { new.dropped }),
        replaced: if adds { records(new.dropped) } else { Vec::new() },
        statement: new.statement.to_string(),
        schema_version: step.next_version(),
        owner,
        owner_until_unix_ms: step.txn.start_ts().physical_ms() + OWNER_SILENCE_MAX_MS,
        ..Default::default()
    };
    Ok(step.txn.put(keys::job(new.id), job.encode_to_vec())?)
}

/// A job that runs, and the one who waits for it. Dropped, it asks the job to stop.
pub(super) struct JobTask {
    /// Ends with the job, or when it turns back.
    pub outcome: JoinHandle<Result<()>>,
    /// What the process list says of it.
    pub progress: watch::Receiver<String>,
    stop: CancellationToken,
    _stops_when_dropped: DropGuard,
}

impl JobTask {
    /// Runs a job of this server, which waits at every step for transactions so long.
    pub(super) fn start(catalog: &Catalog, id: u64, lock_wait_timeout: Duration) -> JobTask {
        let stop = CancellationToken::new();
        let (report, progress) = watch::channel(String::new());
        let (catalog, token) = (catalog.clone(), stop.clone());
        let run = Run { catalog, id, stop: token, report, lock_wait_timeout: Some(lock_wait_timeout) };
        let outcome = tokio::spawn(run.run());
        JobTask { outcome, progress, _stops_when_dropped: stop.clone().drop_guard(), stop }
    }

    /// Asks the job to undo what it did; without effect once an index is public.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }
}

/// A job under way on this server.
pub(super) struct Run {
    /// The catalog.
    pub catalog: Catalog,
    /// The job.
    pub id: u64,
    /// Cancelled when it should stop.
    pub stop: CancellationToken,
    /// Takes what the process list shows.
    pub report: watch::Sender<String>,
    /// How long a step waits for transactions; `None` when nobody waits for the job.
    pub lock_wait_timeout: Option<Duration>,
}

/// How long a step of a job waits for others, from now on.
pub(super) struct Patience<'a> {
    run: &'a Run,
    until: Option<Monotonic>,
}

impl Patience<'_> {
    /// # Errors
    /// 1317 when the job should stop, 1205 when the time is over.
    pub(super) fn goes_on(&self) -> Result<()> {
        if self.run.stop.is_cancelled() {
            Err(Error::Killed)
        } else if self.until.is_some_and(|until| self.run.catalog.cluster().env().now() > until) {
            Err(Error::lock_wait_timeout())
        } else {
            Ok(())
        }
    }
}

/// What a step of a job came to.
enum Stepped {
    /// There is another one.
    On,
    /// The job is over.
    Over(Result<()>),
    /// It failed, and is being undone.
    Back(Error),
}

impl Run {
    /// Runs the job to its end.
    ///
    /// # Errors
    /// What made it fail, after it was undone; or why this server cannot go on (another one will).
    async fn run(self) -> Result<()> {
        let Some(claim) = self.catalog.claim_job(self.id) else {
            return Err(Error::Internal(format!("schema change {} runs here already", self.id)));
        };
        match self.go_on().await? {
            None => Ok(()),
            Some(why) => {
                tokio::spawn(async move {
                    let _claim = claim;
                    if let Err(error) = self.go_on().await {
                        tracing::debug!(job = self.id, %error, "a schema change was undone");
                    }
                });
                Err(why)
            }
        }
    }

    /// Runs to the end, or until the job turns back: then why.
    async fn go_on(&self) -> Result<Option<Error>> {
        loop {
            match self.step().await {
                Ok(Stepped::Over(outcome)) => return outcome.map(|()| None),
                Ok(Stepped::Back(why)) => return Ok(Some(why)),
                Ok(Stepped::On) => {}
                // The job goes on whoever says what, so its statement does: until the cluster can be reached again.
                Err(error @ (Error::Client(_) | Error::SchemaChanged)) => {
                    tracing::warn!(job = self.id, %error, "a schema change has to wait");
                    tokio::time::sleep(RUN_AGAIN).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// What a step that begins now waits for others.
    pub(super) fn patience(&self) -> Patience<'_> {
        let now = self.catalog.cluster().env().now();
        Patience { run: self, until: self.lock_wait_timeout.map(|timeout| now.after(timeout)) }
    }

    /// Brings the job one state on.
    async fn step(&self) -> Result<Stepped> {
        let catalog = &self.catalog;
        let txn = catalog.cluster().begin(TxnOptions::default()).await?;
        let Some(job) = store::read_job(&txn, self.id).await? else {
            return Err(Error::Internal(format!("schema change {} is gone", self.id)));
        };
        drop(txn);
        match job.state() {
            DdlJobState::Done => return Ok(Stepped::Over(Ok(()))),
            DdlJobState::Failed => return Ok(Stepped::Over(Err(failure(&job)))),
            _ if job.owner != catalog.server_id() => return Err(went_away(self.id)),
            _ => {}
        }
        match self.get_ready(&job).await {
            Ok(()) => advance(catalog, self.id).await.map(|()| Stepped::On),
            Err(why @ (Error::User { .. } | Error::Eval(_) | Error::Killed)) => {
                undo(catalog, &job, &why).await?;
                Ok(Stepped::Back(why))
            }
            Err(error) => Err(error),
        }
    }

    /// Waits until the next step may be taken, and fills the indexes in.
    async fn get_ready(&self, job: &DdlJob) -> Result<()> {
        let patience = self.patience();
        let goes_on = || {
            self.report.send_if_modified(|state| {
                let is_news = state != METADATA_LOCK_STATE;
                *state = METADATA_LOCK_STATE.to_string();
                is_news
            });
            if may_turn_back(job) { patience.goes_on() } else { Ok(()) }
        };
        let table = Wanted::all([TableId(job.table_id)]);
        tokio::select! {
            waited = self.catalog.wait_for_all(job.schema_version, &table, &goes_on) => waited?,
            error = self.stay_owner() => return Err(error),
        }
        self.report.send_replace(String::new());
        if !is_adding(job) {
            return Ok(());
        }
        if self.stop.is_cancelled() { Err(Error::Killed) } else { self.fill_in(job).await }
    }

    /// Says again and again that the job's owner lives, while nothing else writes the job; returns when it cannot.
    pub(super) async fn stay_owner(&self) -> Error {
        loop {
            tokio::time::sleep(RENEW).await;
            if let Err(error) = self.renew().await {
                return error;
            }
        }
    }

    async fn renew(&self) -> Result<()> {
        let mut txn = self.catalog.cluster().begin(TxnOptions::default()).await?;
        let job = store::read_job(&txn, self.id).await?.filter(|job| job.owner == self.catalog.server_id());
        let mut job = job.ok_or_else(|| went_away(self.id))?;
        job.owner_until_unix_ms = txn.start_ts().physical_ms() + OWNER_SILENCE_MAX_MS;
        txn.put(keys::job(self.id), job.encode_to_vec())?;
        txn.commit().await?;
        Ok(())
    }

    /// Fills the indexes in, if they are that far.
    async fn fill_in(&self, job: &DdlJob) -> Result<()> {
        if record::state_from_proto(job.schema_state)? != SchemaState::WriteReorganization {
            return Ok(());
        }
        let Some(table) = self.catalog.table(TableId(job.table_id)) else {
            return Ok(()); // the next step finds out what happened to it
        };
        let ids: Vec<IndexId> = moving(job).collect();
        let indexes: Vec<Index> = table.indexes.iter().filter(|i| ids.contains(&i.id)).cloned().collect();
        let progress = Progress {
            job_id: job.id,
            next_key: job.reorg_next_key.clone(),
            rows_done: job.rows_done,
            rows_total: job.rows_total,
        };
        backfill::Backfill { run: self, table: &table, indexes: &indexes }.run(progress).await
    }
}

fn went_away(id: u64) -> Error {
    Error::Internal(format!("schema change {id} went to another server"))
}

/// True while indexes come in that nobody reads yet.
fn is_adding(job: &DdlJob) -> bool {
    job.kind() == DdlKind::AddIndex && job.state() == DdlJobState::Running
}

/// True while nothing has happened that cannot be taken back: what is added is not read yet, or what is dropped is still
/// maintained by everybody.
fn may_turn_back(job: &DdlJob) -> bool {
    let is_dropping = job.kind() == DdlKind::DropIndex && job.state() == DdlJobState::Running && !job.has_replaced;
    is_adding(job) || is_dropping && job.schema_state == pb::SchemaState::WriteOnly as i32
}

/// The indexes that the job's next step moves.
fn moving(job: &DdlJob) -> impl Iterator<Item = IndexId> + '_ {
    job.indexes.iter().map(|i| IndexId(i.id))
}

fn failure(job: &DdlJob) -> Error {
    let code = u16::try_from(job.error_code).unwrap_or(1105);
    let sqlstate = match code {
        INTERRUPTED => return Error::Killed,
        1062 => "23000",
        1205 => return Error::lock_wait_timeout(),
        1146 => "42S02",
        _ => "HY000",
    };
    Error::User { code, sqlstate, message: job.error_message.clone() }
}

/// MySQL's number of [`Error::Killed`]: the error of a job that was asked to stop.
pub const INTERRUPTED: u16 = 1317;

/// What the next state of a job's indexes is.
fn next_state(job: &DdlJob, state: SchemaState) -> SchemaState {
    match (is_adding(job), state) {
        (true, SchemaState::DeleteOnly) => SchemaState::WriteOnly,
        (true, SchemaState::WriteOnly) => SchemaState::WriteReorganization,
        (true, _) => SchemaState::Public,
        (false, SchemaState::Public | SchemaState::WriteReorganization) => SchemaState::WriteOnly,
        (false, SchemaState::WriteOnly) => SchemaState::DeleteOnly,
        (false, _) => SchemaState::None,
    }
}

/// Takes the job's next step.
async fn advance(catalog: &Catalog, id: u64) -> Result<()> {
    edit(catalog, id, |step, job| {
        let state = next_state(job, record::state_from_proto(job.schema_state)?);
        let ids: Vec<IndexId> = moving(job).collect();
        let found = step.schema.table_by_id(TableId(job.table_id)).map(|(_, t)| t.clone());
        let Some(table) = found.filter(|t| t.indexes.iter().any(|i| ids.contains(&i.id))) else {
            end_without_table(job);
            return Ok(());
        };
        let mut table = (*table).clone();
        if state == SchemaState::None {
            table.indexes.retain(|i| !ids.contains(&i.id));
            for index in ids {
                step.drop_range(table.id, index)?;
            }
        } else {
            set_states(&mut table, &ids, state);
        }
        job.schema_state = record::state_to_proto(state) as i32;
        match state {
            SchemaState::Public if !job.replaced.is_empty() => drop_replaced(job, &mut table),
            SchemaState::Public => job.state = DdlJobState::Done as i32,
            SchemaState::None if job.state() == DdlJobState::RollingBack => job.state = DdlJobState::Failed as i32,
            SchemaState::None => job.state = DdlJobState::Done as i32,
            _ => {}
        }
        step.put_table(&table)
    })
    .await
}

fn set_states(table: &mut Table, ids: &[IndexId], state: SchemaState) {
    table.indexes.iter_mut().filter(|i| ids.contains(&i.id)).for_each(|i| i.state = state);
}

/// The added indexes are public: in the same step, the ones that they replace are no longer.
fn drop_replaced(job: &mut DdlJob, table: &mut Table) {
    job.kind = DdlKind::DropIndex as i32;
    job.has_replaced = true;
    job.indexes = std::mem::take(&mut job.replaced);
    job.schema_state = pb::SchemaState::WriteOnly as i32;
    set_states(table, &moving(job).collect::<Vec<_>>(), SchemaState::WriteOnly);
}

/// The table was dropped or truncated meanwhile, and the indexes with it.
fn end_without_table(job: &mut DdlJob) {
    job.state = if job.kind() == DdlKind::DropIndex { DdlJobState::Done } else { DdlJobState::Failed } as i32;
    if job.error_code == 0 {
        (job.error_code, job.error_message) = (1146, "The table was dropped while its index was being added".into());
    }
}

/// Turns a job round. Added indexes leave by the way they came, and lose their names at once, which are free again; dropped
/// ones are back.
async fn undo(catalog: &Catalog, job: &DdlJob, why: &Error) -> Result<()> {
    let (code, _, message) = why.to_mysql();
    tracing::info!(job = job.id, why = message, "undoing a schema change");
    edit(catalog, job.id, |step, job| {
        (job.error_code, job.error_message) = (u32::from(code), message.clone());
        let ids: Vec<IndexId> = moving(job).collect();
        let table = step.schema.table_by_id(TableId(job.table_id)).map(|(_, table)| (**table).clone());
        let is_added = is_adding(job);
        job.state = if is_added { DdlJobState::RollingBack } else { DdlJobState::Failed } as i32;
        let Some(mut table) = table else { return Ok(()) };
        match is_added {
            true => table.indexes.iter_mut().filter(|i| ids.contains(&i.id)).for_each(|i| i.name.clear()),
            false => set_states(&mut table, &ids, SchemaState::Public),
        }
        step.put_table(&table)
    })
    .await
}

/// Changes a job (and the schema) in one step, if this server still owns it; waits for the new version's servers when the
/// job is over.
async fn edit<F>(catalog: &Catalog, id: u64, mut change: F) -> Result<()>
where
    F: FnMut(&mut Step, &mut DdlJob) -> Result<()>,
{
    let mut tries = 0;
    loop {
        let mut step = Step::begin(catalog).await?;
        let mut job = match store::read_job(&step.txn, id).await? {
            Some(job) if job.owner == catalog.server_id() => job,
            _ => return Err(went_away(id)),
        };
        change(&mut step, &mut job)?;
        job.schema_version = step.next_version();
        job.owner_until_unix_ms = step.txn.start_ts().physical_ms() + OWNER_SILENCE_MAX_MS;
        step.txn.put(keys::job(id), job.encode_to_vec())?;
        match step.commit().await {
            Ok(version) if matches!(job.state(), DdlJobState::Done | DdlJobState::Failed) => {
                return catalog.wait_for_all(version, &Wanted::default(), &|| Ok(())).await;
            }
            Ok(_) => return Ok(()),
            Err(error) if error.is_write_conflict() && tries < STEP_TRIES => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Goes on with jobs whose owner shows no sign of life, in tasks of their own.
///
/// # Errors
/// What the cluster answers; jobs that fail are not errors of this call.
pub async fn adopt_abandoned(catalog: &Catalog) -> Result<()> {
    let ts = catalog.cluster().timestamp().await?;
    for job in store::read_jobs(&catalog.cluster().snapshot(ts)).await? {
        let over = matches!(job.state(), DdlJobState::Done | DdlJobState::Failed);
        if over || job.owner_until_unix_ms > ts.physical_ms() || catalog.runs_job(job.id) {
            continue;
        }
        let mut txn = catalog.cluster().begin(TxnOptions::default()).await?;
        let Some(mut now) = store::read_job(&txn, job.id).await? else { continue };
        if now.owner_until_unix_ms > ts.physical_ms() || now.owner != job.owner {
            continue;
        }
        (now.owner, now.owner_until_unix_ms) = (catalog.server_id(), ts.physical_ms() + OWNER_SILENCE_MAX_MS);
        txn.put(keys::job(job.id), now.encode_to_vec())?;
        if txn.commit().await.is_err() {
            continue; // another server was faster
        }
        tracing::info!(job = job.id, "going on with a schema change that its server left");
        let (catalog, id, stop) = (catalog.clone(), job.id, CancellationToken::new());
        tokio::spawn(async move {
            let run = Run { catalog, id, stop, report: watch::Sender::default(), lock_wait_timeout: None };
            if let Err(error) = run.run().await {
                tracing::warn!(job = id, %error, "the schema change failed");
            }
        });
    }
    Ok(())
}
