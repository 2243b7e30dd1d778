//! `basalt up` as a test runs it.

use crate::cmd::{self, Output};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running `basalt up` with a folder and ports of its own; killed when dropped.
pub struct Up {
    /// Port of the MySQL protocol.
    pub port: u16,
    /// Port of status and metrics.
    pub status_port: u16,
    /// Its data folder.
    pub data: PathBuf,
    arguments: Vec<String>,
    child: Option<Child>,
    folder: tempfile::TempDir,
}

impl Up {
    /// Starts it on an empty folder with extra arguments and waits for `ready:`.
    pub fn start(arguments: &[&str]) -> Up {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut up = Up {
            port: crate::free_port(),
            status_port: crate::free_port(),
            data: folder.path().join("data"),
            arguments: arguments.iter().map(|a| a.to_string()).collect(),
            child: None,
            folder,
        };
        up.spawn();
        up
    }

    /// Starts it with a settings file.
    pub fn start_with_config(arguments: &[&str], toml: &str) -> Up {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let config = folder.path().join("basalt.toml");
        std::fs::write(&config, toml).expect("the folder is writable");
        let mut all = arguments.iter().map(|a| a.to_string()).collect::<Vec<_>>();
        all.extend(["--config".to_string(), config.display().to_string()]);
        let mut up = Up {
            port: crate::free_port(),
            status_port: crate::free_port(),
            data: folder.path().join("data"),
            arguments: all,
            child: None,
            folder,
        };
        up.spawn();
        up
    }

    /// Starts it with its data in a certain folder, and a settings file.
    pub fn start_at(data: PathBuf, toml: &str) -> Up {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let config = folder.path().join("basalt.toml");
        std::fs::write(&config, toml).expect("the folder is writable");
        let arguments = vec!["--config".to_string(), config.display().to_string()];
        let (port, status_port) = (crate::free_port(), crate::free_port());
        let mut up = Up { port, status_port, data, arguments, child: None, folder };
        up.spawn();
        up
    }

    /// Starts it again on the same folder and ports.
    pub fn spawn(&mut self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .expect("the log can be opened");
        let mut child = cmd::clean(&mut Command::new(cmd::binary()))
            .arg("up")
            .arg("--data")
            .arg(&self.data)
            .args([
                "--listen",
                &format!("127.0.0.1:{}", self.port),
                "--status",
                &format!("127.0.0.1:{}", self.status_port),
            ])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        self.child = Some(child);
        let ready = BufReader::new(stdout).lines().map_while(Result::ok).any(|line| line.starts_with("ready:"));
        assert!(ready, "basalt up ended before it was ready:\n{}", self.log());
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// SIGKILL.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("the process can be killed");
            child.wait().expect("a killed process ends");
        }
    }

    /// SIGTERM; returns when it has ended, and whether it ended with 0.
    pub fn stop(&mut self) -> bool {
        let Some(mut child) = self.child.take() else { return true };
        let pid = rustix::process::Pid::from_raw(child.id() as i32).expect("a child has a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("the process can be signaled");
        for _ in 0..300 {
            if let Some(status) = child.try_wait().expect("a child can be waited for") {
                return status.success();
            }
            pause(Duration::from_millis(100));
        }
        child.kill().expect("the process can be killed");
        child.wait().expect("a killed process ends");
        false
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Statements through the `mysql` client.
    pub fn mysql(&self, statements: &str) -> Output {
        cmd::mysql(self.port, &[], statements)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of basalt up\n{}", self.log());
        }
        self.kill9();
    }
}

/// Waits without burning a core.
#[expect(clippy::disallowed_methods, reason = "waits for another process; there is no simulated side")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}
