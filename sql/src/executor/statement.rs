//! Runs a planned statement: the plain ones once, the writing ones until they stand.
//!
//! ```text
//! SELECT ─▶ short, or the query path when its ranges are long
//! write ──┬─ within BEGIN: savepoint ─▶ run ─▶ ok
//!         │      ▲                      └─ failed: back to the savepoint
//!         │      └── row changed before it was locked: again, with the lock kept, at a newer for_update_ts
//!         └─ autocommit: begin ─▶ run ─▶ commit ─▶ ok
//!                ▲                 └─ conflict, or another's lock: roll back, again; now it locks what it writes
//!                └─────────────────────┘
//! ```
//! Nothing was sent to the client before any of these repeats. A deadlock, or a transaction that others rolled back, ends
//! the whole transaction; an outcome that is not known is never repeated.

use crate::context::{RowStream, StatementContext};
use crate::error::{Error, Result};
use crate::executor::config::AUTOCOMMIT_ATTEMPTS_MAX;
use crate::executor::conflict::ConflictRule;
use crate::executor::outcome::Outcome;
use crate::executor::{delete, duplicate, insert, lock_query, select, source, update};
use crate::plan::Query;
use crate::planner::{DeletePlan, InsertPlan, PhysicalPlan, RowsPlan, ShortQuery, UpdatePlan};
use crate::transaction::SessionTxn;
use basalt_client::Error as ClientError;
use bytes::Bytes;
use std::sync::Arc;

/// Runs a statement.
///
/// # Errors
/// What the statement runs into. Its own writes are undone; after a deadlock or an abort (and a timeout, if
/// `innodb_rollback_on_timeout` says so) the whole transaction is.
pub async fn execute(plan: &PhysicalPlan, ctx: &Arc<StatementContext>, txn: &mut SessionTxn) -> Result<Outcome> {
    txn.enter();
    match plan {
        PhysicalPlan::Short(short) if short.locking.is_some() => write(Work::Lock(short), ctx, txn).await,
        PhysicalPlan::Short(short) => read_short(short, ctx, txn).await.map(Outcome::Rows),
        PhysicalPlan::Query(query) if !query.locks.is_empty() => write(Work::LockQuery(query), ctx, txn).await,
        PhysicalPlan::Query(query) => read_query(query, ctx, txn).await.map(Outcome::Rows),
        PhysicalPlan::Insert(insert) => write(Work::Insert(insert), ctx, txn).await,
        PhysicalPlan::Update(update) => write(Work::Update(update), ctx, txn).await,
        PhysicalPlan::Delete(delete) => write(Work::Delete(delete), ctx, txn).await,
    }
}

/// The rows of a short query, unless they are too many for the short path.
///
/// # Errors
/// As [`execute`].
pub async fn execute_short(
    short: &ShortQuery,
    ctx: &Arc<StatementContext>,
    txn: &mut SessionTxn,
) -> Result<Option<RowStream>> {
    txn.enter();
    select::select(short, ctx, txn).await
}

async fn read_short(short: &ShortQuery, ctx: &Arc<StatementContext>, txn: &mut SessionTxn) -> Result<RowStream> {
    match (select::select(short, ctx, txn).await?, &short.fallback) {
        (Some(rows), _) => Ok(rows),
        (None, Some(query)) => read_query(query, ctx, txn).await,
        (None, None) => Err(Error::Internal("a short query without fallback".into())),
    }
}

async fn read_query(query: &Query, ctx: &Arc<StatementContext>, txn: &mut SessionTxn) -> Result<RowStream> {
    let view = source::read_view(query, txn).await?;
    crate::query::execute(&query.root, ctx, &view, &ctx.virtual_tables).await
}

