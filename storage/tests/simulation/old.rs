//! Old versions: clients that have them collected, clients that read them again and again, and what is left at the end.

use crate::bank::balances;
use crate::world::World;
use basalt_client::{Cluster, Error};
use basalt_common::Timestamp;
use basalt_proto::pd::SqlServer;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// One of so many rounds of collection ends with the death of its client.
const DEATHS_ONE_OF: u64 = 10;
/// How long one snapshot is read.
const READ_FOR: (u64, u64) = (2_000, 15_000);

/// Moves the safe point, as a SQL server does; now and then it dies over it.
pub async fn collector(world: Arc<World>, number: u64, stop: Arc<AtomicBool>) {
    let chance = world.env(600 + number);
    let mut cluster = world.client(620 + number).await;
    while !stop.load(Ordering::Relaxed) {
        let is_last = chance.random_range(0, DEATHS_ONE_OF) == 0;
        let life = Duration::from_millis(if is_last { chance.random_range(0, 200) } else { 300_000 });
        match tokio::time::timeout(life, cluster.advance_safe_point()).await {
            Ok(outcome) => {
                let came_to = outcome.map(|marks| (marks.safe_point, marks.collect_to, marks.held_by));
                world.trace.note(format_args!("collector {number}: {came_to:?}"));
            }
            Err(_) => cluster = world.client(620 + number).await,
        }
        tokio::time::sleep(Duration::from_millis(chance.random_range(100, 1_500))).await;
    }
}

/// Reads one snapshot for long: it is the same each time, or it is refused. Every second reader tells PD that he reads it.
/// Returns how often an old snapshot was read, and how often it was refused.
pub async fn reader(world: Arc<World>, number: u64, stop: Arc<AtomicBool>) -> (u64, u64) {
    let chance = world.env(640 + number);
    let cluster = world.client(660 + number).await;
    let tells = number.is_multiple_of(2);
    let (mut read, mut refused) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let Ok(ts) = cluster.timestamp().await else { continue };
        let until = crate::clock::elapsed() + Duration::from_millis(chance.random_range(READ_FOR.0, READ_FOR.1));
        let mut first: Option<Vec<i64>> = None;
        while crate::clock::elapsed() < until && !stop.load(Ordering::Relaxed) {
            if tells {
                tell(&cluster, number, ts).await;
            }
            match balances(&cluster, ts).await {
                Ok(now) => {
                    let before = first.get_or_insert_with(|| now.clone());
                    assert_eq!(*before, now, "the snapshot at {ts} changed");
                    read += 1;
                }
                Err(Error::BelowSafePoint { safe_point, .. }) => {
                    world.trace.note(format_args!("old reader {number} at {ts}: refused, {safe_point}"));
                    refused += 1;
                    break;
                }
                Err(error) => world.trace.note(format_args!("old reader {number} at {ts}: {error}")),
            }
            tokio::time::sleep(Duration::from_millis(chance.random_range(100, 700))).await;
        }
    }
    (read, refused)
}

async fn tell(cluster: &Cluster, number: u64, ts: Timestamp) {
    let about = SqlServer { id: 900 + number, oldest_ts: ts.0, ..SqlServer::default() };
    // Unheard, it is another of those that are refused.
    let _ =
        tokio::time::timeout(Duration::from_millis(500), cluster.pd().sql_server_heartbeat(Some(about), false)).await;
}
