//! Golden scripts over PD's pure parts: the timestamp oracle, the region tree, and the scheduler.
//!
//! Words of the scripts: `region ID START..END epoch=CONF:VERSION peers=STORE[l],… leader=STORE term=N pending=STORE
//! down=STORE`. The peer of
//! region r on store s has the id `r * 10 + s`; new peers count up from 1001.

use basalt_common::env::Monotonic;
use basalt_common::{Epoch, KeyRange, Peer, PeerId, PeerRole, Region, RegionId, StoreId};
use basalt_pd::PdConfig;
use basalt_pd::cluster::{Cluster, RegionInfo};
use basalt_pd::schedule::retire::in_danger;
use basalt_pd::schedule::{BY_HAND, Operator, Scheduler, Step};
use basalt_pd::tso::Oracle;
use basalt_proto::meta::{Store, StoreState};
use basalt_proto::pd::StoreStats;
use goldenscript::Command;
use std::error::Error;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

type Output = Result<String, Box<dyn Error>>;

fn run_all<R: goldenscript::Runner>(folder: &str, make: impl Fn() -> R) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testscripts").join(folder);
    let mut scripts: Vec<_> =
        std::fs::read_dir(folder).expect("folder is there").map(|f| f.expect("readable").path()).collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    for script in scripts {
        goldenscript::run(&mut make(), &script).unwrap_or_else(|e| panic!("{}: {e}", script.display()));
    }
}

#[test]
fn tso() {
    run_all("tso", || TsoRunner { oracle: Oracle::recover(0), disk_ms: 0, now_ms: 0 });
}

#[test]
fn cluster() {
    run_all("cluster", ClusterRunner::default);
}

#[test]
fn schedule() {
    run_all("schedule", ClusterRunner::default);
}

struct TsoRunner {
    oracle: Oracle,
    disk_ms: u64,
    now_ms: u64,
}

impl goldenscript::Runner for TsoRunner {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &goldenscript::Context) -> Output {
        let mut args = command.consume_args();
        let number = args.next_pos().map(|v| v.parse::<u64>()).transpose()?;
        let mut out = String::new();
        match command.name.as_str() {
            "clock" => self.now_ms = number.ok_or("no time")?,
            "get" => {
                let count = number.unwrap_or(1) as u32;
                match self.oracle.allocate(self.now_ms, count) {
                    Ok(last) => {
                        let first = basalt_common::Timestamp(last.0 - u64::from(count) + 1);
                        let part = |t: basalt_common::Timestamp| format!("{}+{}", t.physical_ms(), t.logical());
                        writeln!(out, "{} ..= {}", part(first), part(last))?;
                    }
                    Err(e) => writeln!(out, "{e:?}")?,
                }
            }
            "save" => match self.oracle.window_wanted(self.now_ms) {
                Some(window) => {
                    self.disk_ms = window;
                    self.oracle.window_saved(window);
                    writeln!(out, "window {window}")?;
                }
                None => writeln!(out, "nothing to save")?,
            },
            "restart" => {
                self.oracle = Oracle::recover(self.disk_ms);
                writeln!(out, "behind {}", self.disk_ms)?;
            }
            name => return Err(format!("unknown command {name}").into()),
        }
        args.reject_next()?;
        Ok(out)
    }
}

#[derive(Default)]
struct ClusterRunner {
    cluster: Cluster,
    scheduler: Scheduler,
    config: PdConfig,
    now: Monotonic,
    peers_made: u64,
}

impl goldenscript::Runner for ClusterRunner {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &goldenscript::Context) -> Output {
        let mut args = command.consume_args();
        let mut out = String::new();
        match command.name.as_str() {
            // store ID [offline|tombstone]
            "store" => {
                let id: u64 = args.next_pos().ok_or("no id")?.parse()?;
                let state = match args.next_pos() {
                    None => StoreState::Up,
                    Some("offline") => StoreState::Offline,
                    Some(other) => return Err(format!("state {other}").into()),
                };
                let store = Store { id, state: state as i32, ..Store::default() };
                self.cluster.put_store(store, self.now);
            }
            // beat STORE… [full=true]: heartbeats of stores
            "beat" => {
                let leads_nothing = parsed(&mut args, "full")?.unwrap_or(false);
                while let Some(id) = args.next_pos() {
                    let stats = StoreStats { store_id: id.parse()?, leads_nothing, ..StoreStats::default() };
                    writeln!(out, "store {} known: {}", id, self.cluster.store_heartbeat(stats, self.now, 0))?;
                }
            }
            // retire STORE: whether PD would give it up
            "retire" => {
                let id = StoreId(args.next_pos().ok_or("no id")?.parse()?);
                match in_danger(&self.cluster, id, self.now, self.config.store_down_after) {
                    Some(short) => writeln!(out, "refused: {short}")?,
                    None => self.cluster.set_store_state(id, StoreState::Offline),
                }
            }
            "pass" => {
                let seconds: u64 = args.next_pos().ok_or("no seconds")?.parse()?;
                self.now = self.now.after(Duration::from_secs(seconds));
            }
            "region" => {
                let info = region_info(&mut args)?;
                match self.cluster.put_region(info, self.now) {
                    Ok(c) => writeln!(out, "configuration: {}, removed: {:?}", c.configuration, c.removed)?,
                    Err(stale) => writeln!(out, "{stale:?}")?,
                }
            }
            // heartbeat …: as region, then what PD answers
            "heartbeat" => {
                let info = region_info(&mut args)?;
                let region = info.region.id;
                match self.cluster.put_region(info, self.now) {
                    Ok(_) => {
                        let info = self.cluster.region(region).ok_or("no such region")?.clone();
                        writeln!(out, "{}", self.answer(&info))?;
                    }
                    Err(stale) => writeln!(out, "{stale:?}")?,
                }
            }
            "at" => {
                let key = args.next_pos().ok_or("no key")?.to_string();
                writeln!(out, "{}", line(self.cluster.region_at(key.as_bytes())))?;
            }
            "before" => {
                let key = args.next_pos().ok_or("no key")?.to_string();
                writeln!(out, "{}", line(self.cluster.region_before(key.as_bytes())))?;
            }
            "scan" => {
                let range = key_range(args.next_pos().ok_or("no range")?)?;
                let limit = parsed(&mut args, "limit")?.unwrap_or(usize::MAX);
                for info in self.cluster.scan(&range, limit) {
                    writeln!(out, "{}", line(Some(info)))?;
                }
            }
            "counts" => {
                for s in self.cluster.stores() {
                    let id = StoreId(s.store.id);
                    let state = self.cluster.store_state(s, self.now, self.config.store_down_after);
                    let (regions, leaders) = (self.cluster.region_count(id), self.cluster.leader_count(id));
                    writeln!(out, "store {id} {state:?}: {regions} regions, {leaders} leaders")?;
                }
            }
            "operators" => {
                for (region, operator) in self.scheduler.operators() {
                    writeln!(out, "region {region} {operator}")?;
                }
            }
            // transfer REGION STORE: an operator by hand
            "transfer" => {
                let region = RegionId(args.next_pos().ok_or("no region")?.parse()?);
                let store = StoreId(args.next_pos().ok_or("no store")?.parse()?);
                let info = self.cluster.region(region).ok_or("no such region")?;
                let to = info.region.peer_on(store).ok_or("no peer there")?;
                let step = [Step::TransferLeader(to)];
                let operator = Operator::new(BY_HAND, step, info, self.now, self.config.quick_operator_timeout);
                self.scheduler.install(region, operator);
            }
            name => return Err(format!("unknown command {name}").into()),
        }
        args.reject_next()?;
        Ok(out)
    }
}

