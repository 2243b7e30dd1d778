//! Flags and their environment variables. A flag beats the environment, which beats the TOML file, which beats defaults.
//!
//! Defaults that a file may change are not clap's, which could not be told from what somebody typed: help texts name them,
//! and a test compares those with [`crate::config::defaults`].

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// A distributed SQL database that speaks the MySQL protocol.
#[derive(Parser)]
#[command(name = "basalt", version = env!("BASALT_VERSION"), propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Run everything in one process: SQL server, storage and PD
    Up(Up),
    /// Run and steer a local cluster of real processes
    Cluster(Cluster),
    /// Run a placement driver
    Pd(Pd),
    /// Run a storage node
    Storage(Storage),
    /// Run a SQL server
    Sql(Sql),
    /// Look into and steer a running cluster
    Ctl(Ctl),
}

/// Where settings beyond the flags come from.
#[derive(Args, Clone)]
pub struct Common {
    /// TOML file with settings; unknown keys are errors
    #[arg(long, env = "BASALT_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to log: error, warn, info, debug, trace, or a filter such as `info,basalt_storage=debug` [default: info]
    #[arg(long, env = "BASALT_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// File to append the log to [default: standard error]
    #[arg(long, env = "BASALT_LOG_FILE", value_name = "FILE")]
    pub log_file: Option<PathBuf>,
}

/// How accounts are made or mended before anybody can log in.
#[derive(Args, Clone, Default)]
pub struct Accounts {
    /// Run the statements of this file as root at each start, before clients are let in
    #[arg(long, env = "BASALT_INIT_FILE", value_name = "FILE")]
    pub init_file: Option<PathBuf>,
}

#[derive(Args)]
pub struct Up {
    /// Folder for everything that must survive [default: ./basalt-data]
    #[arg(long, env = "BASALT_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address for MySQL clients [default: 127.0.0.1:4000]
    #[arg(long, env = "BASALT_LISTEN", value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Address for metrics, status and `basalt ctl`, loopback only [default: 127.0.0.1:10080]
    #[arg(long, env = "BASALT_STATUS", value_name = "HOST:PORT")]
    pub status: Option<String>,
    /// Stores in this process; with 3, every region has three replicas [default: 1]
    #[arg(long, env = "BASALT_STORES", value_name = "N")]
    pub stores: Option<u32>,
    #[command(flatten)]
    pub accounts: Accounts,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Args)]
pub struct Pd {
    /// Folder for PD's records [default: ./basalt-pd]
    #[arg(long, env = "BASALT_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address for the other processes (gRPC) [default: 127.0.0.1:6000]
    #[arg(long, env = "BASALT_LISTEN", value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Address for metrics and status, loopback only [default: 127.0.0.1:6500]
    #[arg(long, env = "BASALT_STATUS", value_name = "HOST:PORT")]
    pub status: Option<String>,
    /// Serve other processes beyond loopback, although gRPC has no password and no encryption: the network is trusted
    #[arg(long, env = "BASALT_TRUSTED_NETWORK")]
    pub trusted_network: bool,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Args)]
pub struct Storage {
    /// Folder for regions and raft log [default: ./basalt-storage]
    #[arg(long, env = "BASALT_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address for the other processes (gRPC) [default: 127.0.0.1:7000]
    #[arg(long, env = "BASALT_LISTEN", value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Address for metrics and status, loopback only [default: 127.0.0.1:7500]
    #[arg(long, env = "BASALT_STATUS", value_name = "HOST:PORT")]
    pub status: Option<String>,
    /// Address of PD; no default
    #[arg(long, env = "BASALT_PD", value_name = "HOST:PORT")]
    pub pd: Option<String>,
    /// Serve other processes beyond loopback, although gRPC has no password and no encryption: the network is trusted
    #[arg(long, env = "BASALT_TRUSTED_NETWORK")]
    pub trusted_network: bool,
    /// Begin anew after damage: PD gives up what this store held, the folder is moved aside, and the other stores fill the new one.
    /// Refused while a region has no majority without it
    #[arg(long)]
    pub rebuild: bool,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Args)]
