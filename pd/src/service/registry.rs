//! Small things that others announce to the cluster: service safe points and SQL servers.
//!
//! A service (a backup, a long reader) names the oldest timestamp whose versions it still
//! needs, for a limited time; the minimum over all of them holds the safe point ([`super::gc`]). SQL servers announce
//! themselves with the schema version they run, so that a schema change knows whom to wait for; they live in memory only,
//! since they announce themselves again within seconds.

use super::gc::Holder;
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

    /// Whoever needs the oldest versions: a service, or a SQL server that has not been forgotten.
    pub(super) fn oldest_holder(&self, now_ms: u64) -> Option<Holder> {
        let services = self.min_safe_point(now_ms).map(|(name, ts)| Holder { name: name.clone(), ts });
        let readers = self.sql_servers.values().filter(|server| server.oldest_ts != 0).map(|server| Holder {
            name: format!("SQL server at {}", server.address),
            ts: Timestamp(server.oldest_ts),
        });
        readers.chain(services).min_by_key(|holder| holder.ts)
    }

    /// Forgets the SQL servers that have not announced themselves since.
    pub(super) fn forget_servers(&mut self, before_ms: u64) {
        self.sql_servers.retain(|_, server| server.last_heartbeat_unix_ms > before_ms);
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
            match request.ttl_s {
                0 => records::delete_safe_point(&request.service),
                _ if ts < state.gc.safe_point => {
                    let safe_point = state.gc.safe_point;
                    return Err(Error::Invalid(format!(
                        "versions of {ts} may be gone: the safe point is {safe_point}"
                    )));
                }
                _ => records::put_safe_point(&request.service, ts, expires_ms),
            }
        };
        self.meta.write(vec![change]).await?;
        let mut state = self.state.lock();
        match request.ttl_s {
            0 => drop(state.registry.safe_points.remove(&request.service)),
            _ => state.registry.set_safe_point(request.service, ts, expires_ms),
        }
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
        let mut state = self.state.lock();
        state.registry.forget_servers(now_ms.saturating_sub(forget_ms));
        let servers = &mut state.registry.sql_servers;
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
