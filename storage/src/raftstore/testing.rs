//! A cluster of pure stores in one thread, driven by golden scripts.
//!
//! Messages go through one queue, the clock moves only by `tick`, disks are in memory. After every command the cluster is
//! run until nothing is left to do, so that a script shows outcomes and not interleavings; where one matters, `hold` keeps
//! back what a store's log, apply or snapshot queue is to do until `release`. The scripts are in `testscripts/raftstore`.

use super::apply::ApplyTask;
use super::apply::{ApplyCore, encode_modify};
use super::delegate::Delegates;
use super::driver::task::Queue;
use super::driver::{Crank, DriverParams, LogWork, Queues, SnapshotWork};
use super::handle::{Mailbox, RaftHandle};
use super::keys;
use super::message::{AdminDone, Input, PeerStatus, ReadGrant, Reply};
use super::snapshot::SnapshotFiles;
use super::store::{PdEvent, Store, StoreParams, bootstrap_region};
use super::transport::{Inbound, SnapshotDone, Transport, target};
use crate::config::RaftConfig;
use crate::engine::memory::MemoryEngine;
use crate::engine::{Cf, Engine, Modify};
use crate::error::RegionError;
use crate::raftlog::RaftLog;
use crate::raftlog::memory::MemoryRaftLog;
use crate::replicated::RegionCtx;
use basalt_common::env::{Env, Monotonic};
use basalt_common::{Epoch, KeyRange, Peer, PeerId, PeerRole, Region, RegionId, StoreId, UserKey};
use basalt_proto::raft::change_peers_command::{Change, Kind};
use basalt_proto::raft::split_command::NewRegion;
use basalt_proto::raft::{
    AdminCommand, ChangePeersCommand, CompactLogCommand, Envelope, GcStep, HashCommand, RaftCommand, SplitCommand,
    admin_command,
};
use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message as _;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

#[derive(Default)]
struct Net {
    queue: VecDeque<Envelope>,
    isolated: BTreeSet<StoreId>,
    inbound: BTreeMap<StoreId, Inbound>,
    snapshots: usize,
}

impl Net {
    fn passes(&self, envelope: &Envelope) -> bool {
        let from = StoreId(envelope.from.as_ref().map_or(0, |p| p.store_id));
        !self.isolated.contains(&from) && !self.isolated.contains(&target(envelope))
    }
}

struct NetTransport(Arc<Mutex<Net>>);

impl Transport for NetTransport {
    fn send(&self, envelopes: Vec<Envelope>) {
        let mut net = self.0.lock();
        for envelope in envelopes {
            if net.passes(&envelope) {
                net.queue.push_back(envelope);
            }
        }
    }

    fn send_snapshot(&self, envelope: Envelope, files: Arc<SnapshotFiles>, done: SnapshotDone) {
        let inbound = {
            let mut net = self.0.lock();
            net.snapshots += 1;
            if net.passes(&envelope) { net.inbound.get(&target(&envelope)).cloned() } else { None }
        };
        let Some(inbound) = inbound else { return };
        if files.chunks(envelope, 7).and_then(|chunks| inbound.take_snapshot(chunks)).is_ok() {
            done.arrived();
        }
    }
}

struct Node {
    engine: MemoryEngine,
    log: Arc<MemoryRaftLog>,
    dir: tempfile::TempDir,
    running: Option<Running>,
}

struct Running {
    crank: Crank<ScriptQueues>,
    queues: ScriptQueues,
    handle: RaftHandle,
    pd: mpsc::Receiver<PdEvent>,
}

/// What a store is to do, and which of its queues stand still.
#[derive(Default)]
struct Waiting {
    log: VecDeque<LogWork>,
    apply: VecDeque<Vec<ApplyTask>>,
    snapshot: VecDeque<SnapshotWork>,
    held: Vec<Queue>,
}

#[derive(Clone, Default)]
struct ScriptQueues(Arc<Mutex<Waiting>>);

impl Queues for ScriptQueues {
    fn log(&mut self, work: LogWork) {
        self.0.lock().log.push_back(work);
    }

    fn apply(&mut self, work: Vec<ApplyTask>) {
        self.0.lock().apply.push_back(work);
    }

    fn snapshot(&mut self, work: SnapshotWork) {
        self.0.lock().snapshot.push_back(work);
    }

    fn may_do_at_once(&mut self) -> bool {
        self.0.lock().held.is_empty()
    }
}

