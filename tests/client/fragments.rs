//! Answers of coprocessors that break off.

use crate::world::World;
use basalt_client::{CoprocessorItem, CoprocessorQuery};
use basalt_common::KeyRange;
use basalt_proto::coprocessor::{CoprocessorRequest, CoprocessorResponse, ScanSummary};
use basalt_storage::replicated::RegionSnapshot;
use basalt_storage::service::coprocessor::Coprocessor;
use futures::stream::{BoxStream, StreamExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Each answer is two batches and a summary; the first so many end behind the first batch, as if their task had died.
struct BreaksOff(AtomicU64);

impl Coprocessor for BreaksOff {
    fn handle(&self, _: CoprocessorRequest, _: RegionSnapshot) -> BoxStream<'static, CoprocessorResponse> {
        let batch = |rows| CoprocessorResponse { batch: vec![7; 10].into(), rows, ..CoprocessorResponse::default() };
        let last = CoprocessorResponse { summary: Some(ScanSummary::default()), ..batch(2) };
        let breaks = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        futures::stream::iter(if breaks { vec![batch(1)] } else { vec![batch(1), last] }).boxed()
    }
}

#[tokio::test]
async fn an_answer_that_ends_before_its_summary_is_asked_for_again() {
    for broken in [0, 1, 3] {
        let coprocessor = Arc::new(BreaksOff(AtomicU64::new(broken)));
        let world = World::with_coprocessor(1, &[], coprocessor.clone()).await;
        let start_ts = world.cluster.timestamp().await.expect("PD answers");
        let (ranges, template) = (vec![KeyRange::all()], CoprocessorRequest::default());
        let query = CoprocessorQuery { ranges, start_ts, template, keep_order: true, concurrency: 1 };
        let mut stream = world.cluster.coprocess(query).await.expect("the region is there");
        let mut rows = Vec::new();
        while let Some(item) = stream.next().await.expect("it is asked for again") {
            let CoprocessorItem { response, .. } = item;
            rows.push(response.rows);
        }
        assert_eq!((rows, coprocessor.0.load(Ordering::Relaxed)), (vec![1, 2], 0), "{broken} broken");
    }
}
