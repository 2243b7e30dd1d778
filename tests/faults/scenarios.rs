//! The faults, one function each.

use crate::Stage;
use anyhow::{Result, ensure};
use basalt_tests::processes::{FOUR_STORES, NAMES, Shape};
use basalt_tests::up::pause;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rustix::process::Signal;
use std::time::Duration;

/// A fault, and the cluster that it is done to.
pub struct Scenario {
    pub name: &'static str,
    pub play: fn(&mut Stage, usize) -> Result<()>,
    four_stores: bool,
    with_network: bool,
    disk_mib: Option<u64>,
    pub settings: &'static str,
    /// Of the table that the writers fill.
    pub regions: u32,
    /// No writer may wait for longer, on a machine that does other things as well.
    pub pause_max: Duration,
}

impl Scenario {
    /// All but the settings.
    pub fn shape(&self) -> Shape {
        let names: &'static [&'static str] = if self.four_stores { &FOUR_STORES } else { &NAMES };
        Shape { names, with_network: self.with_network, disk_mib: self.disk_mib, settings: String::new() }
    }
}

const GC: &str = "[gc]\nlife_time = \"10s\"\n";
/// A store is lost after 8 s.
const SOON_LOST: &str =
    "[gc]\nlife_time = \"10s\"\n[schedule]\nstore_down_after = \"7s\"\nstore_replace_after = \"8s\"\n";
const RESERVE: &str = "[storage]\ndisk_reserve = \"64MiB\"\n";
const SECOND: Duration = Duration::from_secs(1);

const PLAIN: Scenario = Scenario {
    name: "",
    play: |_, _| Ok(()),
    four_stores: false,
    with_network: false,
    disk_mib: None,
    settings: GC,
    regions: 12,
    pause_max: Duration::from_secs(6),
};

/// Every fault by its name in `FAULTS`.
pub const SCENARIOS: &[Scenario] = &[
    // kill -9 of the store that leads most regions.
    Scenario { name: "kill", play: kill, ..PLAIN },
    // SIGTERM to the same.
    Scenario { name: "stop", play: stop, pause_max: Duration::from_secs(3), ..PLAIN },
    // kill -9 of every process at once.
    Scenario { name: "kill-all", play: kill_all, ..PLAIN },
    // Everything dies, PD comes back last.
    Scenario { name: "pd-last", play: pd_last, ..PLAIN },
    // PD is dead for 30 s.
    Scenario { name: "pd", play: pd, ..PLAIN },
    // A store's disk loses what was not synced.
    Scenario { name: "power", play: power, disk_mib: Some(2048), ..PLAIN },
    // A store's disk is full for a minute.
    Scenario {
        name: "full",
        play: full,
        disk_mib: Some(1024),
        settings: RESERVE,
        pause_max: Duration::from_secs(3),
        ..PLAIN
    },
    // SIGSTOP for 15 s.
    Scenario { name: "pause", play: freeze, ..PLAIN },
    // The store with most leaders reaches nobody, for 15 s.
    Scenario { name: "cut", play: cut, with_network: true, ..PLAIN },
    // Two stores do not reach each other.
    Scenario { name: "part", play: part, with_network: true, ..PLAIN },
    // A store hears and cannot speak.
    Scenario { name: "mute", play: mute, with_network: true, ..PLAIN },
    // A store's network comes and goes.
    Scenario { name: "flap", play: flap, with_network: true, ..PLAIN },
    // PD alone does not hear a store, and another dies.
    Scenario { name: "pd-deaf", play: pd_deaf, with_network: true, ..PLAIN },
    // A store is away until PD gives it up, and comes back.
    Scenario { name: "away", play: away, settings: SOON_LOST, ..PLAIN },
    Scenario { name: "away-four", play: away, four_stores: true, settings: SOON_LOST, ..PLAIN },
    // The same while the table is split into 600 regions.
    Scenario { name: "away-split", play: away_split, settings: SOON_LOST, ..PLAIN },
    Scenario { name: "away-split-four", play: away_split, four_stores: true, settings: SOON_LOST, ..PLAIN },
    // A store loses its disk and comes back empty.
    Scenario { name: "wiped", play: wiped, settings: SOON_LOST, ..PLAIN },
    // A bit of a stopped store's files is flipped.
    Scenario { name: "flip", play: flip, ..PLAIN },
];

fn kill(stage: &mut Stage, _: usize) -> Result<()> {
    let store = stage.busiest()?;
    stage.pausing(|stage| {
        stage.processes.kill(store)?;
        pause(6 * SECOND);
        Ok(())
    })?;
    stage.processes.start_one(store)
}

