//! Changes that want a table for themselves: DROP, TRUNCATE and RENAME, which no transaction may see happen.
//!
//! ```text
//! claim: a record names the tables ──▶ wait until no transaction uses them ──▶ the change, and the claim goes, in one step
//!        (from here on transactions      │ lock_wait_timeout, KILL:
//!         that do not use them yet wait) ▼ the claim goes, nothing was changed
//! ```
//! As MySQL's exclusive metadata lock: who comes after the change waits behind it. A claim whose server shows no sign of life
//! is taken away by any other server.

use super::execute::{DdlContext, STEP_TRIES};
use super::job::{METADATA_LOCK_STATE, OWNER_SILENCE_MAX_MS, RENEW};
use crate::catalog::model::Schema;
use crate::catalog::store::{self, Step};
use crate::catalog::{Catalog, keys};
use crate::error::{Error, Result};
use basalt_client::TxnOptions;
use basalt_common::TableId;
use basalt_common::env::Monotonic;
use basalt_proto::schema::ExclusiveChange;
use prost::Message;
use std::collections::BTreeSet;
use std::time::Duration;

/// How often a claim on tables that another change has claimed is tried.
pub(super) const CLAIMED_POLL: Duration = Duration::from_millis(20);

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
    let patience = Patience::of(ctx);
    while !once(ctx, &tables, &mut change, &patience).await? {
        patience.goes_on()?;
    }
    Ok(())
}

