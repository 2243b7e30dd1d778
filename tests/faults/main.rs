//! What operators fear, done to real processes while clients write: one PD, three or four stores, two SQL servers, each fault a
//! number of times on one cluster, and a table of what it cost.
//!
//! ```text
//! scenario ── faults ──▶ processes, networks, disks
//! load.rs  ── writers, bank, audits, all the time ──▶ acknowledgments, errors, pauses
//! afterwards ── acknowledged rows, the sum, `ctl check-replicas`, logs ──▶ findings
//! ```
//! A pause is a writer's longest time without an acknowledgment, from the fault on; whole is the time from the fault's end until
//! every region has its replicas and they are equal. A finding is an acknowledged row that is gone, a wrong sum, an error
//! that the fault does not explain, a pause longer than the scenario allows, replicas that are missing or differ, a process that ended of its own accord, a panic.
//!
//! | environment | effect |
//! |---|---|
//! | `FAULTS=kill,power` | these scenarios of [`SCENARIOS`], or `all`; without it [`QUICK`] |
//! | `FAULTS_RUNS=20` | how often each is done; once without it |
//! | `FAULTS_KEEP=FOLDER` | where the logs of each cluster are copied to |

mod load;
mod scenarios;

use anyhow::{Context, Result, bail};
use basalt_tests::processes::{Processes, Shape};
use basalt_tests::up::pause;
use basalt_tests::{alone, say};
use load::Load;
use scenarios::{SCENARIOS, Scenario};
use std::time::Duration;
use tokio::time::Instant;

/// The scenarios of `make test`.
const QUICK: &str = "kill,stop,power,mute,away,away-four,flip";
/// A voter's place in every region again, and equal replicas: within so long of a fault's end.
const WHOLE_TIME: Duration = Duration::from_secs(60);
const REPLICAS: u64 = 3;

/// A cluster under load, and what was measured.
pub struct Stage {
    /// Its processes.
    pub processes: Processes,
    /// Its clients.
    pub load: Load,
    pauses: Vec<Duration>,
    whole: Vec<Duration>,
    notes: Vec<String>,
    findings: Vec<String>,
}

impl Stage {
    fn start(scenario: &Scenario) -> Result<Stage> {
        let shape = Shape { settings: scenario.settings.into(), ..scenario.shape() };
        let processes = Processes::start(&shape)?;
        let load = Load::start(processes.sql(), scenario.regions)?;
        let none = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (pauses, whole, notes, findings) = none;
        let mut stage = Stage { processes, load, pauses, whole, notes, findings };
        stage.until_whole()?;
        stage.whole.clear();
        pause(Duration::from_secs(2));
        Ok(stage)
    }

    /// Does something and takes the writers' pauses from its beginning on.
    ///
    /// # Errors
    /// It fails, or a writer gets no acknowledgment any more.
    pub fn pausing(&mut self, fault: impl FnOnce(&mut Stage) -> Result<()>) -> Result<()> {
        let from = Instant::now();
        fault(self)?;
        let pauses = self.load.pauses(from)?;
        self.pauses.extend(pauses);
        Ok(())
    }

    /// Waits until every region has its replicas and they hold the same; the time that takes is the table's.
    ///
    /// # Errors
    /// It does not come to that in time.
    pub fn until_whole(&mut self) -> Result<()> {
        self.until_whole_for(WHOLE_TIME)
    }

    /// The same with another patience.
    ///
    /// # Errors
    /// As there.
    pub fn until_whole_for(&mut self, patience: Duration) -> Result<()> {
        let began = Instant::now();
        loop {
            let found = self.processes.ctl(&["check-replicas", "--json"]);
            let counts: serde_json::Value = serde_json::from_str(&found.out).unwrap_or_default();
            let (regions, replicas) = (counts["regions"].as_u64(), counts["replicas"].as_u64());
            if found.ok && regions.is_some() && replicas == regions.map(|regions| regions * REPLICAS) {
                self.whole.push(began.elapsed());
                return Ok(());
            }
            if began.elapsed() > patience {
                bail!("after {patience:?} not whole: {} {}", found.out.trim(), found.err.trim());
            }
            pause(Duration::from_millis(100));
        }
    }

