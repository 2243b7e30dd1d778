//! Schema changes beside transactions and writes: a snapshot never reads what is younger than itself; an index and its
//! rows agree, whatever is written while it comes or goes; what is stopped leaves nothing behind.

use basalt_tests::{Client, Up, alone, connect, mysql, until};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use std::time::Duration;

/// The longest that a step takes that nobody holds up.
const STEP: Duration = Duration::from_secs(20);

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be built")
}

/// The ids that a query finds, or the number of its error.
async fn ids(conn: &mut Conn, query: &str) -> Result<Vec<u32>, u16> {
    conn.query(query).await.map_err(code)
}

fn code(error: Error) -> u16 {
    match error {
        Error::Server(error) => error.code,
        other => panic!("{other}"),
    }
}

struct Change {
    before: &'static str,
    statement: &'static str,
    /// What reads of the older snapshot give.
    expected: Result<&'static [u32], u16>,
    /// Where the rows are afterwards.
    table: Option<&'static str>,
}

const CHANGES: &[Change] = &[
    Change { before: "do 1", statement: "alter table t add index kk (k)", expected: Ok(&[1, 2]), table: Some("t") },
    Change { before: "do 1", statement: "alter table t add unique kk (k, v)", expected: Ok(&[1, 2]), table: Some("t") },
    Change {
        before: "alter table t add index kk (k)",
        statement: "drop index kk on t",
        expected: Ok(&[1, 2]),
        table: Some("t"),
    },
    Change {
        before: "alter table t add index kk (k)",
        statement: "alter table t drop index kk, add index kk (k, v)",
        expected: Ok(&[1, 2]),
        table: Some("t"),
    },
    Change { before: "do 1", statement: "truncate t", expected: Err(1412), table: None },
    Change { before: "do 1", statement: "drop table t", expected: Err(1146), table: None },
    Change { before: "do 1", statement: "rename table t to u", expected: Err(1146), table: Some("u") },
];

const OPENINGS: &[&str] = &["start transaction with consistent snapshot", "begin; select id from other"];

/// By key, by scan, without the plan cache, by text that is in the plan cache.
const READS: &[&str] = &[
    "select id from t where k = 5 order by id",
    "select id from t where k + 0 = 5 order by id",
    "select /* not cached */ id from t where k = 5 order by id",
    "select a.id from t a join t b on a.id = b.id where b.k = 5 order by 1",
];

async fn snapshot_beside(a: &mut Conn, b: &mut Conn, change: &Change, opening: &str, mode: &str) {
    let context = format!("{opening} | {} | {mode}", change.statement);
    b.query_drop(
        "drop database if exists d; create database d; use d; create table t (id int primary key, k int, v int)",
    )
    .await
    .unwrap();
    b.query_drop("create table other (id int primary key)").await.unwrap();
    b.query_drop("insert into t values (1, 5, 10), (2, 5, 20), (3, 6, 30)").await.unwrap();
    b.query_drop(change.before).await.unwrap();
    a.query_drop(format!("use d; set basalt_txn_mode = '{mode}'")).await.unwrap();
    for read in READS {
        assert_eq!(ids(a, read).await, Ok(vec![1, 2]), "{context} | before | {read}");
    }
    let prepared = a.prep("select id from t where k = ? order by id").await.unwrap();
    let found: Vec<u32> = a.exec(&prepared, (5,)).await.unwrap();
    assert_eq!(found, [1, 2]);
    a.query_drop(opening).await.unwrap();

    b.query_drop(change.statement).await.unwrap();
    if let Some(table) = change.table {
        b.query_drop(format!("insert into {table} values (4, 5, 40)")).await.unwrap();
        b.query_drop(format!("update {table} set k = 7 where id = 1")).await.unwrap();
    }
    let expected = change.expected.map(<[u32]>::to_vec);
    for read in READS {
        assert_eq!(ids(a, read).await, expected, "{context} | {read}");
    }
    let found: Result<Vec<u32>, u16> = a.exec(&prepared, (5,)).await.map_err(code);
    assert_eq!(found, expected, "{context} | prepared");
    a.query_drop("commit").await.unwrap();
    if let Some(table) = change.table {
        for read in READS {
            let read = read.replace("from t", &format!("from {table}")).replace("join t", &format!("join {table}"));
            assert_eq!(ids(a, &read).await, Ok(vec![2, 4]), "{context} | after | {read}");
        }
    }
    a.close(prepared).await.unwrap();
}

