//! What an operator meets: ports in use, starts that fail half-way, stops, passwords from outside, folders of others.

use basalt_tests::cmd;
use basalt_tests::up::pause;
use basalt_tests::{Cluster, Up, alone, basalt, free_port, free_port_base, mysql, timed};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// `basalt up` on any address, with variables; killed when dropped.
struct Server(Child);

impl Server {
    fn start(data: &str, listen: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Server {
        let mut command = Command::new(cmd::binary());
        cmd::clean(&mut command).args(["up", "--data", data, "--listen", listen, "--status"]);
        command.arg(format!("127.0.0.1:{}", free_port())).args(arguments).envs(variables.iter().copied());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the binary starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        let server = Server(child);
        let ready = BufReader::new(stdout).lines().map_while(Result::ok).any(|line| line.starts_with("ready:"));
        assert!(ready, "the process ended before it was ready");
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        self.0.wait().expect("a killed process ends");
    }
}

#[test]
fn a_cluster_whose_port_is_taken_starts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("cluster").display().to_string();
    let base = free_port_base();
    let taken = TcpListener::bind(("127.0.0.1", base)).unwrap();
    let error = basalt(&["cluster", "up", "--dir", &dir, "--port-base", &base.to_string()]).expect_error();
    assert!(error.contains(&format!("127.0.0.1:{base}, which sql-1 needs")), "{error}");
    assert!(!std::path::Path::new(&dir).exists(), "nothing is left");
    drop(taken);
}

#[test]
fn a_cluster_that_fails_half_way_stops_what_it_started() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("cluster").display().to_string();
    let config = folder.path().join("basalt.toml").display().to_string();
    // Only the SQL server reads it.
    std::fs::write(&config, "[sql]\ntls_cert = \"/missing.pem\"\ntls_key = \"/missing.key\"\n").unwrap();
    let base = free_port_base().to_string();
    let up = ["cluster", "up", "--dir", &dir, "--port-base", &base, "--storage", "1", "--config", &config];
    let error = basalt(&up).expect_error();
    assert!(error.contains("sql-1 did not start") && error.contains("/missing.pem"), "{error}");
    assert!(error.contains("stopped again: storage-1, pd-1"), "{error}");
    let status = basalt(&["cluster", "status", "--dir", &dir]).expect_ok();
    assert_eq!(status.matches("stopped").count(), 3, "{status}");
}

#[test]
fn processes_stop_at_once() {
    let _alone = alone();
    let cluster = Cluster::start(3, 1, "");
    cluster.mysql("create table test.t (id int primary key); insert into test.t values (1)").expect_ok();
    let (_, took) = timed(|| cluster.run(&["stop", "storage-1"]).expect_ok());
    assert!(took < Duration::from_secs(1), "storage-1 took {took:?}");
    let (_, took) = timed(|| cluster.run(&["down"]).expect_ok());
    assert!(took < Duration::from_secs(3), "the cluster took {took:?}");
}

#[test]
fn ports_between_processes_stay_on_loopback() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("pd").display().to_string();
    let (listen, status) = (format!("0.0.0.0:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    for role in ["pd", "storage"] {
        let mut arguments = vec![role, "--data", &data, "--listen", &listen, "--status", &status];
        if role == "storage" {
            arguments.extend(["--pd", "127.0.0.1:1"]);
        }
        let error = basalt(&arguments).expect_error();
        assert!(error.contains("--trusted-network"), "{error}");
    }
}

#[test]
fn roots_first_password_comes_from_the_environment() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    let port = free_port();
    let listen = format!("0.0.0.0:{port}");
    let status = format!("127.0.0.1:{}", free_port());
    let open = basalt(&["up", "--data", &data, "--listen", &listen, "--status", &status]).expect_error();
    assert!(open.contains("BASALT_ROOT_PASSWORD") && !open.contains("internal error"), "{open}");

    let file = folder.path().join("secret").display().to_string();
    std::fs::write(&file, "first\n").unwrap();
    let server = Server::start(&data, &listen, &[], &[("BASALT_ROOT_PASSWORD_FILE", &file)]);
    assert!(mysql(port, &["-pwrong"], "select 1").expect_error().contains("ERROR 1045"));
    mysql(port, &["-pfirst"], "select 1").expect_ok();
    drop(server);
    // A password that is there is not changed by the variable.
    let server = Server::start(&data, &listen, &[], &[("BASALT_ROOT_PASSWORD", "second")]);
    assert!(mysql(port, &["-psecond"], "select 1").expect_error().contains("ERROR 1045"));
    mysql(port, &["-pfirst"], "select 1").expect_ok();
    drop(server);
    // The way back in.
    let init = folder.path().join("init.sql").display().to_string();
    std::fs::write(&init, "-- forgotten\nALTER USER root IDENTIFIED BY 'third';\nCREATE DATABASE IF NOT EXISTS d;\n")
        .unwrap();
    let server = Server::start(&data, &listen, &["--init-file", &init], &[]);
    assert_eq!(mysql(port, &["-pthird", "-N"], "show databases like 'd'").expect_ok(), "d\n");
    drop(server);
    std::fs::write(&init, "SELEC 1").unwrap();
    let failed =
        basalt(&["up", "--data", &data, "--listen", &listen, "--status", &status, "--init-file", &init]).expect_error();
    assert!(failed.contains("init.sql: ERROR 1064"), "{failed}");
}

#[test]
fn refused_logins_are_seen() {
    let _alone = alone();
    let up = Up::start(&[]);
    assert!(mysql(up.port, &["-pwrong"], "select 1").expect_error().contains("ERROR 1045"));
    let log = up.log();
    let line = log.lines().find(|l| l.contains("login refused")).unwrap_or_else(|| panic!("no line\n{log}"));
    assert!(line.contains("WARN") && line.contains("'root'@'127.0.0.1'") && line.contains("code=1045"), "{line}");
    let aborted = mysql(up.port, &["-N"], "show global status like 'Aborted_connects'").expect_ok();
    assert_eq!(aborted, "Aborted_connects\t1\n");
    for said in ["basalt starts", "store is recovered", "accepting MySQL clients", "serving"] {
        assert!(log.contains(said), "the log does not say {said:?}\n{log}");
    }
}

#[test]
fn folders_are_stamped() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("letter.txt"), "").unwrap();
    let data = folder.path().display().to_string();
    let (listen, status) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let up = ["up", "--data", &data, "--listen", &listen, "--status", &status];
    let error = basalt(&up).expect_error();
    assert!(error.contains("letter.txt"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was put into it");
    std::fs::remove_file(folder.path().join("letter.txt")).unwrap();
    drop(Server::start(&data, &listen, &[], &[]));
    let stamp = folder.path().join("store-1/basalt.stamp");
    let text = std::fs::read_to_string(&stamp).unwrap();
    assert!(text.contains("kind = \"storage\"") && text.contains("format = 1"), "{text}");
    std::fs::write(&stamp, text.replace("format = 1", "format = 2")).unwrap();
    let error = basalt(&up).expect_error();
    assert!(error.contains("store-1 has format 2"), "{error}");
}

#[test]
fn whoever_has_read_enough_is_no_error() {
    let _alone = alone();
    let cluster = Cluster::start(1, 1, "");
    let status = cluster.run(&["status", "--json"]).expect_ok();
    assert!(status.contains("sql-1"));
    let dir = cluster.dir();
    let mut child = cmd::clean(&mut Command::new(cmd::binary()))
        .args(["cluster", "status", "--json", "--dir", &dir])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    drop(child.stdout.take());
    pause(Duration::from_millis(10));
    let output = child.wait_with_output().expect("it ends");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
