//! LOCK TABLES: a claim of tables that outlives its statement, until the session gives it back.

use super::claim::{Patience, TableClaim, renew};
use super::execute::DdlContext;
use super::job::RENEW;
use crate::catalog::model::{Schema, SchemaState};
use crate::catalog::store::Step;
use crate::catalog::{Catalog, Wanted};
use crate::error::{Error, Result};
use tokio_util::task::AbortOnDropHandle;

/// Tables that a session has locked. Dropped, they are given back in the background.
pub struct TableLock {
    claim: TableClaim,
    renewal: AbortOnDropHandle<()>,
}

impl TableLock {
    /// Locks what `tables` finds in a schema; `None` when that is nothing.
    ///
    /// # Errors
    /// Of `tables`; 1205 when the wait takes longer than the statement may, 1317. Nothing is locked then.
    pub async fn take<T>(ctx: &DdlContext<'_>, tables: T) -> Result<Option<TableLock>>
    where
        T: Fn(&Schema) -> Result<Wanted>,
    {
        let patience = Patience::of(ctx);
        while let Some(claim) = TableClaim::make(ctx, &tables).await? {
            claim.wait(&patience, &|schema| has_no_job(schema, claim.wanted())).await?;
            // A claim before this one may have given the names to other tables.
            if tables(&*ctx.catalog.schema()?)? == *claim.wanted() {
                claim.grant().await?;
                let renewal = AbortOnDropHandle::new(tokio::spawn(stay_alive(ctx.catalog.clone(), claim.id())));
                return Ok(Some(TableLock { claim, renewal }));
            }
            claim.give_up().await;
            patience.goes_on()?;
        }
        Ok(None)
    }

    /// The claim's id.
    pub fn id(&self) -> u64 {
        self.claim.id()
    }

    /// Writes which tables are locked from now on.
    pub(super) fn put(&self, step: &mut Step, wanted: &Wanted) -> Result<()> {
        self.claim.put(step, wanted, true)
    }

    /// Gives the tables back.
    pub async fn release(self) {
        drop(self.renewal);
        self.claim.give_up().await;
    }
}

/// No index is being added to or dropped from the tables that are kept from everybody. Beside readers that may go on: what
/// waits for a transaction must not keep that transaction waiting, and a job waits for those that read, too.
fn has_no_job(schema: &Schema, wanted: &Wanted) -> bool {
    let mut tables = schema.databases.values().flat_map(|database| database.tables.values());
    tables.all(|table| !wanted.all.contains(&table.id) || table.indexes.iter().all(|i| i.state == SchemaState::Public))
}

/// Says again and again that the owner lives, for as long as the claim is there.
async fn stay_alive(catalog: Catalog, id: u64) {
    loop {
        tokio::time::sleep(RENEW).await;
        match renew(&catalog, id).await {
            Ok(()) => {}
            Err(Error::Internal(why)) => return tracing::warn!(why, "LOCK TABLES is over"),
            Err(error) => tracing::warn!(%error, "LOCK TABLES cannot be prolonged"),
        }
    }
}
