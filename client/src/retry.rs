//! Sending a command to the leader of a region: the one place that reacts to region errors.
//!
//! ```text
//!   key ─▶ locate ─▶ attempt ──▶ response without region error ─▶ caller
//!            ▲           │
//!            └───────────┘  the cache is corrected, the backoff waits, and the key is located anew
//! ```
//!
//! A command for many keys is grouped by region first ([`Cluster::group_by_region`]); a group that has to come again is
//! grouped anew, since its region may have been split.
//!
//! | answer | reaction |
//! |---|---|
//! | `NotLeader` | ask whom it names, or the next voter; after a round of them ask PD |
//! | `EpochNotMatch` | take over the regions that it brings |
//! | `RegionNotFound`, `KeyNotInRegion`, `StoreNotMatch` | forget the region |
//! | `ServerIsBusy`, `MaxTsNotSynced`, `ReadNotReady`, `StaleCommand` | wait, ask the same |
//! | `DiskFull` | ask the next voter as long as a full store may take to hand the region to another, then give up: somebody must make room. Where there is no other voter, at once; in any case wait while an earlier attempt may have been executed |
//! | unreachable | ask the next voter |
//! | no answer, `Undetermined` | as unreachable, and remember that the command may have been executed |
//! | none for long | ask the other voters who leads (`silence.rs`); then as no answer |
//!
//! Every command is idempotent, so coming again is always right. What may be wrong is giving up: after an attempt whose fate
//! is unknown the caller must not say "failed" ([`Retry::maybe_executed`]). A later definite answer settles it.

use crate::backoff::{Backoff, Cause};
use crate::cluster::Cluster;
use crate::config::{CALL_TIMEOUT, FULL_STORE_WAIT};
use crate::error::{Error, Result};
use crate::region_cache::CachedRegion;
use crate::rpc::RpcError;
use basalt_common::env::{Env, Monotonic};
use basalt_common::{KeyRange, Peer, Region};
use basalt_proto::errors::{RegionError, region_error};
use basalt_proto::kv::{self, kv_request, kv_response};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// Redirections that cost no waiting.
const FREE_REDIRECTS: u32 = 2;
/// Peers asked in turn before PD is asked who leads.
const GUESSES_BEFORE_PD: u32 = 3;

/// The attempts of one request.
pub(crate) struct Retry {
    pub(crate) backoff: Backoff,
    /// An attempt since the last definite answer may have been executed.
    pub(crate) maybe_executed: bool,
    /// Attempts made.
    pub(crate) attempts: u32,
    redirects: u32,
    guesses: u32,
    /// Since when the region's leader has had no room.
    full_since: Option<Monotonic>,
}

impl Retry {
    pub(crate) fn new(env: &Env, budget: Duration) -> Retry {
        Retry::over(Backoff::new(env, budget))
    }

    /// For a part of the request that goes its own way until the same deadline.
    pub(crate) fn fork(&self) -> Retry {
        Retry::over(self.backoff.fork())
    }

    fn over(backoff: Backoff) -> Retry {
        Retry { backoff, maybe_executed: false, attempts: 0, redirects: 0, guesses: 0, full_since: None }
    }

    /// Whether a store whose disk is full may still hand the region to another.
    fn may_wait_for_room(&mut self, env: &Env) -> bool {
        let now = env.now();
        now.since(*self.full_since.get_or_insert(now)) < FULL_STORE_WAIT
    }

    async fn wait(&mut self, cause: Cause, reason: impl FnOnce() -> String) -> Result<()> {
        self.wait_at_least(cause, Duration::ZERO, reason).await
    }

    async fn wait_at_least(&mut self, cause: Cause, least: Duration, reason: impl FnOnce() -> String) -> Result<()> {
        let waited = self.backoff.wait_at_least(cause, least).await;
        waited.map_err(|_| Error::RegionUnavailable(reason()))
    }
}

