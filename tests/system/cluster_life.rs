//! `basalt cluster` from its first start to its end: names, states, what each verb does, and a power loss.

use basalt_tests::up::pause;
use basalt_tests::{Cluster, alone, mysql, until};
use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;

const ROWS: u32 = 500;

fn states(cluster: &Cluster) -> Vec<(String, String)> {
    cluster.status().into_iter().map(|p| (p.name, p.state)).collect()
}

fn state(cluster: &Cluster, name: &str) -> String {
    states(cluster).into_iter().find(|(n, _)| n == name).expect("the cluster has it").1
}

fn contents(port: u16) -> String {
    mysql(port, &["-N"], "select count(*), sum(v), min(id), max(id) from d.t").expect_ok()
}

#[test]
fn all_processes_die_at_once_and_come_back_with_all_data() {
    let _alone = alone();
    let cluster = Cluster::start(3, 1, "");
    mysql(cluster.port, &[], "create database d; create table d.t (id int primary key, v int, key by_v (v)); split table d.t between (0) and (500) regions 4")
        .expect_ok();
    let rows: Vec<String> = (0..ROWS).map(|n| format!("({n}, {})", n % 7)).collect();
    cluster.mysql(&format!("insert into d.t values {}", rows.join(","))).expect_ok();
    let before = contents(cluster.port);
    assert!(before.starts_with("500\t"), "{before}");
    let first = cluster.status();
    assert!(first.iter().all(|p| p.state == "running"), "{first:?}");
    // As when the power goes: nobody learns of the others' end.
    for process in &first {
        let pid = Pid::from_raw(process.pid.expect("it runs") as i32).expect("not zero");
        kill_process(pid, Signal::KILL).expect("it can be killed");
    }
    until("all are dead", Duration::from_secs(5), || states(&cluster).iter().all(|(_, state)| state == "dead"));
    let took = basalt_tests::timed(|| cluster.up_again()).1;
    eprintln!("up again after a power loss in {took:.2?}");
    assert_eq!(contents(cluster.port), before);
    assert_eq!(mysql(cluster.port, &["-N"], "select count(*) from d.t where v = 3").expect_ok(), "71\n");
    cluster.mysql("insert into d.t values (1000, 1)").expect_ok();
    let again = cluster.status();
    assert!(first.iter().zip(&again).all(|(a, b)| a.name == b.name && a.address == b.address && a.pid != b.pid));

    cluster.run(&["down"]).expect_ok();
    assert!(states(&cluster).iter().all(|(_, state)| state == "stopped"), "{:?}", cluster.status());
    cluster.up_again();
    assert!(contents(cluster.port).starts_with("501\t"));
}

/// Whichever process comes back last: stores need PD for nothing that they know.
#[test]
fn everything_dies_and_pd_comes_back_last() {
    let _alone = alone();
    let cluster = Cluster::start(3, 1, "");
    mysql(cluster.port, &[], "create database d; create table d.t (id int primary key, v int, key by_v (v))")
        .expect_ok();
    let rows: Vec<String> = (0..ROWS).map(|n| format!("({n}, {})", n % 7)).collect();
    cluster.mysql(&format!("insert into d.t values {}", rows.join(","))).expect_ok();
    let before = contents(cluster.port);
    for process in cluster.status() {
        let pid = Pid::from_raw(process.pid.expect("it runs") as i32).expect("not zero");
        kill_process(pid, Signal::KILL).expect("it can be killed");
    }
    until("all are dead", Duration::from_secs(5), || states(&cluster).iter().all(|(_, state)| state == "dead"));
    for store in ["storage-1", "storage-2", "storage-3"] {
        cluster.run(&["start", store]).expect_ok();
    }
    pause(Duration::from_secs(3));
    assert!(["storage-1", "storage-2", "storage-3"].iter().all(|store| state(&cluster, store) == "running"));
    cluster.run(&["start", "pd-1"]).expect_ok();
    cluster.run(&["start", "sql-1"]).expect_ok();
    assert_eq!(contents(cluster.port), before);
    cluster.mysql("insert into d.t values (1000, 1)").expect_ok();
}

#[test]
fn one_process_is_stopped_killed_and_started() {
    let _alone = alone();
    let cluster = Cluster::start(3, 2, "");
    let names: Vec<String> = states(&cluster).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["pd-1", "storage-1", "storage-2", "storage-3", "sql-1", "sql-2"]);
    let ports = cluster.sql_ports();
    assert_eq!(cluster.status()[5].address, format!("127.0.0.1:{}", ports[1]), "sql-N is on port-base + N - 1");
    let table = cluster.run(&["status"]).expect_ok();
    assert_eq!(table.lines().count(), 7, "a header and a line a process\n{table}");
    mysql(
        ports[0],
        &[],
        "create database d; create table d.t (id int primary key, v int); insert into d.t values (1, 1)",
    )
    .expect_ok();
    until("sql-2 knows d.t", Duration::from_secs(10), || mysql(ports[1], &[], "select * from d.t").ok);

    // One store less of three: everything goes on.
    cluster.run(&["stop", "storage-2"]).expect_ok();
    assert_eq!(state(&cluster, "storage-2"), "stopped");
    mysql(ports[0], &[], "insert into d.t values (2, 2)").expect_ok();
    cluster.run(&["start", "storage-2"]).expect_ok();
    cluster.run(&["kill", "storage-3"]).expect_ok();
    assert_eq!(state(&cluster, "storage-3"), "dead");
    mysql(ports[0], &[], "insert into d.t values (3, 3)").expect_ok();
    cluster.run(&["start", "storage-3"]).expect_ok();

    // One SQL server less: the other answers; what was stopped refuses.
    cluster.run(&["stop", "sql-1"]).expect_ok();
    assert!(mysql(ports[0], &[], "select 1").expect_error().contains("ERROR 2002"));
    assert_eq!(mysql(ports[1], &["-N"], "select count(*) from d.t").expect_ok(), "3\n");
    cluster.run(&["start", "sql-1"]).expect_ok();
    assert_eq!(mysql(ports[0], &["-N"], "select count(*) from d.t").expect_ok(), "3\n");

    // The placement driver comes back and is found again.
    cluster.run(&["kill", "pd-1"]).expect_ok();
    cluster.run(&["start", "pd-1"]).expect_ok();
    mysql(ports[0], &[], "insert into d.t values (4, 4)").expect_ok();

    for (arguments, expected) in [
        (["start", "sql-1"], "sql-1 is running already"),
        (["stop", "sql-9"], "no process \"sql-9\" here; there are pd-1, storage-1"),
        (["kill", "nonsense"], "no process \"nonsense\""),
    ] {
        let error = cluster.run(&arguments).expect_error();
        assert!(error.starts_with("basalt: ") && error.contains(expected), "{error}");
    }
    cluster.run(&["stop", "sql-2"]).expect_ok();
    assert!(cluster.run(&["stop", "sql-2"]).expect_error().contains("sql-2 is not running"));
    let port = cluster.port.to_string();
    let error = cluster.run(&["up", "--storage", "2", "--port-base", &port]).expect_error();
    assert!(error.contains("holds a cluster of 1 pd, 3 storage, 2 sql"), "{error}");
    cluster.run(&["down"]).expect_ok();
    assert!(states(&cluster).iter().all(|(_, state)| state == "stopped"), "{:?}", cluster.status());

    // The folder knows its numbers.
    cluster.run(&["up"]).expect_ok();
    assert_eq!(mysql(ports[1], &["-N"], "select count(*) from d.t").expect_ok(), "4\n");
    cluster.run(&["down"]).expect_ok();
}
