//! `basalt cluster` as a test runs it.

use crate::cmd::{self, Output};
use serde::Deserialize;

/// A local cluster with a folder and ports of its own; taken down when dropped.
pub struct Cluster {
    /// sql-1's port.
    pub port: u16,
    /// SQL servers.
    pub sql: u32,
    storage: u32,
    folder: tempfile::TempDir,
}

/// A row of `basalt cluster status --json`.
#[derive(Debug, Clone, Deserialize)]
pub struct ProcessStatus {
    /// pd-1, storage-2, sql-1, …
    pub name: String,
    /// pd, storage, sql.
    pub role: String,
    /// Process id, when it was started.
    pub pid: Option<u32>,
    /// Where it serves.
    pub address: String,
    /// Where its status page is.
    pub status: String,
    /// running, dead, stopped.
    pub state: String,
}

impl Cluster {
    /// Starts one PD, `storage` stores and `sql` SQL servers, with a settings file if `toml` is not empty.
    pub fn start(storage: u32, sql: u32, toml: &str) -> Cluster {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let cluster = Cluster { port: crate::free_port_base(), sql, storage, folder };
        let config = cluster.folder.path().join("basalt.toml");
        std::fs::write(&config, toml).expect("the folder is writable");
        cluster.up_again();
        cluster
    }

    /// Starts what does not run.
    #[track_caller]
    pub fn up_again(&self) {
        let (storage, sql, port) = (self.storage.to_string(), self.sql.to_string(), self.port.to_string());
        let config = self.folder.path().join("basalt.toml").display().to_string();
        self.run(&["up", "--storage", &storage, "--sql", &sql, "--port-base", &port, "--config", &config]).expect_ok();
    }

    /// Runs `basalt cluster VERB …` on this cluster.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let dir = self.dir();
        cmd::basalt(&[&["cluster"], arguments, &["--dir", &dir]].concat())
    }

    /// Its folder.
    pub fn dir(&self) -> String {
        self.folder.path().join("cluster").display().to_string()
    }

    /// Its processes.
    pub fn status(&self) -> Vec<ProcessStatus> {
        serde_json::from_str(&self.run(&["status", "--json"]).expect_ok()).expect("status is JSON")
    }

    /// Ports of the SQL servers.
    pub fn sql_ports(&self) -> Vec<u16> {
        (0..self.sql as u16).map(|n| self.port + n).collect()
    }

    /// Statements through the `mysql` client on sql-1.
    pub fn mysql(&self, statements: &str) -> Output {
        cmd::mysql(self.port, &[], statements)
    }

    /// The log of one process.
    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join("cluster").join(name).join("log")).unwrap_or_default()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for process in self.status() {
            if std::thread::panicking() {
                let log = self.log(&process.name);
                let tail = log.lines().rev().take(40).collect::<Vec<_>>();
                eprintln!("--- log of {}", process.name);
                tail.iter().rev().for_each(|line| eprintln!("{line}"));
            }
            if process.state == "running" {
                self.run(&["kill", &process.name]);
            }
        }
    }
}
