//! ALTER TABLE, CREATE INDEX and DROP INDEX.
//!
//! All indexes that a statement adds and drops are one job, entered in one step: if one of them cannot be, none is touched.

use super::claim::{CLAIMED_POLL, Patience, wait_for_others};
use super::create_table::build_index;
use super::execute::{DdlContext, find, one_step, rename, rename_is_possible};
use super::job::{self, JobTask, NewJob};
use crate::catalog::model::{Index, SchemaState, Table};
use crate::error::{Error, Result};
use crate::parser::ast::ObjectName;
use crate::parser::statement::{AlterAction, KeyDefinition, KeyKind};
use basalt_common::IndexId;

/// One change of a table's indexes.
pub(super) enum IndexChange<'a> {
    /// ADD INDEX.
    Add(&'a KeyDefinition),
    /// DROP INDEX.
    Drop {
        /// Its name.
        name: &'a str,
        /// IF EXISTS.
        if_exists: bool,
    },
}

/// ALTER TABLE. Everything is looked at before anything is done: a list with one refused action does nothing.
pub(super) async fn alter_table(ctx: &DdlContext<'_>, table: &ObjectName, actions: &[AlterAction]) -> Result<()> {
    wait_for_others(ctx, |schema| Ok(find(schema, ctx, table)?.id), &Patience::of(ctx)).await?;
    let schema = ctx.catalog.schema()?;
    find(&schema, ctx, table)?;
    let mut changes = Vec::new();
    for action in actions {
        match action {
            AlterAction::Unsupported(what) => return Err(Error::unsupported(what)),
            AlterAction::DropPrimaryKey => return Err(Error::unsupported("dropping a primary key")),
            AlterAction::AddKey(key) if key.kind == KeyKind::Primary => {
                return Err(Error::unsupported("adding a primary key to a table"));
            }
            AlterAction::AddKey(key) => changes.push(IndexChange::Add(key)),
            AlterAction::DropKey { name, if_exists } => changes.push(IndexChange::Drop { name, if_exists: *if_exists }),
            AlterAction::Rename(to) => rename_is_possible(&schema, ctx, table, to)?,
            AlterAction::AutoIncrement(_) | AlterAction::EnableKeys(_) | AlterAction::NoEffect => {}
        }
    }
    if !changes.is_empty() {
        change_indexes(ctx, table, &changes).await?;
    }
    for action in actions {
        match action {
            AlterAction::Rename(to) => rename(ctx, &[(table.clone(), to.clone())], true).await?,
            AlterAction::AutoIncrement(next) => {
                let table = find(&*ctx.catalog.schema()?, ctx, table)?;
                ctx.catalog.sequences().observe_auto_increment(table.id, next.saturating_sub(1)).await?;
            }
            AlterAction::EnableKeys(_) => ctx.eval.warnings.push(1031, "Table storage engine doesn't have this option"),
            _ => {}
        }
    }
    Ok(())
}

/// Adds and drops indexes of a table.
pub(super) async fn change_indexes(ctx: &DdlContext<'_>, name: &ObjectName, changes: &[IndexChange<'_>]) -> Result<()> {
    let id = ctx.catalog.cluster().pd().allocate_ids(1).await?;
    let patience = Patience::of(ctx);
    loop {
        wait_for_others(ctx, |schema| Ok(find(schema, ctx, name)?.id), &patience).await?;
        if enter_changes(ctx, name, changes, id).await? {
            return Ok(());
        }
        patience.goes_on()?;
        tokio::time::sleep(CLAIMED_POLL).await;
    }
}

/// False when the table is claimed by others, and when a name is taken by an index that another statement is still adding:
/// who knows whether it will be there.
async fn enter_changes(ctx: &DdlContext<'_>, name: &ObjectName, changes: &[IndexChange<'_>], id: u64) -> Result<bool> {
    let (mut enqueued, mut is_open) = (false, false);
    one_step(ctx, |step| {
        let mut table = (*find(&step.schema, ctx, name)?).clone();
        let is_claimed = ctx.lock.is_none() && step.schema.claims.keep_writers_from(table.id);
        // What an earlier try entered was not committed.
        enqueued = false;
        is_open = is_claimed || changes.iter().any(|change| is_coming(&table, change));
        if is_open {
            return Ok(false);
        }
        let dropped = dropped_indexes(ctx, &table, changes)?;
        let added = added_indexes(ctx, &mut table, &dropped, changes)?;
        check_auto_increment(&table, &added, &dropped)?;
        enqueued = !(added.is_empty() && dropped.is_empty());
        if !enqueued {
            return Ok(false);
        }
        if added.is_empty() {
            let leaving = |index: &&mut Index| dropped.iter().any(|d| d.id == index.id);
            table.indexes.iter_mut().filter(leaving).for_each(|index| index.state = SchemaState::WriteOnly);
        }
        let job = NewJob { id, table: &table, added: &added, dropped: &dropped, statement: ctx.statement };
        job::enqueue(step, &job, ctx.catalog.server_id())?;
        table.indexes.extend(added);
        step.put_table(&table)?;
        Ok(true)
    })
    .await?;
    if enqueued {
        wait_for(ctx, JobTask::start(ctx.catalog, id, ctx.lock_wait_timeout)).await?;
    }
    Ok(!is_open)
}

