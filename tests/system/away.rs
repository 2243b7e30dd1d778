//! A store that is away until PD replaces it, and comes back: every region has three replicas again, and nothing is lost.
//!
//! This is what real clusters failed at: with three stores PD took the lost store's replicas away and could not give them
//! back, because its own additions were stuck behind peers that could not come into being.

use basalt_tests::up::pause;
use basalt_tests::{Cluster, alone, mysql, until};
use serde_json::Value;
use std::time::Duration;

const SETTINGS: &str = "[schedule]\nstore_down_after = \"7s\"\nstore_replace_after = \"8s\"\n";
const ROWS: u32 = 600;

/// Regions, their replicas, and whether these hold the same.
fn replicas(cluster: &Cluster) -> Option<(u64, u64)> {
    let sql = cluster.status().into_iter().find(|p| p.name == "sql-1").expect("there is a SQL server");
    let out = basalt_tests::basalt(&["ctl", "check-replicas", "--json", "--status", &sql.status]);
    let found: Value = serde_json::from_str(&out.out).ok()?;
    out.ok.then(|| (found["regions"].as_u64().unwrap_or(0), found["replicas"].as_u64().unwrap_or(0)))
}

fn until_whole(what: &str, cluster: &Cluster) {
    let took = basalt_tests::timed(|| {
        until(what, Duration::from_secs(60), || {
            replicas(cluster).is_some_and(|(regions, replicas)| regions > 20 && replicas == 3 * regions)
        });
    })
    .1;
    eprintln!("{what}: {:?} after {took:.1?}", replicas(cluster));
}

fn insert(port: u16, rows: std::ops::Range<u32>) {
    for from in rows.clone().step_by(50) {
        let values: Vec<String> = (from..(from + 50).min(rows.end)).map(|n| format!("({n}, {})", n % 7)).collect();
        mysql(port, &[], &format!("insert into d.t values {}", values.join(","))).expect_ok();
    }
}

fn away(stores: u32) {
    let cluster = Cluster::start(stores, 1, SETTINGS);
    let port = cluster.port;
    let table = "create database d; create table d.t (id int primary key, v int); split table d.t between (0) and (1200) regions 24";
    mysql(port, &[], table).expect_ok();
    insert(port, 0..ROWS);
    until_whole("all regions have their replicas", &cluster);

    cluster.run(&["kill", "storage-3"]).expect_ok();
    pause(Duration::from_secs(3));
    // Down and not lost yet, then lost; regions are split meanwhile.
    insert(port, ROWS..2 * ROWS);
    mysql(port, &[], "split table d.t between (0) and (600) regions 20").expect_ok();
    pause(Duration::from_secs(9));
    if stores > 3 {
        until_whole("the lost replicas are made anew", &cluster);
    }
    cluster.run(&["start", "storage-3"]).expect_ok();
    until_whole("the store is back", &cluster);
    let count = mysql(port, &["-N"], "select count(*), sum(id) from d.t").expect_ok();
    let sum: u32 = (0..2 * ROWS).sum();
    assert_eq!(count, format!("{}\t{sum}\n", 2 * ROWS));
}

#[test]
fn one_of_three_stores_is_lost_and_comes_back() {
    let _alone = alone();
    away(3);
}

#[test]
fn one_of_four_stores_is_replaced_and_comes_back() {
    let _alone = alone();
    away(4);
}
