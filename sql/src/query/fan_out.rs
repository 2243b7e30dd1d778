//! The seam between a scan of a plan and the regions that answer it.
//!
//! Real: [`ClusterFanOut`] over the client's coprocessor fan-out, which finds regions, retries and resolves locks. Second:
//! the tests' fan-out, which runs the same fragments over tables in memory, cut into as many regions as the test wants.

use crate::error::Result;
use async_trait::async_trait;
use basalt_common::{KeyRange, Timestamp};
use basalt_proto::coprocessor::{ScanSpec, ScanSummary};
use bytes::Bytes;
use futures::stream::BoxStream;

/// One scan over all its regions.
#[derive(Debug, Clone)]
pub struct ScanRequest {
    /// What to decode.
    pub spec: ScanSpec,
    /// Where; sorted, not overlapping.
    pub ranges: Vec<KeyRange>,
    /// As of when.
    pub ts: Timestamp,
    /// What to run over the rows ([`basalt_expr::fragment`]); empty = nothing.
    pub fragment: Bytes,
    /// `EvalContext::encode` of the statement.
    pub eval_context: Bytes,
    /// Rows wanted of each region of a scan without fragment; zero = all.
    pub limit: u64,
    /// Regions read at a time.
    pub concurrency: usize,
    /// Whether the regions' rows come in the order of their keys.
    pub keep_order: bool,
}

/// What comes back, of all regions, interleaved unless the order is kept.
#[derive(Debug)]
pub enum ScanEvent {
    /// A batch, as Arrow IPC.
    Batch(Bytes),
    /// A task (one request to one region) is done.
    TaskDone(ScanSummary),
}

/// Sends scans to regions.
#[async_trait]
pub trait FanOut: Send + Sync {
    /// How many regions the ranges touch, as far as is known now; for estimates.
    async fn region_count(&self, ranges: &[KeyRange]) -> Result<usize>;

    /// About how many rows a range of row keys holds.
    async fn row_count(&self, range: &KeyRange) -> Result<u64>;

    /// Runs a scan. Dropping the stream cancels it everywhere.
    fn run(&self, request: ScanRequest) -> BoxStream<'static, Result<ScanEvent>>;
}
