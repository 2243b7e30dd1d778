//! Numbers that rows get: AUTO_INCREMENT values and hidden row ids, taken from the cluster in batches.
//!
//! A server takes `[next, next + batch)` in one small transaction and hands it out from memory; numbers that it had when
//! it stopped are never used. So numbers are unique over all servers and rise within one, with gaps, as MySQL allows.

use super::{config, keys, store};
use crate::error::{Error, Result};
use basalt_client::{Cluster, TxnOptions};
use basalt_common::TableId;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Largest value that a signed 64-bit column can take.
const VALUE_MAX: u64 = i64::MAX as u64;
/// How often taking a batch is tried when others take one at the same time.
const TAKE_TRIES: u32 = 50;

/// What is left of a batch: `[next, end)`.
#[derive(Debug, Clone, Copy, Default)]
struct Batch {
    next: u64,
    end: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    AutoIncrement,
    RowId,
}

type Slot = Arc<tokio::sync::Mutex<Batch>>;

/// The sequences of one SQL server.
pub struct Sequences {
    cluster: Cluster,
    slots: Mutex<BTreeMap<(Kind, TableId), Slot>>,
}

impl Sequences {
    /// No batch taken yet.
    pub fn new(cluster: Cluster) -> Sequences {
        Sequences { cluster, slots: Mutex::default() }
    }

    /// Takes `count` AUTO_INCREMENT values of a table, one after the other; returns the first.
    ///
    /// # Errors
    /// 1467 when the column's numbers are used up; what the cluster answers.
    pub async fn auto_increment(&self, table: TableId, count: u64) -> Result<u64> {
        self.take(Kind::AutoIncrement, table, count, config::AUTO_INCREMENT_BATCH).await
    }

    /// Makes sure that no value up to `value` will be handed out: it was inserted explicitly.
    ///
    /// # Errors
    /// What the cluster answers.
    pub async fn observe_auto_increment(&self, table: TableId, value: u64) -> Result<()> {
        let slot = self.slot(Kind::AutoIncrement, table);
        let mut batch = slot.lock().await;
        if value < batch.next {
            return Ok(());
        }
        if value < batch.end {
            batch.next = value + 1;
            return Ok(());
        }
        // Past what this server holds: raise the cluster's counter, by a whole batch, so that the next ids that a client
        // counts up itself cost nothing.
        let above = value.min(VALUE_MAX - 1) + 1;
        let size = config::AUTO_INCREMENT_BATCH;
        let raised = |stored: u64| stored.max(above).saturating_add(size).min(VALUE_MAX);
        let first = self.exchange(keys::auto_increment(table), raised).await?.max(above);
        *batch = Batch { next: first, end: raised(first).max(first) };
        Ok(())
    }

    /// Takes `count` hidden row ids; returns the first.
    ///
    /// # Errors
    /// What the cluster answers.
    pub async fn row_ids(&self, table: TableId, count: u64) -> Result<u64> {
        self.take(Kind::RowId, table, count, config::ROW_ID_BATCH).await
    }

    /// Forgets what was taken for tables that are gone.
    pub fn retain(&self, exists: impl Fn(TableId) -> bool) {
        self.slots.lock().retain(|(_, table), _| exists(*table));
    }

    fn slot(&self, kind: Kind, table: TableId) -> Slot {
        self.slots.lock().entry((kind, table)).or_default().clone()
    }

    async fn take(&self, kind: Kind, table: TableId, count: u64, batch_size: u64) -> Result<u64> {
        let slot = self.slot(kind, table);
        let mut batch = slot.lock().await;
        if batch.end - batch.next < count {
            let key = match kind {
                Kind::AutoIncrement => keys::auto_increment(table),
                Kind::RowId => keys::row_id(table),
            };
            let size = count.max(batch_size);
            let stored = self.exchange(key, |stored| stored.max(1).saturating_add(size)).await?.max(1);
            if stored > VALUE_MAX - count {
                return Err(Error::User {
                    code: 1467,
                    sqlstate: "HY000",
                    message: "Failed to read auto-increment value from storage engine".into(),
                });
            }
            // What is left of the old batch stays in use when the new one follows it without a gap.
            *batch = if batch.end == stored && batch.next < batch.end {
                Batch { next: batch.next, end: stored + size }
            } else {
                Batch { next: stored, end: stored + size }
            };
        }
        let first = batch.next;
        batch.next += count;
        Ok(first)
    }

    /// Replaces a counter by `change` of it; returns what was there.
    async fn exchange(&self, key: Vec<u8>, change: impl Fn(u64) -> u64) -> Result<u64> {
        let mut tries = 0;
        loop {
            let mut txn = self.cluster.begin(TxnOptions::default()).await?;
            let stored = store::read_number(&txn, &key).await?;
            let changed = change(stored);
            if changed == stored {
                return Ok(stored);
            }
            txn.put(key.clone(), changed.to_be_bytes().to_vec())?;
            match txn.commit().await {
                Ok(_) => return Ok(stored),
                // Not known: numbers may be lost, none is handed out twice.
                Err(
                    basalt_client::Error::WriteConflict { .. }
                    | basalt_client::Error::Aborted { .. }
                    | basalt_client::Error::Undetermined(_),
                ) if tries < TAKE_TRIES => {
                    tries += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
