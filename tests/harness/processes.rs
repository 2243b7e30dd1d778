//! The processes of a cluster, started here one by one, so that each can have a network of its own.
//!
//! ```text
//! without partitions   all on loopback, ports drawn
//! with partitions      each in its namespace, one address each on a bridge: `network.rs`
//! with disks           each store's folder on a file system of its own: `loop_disk.rs`
//! ```
//! Whatever is started here is ended here by its id, also when the test fails.

use crate::cmd::{self, Output};
use crate::loop_disk::LoopDisk;
use crate::network::Network;
use crate::up::pause;
use anyhow::{Context, Result, bail, ensure};
use mysql_async::OptsBuilder;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Every process of a cluster, in the order in which they start.
pub const NAMES: [&str; 6] = ["pd-1", "storage-1", "storage-2", "storage-3", "sql-1", "sql-2"];
/// The same with a fourth store.
pub const FOUR_STORES: [&str; 7] = ["pd-1", "storage-1", "storage-2", "storage-3", "storage-4", "sql-1", "sql-2"];
/// Root's password: without one, a SQL server listens on loopback only.
const PASSWORD: &str = "histories";
const SETTINGS: &str = "basalt.toml";
/// How long a process may take to print `ready:`, and regions to have their replicas.
const READY_TIME: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// How often a process that ends at its start is started again: a SQL server ends when the cluster does not answer it.
const STARTS_MAX: u32 = 3;
const REPLICAS: usize = 3;

/// What a cluster is made of.
#[derive(Debug, Clone)]
pub struct Shape {
    /// In the order in which they start: `pd-1`, then stores, then SQL servers.
    pub names: &'static [&'static str],
    /// Whether each process has a network of its own.
    pub with_network: bool,
    /// MiB of each store's own file system.
    pub disk_mib: Option<u64>,
    /// A settings file, in TOML, for all.
    pub settings: String,
}

impl Default for Shape {
    /// What is older than a few seconds and read by nobody is collected under the faults.
    fn default() -> Self {
        Shape { names: &NAMES, with_network: false, disk_mib: None, settings: "[gc]\nlife_time = \"10s\"\n".into() }
    }
}

/// How a client logs in to one of the SQL servers, by its HOST:PORT.
///
/// # Panics
/// If that is no address.
pub fn login(server: &str, database: Option<&str>) -> OptsBuilder {
    let (host, port) = server.rsplit_once(':').expect("an address has a port");
    OptsBuilder::default()
        .ip_or_hostname(host)
        .tcp_port(port.parse().expect("a port is a number"))
        .user(Some("root"))
        .pass(Some(PASSWORD))
        .db_name(database)
        .prefer_socket(false)
}

/// A region, as PD knows it.
#[derive(Debug, Clone)]
pub struct Region {
    /// The stores of its voters.
    pub voters: Vec<u64>,
}

/// A process and where it is.
struct Process {
    name: &'static str,
    listen: String,
    status: String,
    log: PathBuf,
    disk: Option<LoopDisk>,
    child: Option<Child>,
    /// Where in its log the last start began.
    started_at: usize,
}

/// A cluster.
pub struct Processes {
    all: Vec<Process>,
    /// Where a process has its network for itself.
    pub network: Option<Network>,
    folder: tempfile::TempDir,
}

