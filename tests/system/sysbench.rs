//! Every bundled sysbench script in both ps-modes against one process and against a cluster: no error but conflicts on the
//! same row, which MySQL would report too.

use basalt_tests::cmd::Sysbench;
use basalt_tests::{Cluster, Up, alone, mysql, sysbench};

const SCRIPTS: &[&str] = &[
    "oltp_point_select",
    "oltp_read_only",
    "oltp_read_write",
    "oltp_write_only",
    "oltp_update_index",
    "oltp_update_non_index",
    "oltp_insert",
    "oltp_delete",
    "select_random_points",
    "select_random_ranges",
];
const SIZE: &[&str] = &["--tables=2", "--table-size=2000"];
/// Deadlock, lock wait timeout, write conflict: two transactions wanted the same row.
const CONFLICTS: &str = "--mysql-ignore-errors=1213,1205,9007";

fn run_all(ports: &[u16]) {
    mysql(ports[0], &[], "create database sbtest; create database bulk").expect_ok();
    let prepare = Sysbench { script: "oltp_read_write", ports: &ports[..1], flags: SIZE };
    sysbench(&prepare, "prepare").expect_ok();
    sysbench(&Sysbench { flags: &[SIZE, &["--threads=2"]].concat(), ports, ..prepare.clone() }, "prewarm").expect_ok();
    for ps_mode in ["auto", "disable"] {
        let mode = format!("--db-ps-mode={ps_mode}");
        let flags = [SIZE, &["--threads=16", "--time=1", "--events=0", CONFLICTS, &mode]].concat();
        for script in SCRIPTS {
            let out = sysbench(&Sysbench { script, ports, flags: &flags }, "run");
            assert!(out.ok, "{script} with ps-mode {ps_mode}\n{}\n{}", out.out, out.err);
            let events = out.out.lines().find_map(|l| l.trim().strip_prefix("total number of events:")).map(str::trim);
            assert!(events.is_some_and(|n| n != "0"), "{script} with ps-mode {ps_mode} did nothing\n{}", out.out);
        }
        // Its tables have the names of the others' tables.
        let bulk = ["--mysql-db=bulk", "--threads=16", &mode];
        let bulk_run = ["--mysql-db=bulk", "--threads=16", "--time=1", "--events=0", &mode];
        sysbench(&Sysbench { script: "bulk_insert", ports, flags: &bulk }, "prepare").expect_ok();
        sysbench(&Sysbench { script: "bulk_insert", ports, flags: &bulk_run }, "run").expect_ok();
        sysbench(&Sysbench { script: "bulk_insert", ports, flags: &bulk }, "cleanup").expect_ok();
    }
    sysbench(&Sysbench { script: "oltp_read_write", ports: &ports[..1], flags: SIZE }, "cleanup").expect_ok();
    assert_eq!(mysql(ports[0], &["-N"], "show tables from sbtest; show tables from bulk").expect_ok(), "");
}

#[test]
fn every_script_against_one_process() {
    let _alone = alone();
    let up = Up::start(&[]);
    run_all(&[up.port]);
}

#[test]
fn every_script_against_three_storage_nodes() {
    let _alone = alone();
    let cluster = Cluster::start(3, 1, "");
    run_all(&cluster.sql_ports());
}
