//! Memory: statements that want more of it than they may have end with an error that says so, or spill; the process stays
//! within its limit, and eight clients beside them notice nothing. `tests/memory/soak.py` does the same at full size.

use basalt_tests::{Client, Up, alone, connect, until};
use mysql_async::prelude::Queryable;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const LIMIT_MIB: u64 = 1024;
/// What may come between two looks of the governor, and what is not given back at once.
const SLACK_MIB: u64 = 384;
const CLIENTS: usize = 8;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads can be started")
}

fn started() -> Up {
    let up = Up::start_with_config(&[], &format!("memory_limit = \"{LIMIT_MIB}MiB\"\n"));
    let rows = |count: u32, row: &dyn Fn(u32) -> String| (0..count).map(row).collect::<Vec<_>>().join(",");
    up.mysql(&format!(
        "create table test.beside (id int primary key, v int not null);
         insert into test.beside values {};
         create table test.j (id int primary key, a int, b int);
         insert into test.j values {};
         create table test.thousand (id int primary key);
         insert into test.thousand values {}",
        rows(100, &|i| format!("({i},0)")),
        rows(10, &|i| format!("({i},{i},{})", i % 3)),
        rows(1000, &|i| format!("({i})")),
    ))
    .expect_ok();
    up
}

fn resident_mib(up: &Up) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/statm", up.pid())).expect("the server lives");
    let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("statm has numbers");
    (pages * 4096) >> 20
}

/// Eight clients that read and change single rows until they are told to stop.
struct Beside {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<anyhow::Result<()>>>,
}

impl Beside {
    fn start(port: u16) -> Beside {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let client = |number: usize| {
            let (stop, done) = (stop.clone(), done.clone());
            async move {
                let mut connection = connect(port, Some("test")).await?;
                for round in number.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let id = round * 13 % 100;
                    let found: Option<i64> =
                        connection.query_first(format!("select v from beside where id = {id}")).await?;
                    anyhow::ensure!(found.is_some(), "row {id} is gone");
                    connection.query_drop(format!("update beside set v = v + 1 where id = {id}")).await?;
                    done.fetch_add(2, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Ok(connection.disconnect().await?)
            }
        };
        let tasks = (0..CLIENTS).map(|number| tokio::spawn(client(number))).collect();
        Beside { stop, done, tasks }
    }

    async fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("a client does not panic").expect("a client beside a large statement sees no error");
        }
        self.done.load(Ordering::Relaxed)
    }
}

fn joined(tables: usize, rest: &str) -> String {
    let tables: Vec<_> = (0..tables).map(|i| format!("j t{i}")).collect();
    format!("select count(*) from {}{rest}", tables.join(","))
}

/// Statements and what they must come to: rows (`None`), or one of some errors.
fn statements() -> Vec<(&'static str, String, Option<&'static [u16]>)> {
    let chain: Vec<_> = (1..40).map(|i| format!("t{i}.id = t{}.a", i - 1)).collect();
    let doubling: String = (1..31).map(|i| format!(", c{i} as (select x.a from c{0} x, c{0} y)", i - 1)).collect();
    let million = "(select a.id + 1000 * b.id n from thousand a, thousand b) numbers";
    let list = |count: usize| (0..count).map(|i| i.to_string()).collect::<Vec<_>>().join(",");
    let endless = "with recursive c as (select 1 n union all select n + 1 from c) select count(*) from c";
    vec![
        ("a join of 40 tables", joined(40, &format!(" where {}", chain.join(" and "))), None),
        ("a cross join of 40 tables", joined(40, " order by 1").replace("count(*)", "t3.a"), Some(&[8175, 8176, 3024])),
        ("too many tables", joined(62, ""), Some(&[1116])),
        (
            "tables doubled 30 times",
            format!("with c0 as (select 1 a){doubling} select count(*) from c30"),
            Some(&[1235]),
        ),
        ("a million rows sorted", format!("select n from {million} order by n % 1009, n limit 1 offset 500000"), None),
        ("a million groups", format!("select count(*) from (select n, count(*) from {million} group by n) g"), None),
        ("a long list", format!("select count(*) from j where a in ({})", list(100_000)), None),
        ("a long list of keys", format!("select count(*) from j where id in ({})", list(100_000)), None),
        ("4 MiB of text", format!("select length('{}')", "x".repeat(4 << 20)), None),
        ("nested parentheses", format!("select {}1{}", "(".repeat(5000), ")".repeat(5000)), None),
        ("nested calls", format!("select {}1{}", "abs(".repeat(100_000), ")".repeat(100_000)), Some(&[1436])),
        ("a chain of COLLATE", format!("select 'a'{}", " collate utf8mb4_bin".repeat(50_000)), Some(&[1436])),
        ("recursion without end", endless.into(), Some(&[3636])),
    ]
}

