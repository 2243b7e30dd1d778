//! PD over gRPC: one stream a caller, tagged requests, answered as they become ready.
//!
//! Requests of a stream are worked on side by side in one task, so that a timestamp never waits for a heartbeat that
//! waits for the disk. Beyond [`STREAM_REQUESTS_MAX`] the stream is not read on, and HTTP/2 holds the caller back. A PD that
//! stops reads no further, answers what it has read, and ends the streams: their callers would keep them open for ever.

use crate::config::STREAM_REQUESTS_MAX;
use crate::service::PdService;
use basalt_proto::MESSAGE_BYTES_MAX;
use basalt_proto::pd::pd_server::{Pd, PdServer};
use basalt_proto::pd::{PdTagged, PdTaggedResponse};
use futures::StreamExt;
use futures::stream::BoxStream;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

/// The adapter around [`PdService`].
pub struct PdGrpc {
    service: Arc<PdService>,
    stop: CancellationToken,
}

impl PdGrpc {
    /// All that PD serves, until `stop`.
    pub fn routes(service: Arc<PdService>, stop: CancellationToken) -> Routes {
        Routes::new(PdGrpc::server(service, stop))
    }

    /// A tonic service, to be added to a server's router.
    pub fn server(service: Arc<PdService>, stop: CancellationToken) -> PdServer<PdGrpc> {
        PdServer::new(PdGrpc { service, stop }).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }
}

#[tonic::async_trait]
impl Pd for PdGrpc {
    type CallStream = BoxStream<'static, Result<PdTaggedResponse, Status>>;

    async fn call(&self, requests: Request<Streaming<PdTagged>>) -> Result<Response<Self::CallStream>, Status> {
        let service = self.service.clone();
        let read = requests.into_inner().take_until(self.stop.clone().cancelled_owned());
        let answers = read.map(move |tagged| {
            let service = service.clone();
            async move {
                let PdTagged { id, request } = tagged?;
                let response = service.handle(request.unwrap_or_default()).await;
                Ok(PdTaggedResponse { id, response: Some(response) })
            }
        });
        Ok(Response::new(answers.buffer_unordered(STREAM_REQUESTS_MAX).boxed()))
    }
}