impl ClusterRunner {
    fn answer(&mut self, info: &RegionInfo) -> String {
        let made = &mut self.peers_made;
        let mut fresh = || {
            *made += 1;
            Some(PeerId(1000 + *made))
        };
        let step = self.scheduler.on_heartbeat(&self.cluster, info, &self.config, self.now, &mut fresh);
        step.map_or("nothing to do".into(), |s| s.to_string())
    }
}

fn parsed<T: std::str::FromStr>(
    args: &mut goldenscript::ArgumentConsumer<'_>,
    key: &str,
) -> Result<Option<T>, Box<dyn Error>>
where
    T::Err: Error + 'static,
{
    Ok(args.take_key(key).map(|v| v.parse()).transpose()?)
}

fn line(info: Option<&RegionInfo>) -> String {
    let Some(info) = info else { return "none".into() };
    let leader = info.leader.map_or("-".into(), |l| l.store_id.to_string());
    let epoch = info.region.epoch;
    format!("{} {:?} epoch {}:{} leader {leader}", info.region.id, info.region.range, epoch.conf_ver, epoch.version)
}

fn key_range(text: &str) -> Result<KeyRange, Box<dyn Error>> {
    let (start, end) = text.split_once("..").ok_or("range is START..END")?;
    Ok(KeyRange::new(start.as_bytes(), end.as_bytes()))
}

/// `STORE` or `STOREl`, with `@PEER` when the id is not the usual one.
fn peer(region: u64, text: &str) -> Result<Peer, Box<dyn Error>> {
    let (text, id) = match text.split_once('@') {
        Some((text, id)) => (text, Some(id.parse()?)),
        None => (text, None),
    };
    let (store, role) = match text.strip_suffix('l') {
        Some(store) => (store, PeerRole::Learner),
        None => (text, PeerRole::Voter),
    };
    let store: u64 = store.parse()?;
    Ok(Peer { id: PeerId(id.unwrap_or(region * 10 + store)), store_id: StoreId(store), role })
}

fn region_info(args: &mut goldenscript::ArgumentConsumer<'_>) -> Result<RegionInfo, Box<dyn Error>> {
    let id: u64 = args.next_pos().ok_or("no id")?.parse()?;
    let range = key_range(args.next_pos().ok_or("no range")?)?;
    let epoch: String = parsed(args, "epoch")?.unwrap_or("1:1".into());
    let (conf_ver, version) = epoch.split_once(':').ok_or("epoch is CONF:VERSION")?;
    let peers: String = parsed(args, "peers")?.unwrap_or("1".into());
    let peers = peers.split(',').map(|p| peer(id, p)).collect::<Result<Vec<_>, _>>()?;
    let leader: u64 = parsed(args, "leader")?.unwrap_or(peers[0].store_id.0);
    let [pending, down] = ["pending", "down"].map(|key| parsed::<u64>(args, key));
    let (pending, down) = (pending?, down?);
    let epoch = Epoch { conf_ver: conf_ver.parse()?, version: version.parse()? };
    let region = Region { id: RegionId(id), range, epoch, peers };
    Ok(RegionInfo {
        leader: region.peer_on(StoreId(leader)),
        term: parsed(args, "term")?.unwrap_or(1),
        down_peers: down.and_then(|s| region.peer_on(StoreId(s))).into_iter().collect(),
        pending_peers: pending.and_then(|s| region.peer_on(StoreId(s))).into_iter().collect(),
        ..RegionInfo::bare(region)
    })
}
