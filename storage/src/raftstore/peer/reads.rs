//! Reads: read indexes, asked once for all that wait, and the lease that makes most of them unnecessary.
//!
//! The lease. A round is an append of a proposal or the heartbeats of a read index; when a quorum has acknowledged it
//! (the proposal is committed, the read index is confirmed), no other peer can be elected until `election_ticks` after it
//! was *sent*, because voters refuse while they hear from a leader. So the lease runs from the sending. It is renewed
//! while somebody reads. A leader that is the only voter needs no rounds. While a split or change of peers is in the log
//! and not applied, `guarded_until` holds the lease down: another store may already have applied it.

use super::{Peer, busy};
use crate::config::RaftConfig;
use crate::error::RegionError;
use crate::raftstore::delegate::LEASE_FOREVER;
use crate::raftstore::message::{ReadGrant, Reply};
use crate::replicated::RegionCtx;
use basalt_common::Epoch;
use basalt_common::env::Monotonic;
use basalt_common::mutant::mutant;

/// Read indexes of one region that are being confirmed at the same time.
const READ_ROUNDS_MAX: usize = 4;

/// A read that has no answer yet.
pub(super) struct ReadWaiter {
    pub(super) epoch: Epoch,
    pub(super) since: Monotonic,
    pub(super) reply: Reply<ReadGrant>,
}

/// Reads that one read index answers.
pub(super) struct ReadRound {
    pub(super) id: u64,
    pub(super) asked: Monotonic,
    pub(super) waiters: Vec<ReadWaiter>,
}

impl Peer {
    /// Confirms leadership for a read that found no lease.
    pub fn read(&mut self, ctx: &RegionCtx, reply: Reply<ReadGrant>, now: Monotonic, config: &RaftConfig) {
        if let Err(error) = self.check(ctx) {
            return reply.send(Err(error));
        }
        if self.reads_waiting.len() + self.reads_confirmed.len() >= config.reads_pending_max {
            return reply.send(Err(busy("too many reads wait for a read index")));
        }
        self.reads_waiting.push(ReadWaiter { epoch: ctx.epoch, since: now, reply });
    }

    /// Asks a quorum once for all reads that wait; raft would silently drop the question before it has committed an entry
    /// of its term, so those wait.
    pub fn ask_read_index(&mut self, now: Monotonic, renews: bool) {
        if !self.is_leader() || !self.node.raft.commit_to_current_term() || self.restoring.is_some() {
            return;
        }
        if (self.reads_waiting.is_empty() && !renews) || self.read_rounds.len() >= READ_ROUNDS_MAX {
            return;
        }
        let id = self.next_read_id;
        self.next_read_id += 1;
        self.read_rounds.push_back(ReadRound { id, asked: now, waiters: std::mem::take(&mut self.reads_waiting) });
        self.node.read_index(id.to_be_bytes().to_vec());
    }

    /// Asks again what was not answered in time, and gives up what waited too long.
    pub(super) fn retry_reads(&mut self, now: Monotonic, config: &RaftConfig) {
        let retry = config.tick * config.read_retry_ticks as u32;
        while self.read_rounds.front().is_some_and(|round| now.since(round.asked) >= retry) {
            if let Some(round) = self.read_rounds.pop_front() {
                self.reads_waiting.extend(round.waiters);
            }
        }
        let expired = |waiter: &ReadWaiter| now.since(waiter.since) > config.request_timeout;
        for waiter in self.reads_waiting.extract_if(.., |w| expired(w)) {
            waiter.reply.send(Err(RegionError::ReadNotReady(self.region.id)));
        }
    }

    pub(super) fn on_read_state(&mut self, index: u64, ctx: &[u8], now: Monotonic, config: &RaftConfig) {
        let Ok(id) = ctx.try_into().map(u64::from_be_bytes) else { return };
        while self.read_rounds.front().is_some_and(|round| round.id <= id) {
            let Some(round) = self.read_rounds.pop_front() else { break };
            if round.id == id {
                self.renew_lease(round.asked, now, config);
            }
            self.reads_confirmed.extend(round.waiters.into_iter().map(|w| (index, w)));
        }
        self.grant_reads();
    }

    pub(super) fn grant_reads(&mut self) {
        let applied = self.applied_index;
        let is_behind = self.applied_term != self.node.raft.term && !mutant("M18");
        if self.reads_confirmed.is_empty() || is_behind {
            return;
        }
        for (_, waiter) in self.reads_confirmed.extract_if(.., |(index, _)| *index <= applied || mutant("M18")) {
            let grant = if waiter.epoch == self.region.epoch {
                Ok(ReadGrant { region: self.region.clone(), term: self.node.raft.term })
            } else {
                Err(RegionError::EpochNotMatch(vec![(*self.region).clone()]))
            };
            waiter.reply.send(grant);
        }
    }

    /// Extends the lease by a round that was sent at `sent` and that a quorum acknowledged.
    pub(super) fn renew_lease(&mut self, sent: Monotonic, now: Monotonic, config: &RaftConfig) {
        let raft = &self.node.raft;
        if !self.is_leader() || self.applied_term != raft.term || self.transfer_term == raft.term {
            return;
        }
        if self.applied_index < self.guarded_until {
            return;
        }
        let until = if self.is_alone() { LEASE_FOREVER } else { sent.after(config.lease) };
        if until > now {
            self.delegate.extend_lease(until);
        }
    }
}
