//! The one `basalt` binary: SQL server, storage node, PD and control tool.
//!
//! ```text
//! basalt up        everything in one process, calling each other directly        → up.rs
//! basalt cluster   a local cluster of real processes that talk gRPC              → cluster/
//! basalt pd|storage|sql   one role, for real machines                            → role/
//! basalt ctl       asks a running cluster, through a SQL server's status port    → ctl.rs
//! ```
//! Here is no logic of the database: the roles are put together from their crates, given folders, ports and signals.

mod admin;
mod cli;
mod cluster;
mod config;
mod ctl;
mod local;
mod logging;
mod memory;
mod role;
mod shutdown;
mod status;
mod up;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    let cli = cli::Cli::parse();
    match run(cli) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        // `basalt cluster status | head`: who reads has read enough.
        Err(error) if is_broken_pipe(&error) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            // One clear line: the chain of causes, most general first.
            eprintln!("basalt: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn run(cli: cli::Cli) -> anyhow::Result<()> {
    match cli.command {
        cli::Command::Up(args) => up::run(args),
        cli::Command::Cluster(args) => cluster::run(args),
        cli::Command::Pd(args) => role::pd::run(args),
        cli::Command::Storage(args) => role::storage::run(args),
        cli::Command::Sql(args) => role::sql::run(args),
        cli::Command::Ctl(args) => ctl::run(args),
    }
}
