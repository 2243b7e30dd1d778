//! Reading the data as of one timestamp: single keys, many keys at once, and ranges in either direction.
//!
//! A read that meets a lock finds out about its owner ([`crate::lock_resolver`]) and comes again, naming the transactions
//! whose locks it may pass; the names are shared by all reads of one snapshot.
//!
//! A snapshot at [`Timestamp::MAX`] reads what is newest without asking PD. When it meets a lock it takes a real timestamp
//! for that read: the value is as new as the read itself, and the owner of the lock can be pushed beyond it.

use crate::cluster::Cluster;
use crate::config::{PAGE_GROWTH, REGION_CONCURRENCY, REQUEST_BUDGET, SCAN_BATCH, SCAN_BYTES_MAX};
use crate::error::{Error, Result};
use crate::gc::Reading;
use crate::lock_resolver::Bypass;
use crate::read_set::ReadSet;
use crate::region_cache::CachedRegion;
use crate::retry::{Retry, wrong_answer};
use basalt_common::pairs::Pairs;
use basalt_common::{KeyRange, Timestamp, UserKey};
use basalt_proto::errors::{KeyError, LockInfo, key_error};
use basalt_proto::kv::{self, kv_request, kv_response};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;

/// The data as of a timestamp. Cheap to clone.
#[derive(Clone)]
pub struct Snapshot {
    cluster: Cluster,
    ts: Timestamp,
    /// Keeps garbage collection away from what it reads; nothing is needed for what is newest.
    _reading: Option<Arc<Reading>>,
    bypass: Arc<Mutex<Bypass>>,
    /// Locks that delete do not stop its reads.
    passes_deletes: bool,
    /// Every lock ends its reads of keys.
    stops_at_locks: bool,
    /// Of a serializable transaction: told of every range that is read.
    reads: Option<Arc<ReadSet>>,
}

/// How to scan.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScanOptions {
    /// From the end of the range to its start.
    pub reverse: bool,
    /// Values are left out.
    pub key_only: bool,
    /// Pairs wanted at most; 0 = all.
    pub limit: usize,
    /// Pairs fetched at first, when the caller may stop early; [`PAGE_GROWTH`] times as many with each further request. 0 = as
    /// many as travel well together.
    pub first_page: usize,
    /// Only keys whose newest commit, be it a deletion, is after this; no more than the first in a region, without value.
    pub changed_after: Option<Timestamp>,
}

impl Snapshot {
    pub(crate) fn new(cluster: Cluster, ts: Timestamp) -> Snapshot {
        let reading = (ts != Timestamp::MAX).then(|| Arc::new(Reading::new(&cluster, ts)));
        Snapshot {
            cluster,
            ts,
            _reading: reading,
            bypass: Arc::default(),
            passes_deletes: false,
            stops_at_locks: false,
            reads: None,
        }
    }

    /// Notes in `reads` what is read.
    pub(crate) fn recording(mut self, reads: Option<Arc<ReadSet>>) -> Snapshot {
        self.reads = reads;
        self
    }

    /// Waits for nobody who deletes a key, and notes nothing: for whoever asks for the keys' locks next, with SKIP LOCKED. What
    /// such a read leaves out may be there at the commit.
    pub fn passing_deletes(mut self) -> Snapshot {
        self.passes_deletes = true;
        self.reads = None;
        self
    }

    /// Reads keys, and none that another transaction has locked or written: that is [`Error::WouldWait`], whether this snapshot would see
    /// of it or not. For whoever goes on to change the keys, or to leave them as they are found.
    pub fn stopping_at_locks(mut self) -> Snapshot {
        self.stops_at_locks = true;
        self
    }

    /// Passes the locks of a transaction, as if they were not there.
    pub(crate) fn beside(self, start_ts: Timestamp) -> Snapshot {
        self.bypass.lock().resolved.push(start_ts.0);
        self
    }

    /// What notes the reads of this snapshot; whoever reads at its timestamp by other ways notes them there himself.
    pub fn reads(&self) -> Option<&Arc<ReadSet>> {
        self.reads.as_ref()
    }

