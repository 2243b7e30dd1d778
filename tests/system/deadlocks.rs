//! Deadlocks over stores and SQL servers.

use basalt_tests::cmd::basalt;
use basalt_tests::{Cluster, alone, mysql, runtime};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a circle may live; 100 ms on a machine that is not busy.
const CIRCLE_LIFE: Duration = Duration::from_secs(1);

async fn begin(port: u16) -> Conn {
    let options = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(port).user(Some("root"));
    let mut conn = Conn::new(options.db_name(Some("circle")).prefer_socket(false)).await.expect("the server greets");
    conn.query_drop("begin").await.expect("begins");
    conn
}

fn update(id: usize) -> String {
    format!("update t set v = v + 1 where id = {id}")
}

/// Puts the two regions' leaders on two stores.
async fn spread(cluster: &Cluster) {
    let status = cluster.status().into_iter().find(|p| p.role == "sql").expect("a SQL server").status;
    let leaders = || -> Vec<(u64, u64)> {
        let text = basalt(&["ctl", "regions", "--status", &status, "--json"]).expect_ok();
        let regions: Vec<serde_json::Value> = serde_json::from_str(&text).expect("JSON");
        let number = |value: &serde_json::Value| value.as_u64().expect("a number");
        regions.iter().map(|region| (number(&region["id"]), number(&region["leader_store"]))).collect()
    };
    let text = basalt(&["ctl", "stores", "--status", &status, "--json"]).expect_ok();
    let stores: Vec<serde_json::Value> = serde_json::from_str(&text).expect("JSON");
    let stores: Vec<u64> = stores.iter().map(|store| store["id"].as_u64().expect("a number")).collect();
    for _ in 0..50 {
        let now = leaders();
        let [.., (_, first), (region, second)] = now[..] else { panic!("two regions: {now:?}") };
        if first != second {
            return;
        }
        let other = stores.iter().find(|&&store| store != first).expect("three stores").to_string();
        basalt(&["ctl", "transfer-leader", "--status", &status, &region.to_string(), &other]);
        sleep(Duration::from_millis(300)).await;
    }
    panic!("the leaders stay together: {:?}", leaders());
}

#[test]
fn a_circle_over_two_stores_has_one_victim_at_once() {
    let _alone = alone();
    let cluster = Cluster::start(3, 2, "");
    let tables = "create database circle; create table circle.t (id int primary key, v int); \
                  insert into circle.t values (1, 0), (2, 0), (3, 0); split table circle.t by (2)";
    mysql(cluster.port, &[], tables).expect_ok();
    let ports = cluster.sql_ports();
    runtime().block_on(async {
        spread(&cluster).await;
        for round in 0..5 {
            // The first has changed two rows, the second one: its end costs less.
            let (mut first, mut second) = (begin(ports[0]).await, begin(ports[1]).await);
            for id in [1, 3] {
                first.query_drop(update(id)).await.expect("a free row");
            }
            second.query_drop(update(2)).await.expect("a free row");
            let started = Instant::now();
            let (waits, closes) = (first.query_drop(update(2)), second.query_drop(update(1)));
            let (first_got, second_got) = tokio::join!(waits, closes);
            assert!(started.elapsed() < CIRCLE_LIFE, "round {round}: {:?}", started.elapsed());
            first_got.expect("the winner goes on");
            match second_got.expect_err("the victim is told") {
                mysql_async::Error::Server(error) => assert_eq!(error.code, 1213, "{error}"),
                error => panic!("{error}"),
            }
            first.query_drop("commit").await.expect("commits");
            second.query_drop("rollback").await.expect("rolls back");
        }
        let mut conn = begin(ports[0]).await;
        let rows: Vec<(i32, i32)> = conn.query("select id, v from t order by id").await.expect("rows");
        assert_eq!(rows, [(1, 5), (2, 5), (3, 5)]);
        // The victim's server shows it, with the statement that is its own.
        let shown =
            "select is_victim, table_name, index_name, waited_for, statement from information_schema.basalt_deadlocks
                     where deadlock_id = 5 order by is_victim";
        let mut conn = begin(ports[1]).await;
        let members: Vec<(i32, String, String, String, Option<String>)> = conn.query(shown).await.expect("rows");
        let [(0, _, _, waited_for, None), (1, table, index, key, Some(statement))] = &members[..] else {
            panic!("{members:?}")
        };
        assert_eq!((table.as_str(), index.as_str(), statement.as_str()), ("t", "PRIMARY", update(1).as_str()));
        assert!(waited_for.ends_with("_r_2") && key.ends_with("_r_1"), "{members:?}");
        let status: Vec<(String, String, String)> = conn.query("show engine innodb status").await.expect("rows");
        let [(engine, name, text)] = &status[..] else { panic!("{status:?}") };
        assert_eq!((engine.as_str(), name.as_str()), ("InnoDB", ""));
        assert!(text.contains("LATEST DETECTED DEADLOCK") && text.contains("WE ROLL BACK TRANSACTION"), "{text}");
    });
}