impl Running {
    /// Does what the queues that do not stand still have; false when they had nothing.
    fn work(&mut self, now: Monotonic) -> Result<bool, Box<dyn Error>> {
        let worker = self.crank.worker().clone();
        let mut any = false;
        loop {
            let (log, apply, snapshot) = {
                let mut waiting = self.queues.0.lock();
                let Waiting { log, apply, snapshot, held } = &mut *waiting;
                let open = |queue| !held.contains(&queue);
                (
                    if open(Queue::Log) { log.pop_front() } else { None },
                    if open(Queue::Apply) { apply.pop_front() } else { None },
                    if open(Queue::Snapshot) { snapshot.pop_front() } else { None },
                )
            };
            if log.is_none() && apply.is_none() && snapshot.is_none() {
                return Ok(any);
            }
            any = true;
            if let Some(work) = log {
                self.crank.take(worker.append(work, std::iter::empty())?, now)?;
            }
            if let Some(tasks) = apply {
                let (applied, exports) = worker.apply(tasks)?;
                self.queues.0.lock().snapshot.extend(exports);
                self.crank.take(applied, now)?;
            }
            if let Some(built) = snapshot.and_then(|work| worker.snapshot(work)) {
                self.crank.take(built, now)?;
            }
        }
    }
}

/// The cluster.
#[derive(Default)]
struct Cluster {
    net: Arc<Mutex<Net>>,
    nodes: BTreeMap<StoreId, Node>,
    config: Arc<RaftConfig>,
    now: Monotonic,
    /// Regions as PD knows them, by their leaders' reports; it gives no orders.
    pd: BTreeMap<RegionId, Region>,
    writes: Vec<(String, oneshot::Receiver<Result<(), RegionError>>)>,
    admins: Vec<(String, oneshot::Receiver<Result<AdminDone, RegionError>>)>,
    reads: Vec<(String, oneshot::Receiver<Result<ReadGrant, RegionError>>)>,
}

type Outcome = Result<String, Box<dyn Error>>;

impl Cluster {
    /// Stores 1..=n, region 1 over everything with voters 11, 12, … on the first `voters` of them.
    fn start(&mut self, stores: u64, voters: u64) -> Outcome {
        let config = RaftConfig {
            log_entries_max: 8,
            log_lag_entries_max: 16,
            log_compact_ticks: 5,
            apply_waiting_bytes_max: 2_000,
            ..Default::default()
        };
        self.config = Arc::new(config);
        let peer = |i| Peer { id: PeerId(10 + i), store_id: StoreId(i), role: PeerRole::Voter };
        let region = Region {
            id: RegionId(1),
            range: KeyRange::all(),
            epoch: Epoch { conf_ver: 1, version: 1 },
            peers: (1..=voters).map(peer).collect(),
        };
        for id in (1..=stores).map(StoreId) {
            let engine = MemoryEngine::new();
            if id.0 <= voters {
                engine.write(&bootstrap_region(&region, id)?)?;
                engine.flush()?;
            }
            let node = Node { engine, log: Arc::default(), dir: tempfile::tempdir()?, running: None };
            self.nodes.insert(id, node);
            self.open(id)?;
        }
        Ok(String::new())
    }

    fn open(&mut self, id: StoreId) -> Result<(), Box<dyn Error>> {
        let node = self.nodes.get_mut(&id).ok_or("no such store")?;
        let engine: Arc<dyn Engine> = Arc::new(node.engine.clone());
        let files = Arc::new(SnapshotFiles::open(node.dir.path())?);
        let delegates = Arc::new(Delegates::default());
        let params = StoreParams {
            id,
            cluster_id: 1,
            config: self.config.clone(),
            log: node.log.clone(),
            engine: engine.clone(),
            files: files.clone(),
            delegates: delegates.clone(),
            rng: SmallRng::seed_from_u64(id.0),
        };
        let store = Store::open(params, self.now)?;
        let (mailbox, inputs) = Mailbox::channel(10_000, None);
        let (pd, pd_events) = mpsc::channel(100_000);
        let handle = RaftHandle::new(id, mailbox, delegates.clone(), self.config.clone());
        let apply = ApplyCore::new(engine.clone(), id, files.clone(), delegates, self.config.apply_batch_bytes_max);
        let params = DriverParams {
            store,
            apply,
            engine,
            log: node.log.clone(),
            files: files.clone(),
            transport: Arc::new(NetTransport(self.net.clone())),
            pd,
            env: Env::real(),
            handle: handle.clone(),
            inputs,
        };
        let queues = ScriptQueues::default();
        let crank = Crank::new(params, |_| queues.clone());
        self.net.lock().inbound.insert(id, Inbound { handle: handle.clone(), files });
        node.running = Some(Running { crank, queues, handle, pd: pd_events });
        Ok(())
    }

