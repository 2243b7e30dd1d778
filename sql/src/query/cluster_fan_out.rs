//! Scans over the cluster's regions, by the client.

use super::fan_out::{FanOut, ScanEvent, ScanRequest};
use crate::catalog::size;
use crate::error::{Error, Result};
use async_trait::async_trait;
use basalt_client::Cluster;
use basalt_client::coprocessor::CoprocessorQuery;
use basalt_common::KeyRange;
use basalt_expr::fragment::{BATCH_ROWS, FRAGMENT_VERSION};
use basalt_proto::coprocessor::CoprocessorRequest;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

/// The real fan-out.
pub struct ClusterFanOut {
    cluster: Cluster,
}

impl ClusterFanOut {
    /// Over a cluster.
    pub fn new(cluster: Cluster) -> Self {
        ClusterFanOut { cluster }
    }
}

#[async_trait]
impl FanOut for ClusterFanOut {
    async fn region_count(&self, ranges: &[KeyRange]) -> Result<usize> {
        let (Some(first), Some(last)) = (ranges.first(), ranges.last()) else { return Ok(0) };
        let hull = KeyRange { start: first.start.clone(), end: last.end.clone() };
        Ok(self.cluster.regions_in(&hull).await?.len())
    }

    async fn row_count(&self, range: &KeyRange) -> Result<u64> {
        Ok(size::keys_within(&self.cluster.regions_in(range).await?, range))
    }

    fn run(&self, request: ScanRequest) -> BoxStream<'static, Result<ScanEvent>> {
        let cluster = self.cluster.clone();
        let template = CoprocessorRequest {
            scan: Some(request.spec),
            fragment: request.fragment,
            fragment_version: FRAGMENT_VERSION,
            batch_rows_max: BATCH_ROWS as u32,
            limit: request.limit,
            eval_context: request.eval_context,
            ..CoprocessorRequest::default()
        };
        let query = CoprocessorQuery {
            ranges: request.ranges,
            start_ts: request.ts,
            template,
            keep_order: request.keep_order,
            concurrency: request.concurrency,
        };
        let stream = async move {
            let items = cluster.coprocess(query).await.map_err(Error::from)?;
            Ok::<_, Error>(items.into_stream().map_err(Error::from))
        };
        futures::stream::once(stream)
            .try_flatten()
            .flat_map(|item| {
                let events = match item {
                    Err(error) => vec![Err(error)],
                    Ok(item) => {
                        let mut events = Vec::with_capacity(2);
                        if !item.response.batch.is_empty() {
                            events.push(Ok(ScanEvent::Batch(item.response.batch)));
                        }
                        events.extend(item.response.summary.map(|summary| Ok(ScanEvent::TaskDone(summary))));
                        events
                    }
                };
                futures::stream::iter(events)
            })
            .boxed()
    }
}