pub struct Sql {
    /// Address for MySQL clients [default: 127.0.0.1:4000]
    #[arg(long, env = "BASALT_LISTEN", value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Address for metrics, status and `basalt ctl`, loopback only [default: 127.0.0.1:10080]
    #[arg(long, env = "BASALT_STATUS", value_name = "HOST:PORT")]
    pub status: Option<String>,
    /// Address of PD; no default
    #[arg(long, env = "BASALT_PD", value_name = "HOST:PORT")]
    pub pd: Option<String>,
    #[command(flatten)]
    pub accounts: Accounts,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Args)]
pub struct Cluster {
    /// Folder of the cluster; each process has DIR/NAME/{pid,log,data}
    #[arg(long, global = true, env = "BASALT_CLUSTER", default_value = "./basalt-cluster", value_name = "DIR")]
    pub dir: PathBuf,
    #[command(subcommand)]
    pub verb: ClusterVerb,
}

#[derive(Subcommand)]
pub enum ClusterVerb {
    /// Start every process and return when all are ready
    Up {
        /// Placement drivers; 1, or as many as the folder's cluster has
        #[arg(long)]
        pd: Option<u32>,
        /// Storage nodes; 3, or as many as the folder's cluster has
        #[arg(long)]
        storage: Option<u32>,
        /// SQL servers; 1, or as many as the folder's cluster has
        #[arg(long)]
        sql: Option<u32>,
        /// sql-N listens on port-base + N - 1, the other ports follow from it; 4000, or that of the folder's cluster
        #[arg(long)]
        port_base: Option<u16>,
        /// TOML file given to every process
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Stop every process; data stay
    Down,
    /// List the processes
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Stop one process gracefully
    Stop {
        /// pd-1, storage-2, sql-1, …
        name: String,
    },
    /// Kill one process (SIGKILL)
    Kill {
        /// pd-1, storage-2, sql-1, …
        name: String,
    },
    /// Start one process again
    Start {
        /// pd-1, storage-2, sql-1, …
        name: String,
        /// For a storage node whose data are damaged: begin anew, filled from the others
        #[arg(long)]
        rebuild: bool,
    },
}

#[derive(Args)]
pub struct Ctl {
    /// Status address of a SQL server (or of `basalt up`)
    #[arg(long, global = true, env = "BASALT_STATUS", default_value = "127.0.0.1:10080", value_name = "HOST:PORT")]
    pub status: String,
    /// Answers as JSON
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub verb: CtlVerb,
}

#[derive(Subcommand)]
pub enum CtlVerb {
    /// List the stores
    Stores,
    /// List the regions
    Regions,
    /// Show how far garbage collection is, and who holds it back
    Gc,
    /// Compare the replicas of every region
    CheckReplicas,
    /// Split the region that holds a key at that key
    Split {
        /// The key, in hexadecimal
        key: String,
    },
    /// Make a region's peer on a store its leader
    TransferLeader {
        /// The region's id
        region: u64,
        /// The store's id
        store: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::defaults;
    use clap::CommandFactory;

    #[test]
    fn help_names_the_defaults() {
        let help = |name: &str| {
            let mut cli = Cli::command();
            cli.find_subcommand_mut(name).expect("a subcommand").render_long_help().to_string()
        };
        for (name, shown) in [
            ("up", &[defaults::UP_DATA, defaults::SQL_LISTEN, defaults::SQL_STATUS, "[default: 1]"][..]),
            ("pd", &[defaults::PD_DATA, defaults::PD_LISTEN, defaults::PD_STATUS]),
            ("storage", &[defaults::STORAGE_DATA, defaults::STORAGE_LISTEN, defaults::STORAGE_STATUS]),
            ("sql", &[defaults::SQL_LISTEN, defaults::SQL_STATUS, "[default: info]"]),
        ] {
            let text = help(name);
            for value in shown {
                assert!(text.contains(value), "`basalt {name} --help` does not name {value}:\n{text}");
            }
        }
        Cli::command().debug_assert();
    }
}
