//! The engine on RocksDB: besides the raft log's, the one module here that knows the crate.
//!
//! - No write-ahead log: the raft log is the log. All families flush atomically, so what is on disk is the state at one
//!   apply index. Closing the engine flushes first.
//! - `write` and `default` end in an eight-byte timestamp. The prefix extractor cuts it, so that bloom filters (of files
//!   and of memtables) answer "no version of this key" for a seek that stays within one key.
//! - `lock` and `local` are read by whole keys and small: whole-key blooms.
//! - Memory is bounded by the block cache and the write buffer manager.
//! - RocksDB's own write stalls are set far off: [`Engine::suggested_delay`] slows clients down before.
//!
//! `get_flushed` reads with RocksDB's persisted tier, which skips memtables when the log is off.

#![expect(unsafe_code, reason = "snapshots and iterators of the crate borrow the database; ours hold it by Arc")]

use super::{
    ApproximateSize, Cf, DiskSpace, Engine, EngineError, EngineIterator, EngineRange, ExportedFile, IterOptions,
    Modify, Snapshot,
};
use crate::config::EngineConfig;
use basalt_common::key::TS_LEN;
use bytes::Bytes;
use rocksdb::properties;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, BottommostLevelCompaction, Cache, ColumnFamily, ColumnFamilyDescriptor,
    CompactOptions, DB, DBCompressionType, DBRawIterator, DataBlockIndexType, FlushOptions, IngestExternalFileOptions,
    LogLevel, Options, ReadOptions, ReadTier, SliceTransform, SstFileWriter, WriteBatch, WriteBufferManager,
    WriteOptions,
};
use std::io::Read;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

const ALL_CFS: [Cf; 4] = [Cf::Default, Cf::Lock, Cf::Write, Cf::Local];
/// The longest delay that flow control asks for.
const DELAY_MAX: Duration = Duration::from_millis(500);
/// Share of a memtable's memory spent on its bloom filter.
const MEMTABLE_BLOOM_RATIO: f64 = 0.1;
/// RocksDB's ranges need an end. No engine key is as long, so none sorts at or above this.
const ABOVE_ALL_KEYS: [u8; 16 << 10] = [0xff; 16 << 10];
const BLOOM_BITS_PER_KEY: f64 = 10.0;
const BLOCK_BYTES: usize = 16 << 10;
/// A partition of an index or of a filter.
const METADATA_BLOCK_BYTES: usize = 8 << 10;
const LOG_FILES_KEPT: usize = 4;
const LOG_FILE_BYTES_MAX: usize = 8 << 20;

/// Told what RocksDB says of data that do not check: which file, where.
pub type OnDamage = Box<dyn Fn(&EngineError) + Send + Sync>;

/// The database, and who is to hear of damage.
struct Database {
    db: DB,
    on_damage: OnceLock<OnDamage>,
}

impl Deref for Database {
    type Target = DB;

    fn deref(&self) -> &DB {
        &self.db
    }
}

impl Database {
    fn error(&self, error: rocksdb::Error) -> EngineError {
        let error = rocks_error(error);
        if let (EngineError::Corrupt(_), Some(on_damage)) = (&error, self.on_damage.get()) {
            on_damage(&error);
        }
        error
    }
}

/// A RocksDB instance with the four families.
pub struct RocksEngine {
    db: Arc<Database>,
    config: EngineConfig,
    path: PathBuf,
    delay: DelayCache,
}

/// Flow control is asked for at every write, and its properties take the database's mutex: the answer is kept for some
/// calls, for fewer while it is not zero.
#[derive(Default)]
struct DelayCache {
    calls_left: AtomicU32,
    nanos: AtomicU64,
}

/// Writes between two looks at the properties, at full speed and while slowed down.
const CALLS_PER_LOOK: (u32, u32) = (256, 8);

impl RocksEngine {
    /// Opens the folder, creating it when it is not there.
    ///
    /// # Errors
    /// [`EngineError::InUse`] when another process has it open, [`EngineError::Corrupt`] when it does not check.
    pub fn open(path: &Path, config: &EngineConfig) -> Result<Self, EngineError> {
        std::fs::create_dir_all(path).map_err(|e| io_error(path, &e))?;
        let cache = Cache::new_lru_cache(config.block_cache_bytes);
        let families = ALL_CFS.map(|cf| ColumnFamilyDescriptor::new(cf.name(), family_options(cf, config, &cache)));
        let db = DB::open_cf_descriptors(&database_options(config), path, families).map_err(|e| {
            let message = e.into_string();
            if says_in_use(&message) { EngineError::InUse(path.display().to_string()) } else { engine_error(message) }
        })?;
        let (config, path) = (config.clone(), path.to_path_buf());
        let db = Arc::new(Database { db, on_damage: OnceLock::new() });
        Ok(RocksEngine { db, config, path, delay: DelayCache::default() })
    }

