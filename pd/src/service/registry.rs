//! Small things that others announce to the cluster: service safe points and SQL servers.
//!
//! A service (garbage collection's own floor, a backup, a long reader) names the oldest timestamp whose versions it still
//! needs, for a limited time; the minimum over all of them is how far versions may be collected. SQL servers announce
//! themselves with the schema version they run, so that a schema change knows whom to wait for; they live in memory only,
//! since they announce themselves again within seconds.

use super::{PdService, records};
use crate::config::{SAFE_POINTS_MAX, SQL_SERVERS_MAX};
use crate::error::Error;
use basalt_common::Timestamp;
use basalt_proto::pd;
use std::collections::BTreeMap;

const SERVICE_NAME_BYTES_MAX: usize = 256;

#[derive(Debug, Clone, Copy)]
struct SafePoint {
    ts: Timestamp,
    expires_ms: u64,
}

/// Who has announced what.
#[derive(Debug, Default)]
pub(super) struct Registry {
    safe_points: BTreeMap<String, SafePoint>,
    sql_servers: BTreeMap<u64, pd::SqlServer>,
}

impl Registry {
    pub(super) fn set_safe_point(&mut self, service: String, ts: Timestamp, expires_ms: u64) {
        self.safe_points.insert(service, SafePoint { ts, expires_ms });
    }

    /// The lowest safe point that has not expired.
    fn min_safe_point(&self, now_ms: u64) -> Option<(&String, Timestamp)> {
        let live = self.safe_points.iter().filter(|(_, s)| s.expires_ms > now_ms);
        live.map(|(name, s)| (name, s.ts)).min_by_key(|(_, ts)| *ts)
    }
}

impl PdService {
    pub(super) async fn service_safe_point(
        &self,
        request: pd::ServiceSafePointRequest,
    ) -> Result<pd::ServiceSafePointResponse, Error> {
        if request.service.is_empty() || request.service.len() > SERVICE_NAME_BYTES_MAX {
            return Err(Error::Invalid("name of the service".into()));
        }
        let _writer = self.writer.lock().await;
        let now_ms = self.env.wall_ms();
        let expires_ms = now_ms.saturating_add(request.ttl_s.saturating_mul(1_000));
        let ts = Timestamp(request.safe_point_ts);
        let change = {
            let state = self.state.lock();
            let points = &state.registry.safe_points;
            if points.len() >= SAFE_POINTS_MAX && !points.contains_key(&request.service) {
                return Err(Error::Unavailable("too many safe points".into()));
            }
            // What has been released may already be collected: a safe point is not taken below the others' minimum,
            // except by a service that renews its own.
            let floor = state.registry.min_safe_point(now_ms).map_or(Timestamp::ZERO, |(_, ts)| ts);
            match request.ttl_s {
                0 => Some(records::delete_safe_point(&request.service)),
                _ if ts >= floor => Some(records::put_safe_point(&request.service, ts, expires_ms)),
                _ => None,
            }
        };
        if let Some(change) = change {
            self.meta.write(vec![change]).await?;
            let mut state = self.state.lock();
            match request.ttl_s {
                0 => drop(state.registry.safe_points.remove(&request.service)),
                _ => state.registry.set_safe_point(request.service, ts, expires_ms),
            }
        }
        let state = self.state.lock();
        let min = state.registry.min_safe_point(now_ms);
        Ok(min.map_or_else(pd::ServiceSafePointResponse::default, |(service, ts)| pd::ServiceSafePointResponse {
            min_safe_point_ts: ts.0,
            min_service: service.clone(),
        }))
    }

    pub(super) fn sql_server_heartbeat(
        &self,
        request: pd::SqlServerHeartbeatRequest,
    ) -> Result<pd::SqlServerHeartbeatResponse, Error> {
        let now_ms = self.env.wall_ms();
        let forget_ms = self.config.sql_server_forget_after.as_millis() as u64;
        let servers = &mut self.state.lock().registry.sql_servers;
        servers.retain(|_, s| s.last_heartbeat_unix_ms.saturating_add(forget_ms) > now_ms);
        // A request without a server only asks who is there.
        if let Some(mut server) = request.server.filter(|s| s.id != 0) {
            if request.leaving {
                servers.remove(&server.id);
            } else if servers.len() >= SQL_SERVERS_MAX && !servers.contains_key(&server.id) {
                return Err(Error::Unavailable("too many SQL servers".into()));
            } else {
                server.last_heartbeat_unix_ms = now_ms;
                servers.insert(server.id, server);
            }
        }
        Ok(pd::SqlServerHeartbeatResponse { servers: servers.values().cloned().collect() })
    }
}
