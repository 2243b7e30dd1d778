//! Several SQL servers are one to their users: accounts, global variables, KILL and the process list are the cluster's.

use basalt_tests::{Client, Cluster, alone, mysql, timed, until};
use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;

/// Until another server has looked at the catalog: half a second on a machine that is not busy.
const SEEN: Duration = Duration::from_secs(3);
/// How long a KILL may take that reaches another server: a few milliseconds there.
const KILL_REACHES: Duration = Duration::from_secs(2);
/// How long a dead server's locks are waited for: about 3 s on a machine that is not busy, where their time is over after 7 at least.
const LOCKS_ARE_HAD: Duration = Duration::from_secs(6);
/// How long ADD INDEX may take, which is four steps that every server has to come along with: 20 ms on a machine that is not busy.
/// Servers that looked by themselves would take half a second a step.
const STEPS_TAKE: Duration = Duration::from_millis(700);
/// How long the process list may wait for a server that stands still.
const LIST_WAITS: Duration = Duration::from_secs(4);

#[track_caller]
fn ask(port: u16, statements: &str) -> String {
    mysql(port, &["-N"], statements).expect_ok().trim_end().to_string()
}

/// Sends a signal to a process of the cluster.
fn signal(cluster: &Cluster, name: &str, signal: Signal) {
    let process = cluster.status().into_iter().find(|p| p.name == name).expect("a process of the cluster");
    let pid = process.pid.and_then(|pid| Pid::from_raw(pid as i32)).expect("a process that runs");
    kill_process(pid, signal).expect("it can be signaled");
}

#[test]
fn global_variables_reach_every_server_and_survive_a_restart() {
    let _alone = alone();
    let cluster = Cluster::start(1, 2, "");
    let ports = cluster.sql_ports();
    let values = "select @@max_execution_time, @@sql_mode, @@character_set_server, @@collation_server";
    let set = "set global max_execution_time = 123456; set persist sql_mode = 'ANSI_QUOTES'; \
               set global collation_server = utf8mb4_bin; set global character_set_server = latin1;";
    ask(ports[0], set);
    let wanted = "123456\tANSI_QUOTES\tlatin1\tlatin1_swedish_ci";
    assert_eq!(ask(ports[0], values), wanted);
    until("the other server has the values", SEEN, || ask(ports[1], values) == wanted);

    cluster.run(&["down"]).expect_ok();
    cluster.up_again();
    for &port in &ports {
        assert_eq!(ask(port, values), wanted);
    }

    let error = mysql(ports[1], &[], "reset persist wait_timeout").expect_error();
    assert!(error.contains("3615") && error.contains("wait_timeout does not exist"), "{error}");
    let warned = ask(ports[1], "reset persist if exists wait_timeout; show warnings");
    assert!(warned.contains("3615"), "{warned}");
    let error = mysql(ports[1], &[], "set persist_only wait_timeout = 5").expect_error();
    assert!(error.contains("1235"), "{error}");
    ask(ports[1], "reset persist max_execution_time; set global sql_mode = default");
    let some = ask(ports[1], "select @@max_execution_time, left(@@sql_mode, 18), @@collation_server");
    assert_eq!(some, "0\tONLY_FULL_GROUP_BY\tlatin1_swedish_ci");
    ask(ports[1], "reset persist");
    until("the other server has the defaults", SEEN, || {
        ask(ports[0], "select @@max_execution_time, @@collation_server") == "0\tutf8mb4_0900_ai_ci"
    });
}

#[test]
fn accounts_change_on_every_server_before_the_statement_returns() {
    let _alone = alone();
    let cluster = Cluster::start(1, 2, "");
    let ports = cluster.sql_ports();
    ask(ports[0], "create database d; create table d.t (a int primary key); create user u, gone, slow");
    for round in 0..5 {
        ask(ports[0], "grant select on d.* to u");
        let mut session = Client::connect_as(ports[1], "u");
        session.run("select * from d.t");
        ask(ports[0], "revoke select on d.* from u");
        session.say("select * from d.t;");
        let (_, error) = session.finish();
        assert!(error.contains("1142"), "round {round}: {error}");

        ask(ports[0], &format!("alter user u identified by 'p{round}'"));
        let password = format!("-pp{round}");
        mysql(ports[1], &["-uu", &password], "select 1").expect_ok();
        ask(ports[0], "set password for u = ''");
        mysql(ports[1], &["-uu"], "select 1").expect_ok();
        ask(ports[0], "drop user gone");
        let error = mysql(ports[1], &["-ugone"], "select 1").expect_error();
        assert!(error.contains("1045"), "round {round}: {error}");
        ask(ports[0], "create user gone");
        mysql(ports[1], &["-ugone"], "select 1").expect_ok();
    }

    // A server that hears nothing is waited for as long as it may believe what it knows.
    signal(&cluster, "sql-2", Signal::STOP);
    let (_, took) = timed(|| ask(ports[0], "drop user slow"));
    signal(&cluster, "sql-2", Signal::CONT);
    let error = mysql(ports[1], &["-uslow"], "select 1").expect_error();
    assert!(!error.contains("2013"), "{error}");
    assert!(Duration::from_secs(5) < took && took < Duration::from_secs(40), "{took:?}");
    until("the server knows again who may log in", SEEN, || {
        mysql(ports[1], &["-uslow"], "select 1").expect_error().contains("1045")
    });
}

