//! What the system tests share: real processes of the real binary, real clients, ports and folders of their own.
//!
//! Every process started here is ended here, also when a test fails: [`Up`] and [`Cluster`] kill what they started when
//! they are dropped. Tests that start servers take [`alone`] first, so that two clusters never share two cores.

pub mod ballast;
pub mod cell;
pub mod client;
pub mod cluster;
pub mod cmd;
pub mod history;
pub mod known;
pub mod lift;
pub mod loop_disk;
pub mod network;
pub mod processes;
pub mod small_disk;
pub mod statement;
pub mod up;
pub mod ways;

pub use client::Client;
pub use cluster::Cluster;
pub use cmd::{Output, basalt, mysql, sysbench};
pub use up::Up;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often [`until`] asks.
const POLL: Duration = Duration::from_millis(50);

/// One system test at a time.
pub fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ports below those that the kernel gives to outgoing connections (32768 and above, `ip_local_port_range`): a server that is
/// stopped and started again would find its port taken by somebody's client now and then.
const SINGLE_PORTS: std::ops::Range<u16> = 4_100..9_900;
const BASE_PORTS: std::ops::Range<u16> = 10_000..28_000;

/// A TCP port of loopback that nobody listens on.
pub fn free_port() -> u16 {
    (0..200).map(|_| drawn_from(&SINGLE_PORTS)).find(|port| is_free(*port)).expect("one of 200 ports is free")
}

/// A port base whose neighborhood (`basalt cluster`'s layout, a few processes a role) is free.
pub fn free_port_base() -> u16 {
    let is_free_base = |base: &u16| {
        let offsets = [0u16, 1000, 2000, 2500, 3000, 3500];
        offsets.iter().flat_map(|offset| (0..4).map(move |n| base + offset + n)).all(is_free)
    };
    (0..200).map(|_| drawn_from(&BASE_PORTS)).find(is_free_base).expect("one of 200 ranges of ports is free")
}

/// Another number each time, in this process and beside it: the kernel draws it.
fn drawn_from(range: &std::ops::Range<u16>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let drawn = listener.local_addr().expect("a bound socket has an address").port();
    range.start + drawn % (range.end - range.start)
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

/// How long a server may take to greet a client. One that is killed in the middle of TCP's handshake leaves the client with a
/// connection that nobody will ever write to.
const GREETING_TIME: Duration = Duration::from_secs(30);

/// A connection to a server, by mysql_async.
pub async fn connect(port: u16, db: Option<&str>) -> anyhow::Result<mysql_async::Conn> {
    let options = mysql_async::OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(port)
        .user(Some("root"))
        .db_name(db)
        .prefer_socket(false);
    Ok(tokio::time::timeout(GREETING_TIME, mysql_async::Conn::new(options)).await??)
}

/// How long something takes.
#[expect(clippy::disallowed_methods, reason = "measures real time over real processes")]
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}

/// Asks again and again until the answer is yes.
#[track_caller]
pub fn until(what: &str, patience: Duration, mut ask: impl FnMut() -> bool) {
    for _ in 0..patience.as_millis() / POLL.as_millis() {
        if ask() {
            return;
        }
        up::pause(POLL);
    }
    panic!("after {patience:?} still not: {what}");
}

/// The files below a folder whose names end in `.extension`, in order.
pub fn files_below(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder of the repository can be read").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                out.push(path);
            }
        }
    }
    out.sort();
    out
}

/// Tells of progress what the test harness does not swallow: some runs take minutes.
pub fn say(text: &str) {
    use std::io::Write;
    // Nobody may be reading.
    let _ = write!(std::io::stderr(), "{text}");
}

/// A runtime for a test's own clients.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime can be built")
}