    fn note_keys<'a>(&self, keys: impl IntoIterator<Item = &'a Bytes>) {
        let Some(reads) = &self.reads else { return };
        keys.into_iter().for_each(|key| reads.note_key(key, self.ts));
    }

    /// The timestamp.
    pub fn ts(&self) -> Timestamp {
        self.ts
    }

    /// What one read goes on with. What reads at the largest timestamp have learned is not shared: a transaction that one
    /// read may pass can be committed before the next begins.
    fn for_one_read(&self) -> Snapshot {
        match self.ts == Timestamp::MAX {
            true => Snapshot::new(self.cluster.clone(), self.ts),
            false => self.clone(),
        }
    }

    /// Reads one key.
    ///
    /// # Errors
    /// [`Error::RegionUnavailable`], or [`Error::LockTimeout`] when a lock stays too long.
    pub fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>>> {
        Box::pin(async move { self.for_one_read().get_one(key).await })
    }

    async fn get_one(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let mut retry = Retry::new(&self.cluster.env, REQUEST_BUDGET);
        let key = Bytes::copy_from_slice(key);
        self.note_keys([&key]);
        let mut version = self.ts;
        loop {
            let request = |context| {
                kv_request::Cmd::Get(kv::GetRequest {
                    context: Some(self.with_bypass(context)),
                    key: key.clone(),
                    version: version.0,
                })
            };
            let kv_response::Cmd::Get(answer) = self.cluster.call_key(&key, &mut retry, request).await? else {
                return Err(wrong_answer());
            };
            match answer.error {
                None => return Ok((!answer.not_found).then_some(answer.value)),
                Some(e) => {
                    let locks = vec![self.met(as_lock(e, self.ts)?)?];
                    version = self.settle_version(version).await?;
                    self.cluster.resolve_for_read(locks, version, &self.bypass, &mut retry).await?;
                }
            }
        }
    }

    /// Reads many keys; returns the pairs that are there, in no order.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub fn batch_get(&self, keys: Vec<Bytes>) -> BoxFuture<'_, Result<Vec<(Bytes, Bytes)>>> {
        Box::pin(async move { self.for_one_read().get_many(keys).await })
    }

    async fn get_many(&self, keys: Vec<Bytes>) -> Result<Vec<(Bytes, Bytes)>> {
        let mut retry = Retry::new(&self.cluster.env, REQUEST_BUDGET);
        let mut found = Vec::with_capacity(keys.len());
        self.note_keys(&keys);
        let mut left = keys;
        let mut version = self.ts;
        while !left.is_empty() {
            let mut groups = self.cluster.group_by_region(std::mem::take(&mut left), |k| k, &mut retry).await?;
            let answers: Vec<Part> = match groups.len() {
                1 => {
                    let (route, keys) = groups.remove(0);
                    vec![self.batch_get_once(route, keys, version, &mut retry).await?]
                }
                _ => {
                    let calls = groups.into_iter().map(|(route, keys)| {
                        let mut retry = retry.fork();
                        async move { self.batch_get_once(route, keys, version, &mut retry).await }
                    });
                    let calls: Vec<_> = calls.collect();
                    stream::iter(calls).buffer_unordered(REGION_CONCURRENCY).try_collect().await?
                }
            };
            let mut locks = Vec::new();
            for part in answers {
                found.extend(part.found);
                left.extend(part.again);
                locks.extend(part.locks);
            }
            if !locks.is_empty() {
                left.extend(locks.iter().map(|l| l.key.clone()));
                version = self.settle_version(version).await?;
                self.cluster.resolve_for_read(locks, version, &self.bypass, &mut retry).await?;
            }
        }
        Ok(found)
    }

    async fn batch_get_once(
        &self,
        route: Arc<CachedRegion>,
        keys: Vec<Bytes>,
        version: Timestamp,
        retry: &mut Retry,
    ) -> Result<Part> {
        let request = |context| {
            kv_request::Cmd::BatchGet(kv::BatchGetRequest {
                context: Some(self.with_bypass(context)),
                keys: keys.clone(),
                version: version.0,
            })
        };
        let answer = match self.cluster.attempt(&route, retry, request).await? {
            Some(kv_response::Cmd::BatchGet(answer)) => answer,
            Some(_) => return Err(wrong_answer()),
            None => return Ok(Part { again: keys, ..Part::default() }),
        };
        let mut part = Part::default();
        part.found.extend(unpack(answer.pairs)?);
        for error in answer.errors {
            part.locks.push(self.met(as_lock(error, self.ts)?)?);
        }
        Ok(part)
    }

    /// Reads a range.
    pub fn scan(&self, range: KeyRange, options: ScanOptions) -> Scanner {
        Scanner {
            snapshot: self.for_one_read(),
            version: self.ts,
            left: Some(range),
            options,
            wanted: if options.limit == 0 { usize::MAX } else { options.limit },
            page: if options.first_page == 0 { SCAN_BATCH } else { options.first_page },
            ready: VecDeque::new(),
        }
    }

    /// A lock that a read of keys has met, unless it ends the read.
    fn met(&self, lock: LockInfo) -> Result<LockInfo> {
        if self.stops_at_locks { Err(Error::WouldWait { key: lock.key }) } else { Ok(lock) }
    }

    /// A timestamp for a read that met a lock: the owner of a lock cannot be pushed beyond the largest one.
    async fn settle_version(&self, version: Timestamp) -> Result<Timestamp> {
        match version == Timestamp::MAX {
            true => self.cluster.timestamp().await,
            false => Ok(version),
        }
    }

    fn with_bypass(&self, mut context: kv::Context) -> kv::Context {
        let bypass = self.bypass.lock();
        context.resolved_locks.clone_from(&bypass.resolved);
        context.committed_locks.clone_from(&bypass.committed);
        context.passes_deletes = self.passes_deletes;
        context.stops_at_locks = self.stops_at_locks;
        context
    }
}

