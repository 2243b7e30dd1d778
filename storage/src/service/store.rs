//! The store's service: one method for every request.

use super::admin::{AdminError, RegionAdmin};
use super::convert;
use super::coprocessor::Coprocessor;
use crate::config::TxnConfig;
use crate::engine::EngineRange;
use crate::error::{Error, KeyError, LockedKey, RegionError};
use crate::mvcc::changes::first_change;
use crate::mvcc::reader::LockFilter;
use crate::mvcc::{MvccReader, PageRequest, ReadAt, read_page};
use crate::replicated::{RegionCtx, RegionSnapshot};
use crate::txn::Scheduler;
use crate::txn::action::check_secondary_locks::SecondaryStatus;
use crate::txn::scheduler::{PrewriteOutcome, check_keys};
use basalt_common::env::Env;
use basalt_common::key::decode_user_key;
use basalt_common::metrics;
use basalt_common::mutant::mutant;
use basalt_common::pairs::Pairs;
use basalt_common::{Epoch, KeyRange, Peer, PeerId, RegionId, StoreId, Timestamp, UserKey};
use basalt_proto::coprocessor::{CoprocessorRequest, CoprocessorResponse};
use basalt_proto::errors::BelowSafePoint;
use basalt_proto::kv::{self, KvRequest, KvResponse, kv_request, kv_response};
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// How often a reader waits for a lock in memory before it is answered `Locked`.
const MEMORY_LOCK_WAITS_MAX: usize = 32;

/// Who this store is.
#[derive(Clone, Copy, Debug)]
pub struct StoreIdentity {
    /// Of the cluster. Zero in a request: the client does not know it yet.
    pub cluster_id: u64,
    /// Of the store.
    pub store_id: StoreId,
}

/// A store's answers.
pub struct StoreService {
    identity: StoreIdentity,
    scheduler: Arc<Scheduler>,
    admin: Arc<dyn RegionAdmin>,
    coprocessor: Arc<dyn Coprocessor>,
    config: TxnConfig,
    env: Env,
    /// What adds data is refused; what ends transactions, and reads, go on.
    disk_is_full: AtomicBool,
}

/// Puts an outcome into a response whose key error stands in the field `$key_error`.
macro_rules! respond {
    ($outcome:expr, $response:ident, $key_error:ident) => {
        match $outcome {
            Ok(response) => response,
            Err(Error::Region(error)) => {
                kv::$response { region_error: Some(convert::region_error(error)), ..Default::default() }
            }
            Err(Error::Key(error)) => {
                kv::$response { $key_error: convert::key_error(error).into(), ..Default::default() }
            }
        }
    };
}

/// The same for responses with a list of key errors.
macro_rules! respond_many {
    ($outcome:expr, $response:ident) => {
        match $outcome {
            Ok(response) => response,
            Err(Error::Region(error)) => {
                kv::$response { region_error: Some(convert::region_error(error)), ..Default::default() }
            }
            Err(Error::Key(error)) => kv::$response { errors: vec![convert::key_error(error)], ..Default::default() },
        }
    };
}

impl StoreService {
    /// A service over a store's parts.
    pub fn new(
        identity: StoreIdentity,
        scheduler: Arc<Scheduler>,
        admin: Arc<dyn RegionAdmin>,
        coprocessor: Arc<dyn Coprocessor>,
        env: Env,
    ) -> Arc<Self> {
        let config = scheduler.config().clone();
        let disk_is_full = AtomicBool::new(false);
        Arc::new(StoreService { identity, scheduler, admin, coprocessor, config, env, disk_is_full })
    }

    /// Told by whoever watches the disk: with too little room, writes that begin something are refused while there is still
    /// enough to finish what has begun. A store that ran into the end of its disk would have to stop.
    pub fn set_disk_full(&self, full: bool) {
        self.disk_is_full.store(full, Relaxed);
    }

    fn check_room(&self) -> Result<(), Error> {
        if self.disk_is_full.load(Relaxed) {
            return Err(RegionError::DiskFull(self.identity.store_id).into());
        }
        Ok(())
    }

    /// The transaction layer below.
    pub fn scheduler(&self) -> &Arc<Scheduler> {
        &self.scheduler
    }

    /// The bounds in force.
    pub fn config(&self) -> &TxnConfig {
        &self.config
    }

