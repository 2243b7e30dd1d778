//! PD's records in a RocksDB of their own; every batch is synced. Damage in the log that it keeps is an error at start: cut there,
//! windows of timestamps and ids would go back.

use super::{MetaChange, MetaError, MetaStore};
use async_trait::async_trait;
use bytes::Bytes;
use rocksdb::{DB, DBRecoveryMode, Direction, IteratorMode, Options, WriteBatch, WriteOptions};
use std::path::Path;
use std::sync::Arc;

/// Memory for unflushed records; they are few and small.
const WRITE_BUFFER_BYTES: usize = 1 << 20;
const LOG_FILES_MAX: usize = 2;

/// PD's folder.
pub struct RocksMetaStore {
    db: Arc<DB>,
}

impl RocksMetaStore {
    /// Opens or creates the folder.
    ///
    /// # Errors
    /// [`MetaError::InUse`] when another process has it open.
    pub fn open(path: &Path) -> Result<Self, MetaError> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_paranoid_checks(true);
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        options.set_write_buffer_size(WRITE_BUFFER_BYTES);
        options.set_keep_log_file_num(LOG_FILES_MAX);
        let db = DB::open(&options, path).map_err(|e| {
            let message = e.to_string();
            match message.contains("LOCK") || message.contains("lock hold") {
                true => MetaError::InUse(path.to_path_buf()),
                false => MetaError::Failed(format!("{}: {message}", path.display())),
            }
        })?;
        Ok(RocksMetaStore { db: Arc::new(db) })
    }
}

fn failed(e: rocksdb::Error) -> MetaError {
    MetaError::Failed(e.to_string())
}

#[async_trait]
impl MetaStore for RocksMetaStore {
    fn get(&self, key: &str) -> Result<Option<Bytes>, MetaError> {
        Ok(self.db.get(key).map_err(failed)?.map(Bytes::from))
    }

    fn scan(&self, prefix: &str) -> Result<Vec<(String, Bytes)>, MetaError> {
        let mut found = Vec::new();
        for item in self.db.iterator(IteratorMode::From(prefix.as_bytes(), Direction::Forward)) {
            let (key, value) = item.map_err(failed)?;
            if !key.starts_with(prefix.as_bytes()) {
                break;
            }
            let key = String::from_utf8(key.into_vec())
                .map_err(|e| MetaError::Corrupt(e.as_bytes().escape_ascii().to_string()))?;
            found.push((key, Bytes::from(value)));
        }
        Ok(found)
    }

    async fn write(&self, batch: Vec<MetaChange>) -> Result<(), MetaError> {
        let db = self.db.clone();
        let write = move || {
            let mut changes = WriteBatch::default();
            for change in &batch {
                match change {
                    MetaChange::Put(key, value) => changes.put(key, value),
                    MetaChange::Delete(key) => changes.delete(key),
                }
            }
            let mut options = WriteOptions::default();
            options.set_sync(true);
            db.write_opt(changes, &options).map_err(failed)
        };
        match tokio::task::spawn_blocking(write).await {
            Ok(result) => result,
            Err(e) => Err(MetaError::Failed(e.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::MemoryMetaStore;
    use super::*;

    async fn exercise(store: &dyn MetaStore) {
        let put = |k: &str, v: &str| MetaChange::Put(k.into(), Bytes::copy_from_slice(v.as_bytes()));
        store.write(vec![put("a/1", "x"), put("a/2", "y"), put("b", "z")]).await.expect("writes");
        store.write(vec![MetaChange::Delete("a/1".into()), put("a/3", "w")]).await.expect("writes");
        let keys: Vec<_> = store.scan("a/").expect("scans").into_iter().map(|(k, _)| k).collect();
        assert_eq!(keys, ["a/2", "a/3"]);
        assert_eq!(store.get("b").expect("reads").as_deref(), Some(&b"z"[..]));
        assert_eq!(store.get("a/1").expect("reads"), None);
    }

    #[tokio::test]
    async fn damage_is_an_error() {
        for part in 0..8 {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let store = RocksMetaStore::open(folder.path()).expect("opens");
            for n in 0..32u8 {
                let put = MetaChange::Put(format!("tso/{n}"), Bytes::from(vec![n; 100]));
                store.write(vec![put]).await.expect("writes");
            }
            drop(store);
            let files = std::fs::read_dir(folder.path()).expect("a folder").map(|e| e.expect("readable").path());
            let wal = files.filter(|p| p.extension().is_some_and(|e| e == "log")).max().expect("there is a log");
            let mut bytes = std::fs::read(&wal).expect("readable");
            let at = bytes.len() * part / 8 + 9;
            bytes[at] ^= 0x10;
            std::fs::write(&wal, bytes).expect("writable");
            match RocksMetaStore::open(folder.path()) {
                Err(MetaError::Failed(text)) => assert!(text.contains("Corruption"), "{text}"),
                Err(error) => panic!("part {part}: {error}"),
                Ok(store) => assert_eq!(store.scan("tso/").expect("scans").len(), 32, "part {part} was cut off"),
            }
        }
    }

    #[tokio::test]
    async fn both_stores_do_the_same() {
        exercise(&MemoryMetaStore::new()).await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        exercise(&RocksMetaStore::open(folder.path()).expect("opens")).await;
        let again = RocksMetaStore::open(folder.path()).expect("opens again");
        assert_eq!(again.get("a/3").expect("reads").as_deref(), Some(&b"w"[..]));
        assert!(matches!(RocksMetaStore::open(folder.path()), Err(MetaError::InUse(_))));
    }
}