#[test]
fn statements_end_or_are_ended_and_nobody_else_notices() {
    let _alone = alone();
    let up = started();
    runtime().block_on(async {
        let beside = Beside::start(up.port);
        let mut connection = connect(up.port, Some("test")).await.expect("the server listens");
        let set = "set session tidb_mem_quota_query = 268435456, session max_execution_time = 20000";
        connection.query_drop(set).await.expect("the variables are there");
        for (what, statement, expected) in statements() {
            let outcome = connection.query::<mysql_async::Row, _>(statement).await;
            match (outcome, expected) {
                (Ok(_), None) => {}
                (Err(mysql_async::Error::Server(error)), Some(codes)) if codes.contains(&error.code) => {}
                (outcome, _) => panic!("{what}: {:?} where {expected:?} was expected", outcome.map(|rows| rows.len())),
            }
            let resident = resident_mib(&up);
            assert!(resident < LIMIT_MIB + SLACK_MIB, "{resident} MiB after {what}");
        }
        assert!(beside.end().await > 100);
    });
    assert!(!up.log().contains("panicked"), "{}", up.log());
}

/// The most that the server held since [`forget_peak`].
fn peak_mib(up: &Up) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", up.pid())).expect("the server lives");
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("status has a peak");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") >> 10
}

fn forget_peak(up: &Up) {
    std::fs::write(format!("/proc/{}/clear_refs", up.pid()), "5").expect("the peak can be reset");
}

/// Statements that make long strings of short rows, and whether they must be answered within 20 MB; the others may be
/// refused.
fn long_strings() -> Vec<(&'static str, bool)> {
    vec![
        ("select sum(length(repeat(s, 3000))) from m1", true),
        ("select sum(length(concat(repeat(s, 1000), repeat(s, 1000)))) from m1", true),
        ("select count(*) from m1 where repeat(s, 1000) like '%row 77x%'", true),
        ("select sum(length(case when id % 2 then repeat(s, 2000) else space(60000) end)) from m1", true),
        ("select sum(length(s)) from (select repeat(s, 2000) s from m1) t", true),
        ("select sum(length(lpad(s, 60000, 'ab')) + length(hex(repeat(s, 500)))) from m1", true),
        ("select sum(length(replace(repeat(s, 500), 'o', 'oooooooo'))) from m1", true),
        ("select sum(length(to_base64(repeat(s, 500))) + length(quote(repeat(s, 500)))) from m1", true),
        ("select length(s) from (select repeat(s, 2000) s, id from m1) t order by s, id limit 1", false),
        ("select s, count(*) from (select repeat(s, 1000) s from m1) t group by s order by s limit 1", false),
        ("select count(distinct repeat(s, 1000)) from m1", false),
        ("select max(repeat(s, 2000)) is null from m1", false),
        (
            "select count(*) from m1 a join (select repeat(s, 2000) s, id from m1) b on a.id = b.id where b.s <> 'q'",
            false,
        ),
        ("select length(concat(repeat('a', 20000000), repeat(s, 400000))) from m1 where id < 9", false),
        ("select concat(repeat('a', 20000000), repeat(s, 400000)) from m1 where id < 9", false),
        ("select repeat('a', 1000000), id from m1 where id < 200", true),
        ("select length(group_concat(repeat(s, 1000))) from m1", false),
        ("select row_number() over (order by repeat(s, 2000)) from m1 limit 1", false),
        ("select count(*) from (select repeat(s, 1000) from m1 union select repeat(s, 1001) from m1) t", false),
    ]
}

