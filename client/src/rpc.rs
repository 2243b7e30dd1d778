//! The two seams through which everything leaves a process: calls to stores ([`KvRpc`]) and to PD ([`PdRpc`]).
//!
//! Real: gRPC streams (`crate::grpc`), and the in-process short circuit of `basalt up`, which passes the same plain
//! structs to the service without encoding them. Simulated: `basalt_tests`' network, which loses, delays and reorders.

use async_trait::async_trait;
use basalt_common::StoreId;
use basalt_proto::coprocessor::{CoprocessorRequest, CoprocessorResponse};
use basalt_proto::kv::{KvRequest, KvResponse};
use basalt_proto::pd::{PdRequest, PdResponse};
use futures::stream::BoxStream;

/// Why a call brought no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    /// The request did not leave: it was certainly not executed. Try another peer or come again.
    #[error("cannot reach {target}: {reason}")]
    Unreachable {
        /// Who was called.
        target: String,
        /// What the transport said.
        reason: String,
    },
    /// The request left and no response came: it may have been executed or not.
    #[error("no answer from {target}: {reason}")]
    NoAnswer {
        /// Who was called.
        target: String,
        /// What the transport said.
        reason: String,
    },
}

/// Calls to stores.
#[async_trait]
pub trait KvRpc: Send + Sync + 'static {
    /// Sends one command and waits for its response. Region and key errors are part of the response.
    async fn call(&self, store: StoreId, request: KvRequest) -> Result<KvResponse, RpcError>;

    /// Runs a fragment over one region; responses come as batches become ready. Dropping the stream cancels the work.
    async fn coprocess(
        &self,
        store: StoreId,
        request: CoprocessorRequest,
    ) -> Result<BoxStream<'static, Result<CoprocessorResponse, RpcError>>, RpcError>;
}

/// Calls to the placement driver, whichever process of it leads.
#[async_trait]
pub trait PdRpc: Send + Sync + 'static {
    /// Sends one request and waits for its response. PD's refusals are part of the response.
    async fn call(&self, request: PdRequest) -> Result<PdResponse, RpcError>;
}
