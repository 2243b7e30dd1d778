//! The in-process short circuit: the same plain structs that travel by gRPC are passed to the services as they are.

use async_trait::async_trait;
use basalt_client::rpc::{KvRpc, PdRpc, RpcError};
use basalt_common::StoreId;
use basalt_pd::PdService;
use basalt_proto::coprocessor::{CoprocessorRequest, CoprocessorResponse};
use basalt_proto::kv::{KvRequest, KvResponse};
use basalt_proto::pd::{PdRequest, PdResponse};
use basalt_storage::service::StoreService;
use futures::StreamExt;
use futures::stream::BoxStream;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The stores of this process.
pub struct LocalKv {
    stores: BTreeMap<StoreId, Arc<StoreService>>,
}

impl LocalKv {
    /// Calls go to these.
    pub fn new(stores: impl IntoIterator<Item = (StoreId, Arc<StoreService>)>) -> LocalKv {
        LocalKv { stores: stores.into_iter().collect() }
    }

    fn store(&self, id: StoreId) -> Result<&Arc<StoreService>, RpcError> {
        let missing = || RpcError::Unreachable { target: format!("store {id}"), reason: "not in this process".into() };
        self.stores.get(&id).ok_or_else(missing)
    }
}

#[async_trait]
impl KvRpc for LocalKv {
    async fn call(&self, store: StoreId, request: KvRequest) -> Result<KvResponse, RpcError> {
        Ok(self.store(store)?.handle(request).await)
    }

    async fn coprocess(
        &self,
        store: StoreId,
        request: CoprocessorRequest,
    ) -> Result<BoxStream<'static, Result<CoprocessorResponse, RpcError>>, RpcError> {
        Ok(self.store(store)?.coprocess(request).await.map(Ok).boxed())
    }
}

/// The placement driver of this process.
pub struct LocalPd(pub Arc<PdService>);

#[async_trait]
impl PdRpc for LocalPd {
    async fn call(&self, request: PdRequest) -> Result<PdResponse, RpcError> {
        Ok(self.0.handle(request).await)
    }
}