impl Processes {
    /// Starts one after the other, and waits until all regions have three replicas.
    ///
    /// # Errors
    /// Namespaces or disks cannot be made, a process does not start.
    pub fn start(shape: &Shape) -> Result<Processes> {
        let network = if shape.with_network { Some(Network::make(shape.names)?) } else { None };
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join(SETTINGS), &shape.settings)?;
        let base = crate::free_port_base();
        let mut all = Vec::new();
        for (number, &name) in shape.names.iter().enumerate() {
            let port = base + number as u16;
            let host = network.as_ref().map_or("127.0.0.1".to_string(), |network| network.address(name));
            let disk = shape.disk_mib.filter(|_| name.starts_with("storage")).map(LoopDisk::mount).transpose()?;
            all.push(Process {
                name,
                listen: format!("{host}:{port}"),
                status: format!("127.0.0.1:{}", base + 1000 + number as u16),
                log: folder.path().join(format!("{name}.log")),
                disk,
                child: None,
                started_at: 0,
            });
        }
        let mut processes = Processes { all, network, folder };
        for name in shape.names {
            processes.start_one(name)?;
        }
        processes.wait_for_replicas()?;
        Ok(processes)
    }

    fn find(&self, name: &str) -> Result<&Process> {
        self.all.iter().find(|process| process.name == name).with_context(|| format!("there is no {name}"))
    }

    fn find_mut(&mut self, name: &str) -> Result<&mut Process> {
        self.all.iter_mut().find(|process| process.name == name).with_context(|| format!("there is no {name}"))
    }

    /// Names of the stores.
    pub fn stores(&self) -> Vec<&'static str> {
        self.all.iter().map(|process| process.name).filter(|name| name.starts_with("storage")).collect()
    }

    /// HOST:PORT of a process.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn address(&self, name: &str) -> Result<&str> {
        Ok(&self.find(name)?.listen)
    }

    /// A store's own disk.
    ///
    /// # Errors
    /// It has none.
    pub fn disk(&self, name: &str) -> Result<&LoopDisk> {
        self.find(name)?.disk.as_ref().with_context(|| format!("{name} has no disk of its own"))
    }

    /// Where a process has its data.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn data(&self, name: &str) -> Result<PathBuf> {
        let disk = self.find(name)?.disk.as_ref();
        Ok(disk.map_or(self.folder.path().join(name), |disk| disk.path().join("data")))
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
        self.spawn(name)?;
        self.wait_ready(name)
    }

    /// Starts a process that does not run and does not wait for it.
    ///
    /// # Errors
    /// It runs, or cannot be started.
    pub fn spawn(&mut self, name: &str) -> Result<()> {
        self.spawn_with(name, &[])
    }

    /// As [`Processes::spawn`], with flags of its own.
    ///
    /// # Errors
    /// As there.
    pub fn spawn_with(&mut self, name: &str, flags: &[&str]) -> Result<()> {
        let (pd, data) = (self.all[0].listen.clone(), self.data(name)?);
        let process = self.find(name)?;
        ensure!(process.child.is_none(), "{name} runs already");
        let log = File::options().create(true).append(true).open(&process.log)?;
        let started_at = log.metadata()?.len() as usize;
        let mut command = within(self.network.as_ref(), name, &cmd::binary().display().to_string());
        let role = name.split('-').next().unwrap_or(name);
        command.args([role, "--listen", &process.listen, "--status", &process.status, "--config"]);
        command.arg(self.folder.path().join(SETTINGS)).args(flags);
        if role == "sql" {
            command.env("BASALT_ROOT_PASSWORD", PASSWORD);
        } else {
            command.arg("--data").arg(data);
            command.args(self.network.as_ref().map(|_| "--trusted-network"));
        }
        if role != "pd" {
            command.args(["--pd", &pd]);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let process = self.find_mut(name)?;
        (process.child, process.started_at) = (Some(child), started_at);
        Ok(())
    }

    /// Waits until a process that was started says that it is ready.
    ///
    /// # Errors
    /// It ends, or is not ready in time.
    pub fn wait_ready(&mut self, name: &str) -> Result<()> {
        for _ in 0..READY_TIME.as_millis() / POLL.as_millis() {
            let process = self.find_mut(name)?;
            let text = std::fs::read(&process.log)?;
            let said = String::from_utf8_lossy(text.get(process.started_at..).unwrap_or_default()).into_owned();
            if said.lines().any(|line| line.starts_with("ready:")) {
                return Ok(());
            }
            let ended = process.child.as_mut().map(Child::try_wait).transpose()?.flatten();
            if let Some(status) = ended {
                process.child = None;
                bail!("{name} ended at its start: {status}\n{}", tail(&said, 5));
            }
            pause(POLL);
        }
        bail!("{name} is not ready after {READY_TIME:?}\n{}", tail(&self.log(name), 5))
    }

    /// SIGTERM; returns how long the process took to end.
    ///
    /// # Errors
    /// It does not run, does not end in time, or ends with an error.
    pub fn stop(&mut self, name: &str) -> Result<Duration> {
        self.signal(name, Signal::TERM)?;
        let mut child = self.find_mut(name)?.child.take().with_context(|| format!("{name} does not run"))?;
        let (ended, took) = crate::timed(|| {
            for _ in 0..READY_TIME.as_millis() / POLL.as_millis() {
                if let Some(status) = child.try_wait()? {
                    return Ok(Some(status));
                }
                pause(POLL);
            }
            std::io::Result::Ok(None)
        });
        let status = ended?.with_context(|| format!("{name} does not end after SIGTERM"))?;
        ensure!(status.success(), "{name} ended with {status}\n{}", tail(&self.log(name), 5));
        Ok(took)
    }

    /// Whether a process that was started runs still.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn runs(&mut self, name: &str) -> Result<bool> {
        let child = self.find_mut(name)?.child.as_mut();
        Ok(child.map(Child::try_wait).transpose()?.is_some_and(|ended| ended.is_none()))
    }

    /// SIGKILL; returns when the process is gone.
    ///
    /// # Errors
    /// It cannot be signaled or waited for.
    pub fn kill(&mut self, name: &str) -> Result<()> {
        if let Some(mut child) = self.find_mut(name)?.child.take() {
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
        let child = self.find(name)?.child.as_ref();
        if let Some(pid) = child.and_then(|child| Pid::from_raw(child.id() as i32)) {
            kill_process(pid, signal).with_context(|| format!("cannot signal {name}"))?;
        }
        Ok(())
    }

    /// `basalt ctl` on sql-1.
    pub fn ctl(&self, arguments: &[&str]) -> Output {
        let sql = self.all.iter().find(|process| process.name == "sql-1").expect("every shape has a SQL server");
        let mut command = within(self.network.as_ref(), sql.name, &cmd::binary().display().to_string());
        cmd::run(command.args(["ctl", "--status", &sql.status]).args(arguments))
    }

    fn wait_for_replicas(&self) -> Result<()> {
        let mut last = String::new();
        for _ in 0..READY_TIME.as_millis() / 100 {
            match self.regions() {
                Ok(regions) if !regions.is_empty() && regions.iter().all(|region| region.voters.len() >= REPLICAS) => {
                    return Ok(());
                }
                Ok(regions) => last = format!("{regions:?}"),
                Err(error) => last = error.to_string(),
            }
            pause(Duration::from_millis(100));
        }
        bail!("regions did not get {REPLICAS} replicas in {READY_TIME:?}: {last}")
    }

    /// All regions, as PD knows them.
    ///
    /// # Errors
    /// PD does not answer.
    pub fn regions(&self) -> Result<Vec<Region>> {
        let output = self.ctl(&["regions", "--json"]);
        ensure!(output.ok, "{}", output.err.trim());
        let regions: Vec<serde_json::Value> = serde_json::from_str(&output.out)?;
        let voters = |region: &serde_json::Value| {
            let peers = region["peers"].as_array().into_iter().flatten();
            peers.filter(|peer| peer["role"] == "voter").filter_map(|peer| peer["store"].as_u64()).collect()
        };
        Ok(regions.iter().map(|region| Region { voters: voters(region) }).collect())
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

    /// Copies the logs of all processes into a folder.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn keep_logs(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder)?;
        for process in &self.all {
            std::fs::copy(&process.log, folder.join(format!("{}.log", process.name)))?;
        }
        Ok(())
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
                    crate::say(&format!("{} cannot be ended: {error}\n", process.name));
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