impl Cluster {
    /// The region that holds `key`.
    pub(crate) async fn locate(&self, key: &[u8], retry: &mut Retry) -> Result<Arc<CachedRegion>> {
        loop {
            if let Some(known) = self.regions.get(key) {
                return Ok(known);
            }
            if let Some(found) = self.pd.region_at(Bytes::copy_from_slice(key)).await?
                && found.region.contains(key)
                && !found.region.peers.is_empty()
            {
                return Ok(self.regions.insert(found.region, found.leader));
            }
            retry.wait(Cause::RegionMoved, || format!("no region of key {}", key.escape_ascii())).await?;
        }
    }

    /// The region that holds the keys just below `key`; an empty key is infinity.
    pub(crate) async fn locate_before(&self, key: &[u8], retry: &mut Retry) -> Result<Arc<CachedRegion>> {
        loop {
            if let Some(known) = self.regions.get_before(key) {
                return Ok(known);
            }
            if let Some(found) = self.pd.region_before(Bytes::copy_from_slice(key)).await?
                && !found.region.peers.is_empty()
            {
                return Ok(self.regions.insert(found.region, found.leader));
            }
            retry.wait(Cause::RegionMoved, || format!("no region below key {}", key.escape_ascii())).await?;
        }
    }

    /// Makes sure that the regions at the start of `range` are known, with one question to PD if they are not.
    pub(crate) async fn prefetch(&self, range: &KeyRange) -> Result<()> {
        if self.regions.get(range.start.as_slice()).is_none() {
            for found in self.pd.scan_regions(range).await? {
                if !found.region.peers.is_empty() {
                    self.regions.insert(found.region, found.leader);
                }
            }
        }
        Ok(())
    }

    /// Groups items by the region that holds their key; order within a group is kept.
    pub(crate) async fn group_by_region<T>(
        &self,
        items: impl IntoIterator<Item = T>,
        key_of: impl Fn(&T) -> &[u8],
        retry: &mut Retry,
    ) -> Result<Vec<(Arc<CachedRegion>, Vec<T>)>> {
        let mut groups: Vec<(Arc<CachedRegion>, Vec<T>)> = Vec::new();
        let mut last = 0;
        for item in items {
            let key = key_of(&item);
            if groups.get(last).is_none_or(|(r, _)| !r.region.contains(key)) {
                last = match groups.iter().position(|(r, _)| r.region.contains(key)) {
                    Some(at) => at,
                    None => {
                        let route = self.locate(key, retry).await?;
                        groups.push((route, Vec::new()));
                        groups.len() - 1
                    }
                };
            }
            groups[last].1.push(item);
        }
        Ok(groups)
    }

    /// The context of a request for a region, as this process knows it.
    pub(crate) fn context(&self, route: &CachedRegion, peer: Peer, deadline: Duration) -> kv::Context {
        kv::Context {
            region_id: route.region.id.0,
            epoch: Some(route.region.epoch.into()),
            peer: Some(peer.into()),
            cluster_id: self.pd.cluster_id(),
            deadline_ms: deadline.as_millis() as u64,
            resolved_locks: Vec::new(),
            passes_deletes: false,
            stops_at_locks: false,
            committed_locks: Vec::new(),
        }
    }

    /// Sends a command for one key to its region until there is an answer.
    pub(crate) async fn call_key(
        &self,
        key: &[u8],
        retry: &mut Retry,
        mut make: impl FnMut(kv::Context) -> kv_request::Cmd,
    ) -> Result<kv_response::Cmd> {
        loop {
            let route = self.locate(key, retry).await?;
            if let Some(answer) = self.attempt(&route, retry, &mut make).await? {
                return Ok(answer);
            }
        }
    }

