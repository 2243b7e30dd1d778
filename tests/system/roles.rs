//! The roles one by one, as on real machines: set by flags, by a file, by the environment; and what cannot run says why.

use basalt_tests::cmd::{self, Output};
use basalt_tests::up::pause;
use basalt_tests::{alone, free_port, mysql, until};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A server process of one role; killed when dropped.
struct Process(Child);

impl Process {
    /// Starts it and waits for `ready:`.
    #[track_caller]
    fn start(command: &mut Command) -> Process {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the binary starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        let process = Process(child);
        let ready = BufReader::new(stdout).lines().map_while(Result::ok).any(|line| line.starts_with("ready:"));
        assert!(ready, "the process ended before it was ready");
        process
    }

    /// SIGTERM; true when it ended with 0.
    fn stop(mut self) -> bool {
        let pid = Pid::from_raw(self.0.id() as i32).expect("a child has a pid");
        kill_process(pid, Signal::TERM).expect("the process can be signaled");
        for _ in 0..200 {
            if let Some(status) = self.0.try_wait().expect("a child can be waited for") {
                return status.success();
            }
            pause(Duration::from_millis(50));
        }
        false
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        self.0.wait().expect("a killed process ends");
    }
}

fn basalt() -> Command {
    let mut command = Command::new(cmd::binary());
    cmd::clean(&mut command);
    command
}

fn address() -> String {
    format!("127.0.0.1:{}", free_port())
}

/// The command must fail within a moment and say why in one line.
#[track_caller]
fn refused(arguments: &[&str], expected: &str) {
    let output = cmd::run(basalt().args(arguments));
    one_line(output, expected);
}

#[track_caller]
fn one_line(output: Output, expected: &str) {
    let error = output.expect_error();
    let lines = error.lines().filter(|l| l.starts_with("basalt:") || l.starts_with("error:")).collect::<Vec<_>>();
    assert!(lines.len() == 1 && lines[0].contains(expected), "expected one line with {expected:?}, got\n{error}");
    assert!(!error.contains("panicked"), "{error}");
}

#[test]
fn flags_file_and_environment() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (pd_at, store_at, sql_port) = (address(), address(), free_port());

    let pd = Process::start(basalt().args(["pd", "--data", &path("pd"), "--listen", &pd_at, "--status", &address()]));
    let file = path("storage.toml");
    let toml = format!(
        "data = {:?}\nlisten = {store_at:?}\nstatus = {:?}\npd = {pd_at:?}\nlog = \"warn\"\n[storage]\nblock_cache = \"64MiB\"\n",
        path("store"),
        address()
    );
    std::fs::write(&file, toml).unwrap();
    let store = Process::start(basalt().args(["storage", "--config", &file]));
    let sql = || {
        let mut command = basalt();
        command.arg("sql").env("BASALT_PD", &pd_at).env("BASALT_STATUS", address());
        command.env("BASALT_LISTEN", format!("127.0.0.1:{sql_port}"));
        command
    };
    let first = Process::start(&mut sql());
    mysql(sql_port, &[], "create table test.t (id int primary key); insert into test.t values (1)").expect_ok();
    assert!(mysql(sql_port, &["-N"], "show stores").expect_ok().contains(&store_at));
    assert!(
        Path::new(&path("pd")).is_dir() && Path::new(&path("store/db")).is_dir(),
        "data are where they were asked for"
    );

    // What is taken stays with whom it belongs to.
    let other = path("other");
    refused(&["pd", "--data", &path("pd"), "--listen", &address(), "--status", &address()], "in use");
    refused(&["pd", "--data", &other, "--listen", &pd_at, "--status", &address()], &pd_at);
    let storage = |data: &str, listen: &str| {
        ["storage", "--data", data, "--listen", listen, "--status", &address(), "--pd", &pd_at].map(String::from)
    };
    let run = |arguments: [String; 9]| cmd::run(basalt().args(arguments));
    one_line(run(storage(&path("store"), &address())), "in use");
    one_line(run(storage(&other, &store_at)), &store_at);
    one_line(cmd::run(&mut sql()), &sql_port.to_string());
    // A flag beats the environment.
    let mut flagged = sql();
    flagged.args(["--listen", &store_at]);
    one_line(cmd::run(&mut flagged), &store_at);

    assert_eq!(mysql(sql_port, &["-N"], "select * from test.t").expect_ok(), "1\n");
    assert!(first.stop() && store.stop() && pd.stop(), "each role stops with 0");
}