#[test]
fn a_snapshot_reads_nothing_that_is_younger() {
    let _alone = alone();
    let up = Up::start(&[]);
    runtime().block_on(async {
        let (mut a, mut b) = (connect(up.port, None).await.unwrap(), connect(up.port, None).await.unwrap());
        for change in CHANGES {
            for opening in OPENINGS {
                for mode in ["pessimistic", "optimistic"] {
                    snapshot_beside(&mut a, &mut b, change, opening, mode).await;
                }
            }
        }
    });
}

/// An optimistic transaction writes what its snapshot sees; the young index does not hide rows from it.
#[test]
fn optimistic_writes_find_their_rows_without_the_young_index() {
    let _alone = alone();
    let up = Up::start(&[]);
    runtime().block_on(async {
        let (mut a, mut b) = (connect(up.port, None).await.unwrap(), connect(up.port, None).await.unwrap());
        b.query_drop("create database d; use d; create table t (id int primary key, k int, v int)").await.unwrap();
        b.query_drop("insert into t values (1, 5, 10), (2, 5, 20)").await.unwrap();
        a.query_drop("use d; set basalt_txn_mode = 'optimistic'").await.unwrap();
        a.query_drop("start transaction with consistent snapshot").await.unwrap();
        b.query_drop("alter table t add index kk (k)").await.unwrap();
        a.query_drop("update t set v = v + 1 where id > 0 and k = 5").await.unwrap();
        assert_eq!(a.affected_rows(), 2);
        a.query_drop("rollback").await.unwrap();
    });
}

/// Statements that write, over rows `first` and the following.
pub(super) fn writes(table: &str, first: u32) -> Vec<String> {
    let [a, b, c, d, e, f] = [0, 1, 2, 3, 4, 5].map(|n| first + n);
    vec![
        format!("insert into {table} values ({a}, {a}, 0)"),
        format!("insert into {table} values ({b}, null, 0), ({c}, {c}, 0)"),
        format!("update {table} set k = {a} + 1000 where id = {a}"),
        format!("update {table} set v = v + 1 where id in ({a}, {b})"),
        format!("update {table} set id = {d} where id = {c}"),
        format!("replace into {table} values ({b}, {b} + 2000, 7), ({e}, {e}, 7)"),
        format!("insert into {table} values ({e}, 0, 0) on duplicate key update k = k + 3000"),
        format!("insert ignore into {table} values ({e}, 5, 5), ({f}, {f}, 5)"),
        format!("delete from {table} where id = {f}"),
        // Rows that are older than the index.
        format!("update {table} set k = k + 10000 where id = {first} - 1000"),
        format!("update {table} set k = null where id = {first} - 999"),
        format!("delete from {table} where id = {first} - 998"),
        format!("replace into {table} values ({first} - 997, {first} + 50000, 9)"),
    ]
}

/// Holds changes of tables where they are: a transaction uses them since the version before.
pub(super) struct Gate(Client);

impl Gate {
    pub(super) fn close(port: u16, tables: &[&str]) -> Gate {
        let mut holds = Client::connect(port);
        holds.run("begin");
        tables.iter().for_each(|table| holds.run(&format!("select 1 from {table} where id < 0")));
        Gate(holds)
    }

    pub(super) fn open(mut self) {
        self.0.run("commit");
    }
}

