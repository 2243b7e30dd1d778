//! A whole cluster in one thread under one seed: PD, stores with raft, clients, and a network and machines that fail.
//!
//! ```text
//!   bank, waits: clients ── Cluster (real client)
//!        │ KvRpc, PdRpc                                loses, delays, reorders, cuts ┐
//!        ▼                                                                           │
//!   net ─┬─▶ StoreService ─▶ Scheduler ─▶ RaftKv ─▶ Node (Driver::Task) ────── net ──┘ Transport
//!        └─▶ PdService                                │ log, apply and snapshot queues, each late
//!   machine: its disk, its pace, its clock            MemoryEngine, MemoryRaftLog: lose what was not flushed or synced
//!   trouble: crashes, cuts, wiped disks, slowness, splits, replicas moved by hand, a PD that starts anew
//!   watch: what must hold at any moment;  clock: time moves only when every task waits
//! ```
//! What is real: everything but the disk, the wire, time and chance. A seed draws the cluster's [`Shape`](world::Shape) too:
//! three to six machines, one to five replicas, PD's settings. `docs/simulation.md` says what it has found, what it cannot
//! see, and how to run more of it.
//!
//! The judges: [`bank`] (the sum never changes in any snapshot, a snapshot reads the same twice, every transfer is there
//! exactly if its client was told so, the balances are those that the transfers make), [`old`] (a snapshot reads the same for
//! as long as it is not refused; in the end garbage is gone), [`waits`] (clients that wait for each
//! other's locks), [`watch`] (leases, leaders, replicas), and at the end every key is in one region that has its replicas,
//! which hold the same bytes, and no store holds anything else.
//!
//! A seed that fails is run again by `BASALT_SIM_SEED=n`, and writes its trace to the file that `BASALT_SIM_TRACE` names;
//! with `BASALT_SIM_DETAIL=1` the trace has whole requests and answers instead of their hashes. `BASALT_SIM_SEEDS=1..2000`
//! runs that many instead of the test's own, and says how many a minute.

mod bank;
mod clock;
mod machine;
mod net;
mod old;
mod trace;
mod trouble;
mod waits;
mod watch;
mod world;

use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

const SEEDS: Range<u64> = 1..241;
const WAITS_SEEDS: Range<u64> = 1..41;
/// Seeds that are run twice.
const TRACED_SEEDS: Range<u64> = 1..11;
/// Further seeds that once showed a mistake.
const FOUND_SOMETHING: [u64; 1] = [263];

/// What clients do.
#[derive(Clone, Copy)]
enum Workload {
    Bank,
    Waits,
}

fn run_seed(workload: Workload, seed: u64) -> Result<trace::Trace, String> {
    let trace = trace::Trace::default();
    let kept = trace.clone();
    let run = move || match workload {
        Workload::Bank => clock::run(move || bank::run(seed, kept)),
        Workload::Waits => clock::run(move || waits::run(seed, kept)),
    };
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    if let Some(path) = std::env::var_os("BASALT_SIM_TRACE") {
        trace.write(Path::new(&path));
    }
    match outcome {
        Ok(summary) => eprintln!("seed {seed}: {summary}, {trace}"),
        Err(_) => return Err(format!("seed {seed} failed: BASALT_SIM_SEED={seed} runs it alone; {trace}")),
    }
    Ok(trace)
}

#[test]
fn money_survives_crashes_and_a_bad_network() {
    run_seeds(Workload::Bank, SEEDS.chain(FOUND_SOMETHING).collect());
}

#[test]
fn nobody_waits_for_ever_and_no_lock_is_lost() {
    run_seeds(Workload::Waits, WAITS_SEEDS.collect());
}

/// Runs the seeds on all cores; all of them, also when some fail.
fn run_seeds(workload: Workload, own: Vec<u64>) {
    let asked = |name| std::env::var(name).ok();
    let seeds = match (asked("BASALT_SIM_SEED"), asked("BASALT_SIM_SEEDS")) {
        (Some(seed), _) => vec![seed.parse().expect("BASALT_SIM_SEED is a number")],
        (None, Some(range)) => {
            let (from, to) = range.split_once("..").expect("BASALT_SIM_SEEDS is FROM..TO");
            (from.parse().expect("a number")..to.parse().expect("a number")).collect()
        }
        (None, None) => own,
    };
    let (next, failed, began) = (AtomicU64::new(0), Mutex::new(Vec::new()), minutes());
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(seeds.len());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(&seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    if let Err(failure) = run_seed(workload, seed) {
                        eprintln!("{failure}");
                        failed.lock().expect("not poisoned").push(failure);
                    }
                }
            });
        }
    });
    let rate = seeds.len() as f64 / (minutes() - began).max(1e-6);
    let failed = failed.into_inner().expect("not poisoned");
    eprintln!("{} seeds, {} failed, {rate:.0} seeds a minute", seeds.len(), failed.len());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// The machine's own time, for the rate: the calling thread is not simulated.
#[expect(clippy::disallowed_methods, reason = "nothing of a simulation sees it")]
fn minutes() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64() / 60.0)
}

#[test]
fn one_seed_gives_one_trace() {
    for seed in TRACED_SEEDS {
        for workload in [Workload::Bank, Workload::Waits] {
            let [first, second] =
                [(); 2].map(|()| run_seed(workload, seed).unwrap_or_else(|failure| panic!("{failure}")));
            if let Some((at, a, b)) = first.difference(&second) {
                panic!("seed {seed} went two ways at event {at}:\n  {a}\n  {b}");
            }
        }
    }
}
