//! What a store tells PD, and what PD's answers make it do.

use super::pd::PdCaller;
use super::{Driver, Heard, NodeParams, OnMaxTs};
use crate::engine::Engine;
use crate::raftlog::RaftLog;
use crate::raftstore::handle::RaftHandle;
use crate::raftstore::message::Input;
use crate::raftstore::split_check::find_split_keys;
use crate::raftstore::store::PdEvent;
use crate::replicated::RegionCtx;
use crate::replicated::raft_kv::{approximate_size, split_region};
use basalt_common::metrics;
use basalt_common::{Epoch, Peer, PeerId, PeerRole, Region, RegionId, StoreId, UserKey};
use basalt_proto::pd::{self, pd_request, pd_response, region_heartbeat_response::Step};
use basalt_proto::raft::change_peers_command::{Change, Kind};
use basalt_proto::raft::{AdminCommand, ChangePeersCommand, admin_command};
use futures::future::join_all;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::mpsc;

/// Reports in flight at once.
const REPORTS_MAX: usize = 64;
/// A region's size is measured again when this part of the split size was written to it.
const MEASURE_PART: u64 = 32;

#[derive(Clone, Copy, Default)]
struct Size {
    bytes: u64,
    keys: u64,
    written: u64,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(super) struct Reports {
    store_id: StoreId,
    handle: RaftHandle,
    pd: PdCaller,
    engine: Arc<dyn Engine>,
    log: Arc<dyn RaftLog>,
    on_max_ts: OnMaxTs,
    driver: Driver,
    heard: Heard,
    sizes: Arc<Mutex<BTreeMap<RegionId, Size>>>,
    splitting: Arc<Mutex<BTreeSet<RegionId>>>,
}

struct Report {
    region: Arc<Region>,
    leader: Peer,
    term: u64,
    down: Vec<Peer>,
    pending: Vec<Peer>,
    written_bytes: u64,
}

impl Reports {
    pub(super) fn new(params: &NodeParams, store_id: StoreId, handle: RaftHandle, pd: PdCaller, heard: Heard) -> Self {
        Reports {
            store_id,
            handle,
            pd,
            engine: params.engine.clone(),
            log: params.log.clone(),
            on_max_ts: params.on_max_ts.clone(),
            driver: params.driver.clone(),
            heard,
            sizes: Arc::default(),
            splitting: Arc::default(),
        }
    }

    /// Tells PD what the raft store says, until the raft store ends.
    pub(super) async fn run_events(self, mut events: mpsc::Receiver<PdEvent>) {
        let mut some = Vec::new();
        while events.recv_many(&mut some, REPORTS_MAX).await > 0 {
            let mut led = Vec::new();
            let (mut reports, mut questions) = (BTreeMap::new(), BTreeSet::new());
            for event in some.drain(..) {
                match event {
                    PdEvent::Leads { region_id, term } => led.push((region_id, term)),
                    PdEvent::AsksMembership { region_id, peer_id } => drop(questions.insert((region_id, peer_id))),
                    PdEvent::Heartbeat { region, leader, term, down, pending, written_bytes } => {
                        let report = Report { region, leader, term, down, pending, written_bytes };
                        reports.insert(report.region.id, report);
                    }
                }
            }
            if !led.is_empty() {
                let this = self.clone();
                tokio::spawn(async move { this.learn_max_ts(led).await });
            }
            let reports = join_all(reports.into_values().map(|report| self.report(report)));
            let questions = join_all(questions.into_iter().map(|(region, peer)| self.confirm(region, peer)));
            tokio::join!(reports, questions);
        }
    }

    /// Reads that other leaders served may be as new as now: no commit of a new leader may be older (M8).
    async fn learn_max_ts(&self, led: Vec<(RegionId, u64)>) {
        let delegate = |region| self.handle.delegates().get(region);
        loop {
            match self.pd.timestamp().await {
                Ok(ts) => {
                    (self.on_max_ts)(ts);
                    for (region, term) in led {
                        if let Some(delegate) = delegate(region) {
                            delegate.set_max_ts_synced(term);
                        }
                    }
                    return;
                }
                Err(error) => {
                    tracing::warn!(%error, "the newest timestamp cannot be learned; no async commit until then")
                }
            }
            if led.iter().all(|(region, term)| delegate(*region).is_none_or(|d| d.term() != *term)) {
                return;
            }
        }
    }

