//! Changes that want a table for themselves: DROP, TRUNCATE and RENAME, which no transaction may see happen.
//!
//! Such a change claims its tables ([`super::claim`]); as soon as nobody uses them it is made, and the claim goes, in one step.
//! A session that has the tables locked ([`super::table_lock`]) has them for itself already; its claim follows them in that step.

use super::claim::{Patience, TableClaim};
use super::execute::DdlContext;
use super::table_lock::TableLock;
use crate::catalog::model::Schema;
use crate::catalog::store::Step;
use crate::catalog::{Wanted, keys};
use crate::error::{Error, Result};
use basalt_common::TableId;

/// Runs a change of one step while no transaction uses the tables that `tables` finds in a schema; see
/// [`one_step`](super::execute::one_step) for `change`.
///
/// # Errors
/// Of `tables` and `change`; 1205 when the wait takes longer than the statement may, 1317. Nothing was changed then.
pub(super) async fn exclusively<T, F>(ctx: &DdlContext<'_>, tables: T, mut change: F) -> Result<()>
where
    T: Fn(&Schema) -> Result<Vec<TableId>>,
    F: FnMut(&mut Step) -> Result<bool>,
{
    if let Some(lock) = ctx.lock {
        return under_lock(ctx, lock, &tables, &mut change).await;
    }
    let patience = Patience::of(ctx);
    while !once(ctx, &tables, &mut change, &patience).await? {
        patience.goes_on()?;
    }
    Ok(())
}

/// The session has locked the tables.
async fn under_lock<T, F>(ctx: &DdlContext<'_>, lock: &TableLock, tables: &T, change: &mut F) -> Result<()>
where
    T: Fn(&Schema) -> Result<Vec<TableId>>,
    F: FnMut(&mut Step) -> Result<bool>,
{
    super::execute::one_step(ctx, |step| {
        let claim = step.schema.claims.find(lock.id());
        let mut wanted = claim.map(|claim| claim.wanted.clone()).unwrap_or_default();
        for table in tables(&step.schema)? {
            if !wanted.all.contains(&table) {
                let name = step.schema.table_by_id(table).map(|(_, table)| table.name.clone());
                return Err(Error::not_locked(name.unwrap_or_default()));
            }
        }
        let is_done = change(step)?;
        let replaced = std::mem::take(&mut step.replaced);
        if is_done && !replaced.is_empty() {
            for (old, new) in replaced {
                wanted.all.remove(&old);
                wanted.all.extend(new);
            }
            lock.put(step, &wanted)?;
        }
        Ok(is_done)
    })
    .await
}

/// False when it turns out in the end that the change is about other tables than were claimed: one was made meanwhile.
async fn once<T, F>(ctx: &DdlContext<'_>, tables: &T, change: &mut F, patience: &Patience<'_, '_>) -> Result<bool>
where
    T: Fn(&Schema) -> Result<Vec<TableId>>,
    F: FnMut(&mut Step) -> Result<bool>,
{
    let claim = TableClaim::make(ctx, &|schema: &Schema| Ok(Wanted::all(tables(schema)?))).await?;
    if let Some(claim) = &claim {
        claim.wait(patience, &|_| true).await?;
    }
    let (mut is_current, mut is_done) = (true, false);
    super::execute::one_step(ctx, |step| {
        let wanted = tables(&step.schema)?;
        let claimed = claim.as_ref().and_then(|claim| step.schema.claims.find(claim.id()));
        is_current = match claimed {
            Some(claimed) => wanted.iter().all(|table| claimed.wanted.all.contains(table)),
            None => wanted.is_empty(),
        };
        if !is_current {
            return Ok(false);
        }
        is_done = change(step)?;
        if let Some(claim) = &claim {
            step.txn.delete(keys::claim(claim.id()))?;
        }
        Ok(is_done)
    })
    .await?;
    match claim {
        Some(claim) if is_done => claim.close(),
        Some(claim) => claim.give_up().await,
        None => {}
    }
    Ok(is_current)
}
