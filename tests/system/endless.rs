//! Statements that calculate for very long and put nothing out: KILL and time limits end them, and others are served meanwhile.

use basalt_tests::{Client, Up, alone, mysql, timed, until};
use std::time::Duration;

/// Far above what a stop takes on a loaded machine, far below the statements' minutes.
const SOON: Duration = Duration::from_secs(8);
const ROWS: usize = 30_000;

/// 900 million pairs, of which none fits.
const STATEMENTS: &[(&str, &str)] = &[
    ("nested loop", "select count(*) from t a join t b on a.k + b.k = -5"),
    ("nested loop of an outer join", "select count(b.id) from t a left join t b on a.k + b.k < -5"),
    ("hash join of one key", "select count(*) from t a join t b on a.one = b.one and a.k + b.k = -5"),
    ("NOT EXISTS", "select count(*) from t a where not exists (select 1 from t b where a.k + b.k = -5)"),
    ("three tables", "select count(*) from t a join t b on a.k + b.k = -5 join t c on c.k + a.k = b.k - 70000"),
    ("text", "select count(*) from t a join t b on concat(a.s, b.s) like '%z'"),
];

fn started() -> Up {
    let up = Up::start(&[]);
    let rows =
        |from: usize| (from..from + ROWS / 3).map(|i| format!("({i},{i},1,'row {i}')")).collect::<Vec<_>>().join(",");
    up.mysql("create table test.t (id int primary key, k int not null, one int not null, s varchar(20))").expect_ok();
    for from in [0, ROWS / 3, 2 * (ROWS / 3)] {
        up.mysql(&format!("insert into test.t values {}", rows(from))).expect_ok();
    }
    up
}

#[test]
fn what_calculates_for_very_long_can_be_stopped() {
    let _alone = alone();
    let up = started();
    for (what, statement) in STATEMENTS {
        let limited = format!("set max_execution_time = 300; {statement}");
        let (error, took) = timed(|| mysql(up.port, &["test"], &limited).expect_error());
        assert!(error.contains("ERROR 3024"), "{what}: {error}");
        assert!(took < SOON, "{what}: the time limit took {took:?}");

        let mut client = Client::connect(up.port);
        let id = client.id();
        client.say(&format!("use test; {statement};"));
        let ask = format!(
            "select count(*) from information_schema.processlist where id = {id} and info like 'select count%'"
        );
        until("it runs", SOON, || mysql(up.port, &["-N"], &ask).expect_ok() == "1\n");
        let (error, took) = timed(|| {
            mysql(up.port, &[], &format!("kill query {id}")).expect_ok();
            client.finish().1
        });
        assert!(error.contains("ERROR 1317"), "{what}: {error}");
        assert!(took < SOON, "{what}: KILL took {took:?}");
    }
}

#[test]
fn what_calculates_for_very_long_keeps_nobody_waiting() {
    let _alone = alone();
    let up = started();
    let mut clients: Vec<(u64, Client)> = Vec::new();
    // More than the server has threads.
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    for (_, statement) in STATEMENTS.iter().cycle().take(2 * threads.max(STATEMENTS.len() / 2)) {
        let mut client = Client::connect(up.port);
        let id = client.id();
        client.say(&format!("use test; {statement};"));
        clients.push((id, client));
    }
    for round in 0..10 {
        let write = format!("select count(*) from t where id < 10; insert into t values ({ROWS} + {round}, 0, 0, '')");
        let (_, took) = timed(|| mysql(up.port, &["test"], &write).expect_ok());
        assert!(took < SOON, "another client waited {took:?}");
    }
    for (id, client) in clients {
        mysql(up.port, &[], &format!("kill query {id}")).expect_ok();
        let (_, error) = client.finish();
        assert!(error.contains("ERROR 1317"), "{error}");
    }
}