fn until_state(port: u16, state: &str) {
    let ask = "select schema_state from information_schema.basalt_ddl_jobs order by job_id desc limit 1";
    until(state, STEP, || mysql(port, &["-N"], ask).expect_ok().trim() == state);
}

/// Goes through a schema change state by state, with every kind of write in each, and transactions over the borders.
fn walk(port: u16, change: &str, states: &[&str], first: u32) {
    let mut gate = Gate::close(port, &["d.t"]);
    let mut ddl = Client::connect(port);
    ddl.say(&format!("{change}; select 'done';"));
    let mut open: Vec<Client> = Vec::new();
    for (position, state) in states.iter().enumerate() {
        until_state(port, state);
        let row = first + 100 * position as u32;
        for write in writes("d.t", row).into_iter().zip(writes("d.m", row)).flat_map(|(t, m)| [t, m]) {
            mysql(port, &[], &write).expect_ok();
        }
        // What began in the state before is committed, or is refused because the table is another one now.
        for mut client in open.drain(..) {
            client.say("commit;");
            client.finish();
        }
        let mut txn = Client::connect(port);
        txn.run(&format!(
            "begin; insert into d.t values ({row} + 50, {row}, 1); insert into d.m values ({row} + 50, {row}, 1)"
        ));
        txn.run(&format!("update d.t set k = k + 5 where id = {row}; update d.m set k = k + 5 where id = {row}"));
        open.push(txn);
        let next = Gate::close(port, &["d.t"]);
        std::mem::replace(&mut gate, next).open();
    }
    gate.open();
    // The rows that these have locked are filled in when they have ended.
    for mut client in open {
        client.say("commit;");
        client.finish();
    }
    assert_eq!(ddl.line(), "done");
}

fn agree(port: u16, index: &str) {
    let rows = |from: &str| {
        let ask = format!("select id, k, v from d.{from} where k >= 0 or k is null order by id");
        mysql(port, &["-N"], &ask).expect_ok()
    };
    if index.is_empty() {
        assert_eq!(rows("t"), rows("m"), "the rows are those of a table that nobody changed");
    } else {
        assert_eq!(rows("t ignore index (kk)"), rows("m"), "the rows are those of a table that nobody changed");
        assert_eq!(rows(&format!("t force index ({index})")), rows("m"), "the index has its rows' entries");
        let count = |hint: &str| mysql(port, &["-N"], &format!("select count(k), sum(k) from d.t {hint}")).expect_ok();
        assert_eq!(count(&format!("force index ({index})")), count("ignore index (kk)"));
    }
}

#[test]
fn every_write_in_every_state_of_an_index() {
    let _alone = alone();
    let up = Up::start(&[]);
    let port = up.port;
    up.mysql("create database d").expect_ok();
    for (kind, drop) in [("index", "drop index kk on d.t"), ("unique", "alter table d.t drop index kk")] {
        up.mysql("drop table if exists d.t, d.m").expect_ok();
        for table in ["t", "m"] {
            up.mysql(&format!("create table d.{table} (id int primary key, k int, v int)")).expect_ok();
            let rows: Vec<String> = (1..=900).map(|n| format!("({n}, {n} + 100000, 0)")).collect();
            up.mysql(&format!("insert into d.{table} values {}", rows.join(","))).expect_ok();
        }
        walk(
            port,
            &format!("alter table d.t add {kind} kk (k)"),
            &["delete only", "write only", "write reorganization"],
            1001,
        );
        agree(port, "kk");
        walk(port, drop, &["write only", "delete only"], 1501);
        agree(port, "");
        up.mysql(&format!("alter table d.t add {kind} kk (k)")).expect_ok();
        agree(port, "kk");
    }
}