    /// Answers a request. An empty request gets an empty response.
    pub fn handle(&self, request: KvRequest) -> BoxFuture<'_, KvResponse> {
        Box::pin(async move {
            use kv_request::Cmd;
            use kv_response::Cmd as Answer;
            if let Some(cmd) = &request.cmd {
                metrics::STORE_REQUESTS.with_label_values(&[command_name(cmd)]).inc();
            }
            let cmd = match request.cmd {
                None => None,
                Some(Cmd::Get(r)) => Some(Answer::Get(respond!(self.get(r).await, GetResponse, error))),
                Some(Cmd::BatchGet(r)) => {
                    Some(Answer::BatchGet(respond_many!(self.batch_get(r).await, BatchGetResponse)))
                }
                Some(Cmd::Scan(r)) => Some(Answer::Scan(respond!(self.scan(r).await, ScanResponse, error))),
                // Boxed: the futures of writes are large, and reads should not carry their room along.
                Some(cmd) => return Box::pin(self.handle_other(cmd)).await,
            };
            KvResponse { cmd }
        })
    }

    async fn handle_other(&self, cmd: kv_request::Cmd) -> KvResponse {
        use kv_request::Cmd;
        use kv_response::Cmd as Answer;
        let cmd = match cmd {
            Cmd::Prewrite(r) => Answer::Prewrite(respond_many!(self.prewrite(r).await, PrewriteResponse)),
            Cmd::PessimisticLock(r) => {
                Answer::PessimisticLock(respond_many!(self.pessimistic_lock(r).await, PessimisticLockResponse))
            }
            Cmd::PessimisticRollback(r) => Answer::PessimisticRollback(respond_many!(
                self.pessimistic_rollback(r).await,
                PessimisticRollbackResponse
            )),
            Cmd::Commit(r) => Answer::Commit(respond!(self.commit(r).await, CommitResponse, error)),
            Cmd::BatchRollback(r) => {
                Answer::BatchRollback(respond!(self.batch_rollback(r).await, BatchRollbackResponse, error))
            }
            Cmd::CheckTxnStatus(r) => {
                Answer::CheckTxnStatus(respond!(self.check_txn_status(r).await, CheckTxnStatusResponse, error))
            }
            Cmd::CheckSecondaryLocks(r) => Answer::CheckSecondaryLocks(respond!(
                self.check_secondary_locks(r).await,
                CheckSecondaryLocksResponse,
                error
            )),
            Cmd::TxnHeartBeat(r) => {
                Answer::TxnHeartBeat(respond!(self.heartbeat(r).await, TxnHeartBeatResponse, error))
            }
            Cmd::ResolveLock(r) => {
                Answer::ResolveLock(respond!(self.resolve_lock(r).await, ResolveLockResponse, error))
            }
            Cmd::ScanLock(r) => Answer::ScanLock(respond!(self.scan_lock(r).await, ScanLockResponse, error)),
            Cmd::DeleteRange(r) => {
                Answer::DeleteRange(respond!(self.delete_range(r).await, DeleteRangeResponse, error))
            }
            Cmd::SplitRegion(r) => Answer::SplitRegion(self.split_region(r).await),
            Cmd::TransferLeader(r) => Answer::TransferLeader(self.transfer_leader(r).await),
            Cmd::RegionInfo(r) => Answer::RegionInfo(self.admin.region_info(r).await),
            Cmd::RegionHash(r) => Answer::RegionHash(self.admin.region_hash(r).await),
            Cmd::Get(r) => Answer::Get(respond!(self.get(r).await, GetResponse, error)),
            Cmd::BatchGet(r) => Answer::BatchGet(respond_many!(self.batch_get(r).await, BatchGetResponse)),
            Cmd::Scan(r) => Answer::Scan(respond!(self.scan(r).await, ScanResponse, error)),
        };
        KvResponse { cmd: Some(cmd) }
    }

    fn ctx(&self, context: Option<&kv::Context>) -> Result<RegionCtx, Error> {
        let Some(context) = context else { return Err(KeyError::Invalid("no context".into()).into()) };
        let actual = self.identity;
        if context.cluster_id != 0 && context.cluster_id != actual.cluster_id {
            return Err(RegionError::ClusterMismatch { wanted: context.cluster_id, actual: actual.cluster_id }.into());
        }
        let peer = context.peer.as_ref().map(Peer::from);
        if let Some(peer) = peer
            && peer.store_id != actual.store_id
        {
            return Err(RegionError::StoreNotMatch { wanted: peer.store_id, actual: actual.store_id }.into());
        }
        let deadline = match context.deadline_ms {
            0 => None,
            left => Some(self.env.now().after(Duration::from_millis(left))),
        };
        Ok(RegionCtx {
            region_id: RegionId(context.region_id),
            epoch: context.epoch.as_ref().map(Epoch::from).unwrap_or_default(),
            peer_id: peer.map_or(PeerId(0), |peer| peer.id),
            deadline,
        })
    }

    /// Waits until no lock in memory on the key stands in the reader's way.
    async fn wait_for_key(&self, key: &UserKey, read: &ReadAt) -> Result<(), Error> {
        let concurrency = self.scheduler.concurrency();
        if concurrency.is_empty() {
            return Ok(());
        }
        let encoded = key.encode();
        let mut waits = 0;
        while let Some(blocking) = concurrency.blocking_lock(encoded.as_slice(), read) {
            self.wait_out(key, blocking.lock, &mut waits).await?;
        }
        Ok(())
    }

    /// As [`StoreService::wait_for_key`], without waiting.
    fn is_free(&self, key: &UserKey, read: &ReadAt) -> Result<(), Error> {
        match self.scheduler.concurrency().blocking_lock(key.encode().as_slice(), read) {
            Some(blocking) => Err(blocking.lock.blocks(key.clone())),
            None => Ok(()),
        }
    }

    /// The same for a range.
    async fn wait_for_range(&self, range: &KeyRange, read: &ReadAt) -> Result<(), Error> {
        let concurrency = self.scheduler.concurrency();
        if concurrency.is_empty() {
            return Ok(());
        }
        let encoded = EngineRange::from(range);
        let mut waits = 0;
        while let Some((key, blocking)) = concurrency.blocking_lock_in(&encoded, read) {
            self.wait_out(&decode_user_key(&key)?, blocking.lock, &mut waits).await?;
        }
        Ok(())
    }

    /// The command behind a lock in memory is about to finish: its latch is free when it has.
    async fn wait_out(&self, key: &UserKey, lock: crate::mvcc::Lock, waits: &mut usize) -> Result<(), Error> {
        *waits += 1;
        let slice = Duration::from_millis(self.config.lock_wait_slice_ms);
        let passed = tokio::time::timeout(slice, self.scheduler.pass_key(key.as_slice())).await;
        if passed.is_err() || *waits >= MEMORY_LOCK_WAITS_MAX {
            return Err(lock.blocks(key.clone()));
        }
        Ok(())
    }

    async fn snapshot(&self, ctx: &RegionCtx) -> Result<RegionSnapshot, Error> {
        Ok(self.scheduler.replicated().snapshot(ctx).await?)
    }

    async fn get(&self, request: kv::GetRequest) -> Result<kv::GetResponse, Error> {
        let context = request.context.unwrap_or_default();
        let ctx = self.ctx(Some(&context))?;
        let key = UserKey::from(request.key);
        let read = self.start_read(request.version, context).await?;
        self.wait_for_key(&key, &read).await?;
        let snapshot = self.snapshot(&ctx).await?;
        snapshot.check_safe_point(read.ts)?;
        check_keys(&snapshot, [&key])?;
        Ok(match MvccReader::new(&*snapshot.data).get(key.as_slice(), &read)? {
            Some(found) => kv::GetResponse { value: found.value, commit_ts: found.commit_ts.0, ..Default::default() },
            None => kv::GetResponse { not_found: true, ..Default::default() },
        })
    }

    /// As [`StoreService::admit`]; the largest is the newest version's, and promises nothing.
    async fn admit_read(&self, timestamps: impl IntoIterator<Item = u64>) -> Result<(), Error> {
        self.admit(timestamps.into_iter().filter(|ts| *ts != u64::MAX)).await
    }

    /// Refuses timestamps that PD cannot have given.
    async fn admit(&self, timestamps: impl IntoIterator<Item = u64>) -> Result<(), Error> {
        self.scheduler.ts_bound().admit(timestamps.into_iter().map(Timestamp)).await
    }

    async fn start_read(&self, version: u64, context: kv::Context) -> Result<ReadAt, Error> {
        self.admit_read([version]).await?;
        let read = ReadAt {
            ts: Timestamp(version),
            resolved_locks: context.resolved_locks,
            committed_locks: context.committed_locks,
            passes_deletes: context.passes_deletes,
            stops_at_locks: context.stops_at_locks,
        };
        self.scheduler.concurrency().update_max_ts(read.ts);
        Ok(read)
    }

    async fn batch_get(&self, request: kv::BatchGetRequest) -> Result<kv::BatchGetResponse, Error> {
        let context = request.context.unwrap_or_default();
        let ctx = self.ctx(Some(&context))?;
        let keys = convert::user_keys(request.keys);
        let read = self.start_read(request.version, context).await?;
        // Of a key that is not among the pairs the client thinks that it is not there: one that is blocked says so itself.
        let mut blocked: BTreeMap<UserKey, KeyError> = BTreeMap::new();
        for key in &keys {
            let waited = match blocked.is_empty() {
                true => self.wait_for_key(key, &read).await,
                // It was waited long enough for the first.
                false => self.is_free(key, &read),
            };
            match waited {
                Ok(()) => {}
                Err(Error::Key(error)) => drop(blocked.insert(key.clone(), error)),
                Err(error) => return Err(error),
            }
        }
        let snapshot = self.snapshot(&ctx).await?;
        snapshot.check_safe_point(read.ts)?;
        check_keys(&snapshot, &keys)?;
        let mut reader = MvccReader::new(&*snapshot.data);
        let (mut pairs, mut errors) = (Pairs::default(), Vec::new());
        for key in keys {
            if let Some(error) = blocked.remove(&key) {
                errors.push(convert::key_error(error));
                continue;
            }
            match reader.get(key.as_slice(), &read) {
                Ok(None) => {}
                Ok(Some(found)) => pairs.push(key.as_slice(), &found.value),
                Err(Error::Key(error)) => errors.push(convert::key_error(error)),
                Err(error) => return Err(error),
            }
        }
        Ok(kv::BatchGetResponse { region_error: None, pairs: Some(pairs.into()), errors })
    }

    async fn scan(&self, request: kv::ScanRequest) -> Result<kv::ScanResponse, Error> {
        let context = request.context.unwrap_or_default();
        let ctx = self.ctx(Some(&context))?;
        let read = self.start_read(request.version, context).await?;
        let range = KeyRange::new(request.start_key, request.end_key);
        self.wait_for_range(&range, &read).await?;
        let snapshot = self.snapshot(&ctx).await?;
        snapshot.check_safe_point(read.ts)?;
        let Some(range) = range.intersect(&snapshot.region.range) else {
            return Err(RegionError::KeyNotInRegion(Box::new((*snapshot.region).clone())).into());
        };
        if request.changed_after != 0 {
            let (range, since) = (EngineRange::from(&range), Timestamp(request.changed_after));
            // A deletion that is gone has changed something, too.
            snapshot.check_safe_point(since)?;
            let mut pairs = Pairs::default();
            if let Some(key) = first_change(&*snapshot.data, &range, &read, since)? {
                pairs.push(key.as_slice(), b"");
            }
            return Ok(kv::ScanResponse { pairs: Some(pairs.into()), ..Default::default() });
        }
        let at_most = |asked: u64, limit: usize| if asked == 0 { limit } else { limit.min(asked as usize) };
        let page = PageRequest {
            range,
            reverse: request.reverse,
            read,
            key_only: request.key_only,
            rows_max: at_most(request.limit.into(), self.config.scan_pairs_max),
            bytes_max: at_most(request.bytes_max, self.config.scan_bytes_max),
        };
        let page = read_page(&snapshot.data, &page)?;
        let error = page.locked.map(|locked| convert::key_error(KeyError::Locked(locked)));
        Ok(kv::ScanResponse { region_error: None, pairs: Some(page.rows.into()), more: page.more, error })
    }

    async fn prewrite(&self, request: kv::PrewriteRequest) -> Result<kv::PrewriteResponse, Error> {
        let ctx = self.ctx(request.context.as_ref())?;
        self.admit([request.start_ts, request.for_update_ts, request.min_commit_ts]).await?;
        self.check_room()?;
        let prewrite = convert::prewrite(request, self.config.key_bytes_max)?;
        Ok(match self.scheduler.prewrite(&ctx, prewrite).await? {
            PrewriteOutcome::Prewritten(answer) => kv::PrewriteResponse {
                min_commit_ts: answer.min_commit_ts.0,
                one_pc_commit_ts: answer.one_pc_commit_ts.0,
                ..Default::default()
            },
            PrewriteOutcome::Blocked(errors) => kv::PrewriteResponse {
                errors: errors.into_iter().map(convert::key_error).collect(),
                ..Default::default()
            },
        })
    }

    async fn pessimistic_lock(
        &self,
        request: kv::PessimisticLockRequest,
    ) -> Result<kv::PessimisticLockResponse, Error> {
        let ctx = self.ctx(request.context.as_ref())?;
        self.admit([request.start_ts, request.for_update_ts]).await?;
        self.check_room()?;
        let (lock, waits) = convert::pessimistic_lock(request, self.config.key_bytes_max)?;
        let values = self.scheduler.pessimistic_lock(&ctx, lock, waits).await?;
        let values = values.into_iter().map(|found| kv::LockedValue {
            exists: found.value.is_some(),
            value: found.value.unwrap_or_default(),
            newest_commit_ts: found.newest_commit.0,
            skipped: found.skipped,
        });
        Ok(kv::PessimisticLockResponse { values: values.collect(), ..Default::default() })
    }

    async fn pessimistic_rollback(
        &self,
        request: kv::PessimisticRollbackRequest,
    ) -> Result<kv::PessimisticRollbackResponse, Error> {
        let ctx = self.ctx(request.context.as_ref())?;
        let (start_ts, for_update_ts) = (Timestamp(request.start_ts), Timestamp(request.for_update_ts));
        let keys = convert::user_keys(request.keys);
        self.scheduler.pessimistic_rollback(&ctx, &keys, start_ts, for_update_ts).await?;
        Ok(kv::PessimisticRollbackResponse::default())
    }

    async fn commit(&self, request: kv::CommitRequest) -> Result<kv::CommitResponse, Error> {
        let ctx = self.ctx(request.context.as_ref())?;
        self.admit([request.start_ts, request.commit_ts]).await?;
        let keys = convert::user_keys(request.keys);
        let (start_ts, commit_ts) = (Timestamp(request.start_ts), Timestamp(request.commit_ts));
        self.scheduler.commit(&ctx, &keys, start_ts, commit_ts).await?;
        Ok(kv::CommitResponse { commit_ts: commit_ts.0, ..Default::default() })
    }

    async fn batch_rollback(&self, request: kv::BatchRollbackRequest) -> Result<kv::BatchRollbackResponse, Error> {
        let ctx = self.ctx(request.context.as_ref())?;
        self.admit([request.start_ts]).await?;
        self.scheduler.rollback(&ctx, &convert::user_keys(request.keys), Timestamp(request.start_ts)).await?;
        Ok(kv::BatchRollbackResponse::default())
    }

    async fn check_txn_status(&self, request: kv::CheckTxnStatusRequest) -> Result<kv::CheckTxnStatusResponse, Error> {
        let ctx = self.ctx(request.context.as_ref())?;
        self.admit([request.lock_ts, request.current_ts]).await?;
        self.admit_read([request.caller_start_ts]).await?;
        let status = self.scheduler.check_txn_status(&ctx, convert::check_txn_status(request)).await?;
        Ok(convert::txn_status(status))
    }

    async fn check_secondary_locks(
        &self,
        request: kv::CheckSecondaryLocksRequest,
    ) -> Result<kv::CheckSecondaryLocksResponse, Error> {
        let ctx = self.ctx(request.context.as_ref())?;
        self.admit([request.start_ts]).await?;
        let keys = convert::user_keys(request.keys);
        let mut response = kv::CheckSecondaryLocksResponse::default();
        match self.scheduler.check_secondary_locks(&ctx, &keys, Timestamp(request.start_ts)).await? {
            SecondaryStatus::Locked(locks) => response.locks = locks.into_iter().map(convert::lock_info).collect(),
            SecondaryStatus::Committed(commit_ts) => response.commit_ts = commit_ts.0,
            SecondaryStatus::RolledBack => {}
        }
        Ok(response)
    }

    async fn heartbeat(&self, request: kv::TxnHeartBeatRequest) -> Result<kv::TxnHeartBeatResponse, Error> {
        let ctx = self.ctx(request.context.as_ref())?;
        let (primary, start_ts) = (UserKey::from(request.primary), Timestamp(request.start_ts));
        let lock_ttl_ms = self.scheduler.heartbeat(&ctx, &primary, start_ts, request.advise_ttl_ms).await?;
        Ok(kv::TxnHeartBeatResponse { lock_ttl_ms, ..Default::default() })
    }

    async fn resolve_lock(&self, request: kv::ResolveLockRequest) -> Result<kv::ResolveLockResponse, Error> {
        let ctx = self.ctx(request.context.as_ref())?;
        self.admit([request.start_ts, request.commit_ts]).await?;
        let commit_ts = (request.commit_ts != 0).then_some(Timestamp(request.commit_ts));
        let keys = convert::user_keys(request.keys);
        self.scheduler.resolve_lock(&ctx, keys, Timestamp(request.start_ts), commit_ts).await?;
        Ok(kv::ResolveLockResponse::default())
    }

    async fn scan_lock(&self, request: kv::ScanLockRequest) -> Result<kv::ScanLockResponse, Error> {
        let ctx = self.ctx(request.context.as_ref())?;
        self.admit_read([request.max_version]).await?;
        let max_ts = Timestamp(request.max_version);
        if request.safe_point != 0 {
            // It is never taken back: nothing is readable below it any more.
            if !self.scheduler.ts_bound().has_passed(Timestamp(request.safe_point)) {
                return Err(KeyError::Invalid(format!("safe point {} is in the future", request.safe_point)).into());
            }
            self.scheduler.close_below(&ctx, Timestamp(request.safe_point)).await?;
        }
        // No lock of an older transaction may appear behind the scan (M27).
        if !mutant("M27") {
            self.scheduler.concurrency().update_max_ts(max_ts);
        }
        let range = KeyRange::new(request.start_key, request.end_key);
        self.wait_for_range(&range, &ReadAt::at(max_ts)).await?;
        let snapshot = self.snapshot(&ctx).await?;
        let Some(range) = range.intersect(&snapshot.region.range) else { return Ok(kv::ScanLockResponse::default()) };
        let limit = match request.limit as usize {
            0 => self.config.scan_pairs_max,
            limit => limit.min(self.config.scan_pairs_max),
        };
        let filter = LockFilter { start_ts: None, max_ts, limit };
        let found = MvccReader::new(&*snapshot.data).scan_locks(&EngineRange::from(&range), filter)?;
        let mut locks = Vec::with_capacity(found.len());
        for (key, lock) in found {
            locks.push(convert::lock_info(LockedKey { key: decode_user_key(&key)?, lock }));
        }
        Ok(kv::ScanLockResponse { locks, ..Default::default() })
    }

    async fn delete_range(&self, request: kv::DeleteRangeRequest) -> Result<kv::DeleteRangeResponse, Error> {
        let ctx = self.ctx(request.context.as_ref())?;
        self.scheduler.delete_range(&ctx, &KeyRange::new(request.start_key, request.end_key)).await?;
        Ok(kv::DeleteRangeResponse::default())
    }

    async fn split_region(&self, request: kv::SplitRegionRequest) -> kv::SplitRegionResponse {
        let split = async {
            let ctx = self.ctx(request.context.as_ref()).map_err(refused)?;
            self.admin.split(&ctx, convert::user_keys(request.split_keys)).await
        };
        match split.await {
            Ok(regions) => {
                let regions = regions.iter().map(Into::into).collect();
                kv::SplitRegionResponse { regions, ..Default::default() }
            }
            Err(AdminError::Region(error)) => {
                kv::SplitRegionResponse { region_error: Some(convert::region_error(error)), ..Default::default() }
            }
            Err(AdminError::Refused(error)) => kv::SplitRegionResponse { error, ..Default::default() },
        }
    }

    async fn transfer_leader(&self, request: kv::TransferLeaderRequest) -> kv::TransferLeaderResponse {
        let transfer = async {
            let ctx = self.ctx(request.context.as_ref()).map_err(refused)?;
            let Some(to) = request.to.as_ref() else { return Err(AdminError::Refused("no peer named".into())) };
            self.admin.transfer_leader(&ctx, Peer::from(to)).await
        };
        match transfer.await {
            Ok(()) => kv::TransferLeaderResponse::default(),
            Err(AdminError::Region(error)) => {
                kv::TransferLeaderResponse { region_error: Some(convert::region_error(error)), ..Default::default() }
            }
            Err(AdminError::Refused(error)) => kv::TransferLeaderResponse { error, ..Default::default() },
        }
    }

    /// Runs a plan fragment over ranges of one region.
    pub fn coprocess(&self, request: CoprocessorRequest) -> BoxFuture<'_, BoxStream<'static, CoprocessorResponse>> {
        Box::pin(async move {
            metrics::STORE_REQUESTS.with_label_values(&["coprocess"]).inc();
            match self.start_coprocess(&request).await {
                Ok(snapshot) => self.coprocessor.handle(request, snapshot),
                Err(error) => futures::stream::once(futures::future::ready(coprocessor_error(error))).boxed(),
            }
        })
    }

    async fn start_coprocess(&self, request: &CoprocessorRequest) -> Result<RegionSnapshot, Error> {
        let context = request.context.clone().unwrap_or_default();
        let context = kv::Context {
            region_id: context.region_id,
            epoch: context.epoch,
            peer: context.peer,
            cluster_id: context.cluster_id,
            deadline_ms: context.deadline_ms,
            resolved_locks: context.resolved_locks,
            committed_locks: context.committed_locks,
            passes_deletes: false,
            stops_at_locks: false,
        };
        let ctx = self.ctx(Some(&context))?;
        let read = self.start_read(request.start_ts, context).await?;
        let ranges: Vec<KeyRange> =
            request.ranges.iter().map(|range| KeyRange::new(range.start_key.clone(), range.end_key.clone())).collect();
        for range in &ranges {
            self.wait_for_range(range, &read).await?;
        }
        let snapshot = self.snapshot(&ctx).await?;
        snapshot.check_safe_point(read.ts)?;
        if !ranges.iter().all(|range| snapshot.region.range.contains_range(range)) {
            return Err(RegionError::KeyNotInRegion(Box::new((*snapshot.region).clone())).into());
        }
        Ok(snapshot)
    }
}

