//! Schema changes of several steps, as rows that any SQL server can go on with.

use super::backfill::{self, Progress};
use crate::catalog::model::{Index, SchemaState, Table};
use crate::catalog::store::{self, Step};
use crate::catalog::{Catalog, keys, record};
use crate::error::{Error, Result};
use basalt_client::TxnOptions;
use basalt_common::{IndexId, TableId};
use basalt_proto::schema::{DdlJob, DdlJobState, DdlKind};
use prost::Message;

/// How long an owner that shows no sign of life keeps its job.
pub(super) const OWNER_SILENCE_MAX_MS: u64 = 30_000;
/// How often a step is tried when something gets in between.
const STEP_TRIES: u32 = 50;

/// Adds a job for an index that is about to enter `DeleteOnly` (in the same step).
pub fn enqueue_add_index(step: &mut Step, id: u64, table: &Table, index: &Index, owner: u64) -> Result<()> {
    enqueue(step, id, DdlKind::AddIndex, table, index, owner)
}

/// Adds a job for an index that is about to leave `Public` (in the same step).
pub fn enqueue_drop_index(step: &mut Step, id: u64, table: &Table, index: &Index, owner: u64) -> Result<()> {
    enqueue(step, id, DdlKind::DropIndex, table, index, owner)
}

fn enqueue(step: &mut Step, id: u64, kind: DdlKind, table: &Table, index: &Index, owner: u64) -> Result<()> {
    let job = DdlJob {
        id,
        kind: kind as i32,
        state: DdlJobState::Running as i32,
        schema_state: record::state_to_proto(index.state) as i32,
        database_id: table.database_id,
        table_id: table.id.0,
        index: Some(record::index_to_proto(index, &table.columns)),
        schema_version: step.next_version(),
        owner,
        owner_until_unix_ms: step.txn.start_ts().physical_ms() + OWNER_SILENCE_MAX_MS,
        ..Default::default()
    };
    Ok(step.txn.put(keys::job(id), job.encode_to_vec())?)
}

/// Runs a job to its end.
///
/// # Errors
/// What made it fail, after it was undone; or why this server cannot go on (another one will).
pub async fn run(catalog: &Catalog, id: u64) -> Result<()> {
    loop {
        let txn = catalog.cluster().begin(TxnOptions::default()).await?;
        let Some(job) = store::read_job(&txn, id).await? else {
            return Err(Error::Internal(format!("schema change {id} is gone")));
        };
        drop(txn);
        match job.state() {
            DdlJobState::Done => return Ok(()),
            DdlJobState::Failed => return Err(failure(&job)),
            _ if job.owner != catalog.server_id() => {
                return Err(Error::Internal(format!("schema change {id} went to another server")));
            }
            _ => {}
        }
        catalog.wait_for_all(job.schema_version).await?;
        let state = record::state_from_proto(job.schema_state)?;
        if job.kind() == DdlKind::AddIndex
            && job.state() == DdlJobState::Running
            && state == SchemaState::WriteReorganization
        {
            match fill_in(catalog, &job).await {
                Ok(()) => {}
                Err(Error::User { code, sqlstate, message }) => {
                    undo(catalog, &job, &Error::User { code, sqlstate, message }).await?;
                    continue;
                }
                Err(error) => return Err(error),
            }
        }
        advance(catalog, id).await?;
    }
}

fn failure(job: &DdlJob) -> Error {
    let code = u16::try_from(job.error_code).unwrap_or(1105);
    Error::User { code, sqlstate: if code == 1062 { "23000" } else { "HY000" }, message: job.error_message.clone() }
}