fn stop(stage: &mut Stage, _: usize) -> Result<()> {
    let store = stage.busiest()?;
    stage.pausing(|stage| {
        let took = stage.processes.stop(store)?;
        stage.note(format!("{store} ended {:.2} s after SIGTERM", took.as_secs_f64()));
        pause(6 * SECOND);
        Ok(())
    })?;
    stage.processes.start_one(store)
}

fn kill_all(stage: &mut Stage, _: usize) -> Result<()> {
    stage.pausing(|stage| {
        NAMES.iter().try_for_each(|name| stage.processes.kill(name))?;
        NAMES.iter().try_for_each(|name| stage.processes.start_one(name))
    })
}

fn pd_last(stage: &mut Stage, _: usize) -> Result<()> {
    NAMES.iter().try_for_each(|name| stage.processes.kill(name))?;
    NAMES[1..].iter().try_for_each(|name| stage.processes.spawn(name))?;
    pause(12 * SECOND);
    stage.pausing(|stage| {
        stage.processes.start_one(NAMES[0])?;
        NAMES[1..].iter().try_for_each(|name| stage.processes.wait_ready(name))
    })
}

fn pd(stage: &mut Stage, _: usize) -> Result<()> {
    let before = stage.load.rows();
    stage.processes.kill(NAMES[0])?;
    pause(30 * SECOND);
    let meanwhile = stage.load.rows() - before;
    stage.note(format!("{meanwhile} rows while PD was dead"));
    stage.pausing(|stage| stage.processes.start_one(NAMES[0]))
}

fn power(stage: &mut Stage, _: usize) -> Result<()> {
    let store = stage.busiest()?;
    stage.pausing(|stage| {
        stage.processes.disk(store)?.cut_power()?;
        stage.processes.kill(store)?;
        pause(2 * SECOND);
        stage.processes.disk(store)?.restore_power()?;
        stage.processes.start_one(store)
    })
}

fn full(stage: &mut Stage, _: usize) -> Result<()> {
    let store = stage.busiest()?;
    stage.pausing(|stage| {
        let disk = stage.processes.disk(store)?;
        disk.fill(40 << 20)?;
        pause(60 * SECOND);
        disk.make_room()
    })
}

fn freeze(stage: &mut Stage, _: usize) -> Result<()> {
    let store = stage.busiest()?;
    stage.pausing(|stage| {
        stage.processes.signal(store, Signal::STOP)?;
        pause(15 * SECOND);
        stage.processes.signal(store, Signal::CONT)
    })
}

fn cut(stage: &mut Stage, _: usize) -> Result<()> {
    let store = stage.busiest()?;
    stage.pausing(|stage| {
        network(stage)?.cut(store, true)?;
        pause(15 * SECOND);
        network(stage)?.cut(store, false)
    })
}

fn part(stage: &mut Stage, run: usize) -> Result<()> {
    let store = stage.busiest()?;
    let others = others(stage, store);
    let pair = [store, others[run % others.len()]];
    stage.pausing(|stage| {
        network(stage)?.part(&pair, true)?;
        pause(15 * SECOND);
        network(stage)?.part(&pair, false)
    })
}

fn mute(stage: &mut Stage, _: usize) -> Result<()> {
    let store = stage.busiest()?;
    let others: Vec<&str> = NAMES.into_iter().filter(|name| *name != store).collect();
    stage.pausing(|stage| {
        network(stage)?.mute(store, &others, true)?;
        pause(15 * SECOND);
        network(stage)?.mute(store, &others, false)
    })
}

fn flap(stage: &mut Stage, run: usize) -> Result<()> {
    let store = stage.busiest()?;
    stage.pausing(|stage| {
        for turn in 0..8 {
            let time = Duration::from_millis(200 + (run as u64 * 8 + turn) * 317 % 1500);
            network(stage)?.cut(store, true)?;
            pause(time);
            network(stage)?.cut(store, false)?;
            pause(time);
        }
        Ok(())
    })
}

fn pd_deaf(stage: &mut Stage, run: usize) -> Result<()> {
    let victim = stage.busiest()?;
    let others = others(stage, victim);
    let unheard = others[run % others.len()];
    network(stage)?.mute(unheard, &NAMES[..1], true)?;
    // By now PD takes it for down, and does not know who leads there.
    pause(25 * SECOND);
    stage.pausing(|stage| {
        stage.processes.kill(victim)?;
        pause(10 * SECOND);
        Ok(())
    })?;
    network(stage)?.mute(unheard, &NAMES[..1], false)?;
    stage.processes.start_one(victim)
}

