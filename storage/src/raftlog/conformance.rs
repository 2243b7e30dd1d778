//! One test that every backend of the raft log passes, with the memory log as the model.

use super::memory::MemoryRaftLog;
use super::raft_engine::EngineRaftLog;
use super::rocks::RocksRaftLog;
use super::*;
use basalt_proto::raft::HardStateRecord;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

fn entry(index: u64, term: u64, size: usize) -> Entry {
    Entry { index, term, data: vec![index as u8; size].into(), ..Default::default() }
}

fn append(entries: Vec<Entry>, term: u64, last_index: u64) -> RegionAppend {
    let hard_state = Some(HardStateRecord { term, vote: 1, commit: 0 });
    RegionAppend { reset: false, entries, state: Some(RaftLocalState { hard_state, last_index }) }
}

/// Random appends (with overwritten tails), compactions, resets and removals; after each, everything that can be seen
/// equals the model.
fn run(log: &dyn RaftLog, model: &MemoryRaftLog, rng: &mut SmallRng) {
    for step in 0..200u64 {
        let mut batch = LogBatch::default();
        for id in 1..=3u64 {
            let last = model.state(RegionId(id)).expect("memory").map_or(5, |s| s.state.last_index);
            let first = model.state(RegionId(id)).expect("memory").map_or(6, |s| s.first_index);
            match rng.random_range(0..10) {
                0..7 => {
                    let from = if rng.random_bool(0.2) { rng.random_range(first..=last + 1) } else { last + 1 };
                    let to = from + rng.random_range(0..5);
                    let entries: Vec<Entry> =
                        (from..to).map(|i| entry(i, step + 1, rng.random_range(0..300))).collect();
                    let last = entries.last().map_or(last, |e| e.index);
                    batch.regions.insert(RegionId(id), append(entries, step + 1, last));
                }
                7 if last > first => {
                    let at = rng.random_range(first..=last);
                    log.compact(RegionId(id), at).expect("compact");
                    model.compact(RegionId(id), at).expect("compact");
                }
                8 if rng.random_bool(0.2) => {
                    let mut reset = append(Vec::new(), step + 1, last + 10);
                    reset.reset = true;
                    batch.regions.insert(RegionId(id), reset);
                }
                9 if rng.random_bool(0.2) => {
                    batch.regions.insert(RegionId(id), RegionAppend::removal());
                }
                _ => {}
            }
        }
        log.append(&batch).expect("append");
        model.append(&batch).expect("append");
        compare(log, model);
    }
}

fn compare(log: &dyn RaftLog, model: &MemoryRaftLog) {
    assert_eq!(log.regions().expect("regions"), model.regions().expect("regions"));
    for (id, state) in model.regions().expect("regions") {
        let all =
            |l: &dyn RaftLog, max| l.entries(id, state.first_index, state.state.last_index + 1, max).expect("entries");
        assert_eq!(all(log, u64::MAX >> 1), all(model, u64::MAX >> 1));
        assert_eq!(all(log, 300), all(model, 300));
        for index in [state.first_index, state.state.last_index] {
            assert_eq!(log.term(id, index).expect("term"), model.term(id, index).expect("term"));
        }
    }
}

#[test]
fn rocks_equals_the_model_and_survives_reopening() {
    let dir = tempfile::tempdir().expect("tempdir");
    let model = MemoryRaftLog::default();
    let mut rng = SmallRng::seed_from_u64(7);
    for _ in 0..3 {
        let log = RocksRaftLog::open(dir.path()).expect("open");
        compare(&log, &model);
        assert!(matches!(RocksRaftLog::open(dir.path()), Err(LogError::InUse(_))));
        run(&log, &model, &mut rng);
    }
}

#[test]
fn raft_engine_equals_the_model_and_survives_reopening() {
    let dir = tempfile::tempdir().expect("tempdir");
    let model = MemoryRaftLog::default();
    let mut rng = SmallRng::seed_from_u64(7);
    for _ in 0..3 {
        let log = EngineRaftLog::open(dir.path()).expect("open");
        run(&log, &model, &mut rng);
    }
}

#[test]
fn a_crash_keeps_appends_and_undoes_compaction() {
    let log = MemoryRaftLog::default();
    let mut batch = LogBatch::default();
    batch.regions.insert(RegionId(1), append((6..10).map(|i| entry(i, 1, 8)).collect(), 1, 9));
    log.append(&batch).expect("append");
    log.compact(RegionId(1), 8).expect("compact");
    log.crash();
    assert_eq!(log.state(RegionId(1)).expect("state").map(|s| s.first_index), Some(6));
    log.fail_appends(Some(LogError::Io("stalled".into())));
    assert!(log.append(&batch).is_err());
}

#[test]
fn merged_batches_are_one() {
    let mut a = LogBatch::default();
    a.regions.insert(RegionId(1), append((6..10).map(|i| entry(i, 1, 8)).collect(), 1, 9));
    let mut b = LogBatch::default();
    b.regions.insert(RegionId(1), append((8..9).map(|i| entry(i, 2, 8)).collect(), 2, 8));
    a.merge(b);
    let merged: Vec<_> = a.regions[&RegionId(1)].entries.iter().map(|e| (e.index, e.term)).collect();
    assert_eq!(merged, [(6, 1), (7, 1), (8, 2)]);
    assert_eq!(a.regions[&RegionId(1)].state.map(|s| s.last_index), Some(8));
}
