//! `basalt ctl`: what it shows of a cluster, and the two things that it changes.

use basalt_tests::{Cluster, alone, basalt, until};
use serde_json::Value;
use std::time::Duration;

struct Ctl {
    status: String,
}

impl Ctl {
    fn run(&self, arguments: &[&str]) -> basalt_tests::Output {
        basalt(&[&["ctl", "--status", &self.status], arguments].concat())
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let text = self.run(&[arguments, &["--json"]].concat()).expect_ok();
        match serde_json::from_str(&text) {
            Ok(Value::Array(rows)) => rows,
            Ok(other) => vec![other],
            Err(error) => panic!("{error}: {text}"),
        }
    }
}

#[test]
fn regions_are_shown_split_and_led_from_elsewhere() {
    let _alone = alone();
    let cluster = Cluster::start(3, 1, "");
    cluster
        .mysql("create database d; create table d.t (id int primary key); insert into d.t values (1), (2), (3)")
        .expect_ok();
    let sql = cluster.status().into_iter().find(|p| p.name == "sql-1").expect("there is one");
    let ctl = Ctl { status: sql.status };

    let stores = ctl.json(&["stores"]);
    assert_eq!(stores.len(), 3);
    assert!(
        stores.iter().all(|s| s["state"] == "up" && s["capacity_bytes"].as_u64().is_some_and(|n| n > 0)),
        "{stores:?}"
    );

    // A region is born on one store and gets the others one by one; one that is split before has as few in both halves.
    let has_three = |region: &Value| {
        region["peers"].as_array().is_some_and(|p| p.len() == 3 && p.iter().all(|p| p["role"] == "voter"))
    };
    until("regions have three replicas", Duration::from_secs(30), || ctl.json(&["regions"]).iter().all(has_three));
    let before = ctl.json(&["regions"]);
    let made = ctl.json(&["split", "7a00ff"]);
    assert!(made.iter().any(|r| r["start_key"] == "7a00ff"), "{made:?}");
    until("PD knows the new region", Duration::from_secs(5), || ctl.json(&["regions"]).len() == before.len() + 1);
    let table = ctl.run(&["regions"]).expect_ok();
    assert!(table.starts_with("id  ") && table.lines().count() == before.len() + 2, "{table}");

    let region =
        |ctl: &Ctl| ctl.json(&["regions"]).into_iter().find(|r| r["start_key"] == "7a00ff").expect("it was made");
    until("the new region has a leader and three replicas", Duration::from_secs(10), || {
        let region = region(&ctl);
        !region["leader_store"].is_null() && has_three(&region)
    });
    let found = region(&ctl);
    let (id, leader) = (found["id"].to_string(), found["leader_store"].as_u64());
    // Stores register at once, each takes the ids of its first region with its own: 1, 2, 3 is as likely as 1, 4, 7.
    let other = stores.iter().filter_map(|s| s["id"].as_u64()).find(|id| Some(*id) != leader).expect("three stores");
    ctl.run(&["transfer-leader", &id, &other.to_string()]).expect_ok();
    until("the other store leads", Duration::from_secs(10), || region(&ctl)["leader_store"].as_u64() == Some(other));

    assert_eq!(ctl.json(&["check-replicas"])[0]["equal"], true);
    assert!(ctl.run(&["transfer-leader", &id, "999"]).expect_error().contains("no peer on store 999"));
    assert!(ctl.run(&["transfer-leader", "999999", "1"]).expect_error().contains("999999 not found"));
    assert!(!ctl.run(&["split", "xyz"]).expect_error().is_empty());
}