#[test]
fn long_strings_are_made_a_few_rows_at_a_time() {
    /// Two fragments in storage, up to twice 256 MiB each, and what the allocator keeps of them.
    const MORE_MIB: u64 = 1200;
    let _alone = alone();
    let up = started();
    let rows: Vec<_> = (0..12_000).map(|i| format!("({i},'row {i} with a text of some length')")).collect();
    up.mysql(&format!(
        "create table test.m1 (id int primary key, s varchar(60)); insert into test.m1 values {}",
        rows.join(",")
    ))
    .expect_ok();
    runtime().block_on(async {
        let beside = Beside::start(up.port);
        let mut connection = connect(up.port, Some("test")).await.expect("the server listens");
        connection
            .query_drop("set tidb_mem_quota_query = 20000000, group_concat_max_len = 4294967295")
            .await
            .expect("set");
        for (statement, must_answer) in long_strings() {
            forget_peak(&up);
            let (before, began) = (resident_mib(&up), tokio::time::Instant::now());
            match connection.query_iter(statement).await {
                Ok(rows) => match rows.for_each_and_drop(drop::<mysql_async::Row>).await {
                    Err(mysql_async::Error::Server(error)) if error.code == 8175 && !must_answer => {}
                    outcome => outcome.unwrap_or_else(|error| panic!("{statement}: {error}")),
                },
                Err(mysql_async::Error::Server(error)) if error.code == 8175 && !must_answer => {}
                Err(error) => panic!("{statement}: {error}"),
            }
            let (took, peak) = (began.elapsed(), peak_mib(&up));
            assert!(peak < before + MORE_MIB, "{statement}: {before} MiB became {peak} MiB");
            assert!(took < Duration::from_secs(60), "{statement}: {took:?}");
        }
        assert!(beside.end().await > 100);
    });
    assert!(!up.log().contains("panicked"), "{}", up.log());
}

#[test]
fn a_sort_spills_what_it_cannot_hold() {
    let _alone = alone();
    let up = started();
    let million = "(select a.id + 1000 * b.id n from thousand a, thousand b) numbers";
    for (quota, keys) in [
        (20_000_000, "n % 1009, n"),
        (8_000_000, "n % 1009 desc, n"),
        (20_000_000, "n % 1009 desc, n % 7, n"),
        (20_000_000, "concat(n % 1009), n"),
    ] {
        let ask = format!("select n from {million} order by {keys} limit 1 offset 500000");
        let answer = |quota: u64| up.mysql(&format!("use test; set tidb_mem_quota_query = {quota}; {ask}")).expect_ok();
        assert_eq!(answer(quota), answer(1 << 30), "{keys}");
    }
}

#[test]
fn what_a_session_keeps_is_counted_and_bounded() {
    let _alone = alone();
    let up = started();
    runtime().block_on(async {
        let mut client = connect(up.port, Some("test")).await.expect("the server listens");
        let id = client.id();
        let memory = || {
            let ask = format!("select memory from information_schema.processlist where id = {id}");
            let shown = basalt_tests::mysql(up.port, &["-N"], &ask).expect_ok();
            shown.trim().parse::<u64>().expect("a number")
        };
        client
            .query_drop("set @a = repeat('x', 60000000), @b = repeat('y', 40000000)")
            .await
            .expect("within the quota");
        assert!(memory() > 99_000_000, "{}", memory());
        client.query_drop("set tidb_mem_quota_query = 110000000").await.expect("the variable is there");
        match client.query_drop("set @c = repeat('z', 20000000)").await {
            Err(mysql_async::Error::Server(error)) if error.code == 8175 => {
                assert!(error.message.contains("what the session keeps"), "{}", error.message);
            }
            other => panic!("{other:?}"),
        }
        client.query_drop("set @a = null").await.expect("less is always possible");
        client.query_drop("set @c = repeat('z', 20000000)").await.expect("there is room again");
        assert!((59_000_000..70_000_000).contains(&memory()), "{}", memory());
        client.query_drop("set @b = 1, @c = 2").await.expect("numbers are short");
        assert!(memory() < 200_000, "{}", memory());
    });
}