fn refused(error: Error) -> AdminError {
    match error {
        Error::Region(error) => AdminError::Region(error),
        Error::Key(error) => AdminError::Refused(error.to_string()),
    }
}

/// As metrics and logs name a command.
fn command_name(cmd: &kv_request::Cmd) -> &'static str {
    use kv_request::Cmd;
    match cmd {
        Cmd::Get(_) => "get",
        Cmd::BatchGet(_) => "batch_get",
        Cmd::Scan(_) => "scan",
        Cmd::Prewrite(_) => "prewrite",
        Cmd::PessimisticLock(_) => "pessimistic_lock",
        Cmd::PessimisticRollback(_) => "pessimistic_rollback",
        Cmd::Commit(_) => "commit",
        Cmd::BatchRollback(_) => "batch_rollback",
        Cmd::CheckTxnStatus(_) => "check_txn_status",
        Cmd::CheckSecondaryLocks(_) => "check_secondary_locks",
        Cmd::TxnHeartBeat(_) => "txn_heart_beat",
        Cmd::ResolveLock(_) => "resolve_lock",
        Cmd::ScanLock(_) => "scan_lock",
        Cmd::DeleteRange(_) => "delete_range",
        Cmd::SplitRegion(_) => "split_region",
        Cmd::TransferLeader(_) => "transfer_leader",
        Cmd::RegionInfo(_) => "region_info",
        Cmd::RegionHash(_) => "region_hash",
    }
}

fn coprocessor_error(error: Error) -> CoprocessorResponse {
    let mut response = CoprocessorResponse::default();
    match error {
        Error::Region(error) => response.region_error = Some(convert::region_error(error)),
        Error::Key(KeyError::Locked(locked)) => response.locked = Some(convert::lock_info(*locked)),
        Error::Key(KeyError::BelowSafePoint { ts, safe_point }) => {
            response.below_safe_point = Some(BelowSafePoint { ts: ts.0, safe_point: safe_point.0 });
        }
        Error::Key(error) => response.other_error = error.to_string(),
    }
    response
}