    fn handle(&self, id: u64) -> Result<&RaftHandle, Box<dyn Error>> {
        let node = self.nodes.get(&StoreId(id)).ok_or("no such store")?;
        Ok(&node.running.as_ref().ok_or("the store is down")?.handle)
    }

    /// Runs until nothing is left to do.
    fn settle(&mut self) -> Result<(), Box<dyn Error>> {
        loop {
            let mut idle = true;
            loop {
                let Some(envelope) = self.net.lock().queue.pop_front() else { break };
                if let Some(running) = self.nodes.get(&target(&envelope)).and_then(|n| n.running.as_ref()) {
                    running.handle.message(envelope);
                    idle = false;
                }
            }
            for node in self.nodes.values_mut() {
                let Some(running) = &mut node.running else { continue };
                while let Ok(input) = running.crank.inputs().try_recv() {
                    running.crank.take(input, self.now)?;
                    idle = false;
                }
                running.crank.turn(self.now)?;
                idle &= !running.work(self.now)?;
                while let Ok(event) = running.pd.try_recv() {
                    match event {
                        PdEvent::Leads { .. } => {}
                        PdEvent::Heartbeat { region, .. } => {
                            let known = self.pd.get(&region.id).map(|known| known.epoch).unwrap_or_default();
                            if region.epoch.conf_ver >= known.conf_ver && region.epoch.version >= known.version {
                                self.pd.insert(region.id, (*region).clone());
                            }
                        }
                        PdEvent::AsksMembership { region_id, peer_id } => {
                            if let Some(region) = self.pd.get(&region_id).cloned() {
                                running.handle.notify(Input::Confirmed { peer_id, region: Box::new(region) });
                                idle = false;
                            }
                        }
                    }
                }
                running.crank.store().check_invariants()?;
            }
            if idle && self.net.lock().queue.is_empty() {
                return Ok(());
            }
        }
    }

    fn tick(&mut self, ticks: u64) -> Outcome {
        for _ in 0..ticks {
            self.now = self.now.after(self.config.tick);
            for node in self.nodes.values_mut() {
                if let Some(running) = &mut node.running {
                    running.crank.store().tick(self.now);
                }
            }
            self.settle()?;
        }
        Ok(String::new())
    }

    fn status(&mut self, id: StoreId) -> Result<Vec<PeerStatus>, Box<dyn Error>> {
        let now = self.now;
        let node = self.nodes.get_mut(&id).ok_or("no such store")?;
        let Some(running) = &mut node.running else { return Ok(Vec::new()) };
        let (reply, mut rx) = Reply::channel();
        running.crank.store().handle(Input::Status { region_id: None, reply }, now)?;
        Ok(rx.try_recv()??)
    }

    fn peer(&mut self, store: u64, region: u64) -> Result<PeerStatus, Box<dyn Error>> {
        let found = self.status(StoreId(store))?.into_iter().find(|p| p.region.id.0 == region);
        found.ok_or_else(|| "no such region".into())
    }

    fn ctx(&mut self, store: u64, region: u64) -> Result<(RegionCtx, u64), Box<dyn Error>> {
        let peer = self.peer(store, region)?;
        let ctx =
            RegionCtx { region_id: RegionId(region), epoch: peer.region.epoch, peer_id: peer.peer_id, deadline: None };
        Ok((ctx, peer.term))
    }

    /// Writes that nobody waits for.
    fn puts(&mut self, store: u64, region: u64, count: u64) -> Outcome {
        for i in 0..count {
            self.put(store, region, &format!("k{i}"), "v", None)?;
            self.writes.pop();
        }
        Ok(String::new())
    }

