//! One process of a local cluster: started, watched, stopped, killed.

use super::layout::Role;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How often a state is looked at while waiting for it.
const POLL: Duration = Duration::from_millis(20);

/// Looks in a row at which a process that was started must be missing to count as ended.
const GONE_LOOKS: u32 = 10;

/// A process by its place in the layout.
#[derive(Debug, Clone)]
pub struct Process {
    pub name: String,
    pub role: Role,
    pub folder: PathBuf,
    pub listen: String,
    pub status: String,
    pub pd: String,
    pub config: Option<PathBuf>,
}

/// Whether it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Running,
    /// It ended without being asked: the pid file is still there.
    Dead,
    Stopped,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Dead => "dead",
            State::Stopped => "stopped",
        }
    }
}

impl Process {
    /// Starts it in a session of its own; its output is appended to `log`.
    pub fn spawn(&self, flags: &[&str]) -> Result<()> {
        fs::create_dir_all(&self.folder).with_context(|| format!("cannot create {}", self.folder.display()))?;
        let log = File::options().create(true).append(true).open(self.log()).context("cannot open the log")?;
        fs::write(self.folder.join("log.start"), log.metadata()?.len().to_string())?;
        let mut command = Command::new(std::env::current_exe().context("where am I?")?);
        command.arg(self.role.name()).args(["--listen", &self.listen, "--status", &self.status]);
        match self.role {
            Role::Pd => command.arg("--data").arg(self.folder.join("data")),
            Role::Storage => command.arg("--data").arg(self.folder.join("data")).args(["--pd", &self.pd]),
            Role::Sql => command.args(["--pd", &self.pd]),
        };
        command.args(flags);
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        for name in ["BASALT_DATA", "BASALT_LISTEN", "BASALT_STATUS", "BASALT_PD", "BASALT_CONFIG", "BASALT_LOG_FILE"] {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.process_group(0);
        let child = command.spawn().with_context(|| format!("cannot start {}", self.name))?;
        fs::write(self.pid_file(), child.id().to_string()).context("cannot write the pid file")
    }

    /// Returns when it has printed `ready:`.
    ///
    /// # Errors
    /// With the log's last line when it ended or did not become ready in time.
    pub fn wait_ready(&self, timeout: Duration) -> Result<()> {
        let start: u64 = fs::read_to_string(self.folder.join("log.start"))?.trim().parse()?;
        let mut gone = 0;
        for _ in 0..timeout.as_millis() / POLL.as_millis() {
            let mut text = Vec::new();
            let mut log = File::open(self.log())?;
            log.seek(SeekFrom::Start(start))?;
            log.read_to_end(&mut text)?;
            let text = String::from_utf8_lossy(&text);
            if text.lines().any(|line| line.starts_with("ready:")) {
                return Ok(());
            }
            // A process that has just been made may not show its command line yet.
            gone = if self.state()? == State::Running { 0 } else { gone + 1 };
            if gone > GONE_LOOKS {
                let last = text
                    .lines()
                    .rfind(|l| l.starts_with("basalt:"))
                    .or(text.lines().last())
                    .unwrap_or("no output")
                    .to_string();
                let _ = fs::remove_file(self.pid_file());
                bail!("{} did not start: {last} (log: {})", self.name, self.log().display());
            }
            pause();
        }
        bail!("{} is not ready after {} s; see {}", self.name, timeout.as_secs(), self.log().display())
    }

    /// The pid, if it was started and not stopped.
    pub fn pid(&self) -> Result<Option<u32>> {
        match fs::read_to_string(self.pid_file()) {
            Ok(text) => {
                Ok(Some(text.trim().parse().with_context(|| format!("{} is damaged", self.pid_file().display()))?))
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Whether it runs, by its pid file and the command line of that pid.
    pub fn state(&self) -> Result<State> {
        let Some(pid) = self.pid()? else { return Ok(State::Stopped) };
        Ok(if self.is_ours(pid) { State::Running } else { State::Dead })
    }

    /// Asks it to stop.
    pub fn ask_to_stop(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Waits until it has stopped; kills it after `timeout`.
    pub fn wait_stopped(&self, timeout: Duration) -> Result<()> {
        for _ in 0..timeout.as_millis() / POLL.as_millis() {
            if self.state()? != State::Running {
                let _ = fs::remove_file(self.pid_file());
                return Ok(());
            }
            pause();
        }
        self.kill()
    }

    /// SIGKILL, and waits until it is gone. The pid file stays: it did not stop, it died.
    pub fn kill(&self) -> Result<()> {
        if self.state()? != State::Running {
            bail!("{} is not running", self.name);
        }
        self.signal(Signal::KILL)?;
        while self.state()? == State::Running {
            pause();
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let Some(pid) = self.pid()?.filter(|&pid| self.is_ours(pid)) else { return Ok(()) };
        let pid = Pid::from_raw(pid as i32).context("pid 0")?;
        kill_process(pid, signal).with_context(|| format!("cannot signal {}", self.name))
    }

    fn is_ours(&self, pid: u32) -> bool {
        let zombie = fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')));
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let arguments: Vec<&[u8]> = command.split(|&b| b == 0).collect();
        !zombie && arguments.get(1) == Some(&self.role.name().as_bytes()) && arguments.contains(&self.listen.as_bytes())
    }

    fn pid_file(&self) -> PathBuf {
        self.folder.join("pid")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }
}

/// Whether an address can be listened on, tried a few times.
///
/// # Errors
/// What the last try returned.
pub fn bound_within(tries: u32, address: &str) -> std::io::Result<()> {
    for _ in 1..tries {
        if std::net::TcpListener::bind(address).is_ok() {
            return Ok(());
        }
        pause();
    }
    std::net::TcpListener::bind(address).map(drop)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the command line tool waits for other processes; there is no simulated side"
)]
fn pause() {
    std::thread::sleep(POLL);
}