pub(super) fn large_table(port: u16) {
    mysql(port, &[], "create database d; create table d.t (id int primary key, k int)").expect_ok();
    for block in 0..8 {
        let rows: Vec<String> = (0..5000).map(|n| format!("({}, {n})", block * 5000 + n)).collect();
        mysql(port, &[], &format!("insert into d.t values {}", rows.join(","))).expect_ok();
    }
}

pub(super) fn until_filling(port: u16) {
    let ask = "select count(*) from information_schema.processlist where state like 'adding index%kk%rows'";
    until("the index is being filled in", STEP, || mysql(port, &["-N"], ask).expect_ok() == "1\n");
}

fn until_cancelled(port: u16, jobs: u32) {
    let ask = "select count(*) from information_schema.basalt_ddl_jobs where state = 'cancelled' and error like '%interrupted%'";
    until("the job is cancelled", STEP, || mysql(port, &["-N"], ask).expect_ok() == format!("{jobs}\n"));
    let ask = "select count(*) from information_schema.statistics where table_name = 't' and index_name = 'kk'";
    assert_eq!(mysql(port, &["-N"], ask).expect_ok(), "0\n");
}

#[test]
fn a_stopped_index_leaves_nothing_behind() {
    let _alone = alone();
    let up = Up::start(&[]);
    let port = up.port;
    large_table(port);
    // KILL QUERY.
    let mut client = Client::connect(port);
    let id = client.id();
    client.say("alter table d.t add index kk (k);");
    until_filling(port);
    let refused = mysql(port, &[], "drop index kk on d.t").expect_error();
    assert!(refused.contains("ERROR 1091"), "an index that is being added is not there: {refused}");
    mysql(port, &[], "create table d.copy like d.t").expect_ok();
    mysql(port, &[], &format!("kill query {id}")).expect_ok();
    let (_, error) = client.finish();
    assert!(error.contains("ERROR 1317"), "{error}");
    until_cancelled(port, 1);
    let copied = mysql(port, &["-N"], "show index from d.copy").expect_ok();
    assert_eq!(copied.lines().count(), 1, "a copy has the primary key only: {copied}");
    // A client that dies.
    let mut client = Client::connect(port);
    client.say("alter table d.t add index kk (k), add index kkk (k, id);");
    until_filling(port);
    client.kill9();
    until_cancelled(port, 2);
    mysql(port, &[], "alter table d.t add index kk (k)").expect_ok();
    assert_eq!(mysql(port, &["-N"], "select count(*) from d.t force index (kk) where k >= 0").expect_ok(), "40000\n");
}

#[test]
fn a_lock_for_reading_waits_for_a_write_that_went_before_it() {
    let up = Up::start(&[]);
    up.mysql("create table test.t (id int primary key, v int); insert into test.t values (1, 10)").expect_ok();
    runtime().block_on(async {
        let client = async || connect(up.port, Some("test")).await.expect("the server listens");
        let pause = async || tokio::time::sleep(Duration::from_millis(300)).await;
        let (mut writer, mut change, mut reader) = (client().await, client().await, client().await);
        writer.query_drop("begin").await.expect("begins");
        assert_eq!(ids(&mut writer, "select v from t where id = 1").await, Ok(vec![10]));
        let id = change.id();
        let change = tokio::spawn(async move { change.query_drop("lock tables t write").await });
        pause().await;
        let reader = tokio::spawn(async move {
            reader.query_drop("lock tables t read").await.expect("its turn comes");
            ids(&mut reader, "select v from t where id = 1").await
        });
        pause().await;
        writer.query_drop("update t set v = 11 where id = 1").await.expect("who uses a table already goes first");
        client().await.query_drop(format!("kill query {id}")).await.expect("it waits");
        assert_eq!(change.await.expect("no panic").map_err(code), Err(1317));
        pause().await;
        assert!(!reader.is_finished(), "the table is locked beside a transaction that has written to it");
        writer.query_drop("commit").await.expect("commits");
        assert_eq!(reader.await.expect("no panic"), Ok(vec![11]));
    });
}