    /// Sends a command to a region once. None: locate the keys anew and come again; the cache is corrected and the wait
    /// is over.
    pub(crate) async fn attempt(
        &self,
        route: &CachedRegion,
        retry: &mut Retry,
        make: impl FnOnce(kv::Context) -> kv_request::Cmd,
    ) -> Result<Option<kv_response::Cmd>> {
        let Some(peer) = route.leader() else {
            self.regions.invalidate(route.region.id, route.region.epoch);
            retry.wait(Cause::RegionMoved, || format!("region {} has no peers", route.region.id)).await?;
            return Ok(None);
        };
        let limit = CALL_TIMEOUT.min(retry.backoff.left());
        let request = kv::KvRequest { cmd: Some(make(self.context(route, peer, limit))) };
        retry.attempts += 1;
        let asked = self.unless_silent(route, peer, self.kv.call(peer.store_id, request));
        let answer = match tokio::time::timeout(limit, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(RpcError::NoAnswer { target: format!("store {}", peer.store_id), reason: "timeout".into() }),
        };
        let mut cmd = match answer {
            Ok(kv::KvResponse { cmd: Some(cmd) }) => cmd,
            Ok(_) => return Err(Error::Corrupt("store answered nothing".into())),
            Err(e) => {
                self.on_rpc_error(route, peer, &e, retry).await?;
                return Ok(None);
            }
        };
        match take_region_error(&mut cmd) {
            Some(e) => {
                self.on_region_error(route, peer, e, retry).await?;
                Ok(None)
            }
            None => {
                retry.maybe_executed = false;
                retry.full_since = None;
                Ok(Some(cmd))
            }
        }
    }

    /// Reacts to a call that brought no answer.
    pub(crate) async fn on_rpc_error(
        &self,
        route: &CachedRegion,
        peer: Peer,
        error: &RpcError,
        retry: &mut Retry,
    ) -> Result<()> {
        retry.maybe_executed |= matches!(error, RpcError::NoAnswer { .. });
        self.guess_next(route, peer, retry);
        retry.wait(Cause::Unreachable, || format!("region {}: {error}", route.region.id)).await
    }

    /// Reacts to a store's refusal: corrects the cache and waits.
    pub(crate) async fn on_region_error(
        &self,
        route: &CachedRegion,
        peer: Peer,
        error: RegionError,
        retry: &mut Retry,
    ) -> Result<()> {
        use region_error::Kind;
        let RegionError { message, kind } = error;
        let region = &route.region;
        let reason = || format!("region {} at store {}: {message}", region.id, peer.store_id);
        match kind {
            Some(Kind::NotLeader(e)) => self.on_not_leader(route, peer, e.leader, retry, reason).await,
            Some(Kind::EpochNotMatch(e)) => {
                let told: Vec<Region> = e.current_regions.iter().map(Region::from).collect();
                self.on_epoch_not_match(route, peer, told, retry, reason).await
            }
            Some(Kind::RegionNotFound(_) | Kind::KeyNotInRegion(_) | Kind::StoreNotMatch(_)) => {
                self.regions.invalidate(region.id, region.epoch);
                retry.wait(Cause::RegionMoved, reason).await
            }
            Some(Kind::ServerIsBusy(e)) => {
                retry.wait_at_least(Cause::Busy, Duration::from_millis(e.backoff_ms), reason).await
            }
            Some(Kind::DiskFull(_)) if retry.maybe_executed => retry.wait(Cause::Busy, reason).await,
            Some(Kind::DiskFull(_)) if region.peers.len() > 1 && retry.may_wait_for_room(&self.env) => {
                self.guess_next(route, peer, retry);
                retry.wait(Cause::Busy, reason).await
            }
            Some(Kind::DiskFull(e)) => Err(Error::DiskFull(format!("store {} takes no writes", e.store_id))),
            Some(Kind::MaxTsNotSynced(_)) => retry.wait(Cause::Busy, reason).await,
            Some(Kind::StaleCommand(_) | Kind::ReadNotReady(_)) => retry.wait(Cause::NotLeader, reason).await,
            Some(Kind::Undetermined(_)) => {
                retry.maybe_executed = true;
                retry.wait(Cause::NotLeader, reason).await
            }
            Some(Kind::EntryTooLarge(e)) => {
                Err(Error::EntryTooLarge { size: e.entry_size_bytes as usize, limit: e.limit_bytes as usize })
            }
            Some(Kind::ClusterMismatch(e)) => Err(Error::Invalid(format!(
                "request of cluster {} reached cluster {}",
                e.request_cluster_id, e.actual_cluster_id
            ))),
            None => retry.wait(Cause::Busy, reason).await,
        }
    }

