//! Snapshots that arrive while others are on their way into the engine.

use super::*;
use crate::engine::memory::MemoryEngine;
use crate::raftlog::memory::MemoryRaftLog;
use crate::raftstore::message::Reply;
use crate::replicated::RegionCtx;
use basalt_common::PeerRole;
use basalt_proto::raft::{AdminCommand, SnapshotMeta};
use prost::Message as _;

const HERE: StoreId = StoreId(4);

fn store(dir: &tempfile::TempDir) -> Store {
    let params = StoreParams {
        id: HERE,
        cluster_id: 1,
        config: Arc::default(),
        log: Arc::new(MemoryRaftLog::default()),
        engine: Arc::new(MemoryEngine::new()),
        files: Arc::new(SnapshotFiles::open(dir.path()).unwrap()),
        delegates: Arc::default(),
        rng: SmallRng::seed_from_u64(1),
    };
    Store::open(params, Monotonic::default()).unwrap()
}

fn region(id: u64, start: &'static str, end: &'static str) -> Region {
    let peer = |store| RegionPeer { id: PeerId(id * 10 + store), store_id: StoreId(store), role: PeerRole::Voter };
    let range = KeyRange::new(start.as_bytes().to_vec(), end.as_bytes().to_vec());
    Region { id: RegionId(id), range, epoch: Epoch { conf_ver: 2, version: 1 }, peers: vec![peer(1), peer(HERE.0)] }
}

/// The leader's message with a snapshot; its region is `now`, the snapshot holds what it was `then`.
fn snapshot(then: &Region, now: &Region) -> Input {
    let conf_state = conf_state_of(then);
    let meta = SnapshotMeta {
        region: Some(then.into()),
        index: 9,
        term: 6,
        files: Vec::new(),
        conf_state: conf_state.write_to_bytes().unwrap().into(),
        gc: None,
    };
    let mut message = Message::default();
    message.set_msg_type(MessageType::MsgSnapshot);
    (message.from, message.to, message.term) = (then.peers[0].id.0, then.peers[1].id.0, 6);
    let snapshot = message.mut_snapshot();
    (snapshot.mut_metadata().index, snapshot.mut_metadata().term) = (9, 6);
    snapshot.mut_metadata().set_conf_state(conf_state);
    snapshot.data = meta.encode_to_vec().into();
    Input::Message(Box::new(Envelope {
        region_id: now.id.0,
        from: Some(now.peers[0].into()),
        to: Some(now.peers[1].into()),
        epoch: Some(now.epoch.into()),
        message: message.write_to_bytes().unwrap().into(),
        start_key: now.range.start.0.clone(),
        end_key: now.range.end.0.clone(),
        cluster_id: 1,
        ..Envelope::default()
    }))
}

/// The regions whose snapshots go into the engine.
fn restored(store: &mut Store) -> Vec<u64> {
    let tasks = store.take_effects(Monotonic::default()).apply;
    let of = |task: &ApplyTask| match task {
        ApplyTask::Restore { region_id, .. } => Some(region_id.0),
        _ => None,
    };
    tasks.iter().filter_map(of).collect()
}

#[test]
fn snapshots_of_one_range_do_not_both_go_into_the_engine() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, right) = (region(7, "a", "z"), region(9, "m", "z"));
    let left = region(7, "a", "m");
    for in_one_round in [true, false] {
        for first_is_whole in [true, false] {
            let mut store = store(&dir);
            let (of_whole, of_right) = (snapshot(&whole, &left), snapshot(&right, &right));
            let messages = if first_is_whole { [of_whole, of_right] } else { [of_right, of_whole] };
            let mut done = Vec::new();
            for message in messages {
                store.handle(message, Monotonic::default()).unwrap();
                if !in_one_round {
                    done.extend(restored(&mut store));
                }
            }
            done.extend(restored(&mut store));
            assert_eq!(done, [if first_is_whole { 7 } else { 9 }], "in one round: {in_one_round}");
        }
    }
}

#[test]
fn neighbors_snapshots_do_not_wait_for_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store(&dir);
    for region in [region(7, "a", "m"), region(9, "m", "z")] {
        store.handle(snapshot(&region, &region), Monotonic::default()).unwrap();
    }
    assert_eq!(restored(&mut store), [7, 9]);
}

/// A store whose only region it leads alone.
fn leading(dir: &tempfile::TempDir) -> Store {
    let peer = RegionPeer { id: PeerId(74), store_id: HERE, role: PeerRole::Voter };
    let whole = Region { range: KeyRange::all(), peers: vec![peer], ..region(7, "", "") };
    let engine = MemoryEngine::new();
    engine.write(&bootstrap_region(&whole, HERE).unwrap()).unwrap();
    let params = StoreParams {
        id: HERE,
        cluster_id: 1,
        config: Arc::default(),
        log: Arc::new(MemoryRaftLog::default()),
        engine: Arc::new(engine),
        files: Arc::new(SnapshotFiles::open(dir.path()).unwrap()),
        delegates: Arc::default(),
        rng: SmallRng::seed_from_u64(1),
    };
    Store::open(params, Monotonic::default()).unwrap()
}

#[test]
fn reports_leave_when_what_they_waited_for_is_durable_however_much_follows() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = leading(&dir);
    let reports = |effects: &Effects| effects.pd.iter().filter(|e| matches!(e, PdEvent::Heartbeat { .. })).count();
    let now = Monotonic::default();
    let first = store.take_effects(now);
    let number = first.persist.as_ref().expect("a leader has an entry to write").0;
    assert_eq!(reports(&first), 0, "that it leads must not be reported before it is written");
    // The log queue never runs empty: a round is outstanding whenever one is acknowledged.
    let mut left = 0;
    for round in 0..10 {
        store.handle(Input::Campaign(RegionId(7)), now).unwrap();
        let ctx = RegionCtx { region_id: RegionId(7), epoch: Epoch::default(), peer_id: PeerId(0), deadline: None };
        let command = AdminCommand { kind: None };
        store.handle(Input::Admin { ctx, command, reply: Reply::ignore() }, now).unwrap();
        if round > 0 {
            store.handle(Input::Persisted(number + round - 1), now).unwrap();
        }
        let effects = store.take_effects(now);
        left += reports(&effects);
        let applied = effects.apply.iter().map(|_| Vec::new());
        applied.for_each(|applied| store.handle(Input::Applied(applied), now).unwrap());
    }
    assert!(left > 0, "no report left in ten rounds");
}