    fn put(&mut self, store: u64, region: u64, key: &str, value: &str, version: Option<u64>) -> Outcome {
        let (mut ctx, term) = self.ctx(store, region)?;
        if let Some(version) = version {
            ctx.epoch.version = version;
        }
        let key: Bytes = UserKey::from(key.as_bytes()).encode().into_vec().into();
        let modify = Modify::Put { cf: Cf::Default, key, value: value.as_bytes().to_vec().into() };
        let command = RaftCommand {
            region_id: region,
            epoch: Some(ctx.epoch.into()),
            term,
            modifies: vec![encode_modify(modify)],
            admin: None,
            gc: None,
        };
        let (reply, rx) = Reply::channel();
        self.handle(store)?.notify(Input::Propose { ctx, term, data: command.encode_to_vec().into(), reply });
        self.writes.push((format!("write {value}"), rx));
        Ok(String::new())
    }

    /// A step of garbage collection that nobody waits for.
    fn gc(&mut self, store: u64, region: u64, safe_point: u64, collected_to: u64) -> Outcome {
        let (ctx, term) = self.ctx(store, region)?;
        let step = GcStep { safe_point, collected_to, ..GcStep::default() };
        let command = RaftCommand {
            region_id: region,
            epoch: Some(ctx.epoch.into()),
            term,
            gc: Some(step),
            ..Default::default()
        };
        let reply = Reply::ignore();
        self.handle(store)?.notify(Input::Propose { ctx, term, data: command.encode_to_vec().into(), reply });
        Ok(String::new())
    }

    /// How far garbage collection is, as readers are told.
    fn marks(&self) -> Outcome {
        let mut out = String::new();
        for (id, node) in &self.nodes {
            let Some(running) = &node.running else { continue };
            let mut all: Vec<_> = running.handle.delegates().all();
            all.sort_by_key(|delegate| delegate.region().id);
            for delegate in all {
                let marks = delegate.collected();
                let (region, safe_point) = (delegate.region().id, marks.safe_point.0);
                writeln!(
                    out,
                    "store {id}: region {region} safe point {safe_point} collected to {}",
                    marks.collected_to.0
                )?;
            }
        }
        Ok(out)
    }

    fn admin(&mut self, store: u64, region: u64, what: &str, kind: admin_command::Kind) -> Outcome {
        let (ctx, _) = self.ctx(store, region)?;
        let (reply, rx) = Reply::channel();
        let command = AdminCommand { kind: Some(kind) };
        self.handle(store)?.notify(Input::Admin { ctx, command, reply });
        self.admins.push((what.to_owned(), rx));
        Ok(String::new())
    }

    fn read(&mut self, store: u64, region: u64) -> Outcome {
        let (ctx, _) = self.ctx(store, region)?;
        let now = self.now;
        let handle = self.handle(store)?;
        let delegate = handle.delegates().get(RegionId(region)).ok_or("no delegate")?;
        if delegate.term() != 0 && delegate.has_lease(now, delegate.drops()) {
            return Ok(format!("read on {store}: by lease\n"));
        }
        let (reply, rx) = Reply::channel();
        handle.notify(Input::Read { ctx, reply });
        self.reads.push((format!("read on {store}"), rx));
        Ok(String::new())
    }

    fn scan(&self, store: u64) -> Outcome {
        let node = self.nodes.get(&StoreId(store)).ok_or("no such store")?;
        let snapshot = node.engine.snapshot();
        let mut iter = snapshot.iter(Cf::Default, Default::default())?;
        let mut out = format!("store {store}:");
        let mut valid = iter.seek_to_first()?;
        while valid {
            let key = basalt_common::key::decode_user_key(iter.key())?;
            write!(out, " {key}={}", iter.value().escape_ascii())?;
            valid = iter.next()?;
        }
        out.push('\n');
        Ok(out)
    }

    fn show(&mut self) -> Outcome {
        let mut out = String::new();
        let ids: Vec<StoreId> = self.nodes.keys().copied().collect();
        for id in ids {
            for p in self.status(id)? {
                let peers: Vec<String> =
                    p.region.peers.iter().map(|p| format!("{}@{}{}", p.id, p.store_id, role(p))).collect();
                let epoch = p.region.epoch;
                writeln!(
                    out,
                    "store {id}: region {} {:?} epoch {}.{} peers {} {}term {} applied {} log {}..{}",
                    p.region.id,
                    p.region.range,
                    epoch.conf_ver,
                    epoch.version,
                    peers.join(","),
                    if p.is_leader { "LEADS " } else { "" },
                    p.term,
                    p.applied_index,
                    p.first_index,
                    p.last_index
                )?;
            }
        }
        Ok(out)
    }