    async fn on_not_leader(
        &self,
        route: &CachedRegion,
        peer: Peer,
        leader: Option<basalt_proto::meta::Peer>,
        retry: &mut Retry,
        reason: impl FnOnce() -> String,
    ) -> Result<()> {
        match leader.as_ref().map(Peer::from).filter(|l| l.id != peer.id) {
            Some(leader) => {
                self.regions.set_leader(route, leader);
                retry.redirects += 1;
                if retry.redirects <= FREE_REDIRECTS {
                    return Ok(());
                }
            }
            None => self.guess_next(route, peer, retry),
        }
        retry.wait(Cause::NotLeader, reason).await
    }

    async fn on_epoch_not_match(
        &self,
        route: &CachedRegion,
        peer: Peer,
        told: Vec<Region>,
        retry: &mut Retry,
        reason: impl FnOnce() -> String,
    ) -> Result<()> {
        if told.is_empty() {
            self.regions.invalidate(route.region.id, route.region.epoch);
        }
        for region in told {
            // A split leaves leadership where it was, most of the time.
            let leader = region.peer_on(peer.store_id);
            self.regions.insert(region, leader);
        }
        retry.redirects += 1;
        let known = self.regions.get(route.region.range.start.as_slice());
        if known.is_some_and(|k| k.region.epoch == route.region.epoch) {
            // The store is behind what this process knows: wait for it, or find another.
            self.guess_next(route, peer, retry);
        } else if retry.redirects <= FREE_REDIRECTS {
            return Ok(());
        }
        retry.wait(Cause::RegionMoved, reason).await
    }

    /// Asks another voter next; after a round of guesses PD is asked.
    fn guess_next(&self, route: &CachedRegion, failed: Peer, retry: &mut Retry) {
        retry.guesses += 1;
        match retry.guesses % GUESSES_BEFORE_PD {
            0 => self.regions.invalidate(route.region.id, route.region.epoch),
            _ => self.regions.set_failed(route, failed),
        }
    }
}

/// Takes the region error out of a response.
fn take_region_error(cmd: &mut kv_response::Cmd) -> Option<RegionError> {
    use kv_response::Cmd;
    match cmd {
        Cmd::Get(r) => r.region_error.take(),
        Cmd::BatchGet(r) => r.region_error.take(),
        Cmd::Scan(r) => r.region_error.take(),
        Cmd::Prewrite(r) => r.region_error.take(),
        Cmd::PessimisticLock(r) => r.region_error.take(),
        Cmd::PessimisticRollback(r) => r.region_error.take(),
        Cmd::Commit(r) => r.region_error.take(),
        Cmd::BatchRollback(r) => r.region_error.take(),
        Cmd::CheckTxnStatus(r) => r.region_error.take(),
        Cmd::CheckSecondaryLocks(r) => r.region_error.take(),
        Cmd::TxnHeartBeat(r) => r.region_error.take(),
        Cmd::ResolveLock(r) => r.region_error.take(),
        Cmd::ScanLock(r) => r.region_error.take(),
        Cmd::DeleteRange(r) => r.region_error.take(),
        Cmd::SplitRegion(r) => r.region_error.take(),
        Cmd::TransferLeader(r) => r.region_error.take(),
        Cmd::RegionInfo(_) | Cmd::RegionHash(_) => None,
    }
}

/// What to say of an answer to another question.
pub(crate) fn wrong_answer() -> Error {
    Error::Corrupt("store answered something else than was asked".into())
}
