//! Settings of a process: defaults, then the TOML file, then flags and environment.
//!
//! ```toml
//! data = "./basalt-data"
//! listen = "127.0.0.1:4000"
//! status = "127.0.0.1:10080"
//! pd = "127.0.0.1:6000"
//! stores = 1
//! log = "info"
//! log_file = "/var/log/basalt.log"   # appended to; standard error when not said
//! init_file = "accounts.sql"         # run as root at each start, before clients are let in
//! trusted_network = false            # pd, storage: serve other machines, without password and encryption
//! memory_limit = "12GiB"             # of the process; over it the largest statement is ended; default 80 % of the machine
//! advertise = "10.0.0.7:7000"        # storage: the address that others use, when it is not `listen`
//!
//! [schedule]                        # pd
//! store_down_after = "20s"          # a store not heard of for so long gets no new replicas and leaders
//! store_replace_after = "10min"     # and for so long has its replicas replaced, where another store can take them
//!
//! [gc]                              # pd
//! life_time = "10min"               # old versions are kept for so long, and for as long as somebody reads them
//! longest_snapshot = "24h"          # but nobody's reading keeps them for longer than this
//!
//! [storage]
//! region_split_size = "96MiB"
//! region_max_size = "144MiB"
//! block_cache = "512MiB"
//! disk_reserve = "256MiB"           # with less room on the disk, writes are refused
//!
//! [sql]
//! tls_cert = "server.pem"
//! tls_key = "server.key"
//! max_connections = 2000
//! ```
//! Unknown keys are errors: a misspelled setting must not be a setting that is silently ignored.

use anyhow::{Context, Result, ensure};
use basalt_pd::PdConfig;
use bytesize::ByteSize;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What holds where nothing is said.
pub mod defaults {
    pub const UP_DATA: &str = "./basalt-data";
    pub const SQL_LISTEN: &str = "127.0.0.1:4000";
    pub const SQL_STATUS: &str = "127.0.0.1:10080";
    pub const PD_DATA: &str = "./basalt-pd";
    pub const PD_LISTEN: &str = "127.0.0.1:6000";
    pub const PD_STATUS: &str = "127.0.0.1:6500";
    pub const STORAGE_DATA: &str = "./basalt-storage";
    pub const STORAGE_LISTEN: &str = "127.0.0.1:7000";
    pub const STORAGE_STATUS: &str = "127.0.0.1:7500";
}

/// Stores are heard of every three seconds: one that is well must not pass for down between two heartbeats.
const STORE_DOWN_AFTER_MIN: Duration = Duration::from_secs(7);

/// SQL servers tell what they read several times within it.
const GC_LIFE_MIN: Duration = Duration::from_secs(10);

/// What a TOML file may hold.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    pub data: Option<PathBuf>,
    pub listen: Option<String>,
    pub advertise: Option<String>,
    pub status: Option<String>,
    pub pd: Option<String>,
    pub stores: Option<u32>,
    pub log: Option<String>,
    pub log_file: Option<PathBuf>,
    pub init_file: Option<PathBuf>,
    pub trusted_network: bool,
    pub memory_limit: Option<ByteSize>,
    pub schedule: ScheduleSection,
    pub gc: GcSection,
    pub storage: StorageSection,
    pub sql: SqlSection,
}

/// `[schedule]`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleSection {
    pub store_down_after: Option<Span>,
    pub store_replace_after: Option<Span>,
}

/// `[gc]`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GcSection {
    pub life_time: Option<Span>,
    pub longest_snapshot: Option<Span>,
}

