//! Money moves between rows of different regions while the SQL server is killed again and again: the sum never changes.

use basalt_tests::up::pause;
use basalt_tests::{Cluster, alone, mysql};
use mysql_async::prelude::Queryable;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const ACCOUNTS: u64 = 40;
const BALANCE: u64 = 1000;
const KILLS: u32 = 5;

async fn transfer(conn: &mut mysql_async::Conn, step: u64) -> mysql_async::Result<()> {
    let (from, to, amount) = (step * 7 % ACCOUNTS, (step * 13 + 5) % ACCOUNTS, step % 9 + 1);
    if from == to {
        return Ok(());
    }
    conn.query_drop("begin").await?;
    conn.query_drop(format!("update account set balance = balance - {amount} where id = {from}")).await?;
    conn.query_drop(format!("update account set balance = balance + {amount} where id = {to}")).await?;
    conn.query_drop("commit").await
}

async fn teller(port: u16, number: u64, stop: Arc<AtomicBool>, done: Arc<AtomicU64>) {
    let mut step = number * 1_000_003;
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut conn) = basalt_tests::connect(port, Some("bank")).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        loop {
            step += 1;
            match transfer(&mut conn, step).await {
                Ok(()) => {
                    done.fetch_add(1, Ordering::Relaxed);
                }
                Err(mysql_async::Error::Server(_)) => {
                    // A conflict: this transfer did not happen.
                    if conn.query_drop("rollback").await.is_err() {
                        break;
                    }
                }
                Err(_) => break,
            }
            if stop.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "measures real time over real processes")]
fn the_sum_never_changes_while_sql_servers_die() {
    let _alone = alone();
    // sql-1 is killed again and again; sql-2 stays and looks.
    let cluster = Cluster::start(3, 2, "");
    let (port, observer) = (cluster.port, cluster.port + 1);
    let rows = (0..ACCOUNTS).map(|id| format!("({id},{BALANCE})")).collect::<Vec<_>>().join(",");
    mysql(
        observer,
        &[],
        &format!(
            "create database bank; create table bank.account (id bigint primary key, balance bigint not null, key by_balance (balance));
             insert into bank.account values {rows}; split table bank.account between (0) and ({ACCOUNTS}) regions 4"
        ),
    )
    .expect_ok();
    let runtime = basalt_tests::runtime();
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let tellers: Vec<_> = (0..8).map(|n| runtime.spawn(teller(port, n, stop.clone(), done.clone()))).collect();
    let total = format!("{}\n", ACCOUNTS * BALANCE);
    let sum = "select sum(balance) from bank.account";
    let (mut waits, mut restarts) = (Vec::new(), Vec::new());
    let mut look = || {
        let began = Instant::now();
        assert_eq!(mysql(observer, &["-N"], sum).expect_ok(), total);
        waits.push(began.elapsed());
    };
    for _ in 0..KILLS {
        for _ in 0..5 {
            pause(Duration::from_millis(200));
            look();
        }
        cluster.run(&["kill", "sql-1"]).expect_ok();
        look();
        let began = Instant::now();
        cluster.run(&["start", "sql-1"]).expect_ok();
        restarts.push(began.elapsed());
    }
    stop.store(true, Ordering::Relaxed);
    runtime.block_on(async {
        for teller in tellers {
            teller.await.expect("a teller does not panic");
        }
    });
    let transfers = done.load(Ordering::Relaxed);
    waits.sort();
    eprintln!("{transfers} transfers, {KILLS} kills; restarts {restarts:?}; sums {waits:?}");
    assert!(transfers > 20, "only {transfers} transfers went through");
    assert_eq!(mysql(observer, &["-N"], sum).expect_ok(), total);
    // The index tells the same as the rows.
    let by_index = "select sum(balance) from bank.account use index (by_balance) where balance > -1000000000";
    assert_eq!(mysql(observer, &["-N"], by_index).expect_ok(), total);
}