    fn outcomes(&mut self) -> Outcome {
        let mut out = String::new();
        collect(&mut self.writes, &mut out, |()| "applied".to_owned())?;
        collect(&mut self.admins, &mut out, |done| match done {
            AdminDone::Split(regions) => {
                let ranges: Vec<String> = regions.iter().map(|r| format!("{}={:?}", r.id, r.range)).collect();
                ranges.join(" ")
            }
            AdminDone::Hash(hash) => format!("hash at {} of {} keys", hash.applied_index, hash.keys),
            AdminDone::Done => "done".to_owned(),
        })?;
        collect(&mut self.reads, &mut out, |grant| format!("by read index in term {}", grant.term))?;
        Ok(out)
    }

    fn hashes(&mut self, region: u64) -> Outcome {
        let ids: Vec<u64> = self.nodes.keys().map(|id| id.0).collect();
        let hashes: BTreeSet<_> = ids
            .into_iter()
            .filter_map(|id| self.peer(id, region).ok()?.hash)
            .map(|h| (h.applied_index, h.hash))
            .collect();
        Ok(format!("{}\n", if hashes.len() == 1 { "replicas are equal" } else { "replicas differ" }))
    }

    fn crash(&mut self, store: u64) -> Outcome {
        let node = self.nodes.get_mut(&StoreId(store)).ok_or("no such store")?;
        node.running = None;
        node.engine.crash();
        node.log.crash();
        self.net.lock().inbound.remove(&StoreId(store));
        Ok(String::new())
    }
}

fn role(peer: &Peer) -> &'static str {
    if peer.role == PeerRole::Learner { "L" } else { "" }
}

type Answers<T> = Vec<(String, oneshot::Receiver<Result<T, RegionError>>)>;

fn collect<T>(waiting: &mut Answers<T>, out: &mut String, show: impl Fn(T) -> String) -> Result<(), Box<dyn Error>> {
    let mut still = Vec::new();
    for (what, mut rx) in waiting.drain(..) {
        match rx.try_recv() {
            Ok(Ok(done)) => writeln!(out, "{what}: {}", show(done))?,
            Ok(Err(error)) => writeln!(out, "{what}: {error}")?,
            Err(oneshot::error::TryRecvError::Closed) => writeln!(out, "{what}: no answer")?,
            Err(oneshot::error::TryRecvError::Empty) => still.push((what, rx)),
        }
    }
    *waiting = still;
    Ok(())
}

impl goldenscript::Runner for Cluster {
    type Command = goldenscript::Command;

