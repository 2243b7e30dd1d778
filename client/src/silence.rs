//! Stores that say nothing.
//!
//! A store that hangs, or hears and cannot speak, answers nothing and breaks no connection, while its regions get other leaders
//! within seconds. Nobody needs to wait for its keepalive to fail:
//!
//! ```text
//!   request ──▶ leader      no answer of this store to anybody for SILENCE: is it there?  ──▶ store ── yes ─▶ go on waiting
//!                           no answer to that either: do you lead the region?  ──▶ the other voters ── yes ─▶ ask that one
//! ```
//! One request asks for all that wait; the answers measure nothing and wait for nothing, since whoever is asked may be busy.
//! A request that is asked of another leader may have been executed by the silent one, like any whose answer is lost. A store
//! that answers something is not silent, so that who waits for a row's lock on a busy store asks nobody.

use crate::cluster::Cluster;
use crate::region_cache::CachedRegion;
use crate::rpc::RpcError;
use basalt_common::env::{Env, Monotonic};
use basalt_common::{Peer, PeerRole, StoreId};
use basalt_proto::kv::{self, kv_request, kv_response};
use futures::stream::{FuturesUnordered, StreamExt};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// A store that owes answers is asked whether it is there after saying nothing for so long. An election takes a second.
const SILENCE: Duration = Duration::from_millis(300);
/// How long it may take to say so, and the other voters to answer.
const PATIENCE: Duration = Duration::from_millis(200);
/// Between two rounds.
const PAUSE: Duration = Duration::from_millis(100);

/// What is known of the stores' answers.
#[derive(Default)]
pub(crate) struct Silence {
    stores: RwLock<HashMap<StoreId, Arc<Heard>>>,
}

/// What is known of one store's answers.
#[derive(Default)]
struct Heard {
    /// Answers that it owes.
    owed: AtomicU64,
    /// When it last answered, or came to owe an answer.
    since: AtomicU64,
    /// Held by who asks whether it is there.
    asking: tokio::sync::Mutex<()>,
}

impl Heard {
    fn now(&self, env: &Env) {
        self.since.store(env.now().0, Ordering::Relaxed);
    }

    fn silent_for(&self, env: &Env) -> Duration {
        env.now().since(Monotonic(self.since.load(Ordering::Relaxed)))
    }
}

/// An answer that a store owes.
struct Owed<'a> {
    heard: Arc<Heard>,
    env: &'a Env,
}

impl Drop for Owed<'_> {
    fn drop(&mut self) {
        self.heard.owed.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Silence {
    fn owed<'a>(&self, store: StoreId, env: &'a Env) -> Owed<'a> {
        let known = self.stores.read().get(&store).cloned();
        let heard = known.unwrap_or_else(|| self.stores.write().entry(store).or_default().clone());
        if heard.owed.fetch_add(1, Ordering::Relaxed) == 0 {
            heard.now(env);
        }
        Owed { heard, env }
    }
}

impl Cluster {
    /// Waits for an answer of `peer`'s store, unless that is silent and another peer leads the region meanwhile; who that is
    /// stands in the cache then.
    pub(crate) async fn unless_silent<T>(
        &self,
        route: &CachedRegion,
        peer: Peer,
        asked: impl Future<Output = Result<T, RpcError>>,
    ) -> Result<T, RpcError> {
        let owed = self.silence.owed(peer.store_id, &self.env);
        tokio::select! {
            biased;
            answer = asked => {
                if answer.is_ok() {
                    owed.heard.now(owed.env);
                }
                answer
            }
            leader = self.other_leader(route, peer, &owed.heard) => {
                self.regions.set_leader(route, leader);
                let reason = format!("it says nothing, and store {} leads now", leader.store_id);
                Err(RpcError::NoAnswer { target: format!("store {}", peer.store_id), reason })
            }
        }
    }

    /// Who leads the region instead of `peer`, as soon as its store is silent and another says that it does.
    async fn other_leader(&self, route: &CachedRegion, peer: Peer, heard: &Heard) -> Peer {
        loop {
            // Who asked for all has found out.
            if let Some(leader) = route.leader().filter(|leader| leader.id != peer.id) {
                return leader;
            }
            let silent = heard.silent_for(&self.env);
            if silent < SILENCE {
                sleep(SILENCE - silent).await;
                continue;
            }
            if silent < SILENCE + PATIENCE {
                if let Ok(_asking) = heard.asking.try_lock()
                    && let Ok(Some(_)) = timeout(PATIENCE, self.leader_at(route, peer)).await
                {
                    heard.now(&self.env);
                    continue;
                }
            } else if let Ok(_asking) = route.asking.try_lock() {
                let others = route.region.peers.iter().filter(|p| p.id != peer.id && p.role == PeerRole::Voter);
                let mut answers: FuturesUnordered<_> = others.map(|other| self.leader_at(route, *other)).collect();
                let found = timeout(PATIENCE, async {
                    while let Some(answer) = answers.next().await {
                        if let Some(Some(leader)) = answer {
                            return Some(leader);
                        }
                    }
                    None
                });
                if let Ok(Some(leader)) = found.await {
                    return leader;
                }
            }
            sleep(PAUSE).await;
        }
    }

