//! The seam to the crate that runs plan fragments over a region; storage itself knows no Arrow.

use crate::replicated::RegionSnapshot;
use basalt_proto::coprocessor::{CoprocessorRequest, CoprocessorResponse};
use futures::stream::{BoxStream, StreamExt};

/// Runs fragments. Implemented by the crate `coprocessor`.
pub trait Coprocessor: Send + Sync + 'static {
    /// Runs a request over a snapshot of its region. Dropping the stream cancels the work.
    ///
    /// The service has done what needs the store: epoch and lease, the request's timestamp is in max_ts, the ranges lie
    /// within the region, and no lock that is only in memory stands in them. Locks in the snapshot are met by the scan
    /// ([`crate::mvcc::ForwardScanner`]) and end the stream with `locked`.
    fn handle(&self, request: CoprocessorRequest, snapshot: RegionSnapshot) -> BoxStream<'static, CoprocessorResponse>;
}

/// Refuses everything: a store built without the coprocessor.
pub struct NoCoprocessor;

impl Coprocessor for NoCoprocessor {
    fn handle(
        &self,
        _request: CoprocessorRequest,
        _snapshot: RegionSnapshot,
    ) -> BoxStream<'static, CoprocessorResponse> {
        let other_error = "this store runs no plan fragments".to_string();
        let response = CoprocessorResponse { other_error, ..CoprocessorResponse::default() };
        futures::stream::once(futures::future::ready(response)).boxed()
    }
}
