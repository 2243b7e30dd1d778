//! What a process counts, in Prometheus' terms. The status port serves it at `/metrics`.
//!
//! | metric | labels | |
//! |---|---|---|
//! | `basalt_sql_connections` | | open client connections |
//! | `basalt_sql_statement_seconds` | `protocol`: text, prepared | how long statements took, their results' sending included |
//! | `basalt_sql_logins_refused_total` | `code`: MySQL's number | clients that were not let in: wrong password, no account, no such database |
//! | `basalt_sql_errors_total` | `code`: MySQL's number | statements that failed |
//! | `basalt_sql_memory_bytes`, `basalt_process_memory_bytes` | | bytes that statements and caches account for; resident memory of the process |
//! | `basalt_sql_memory_cancelled_total` | `limit`: statement, process | statements ended because of their memory |
//! | `basalt_client_backoffs_total` | `cause` | waits before a request was sent again |
//! | `basalt_store_requests_total` | `command` | requests that stores answered |
//! | `basalt_store_regions`, `basalt_store_leaders`, `basalt_store_bytes` | `store` | what a store holds, as of its last report to PD |
//! | `basalt_raft_log_append_seconds` | | one synced write of the raft log, for all regions that had something |
//! | `basalt_gc_records_total` | `what`: seen, deleted | commit records that garbage collection looked at, and deletions of them and of their values |
//! | `basalt_pd_timestamps_total` | | timestamps handed out |
//!
//! A label has few values: nothing is labeled by table, region or user. Counting is one atomic addition, on the hot path too.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, exponential_buckets,
};
use std::sync::LazyLock;

/// Open client connections.
pub static SQL_CONNECTIONS: LazyLock<IntGauge> =
    LazyLock::new(|| registered(IntGauge::new("basalt_sql_connections", "Open client connections")));

/// Durations of statements, by protocol.
pub static SQL_STATEMENT_SECONDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    let opts = HistogramOpts::new("basalt_sql_statement_seconds", "Durations of statements").buckets(buckets());
    registered(HistogramVec::new(opts, &["protocol"]))
});

/// Statements that failed, by MySQL's error number.
pub static SQL_ERRORS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let opts = Opts::new("basalt_sql_errors_total", "Statements that failed");
    registered(IntCounterVec::new(opts, &["code"]))
});

/// Clients that were not let in, by MySQL's error number.
pub static SQL_LOGINS_REFUSED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let opts = Opts::new("basalt_sql_logins_refused_total", "Clients that were not let in");
    registered(IntCounterVec::new(opts, &["code"]))
});

/// Bytes that the tree of [`crate::memory`] accounts for, as of the governor's last look.
pub static SQL_MEMORY: LazyLock<IntGauge> =
    LazyLock::new(|| registered(IntGauge::new("basalt_sql_memory_bytes", "Bytes accounted for")));

/// Resident memory of the process, as of the governor's last look.
pub static PROCESS_MEMORY: LazyLock<IntGauge> =
    LazyLock::new(|| registered(IntGauge::new("basalt_process_memory_bytes", "Resident memory")));

/// Statements ended because of their memory, by whose limit they met.
pub static SQL_MEMORY_CANCELLED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let opts = Opts::new("basalt_sql_memory_cancelled_total", "Statements ended because of their memory");
    registered(IntCounterVec::new(opts, &["limit"]))
});

/// Waits before a request was sent again, by cause.
pub static CLIENT_BACKOFFS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let opts = Opts::new("basalt_client_backoffs_total", "Waits before a request was sent again");
    registered(IntCounterVec::new(opts, &["cause"]))
});

/// Requests that the stores of this process answered, by command.
pub static STORE_REQUESTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let opts = Opts::new("basalt_store_requests_total", "Requests answered");
    registered(IntCounterVec::new(opts, &["command"]))
});

/// Regions with a replica on a store.
pub static STORE_REGIONS: LazyLock<IntGaugeVec> = LazyLock::new(|| store_gauge("basalt_store_regions", "Regions"));

/// Regions that a store leads.
pub static STORE_LEADERS: LazyLock<IntGaugeVec> =
    LazyLock::new(|| store_gauge("basalt_store_leaders", "Regions led by the store"));

/// Bytes on a store's disk.
pub static STORE_BYTES: LazyLock<IntGaugeVec> = LazyLock::new(|| store_gauge("basalt_store_bytes", "Bytes on disk"));

/// Synced writes of the raft log.
pub static RAFT_LOG_APPEND_SECONDS: LazyLock<Histogram> = LazyLock::new(|| {
    let opts = HistogramOpts::new("basalt_raft_log_append_seconds", "Synced writes of the raft log");
    registered(Histogram::with_opts(opts.buckets(buckets())))
});

/// Commit records that garbage collection has seen, and deleted (with their values).
pub static GC_RECORDS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let about = Opts::new("basalt_gc_records_total", "Records that garbage collection has seen and deleted");
    registered(IntCounterVec::new(about, &["what"]))
});

/// Timestamps handed out.
pub static PD_TIMESTAMPS: LazyLock<IntCounter> =
    LazyLock::new(|| registered(IntCounter::new("basalt_pd_timestamps_total", "Timestamps handed out")));

/// 50 µs to 13 s.
fn buckets() -> Vec<f64> {
    exponential_buckets(0.000_05, 2.0, 18).expect("the factor is above one")
}

fn store_gauge(name: &str, help: &str) -> IntGaugeVec {
    registered(IntGaugeVec::new(Opts::new(name, help), &["store"]))
}

fn registered<M: prometheus::core::Collector + Clone + 'static>(metric: prometheus::Result<M>) -> M {
    let metric = metric.expect("names and labels are well-formed");
    prometheus::register(Box::new(metric.clone())).expect("each name is registered once");
    metric
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_registered_under_its_name() {
        SQL_CONNECTIONS.set(1);
        SQL_STATEMENT_SECONDS.with_label_values(&["text"]).observe(0.1);
        SQL_LOGINS_REFUSED.with_label_values(&["1045"]).inc();
        SQL_ERRORS.with_label_values(&["1064"]).inc();
        SQL_MEMORY.set(1);
        PROCESS_MEMORY.set(1);
        SQL_MEMORY_CANCELLED.with_label_values(&["process"]).inc();
        CLIENT_BACKOFFS.with_label_values(&["locked"]).inc();
        STORE_REQUESTS.with_label_values(&["get"]).inc();
        for gauge in [&STORE_REGIONS, &STORE_LEADERS, &STORE_BYTES] {
            gauge.with_label_values(&["1"]).set(1);
        }
        RAFT_LOG_APPEND_SECONDS.observe(0.001);
        GC_RECORDS.with_label_values(&["seen"]).inc();
        PD_TIMESTAMPS.inc_by(2);
        let names: Vec<String> = prometheus::gather().iter().map(|family| family.get_name().to_owned()).collect();
        let own = include_str!("metrics.rs").lines().filter(|line| line.starts_with("//! | `")).flat_map(|line| {
            line.split('|').nth(1).unwrap_or_default().split(',').map(|name| name.trim().trim_matches('`').to_owned())
        });
        for name in own {
            assert!(names.contains(&name), "{name} is described but not registered");
        }
    }
}
