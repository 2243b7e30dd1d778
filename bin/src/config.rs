//! Settings of a process: defaults, then the TOML file, then flags and environment.
//!
//! ```toml
//! data = "./basalt-data"
//! listen = "127.0.0.1:4000"
//! status = "127.0.0.1:10080"
//! pd = "127.0.0.1:6000"
//! stores = 1
//! log = "info"
//! advertise = "10.0.0.7:7000"        # storage: the address that others use, when it is not `listen`
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

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::path::{Path, PathBuf};

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
    pub storage: StorageSection,
    pub sql: SqlSection,
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
        toml::from_str(&text)
            .map_err(|e| anyhow::anyhow!("{}: {}", path.display(), e.to_string().trim().replace('\n', " ")))
    }
}

/// A number of bytes, written `65536`, `64KiB`, `96MiB`, `1GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize(pub u64);

impl std::str::FromStr for ByteSize {
    type Err = anyhow::Error;
    fn from_str(text: &str) -> Result<Self> {
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let number: u64 = digits.parse().with_context(|| format!("{text:?} is not a size such as 64KiB"))?;
        let unit = match text[digits.len()..].trim() {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            other => bail!("{other:?} is not a unit: use KiB, MiB or GiB"),
        };
        number.checked_mul(unit).map(ByteSize).with_context(|| format!("{text} is too large"))
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Raw {
            Number(u64),
            Text(String),
        }
        match Raw::deserialize(deserializer)? {
            Raw::Number(n) => Ok(ByteSize(n)),
            Raw::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!("64KiB".parse::<ByteSize>().unwrap(), ByteSize(65_536));
        assert_eq!("7".parse::<ByteSize>().unwrap(), ByteSize(7));
        assert!("64kb".parse::<ByteSize>().is_err() && "x".parse::<ByteSize>().is_err());
    }

    #[test]
    fn unknown_keys_are_errors() {
        let error = toml::from_str::<File>("[storage]\nregion_spilt_size = 1").unwrap_err().to_string();
        assert!(error.contains("region_spilt_size"), "{error}");
        let file: File = toml::from_str("stores = 3\n[storage]\nregion_split_size = \"64KiB\"").unwrap();
        assert_eq!((file.stores, file.storage.region_split_size), (Some(3), Some(ByteSize(65_536))));
    }
}
