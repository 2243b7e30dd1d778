//! A claim of tables ([`crate::catalog::claims`]) from its making to its end.
//!
//! ```text
//! a record names the tables ──▶ wait until the claims before it are gone and no ──▶ theirs ──▶ the record goes
//! (from here on whoever comes     │ transaction uses the tables any more
//!  later waits)                   ▼ lock_wait_timeout, KILL: the record goes, nothing was changed
//! ```
//! A claim whose server shows no sign of life is taken away by any other server.

use super::execute::{CONFLICT_PAUSE, DdlContext};
use super::job::{METADATA_LOCK_STATE, OWNER_SILENCE_MAX_MS, RENEW};
use crate::catalog::model::Schema;
use crate::catalog::store::{self, Step};
use crate::catalog::{Catalog, Wanted, keys};
use crate::error::{Error, Result};
use basalt_client::TxnOptions;
use basalt_common::env::Monotonic;
use basalt_proto::schema as pb;
use prost::Message;
use std::time::Duration;

/// How often a claim looks whether it is its turn.
pub(super) const CLAIMED_POLL: Duration = Duration::from_millis(20);
/// How often a claim is made or taken away when other servers' changes get in between.
const CONFLICTS_MAX: u32 = 200;
/// What is kept of a statement's text, which may name every table there is.
const STATEMENT_CHARS_MAX: usize = 1_000;

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
pub(super) struct TableClaim {
    catalog: Catalog,
    id: u64,
    wanted: Wanted,
    /// The step that made it.
    version: u64,
    statement: String,
    is_open: bool,
}

