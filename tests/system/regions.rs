//! Counting inside the storage nodes, region by region, and splitting while clients work.

use basalt_tests::cmd::Sysbench;
use basalt_tests::{Cluster, alone, mysql, sysbench};

const ROWS: u64 = 1_000_000;
const BATCH: u64 = 5_000;

/// Fills `big.t` with rows (id, k = id % 1000, v = id * 3, s = one of ten words).
fn fill(port: u16) {
    mysql(port, &[], "create database big; create table big.t (id bigint primary key, k int not null, v bigint, s varchar(20), key by_k (k))")
        .expect_ok();
    let text = (0..ROWS / BATCH).map(|batch| {
        let rows = (batch * BATCH..(batch + 1) * BATCH)
            .map(|id| format!("({id},{},{},'word{}')", id % 1000, id * 3, id % 10))
            .collect::<Vec<_>>()
            .join(",");
        format!("insert into big.t values {rows};\n")
    });
    mysql(port, &[], &text.collect::<String>()).expect_ok();
}

fn ask(port: u16, statement: &str) -> String {
    mysql(port, &["-N"], statement).expect_ok()
}

#[test]
fn aggregates_over_a_million_rows_run_in_storage() {
    let _alone = alone();
    let cluster = Cluster::start(3, 1, "");
    let port = cluster.port;
    fill(port);
    ask(port, &format!("split table big.t between (0) and ({ROWS}) regions 16"));
    let regions = ask(port, "show table big.t regions").lines().count();
    assert!(regions >= 16, "{regions} regions");

    let n = u128::from(ROWS);
    let sum = 3 * n * (n - 1) / 2;
    assert_eq!(ask(port, "select count(*) from big.t"), format!("{ROWS}\n"));
    assert_eq!(
        ask(port, "select count(v), sum(v), min(v), max(v), avg(k) from big.t"),
        format!("{ROWS}\t{sum}\t0\t{}\t499.5000\n", (n - 1) * 3)
    );
    assert_eq!(ask(port, "select count(*) from big.t where k > 10 and s = 'word7'"), format!("{}\n", 99 * ROWS / 1000));
    let groups = ask(port, "select s, count(*), sum(k) from big.t group by s order by s");
    assert_eq!(groups.lines().count(), 10);
    assert_eq!(groups.lines().next(), Some(format!("word0\t{}\t{}", ROWS / 10, ROWS / 1000 * 49_500).as_str()));
    assert_eq!(
        ask(port, "select id from big.t where v > 30 order by v desc, id limit 2"),
        format!("{}\n{}\n", ROWS - 1, ROWS - 2)
    );

    // What EXPLAIN ANALYZE says: one task a region of the rows, one row back from each.
    let rows_regions = regions_with_rows(port);
    let plan = ask(port, "explain analyze select count(v) from big.t where k > 10 and s = 'word7'");
    assert!(plan.contains(&format!("tasks:{rows_regions}")), "expected {rows_regions} tasks in\n{plan}");
    assert!(plan.contains(&format!("rows returned:{rows_regions}")), "one row a region in\n{plan}");
    assert!(plan.contains("cop"), "marked as run in storage:\n{plan}");
}

/// Regions that hold rows (not index entries) of `big.t`: those that a scan of the rows must touch.
fn regions_with_rows(port: u16) -> usize {
    let plan = ask(port, "explain analyze select count(*) from big.t");
    let tasks = plan
        .split("tasks:")
        .nth(1)
        .and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().map(str::to_string));
    tasks.and_then(|t| t.parse().ok()).unwrap_or_else(|| panic!("no task count in\n{plan}"))
}

#[test]
fn eight_regions_answer_with_eight_rows() {
    let _alone = alone();
    let cluster = Cluster::start(3, 1, "");
    let port = cluster.port;
    ask(port, "create database d; create table d.t (id int primary key, c1 int, c2 varchar(20))");
    ask(port, "split table d.t between (0) and (8000) regions 8");
    let rows = (0..8000)
        .map(|i| format!("({i},{},'{}')", i % 20, if i % 2 == 0 { "percona" } else { "live" }))
        .collect::<Vec<_>>()
        .join(",");
    mysql(port, &[], &format!("insert into d.t values {rows}")).expect_ok();
    assert_eq!(ask(port, "select count(c1) from d.t where c1 > 10 and c2 = 'percona'"), "1600\n");
    let plan = ask(port, "explain analyze select count(c1) from d.t where c1 > 10 and c2 = 'percona'");
    assert!(plan.contains("tasks:8") && plan.contains("rows returned:8"), "{plan}");
    assert!(plan.contains("rows scanned:8000"), "{plan}");
}

#[test]
fn splitting_under_sysbench_is_not_seen_by_clients() {
    let _alone = alone();
    // Regions split at 64 KiB: hundreds of splits while sixteen clients write.
    let cluster = Cluster::start(3, 1, "[storage]\nregion_split_size = \"64KiB\"\nregion_max_size = \"96KiB\"\n");
    let ports = cluster.sql_ports();
    mysql(ports[0], &[], "create database sbtest").expect_ok();
    let size: &[&str] = &["--tables=2", "--table-size=5000"];
    sysbench(&Sysbench { script: "oltp_read_write", ports: &ports, flags: size }, "prepare").expect_ok();
    let flags = [size, &["--threads=16", "--time=10", "--events=0", "--mysql-ignore-errors=1213,1205,9007"]].concat();
    std::thread::scope(|scope| {
        let load =
            scope.spawn(|| sysbench(&Sysbench { script: "oltp_read_write", ports: &ports, flags: &flags }, "run"));
        for table in ["sbtest1", "sbtest2"] {
            mysql(ports[0], &[], &format!("split table sbtest.{table} between (0) and (10000) regions 8")).expect_ok();
        }
        load.join().expect("sysbench runs").expect_ok();
    });
    let regions = ask(ports[0], "show table sbtest.sbtest1 regions").lines().count();
    assert!(regions >= 8, "{regions} regions");
    assert_eq!(ask(ports[0], "select count(*) from sbtest.sbtest1"), "5000\n");
    let by_index = ask(ports[0], "select count(*) from sbtest.sbtest1 where k >= 0");
    assert_eq!(by_index, "5000\n");
}