    /// Whether PD still knows the peer, for a peer that doubts it.
    async fn confirm(&self, region: RegionId, peer_id: PeerId) {
        match self.pd.region_now(region).await {
            Ok(Some(region)) => self.handle.mailbox().report(Input::Confirmed { peer_id, region: Box::new(region) }),
            Ok(None) => {
                tracing::debug!(%region, peer = %peer_id, "PD does not know the region of a peer without a leader")
            }
            Err(error) => tracing::debug!(%error, %region, "PD was not asked about a peer without a leader"),
        }
    }

    async fn report(&self, report: Report) {
        let size = self.measure(&report.region, report.written_bytes);
        let request = pd::RegionHeartbeatRequest {
            region: Some((&*report.region).into()),
            leader: Some(report.leader.into()),
            term: report.term,
            approximate_size_bytes: size.bytes,
            approximate_keys: size.keys,
            down_peers: report.down.iter().map(|&p| p.into()).collect(),
            pending_peers: report.pending.iter().map(|&p| p.into()).collect(),
            written_bytes: report.written_bytes,
            read_bytes: 0,
        };
        match self.pd.call(pd_request::Cmd::RegionHeartbeat(request)).await {
            Ok(pd_response::Cmd::RegionHeartbeat(response)) => self.begin_step(&report, response),
            Ok(_) => tracing::warn!("PD answered a heartbeat with something else"),
            Err(error) => tracing::debug!(%error, "a region's heartbeat was not taken"),
        }
        if size.bytes > self.handle.config().region_max_size_bytes {
            self.begin_split(report.region.clone(), report.leader.id);
        }
    }

    /// The region's size; measured again only after enough was written.
    fn measure(&self, region: &Region, written: u64) -> Size {
        let known = self.sizes.lock().get(&region.id).copied();
        let enough = self.handle.config().region_split_size_bytes / MEASURE_PART;
        let mut size = known.unwrap_or_default();
        size.written += written;
        if known.is_none() || size.written > enough {
            let (bytes, keys) = approximate_size(&*self.engine, region);
            size = Size { bytes, keys, written: 0 };
        }
        self.sizes.lock().insert(region.id, size);
        size
    }

    /// Does what PD asked for, beside the reports: a step may wait for a quorum.
    fn begin_step(&self, report: &Report, response: pd::RegionHeartbeatResponse) {
        let Some(step) = response.step else { return };
        let epoch = response.epoch.as_ref().map(Epoch::from).unwrap_or(report.region.epoch);
        if epoch != report.region.epoch {
            return;
        }
        let ctx = RegionCtx { region_id: report.region.id, epoch, peer_id: report.leader.id, deadline: None };
        let (this, region) = (self.clone(), report.region.clone());
        tokio::spawn(async move {
            let (id, name) = (region.id, step_name(&step));
            match this.step(ctx, &region, step).await {
                Ok(()) => tracing::info!(region = %id, step = name, "did what PD asked for"),
                Err(error) => tracing::debug!(region = %id, step = name, error, "PD's step was not done"),
            }
        });
    }

    async fn step(&self, ctx: RegionCtx, region: &Region, step: Step) -> Result<(), String> {
        let wait = self.handle.config().request_timeout;
        let change = match step {
            Step::AddPeer(step) => {
                let peer = step.peer.as_ref().map(Peer::from).ok_or("no peer")?;
                let kind = if peer.role == PeerRole::Voter { Kind::AddVoter } else { Kind::AddLearner };
                (kind, peer)
            }
            Step::RemovePeer(step) => (Kind::Remove, step.peer.as_ref().map(Peer::from).ok_or("no peer")?),
            Step::TransferLeader(step) => {
                let to = step.to.as_ref().map(Peer::from).ok_or("no peer")?;
                return self.handle.transfer_leader(region.id, to.id, wait).await.map_err(|e| e.to_string());
            }
            Step::Split(step) => {
                let keys: Vec<UserKey> = step.split_keys.into_iter().map(UserKey).collect();
                return self.split(ctx, region, keys).await;
            }
        };
        let change = Change { kind: change.0 as i32, peer: Some(change.1.into()) };
        let command = ChangePeersCommand { changes: vec![change] };
        let command = AdminCommand { kind: Some(admin_command::Kind::ChangePeers(command)) };
        self.handle.admin(ctx, command, wait).await.map(|_| ()).map_err(|e| e.to_string())
    }