/// Whether another statement is adding an index of that name.
fn is_coming(table: &Table, change: &IndexChange<'_>) -> bool {
    use SchemaState::{DeleteOnly, WriteOnly, WriteReorganization};
    let IndexChange::Add(KeyDefinition { name: Some(name), .. }) = change else { return false };
    let mut named = table.indexes.iter().filter(|index| index.name.eq_ignore_ascii_case(name));
    named.any(|index| matches!(index.state, DeleteOnly | WriteOnly | WriteReorganization))
}

/// The indexes that are dropped. One that another statement is adding, or dropping, is not there.
fn dropped_indexes(ctx: &DdlContext<'_>, table: &Table, changes: &[IndexChange<'_>]) -> Result<Vec<Index>> {
    let mut dropped: Vec<Index> = Vec::new();
    for change in changes {
        let IndexChange::Drop { name, if_exists } = change else { continue };
        let is_free = |i: &&Index| i.state == SchemaState::Public && dropped.iter().all(|d| d.id != i.id);
        let found = table.indexes.iter().filter(is_free).find(|i| i.name.eq_ignore_ascii_case(name));
        match found {
            Some(index) if index.primary => return Err(Error::unsupported("dropping a primary key")),
            Some(index) => dropped.push(index.clone()),
            None if *if_exists => ctx.note(&Error::cannot_drop_key(name)),
            None => return Err(Error::cannot_drop_key(name)),
        }
    }
    Ok(dropped)
}

/// The indexes that are added. Names of dropped ones are free for them.
fn added_indexes(
    ctx: &DdlContext<'_>,
    table: &mut Table,
    dropped: &[Index],
    changes: &[IndexChange<'_>],
) -> Result<Vec<Index>> {
    let is_dropped = |index: &Index| index.name.is_empty() || dropped.iter().any(|d| d.id == index.id);
    let mut others: Vec<Index> = table.indexes.iter().filter(|i| !is_dropped(i)).cloned().collect();
    let mut added = Vec::new();
    for change in changes {
        let IndexChange::Add(key) = change else { continue };
        let is_taken = |name: &&String| others.iter().any(|i| i.name.eq_ignore_ascii_case(name));
        if let Some(name) = key.name.as_ref().filter(is_taken).filter(|_| key.if_not_exists) {
            ctx.note(&Error::duplicate_key_name(name));
            continue;
        }
        let mut index = build_index(IndexId(table.next_index_id), key, &mut table.columns, &others)?;
        index.state = SchemaState::DeleteOnly;
        table.next_index_id += 1;
        others.push(index.clone());
        added.push(index);
    }
    Ok(added)
}

/// The AUTO_INCREMENT column must lead an index afterwards too.
fn check_auto_increment(table: &Table, added: &[Index], dropped: &[Index]) -> Result<()> {
    let Some(auto) = table.auto_increment_column() else { return Ok(()) };
    let leads = |index: &Index| index.columns.first().is_some_and(|c| c.column == auto);
    let stays = |index: &&Index| dropped.iter().all(|d| d.id != index.id);
    let mut after = table.indexes.iter().filter(stays).chain(added);
    if !dropped.iter().any(leads) || after.any(leads) { Ok(()) } else { Err(Error::wrong_auto_increment()) }
}

/// Waits for a job's end, shows how far it is, and passes KILL on to it.
async fn wait_for(ctx: &DdlContext<'_>, mut task: JobTask) -> Result<()> {
    let mut is_stopped = false;
    loop {
        tokio::select! {
            biased;
            outcome = &mut task.outcome => {
                return outcome.unwrap_or_else(|error| Err(Error::Internal(format!("a schema change ended: {error}"))));
            }
            () = ctx.kill.interrupted(), if !is_stopped => {
                is_stopped = true;
                task.stop();
            }
            Ok(()) = task.progress.changed() => (ctx.show_state)(&task.progress.borrow()),
        }
    }
}