    /// From now on `on_damage` is told of damage that is met, by whichever thread meets it. Once for an engine.
    pub fn tell_of_damage(&self, on_damage: OnDamage) {
        let _ = self.db.on_damage.set(on_damage);
    }

    /// Compacts a family fully; for benchmarks and tests that want files in their final shape.
    pub fn compact(&self, cf: Cf) {
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        self.db.compact_range_cf_opt(family(&self.db, cf), None::<&[u8]>, None::<&[u8]>, &options);
    }

    fn property(&self, cf: Cf, name: &rocksdb::properties::PropName) -> u64 {
        self.db.property_int_value_cf(family(&self.db, cf), name).ok().flatten().unwrap_or(0)
    }

    /// Bytes and entries of the range in memtables, from at most a bounded number of entries.
    fn memtable_size(&self, cf: Cf, range: &EngineRange) -> Result<ApproximateSize, EngineError> {
        let mut options = bounded(&range.start, &range.end);
        options.set_read_tier(ReadTier::Memtable);
        options.set_total_order_seek(true);
        let mut iter = self.db.raw_iterator_cf_opt(family(&self.db, cf), options);
        let mut size = ApproximateSize::default();
        iter.seek_to_first();
        while size.keys < self.config.approximate_entries_max
            && let Some((key, value)) = iter.item()
        {
            size.keys += 1;
            size.bytes += (key.len() + value.len()) as u64;
            iter.next();
        }
        iter.status().map_err(|e| self.db.error(e))?;
        Ok(size)
    }
}

impl Drop for RocksEngine {
    fn drop(&mut self) {
        if let Err(error) = self.flush() {
            tracing::warn!(%error, path = %self.path.display(), "flush at close failed; the raft log will be applied again");
        }
    }
}

fn database_options(config: &EngineConfig) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_atomic_flush(true);
    options.set_paranoid_checks(true);
    options.set_max_background_jobs(config.background_jobs_max);
    options.set_max_open_files(config.open_files_max);
    options.set_bytes_per_sync(1 << 20);
    options.set_keep_log_file_num(LOG_FILES_KEPT);
    options.set_max_log_file_size(LOG_FILE_BYTES_MAX);
    options.set_log_level(LogLevel::Warn);
    options.set_avoid_unnecessary_blocking_io(true);
    options.set_write_buffer_manager(&WriteBufferManager::new_write_buffer_manager(
        config.write_buffers_total_bytes,
        false,
    ));
    options
}

fn family_options(cf: Cf, config: &EngineConfig, cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_block_size(BLOCK_BYTES);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    // A whole filter of a file of two million rows is 2.5 MB, more than a shard of the cache keeps: every point read read
    // it again. Partitions are as small as blocks.
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
    table.set_metadata_block_size(METADATA_BLOCK_BYTES);
    table.set_pin_top_level_index_and_filter(true);
    table.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
    table.set_format_version(5);
    let mut options = Options::default();
    if matches!(cf, Cf::Write | Cf::Default) {
        let prefix = SliceTransform::create("basalt.WithoutTimestamp", cut_timestamp, Some(has_timestamp));
        options.set_prefix_extractor(prefix);
        // Exact gets of the default family are answered by the same prefix filter.
        table.set_whole_key_filtering(false);
    } else {
        table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
        options.set_memtable_whole_key_filtering(true);
    }
    options.set_memtable_prefix_bloom_ratio(MEMTABLE_BLOOM_RATIO);
    options.set_block_based_table_factory(&table);
    options.set_write_buffer_size(config.write_buffer_bytes);
    options.set_max_write_buffer_number(6);
    options.set_target_file_size_base(config.target_file_bytes);
    options.set_max_bytes_for_level_base(config.target_file_bytes * 8);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_level_zero_file_num_compaction_trigger(4);
    options.set_level_zero_slowdown_writes_trigger(1 << 20);
    options.set_level_zero_stop_writes_trigger(1 << 20);
    options.set_soft_pending_compaction_bytes_limit(0);
    options.set_hard_pending_compaction_bytes_limit(0);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_bottommost_compression_type(DBCompressionType::Zstd);
    options
}