    fn run(&mut self, command: &goldenscript::Command, _context: &goldenscript::Context) -> Outcome {
        let mut args = command.consume_args();
        let mut number =
            || -> Result<u64, Box<dyn Error>> { Ok(args.next_pos().ok_or("a number is missing")?.parse()?) };
        let mut out = match command.name.as_str() {
            "start" => {
                let (stores, voters) = (number()?, number()?);
                self.start(stores, voters)?
            }
            "tick" => {
                let ticks = number()?;
                self.tick(ticks)?
            }
            "campaign" => {
                let (store, region) = (number()?, number()?);
                self.handle(store)?.notify(Input::Campaign(RegionId(region)));
                String::new()
            }
            "put" => {
                let (store, region) = (number()?, number()?);
                let version = args.take_key("version").map(str::parse).transpose()?;
                let (key, value) = args.next_key().ok_or("key=value is missing")?;
                self.put(store, region, key, value, version)?
            }
            "puts" => {
                let (store, region, count) = (number()?, number()?, number()?);
                self.puts(store, region, count)?
            }
            "gc" => {
                let (store, region, safe_point, collected_to) = (number()?, number()?, number()?, number()?);
                self.gc(store, region, safe_point, collected_to)?
            }
            "marks" => self.marks()?,
            "read" => {
                let (store, region) = (number()?, number()?);
                self.read(store, region)?
            }
            "scan" => {
                let store = number()?;
                self.scan(store)?
            }
            "status" => self.show()?,
            "isolate" => {
                let store = number()?;
                self.net.lock().isolated.insert(StoreId(store));
                String::new()
            }
            "heal" => {
                self.net.lock().isolated.clear();
                String::new()
            }
            "split" => {
                let (store, region, new_region) = (number()?, number()?, number()?);
                let key = args.next_pos().ok_or("the key is missing")?.as_bytes().to_vec();
                let peers = self.peer(store, region)?.region.peers.len() as u64;
                let peer_ids = (1..=peers).map(|i| new_region * 10 + i).collect();
                let new = NewRegion { split_key: key.into(), region_id: new_region, peer_ids };
                self.admin(store, region, "split", admin_command::Kind::Split(SplitCommand { regions: vec![new] }))?
            }
            "change" => {
                let (store, region) = (number()?, number()?);
                let mut changes = Vec::new();
                while let Some((kind, peer)) = args.next_key() {
                    let (id, at) = peer.split_once('@').ok_or("peer@store")?;
                    let peer = Peer { id: PeerId(id.parse()?), store_id: StoreId(at.parse()?), role: PeerRole::Voter };
                    let kind = match kind {
                        "voter" => Kind::AddVoter,
                        "learner" => Kind::AddLearner,
                        _ => Kind::Remove,
                    };
                    changes.push(Change { kind: kind as i32, peer: Some(peer.into()) });
                }
                self.admin(store, region, "change", admin_command::Kind::ChangePeers(ChangePeersCommand { changes }))?
            }
            "transfer" => {
                let (store, region, to) = (number()?, number()?, number()?);
                let (reply, rx) = Reply::channel();
                let input = Input::TransferLeader { region_id: RegionId(region), to: PeerId(to), reply };
                self.handle(store)?.notify(input);
                self.writes.push(("transfer".into(), rx));
                String::new()
            }
            "compact" => {
                let (store, region, index) = (number()?, number()?, number()?);
                let term = self.peer(store, region)?.term;
                let kind = admin_command::Kind::CompactLog(CompactLogCommand { index, term });
                self.admin(store, region, "compact", kind)?
            }
            "hash" => {
                let (store, region) = (number()?, number()?);
                self.admin(store, region, "hash", admin_command::Kind::ComputeHash(HashCommand {}))?;
                self.settle()?;
                self.hashes(region)?
            }
            "flush" => {
                let store = number()?;
                let node = self.nodes.get(&StoreId(store)).ok_or("no such store")?;
                node.engine.flush()?;
                for (region, _) in node.log.regions()? {
                    if let Some(state) = keys::load_flushed_apply_state(&node.engine, region)? {
                        node.log.compact(region, state.truncated_index + 1)?;
                    }
                }
                String::new()
            }
            "crash" => {
                let store = number()?;
                self.crash(store)?
            }
            "restart" => {
                let store = number()?;
                self.open(StoreId(store))?;
                String::new()
            }
            "hold" | "release" => {
                let store = number()?;
                let queue = match args.next_pos().ok_or("log, apply or snapshot")? {
                    "log" => Queue::Log,
                    "apply" => Queue::Apply,
                    _ => Queue::Snapshot,
                };
                let node = self.nodes.get(&StoreId(store)).ok_or("no such store")?;
                let running = node.running.as_ref().ok_or("the store is down")?;
                let held = &mut running.queues.0.lock().held;
                held.retain(|q| *q != queue);
                if command.name == "hold" {
                    held.push(queue);
                }
                String::new()
            }
            // damage STORE: a byte of each file of a snapshot that was received is another
            "damage" => {
                let store = number()?;
                let node = self.nodes.get(&StoreId(store)).ok_or("no such store")?;
                let mut damaged = 0;
                for folder in std::fs::read_dir(node.dir.path())? {
                    for file in std::fs::read_dir(folder?.path())? {
                        let path = file?.path();
                        if path.extension().is_some_and(|e| e == "sst") {
                            let mut bytes = std::fs::read(&path)?;
                            let middle = bytes.len() / 2;
                            bytes[middle] ^= 1;
                            std::fs::write(&path, bytes)?;
                            damaged += 1;
                        }
                    }
                }
                format!("files damaged: {damaged}\n")
            }
            "snapshots" => format!("snapshots sent: {}\n", self.net.lock().snapshots),
            name => return Err(format!("unknown command {name}").into()),
        };
        if command.name != "status" {
            self.settle()?;
        }
        out.push_str(&self.outcomes()?);
        Ok(out)
    }
}

fn script(name: &str) {
    let path = format!("{}/testscripts/raftstore/{name}", env!("CARGO_MANIFEST_DIR"));
    goldenscript::run(&mut Cluster::default(), path).expect("the script's file can be read");
}

macro_rules! scripts {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                script(stringify!($name));
            }
        )*
    };
}

scripts! { behind_a_split behind_its_term collected damaged_snapshot busy_region apply_behind two_to_one removed_beside_stale replaced_peer late_log election replicate leader_change partition lease split split_late snapshot conf_change joint restart removed_peer single compaction }