/// A statement that writes or locks.
#[derive(Clone, Copy)]
enum Work<'a> {
    Insert(&'a InsertPlan),
    Update(&'a UpdatePlan),
    Delete(&'a DeletePlan),
    Lock(&'a ShortQuery),
    LockQuery(&'a Query),
}

async fn write(work: Work<'_>, ctx: &Arc<StatementContext>, txn: &mut SessionTxn) -> Result<Outcome> {
    if txn.is_read_only() && !only_shares(work) {
        return Err(Error::read_only_transaction());
    }
    match txn.is_open() {
        true => write_in_transaction(work, ctx, txn).await,
        false => write_autocommit(work, ctx, txn).await,
    }
}

async fn run(work: Work<'_>, ctx: &Arc<StatementContext>, txn: &mut SessionTxn) -> Result<Outcome> {
    match work {
        Work::Insert(plan) => insert::insert(plan, ctx, txn).await.map(Outcome::Done),
        Work::Update(plan) => update::update(plan, ctx, txn).await.map(Outcome::Done),
        Work::Delete(plan) => delete::delete(plan, ctx, txn).await.map(Outcome::Done),
        Work::Lock(short) => read_short(short, ctx, txn).await.map(Outcome::Rows),
        Work::LockQuery(query) => lock_query::lock_and_read(query, ctx, txn).await.map(Outcome::Rows),
    }
}

async fn write_in_transaction(work: Work<'_>, ctx: &Arc<StatementContext>, txn: &mut SessionTxn) -> Result<Outcome> {
    let error = match run_on_newest(work, ctx, txn).await {
        Ok(outcome) => {
            txn.statement_succeeded();
            return Ok(outcome);
        }
        Err(error) => error,
    };
    let ends_transaction = match &error {
        Error::Client(ClientError::Deadlock { .. } | ClientError::Aborted { .. }) => true,
        Error::Client(ClientError::LockTimeout { .. }) => ctx.limits.rolls_back_on_timeout,
        _ => false,
    };
    if ends_transaction {
        txn.rollback().await;
    }
    Err(described(error, ctx, None))
}

/// Runs a statement; again when a row that it read had changed by the time it was locked. The locks stay, so that those
/// rows do not change any more; others may come in for as long as the statement may wait for locks (1205). What a statement
/// has written that fails is taken back.
async fn run_on_newest(work: Work<'_>, ctx: &Arc<StatementContext>, txn: &mut SessionTxn) -> Result<Outcome> {
    let (savepoint, reads) = (txn.savepoint(), txn.read_mark());
    let env = ctx.cluster.env();
    let until = env.now().after(ctx.limits.lock_wait_timeout);
    loop {
        let error = match run(work, ctx, txn).await {
            Ok(outcome) => return Ok(outcome),
            Err(error) => error,
        };
        txn.rollback_to(savepoint);
        match error {
            Error::Client(ClientError::WriteConflict { key, .. }) if txn.is_pessimistic() => {
                if env.now() > until {
                    return Err(ClientError::LockTimeout { key }.into());
                }
                txn.forget_reads(reads);
                start_again(ctx)?;
            }
            error => {
                if let (Error::Client(ClientError::Deadlock { circle, .. }), Some(victim)) = (&error, txn.start_ts()) {
                    ctx.deadlocks.note(circle, victim);
                }
                return Err(error);
            }
        }
    }
}

async fn write_autocommit(work: Work<'_>, ctx: &Arc<StatementContext>, txn: &mut SessionTxn) -> Result<Outcome> {
    // What only locks has nothing to commit that would tell it of a conflict.
    let mut lock = if locks_what_it_reads(work) || txn.met_writers() { PESSIMISTIC } else { OPTIMISTIC };
    let mut attempt = 0;
    loop {
        txn.begin_statement(lock).await?;
        let error = match run_on_newest(work, ctx, txn).await {
            Ok(outcome) => match txn.commit().await {
                Ok(()) => return Ok(outcome),
                Err(error) => error,
            },
            Err(error) => {
                txn.rollback().await;
                error
            }
        };
        attempt += 1;
        if attempt == AUTOCOMMIT_ATTEMPTS_MAX || !may_run_again(work, &error) {
            return Err(described(error, ctx, txn.refused_row()));
        }
        lock = PESSIMISTIC;
        txn.note_writers();
        start_again(ctx)?;
    }
}

/// Whether it takes no lock but FOR SHARE, which a read-only transaction may.
fn only_shares(work: Work<'_>) -> bool {
    match work {
        Work::Lock(short) => short.locking.is_some_and(|locking| locking.share),
        Work::LockQuery(query) => {
            query.locks.iter().flat_map(|locks| &locks.targets).all(|target| target.locking.share)
        }
        Work::Insert(_) | Work::Update(_) | Work::Delete(_) => false,
    }
}

fn locks_what_it_reads(work: Work<'_>) -> bool {
    match work {
        Work::Lock(_) | Work::LockQuery(_) => true,
        Work::Insert(plan) => match &plan.source {
            Some(RowsPlan::Short(short)) => short.locking.is_some(),
            Some(RowsPlan::Query(query)) => !query.locks.is_empty(),
            None => false,
        },
        Work::Update(_) | Work::Delete(_) => false,
    }
}

/// Conflicts are found at commit.
const OPTIMISTIC: bool = false;
/// What is written is locked first.
const PESSIMISTIC: bool = true;

fn may_run_again(work: Work<'_>, error: &Error) -> bool {
    match error {
        Error::Client(
            ClientError::WriteConflict { .. }
            | ClientError::WouldWait { .. }
            | ClientError::ReadChanged { .. }
            | ClientError::Aborted { .. }
            | ClientError::Deadlock { .. },
        ) => true,
        // A row came in between that the statement knows how to deal with.
        Error::Client(ClientError::AlreadyExists { .. }) => {
            matches!(work, Work::Insert(plan) if ConflictRule::of(&plan.insert) != ConflictRule::Fail)
        }
        _ => false,
    }
}

fn start_again(ctx: &StatementContext) -> Result<()> {
    ctx.check_killed()?;
    ctx.counters.add_retry();
    ctx.eval.warnings.take();
    Ok(())
}

/// Says of a key that exists which table's value it is.
fn described(error: Error, ctx: &StatementContext, row: Option<(Bytes, Bytes)>) -> Error {
    match error {
        Error::Client(ClientError::AlreadyExists { key }) => duplicate::of_key(&key, row.as_ref(), ctx),
        error => error,
    }
}

/// COMMIT of an explicit transaction, with duplicates that only the commit finds told as such.
///
/// # Errors
/// What the client returns.
pub async fn commit(ctx: &StatementContext, txn: &mut SessionTxn) -> Result<()> {
    let outcome = txn.commit().await;
    outcome.map_err(|error| described(error, ctx, txn.refused_row()))
}
