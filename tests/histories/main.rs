//! Histories on real processes under faults: a cluster of one PD, three stores and two SQL servers, clients on both servers,
//! and a nemesis that kills, stops and cuts off processes as a seed says. When all is quiet again, judges look at what the
//! clients were told and at what is there.
//!
//! ```text
//! workload ── draw ──▶ clients ── play ──▶ statements with start, end, answer ──┐
//! seed ── nemesis ──▶ processes, network                                        ├── judge, record ──▶ findings
//!                                          what is there in the end ────────────┘
//! ```
//!
//! | workload | what it does | who judges |
//! |---|---|---|
//! | `append` | lists grow by UPDATE and upserts, read plainly and locked | `basalt_tests::history` |
//! | `register` | single rows are written and read, alone and in transactions | `basalt_tests::history`, `linearizable.rs` |
//! | `bank` | transfers between regions, each with a line in a ledger | `bank.rs` |
//! | `unique` | racing INSERTs and DELETEs of values of a unique index | `slots.rs` |
//!
//! An answer that was lost with its connection is of unknown outcome, and so is error 8501; every other error promises that
//! nothing was done, and is held to it. Errors that faults do not explain ([`IN_HEALTH`], [`UNDER_FAULTS`]) are findings, and so are
//! processes that end of their own accord, panics in logs, replicas that differ, and a cluster that does not come back. A
//! finding's history and the logs of all processes are kept in a folder whose path is printed. A seed gives the same faults and
//! each client the same statements, not the same order among them.
//!
//! | environment | effect |
//! |---|---|
//! | `HISTORIES_WORKLOADS=bank,unique` | of `append`, `register`, `bank`, `unique`; `append` without it |
//! | `HISTORIES_LEVELS=serializable` | of `read-committed`, `repeatable-read`, `serializable`, `optimistic`; `repeatable-read` without it |
//! | `HISTORIES_SECONDS=60` | how long the faults of a run go on, 8 without it |
//! | `HISTORIES_RUNS=5` | runs of each workload at each level, with one seed after the other; 1 without it |
//! | `HISTORIES_SEED=7` | the first seed, 1 without it |
//! | `HISTORIES_FAULTS=kill,pause,partition` | of these, or `none`; `kill` without it. `partition` needs root and iproute2: `basalt_tests::network` |

mod append;
mod bank;
mod linearizable;
mod nemesis;
mod play;
mod record;
mod register;
mod report;
mod slots;
mod unique;
mod workload;

use basalt_tests::history::{Level, Outcome};
use basalt_tests::processes::{Processes, Shape};
use basalt_tests::up::pause;
use basalt_tests::{alone, runtime, say};
use nemesis::Kind;
use play::{CLIENTS, Stage};

use report::Report;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use workload::{ER_DEADLOCK, ER_LOCK_WAIT_TIMEOUT, ER_UNDETERMINED, ER_WRITE_CONFLICT, Played, Workload};

/// Errors that clients who stand in each other's way may get; an optimistic one also [`ER_WRITE_CONFLICT`].
const IN_HEALTH: [u16; 2] = [ER_DEADLOCK, ER_LOCK_WAIT_TIMEOUT];
/// Errors that faults bring: 9001 PD and 9005 a region does not answer, 8027 the schema could not be asked for, and 9007 a
/// transaction was rolled back by others while its server did not answer.
const UNDER_FAULTS: [u16; 5] = [9001, 9005, 8027, ER_WRITE_CONFLICT, ER_UNDETERMINED];
/// After the last fault, until the clients stop.
const QUIET_TIME: Duration = Duration::from_secs(2);

/// Fewer commits in a run say nothing.
const COMMITTED_MIN: usize = 20;

/// How a run is made.
#[derive(Debug, Clone)]
struct Settings {
    level: Level,
    level_name: String,
    workload_name: String,
    seed: u64,
    time: Duration,
    faults: Vec<Kind>,
}

#[test]
fn histories_keep_their_promises() {
    let _alone = alone();
    let faults =
        listed(
            "HISTORIES_FAULTS",
            "kill",
            |name| if name == "none" { Some(None) } else { Kind::named(name).map(Some) },
        );
    let faults: Vec<Kind> = faults.into_iter().filter_map(|(_, kind)| kind).collect();
    let mut findings = 0;
    for (workload_name, _) in listed("HISTORIES_WORKLOADS", "append", |name| {
        ["append", "register", "bank", "unique"].contains(&name).then_some(())
    }) {
        for (level_name, level) in listed("HISTORIES_LEVELS", "repeatable-read", level_named) {
            for run in 0..number("HISTORIES_RUNS", 1) {
                let settings = Settings {
                    level,
                    level_name: level_name.clone(),
                    workload_name: workload_name.clone(),
                    seed: number("HISTORIES_SEED", 1) + run,
                    time: Duration::from_secs(number("HISTORIES_SECONDS", 8)),
                    faults: faults.clone(),
                };
                let report = match workload_name.as_str() {
                    "append" => run_one(append::Append::default(), &settings),
                    "register" => run_one(register::Register::default(), &settings),
                    "bank" => run_one(bank::Bank::default(), &settings),
                    _ => run_one(unique::Unique::default(), &settings),
                };
                let report = report.unwrap_or_else(|error| panic!("{settings:?}: {error:#}"));
                say(&report.text());
                findings += report.findings.len();
            }
        }
    }
    assert!(findings == 0, "{findings} findings, told above");
}