#[test]
fn what_is_not_understood_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("basalt.toml");
    let config = file.to_str().unwrap();
    for role in ["up", "pd", "storage", "sql"] {
        refused(&[role, "--no-such-flag"], "--no-such-flag");
        std::fs::write(&file, "[sql]\nmax_conections = 7\n").unwrap();
        refused(&[role, "--config", config], "max_conections");
        std::fs::write(&file, "listen = \n").unwrap();
        refused(&[role, "--config", config], "basalt.toml");
        refused(&[role, "--config", "/no/such/file.toml"], "/no/such/file.toml");
    }
    let data = folder.path().join("data");
    let data = data.to_str().unwrap();
    refused(&["up", "--data", data, "--listen", "nonsense", "--status", &address()], "nonsense");
    refused(&["up", "--data", data, "--listen", &address(), "--status", "0.0.0.0:0"], "loopback only");
    refused(&["up", "--data", data, "--listen", &address(), "--status", &address(), "--stores", "0"], "--stores 0");
    refused(&["up", "--data", data, "--listen", "0.0.0.0:0", "--status", &address()], "root has no password");
    refused(&["sql", "--listen", &address(), "--status", &address()], "--pd");
    refused(&["storage", "--data", data, "--listen", &address(), "--status", &address()], "--pd");
    std::fs::write(&file, "[sql]\ntls_cert = \"/no/such/cert.pem\"\n").unwrap();
    let (listen, status) = (address(), address());
    refused(
        &["up", "--data", data, "--listen", &listen, "--status", &status, "--config", config],
        "tls_cert and tls_key",
    );
    std::fs::write(&file, "[storage]\nregion_split_size = \"64 sheep\"\n").unwrap();
    refused(&["up", "--config", config], "sheep");
    refused(&["ctl", "stores", "--status", &address()], "nobody answers");
}

/// Whoever comes before the placement driver waits for it, says so, can be stopped meanwhile, and serves when it is there.
#[test]
fn before_the_placement_driver() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (pd_at, sql_port) = (address(), free_port());
    let sql_at = format!("127.0.0.1:{sql_port}");
    let wait = |arguments: &[&str], log: &str| {
        let common = ["--status", &address(), "--pd", &pd_at, "--log-file", log].map(String::from);
        Process(basalt().args(arguments).args(common).stdout(Stdio::null()).spawn().expect("the binary starts"))
    };
    let (store_log, sql_log) = (path("storage.log"), path("sql.log"));
    let store = wait(&["storage", "--data", &path("store"), "--listen", &address()], &store_log);
    let sql = wait(&["sql", "--listen", &sql_at], &sql_log);
    let other = wait(&["sql", "--listen", &address()], &path("other.log"));
    let says =
        |log: &str| std::fs::read_to_string(log).is_ok_and(|log| log.contains("waiting for the placement driver"));
    until("both say that they wait", Duration::from_secs(30), || says(&store_log) && says(&sql_log));
    assert!(other.stop(), "who waits can be stopped");
    let pd = Process::start(basalt().args(["pd", "--data", &path("pd"), "--listen", &pd_at, "--status", &address()]));
    until("both serve", Duration::from_secs(30), || mysql(sql_port, &["-N"], "select 1").ok);
    mysql(sql_port, &[], "create database d; create table d.t (id int primary key); insert into d.t values (1)")
        .expect_ok();
    assert!(sql.stop() && store.stop() && pd.stop(), "each role stops with 0");
}
