//! Which SQL servers are alive, as one of them can tell from PD's answers to its heartbeats.
//!
//! Only what was seen with the own clock counts: a server is silent when answers that came again and again bring no new
//! heartbeat of it. Whoever was cut off from PD itself knows nothing until it has listened for as long again; by then PD has
//! heard of all that live, even if it has just started.

use super::config::{ANNOUNCE_GAP_MAX, SERVER_DEAD_AFTER};
use basalt_common::env::Monotonic;
use basalt_proto::pd::SqlServer;
use std::collections::BTreeMap;

#[derive(Debug)]
pub(super) struct Liveness {
    /// Since when PD has answered without a gap.
    steady_since: Monotonic,
    last_answer: Monotonic,
    /// The newest heartbeat of each server, by PD's clock, and when it was first seen.
    heartbeats: BTreeMap<u64, (u64, Monotonic)>,
}

impl Liveness {
    pub fn new(now: Monotonic) -> Liveness {
        Liveness { steady_since: now, last_answer: now, heartbeats: BTreeMap::new() }
    }

    /// Takes in what PD has answered.
    pub fn told(&mut self, servers: &[SqlServer], now: Monotonic) {
        if now.since(self.last_answer) > ANNOUNCE_GAP_MAX {
            self.steady_since = now;
        }
        self.last_answer = self.last_answer.max(now);
        let is_listed = |id: u64| servers.iter().any(|server| server.id == id);
        self.heartbeats.retain(|id, (_, seen)| is_listed(*id) || now.since(*seen) < SERVER_DEAD_AFTER);
        for server in servers {
            let newest = (server.last_heartbeat_unix_ms, now);
            let known = self.heartbeats.entry(server.id).or_insert(newest);
            if known.0 != newest.0 {
                *known = newest;
            }
        }
    }

    /// The servers that may be alive; `None` when that cannot be told.
    pub fn alive(&self, now: Monotonic) -> Option<Vec<u64>> {
        let is_heard = now.since(self.last_answer) < ANNOUNCE_GAP_MAX;
        if !is_heard || now.since(self.steady_since) < SERVER_DEAD_AFTER {
            return None;
        }
        let alive = self.heartbeats.iter().filter(|(_, (_, seen))| now.since(*seen) < SERVER_DEAD_AFTER);
        Some(alive.map(|(id, _)| *id).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_dead_when_its_heartbeats_stop_and_only_to_whom_has_listened() {
        let at = |ms: u64| Monotonic(ms * 1_000_000);
        let server = |id, ms| SqlServer { id, last_heartbeat_unix_ms: ms, ..SqlServer::default() };
        let mut liveness = Liveness::new(at(0));
        for ms in (0..5_000).step_by(500) {
            liveness.told(&[server(1, ms), server(2, ms.min(1_000))], at(ms));
            let wanted = match ms {
                0..2_000 => None,
                2_000..3_000 => Some(vec![1, 2]),
                _ => Some(vec![1]),
            };
            assert_eq!(liveness.alive(at(ms)), wanted, "{ms}");
        }
        // PD was away, and comes back without knowing anybody.
        assert_eq!(liveness.alive(at(7_000)), None);
        liveness.told(&[server(1, 8_000)], at(8_000));
        assert_eq!(liveness.alive(at(8_000)), None);
        for ms in (8_500..10_500).step_by(500) {
            liveness.told(&[server(1, ms), server(3, ms)], at(ms));
        }
        assert_eq!(liveness.alive(at(10_000)), Some(vec![1, 3]));
    }
}