#[test]
fn an_error_names_the_use_and_the_variable() {
    let _alone = alone();
    let up = started();
    let error = up
        .mysql("use test; set tidb_mem_quota_query = 1048576, group_concat_max_len = 100000000; select group_concat(a.id order by b.id) from thousand a, thousand b, j")
        .expect_error();
    assert!(error.contains("ERROR 8175 (HY000)"), "{error}");
    assert!(error.contains("the statement holds") && error.contains("tidb_mem_quota_query allows 1.0 MiB"), "{error}");
    up.mysql("set tidb_mem_quota_query = 0; select 1").expect_ok();
}

#[test]
fn the_largest_statement_goes_when_the_process_holds_too_much() {
    let _alone = alone();
    let up = Up::start_with_config(&[], "memory_limit = \"400MiB\"\n");
    up.mysql("create table test.sink (id int primary key, v varchar(4000)); create table test.beside (id int primary key, v int not null)")
        .expect_ok();
    let rows: Vec<_> = (0..100).map(|i| format!("({i},0)")).collect();
    up.mysql(&format!("insert into test.beside values {}", rows.join(","))).expect_ok();
    runtime().block_on(async {
        let beside = Beside::start(up.port);
        let mut connections = Vec::new();
        let mut ended = 0;
        // Each transaction is within its own bounds; a dozen of them are not within the server's.
        for number in 0..12 {
            let mut connection = connect(up.port, Some("test")).await.expect("the server listens");
            connection.query_drop("begin optimistic").await.expect("a transaction begins");
            for part in 0..8 {
                let values: Vec<_> =
                    (0..2000).map(|i| format!("({},repeat('x',4000))", (number * 8 + part) * 2000 + i)).collect();
                let insert = format!("insert into sink values {}", values.join(","));
                if let Err(error) = connection.query_drop(insert).await {
                    assert!(!error.to_string().contains("1105"), "{error}");
                    ended += 1;
                    break;
                }
            }
            connections.push(connection);
        }
        assert!(ended > 0 || up.log().contains("ended for its memory"), "{}", up.log());
        assert!(beside.end().await > 100);
    });
    // Those that were ended last are still letting go.
    until("the memory is given back", Duration::from_secs(10), || resident_mib(&up) < 400 + SLACK_MIB);
}

#[test]
fn the_process_list_shows_what_a_connection_holds_and_nothing_is_left() {
    let _alone = alone();
    let up = started();
    let mut client = Client::connect(up.port);
    let id = client.id();
    client.run("begin; insert into test.j select a.id + 1000 * b.id + 100, 1, 1 from test.thousand a, test.thousand b where b.id < 20");
    let ask = format!("select memory > 1000000 from information_schema.processlist where id = {id}");
    assert_eq!(basalt_tests::mysql(up.port, &["-N"], &ask).expect_ok(), "1\n");
    let shown = basalt_tests::mysql(up.port, &[], "show full processlist").expect_ok();
    assert!(shown.starts_with("Id\tUser\tHost\tdb\tCommand\tTime\tState\tInfo\n"), "{shown}");
    client.run("rollback");
    until("the bytes are given back", Duration::from_secs(2), || {
        let ask = format!("select memory from information_schema.processlist where id = {id}");
        basalt_tests::mysql(up.port, &["-N"], &ask).expect_ok() == "0\n"
    });
}
