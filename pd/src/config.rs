//! PD's settings and bounds.

use std::time::Duration;

/// How far ahead of the clock the durable timestamp window reaches, ms. The longest jump of timestamps over a restart.
pub const TSO_WINDOW_MS: u64 = 3_000;
/// Timestamps in one request at most.
pub const TSO_COUNT_MAX: u32 = 1 << 16;
/// Ids made durable ahead at a time.
pub const ID_WINDOW: u64 = 1_000;
/// Ids in one request at most.
pub const ID_COUNT_MAX: u32 = 100_000;
/// Regions in one answer at most.
pub const SCAN_REGIONS_MAX: usize = 1_024;
/// New regions of one split at most.
pub const SPLIT_COUNT_MAX: u32 = 4_096;
/// Services that hold a safe point at most.
pub const SAFE_POINTS_MAX: usize = 1_024;
/// SQL servers in the registry at most.
pub const SQL_SERVERS_MAX: usize = 4_096;
/// How long a SQL server's wait for calls of others is held.
pub const LISTEN_MAX: Duration = Duration::from_secs(2);
/// A SQL server that has not asked for calls for so long is not called.
pub const SQL_SERVER_DEAF_AFTER: Duration = Duration::from_secs(5);
/// How long a SQL server has to answer another.
pub const SQL_CALL_TIMEOUT: Duration = Duration::from_secs(1);
/// Calls that wait for one SQL server at most.
pub const CALLS_WAITING_MAX: usize = 1_024;
/// Requests of one stream that are being worked on at a time; beyond it the stream is not read.
pub const STREAM_REQUESTS_MAX: usize = 4_096;
/// How often the background task looks after the timestamp window.
pub const TSO_UPDATE_INTERVAL: Duration = Duration::from_millis(500);

/// What an operator of the cluster may set.
#[derive(Debug, Clone)]
pub struct PdConfig {
    /// Voters a region should have where there are as many stores.
    pub replicas_max: u32,
    /// A store without heartbeats for so long is shown as down and gets no new peers or leaders.
    pub store_down_after: Duration,
    /// A store without heartbeats for so long has its replicas replaced, where another store can take them.
    pub store_replace_after: Duration,
    /// A SQL server without heartbeats for so long is forgotten.
    pub sql_server_forget_after: Duration,
    /// Old versions are kept for so long, and for longer while somebody reads them.
    pub gc_life: Duration,
    /// Nobody's reading keeps them for longer than this.
    pub gc_limit: Duration,
    /// Leaders that one store may have more than another before one is moved.
    pub leader_tolerance: usize,
    /// Operators that add a peer to one store, at a time.
    pub adds_per_store_max: usize,
    /// Operators that move leaders, at a time.
    pub leader_moves_max: usize,
    /// An operator that changes peers is given up after so long.
    pub peer_operator_timeout: Duration,
    /// An operator that moves a leader or splits is given up after so long.
    pub quick_operator_timeout: Duration,
}

impl Default for PdConfig {
    fn default() -> Self {
        PdConfig {
            replicas_max: 3,
            store_down_after: Duration::from_secs(20),
            store_replace_after: Duration::from_secs(600),
            sql_server_forget_after: Duration::from_secs(15),
            gc_life: Duration::from_secs(600),
            gc_limit: Duration::from_secs(24 * 3_600),
            leader_tolerance: 1,
            adds_per_store_max: 8,
            leader_moves_max: 8,
            peer_operator_timeout: Duration::from_secs(300),
            quick_operator_timeout: Duration::from_secs(10),
        }
    }
}