fn cut_timestamp(key: &[u8]) -> &[u8] {
    &key[..key.len().saturating_sub(TS_LEN)]
}

fn has_timestamp(key: &[u8]) -> bool {
    key.len() >= TS_LEN
}

fn family(db: &DB, cf: Cf) -> &ColumnFamily {
    db.cf_handle(cf.name()).expect("the four families are created at open and never dropped")
}

fn bounded(lower: &[u8], upper: &[u8]) -> ReadOptions {
    let mut options = ReadOptions::default();
    if !lower.is_empty() {
        options.set_iterate_lower_bound(lower);
    }
    if !upper.is_empty() {
        options.set_iterate_upper_bound(upper);
    }
    options
}

/// Whether RocksDB could not open a folder because another process, or this one, has it open.
pub(crate) fn says_in_use(message: &str) -> bool {
    message.contains("/LOCK") || message.contains("lock hold by current process")
}

fn rocks_error(error: rocksdb::Error) -> EngineError {
    engine_error(error.into_string())
}

fn engine_error(message: String) -> EngineError {
    if message.contains("No space left on device") || message.contains("Disk quota exceeded") {
        EngineError::DiskFull(message)
    } else if message.starts_with("Corruption") {
        EngineError::Corrupt(message)
    } else {
        EngineError::Io(message)
    }
}

fn io_error(path: &Path, error: &std::io::Error) -> EngineError {
    let message = format!("{}: {error}", path.display());
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => EngineError::DiskFull(message),
        _ => EngineError::Io(message),
    }
}

impl Engine for RocksEngine {
    fn snapshot(&self) -> Arc<dyn Snapshot> {
        Arc::new(RocksSnapshot::new(Arc::clone(&self.db)))
    }

    fn get(&self, cf: Cf, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let value = self.db.get_pinned_cf(family(&self.db, cf), key).map_err(|e| self.db.error(e))?;
        Ok(value.map(|v| Bytes::copy_from_slice(&v)))
    }

    fn get_flushed(&self, cf: Cf, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let mut options = ReadOptions::default();
        options.set_read_tier(ReadTier::Persisted);
        let value = self.db.get_pinned_cf_opt(family(&self.db, cf), key, &options).map_err(|e| self.db.error(e))?;
        Ok(value.map(|v| Bytes::copy_from_slice(&v)))
    }

    fn write(&self, modifies: &[Modify]) -> Result<(), EngineError> {
        let mut batch = WriteBatch::default();
        for modify in modifies {
            match modify {
                Modify::Put { cf, key, value } => batch.put_cf(family(&self.db, *cf), key, value),
                Modify::Delete { cf, key } => batch.delete_cf(family(&self.db, *cf), key),
                Modify::DeleteRange { cf, start, end } if end.is_empty() => {
                    batch.delete_range_cf(family(&self.db, *cf), &start[..], &ABOVE_ALL_KEYS[..]);
                }
                Modify::DeleteRange { cf, start, end } if start < end => {
                    batch.delete_range_cf(family(&self.db, *cf), start, end);
                }
                Modify::DeleteRange { .. } => {}
            }
        }
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        self.db.write_opt(batch, &options).map_err(|e| self.db.error(e))
    }

    fn flush(&self) -> Result<(), EngineError> {
        let mut options = FlushOptions::default();
        options.set_wait(true);
        let families = ALL_CFS.map(|cf| family(&self.db, cf));
        self.db.flush_cfs_opt(&families.each_ref(), &options).map_err(|e| self.db.error(e))
    }

    fn approximate_size(&self, cf: Cf, range: &EngineRange) -> Result<ApproximateSize, EngineError> {
        let end: &[u8] = if range.end.is_empty() { &ABOVE_ALL_KEYS } else { &range.end };
        let sizes = self.db.get_approximate_sizes_cf(family(&self.db, cf), &[rocksdb::Range::new(&range.start, end)]);
        let file_bytes = sizes.first().copied().unwrap_or(0);
        let in_memory = self.memtable_size(cf, range)?;
        let live_bytes = self.property(cf, properties::LIVE_SST_FILES_SIZE);
        let live_keys = self.property(cf, properties::ESTIMATE_NUM_KEYS);
        let file_keys = (u128::from(live_keys) * u128::from(file_bytes) / u128::from(live_bytes.max(1))) as u64;
        Ok(ApproximateSize {
            bytes: file_bytes + in_memory.bytes,
            keys: in_memory.keys + if file_bytes == 0 { 0 } else { file_keys },
        })
    }

