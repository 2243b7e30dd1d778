//! PD's records in memory, for simulations and tests: a handle can be crashed and opened again.

use super::{MetaChange, MetaError, MetaStore};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A disk of one PD. Clones are the same disk.
#[derive(Clone, Default)]
pub struct MemoryMetaStore {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    records: BTreeMap<String, Bytes>,
}

impl MemoryMetaStore {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
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
        let mut inner = self.inner.lock();
        for change in batch {
            match change {
                MetaChange::Put(key, value) => inner.records.insert(key, value),
                MetaChange::Delete(key) => inner.records.remove(&key),
            };
        }
        Ok(())
    }
}