/// What one region said of a batch.
#[derive(Default)]
struct Part {
    found: Vec<(Bytes, Bytes)>,
    again: Vec<Bytes>,
    locks: Vec<LockInfo>,
}

/// A range being read, region by region.
pub struct Scanner {
    snapshot: Snapshot,
    version: Timestamp,
    /// What is not read yet; none at the end.
    left: Option<KeyRange>,
    options: ScanOptions,
    /// Pairs still to be fetched.
    wanted: usize,
    /// Pairs to ask for next.
    page: usize,
    ready: VecDeque<(Bytes, Bytes)>,
}

impl Scanner {
    /// The next pair in the scan's direction.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub async fn next(&mut self) -> Result<Option<(Bytes, Bytes)>> {
        while self.ready.is_empty() && self.left.is_some() {
            self.fetch().await?;
        }
        Ok(self.ready.pop_front())
    }

    /// The next pairs, as many as are at hand; empty at the end.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub async fn next_batch(&mut self) -> Result<Vec<(Bytes, Bytes)>> {
        while self.ready.is_empty() && self.left.is_some() {
            self.fetch().await?;
        }
        Ok(self.ready.drain(..).collect())
    }

    /// Reads one batch of one region.
    fn fetch(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let cluster = self.snapshot.cluster.clone();
            let mut retry = Retry::new(&cluster.env, REQUEST_BUDGET);
            while let Some(left) = self.left.clone() {
                let route = match self.options.reverse {
                    false => cluster.locate(left.start.as_slice(), &mut retry).await?,
                    true => cluster.locate_before(left.end.as_slice(), &mut retry).await?,
                };
                let Some(part) = left.intersect(&route.region.range) else {
                    return Err(Error::Corrupt(format!("region {} does not touch the scan", route.region.id)));
                };
                let request = |context| {
                    kv_request::Cmd::Scan(kv::ScanRequest {
                        context: Some(self.snapshot.with_bypass(context)),
                        start_key: part.start.0.clone(),
                        end_key: part.end.0.clone(),
                        limit: self.wanted.min(self.page) as u32,
                        version: self.version.0,
                        reverse: self.options.reverse,
                        key_only: self.options.key_only,
                        bytes_max: SCAN_BYTES_MAX,
                        changed_after: self.options.changed_after.unwrap_or_default().0,
                    })
                };
                let answer = match cluster.attempt(&route, &mut retry, request).await? {
                    Some(kv_response::Cmd::Scan(answer)) => answer,
                    Some(_) => return Err(wrong_answer()),
                    None => continue,
                };
                match self.take(answer, &left, &part)? {
                    None => return Ok(()),
                    Some(lock) => {
                        self.version = self.snapshot.settle_version(self.version).await?;
                        let bypass = &self.snapshot.bypass;
                        cluster.resolve_for_read(vec![lock], self.version, bypass, &mut retry).await?;
                    }
                }
            }
            Ok(())
        })
    }

    /// Takes over the pairs of an answer and moves on. Returns the lock that ended them early.
    fn take(&mut self, answer: kv::ScanResponse, left: &KeyRange, part: &KeyRange) -> Result<Option<LockInfo>> {
        self.page = (self.page * PAGE_GROWTH).min(SCAN_BATCH);
        let pairs = unpack(answer.pairs)?;
        let taken = pairs.len().min(self.wanted);
        self.ready.extend(pairs.take(taken));
        self.wanted -= taken;
        let last = self.ready.back().filter(|_| taken > 0).map(|(key, _)| key.clone());
        if let (0, Some(last)) = (self.wanted, &last) {
            self.leave(left, self.after(left, last));
            self.left = None;
            return Ok(None);
        }
        if let Some(error) = answer.error {
            let lock = as_lock(error, self.snapshot.ts)?;
            if let Some(last) = last {
                self.leave(left, self.after(left, &last));
            }
            return Ok(Some(lock));
        }
        let rest = match (answer.more, last) {
            (true, Some(last)) => self.after(left, &last),
            (true, None) => return Err(Error::Corrupt("store says more and brings nothing".into())),
            (false, _) => self.beyond(left, part),
        };
        self.leave(left, rest);
        Ok(None)
    }

    /// Goes on with `rest` of what was `left`; the other part was read.
    fn leave(&mut self, left: &KeyRange, rest: Option<KeyRange>) {
        if let Some(reads) = &self.snapshot.reads {
            let mut read = left.clone();
            match &rest {
                Some(rest) if self.options.reverse => read.start.clone_from(&rest.end),
                Some(rest) => read.end.clone_from(&rest.start),
                None => {}
            }
            reads.note(read, self.snapshot.ts);
        }
        self.left = rest;
    }

    /// What is left behind a key.
    fn after(&self, left: &KeyRange, key: &Bytes) -> Option<KeyRange> {
        match self.options.reverse {
            false => left.intersect(&KeyRange { start: UserKey(key.clone()).successor(), end: UserKey::default() }),
            true if *key <= left.start.0 => None,
            true => Some(KeyRange { start: left.start.clone(), end: UserKey(key.clone()) }),
        }
    }

    /// What is left behind a region.
    fn beyond(&self, left: &KeyRange, part: &KeyRange) -> Option<KeyRange> {
        match self.options.reverse {
            false if part.end.0.is_empty() => None,
            false if !left.end.0.is_empty() && part.end >= left.end => None,
            false => Some(KeyRange { start: part.end.clone(), end: left.end.clone() }),
            true if part.start <= left.start => None,
            true => Some(KeyRange { start: left.start.clone(), end: part.start.clone() }),
        }
    }
}

fn unpack(pairs: Option<kv::Pairs>) -> Result<impl ExactSizeIterator<Item = (Bytes, Bytes)>> {
    Pairs::unpack(pairs.unwrap_or_default()).map_err(|e| Error::Corrupt(e.to_string()))
}

/// A key error that must be a lock.
fn as_lock(error: KeyError, start_ts: Timestamp) -> Result<LockInfo> {
    match error.kind {
        Some(key_error::Kind::Locked(lock)) => Ok(lock),
        kind => Err(Error::of_key(KeyError { kind }, start_ts)),
    }
}