    fn export(
        &self,
        snapshot: &dyn Snapshot,
        cf: Cf,
        range: &EngineRange,
        path: &Path,
    ) -> Result<ExportedFile, EngineError> {
        let options = IterOptions { lower: range.start.clone(), upper: range.end.clone(), ..Default::default() };
        let mut iter = snapshot.iter(cf, options)?;
        if !iter.seek_to_first()? {
            return Ok(ExportedFile { size_bytes: 0, entries: 0, crc32: 0 });
        }
        let mut file_options = Options::default();
        file_options.set_compression_type(DBCompressionType::Lz4);
        let mut writer = SstFileWriter::create(&file_options);
        writer.open(path).map_err(rocks_error)?;
        let mut entries = 0;
        while iter.valid() {
            writer.put(iter.key(), iter.value()).map_err(rocks_error)?;
            entries += 1;
            iter.next()?;
        }
        writer.finish().map_err(rocks_error)?;
        let (size_bytes, crc32) = checksum(path).map_err(|e| io_error(path, &e))?;
        Ok(ExportedFile { size_bytes, entries, crc32 })
    }

    fn ingest(&self, cf: Cf, path: &Path) -> Result<(), EngineError> {
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        options.set_allow_blocking_flush(true);
        self.db.ingest_external_file_cf_opts(family(&self.db, cf), &options, vec![path]).map_err(|e| self.db.error(e))
    }

    fn compact_range(&self, range: &EngineRange) {
        let end: &[u8] = if range.end.is_empty() { &ABOVE_ALL_KEYS } else { &range.end };
        let mut options = CompactOptions::default();
        options.set_exclusive_manual_compaction(false);
        options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
        for cf in [Cf::Write, Cf::Default] {
            self.db.compact_range_cf_opt(family(&self.db, cf), Some(&range.start[..]), Some(end), &options);
        }
    }

    fn disk_bytes(&self) -> u64 {
        ALL_CFS.iter().map(|cf| self.property(*cf, properties::TOTAL_SST_FILES_SIZE)).sum()
    }

    fn disk_space(&self) -> Option<DiskSpace> {
        let found = rustix::fs::statvfs(self.db.path()).ok()?;
        Some(DiskSpace {
            capacity: found.f_blocks.saturating_mul(found.f_frsize),
            available: found.f_bavail.saturating_mul(found.f_frsize),
        })
    }

    fn suggested_delay(&self) -> Duration {
        let keep = |left: u32| left.checked_sub(1);
        if self.delay.calls_left.fetch_update(Relaxed, Relaxed, keep).is_err() {
            let delay = self.measure_delay();
            self.delay.nanos.store(delay.as_nanos() as u64, Relaxed);
            let calls = if delay.is_zero() { CALLS_PER_LOOK.0 } else { CALLS_PER_LOOK.1 };
            self.delay.calls_left.store(calls, Relaxed);
        }
        Duration::from_nanos(self.delay.nanos.load(Relaxed))
    }
}

impl RocksEngine {
    fn measure_delay(&self) -> Duration {
        let over = |value: u64, limit: u64| (value.saturating_sub(limit) as f64 / limit.max(1) as f64).min(1.0);
        let worst = [Cf::Write, Cf::Default, Cf::Lock]
            .iter()
            .map(|cf| {
                let level0 = self.property(*cf, &properties::num_files_at_level(0));
                let pending = self.property(*cf, properties::ESTIMATE_PENDING_COMPACTION_BYTES);
                over(level0, self.config.level0_slowdown_files)
                    .max(over(pending, self.config.pending_compaction_slowdown_bytes))
            })
            .fold(0.0, f64::max);
        DELAY_MAX.mul_f64(worst)
    }
}

fn checksum(path: &Path) -> std::io::Result<(u64, u32)> {
    let mut file = std::fs::File::open(path)?;
    let (mut hasher, mut size) = (crc32fast::Hasher::new(), 0);
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((size, hasher.finalize())),
            n => {
                hasher.update(&buffer[..n]);
                size += n as u64;
            }
        }
    }
}

