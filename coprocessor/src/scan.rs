//! A region's rows as batches: mvcc's scanner feeding the row decoder.
//!
//! A range that is one key (an index look-up asks for thousands of them) is a point read; other ranges are scanned in the
//! order in which they came, forward or each backward. A lock in the way, or a full page, ends the scan early at a row's
//! border: what was decoded before it is good.

use crate::config::BATCH_BYTES_MAX;
use crate::error::{Error, Result};
use crate::source::{BatchSource, ScanCounts, Stop};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use basalt_common::{KeyRange, Region, Timestamp, UserKey};
use basalt_expr::EvalContext;
use basalt_expr::scan_decoder::ScanDecoder;
use basalt_proto::coprocessor::{self as pb, CoprocessorRequest};
use basalt_proto::errors::{self, LockInfo, region_error};
use basalt_storage::engine::{EngineRange, Snapshot};
use basalt_storage::error::{Error as StorageError, KeyError, LockedKey};
use basalt_storage::mvcc::scan::ScanOptions;
use basalt_storage::mvcc::{BackwardScanner, ForwardScanner, LockKind, MvccReader, ReadAt, Row, ScanStats};
use basalt_storage::replicated::RegionSnapshot;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;

/// Rows that a decoder makes room for at first.
const CAPACITY_ROWS: usize = 1_024;

/// A scan of one region.
pub struct RegionScan {
    snapshot: Arc<dyn Snapshot>,
    read: ReadAt,
    reverse: bool,
    page_bytes_max: u64,
    decoder: ScanDecoder,
    /// Ranges not yet finished; the first is the one being read.
    ranges: VecDeque<KeyRange>,
    ranges_done: usize,
    scanner: Option<Scanner>,
    stop: Option<Stop>,
    counts: ScanCounts,
}

enum Scanner {
    Forward(ForwardScanner),
    Backward(BackwardScanner),
}

impl Scanner {
    fn next(&mut self) -> Result<Option<Row<'_>>, StorageError> {
        match self {
            Scanner::Forward(scanner) => scanner.next(),
            Scanner::Backward(scanner) => scanner.next(),
        }
    }

    fn stats(&self) -> ScanStats {
        match self {
            Scanner::Forward(scanner) => scanner.stats(),
            Scanner::Backward(scanner) => scanner.stats(),
        }
    }
}

/// Why filling a batch ended.
enum Filled {
    /// The batch is full.
    Batch,
    /// The range is read to its end.
    Range,
    /// The scan ends here.
    Stop(Box<Stop>),
}

impl RegionScan {
    /// Prepares the scan of a request; nothing is read yet.
    ///
    /// # Errors
    /// [`Error::Invalid`] for requests that make no sense, [`Error::Region`] for keys outside the region.
    pub fn open(request: &CoprocessorRequest, snapshot: &RegionSnapshot) -> Result<RegionScan> {
        let spec = request.scan.as_ref().ok_or_else(|| Error::Invalid("a request without a scan".to_string()))?;
        let decoder = ScanDecoder::new(spec, CAPACITY_ROWS).map_err(|e| Error::Invalid(e.to_string()))?;
        let ranges: VecDeque<_> =
            request.ranges.iter().map(|r| KeyRange::new(r.start_key.clone(), r.end_key.clone())).collect();
        if ranges.iter().any(|range| !snapshot.region.range.contains_range(range)) {
            return Err(key_not_in_region(&snapshot.region));
        }
        let context = request.context.as_ref();
        let read = ReadAt {
            ts: Timestamp(request.start_ts),
            resolved_locks: context.map(|c| c.resolved_locks.clone()).unwrap_or_default(),
            committed_locks: context.map(|c| c.committed_locks.clone()).unwrap_or_default(),
            passes_deletes: false,
            stops_at_locks: false,
        };
        Ok(RegionScan {
            snapshot: snapshot.data.clone(),
            read,
            reverse: request.reverse,
            page_bytes_max: request.page_bytes_max,
            decoder,
            ranges,
            ranges_done: 0,
            scanner: None,
            stop: None,
            counts: ScanCounts::default(),
        })
    }

