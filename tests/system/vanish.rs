//! Clients and SQL servers that die in the middle of a transaction leave no lock behind: a client's locks go as soon as
//! its server notices (at once, when the kernel of the client's machine closed the connection), a SQL server's at the
//! latest with their time to live.

use basalt_tests::{Client, Cluster, Up, alone, mysql, timed, until};
use std::time::Duration;

/// A client that was killed: its server sees the closed connection, ends its statement and rolls back.
const SOON: Duration = Duration::from_secs(3);
/// A SQL server that was killed: `PESSIMISTIC_LOCK_TTL` (10 s), one slice of a lock wait and some slack.
const AFTER_TTL: Duration = Duration::from_secs(14);

const SETUP: &str = "create database d; create table d.t (id int primary key, v int not null);
    insert into d.t values (1, 0), (2, 0), (3, 0), (4, 0)";

/// Adds ten to a row and tells how long that took.
fn update(port: u16, id: u32) -> Duration {
    let (out, took) = timed(|| mysql(port, &[], &format!("update d.t set v = v + 10 where id = {id}")));
    out.expect_ok();
    took
}

fn rows(port: u16) -> String {
    mysql(port, &["-N"], "select v from d.t order by id").expect_ok().replace('\n', " ")
}

/// Waits until a connection runs a statement that contains some text.
fn until_running(up: &Up, connection: u64, text: &str) {
    let ask = format!(
        "select count(*) from information_schema.processlist where id = {connection} and info like '%{text}%' and command = 'Query'"
    );
    until(text, Duration::from_secs(5), || mysql(up.port, &["-N"], &ask).expect_ok() == "1\n");
}

#[test]
fn a_client_killed_between_statements() {
    let _alone = alone();
    let up = Up::start(&[]);
    up.mysql(SETUP).expect_ok();
    let mut client = Client::connect(up.port);
    client.run("begin; update d.t set v = 1 where id = 1; insert into d.t values (9, 9)");
    client.say("select v from d.t where id = 2 for update;");
    assert_eq!(client.line(), "0");
    client.kill9();
    for id in [1, 2] {
        let took = update(up.port, id);
        eprintln!("row {id} was free after {took:.2?}");
        assert!(took < SOON, "row {id} was locked for {took:?}");
    }
    assert_eq!(rows(up.port), "10 10 0 0 ", "the transaction of the killed client is rolled back");
}

#[test]
fn a_client_killed_while_its_statement_runs() {
    let _alone = alone();
    let up = Up::start(&[]);
    up.mysql(SETUP).expect_ok();
    let numbers: Vec<String> = (0..2000).map(|n| format!("({n})")).collect();
    let large = format!("create table d.large (id int primary key); insert into d.large values {}", numbers.join(","));
    up.mysql(&large).expect_ok();
    let mut holder = Client::connect(up.port);
    holder.run("begin; update d.t set v = 1 where id = 4");

    // In a transaction, waiting for a lock; without one; and busy with something else.
    let mut waiting = Client::connect(up.port);
    let waiting_id = waiting.id();
    waiting.run("begin; update d.t set v = 1 where id = 1");
    waiting.say("update d.t set v = 2 where id = 4;");
    until_running(&up, waiting_id, "set v = 2");
    let mut alone_waiting = Client::connect(up.port);
    let alone_waiting_id = alone_waiting.id();
    alone_waiting.say("update d.t set v = 3 where id in (2, 4);");
    until_running(&up, alone_waiting_id, "set v = 3");
    let mut busy = Client::connect(up.port);
    let busy_id = busy.id();
    busy.run("begin; update d.t set v = 1 where id = 3");
    busy.say("select count(*) from d.large a, d.large b, d.large c where a.id + b.id * c.id > 12;");
    until_running(&up, busy_id, "d.large a");

    waiting.kill9();
    alone_waiting.kill9();
    busy.kill9();
    for id in [1, 2, 3] {
        let took = update(up.port, id);
        eprintln!("row {id} was free after {took:.2?}");
        assert!(took < SOON, "row {id} was locked for {took:?}");
    }
    // None of the dead gets the lock that they had queued for.
    holder.run("commit");
    let took = update(up.port, 4);
    assert!(took < SOON, "row 4 was locked for {took:?}");
    assert_eq!(rows(up.port), "10 10 10 11 ");
    until("their connections are gone", Duration::from_secs(5), || {
        let ask = format!(
            "select count(*) from information_schema.processlist where id in ({waiting_id}, {alone_waiting_id}, {busy_id})"
        );
        mysql(up.port, &["-N"], &ask).expect_ok() == "0\n"
    });
}

/// A client's machine that loses power closes nothing. The kernel asks for a sign of life on idle connections, so that the
/// server learns of it in minutes and not after `wait_timeout`.
#[test]
fn connections_are_probed() {
    let _alone = alone();
    let up = Up::start(&[]);
    let mut client = Client::connect(up.port);
    client.run("begin");
    let local = format!("0100007F:{:04X}", up.port);
    // Established, and a keepalive timer runs; while data are under way it is another timer's turn.
    let probed = |socket: &str| {
        let fields: Vec<&str> = socket.split_whitespace().collect();
        fields[1] == local && fields[3] == "01" && fields[5].starts_with("02:")
    };
    until("a keepalive timer on the server's side", SOON, || {
        std::fs::read_to_string("/proc/net/tcp").expect("Linux lists its sockets").lines().any(probed)
    });
}

#[test]
fn a_killed_sql_server_keeps_its_locks_until_their_time_to_live_at_most() {
    let _alone = alone();
    let cluster = Cluster::start(1, 2, "");
    let ports = cluster.sql_ports();
    mysql(ports[0], &[], SETUP).expect_ok();
    // The other server must know the table.
    until("sql-2 knows d.t", Duration::from_secs(10), || mysql(ports[1], &[], "select * from d.t").ok);
    let mut client = Client::connect(ports[0]);
    client.run("begin; update d.t set v = 1 where id = 1; insert into d.t values (7, 7)");
    cluster.run(&["kill", "sql-1"]).expect_ok();
    let took = update(ports[1], 1);
    eprintln!("the row was free {took:.2?} after its SQL server had been killed");
    assert!(took < AFTER_TTL, "the row was locked for {took:?}");
    let took = timed(|| mysql(ports[1], &[], "insert into d.t values (7, 70)").expect_ok()).1;
    assert!(took < SOON, "the inserted key was locked for {took:?}");
    assert_eq!(rows(ports[1]), "10 0 0 0 70 ");
    cluster.run(&["start", "sql-1"]).expect_ok();
    assert_eq!(rows(ports[0]), "10 0 0 0 70 ");
}
