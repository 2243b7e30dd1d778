//! The processes of a cluster, started here one by one, so that each can have a network of its own.
//!
//! ```text
//! without partitions   all on loopback, ports drawn
//! with partitions      each in its namespace, one address each on a bridge: `network.rs`
//! ```
//! Whatever is started here is ended here by its id, also when the test fails.

use crate::network::Network;
use anyhow::{Context, Result, bail, ensure};
use basalt_tests::cmd::{self, Output};
use basalt_tests::up::pause;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Every process of a cluster, in the order in which they start.
pub const NAMES: [&str; 6] = ["pd-1", "storage-1", "storage-2", "storage-3", "sql-1", "sql-2"];
/// Root's password: without one, a SQL server listens on loopback only.
pub const PASSWORD: &str = "histories";
/// PD's: what is older than a few seconds and read by nobody is collected under the faults.
const SETTINGS: (&str, &str) = ("pd.toml", "[gc]\nlife_time = \"10s\"\n");
/// How long a process may take to print `ready:`, and regions to have their replicas.
const READY_TIME: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// How often a process that ends at its start is started again: a SQL server ends when the cluster does not answer it.
const STARTS_MAX: u32 = 3;
const REPLICAS: usize = 3;

/// A process and where it is.
struct Process {
    name: &'static str,
    listen: String,
    status: String,
    log: PathBuf,
    child: Option<Child>,
}

/// A cluster.
pub struct Processes {
    all: Vec<Process>,
    /// Where a process has its network for itself.
    pub network: Option<Network>,
    folder: tempfile::TempDir,
}