/// What the next state of a job's index is.
fn next_state(job: &DdlJob, state: SchemaState) -> SchemaState {
    let adding = job.kind() == DdlKind::AddIndex && job.state() == DdlJobState::Running;
    match (adding, state) {
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
        let (table_id, index_id) = (TableId(job.table_id), IndexId(job.index.as_ref().map_or(0, |i| i.id)));
        let found = step.schema.table_by_id(table_id).map(|(_, t)| t.clone());
        let position = found.as_ref().and_then(|t| t.indexes.iter().position(|i| i.id == index_id));
        let (Some(table), Some(position)) = (found, position) else {
            // The table was dropped or truncated meanwhile, and the index with it.
            job.state = if job.kind() == DdlKind::DropIndex { DdlJobState::Done } else { DdlJobState::Failed } as i32;
            if job.error_code == 0 {
                (job.error_code, job.error_message) =
                    (1146, "The table was dropped while its index was being added".into());
            }
            return Ok(());
        };
        let mut table = (*table).clone();
        if state == SchemaState::None {
            table.indexes.remove(position);
            step.drop_range(table_id, index_id)?;
        } else {
            table.indexes[position].state = state;
        }
        step.put_table(&table)?;
        job.schema_state = record::state_to_proto(state) as i32;
        match state {
            SchemaState::Public => job.state = DdlJobState::Done as i32,
            SchemaState::None if job.state() == DdlJobState::RollingBack => job.state = DdlJobState::Failed as i32,
            SchemaState::None => job.state = DdlJobState::Done as i32,
            _ => {}
        }
        Ok(())
    })
    .await
}

/// Turns an addition round: the index leaves by the way it came.
async fn undo(catalog: &Catalog, job: &DdlJob, why: &Error) -> Result<()> {
    let (code, _, message) = why.to_mysql();
    edit(catalog, job.id, |_, job| {
        job.state = DdlJobState::RollingBack as i32;
        (job.error_code, job.error_message) = (u32::from(code), message.clone());
        Ok(())
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
        let mut step = Step::new(catalog.cluster().begin(TxnOptions::default()).await?).await?;
        let mut job = owned(&step, catalog, id).await?;
        change(&mut step, &mut job)?;
        job.schema_version = step.next_version();
        job.owner_until_unix_ms = step.txn.start_ts().physical_ms() + OWNER_SILENCE_MAX_MS;
        step.txn.put(keys::job(id), job.encode_to_vec())?;
        match step.commit().await {
            Ok(version) if matches!(job.state(), DdlJobState::Done | DdlJobState::Failed) => {
                return catalog.wait_for_all(version).await;
            }
            Ok(_) => return Ok(()),
            Err(error) if error.is_write_conflict() && tries < STEP_TRIES => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

async fn owned(step: &Step, catalog: &Catalog, id: u64) -> Result<DdlJob> {
    match store::read_job(&step.txn, id).await? {
        Some(job) if job.owner == catalog.server_id() => Ok(job),
        _ => Err(Error::Internal(format!("schema change {id} went to another server"))),
    }
}

async fn fill_in(catalog: &Catalog, job: &DdlJob) -> Result<()> {
    let table = catalog.table(TableId(job.table_id)).ok_or_else(|| Error::no_such_table("", "the table"))?;
    let index_id = IndexId(job.index.as_ref().map_or(0, |i| i.id));
    let index = table
        .indexes
        .iter()
        .find(|i| i.id == index_id)
        .cloned()
        .ok_or_else(|| Error::Internal("the index is gone".into()))?;
    backfill::run(
        catalog,
        &Progress { job_id: job.id, next_key: job.reorg_next_key.clone(), rows_done: job.rows_done },
        &table,
        &index,
    )
    .await
}

/// Goes on with jobs whose owner shows no sign of life.
///
/// # Errors
/// What the cluster answers; jobs that fail are not errors of this call.
pub async fn adopt_abandoned(catalog: &Catalog) -> Result<()> {
    let ts = catalog.cluster().timestamp().await?;
    for job in store::read_jobs(&catalog.cluster().snapshot(ts)).await? {
        let over = matches!(job.state(), DdlJobState::Done | DdlJobState::Failed);
        if over || job.owner_until_unix_ms > ts.physical_ms() {
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
        if let Err(error) = run(catalog, job.id).await {
            tracing::warn!(job = job.id, %error, "the schema change failed");
        }
    }
    Ok(())
}