#[test]
fn servers_are_told_of_each_step_of_a_schema_change() {
    let _alone = alone();
    let cluster = Cluster::start(1, 2, "");
    let ports = cluster.sql_ports();
    ask(ports[0], "create database d; create table d.t (a int primary key, v int); insert into d.t values (1, 0)");
    let mut took = Vec::new();
    for round in 0..5 {
        took.push(timed(|| ask(ports[0], &format!("alter table d.t add index i{round} (v)"))).1);
        assert_eq!(ask(ports[1], &format!("select v from d.t use index (i{round}) where v = 0")), "0");
    }
    took.sort();
    assert!(took[2] < STEPS_TAKE, "{took:?}");
}

#[test]
fn locks_of_a_dead_server_are_had_before_their_time_is_over() {
    let _alone = alone();
    let cluster = Cluster::start(1, 2, "");
    let ports = cluster.sql_ports();
    ask(
        ports[0],
        "create database d; create table d.t (a int primary key, v int); insert into d.t values (1, 0), (2, 0)",
    );
    let mut there = Client::connect(ports[1]);
    there.run("begin; update d.t set v = v + 1");
    let wait = "set innodb_lock_wait_timeout = 6; update d.t set v = v + 10 where a = 1";
    let error = mysql(ports[0], &[], wait).expect_error();
    assert!(error.contains("1205"), "its server lives: {error}");
    there.run("commit");

    there.run("begin; update d.t set v = v + 1");
    cluster.run(&["kill", "sql-2"]).expect_ok();
    let (_, took) = timed(|| ask(ports[0], "update d.t set v = v + 10"));
    assert!(took < LOCKS_ARE_HAD, "{took:?}");
    assert_eq!(ask(ports[0], "select v from d.t"), "11\n11");
}

#[test]
fn a_server_that_stood_still_tells_nothing_of_rows_that_it_has_lost() {
    let _alone = alone();
    let cluster = Cluster::start(1, 2, "");
    let ports = cluster.sql_ports();
    for table in ["d.t", "d.u"] {
        let make =
            format!("create table {table} (a int primary key, v int, key (v)); insert into {table} values (1, 0)");
        ask(ports[0], &format!("create database if not exists d; {make}"));
    }
    let (mut loses, mut keeps) = (Client::connect(ports[1]), Client::connect(ports[1]));
    loses.run("begin; update d.t set v = v + 1");
    keeps.run("begin; update d.u set v = v + 1");
    signal(&cluster, "sql-2", Signal::STOP);
    ask(ports[0], "update d.t set v = v + 10");
    signal(&cluster, "sql-2", Signal::CONT);
    // By the index there would be two entries of the row: the other's and its own.
    loses.say("select a, v from d.t force index (v) where v >= 0;");
    let (told, error) = loses.finish();
    assert!(error.contains("9007") && !told.contains("1\t"), "{told}{error}");
    keeps.say("select v from d.u force index (v) where v >= 0;");
    assert_eq!(keeps.line(), "1");
    keeps.run("commit");
    assert_eq!(ask(ports[0], "select v from d.t; select v from d.u"), "10\n1");
}

#[test]
fn kill_and_the_process_list_are_the_clusters() {
    let _alone = alone();
    let cluster = Cluster::start(1, 2, "");
    let ports = cluster.sql_ports();
    ask(ports[0], "create user u; create database d; create table d.t (a int primary key); insert into d.t values (1)");
    let (mut here, mut there) = (Client::connect(ports[0]), Client::connect(ports[1]));
    let (mine, other) = (here.id(), there.id());
    assert!(mine != other && i32::try_from(mine.max(other)).is_ok(), "{mine} and {other}");

    here.run("begin; delete from d.t");
    there.say("update d.t set a = 2 where a = 1; select 'ended';");
    let list = "select id, info from information_schema.processlist where info like 'update%'";
    let wanted = format!("{other}\tupdate d.t set a = 2 where a = 1");
    for &port in &ports {
        until("the statement is listed", SEEN, || ask(port, list) == wanted);
    }
    let full = mysql(ports[0], &["-N", "-uu"], "show processlist").expect_ok();
    assert_eq!(full.lines().count(), 1, "without PROCESS one sees one's own: {full}");

    let error = mysql(ports[0], &["-uu"], &format!("kill query {other}")).expect_error();
    assert!(error.contains("1095"), "{error}");
    let (_, took) = timed(|| {
        ask(ports[0], &format!("kill query {other}"));
        assert_eq!(there.line(), "ended");
    });
    assert!(took < KILL_REACHES, "{took:?}");
    ask(ports[0], &format!("kill {other}"));
    let (_, error) = there.finish();
    assert!(error.contains("1317"), "{error}");
    // Of the other server, and of one that is not there.
    for id in [other, 2_147_483_647, 1 << 40] {
        let error = mysql(ports[0], &[], &format!("kill {id}")).expect_error();
        assert!(error.contains("1094"), "{error}");
    }

    let standing = Client::connect(ports[1]);
    signal(&cluster, "sql-2", Signal::STOP);
    let (shown, took) = timed(|| ask(ports[0], "show processlist; show warnings"));
    signal(&cluster, "sql-2", Signal::CONT);
    assert!(shown.contains("does not answer") && shown.contains(&mine.to_string()), "{shown}");
    assert!(took < LIST_WAITS, "{took:?}");
    drop(standing);
}