impl Processes {
    /// Starts one PD, three stores and two SQL servers, and waits until all regions have three replicas.
    ///
    /// # Errors
    /// Namespaces cannot be made, a process does not start.
    pub fn start(with_network: bool) -> Result<Processes> {
        let network = if with_network { Some(Network::make(&NAMES)?) } else { None };
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join(SETTINGS.0), SETTINGS.1)?;
        let base = basalt_tests::free_port_base();
        let process = |(number, name): (usize, &'static str)| {
            let port = base + number as u16;
            let host = network.as_ref().map_or("127.0.0.1".to_string(), |network| network.address(name));
            let log = folder.path().join(format!("{name}.log"));
            let status = format!("127.0.0.1:{}", base + 1000 + number as u16);
            Process { name, listen: format!("{host}:{port}"), status, log, child: None }
        };
        let all = NAMES.into_iter().enumerate().map(process).collect();
        let mut processes = Processes { all, network, folder };
        for name in NAMES {
            processes.start_one(name)?;
        }
        processes.wait_for_replicas()?;
        Ok(processes)
    }

    /// HOST:PORT of the SQL servers.
    pub fn sql(&self) -> Vec<String> {
        self.all.iter().filter(|process| process.name.starts_with("sql")).map(|p| p.listen.clone()).collect()
    }

    /// Starts a process that does not run, on its data, and waits until it is ready.
    ///
    /// # Errors
    /// It ends or is not ready in time, a few times over.
    pub fn start_one(&mut self, name: &str) -> Result<()> {
        for _ in 1..STARTS_MAX {
            if self.try_start(name).is_ok() {
                return Ok(());
            }
            self.kill(name)?;
        }
        self.try_start(name)
    }

    fn try_start(&mut self, name: &str) -> Result<()> {
        let pd = self.all[0].listen.clone();
        let data = self.folder.path().join(name);
        let network = self.network.as_ref();
        let process = self.all.iter_mut().find(|process| process.name == name).context("a process of the cluster")?;
        ensure!(process.child.is_none(), "{name} runs already");
        let log = File::options().create(true).append(true).open(&process.log)?;
        let from = log.metadata()?.len() as usize;
        let mut command = within(network, name, &cmd::binary().display().to_string());
        let role = name.split('-').next().unwrap_or(name);
        command.args([role, "--listen", &process.listen, "--status", &process.status]);
        if role != "sql" {
            command.arg("--data").arg(data);
            command.args(network.map(|_| "--trusted-network"));
        }
        if role != "pd" {
            command.args(["--pd", &pd]);
        }
        if role == "pd" {
            command.arg("--config").arg(self.folder.path().join(SETTINGS.0));
        }
        if role == "sql" {
            command.env("BASALT_ROOT_PASSWORD", PASSWORD);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        process.child = Some(command.spawn().with_context(|| format!("cannot start {name}"))?);
        for _ in 0..READY_TIME.as_millis() / POLL.as_millis() {
            let text = std::fs::read(&process.log)?;
            if String::from_utf8_lossy(&text[from..]).lines().any(|line| line.starts_with("ready:")) {
                return Ok(());
            }
            let ended = process.child.as_mut().map(Child::try_wait).transpose()?.flatten();
            if let Some(status) = ended {
                process.child = None;
                bail!("{name} ended at its start: {status}\n{}", tail(&String::from_utf8_lossy(&text), 5));
            }
            pause(POLL);
        }
        bail!("{name} is not ready after {READY_TIME:?}\n{}", tail(&self.log(name), 5))
    }

    /// SIGKILL; returns when the process is gone.
    ///
    /// # Errors
    /// It cannot be signaled or waited for.
    pub fn kill(&mut self, name: &str) -> Result<()> {
        let process = self.all.iter_mut().find(|process| process.name == name).context("a process of the cluster")?;
        if let Some(mut child) = process.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Sends a signal; nothing where the process does not run.
    ///
    /// # Errors
    /// It cannot be signaled.
    pub fn signal(&self, name: &str, signal: Signal) -> Result<()> {
        let child = self.all.iter().find(|process| process.name == name).and_then(|process| process.child.as_ref());
        if let Some(pid) = child.and_then(|child| Pid::from_raw(child.id() as i32)) {
            kill_process(pid, signal).with_context(|| format!("cannot signal {name}"))?;
        }
        Ok(())
    }

    /// `basalt ctl` on sql-1.
    pub fn ctl(&self, arguments: &[&str]) -> Output {
        let sql = &self.all[4];
        let mut command = within(self.network.as_ref(), sql.name, &cmd::binary().display().to_string());
        cmd::run(command.args(["ctl", "--status", &sql.status]).args(arguments))
    }

    fn wait_for_replicas(&self) -> Result<()> {
        let mut last = String::new();
        for _ in 0..READY_TIME.as_millis() / 100 {
            let output = self.ctl(&["regions", "--json"]);
            let regions: serde_json::Value = serde_json::from_str(&output.out).unwrap_or_default();
            let voters = |region: &serde_json::Value| {
                region["peers"].as_array().map_or(0, |peers| peers.iter().filter(|p| p["role"] == "voter").count())
            };
            if regions.as_array().is_some_and(|all| !all.is_empty() && all.iter().all(|r| voters(r) >= REPLICAS)) {
                return Ok(());
            }
            last = output.out + &output.err;
            pause(Duration::from_millis(100));
        }
        bail!("regions did not get {REPLICAS} replicas in {READY_TIME:?}: {last}")
    }

    /// What is wrong with the processes themselves: ended though nobody killed them, or panicked.
    pub fn faults(&mut self) -> Result<Vec<String>> {
        let mut faults = Vec::new();
        for process in &mut self.all {
            let log = std::fs::read_to_string(&process.log).unwrap_or_default();
            if let Some(child) = &mut process.child
                && let Some(status) = child.try_wait()?
            {
                let how = status.signal().map_or(status.to_string(), |signal| format!("signal {signal}"));
                faults.push(format!("{} ended of its own accord: {how}\n{}", process.name, tail(&log, 15)));
            }
            if let Some(line) = log.lines().find(|line| line.contains("panicked at")) {
                faults.push(format!("{} panicked: {line}", process.name));
            }
        }
        Ok(faults)
    }

    /// What a process logged.
    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(format!("{name}.log"))).unwrap_or_default()
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for process in self.all.iter_mut().rev() {
            if let Some(mut child) = process.child.take() {
                let ended = child.kill().and_then(|()| child.wait());
                if let Err(error) = ended {
                    basalt_tests::say(&format!("histories: {} cannot be ended: {error}\n", process.name));
                }
            }
        }
    }
}

/// A command as it runs where a process is.
fn within(network: Option<&Network>, name: &str, program: &str) -> Command {
    let mut command = match network {
        None => Command::new(program),
        Some(network) => {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", &network.namespace(name), program]);
            command
        }
    };
    cmd::clean(&mut command);
    command
}

fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