    fn open_scanner(&self, range: &KeyRange) -> Result<Scanner> {
        let options = ScanOptions {
            range: EngineRange::from(range),
            read: self.read.clone(),
            key_only: self.decoder.is_key_only(),
            // So that small tables stay in the cache. The cost: a long scan pushes the short statements' blocks out of it.
            fill_cache: true,
        };
        let snapshot = self.snapshot.clone();
        let scanner = match self.reverse {
            false => ForwardScanner::new(snapshot, options).map(Scanner::Forward),
            true => BackwardScanner::new(snapshot, options).map(Scanner::Backward),
        };
        scanner.map_err(storage_error)
    }

    /// Reads on in the current range until the batch is full.
    fn fill(&mut self, range: &KeyRange, rows_max: usize) -> Result<Filled> {
        if is_point(range) {
            return self.fill_point(range);
        }
        let mut scanner = match self.scanner.take() {
            Some(scanner) => scanner,
            None => self.open_scanner(range)?,
        };
        let filled = loop {
            match scanner.next() {
                Ok(Some(row)) => {
                    self.decoder.append(row.key, row.value).map_err(|e| corrupt(row.key, &e))?;
                    self.counts.bytes += (row.key.len() + row.value.len()) as u64;
                    self.counts.rows += 1;
                    if self.page_bytes_max > 0 && self.counts.bytes >= self.page_bytes_max {
                        let rest = rest_of(range, row.key, self.reverse);
                        break Filled::Stop(self.stop_at(rest, None));
                    }
                }
                Ok(None) => break Filled::Range,
                Err(StorageError::Key(KeyError::Locked(locked))) => {
                    let rest = from_lock(range, &locked.key, self.reverse);
                    break Filled::Stop(self.stop_at(rest, Some(lock_info(&locked))));
                }
                Err(error) => return Err(storage_error(error)),
            }
            if self.decoder.rows() >= rows_max || self.decoder.bytes() >= BATCH_BYTES_MAX {
                break Filled::Batch;
            }
        };
        match filled {
            Filled::Batch => self.scanner = Some(scanner),
            _ => self.counts.versions += scanner.stats().versions,
        }
        Ok(filled)
    }

    fn fill_point(&mut self, range: &KeyRange) -> Result<Filled> {
        let key = range.start.as_slice();
        let mut reader = MvccReader::new(&*self.snapshot);
        let found = reader.get(key, &self.read);
        self.counts.versions += reader.versions;
        match found {
            Ok(None) => {}
            Ok(Some(found)) => {
                self.decoder.append(key, &found.value).map_err(|e| corrupt(key, &e))?;
                self.counts.bytes += (key.len() + found.value.len()) as u64;
                self.counts.rows += 1;
            }
            Err(StorageError::Key(KeyError::Locked(locked))) => {
                return Ok(Filled::Stop(self.stop_at(range.clone(), Some(lock_info(&locked)))));
            }
            Err(error) => return Err(storage_error(error)),
        }
        Ok(Filled::Range)
    }

    fn stop_at(&self, rest: KeyRange, locked: Option<LockInfo>) -> Box<Stop> {
        let rest = pb::KeyRange { start_key: rest.start.0, end_key: rest.end.0 };
        Box::new(Stop { rest, range: self.ranges_done, locked })
    }
}

impl BatchSource for RegionScan {
    fn schema(&self) -> SchemaRef {
        self.decoder.schema()
    }

    fn next_batch(&mut self, rows_max: usize) -> Result<Option<RecordBatch>> {
        while self.stop.is_none() {
            let Some(range) = self.ranges.front().cloned() else { break };
            match self.fill(&range, rows_max)? {
                Filled::Batch => break,
                Filled::Range => {
                    self.ranges.pop_front();
                    self.ranges_done += 1;
                }
                Filled::Stop(stop) => self.stop = Some(*stop),
            }
            if self.decoder.rows() >= rows_max {
                break;
            }
        }
        if self.decoder.rows() == 0 {
            return Ok(None);
        }
        self.decoder.finish().map(Some).map_err(|e| Error::Internal(e.to_string()))
    }

    fn stop(&self) -> Option<Stop> {
        self.stop.clone()
    }