impl File {
    /// PD's settings, with its own where nothing is said.
    ///
    /// # Errors
    /// When a store would be lost before it is down or passes for down while it is well, or when versions would be gone before
    /// those who read them can say so.
    pub fn pd_config(&self) -> Result<PdConfig> {
        let mut config = PdConfig::default();
        let set = |to: &mut Duration, from: Option<Span>| from.into_iter().for_each(|span| *to = span.0);
        set(&mut config.store_down_after, self.schedule.store_down_after);
        set(&mut config.store_replace_after, self.schedule.store_replace_after);
        set(&mut config.gc_life, self.gc.life_time);
        set(&mut config.gc_limit, self.gc.longest_snapshot);
        let (life, limit) = (config.gc_life, config.gc_limit);
        ensure!(
            life >= GC_LIFE_MIN && limit >= life,
            "[gc] life_time ({life:?}) is at least {GC_LIFE_MIN:?}, and longest_snapshot ({limit:?}) no shorter"
        );
        let (down, replace) = (config.store_down_after, config.store_replace_after);
        ensure!(
            down >= STORE_DOWN_AFTER_MIN && replace >= down,
            "[schedule] store_down_after ({down:?}) is at least {STORE_DOWN_AFTER_MIN:?}, and store_replace_after ({replace:?}) no shorter"
        );
        Ok(config)
    }
}

/// A length of time with its unit, as `90s` or `10min`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map(Span).map_err(|e| serde::de::Error::custom(format!("`{text}`: {e}")))
    }
}

/// `[storage]`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StorageSection {
    pub region_split_size: Option<ByteSize>,
    pub region_max_size: Option<ByteSize>,
    pub block_cache: Option<ByteSize>,
    pub disk_reserve: Option<ByteSize>,
}

/// `[sql]`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SqlSection {
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    pub max_connections: Option<u32>,
}

impl File {
    /// Reads the file; everything default when there is none.
    pub fn load(path: Option<&Path>) -> Result<File> {
        let Some(path) = path else { return Ok(File::default()) };
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).map_err(|error| {
            // What is wrong first; then the parser's lines, whose caret shows where.
            let (shown, what) = (error.to_string(), error.message());
            let place = shown.trim_end().strip_suffix(what).unwrap_or(&shown).trim_end();
            anyhow::anyhow!("{}: {what}\n{place}", path.display())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        let size = |text: &str| {
            toml::from_str::<File>(&format!("[storage]\nblock_cache = {text}")).map(|f| f.storage.block_cache)
        };
        assert_eq!(size("\"64KiB\"").unwrap(), Some(ByteSize(65_536)));
        assert_eq!(size("\"1GB\"").unwrap(), Some(ByteSize(1_000_000_000)));
        assert_eq!(size("7").unwrap(), Some(ByteSize(7)));
        assert!(size("\"64 elephants\"").is_err() && size("\"x\"").is_err() && size("-1").is_err());
    }

    #[test]
    fn times_have_units_and_their_order() {
        let config = |text: &str| toml::from_str::<File>(&format!("[schedule]\n{text}")).map(|f| f.pd_config());
        let set = config("store_down_after = \"8s\"\nstore_replace_after = \"10min\"").unwrap().unwrap();
        assert_eq!((set.store_down_after, set.store_replace_after), (Duration::from_secs(8), Duration::from_secs(600)));
        assert!(config("store_down_after = \"2\"").is_err() && config("store_down_after = 2").is_err());
        let error = config("store_replace_after = \"5s\"").unwrap().unwrap_err().to_string();
        assert!(error.contains("store_replace_after (5s)"), "{error}");
        assert!(config("store_down_after = \"2s\"").unwrap().is_err());
        let gc = |text: &str| toml::from_str::<File>(&format!("[gc]\n{text}")).unwrap().pd_config();
        assert_eq!(gc("life_time = \"30s\"").unwrap().gc_life, Duration::from_secs(30));
        assert!(gc("life_time = \"1s\"").is_err() && gc("longest_snapshot = \"1min\"").is_err());
    }

    #[test]
    fn unknown_keys_are_errors() {
        let error = toml::from_str::<File>("[storage]\nregion_spilt_size = 1").unwrap_err().to_string();
        assert!(error.contains("region_spilt_size"), "{error}");
        let file: File = toml::from_str("stores = 3\n[storage]\nregion_split_size = \"64KiB\"").unwrap();
        assert_eq!((file.stores, file.storage.region_split_size), (Some(3), Some(ByteSize(65_536))));
    }
}