    /// Whether a peer leads its region, by its store; nothing where that does not say.
    async fn leader_at(&self, route: &CachedRegion, peer: Peer) -> Option<Option<Peer>> {
        let ask = kv_request::Cmd::RegionInfo(kv::RegionInfoRequest { region_id: route.region.id.0, leads_only: true });
        let answer = self.kv.call(peer.store_id, kv::KvRequest { cmd: Some(ask) }).await.ok()?;
        let Some(kv_response::Cmd::RegionInfo(info)) = answer.cmd else { return None };
        let leads = |info: &kv::RegionInfo| info.leader.as_ref().is_some_and(|leader| leader.id == peer.id.0);
        Some(info.regions.first().filter(|info| leads(info)).map(|_| peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::{KvRpc, PdRpc};
    use crate::{PdClient, TsoMode};
    use async_trait::async_trait;
    use basalt_common::{Epoch, KeyRange, PeerId, Region, RegionId};
    use basalt_proto::coprocessor::{CoprocessorRequest, CoprocessorResponse};
    use basalt_proto::kv::{KvRequest, KvResponse};
    use basalt_proto::pd::{PdRequest, PdResponse};
    use futures::stream::BoxStream;

    /// Store 1 says nothing, or only that it is there; store 2 leads if it is told to.
    struct Stores {
        first_speaks: bool,
        second_leads: bool,
    }

    #[async_trait]
    impl KvRpc for Stores {
        async fn call(&self, store: StoreId, request: KvRequest) -> Result<KvResponse, RpcError> {
            let is_info = matches!(request.cmd, Some(kv_request::Cmd::RegionInfo(_)));
            if store == StoreId(1) && !(is_info && self.first_speaks) {
                std::future::pending::<()>().await;
            }
            let leader = (store == StoreId(2) && self.second_leads).then(|| peer(2).into());
            let info = kv::RegionInfo { leader, ..Default::default() };
            let info = kv::RegionInfoResponse { regions: vec![info] };
            Ok(KvResponse { cmd: Some(kv_response::Cmd::RegionInfo(info)) })
        }

        async fn coprocess(
            &self,
            _: StoreId,
            _: CoprocessorRequest,
        ) -> Result<BoxStream<'static, Result<CoprocessorResponse, RpcError>>, RpcError> {
            std::future::pending().await
        }
    }

    struct NoPd;

    #[async_trait]
    impl PdRpc for NoPd {
        async fn call(&self, _: PdRequest) -> Result<PdResponse, RpcError> {
            std::future::pending().await
        }
    }

    fn peer(number: u64) -> Peer {
        Peer { id: PeerId(number), store_id: StoreId(number), role: PeerRole::Voter }
    }

    /// Who is asked after `time`, if not the first any more.
    async fn asked_instead(stores: Stores, time: Duration) -> Option<Peer> {
        let env = Env::real();
        let pd = PdClient::new(env.clone(), Arc::new(NoPd), TsoMode::Batched);
        let cluster = Cluster::with_pd(env, Arc::new(stores), pd);
        let peers = (1..=3).map(peer).collect();
        let region =
            Region { id: RegionId(9), range: KeyRange::all(), epoch: Epoch { conf_ver: 1, version: 1 }, peers };
        let route = cluster.regions.insert(region, Some(peer(1)));
        let answer =
            timeout(time, cluster.unless_silent(&route, peer(1), std::future::pending::<Result<(), _>>())).await;
        assert!(matches!(answer, Err(_) | Ok(Err(RpcError::NoAnswer { .. }))));
        route.leader().filter(|leader| leader.id != PeerId(1))
    }

    #[tokio::test]
    async fn a_silent_leader_is_left_for_one_who_says_that_it_leads() {
        let second = |first_speaks, second_leads| asked_instead(Stores { first_speaks, second_leads }, 4 * SILENCE);
        let (left, nobody, alive) = tokio::join!(second(false, true), second(false, false), second(true, true));
        assert_eq!(left, Some(peer(2)));
        assert_eq!(nobody, None);
        // It is there, and may be waiting for a lock.
        assert_eq!(alive, None);
    }
}
