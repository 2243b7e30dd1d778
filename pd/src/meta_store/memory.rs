//! PD's records in memory, for simulations and tests: a handle can be crashed and opened again.

use super::{MetaChange, MetaError, MetaStore};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A disk of one PD. Clones are the same disk.
#[derive(Clone, Default)]
pub struct MemoryMetaStore {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    records: BTreeMap<String, Bytes>,
    /// Written and not synced.
    under_way: Vec<MetaChange>,
    sync_takes: Duration,
}

impl Inner {
    fn sync(&mut self) {
        for change in std::mem::take(&mut self.under_way) {
            match change {
                MetaChange::Put(key, value) => self.records.insert(key, value),
                MetaChange::Delete(key) => self.records.remove(&key),
            };
        }
    }
}

impl MemoryMetaStore {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on a write takes so long.
    pub fn set_sync_time(&self, takes: Duration) {
        self.inner.lock().sync_takes = takes;
    }

    /// Loses power: the write that nobody was told of yet is on the disk or is not. Whoever waits for it must be gone.
    pub fn crash(&self, keeps_unsynced: bool) {
        let mut inner = self.inner.lock();
        if keeps_unsynced {
            inner.sync();
        }
        inner.under_way.clear();
    }
}

#[async_trait]
impl MetaStore for MemoryMetaStore {
    fn get(&self, key: &str) -> Result<Option<Bytes>, MetaError> {
        Ok(self.inner.lock().records.get(key).cloned())
    }

    fn scan(&self, prefix: &str) -> Result<Vec<(String, Bytes)>, MetaError> {
        let inner = self.inner.lock();
        let from = inner.records.range(prefix.to_string()..);
        Ok(from.take_while(|(k, _)| k.starts_with(prefix)).map(|(k, v)| (k.clone(), v.clone())).collect())
    }

    async fn write(&self, batch: Vec<MetaChange>) -> Result<(), MetaError> {
        let takes = {
            let mut inner = self.inner.lock();
            inner.under_way.extend(batch);
            inner.sync_takes
        };
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
        self.inner.lock().sync();
        Ok(())
    }
}
