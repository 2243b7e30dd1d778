//! The service on the network: a stream of request batches each way, and a stream of Arrow batches for each fragment.
//!
//! Requests of a stream are started in the order in which they come. What can be answered at once (most reads) is answered
//! by the task that reads the stream; the rest goes on in tasks of its own. Responses leave in any order, as many in one
//! message as are ready.
//!
//! Streams live as long as their clients, so a server that waited for their ends would never stop. [`Drain`] ends them: no
//! request is read any more, those that were read are answered, and then the streams close.

use super::store::StoreService;
use crate::raftstore::transport::Inbound;
use crate::raftstore::transport::grpc::RaftService;
use basalt_proto::MESSAGE_BYTES_MAX;
use basalt_proto::coprocessor::{CoprocessorRequest, CoprocessorResponse};
use basalt_proto::kv::batch_response::Tagged;
use basalt_proto::kv::kv_server::{Kv, KvServer};
use basalt_proto::kv::{BatchRequest, BatchResponse};
use futures::stream::{BoxStream, StreamExt};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

/// Ends the streams of a store's clients.
#[derive(Clone, Default)]
pub struct Drain {
    stop: CancellationToken,
    /// The readers of streams, and the requests that they have read.
    tasks: TaskTracker,
}

impl Drain {
    /// Reads no more requests and waits until those that were read are answered, or `grace` has passed.
    pub async fn finish(&self, grace: Duration) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            tracing::warn!(requests = self.tasks.len(), "requests were not answered before the store stopped");
        }
    }
}

/// All that a store serves: requests, and messages of other stores.
pub fn routes(service: Arc<StoreService>, inbound: Inbound, drain: Drain) -> Routes {
    Routes::new(server(service, drain)).add_service(RaftService::server(inbound))
}

/// A store's service for tonic's server.
pub fn server(service: Arc<StoreService>, drain: Drain) -> KvServer<GrpcService> {
    KvServer::new(GrpcService { service, drain })
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

/// The adapter.
pub struct GrpcService {
    service: Arc<StoreService>,
    drain: Drain,
}

#[tonic::async_trait]
impl Kv for GrpcService {
    type BatchStream = BoxStream<'static, Result<BatchResponse, Status>>;
    type CoprocessStream = BoxStream<'static, Result<CoprocessorResponse, Status>>;

    async fn batch(&self, request: Request<Streaming<BatchRequest>>) -> Result<Response<Self::BatchStream>, Status> {
        let config = self.service.config();
        let (answers, ready) = mpsc::channel(config.stream_inflight_max);
        let inflight = Arc::new(Semaphore::new(config.stream_inflight_max));
        let batch_max = config.stream_batch_max;
        // Ends when the client closes its side, the connection breaks, or the store stops.
        let drain = self.drain.clone();
        self.drain.tasks.spawn(read_requests(
            Arc::clone(&self.service),
            request.into_inner(),
            answers,
            inflight,
            drain,
        ));
        let batches = futures::stream::unfold(ready, move |mut ready| async move {
            let mut responses = Vec::new();
            let received = ready.recv_many(&mut responses, batch_max).await;
            (received > 0).then(|| (Ok(BatchResponse { responses }), ready))
        });
        Ok(Response::new(batches.boxed()))
    }

    async fn coprocess(&self, request: Request<CoprocessorRequest>) -> Result<Response<Self::CoprocessStream>, Status> {
        let responses = self.service.coprocess(request.into_inner()).await;
        Ok(Response::new(responses.map(Ok).boxed()))
    }
}

async fn read_requests(
    service: Arc<StoreService>,
    mut requests: Streaming<BatchRequest>,
    answers: mpsc::Sender<Tagged>,
    inflight: Arc<Semaphore>,
    drain: Drain,
) {
    loop {
        let received = tokio::select! {
            received = requests.message() => received,
            () = drain.stop.cancelled() => return,
        };
        let batch = match received {
            Ok(Some(batch)) => batch,
            Ok(None) => return,
            Err(status) => {
                tracing::debug!(%status, "a client's request stream ended");
                return;
            }
        };
        for tagged in batch.requests {
            let id = tagged.id;
            let request = tagged.request.unwrap_or_default();
            let Ok(permit) = Arc::clone(&inflight).acquire_owned().await else { return };
            let owner = Arc::clone(&service);
            let mut answer = Box::pin(async move { owner.handle(request).await });
            match poll_once(&mut answer).await {
                Poll::Ready(response) => {
                    drop(permit);
                    if answers.send(Tagged { id, response: Some(response) }).await.is_err() {
                        return;
                    }
                }
                Poll::Pending => {
                    let answers = answers.clone();
                    drain.tasks.spawn(async move {
                        let response = Some(answer.await);
                        // A client that is gone wants no answer.
                        let _ = answers.send(Tagged { id, response }).await;
                        drop(permit);
                    });
                }
            }
        }
    }
}

/// Polls a future once; whoever polls it next is woken for it.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    futures::future::poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx))).await
}
