//! Requests about regions rather than about data: splitting, looking, handing on leadership, dropping ranges.

use crate::cluster::Cluster;
use crate::config::{REQUEST_BUDGET, SPLIT_LISTED_POLL, SPLIT_LISTED_WAIT};
use crate::error::{Error, Result};
use crate::pd_client::RegionAndLeader;
use crate::retry::{Retry, wrong_answer};
use basalt_common::{KeyRange, Peer, Region, RegionId, StoreId, UserKey};
use basalt_proto::kv::{self, kv_request, kv_response};
use bytes::Bytes;
use futures::future::BoxFuture;
use std::collections::BTreeSet;

impl Cluster {
    /// Splits regions so that each of `keys` starts one, and says how many it made: keys that start a region already are
    /// left alone. Returns when PD lists the new regions too, or [`SPLIT_LISTED_WAIT`] after the last split.
    ///
    /// # Errors
    /// [`Error::RegionUnavailable`]; [`Error::Invalid`] with a store's reason.
    pub fn split_regions(&self, mut keys: Vec<Bytes>) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move {
            keys.sort();
            keys.dedup();
            let mut retry = Retry::new(&self.env, REQUEST_BUDGET);
            let (mut left, mut made) = (keys.clone(), 0);
            while !left.is_empty() {
                let groups = self.group_by_region(std::mem::take(&mut left), |k| k, &mut retry).await?;
                for (route, keys) in groups {
                    let split_keys: Vec<Bytes> =
                        keys.iter().filter(|k| **k != route.region.range.start.0).cloned().collect();
                    if split_keys.is_empty() {
                        continue;
                    }
                    let request = |context| {
                        kv_request::Cmd::SplitRegion(kv::SplitRegionRequest {
                            context: Some(context),
                            split_keys: split_keys.clone(),
                        })
                    };
                    match self.attempt(&route, &mut retry, request).await? {
                        Some(kv_response::Cmd::SplitRegion(answer)) if answer.error.is_empty() => {
                            made += split_keys.len() as u64;
                            let store = route.leader().map(|p| p.store_id);
                            for region in answer.regions.iter().map(Region::from) {
                                let leader = store.and_then(|s| region.peer_on(s));
                                self.regions.insert(region, leader);
                            }
                        }
                        Some(kv_response::Cmd::SplitRegion(answer)) => return Err(Error::Invalid(answer.error)),
                        Some(_) => return Err(wrong_answer()),
                        None => left.extend(keys),
                    }
                }
            }
            if made > 0 {
                self.await_listing(&keys).await?;
            }
            Ok(made)
        })
    }

    /// PD hears of a region from its leader's heartbeat.
    async fn await_listing(&self, starts: &[Bytes]) -> Result<()> {
        let (Some(first), Some(last)) = (starts.first(), starts.last()) else { return Ok(()) };
        let range = KeyRange { start: UserKey(first.clone()), end: UserKey(last.clone()).successor() };
        let deadline = self.env.now().after(SPLIT_LISTED_WAIT);
        loop {
            let listed: BTreeSet<Bytes> =
                self.regions_in(&range).await?.into_iter().map(|r| r.region.range.start.0).collect();
            if starts.iter().all(|start| listed.contains(start)) || self.env.now() >= deadline {
                return Ok(());
            }
            tokio::time::sleep(SPLIT_LISTED_POLL).await;
        }
    }

    /// Hands leadership of the region at `key` to its peer on a store.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the region has no peer there, or with the store's reason.
    pub fn transfer_leader<'a>(&'a self, key: &'a [u8], to: StoreId) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut retry = Retry::new(&self.env, REQUEST_BUDGET);
            loop {
                let route = self.locate(key, &mut retry).await?;
                let peer = route.region.peer_on(to);
                let peer =
                    peer.ok_or_else(|| Error::Invalid(format!("region {} is not on store {to}", route.region.id)))?;
                let request = |context| {
                    kv_request::Cmd::TransferLeader(kv::TransferLeaderRequest {
                        context: Some(context),
                        to: Some(peer.into()),
                    })
                };
                match self.attempt(&route, &mut retry, request).await? {
                    Some(kv_response::Cmd::TransferLeader(answer)) if answer.error.is_empty() => return Ok(()),
                    Some(kv_response::Cmd::TransferLeader(answer)) => return Err(Error::Invalid(answer.error)),
                    Some(_) => return Err(wrong_answer()),
                    None => {}
                }
            }
        })
    }

    /// The regions that touch a range, as PD knows them, in key order.
    ///
    /// # Errors
    /// [`Error::PdUnavailable`].
    pub fn regions_in<'a>(&'a self, range: &'a KeyRange) -> BoxFuture<'a, Result<Vec<RegionAndLeader>>> {
        Box::pin(async move {
            let mut found: Vec<RegionAndLeader> = Vec::new();
            let mut left = range.clone();
            loop {
                let page = self.pd.scan_regions(&left).await?;
                let Some(last) = page.last() else { return Ok(found) };
                let end = last.region.range.end.clone();
                found.extend(page);
                if end.0.is_empty() || (!range.end.0.is_empty() && end >= range.end) {
                    return Ok(found);
                }
                left.start = end;
            }
        })
    }

    /// What a store knows of its regions; with an id, of one.
    ///
    /// # Errors
    /// [`Error::RegionUnavailable`] when the store cannot be reached.
    pub fn region_info(&self, store: StoreId, region: Option<RegionId>) -> BoxFuture<'_, Result<Vec<kv::RegionInfo>>> {
        Box::pin(async move {
            let region_id = region.map_or(0, |r| r.0);
            let request = kv_request::Cmd::RegionInfo(kv::RegionInfoRequest { region_id, leads_only: false });
            match self.ask_store(store, request).await? {
                kv_response::Cmd::RegionInfo(answer) => Ok(answer.regions),
                _ => Err(wrong_answer()),
            }
        })
    }

    /// A store's hash over the committed data of a region; replicas must agree.
    ///
    /// # Errors
    /// [`Error::RegionUnavailable`] when the store cannot be reached, [`Error::Invalid`] with its reason.
    pub fn region_hash(&self, store: StoreId, region: RegionId) -> BoxFuture<'_, Result<kv::RegionHashResponse>> {
        Box::pin(async move {
            let request = kv_request::Cmd::RegionHash(kv::RegionHashRequest { region_id: region.0 });
            match self.ask_store(store, request).await? {
                kv_response::Cmd::RegionHash(answer) if answer.error.is_empty() => Ok(answer),
                kv_response::Cmd::RegionHash(answer) => Err(Error::Invalid(answer.error)),
                _ => Err(wrong_answer()),
            }
        })
    }

    /// Removes every version of every key in a range that nobody reads any more.
    ///
    /// # Errors
    /// [`Error::RegionUnavailable`]; repeat it.
    pub fn delete_range(&self, range: KeyRange) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let mut retry = Retry::new(&self.env, REQUEST_BUDGET);
            let mut left = Some(range);
            while let Some(range) = left.clone() {
                let route = self.locate(range.start.as_slice(), &mut retry).await?;
                let Some(part) = range.intersect(&route.region.range) else {
                    return Err(Error::Corrupt(format!("region {} does not touch the range", route.region.id)));
                };
                let request = |context| {
                    kv_request::Cmd::DeleteRange(kv::DeleteRangeRequest {
                        context: Some(context),
                        start_key: part.start.0.clone(),
                        end_key: part.end.0.clone(),
                    })
                };
                match self.attempt(&route, &mut retry, request).await? {
                    Some(kv_response::Cmd::DeleteRange(answer)) => {
                        if let Some(e) = answer.error {
                            return Err(Error::of_key(e, basalt_common::Timestamp::ZERO));
                        }
                    }
                    Some(_) => return Err(wrong_answer()),
                    None => continue,
                }
                left = match part.end == range.end {
                    true => None,
                    false => Some(KeyRange { start: part.end, end: range.end }),
                };
            }
            Ok(())
        })
    }

    /// The leader of the region at a key, as this process would ask it.
    ///
    /// # Errors
    /// [`Error::RegionUnavailable`].
    pub fn leader_of<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<(Region, Option<Peer>)>> {
        Box::pin(async move {
            let mut retry = Retry::new(&self.env, REQUEST_BUDGET);
            let route = self.locate(key, &mut retry).await?;
            Ok((route.region.clone(), route.leader()))
        })
    }

    async fn ask_store(&self, store: StoreId, cmd: kv_request::Cmd) -> Result<kv_response::Cmd> {
        let answer = self.kv.call(store, kv::KvRequest { cmd: Some(cmd) }).await;
        let answer = answer.map_err(|e| Error::RegionUnavailable(e.to_string()))?;
        answer.cmd.ok_or_else(wrong_answer)
    }
}
