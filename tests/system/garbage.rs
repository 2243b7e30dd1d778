//! Old versions go: a table that is updated again and again is as large, and as fast to scan, as one that was written once.

use basalt_tests::up::pause;
use basalt_tests::{Client, Cluster, Up, alone, basalt, mysql, until};
use std::time::Duration;

const SETTINGS: &str = "[gc]\nlife_time = \"10s\"\n";
const ROWS: u32 = 1_000;

/// How many versions a scan of the table goes over.
fn versions(mysql: &dyn Fn(&str) -> String) -> u64 {
    let plan = mysql("explain analyze select count(*) from d.t where v >= 0");
    let number = |after: &str| {
        let at = plan.find(after)? + after.len();
        plan[at..].split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    // Said only when there are more versions than rows.
    number("versions scanned:").or_else(|| number("rows scanned:")).unwrap_or_else(|| panic!("no counts in {plan}"))
}

fn fill(mysql: &dyn Fn(&str) -> String) {
    mysql("create database d; create table d.t (id int primary key, v int, w varchar(400), key (v))");
    let rows: Vec<String> = (0..ROWS).map(|n| format!("({n}, {n}, repeat('x', {}))", n % 400)).collect();
    mysql(&format!("insert into d.t values {}", rows.join(",")));
}

#[test]
fn updates_leave_nothing_behind_and_an_open_snapshot_keeps_what_it_reads() {
    let _alone = alone();
    let cluster = Cluster::start(3, 2, SETTINGS);
    let ask = |statement: &str| mysql(cluster.port, &["-N"], statement).expect_ok();
    fill(&ask);
    mysql(cluster.port, &[], "split table d.t between (0) and (1000) regions 4").expect_ok();
    let mut reader = Client::connect(cluster.sql_ports()[1]);
    reader.run("start transaction with consistent snapshot");
    for _ in 0..20 {
        ask("update d.t set v = v + 1, w = concat('y', left(w, 390))");
    }
    ask("delete from d.t where id >= 900");
    let before = versions(&ask);
    assert!(before > 10 * u64::from(ROWS), "{before} versions");
    // The snapshot holds them, and who holds them is said.
    pause(Duration::from_secs(20));
    assert!(versions(&ask) >= before, "what an open snapshot reads was collected");
    let sql = cluster.status().into_iter().find(|p| p.name == "sql-1").expect("there is a SQL server");
    let told = basalt(&["ctl", "gc", "--status", &sql.status]).expect_ok();
    assert!(told.contains("SQL server at"), "{told}");
    reader.say("select sum(v), count(*) from d.t;");
    let sum: u32 = (0..ROWS).sum();
    assert_eq!(reader.line(), format!("{sum}\t{ROWS}"));
    reader.run("commit");
    // The index has as many entries as the table rows; the scan may use either.
    until("the old versions are gone", Duration::from_secs(60), || versions(&ask) <= 1_200);
    assert_eq!(ask("select count(*), sum(v) from d.t"), format!("900\t{}\n", (0..900u32).sum::<u32>() + 900 * 20));
    basalt(&["ctl", "check-replicas", "--status", &sql.status]).expect_ok();
}

#[test]
fn a_snapshot_that_is_too_old_is_refused_by_its_number() {
    let _alone = alone();
    let server = Up::start_with_config(&[], "[gc]\nlife_time = \"10s\"\nlongest_snapshot = \"20s\"\n");
    let ask = |statement: &str| server.mysql(statement).expect_ok();
    fill(&ask);
    let mut reader = Client::connect(server.port);
    reader.run("start transaction with consistent snapshot");
    ask("update d.t set v = v + 1");
    pause(Duration::from_secs(40));
    reader.say("select sum(v) from d.t;");
    let (_, errors) = reader.finish();
    assert!(errors.contains("ERROR 9006"), "{errors}");
}