    fn counts(&self) -> ScanCounts {
        let running = self.scanner.as_ref().map_or(0, |s| s.stats().versions);
        ScanCounts { versions: self.counts.versions + running, ..self.counts }
    }
}

/// The statement's surroundings.
///
/// # Errors
/// [`Error::Invalid`] when they do not decode.
pub fn eval_context(request: &CoprocessorRequest) -> Result<EvalContext> {
    match &request.eval_context[..] {
        [] => Ok(EvalContext::default()),
        bytes => EvalContext::decode(bytes).map_err(|e| Error::Invalid(e.to_string())),
    }
}

/// True for `[key, key ⊕ 00)`.
fn is_point(range: &KeyRange) -> bool {
    let (start, end) = (range.start.as_slice(), range.end.as_slice());
    end.split_last() == Some((&0, start))
}

/// What is left of `range` behind the row `key`.
fn rest_of(range: &KeyRange, key: &[u8], reverse: bool) -> KeyRange {
    let key = UserKey::from(key);
    match reverse {
        false => KeyRange { start: key.successor(), end: range.end.clone() },
        true => KeyRange { start: range.start.clone(), end: key },
    }
}

/// What is left of `range` from the locked `key` on, which has to be read again.
fn from_lock(range: &KeyRange, key: &UserKey, reverse: bool) -> KeyRange {
    match reverse {
        false => KeyRange { start: key.clone(), end: range.end.clone() },
        true => KeyRange { start: range.start.clone(), end: key.successor() },
    }
}

fn corrupt(key: &[u8], error: &dyn std::fmt::Display) -> Error {
    Error::Corrupt(format!("row {}: {error}", key.escape_ascii()))
}

fn key_not_in_region(region: &Region) -> Error {
    let kind = region_error::Kind::KeyNotInRegion(errors::KeyNotInRegion {
        key: Bytes::new(),
        region_id: region.id.0,
        start_key: region.range.start.0.clone(),
        end_key: region.range.end.0.clone(),
    });
    let message = format!("ranges are not in region {}", region.id);
    Error::Region(Box::new(errors::RegionError { message, kind: Some(kind) }))
}

fn storage_error(error: StorageError) -> Error {
    match error {
        StorageError::Key(KeyError::Corrupt(what)) => Error::Corrupt(what),
        other => Error::Internal(other.to_string()),
    }
}

fn lock_info(locked: &LockedKey) -> LockInfo {
    let lock = &locked.lock;
    let kind = match lock.kind {
        LockKind::Put => errors::LockKind::LockPut,
        LockKind::Delete => errors::LockKind::LockDelete,
        LockKind::Lock => errors::LockKind::LockLock,
        LockKind::Pessimistic => errors::LockKind::LockPessimistic,
    };
    LockInfo {
        key: locked.key.0.clone(),
        primary: lock.primary.0.clone(),
        start_ts: lock.start_ts.0,
        ttl_ms: lock.ttl_ms,
        kind: kind as i32,
        for_update_ts: lock.for_update_ts.0,
        txn_size: lock.txn_size,
        use_async_commit: lock.use_async_commit,
        min_commit_ts: lock.min_commit_ts.0,
        secondaries: lock.secondaries.iter().map(|key| key.0.clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_and_rests() {
        let range = KeyRange::new(&b"a"[..], &b"c"[..]);
        assert!(is_point(&KeyRange::new(&b"a"[..], &b"a\0"[..])));
        assert!(!is_point(&range) && !is_point(&KeyRange::new(&b""[..], &b""[..])));
        assert_eq!(rest_of(&range, b"b", false), KeyRange::new(&b"b\0"[..], &b"c"[..]));
        assert_eq!(rest_of(&range, b"b", true), KeyRange::new(&b"a"[..], &b"b"[..]));
        assert_eq!(from_lock(&range, &UserKey::from(&b"b"[..]), false), KeyRange::new(&b"b"[..], &b"c"[..]));
        assert_eq!(from_lock(&range, &UserKey::from(&b"b"[..]), true), KeyRange::new(&b"a"[..], &b"b\0"[..]));
    }
}