/// One run on a cluster of its own.
///
/// # Errors
/// What happened before the first fault: the cluster does not start, the tables cannot be made.
fn run_one<W: Workload>(workload: W, settings: &Settings) -> anyhow::Result<Report> {
    let with_network = settings.faults.contains(&Kind::Partition);
    let mut processes = Processes::start(&Shape { with_network, ..Shape::default() })?;
    let runtime = runtime();
    let stage = Arc::new(Stage {
        workload,
        level: settings.level,
        seed: settings.seed,
        servers: processes.sql(),
        began: Instant::now(),
        stop: AtomicBool::new(false),
    });
    runtime.block_on(stage.set_up())?;
    let (start, clock) = (stage.began.elapsed(), Instant::now());
    let clients: Vec<_> = (0..CLIENTS).map(|client| runtime.spawn(stage.clone().live(client))).collect();
    let rounds = nemesis::draw(settings.seed, &settings.faults, settings.time);
    let mut findings = Vec::new();
    let mut done = nemesis::play(&mut processes, &rounds, clock, settings.time).unwrap_or_else(|error| {
        findings.push(format!("the nemesis cannot go on: {error:#}"));
        Vec::new()
    });
    // Times of all others are since the stage began.
    let shift = start.as_nanos() as u64;
    done.iter_mut().for_each(|round| (round.start, round.end) = (round.start + shift, round.end + shift));
    pause(QUIET_TIME);
    stage.stop.store(true, Ordering::Relaxed);
    let end = stage.began.elapsed();
    let mut played = Played { level: settings.level, attempts: Vec::new(), last: Vec::new() };
    let mut refused = Vec::new();
    for client in clients {
        let life = runtime.block_on(client)?;
        played.attempts.extend(life.attempts);
        refused.extend(life.refused);
    }
    match runtime.block_on(stage.read_last()) {
        Ok(last) => played.last = last,
        Err(error) => findings.push(format!("the cluster does not come back: {error:#}")),
    }
    let replicas = processes.ctl(&["check-replicas"]);
    if !replicas.ok {
        findings.push(format!("replicas cannot be compared: {}", replicas.err.trim()));
    }
    findings.extend(processes.faults()?);
    let allows = |code| {
        let in_health = IN_HEALTH.contains(&code) || stage.workload.allows(code);
        let is_optimistic = settings.level == Level::Snapshot && code == ER_WRITE_CONFLICT;
        in_health || is_optimistic || !settings.faults.is_empty() && UNDER_FAULTS.contains(&code)
    };
    if !settings.faults.is_empty() && done.is_empty() {
        findings.push("no fault was done".into());
    }
    findings.extend(report::strange_errors(&played, &refused, allows));
    findings.extend(stage.workload.judge(&played));
    let committed = played.attempts.iter().filter(|attempt| attempt.outcome() == Outcome::Committed).count();
    if committed < COMMITTED_MIN {
        findings.push(format!("only {committed} transactions were committed"));
    }
    let mut report = Report::of(settings, &played, &done, (start, end), findings);
    if !report.findings.is_empty() {
        report.keep(&record::text(&played, &done), &processes)?;
    }
    Ok(report)
}

fn level_named(name: &str) -> Option<Level> {
    match name {
        "read-committed" => Some(Level::ReadCommitted),
        "repeatable-read" => Some(Level::RepeatableRead),
        "serializable" => Some(Level::Serializable),
        "optimistic" => Some(Level::Snapshot),
        _ => None,
    }
}

/// A variable's names, separated by commas, with what each means.
fn listed<T>(variable: &str, default: &str, meaning: impl Fn(&str) -> Option<T>) -> Vec<(String, T)> {
    let text = std::env::var(variable).unwrap_or_else(|_| default.into());
    let meaning = |name: &str| (name.into(), meaning(name).unwrap_or_else(|| panic!("{variable}: {name}")));
    text.split(',').map(meaning).collect()
}

fn number(variable: &str, default: u64) -> u64 {
    let Ok(text) = std::env::var(variable) else { return default };
    text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}"))
}