/// A snapshot that keeps its database open. Fields drop in order: what borrows the database goes first.
struct RocksSnapshot {
    snapshot: rocksdb::Snapshot<'static>,
    db: Arc<Database>,
}

impl RocksSnapshot {
    fn new(db: Arc<Database>) -> Self {
        // SAFETY: the reference points into the Arc's heap allocation, which `db` below keeps alive and which never
        // moves; the snapshot is declared before `db` and so is dropped first, and it is never handed out.
        let borrowed: &'static Database = unsafe { &*Arc::as_ptr(&db) };
        RocksSnapshot { snapshot: borrowed.snapshot(), db }
    }
}

impl Snapshot for RocksSnapshot {
    fn get(&self, cf: Cf, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let value = self.snapshot.get_pinned_cf(family(&self.db, cf), key).map_err(|e| self.db.error(e))?;
        Ok(value.map(|v| Bytes::copy_from_slice(&v)))
    }

    fn iter(&self, cf: Cf, options: IterOptions) -> Result<Box<dyn EngineIterator>, EngineError> {
        let mut read = bounded(&options.lower, &options.upper);
        read.fill_cache(options.fill_cache);
        read.set_prefix_same_as_start(options.prefix_same_as_start);
        read.set_total_order_seek(!options.prefix_same_as_start);
        let iter = self.snapshot.raw_iterator_cf_opt(family(&self.db, cf), read);
        // SAFETY: the iterator reads the database, kept alive by the Arc beside it and dropped after it, at the sequence
        // number that it took from the snapshot when it was made; RocksDB does not look at the snapshot again.
        let iter = unsafe { std::mem::transmute::<DBRawIterator<'_>, DBRawIterator<'static>>(iter) };
        Ok(Box::new(RocksIterator { current: None, iter, db: Arc::clone(&self.db) }))
    }
}

/// An iterator that keeps its database open. Fields drop in order: what borrows the database goes first.
struct RocksIterator {
    /// Key and value here, in memory of `iter` that stays as it is until the next move: asked for once a move rather than
    /// at every look, because each question is a call into C++.
    current: Option<(&'static [u8], &'static [u8])>,
    iter: DBRawIterator<'static>,
    db: Arc<Database>,
}

impl RocksIterator {
    fn settle(&mut self) -> Result<bool, EngineError> {
        match self.iter.item() {
            Some(item) => {
                // SAFETY: the slices are valid until the iterator is moved or dropped. They leave this struct only for the
                // lifetime of a borrow of it, every move needs it whole and forgets them first, and they have no drop.
                let item = unsafe { std::mem::transmute::<(&[u8], &[u8]), (&'static [u8], &'static [u8])>(item) };
                self.current = Some(item);
                Ok(true)
            }
            None => {
                self.iter.status().map_err(|e| self.db.error(e))?;
                Ok(false)
            }
        }
    }
}

impl EngineIterator for RocksIterator {
    fn seek(&mut self, key: &[u8]) -> Result<bool, EngineError> {
        self.current = None;
        self.iter.seek(key);
        self.settle()
    }
    fn seek_for_prev(&mut self, key: &[u8]) -> Result<bool, EngineError> {
        self.current = None;
        self.iter.seek_for_prev(key);
        self.settle()
    }
    fn seek_to_first(&mut self) -> Result<bool, EngineError> {
        self.current = None;
        self.iter.seek_to_first();
        self.settle()
    }
    fn seek_to_last(&mut self) -> Result<bool, EngineError> {
        self.current = None;
        self.iter.seek_to_last();
        self.settle()
    }
    fn next(&mut self) -> Result<bool, EngineError> {
        if self.current.take().is_none() {
            return Ok(false);
        }
        self.iter.next();
        self.settle()
    }
    fn prev(&mut self) -> Result<bool, EngineError> {
        if self.current.take().is_none() {
            return Ok(false);
        }
        self.iter.prev();
        self.settle()
    }
    fn valid(&self) -> bool {
        self.current.is_some()
    }
    fn key(&self) -> &[u8] {
        self.current.map_or(&[], |(key, _)| key)
    }
    fn value(&self) -> &[u8] {
        self.current.map_or(&[], |(_, value)| value)
    }
}
