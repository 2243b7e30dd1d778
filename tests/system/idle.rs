//! What an idle server and idle connections cost.

use basalt_tests::up::pause;
use basalt_tests::{Up, alone, runtime};
use futures::future::try_join_all;
use mysql_async::prelude::Queryable;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::time::Duration;

const CONNECTIONS: usize = 1000;
/// What a shell allows by default.
const SHELL_FILES: u64 = 1024;
/// Of one idle connection.
const KIB_MAX: f64 = 50.0;
/// Of `basalt up` that was just started.
const IDLE_MIB_MAX: f64 = 150.0;

/// Resident memory of a process, KiB.
fn resident_kib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells VmRSS");
    line.trim().trim_end_matches(" kB").parse().expect("a number of KiB")
}

/// Memory once the process has given back what it needed for a moment.
fn settled_kib(pid: u32) -> f64 {
    pause(Duration::from_secs(2));
    resident_kib(pid)
}

/// Sets how many files this process may have open, and those it starts from now on: its own end of every connection is one.
fn limit_files(soft: impl Fn(Option<u64>) -> Option<u64>) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: soft(maximum), maximum })
        .expect("the soft limit may be up to the hard one");
}

#[test]
fn a_thousand_idle_connections_are_cheap() {
    let _alone = alone();
    limit_files(|hard| hard);
    let up = Up::start(&[]);
    up.mysql(
        "create database d; create table d.t (id int primary key, v varchar(20)); insert into d.t values (1, 'x')",
    )
    .expect_ok();
    let empty = settled_kib(up.pid());
    assert!(empty < IDLE_MIB_MAX * 1024.0, "an idle server takes {:.0} MiB", empty / 1024.0);

    runtime().block_on(async {
        let mut conns = Vec::new();
        for _ in 0..CONNECTIONS / 50 {
            conns.extend(try_join_all((0..50).map(|_| basalt_tests::connect(up.port, Some("d")))).await.unwrap());
        }
        // Each has worked: a text query, a prepared statement.
        for conn in &mut conns {
            let text: Option<String> = conn.query_first("select v from t where id = 1").await.unwrap();
            let prepared: Option<String> = conn.exec_first("select v from t where id = ?", (1,)).await.unwrap();
            assert_eq!((text.as_deref(), prepared.as_deref()), (Some("x"), Some("x")));
        }
        let full = tokio::task::block_in_place(|| settled_kib(up.pid()));
        let each = (full - empty) / CONNECTIONS as f64;
        eprintln!(
            "idle server: {:.1} MiB; with {CONNECTIONS} connections: {:.1} MiB, {each:.1} KiB each",
            empty / 1024.0,
            full / 1024.0
        );
        assert!(each < KIB_MAX, "an idle connection takes {each:.1} KiB");
        for conn in &mut conns {
            let text: Option<String> = conn.query_first("select v from t where id = 1").await.unwrap();
            assert_eq!(text.as_deref(), Some("x"));
        }
        let count: Option<u64> =
            conns[0].query_first("select count(*) from information_schema.processlist").await.unwrap();
        assert_eq!(count, Some(CONNECTIONS as u64));
    });
}

/// Connections are files: a server does not stop at the 1,024 that a shell allows by default.
#[test]
fn the_limit_of_open_files_is_raised() {
    let _alone = alone();
    limit_files(|hard| hard.map(|h| h.min(SHELL_FILES)).or(Some(SHELL_FILES)));
    let up = Up::start(&[]);
    limit_files(|hard| hard);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", up.pid())).expect("the process lives");
    let line = limits.lines().find_map(|l| l.strip_prefix("Max open files")).expect("Linux tells the limit");
    let numbers: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(numbers[0], numbers[1], "the soft limit is the hard limit");
}
