//! Scans key ranges, the transaction's own writes merged in.

use crate::context::ReadView;
use crate::error::Result;
use crate::executor::table_reader::Pair;
use basalt_client::{ScanOptions, Scanner, Snapshot};
use basalt_common::{KeyRange, UserKey};
use bytes::Bytes;
use std::collections::VecDeque;

/// Ranges being read one after the other.
pub struct RangeScan {
    snapshot: Snapshot,
    /// Ranges to come, each with the own writes in it, both in the scan's direction.
    ranges: VecDeque<(KeyRange, VecDeque<(UserKey, Option<Bytes>)>)>,
    current: Option<Current>,
    reverse: bool,
    /// Pairs wanted at most; `usize::MAX` = all.
    wanted: usize,
    /// Pairs fetched at first; 0 = as many as travel well together.
    first_page: usize,
}

struct Current {
    scanner: Scanner,
    own: VecDeque<(UserKey, Option<Bytes>)>,
    peeked: Option<(Bytes, Bytes)>,
}

impl RangeScan {
    /// A scan of `ranges`, which are in key order.
    pub fn new(view: &ReadView, ranges: Vec<KeyRange>, reverse: bool, wanted: usize) -> RangeScan {
        let own = |range: &KeyRange| -> VecDeque<_> {
            let Some(dirty) = &view.dirty else { return VecDeque::new() };
            let rows = dirty.range(range).map(|(key, value)| (key.clone(), value.clone()));
            if reverse { rows.rev().collect() } else { rows.collect() }
        };
        let with_own = ranges.into_iter().map(|range| {
            let own = own(&range);
            (range, own)
        });
        let ranges = if reverse { with_own.rev().collect() } else { with_own.collect() };
        RangeScan { snapshot: view.snapshot.clone(), ranges, current: None, reverse, wanted, first_page: 0 }
    }

    /// Begins each range with a small page: for a reader that may stop early.
    pub fn begin_with(&mut self, pairs: usize) {
        self.first_page = pairs;
    }

    /// The next pairs, `limit` at most; none at the end.
    ///
    /// # Errors
    /// What storage returns.
    pub async fn next(&mut self, limit: usize) -> Result<Vec<Pair>> {
        let mut out = Vec::new();
        while out.len() < limit {
            let Some(current) = &mut self.current else {
                let Some((range, own)) = self.ranges.pop_front() else { break };
                // Own deletions and changes eat into what storage is asked for.
                let limit = if self.wanted == usize::MAX { 0 } else { self.wanted.saturating_add(own.len()) };
                let options =
                    ScanOptions { reverse: self.reverse, limit, first_page: self.first_page, ..ScanOptions::default() };
                let scanner = self.snapshot.scan(range, options);
                self.current = Some(Current { scanner, own, peeked: None });
                continue;
            };
            match current.next(self.reverse).await? {
                Some(pair) => out.push(pair),
                None => self.current = None,
            }
        }
        if self.wanted != usize::MAX {
            self.wanted = self.wanted.saturating_sub(out.len());
        }
        Ok(out)
    }
}

impl Current {
    async fn next(&mut self, reverse: bool) -> Result<Option<Pair>> {
        loop {
            if self.peeked.is_none() {
                self.peeked = self.scanner.next().await?;
            }
            let stored_pair = |peeked: &mut Option<(Bytes, Bytes)>| peeked.take().map(|(k, v)| (UserKey(k), v));
            let Some((own_key, _)) = self.own.front() else { return Ok(stored_pair(&mut self.peeked)) };
            match &self.peeked {
                Some((stored, _)) if own_key.0 == *stored => self.peeked = None,
                Some((stored, _)) if (own_key.0 < *stored) == reverse => return Ok(stored_pair(&mut self.peeked)),
                _ => {}
            }
            if let Some((key, Some(value))) = self.own.pop_front() {
                return Ok(Some((key, value)));
            }
        }
    }
}