impl TableClaim {
    /// Claims what `tables` finds in the schema; `None` when that is nothing.
    ///
    /// # Errors
    /// Of `tables`; what the cluster answers.
    pub(super) async fn make<T>(ctx: &DdlContext<'_>, tables: &T) -> Result<Option<TableClaim>>
    where
        T: Fn(&Schema) -> Result<Wanted>,
    {
        let id = ctx.catalog.cluster().pd().allocate_ids(1).await?;
        let mut conflicts = 0;
        loop {
            let mut step = Step::begin(ctx.catalog).await?;
            let wanted = tables(&step.schema)?;
            if wanted.is_empty() {
                return Ok(None);
            }
            let (catalog, version) = (ctx.catalog.clone(), step.next_version());
            let statement = ctx.statement.chars().take(STATEMENT_CHARS_MAX).collect();
            let claim = TableClaim { catalog, id, wanted, version, statement, is_open: true };
            claim.put(&mut step, &claim.wanted, false)?;
            match step.commit().await {
                Ok(_) => return Ok(Some(claim)),
                Err(error) if error.is_write_conflict() && conflicts < CONFLICTS_MAX => {
                    conflicts += 1;
                    claim.close();
                    tokio::time::sleep(CONFLICT_PAUSE).await;
                }
                // It may be there all the same.
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// Writes its record.
    pub(super) fn put(&self, step: &mut Step, wanted: &Wanted, granted: bool) -> Result<()> {
        let record = pb::TableClaim {
            id: self.id,
            tables: wanted.all.iter().map(|table| table.0).collect(),
            read_tables: wanted.writes.iter().map(|table| table.0).collect(),
            schema_version: self.version,
            owner: self.catalog.server_id(),
            owner_until_unix_ms: step.txn.start_ts().physical_ms() + OWNER_SILENCE_MAX_MS,
            statement: self.statement.clone(),
            granted,
        };
        Ok(step.txn.put(keys::claim(self.id), record.encode_to_vec())?)
    }

    /// Returns when it is served: `is_ready` agrees to the schema, the claims before it are gone, and nobody uses the tables.
    ///
    /// # Errors
    /// 1205, 1317; what the cluster answers.
    pub(super) async fn wait(
        &self,
        patience: &Patience<'_, '_>,
        is_ready: &(dyn Fn(&Schema) -> bool + Send + Sync),
    ) -> Result<()> {
        let served = async {
            self.catalog.refresh().await?;
            let mut changes = self.catalog.changes();
            while !self.is_first(&*self.catalog.schema()?, is_ready)? {
                patience.goes_on()?;
                tokio::select! {
                    _ = changes.changed() => {}
                    () = tokio::time::sleep(CLAIMED_POLL) => {}
                }
            }
            self.catalog.wait_for_all(self.version, &self.wanted, &|| patience.goes_on()).await
        };
        tokio::select! {
            served = served => served?,
            error = self.stay_alive() => return Err(error),
        }
        (patience.ctx.show_state)("");
        Ok(())
    }

    fn is_first(&self, schema: &Schema, is_ready: &(dyn Fn(&Schema) -> bool + Send + Sync)) -> Result<bool> {
        let claim = schema.claims.find(self.id).ok_or_else(|| taken_away(self.id))?;
        Ok(schema.claims.queue_of(claim).len() == 1 && is_ready(schema))
    }

    /// Notes for those who wait that it waits for nobody any more.
    ///
    /// # Errors
    /// When it was taken away; what the cluster answers.
    pub(super) async fn grant(&self) -> Result<()> {
        edit(&self.catalog, self.id, |claim| claim.granted = true).await
    }

    /// Says again and again that the owner lives; returns when it cannot.
    async fn stay_alive(&self) -> Error {
        loop {
            tokio::time::sleep(RENEW).await;
            if let Err(error) = renew(&self.catalog, self.id).await {
                return error;
            }
        }
    }

    /// Its record is gone.
    pub(super) fn close(mut self) {
        self.is_open = false;
    }

    /// Gives the tables back.
    pub(super) async fn give_up(mut self) {
        self.is_open = false;
        remove(&self.catalog, self.id).await;
    }
}

impl Drop for TableClaim {
    fn drop(&mut self) {
        if self.is_open {
            let (catalog, id) = (self.catalog.clone(), self.id);
            tokio::spawn(async move { remove(&catalog, id).await });
        }
    }
}

fn taken_away(id: u64) -> Error {
    Error::Internal(format!("the claim {id} of tables was taken away"))
}

/// Waits until nobody else keeps the writers of a table waiting.
///
/// # Errors
/// Of `table`; 1205, 1317.
pub(super) async fn wait_for_others<T>(ctx: &DdlContext<'_>, table: T, patience: &Patience<'_, '_>) -> Result<()>
where
    T: Fn(&Schema) -> Result<basalt_common::TableId>,
{
    let is_kept = |schema: &Schema| Ok::<_, Error>(schema.claims.keep_writers_from(table(schema)?));
    while ctx.lock.is_none() && is_kept(&*ctx.catalog.schema()?)? {
        patience.goes_on()?;
        tokio::time::sleep(CLAIMED_POLL).await;
    }
    (ctx.show_state)("");
    Ok(())
}

/// Says that the owner lives.
///
/// # Errors
/// [`Error::Internal`] when the claim was taken away; what the cluster answers.
pub(super) async fn renew(catalog: &Catalog, id: u64) -> Result<()> {
    edit(catalog, id, |_| {}).await
}

/// Changes what a claim's record says of its owner; no new version of the schema.
async fn edit(catalog: &Catalog, id: u64, change: impl Fn(&mut pb::TableClaim)) -> Result<()> {
    let mut txn = catalog.cluster().begin(TxnOptions::default()).await?;
    let mut claim = store::read_claim(txn.snapshot(), id).await?.ok_or_else(|| taken_away(id))?;
    claim.owner_until_unix_ms = txn.start_ts().physical_ms() + OWNER_SILENCE_MAX_MS;
    change(&mut claim);
    txn.put(keys::claim(id), claim.encode_to_vec())?;
    txn.commit().await?;
    Ok(())
}

/// Whether a claim waits for nobody any more.
///
/// # Errors
/// What the cluster answers.
pub async fn is_granted(catalog: &Catalog, id: u64) -> Result<bool> {
    let ts = catalog.cluster().timestamp().await?;
    Ok(store::read_claim(&catalog.cluster().snapshot(ts), id).await?.is_some_and(|claim| claim.granted))
}

/// Takes a claim away; what fails is left to [`remove_abandoned`].
async fn remove(catalog: &Catalog, id: u64) {
    for _ in 0..CONFLICTS_MAX {
        match try_remove(catalog, id).await {
            Ok(()) => return,
            Err(error) if error.is_write_conflict() => tokio::time::sleep(CONFLICT_PAUSE).await,
            Err(error) => return tracing::warn!(claim = id, %error, "a claim of tables stays for a while"),
        }
    }
}

async fn try_remove(catalog: &Catalog, id: u64) -> Result<()> {
    let mut step = Step::begin(catalog).await?;
    if step.schema.claims.find(id).is_some() {
        step.txn.delete(keys::claim(id))?;
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
    for claim in store::read_claims(&catalog.cluster().snapshot(ts)).await? {
        if claim.owner_until_unix_ms < ts.physical_ms() {
            tracing::info!(claim = claim.id, statement = claim.statement, "taking away a claim that its server left");
            remove(catalog, claim.id).await;
        }
    }
    Ok(())
}
