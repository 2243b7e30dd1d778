//! Which processes a local cluster has, and on which ports.

use super::process::Process;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Pd,
    Storage,
    Sql,
}

impl Role {
    /// Its subcommand, and the first part of its processes' names.
    pub fn name(self) -> &'static str {
        match self {
            Role::Pd => "pd",
            Role::Storage => "storage",
            Role::Sql => "sql",
        }
    }
}

/// `DIR/cluster.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    pub pd: u32,
    pub storage: u32,
    pub sql: u32,
    pub port_base: u16,
    pub config: Option<PathBuf>,
}

/// Processes of one role at most: their ports must not run into the next role's.
const COUNT_MAX: u32 = 100;

impl Layout {
    /// Refuses what cannot run.
    pub fn check(&self) -> Result<()> {
        if self.pd != 1 {
            bail!("--pd {}: one placement driver is what this version runs", self.pd);
        }
        if self.storage == 0 || self.sql == 0 || self.storage > COUNT_MAX || self.sql > COUNT_MAX {
            bail!("a cluster has 1 to {COUNT_MAX} storage nodes and 1 to {COUNT_MAX} SQL servers");
        }
        if u32::from(self.port_base) + 3500 + COUNT_MAX > u32::from(u16::MAX) || self.port_base == 0 {
            bail!("--port-base {} leaves no room for the ports above it", self.port_base);
        }
        Ok(())
    }

    /// Reads `DIR/cluster.json`; `None` when there is no cluster.
    pub fn load(dir: &Path) -> Result<Option<Layout>> {
        let path = dir.join("cluster.json");
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                Ok(Some(serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?))
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Writes `DIR/cluster.json`, whole or not at all.
    pub fn save(&self, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let temporary = dir.join("cluster.json.tmp");
        let mut absolute = self.clone();
        if let Some(config) = &self.config {
            absolute.config = Some(std::path::absolute(config)?);
        }
        std::fs::write(&temporary, serde_json::to_string_pretty(&absolute)?)
            .and_then(|()| std::fs::rename(&temporary, dir.join("cluster.json")))
            .with_context(|| format!("cannot write in {}", dir.display()))
    }

    /// True if both have the same processes on the same ports.
    pub fn same_shape(&self, other: &Layout) -> bool {
        (self.pd, self.storage, self.sql, self.port_base) == (other.pd, other.storage, other.sql, other.port_base)
    }

    /// For people.
    pub fn describe(&self) -> String {
        format!("{} pd, {} storage, {} sql from port {}", self.pd, self.storage, self.sql, self.port_base)
    }

    /// Every process, in the order in which they start.
    pub fn processes(&self, dir: &Path) -> Result<Vec<Process>> {
        let dir = std::path::absolute(dir)?;
        let pd = self.address(2000, 1);
        let mut all = Vec::new();
        for (role, count, port, status) in
            [(Role::Pd, self.pd, 2000, 2500), (Role::Storage, self.storage, 3000, 3500), (Role::Sql, self.sql, 0, 1000)]
        {
            for n in 1..=count {
                let name = format!("{}-{n}", role.name());
                all.push(Process {
                    folder: dir.join(&name),
                    name,
                    role,
                    listen: self.address(port, n),
                    status: self.address(status, n),
                    pd: pd.clone(),
                    config: self.config.clone(),
                });
            }
        }
        Ok(all)
    }

    fn address(&self, offset: u16, n: u32) -> String {
        format!("127.0.0.1:{}", u32::from(self.port_base) + u32::from(offset) + n - 1)
    }
}
