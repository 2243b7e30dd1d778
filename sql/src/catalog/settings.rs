//! Changes of accounts and global variables: transactions that raise the schema version, so that every server takes notice.

use super::store::{self, Settings};
use super::{Catalog, keys};
use crate::error::{Error, Result};
use basalt_client::{Transaction, TxnOptions};

/// How often a change is tried when another one gets in between.
const CHANGE_TRIES: u32 = 50;

impl Catalog {
    /// Runs a change in one transaction, again when another one gets in between. `change` gets what there is, and says whether
    /// it has written anything. Returns the version that has the change; `None` when there was nothing to do.
    ///
    /// # Errors
    /// Of `change`, and what the cluster answers; nothing is changed then.
    pub async fn change_settings(
        &self,
        change: impl Fn(&Settings, &mut Transaction) -> Result<bool>,
    ) -> Result<Option<u64>> {
        let mut tries = 0;
        loop {
            let mut txn = self.cluster().begin(TxnOptions::default()).await?;
            let settings = store::load_settings(txn.snapshot()).await?;
            if !change(&settings, &mut txn)? {
                return Ok(None);
            }
            let version = store::read_number(&txn, &keys::version()).await? + 1;
            txn.put(keys::version(), version.to_be_bytes().to_vec())?;
            match txn.commit().await.map_err(Error::from) {
                Ok(_) => return Ok(Some(version)),
                Err(error) if error.is_write_conflict() && tries < CHANGE_TRIES => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }
}