    async fn split(&self, ctx: RegionCtx, region: &Region, keys: Vec<UserKey>) -> Result<(), String> {
        let regions = split_region(&self.handle, &self.pd, ctx, region, keys).await.map_err(|e| e.to_string())?;
        let mut sizes = self.sizes.lock();
        for region in regions {
            sizes.remove(&region.id);
        }
        Ok(())
    }

    /// Looks for split keys and splits, one attempt a region at a time.
    fn begin_split(&self, region: Arc<Region>, leader: PeerId) {
        if !self.splitting.lock().insert(region.id) {
            return;
        }
        let this = self.clone();
        tokio::spawn(async move {
            if let Err(error) = this.split_by_size(&region, leader).await {
                tracing::debug!(region = %region.id, error, "a large region was not split");
            }
            this.sizes.lock().remove(&region.id);
            this.splitting.lock().remove(&region.id);
        });
    }

    async fn split_by_size(&self, region: &Arc<Region>, leader: PeerId) -> Result<(), String> {
        let config = self.handle.config();
        let (split, max) = (config.region_split_size_bytes, config.region_max_size_bytes);
        let (engine, scanned) = (self.engine.clone(), region.clone());
        let find = move || find_split_keys(&*engine.snapshot(), &scanned, split, max);
        let keys = match self.driver {
            Driver::Threads => tokio::task::spawn_blocking(find).await.map_err(|e| e.to_string())?,
            Driver::Task(_) => find(),
        };
        let keys = keys.map_err(|e| e.to_string())?;
        if keys.is_empty() {
            return Ok(());
        }
        let ctx = RegionCtx { region_id: region.id, epoch: region.epoch, peer_id: leader, deadline: None };
        let parts = keys.len() + 1;
        self.split(ctx, region, keys).await?;
        tracing::info!(region = %region.id, parts, "split a region that had grown too large");
        Ok(())
    }

    /// Tells PD about the store, until aborted.
    pub(super) async fn run_store_heartbeats(self) {
        loop {
            let peers = self.handle.status(None).await.unwrap_or_default();
            let known: BTreeSet<RegionId> = peers.iter().map(|p| p.region.id).collect();
            self.sizes.lock().retain(|id, _| known.contains(id));
            let space = self.engine.disk_space();
            let stats = pd::StoreStats {
                store_id: self.store_id.0,
                capacity_bytes: space.map_or(0, |s| s.capacity),
                available_bytes: space.map_or(0, |s| s.available),
                used_bytes: self.engine.disk_bytes() + self.log.disk_bytes(),
                region_count: peers.len() as u64,
                leader_count: peers.iter().filter(|p| p.is_leader).count() as u64,
                is_busy: !self.engine.suggested_delay().is_zero(),
                max_seen_ts: 0,
                leads_nothing: self.heard.leads_nothing.load(Ordering::Relaxed),
            };
            let store = self.store_id.to_string();
            metrics::STORE_REGIONS.with_label_values(&[&store]).set(stats.region_count as i64);
            metrics::STORE_LEADERS.with_label_values(&[&store]).set(stats.leader_count as i64);
            metrics::STORE_BYTES.with_label_values(&[&store]).set(stats.used_bytes as i64);
            let request = pd::StoreHeartbeatRequest { stats: Some(stats) };
            match self.pd.call(pd_request::Cmd::StoreHeartbeat(request)).await {
                Ok(pd_response::Cmd::StoreHeartbeat(answer)) => {
                    self.heard.collect_to.fetch_max(answer.collect_to, Ordering::Relaxed);
                    self.heard.newest_ts.fetch_max(answer.newest_ts, Ordering::Relaxed);
                }
                Ok(_) => tracing::warn!("PD answered a store's heartbeat with something else"),
                Err(error) => tracing::debug!(%error, "the store's heartbeat was not taken"),
            }
            // What changes who may lead is told at once.
            let _ = tokio::time::timeout(self.handle.config().store_heartbeat, self.heard.changed.notified()).await;
        }
    }
}

fn step_name(step: &Step) -> &'static str {
    match step {
        Step::AddPeer(_) => "add peer",
        Step::RemovePeer(_) => "remove peer",
        Step::TransferLeader(_) => "transfer leader",
        Step::Split(_) => "split",
    }
}
