//! Waiting between attempts, with a budget.
//!
//! One [`Backoff`] accompanies one request of the caller through all its attempts, wherever they are made. Each cause has
//! its own exponential delay with jitter; a store's suggested delay is a lower bound. When the budget's deadline is near,
//! [`Backoff::wait`] refuses, and the caller reports the cause.

use crate::config::BACKOFF_CAP;
use basalt_common::env::{Env, Monotonic};
use basalt_common::metrics;
use std::time::Duration;

/// Why another attempt has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// An election, or a transfer of leadership, is going on.
    NotLeader,
    /// The region is not where it was.
    RegionMoved,
    /// The store has too much to do, or is not ready.
    Busy,
    /// The store cannot be reached.
    Unreachable,
    /// Another transaction's lock is in the way.
    Locked,
    /// PD does not answer.
    Pd,
}

const CAUSES: usize = 6;

impl Cause {
    fn name(self) -> &'static str {
        match self {
            Cause::NotLeader => "not_leader",
            Cause::RegionMoved => "region_moved",
            Cause::Busy => "busy",
            Cause::Unreachable => "unreachable",
            Cause::Locked => "locked",
            Cause::Pd => "pd",
        }
    }

    fn base(self) -> Duration {
        Duration::from_millis(match self {
            Cause::NotLeader | Cause::RegionMoved => 2,
            Cause::Busy => 5,
            Cause::Unreachable => 20,
            Cause::Locked => 1,
            Cause::Pd => 10,
        })
    }

    fn cap(self) -> Duration {
        match self {
            Cause::Locked => Duration::from_millis(100),
            _ => BACKOFF_CAP,
        }
    }
}

/// The budget is spent; the request was attempted for so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetSpent;

/// The patience of one request.
pub struct Backoff {
    env: Env,
    deadline: Monotonic,
    attempts: [u32; CAUSES],
}

impl Backoff {
    /// Patience for `budget` from now.
    pub fn new(env: &Env, budget: Duration) -> Backoff {
        Backoff { env: env.clone(), deadline: env.now().after(budget), attempts: [0; CAUSES] }
    }

    /// The same deadline for a part of the request that proceeds on its own.
    pub fn fork(&self) -> Backoff {
        Backoff { env: self.env.clone(), deadline: self.deadline, attempts: [0; CAUSES] }
    }

    /// Time left.
    pub fn left(&self) -> Duration {
        self.deadline.since(self.env.now())
    }

    /// Waits for the cause's turn.
    ///
    /// # Errors
    /// [`BudgetSpent`] when the deadline would pass; nothing was waited then.
    pub async fn wait(&mut self, cause: Cause) -> Result<(), BudgetSpent> {
        self.wait_at_least(cause, Duration::ZERO).await
    }

    /// As [`Backoff::wait`], at least for `least`.
    ///
    /// # Errors
    /// [`BudgetSpent`] when the deadline would pass; nothing was waited then.
    pub async fn wait_at_least(&mut self, cause: Cause, least: Duration) -> Result<(), BudgetSpent> {
        let delay = self.next_delay(cause).max(least);
        if delay >= self.left() {
            return Err(BudgetSpent);
        }
        metrics::CLIENT_BACKOFFS.with_label_values(&[cause.name()]).inc();
        tokio::time::sleep(delay).await;
        Ok(())
    }

    /// Half of the exponential delay, and a random part of the other half.
    fn next_delay(&mut self, cause: Cause) -> Duration {
        let attempt = &mut self.attempts[cause as usize];
        let full = cause.base().saturating_mul(1 << (*attempt).min(16)).min(cause.cap());
        *attempt += 1;
        let half_us = full.as_micros() as u64 / 2;
        Duration::from_micros(half_us + self.env.random_range(0, half_us + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn delays_grow_to_the_cap_and_end_with_the_budget() {
        let env = Env::simulated(1, 0);
        let mut backoff = Backoff::new(&env, Duration::from_secs(1));
        let delays: Vec<_> = (0..12).map(|_| backoff.next_delay(Cause::NotLeader)).collect();
        assert!(delays[0] <= Duration::from_millis(2) && delays[11] >= BACKOFF_CAP / 2);
        assert!(delays.iter().all(|d| *d <= BACKOFF_CAP));
        assert_eq!(backoff.wait_at_least(Cause::Busy, Duration::from_secs(5)).await, Err(BudgetSpent));
    }
}