    /// Something to be told beside the table.
    pub fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    /// The name of the running store that leads most regions.
    ///
    /// # Errors
    /// PD does not answer.
    pub fn busiest(&self) -> Result<&'static str> {
        let output = self.processes.ctl(&["stores", "--json"]);
        let stores: Vec<serde_json::Value> = serde_json::from_str(&output.out).context(output.err)?;
        let leaders = |store: &&serde_json::Value| store["leaders"].as_u64();
        let busiest = stores.iter().max_by_key(leaders).context("there are stores")?;
        let address = busiest["address"].as_str().unwrap_or_default();
        let is_there = |name: &&str| self.processes.address(name).is_ok_and(|known| known == address);
        self.processes.stores().into_iter().find(is_there).with_context(|| format!("nobody is {address}"))
    }

    fn finish(mut self, scenario: &Scenario, runs: usize) -> Result<Vec<String>> {
        let outcome = self.load.finish().context("the load's end")?;
        let found = self.processes.faults()?;
        self.findings.extend(outcome.findings);
        self.findings.extend(found);
        let late = self.pauses.iter().filter(|pause| **pause > scenario.pause_max).count();
        if late > 0 {
            self.findings.push(format!("{late} pauses longer than {:?}", scenario.pause_max));
        }
        let (pauses, whole) = (spread(&mut self.pauses), spread(&mut self.whole));
        say(&format!(
            "{:10} {runs:4} {:9} {:9} {:7} {pauses:>15} {whole:>15} {:8}  errors {:?}\n",
            scenario.name,
            outcome.rows,
            outcome.transfers,
            outcome.audits,
            self.findings.len(),
            outcome.errors
        ));
        for line in self.notes.iter().chain(&self.findings) {
            say(&format!("           {line}\n"));
        }
        if let Ok(folder) = std::env::var("FAULTS_KEEP") {
            self.processes.keep_logs(&std::path::Path::new(&folder).join(scenario.name))?;
        }
        Ok(self.findings)
    }
}

/// Median and worst, in seconds.
fn spread(times: &mut [Duration]) -> String {
    times.sort();
    match (times.get(times.len() / 2), times.last()) {
        (Some(median), Some(worst)) => format!("{:.2} {:.2}", median.as_secs_f64(), worst.as_secs_f64()),
        _ => "-".into(),
    }
}

#[test]
fn nothing_acknowledged_is_lost_and_all_replicas_come_back() {
    let _alone = alone();
    let wanted = std::env::var("FAULTS").unwrap_or_else(|_| QUICK.into());
    let runs: usize = std::env::var("FAULTS_RUNS").map_or(1, |text| text.parse().expect("FAULTS_RUNS is a number"));
    let all: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
    let names: Vec<&str> = if wanted == "all" { all.clone() } else { wanted.split(',').collect() };
    say("scenario   runs      rows transfers  audits  pause p50 max  whole p50 max findings\n");
    let mut findings = 0;
    for name in names {
        let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name);
        let scenario = scenario.unwrap_or_else(|| panic!("{name} is none of {all:?}"));
        let mut stage = Stage::start(scenario).unwrap_or_else(|error| panic!("{name}: {error:#}"));
        for run in 0..runs {
            let done = (scenario.play)(&mut stage, run).and_then(|()| stage.until_whole());
            if let Err(error) = done {
                stage.findings.push(format!("run {run}: {error:#}"));
                break;
            }
        }
        let found = stage.finish(scenario, runs);
        findings += found
            .unwrap_or_else(|error| vec![format!("{name}: {error:#}")])
            .iter()
            .map(|text| say(&format!("FINDING {name}: {text}\n")))
            .count();
    }
    assert!(findings == 0, "{findings} findings, told above");
}