fn away(stage: &mut Stage, run: usize) -> Result<()> {
    let store = turn_of(stage, run);
    stage.pausing(|stage| {
        stage.processes.kill(store)?;
        pause(14 * SECOND);
        Ok(())
    })?;
    stage.processes.start_one(store)
}

fn away_split(stage: &mut Stage, run: usize) -> Result<()> {
    let store = turn_of(stage, run);
    let regions = 600 / 10 * (run as u64 + 1);
    stage.processes.kill(store)?;
    pause(2 * SECOND);
    stage.load.run(&format!("split table rows_ between (0) and ({}) regions {regions}", 1u64 << 30))?;
    pause(14 * SECOND);
    stage.processes.start_one(store)
}

fn wiped(stage: &mut Stage, run: usize) -> Result<()> {
    let store = turn_of(stage, run);
    stage.processes.kill(store)?;
    std::fs::remove_dir_all(stage.processes.data(store)?)?;
    stage.processes.start_one(store)?;
    // The store that it was is lost; its replicas come to the new one.
    pause(10 * SECOND);
    ensure!(stage.processes.runs(store)?, "{store} does not run");
    Ok(())
}

fn flip(stage: &mut Stage, run: usize) -> Result<()> {
    let store = turn_of(stage, run);
    match run % 2 {
        0 => stage.processes.kill(store)?,
        _ => drop(stage.processes.stop(store)?),
    }
    let (file, at) = flip_a_bit(&stage.processes.data(store)?, run as u64)?;
    let seen = stage.processes.log(store).len();
    stage.processes.spawn(store)?;
    let mut met = "not met";
    match stage.processes.wait_ready(store) {
        Err(_) => met = "met at start",
        Ok(()) => {
            // Every row of every replica is read.
            let _ = stage.until_whole_for(20 * SECOND);
            pause(SECOND);
            if !stage.processes.runs(store)? {
                met = "met at read";
                stage.processes.kill(store)?;
                // Once met, it is not served from again.
                ensure!(stage.processes.start_one(store).is_err(), "{store} starts on data that it found damaged");
            }
        }
    }
    if met != "not met" {
        let log = stage.processes.log(store);
        let said = log[seen..].lines().filter(|line| line.contains("orrupt") || line.contains("damaged"));
        let said: Vec<&str> = said.take(2).collect();
        ensure!(!said.is_empty(), "{store} says nothing of damage in {file} at {at}: {}", &log[seen..]);
        stage.note(format!("{file} at {at}: {met}: {}", said.join(" | ")));
        stage.processes.kill(store)?;
        stage.processes.spawn_with(store, &["--rebuild"])?;
        stage.processes.wait_ready(store)?;
    } else {
        stage.note(format!("{file} at {at}: {met}"));
    }
    Ok(())
}

/// In a file that chance draws, each kind of file as often as another; which, and at which byte.
fn flip_a_bit(folder: &std::path::Path, seed: u64) -> Result<(String, u64)> {
    use std::os::unix::fs::FileExt;
    let mut random = SmallRng::seed_from_u64(seed);
    let kind = ["sst", "log", "MANIFEST", "CURRENT", "sst", "log"][random.random_range(0..6)];
    let mut files = Vec::new();
    for part in ["db", "raft"] {
        for entry in std::fs::read_dir(folder.join(part))?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_wanted = name.ends_with(&format!(".{kind}")) || name.starts_with(kind);
            if is_wanted && entry.metadata()?.len() > 0 {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    ensure!(!files.is_empty(), "no file of kind {kind}");
    let path = &files[random.random_range(0..files.len())];
    let file = std::fs::File::options().read(true).write(true).open(path)?;
    let at = random.random_range(0..file.metadata()?.len());
    let mut byte = [0];
    file.read_exact_at(&mut byte, at)?;
    file.write_all_at(&[byte[0] ^ 1 << random.random_range(0..8)], at)?;
    file.sync_all()?;
    let name = path.strip_prefix(folder)?.display().to_string();
    Ok((name, at))
}

/// A store, one after the other from run to run.
fn turn_of(stage: &Stage, run: usize) -> &'static str {
    let stores = stage.processes.stores();
    stores[run % stores.len()]
}

fn network(stage: &Stage) -> Result<&basalt_tests::network::Network> {
    stage.processes.network.as_ref().ok_or_else(|| anyhow::anyhow!("the scenario has no network"))
}

fn others(stage: &Stage, store: &str) -> Vec<&'static str> {
    stage.processes.stores().into_iter().filter(|name| *name != store).collect()
}