/// False when it turns out in the end that the change is about other tables than were claimed: one was made meanwhile.
async fn once<T, F>(ctx: &DdlContext<'_>, tables: &T, change: &mut F, patience: &Patience<'_, '_>) -> Result<bool>
where
    T: Fn(&Schema) -> Result<Vec<TableId>>,
    F: FnMut(&mut Step) -> Result<bool>,
{
    let claim = Claim::take(ctx, tables, patience).await?;
    if let Some(claim) = &claim {
        let goes_on = || patience.goes_on();
        tokio::select! {
            waited = ctx.catalog.wait_for_all(claim.version, &claim.tables, &goes_on) => waited?,
            error = claim.stay_alive() => return Err(error),
        }
        (ctx.show_state)("");
    }
    let (mut is_current, mut is_done) = (true, false);
    super::execute::one_step(ctx, |step| {
        let owner = claim.as_ref().map(|claim| claim.id);
        let wanted = tables(&step.schema)?;
        is_current = match owner {
            Some(id) => wanted.iter().all(|table| step.schema.exclusive.get(table) == Some(&id)),
            None => wanted.is_empty(),
        };
        if !is_current {
            return Ok(false);
        }
        is_done = change(step)?;
        if let Some(id) = owner {
            step.txn.delete(keys::exclusive(id))?;
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

/// How long a statement waits.
pub(super) struct Patience<'a, 'b> {
    ctx: &'a DdlContext<'b>,
    until: Monotonic,
}

impl<'a, 'b> Patience<'a, 'b> {
    /// From now on.
    pub(super) fn of(ctx: &'a DdlContext<'b>) -> Patience<'a, 'b> {
        Patience { ctx, until: ctx.catalog.cluster().env().now().after(ctx.lock_wait_timeout) }
    }

    /// # Errors
    /// 1317; 1205 when the time is over.
    pub(super) fn goes_on(&self) -> Result<()> {
        (self.ctx.show_state)(METADATA_LOCK_STATE);
        if self.ctx.kill.is_interrupted() {
            Err(Error::Killed)
        } else if self.ctx.catalog.cluster().env().now() > self.until {
            Err(Error::lock_wait_timeout())
        } else {
            Ok(())
        }
    }
}

/// Tables that are claimed. Dropped before its end (the connection is gone) it is given up in the background.
struct Claim {
    catalog: Catalog,
    id: u64,
    tables: Vec<TableId>,
    /// The step that made it.
    version: u64,
    is_open: bool,
}

impl Claim {
    /// Claims tables, after other changes that have claimed one of them; `None` when there are none to claim.
    async fn take<T>(ctx: &DdlContext<'_>, tables: &T, patience: &Patience<'_, '_>) -> Result<Option<Claim>>
    where
        T: Fn(&Schema) -> Result<Vec<TableId>>,
    {
        let cluster = ctx.catalog.cluster();
        let id = cluster.pd().allocate_ids(1).await?;
        let mut tries = 0;
        loop {
            let mut step = Step::new(cluster.begin(TxnOptions::default()).await?).await?;
            let wanted = tables(&step.schema)?;
            if wanted.is_empty() {
                return Ok(None);
            }
            if wanted.iter().any(|table| step.schema.exclusive.contains_key(table)) {
                patience.goes_on()?;
                tokio::time::sleep(CLAIMED_POLL).await;
                continue;
            }
            let record = ExclusiveChange {
                id,
                tables: wanted.iter().map(|table| table.0).collect(),
                owner: ctx.catalog.server_id(),
                owner_until_unix_ms: step.txn.start_ts().physical_ms() + OWNER_SILENCE_MAX_MS,
                statement: ctx.statement.to_string(),
            };
            step.txn.put(keys::exclusive(id), record.encode_to_vec())?;
            let claim =
                Claim { catalog: ctx.catalog.clone(), id, tables: wanted, version: step.next_version(), is_open: true };
            match step.commit().await {
                Ok(_) => return Ok(Some(claim)),
                Err(error) if error.is_write_conflict() && tries < STEP_TRIES => {
                    tries += 1;
                    claim.close();
                }
                // It may be there all the same.
                Err(error) => return Err(error),
            }
        }
    }

    /// Says again and again that the owner lives; returns when it cannot.
    async fn stay_alive(&self) -> Error {
        loop {
            tokio::time::sleep(RENEW).await;
            if let Err(error) = self.renew().await {
                return error;
            }
        }
    }

    async fn renew(&self) -> Result<()> {
        let mut txn = self.catalog.cluster().begin(TxnOptions::default()).await?;
        let Some(mut record) = store::read_exclusive(&txn, self.id).await? else {
            return Err(Error::Internal(format!("the claim of schema change {} was taken away", self.id)));
        };
        record.owner_until_unix_ms = txn.start_ts().physical_ms() + OWNER_SILENCE_MAX_MS;
        txn.put(keys::exclusive(self.id), record.encode_to_vec())?;
        txn.commit().await?;
        Ok(())
    }

    fn close(mut self) {
        self.is_open = false;
    }

    async fn give_up(mut self) {
        self.is_open = false;
        remove(&self.catalog, self.id).await;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.is_open {
            let (catalog, id) = (self.catalog.clone(), self.id);
            tokio::spawn(async move { remove(&catalog, id).await });
        }
    }
}

/// Takes a claim away; what fails is left to [`remove_abandoned`].
async fn remove(catalog: &Catalog, id: u64) {
    for _ in 0..STEP_TRIES {
        match try_remove(catalog, id).await {
            Ok(()) => return,
            Err(error) if error.is_write_conflict() => {}
            Err(error) => return tracing::warn!(change = id, %error, "the claim of a schema change stays for a while"),
        }
    }
}

async fn try_remove(catalog: &Catalog, id: u64) -> Result<()> {
    let mut step = Step::new(catalog.cluster().begin(TxnOptions::default()).await?).await?;
    if store::read_exclusive(&step.txn, id).await?.is_some() {
        step.txn.delete(keys::exclusive(id))?;
        step.commit().await?;
        catalog.refresh().await?;
    }
    Ok(())
}

/// Takes away claims whose owner shows no sign of life.
///
/// # Errors
/// What the cluster answers.
pub async fn remove_abandoned(catalog: &Catalog) -> Result<()> {
    let ts = catalog.cluster().timestamp().await?;
    let mut gone = BTreeSet::new();
    for change in store::read_exclusives(&catalog.cluster().snapshot(ts)).await? {
        if change.owner_until_unix_ms < ts.physical_ms() {
            tracing::info!(
                change = change.id,
                statement = change.statement,
                "taking away a claim that its server left"
            );
            gone.insert(change.id);
        }
    }
    for id in gone {
        remove(catalog, id).await;
    }
    Ok(())
}
