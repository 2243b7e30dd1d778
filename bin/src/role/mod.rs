//! One role each, put together from its crate: a folder, ports, and what to do at the end. `up` uses the same parts.

pub mod accounts;
pub mod disk;
pub mod network;
pub mod pd;
pub mod rebuild;
mod spill;
pub mod sql;
mod stamp;
pub mod storage;

pub use stamp::Kind;

use anyhow::{Context, Result};
use std::path::Path;
use tokio::runtime::Runtime;

/// Stack of a thread that runs statements. Only what is used is taken; the deepest plan that the binder lets through, a
/// thousand joins one below the other, takes half of it in DataFusion's rules.
const STACK_BYTES: usize = 64 << 20;

/// What of it one recursion may use; what calls it, and what it calls, has the rest.
const RECURSION_BYTES: usize = 24 << 20;

/// Polls between two looks at the network: a large query's poll takes milliseconds, and while all threads run such, small
/// ones wait for so many of them.
const EVENT_INTERVAL: u32 = 7;

/// The runtime of a server process.
pub fn runtime() -> Result<Runtime> {
    raise_file_limit();
    basalt_common::stack::allow(RECURSION_BYTES);
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(STACK_BYTES)
        .event_interval(EVENT_INTERVAL)
        .build()
        .context("cannot start threads")
}

/// A connection is a file, and so is each table of RocksDB: takes all that the system allows rather than the 1,024 of a
/// login shell. Where even that fails, the limit stays and is met as an error of whoever opens the next file.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// Makes a data folder, for the owner only, or opens one that this version can read.
pub fn data_folder(path: &Path, kind: Kind) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot create the data folder {}", path.display()))?;
    // Found out now, and said in one line, rather than by whichever file is written first.
    let probe = path.join(".writable");
    std::fs::write(&probe, b"")
        .and_then(|()| std::fs::remove_file(&probe))
        .with_context(|| format!("cannot write in {}", path.display()))?;
    disk::check_start(path)?;
    stamp::check(path, kind)
}

/// Says on standard output that the process is ready; `cluster up` and tests wait for this line.
pub fn say_ready(line: &str) {
    say(&format!("ready: {line}"));
}

/// Prints for whoever started the process. Nobody has to read it: a closed pipe is no reason to stop serving.
pub fn say(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_all(format!("{text}\n").as_bytes()).and_then(|()| out.flush()) {
        tracing::debug!(%error, "nobody reads standard output");
    }
}
