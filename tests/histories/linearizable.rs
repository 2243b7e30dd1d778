//! Whether one register behaves as if each access took place at a moment between its start and its end.
//!
//! Values are unique, so each has one write and its reads, a *cluster*: Gibbons and Korach, "Testing Shared Memories", SIAM J.
//! Comput. 1997. Of two clusters one lies wholly before the other. Cluster A must come before B if an access of A ends before
//! one of B starts, so both come before each other, which nobody can, when
//!
//! ```text
//! A  ├──┤        ├──┤       first end of A < last start of B
//! B         ├──┤            first end of B < last start of A
//! ```
//! and if no two clusters are like that, an order exists.

use std::collections::BTreeMap;

/// A write or a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    pub value: i64,
    pub is_write: bool,
    /// When it began, in nanoseconds.
    pub start: u64,
    /// When it had ended; `u64::MAX` where that is not known.
    pub end: u64,
}

/// A value's accesses at a glance.
#[derive(Debug, Clone, Copy)]
struct Cluster {
    value: i64,
    first_end: u64,
    last_start: u64,
}

/// Whatever shows that a register is not linearizable, a text each; what was written may be missing among the reads, and
/// writes of unknown outcome that nobody read count as never done.
pub fn violations(accesses: &[Access]) -> Vec<String> {
    let mut by_value: BTreeMap<i64, Vec<&Access>> = BTreeMap::new();
    accesses.iter().for_each(|access| by_value.entry(access.value).or_default().push(access));
    let (mut found, mut clusters) = (Vec::new(), Vec::new());
    for (value, of_value) in by_value {
        let Some(write) = of_value.iter().find(|access| access.is_write) else {
            found.push(format!("{value} was read, and nobody wrote it"));
            continue;
        };
        if of_value.len() == 1 && write.end == u64::MAX {
            continue;
        }
        let first_end = of_value.iter().map(|access| access.end).min().unwrap_or(u64::MAX);
        let last_start = of_value.iter().map(|access| access.start).max().unwrap_or(0);
        if first_end < write.start {
            found.push(format!("{value} was read until {first_end} ns, and written from {} ns on", write.start));
        }
        clusters.push(Cluster { value, first_end, last_start });
    }
    // Between its first end and its last start a value surely was the register's.
    let (mut sure, short): (Vec<Cluster>, Vec<Cluster>) =
        clusters.into_iter().partition(|cluster| cluster.first_end < cluster.last_start);
    sure.sort_by_key(|cluster| cluster.first_end);
    for pair in sure.windows(2) {
        if pair[1].first_end < pair[0].last_start {
            found.push(both(pair[0], pair[1]));
        }
    }
    for cluster in short {
        let place = sure.partition_point(|sure| sure.first_end < cluster.last_start);
        if let Some(around) = place.checked_sub(1).map(|place| sure[place])
            && cluster.first_end < around.last_start
        {
            found.push(both(around, cluster));
        }
    }
    found
}

fn both(one: Cluster, other: Cluster) -> String {
    let (a, b) = (one.value, other.value);
    format!(
        "{a} comes before {b}, for one of it ended at {} ns and one of {b} started at {} ns; \
         and {b} before {a}, for one of it ended at {} ns and one of {a} started at {} ns",
        one.first_end, other.last_start, other.first_end, one.last_start
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    /// `w1@0-5 r1@3-4`.
    fn found(text: &str) -> usize {
        let access = |word: &str| {
            let (value, window) = word[1..].split_once('@').unwrap();
            let (start, end) = window.split_once('-').unwrap();
            let end = end.parse().unwrap_or(u64::MAX);
            Access {
                value: value.parse().unwrap(),
                is_write: word.starts_with('w'),
                start: start.parse().unwrap(),
                end,
            }
        };
        violations(&text.split_whitespace().map(access).collect::<Vec<_>>()).len()
    }

    #[test]
    fn planted_violations_are_found() {
        assert_eq!(found("w1@0-1 w2@2-3 r2@4-5"), 0);
        assert_eq!(found("w1@0-1 w2@2-3 r1@4-5"), 1, "stale");
        assert_eq!(found("w1@0-1 w2@2-9 r1@4-5 r2@6-7"), 0);
        assert_eq!(found("w1@0-1 w2@2-9 r2@4-5 r1@6-7"), 1, "there and gone again");
        assert_eq!(found("w1@2-3 r1@0-1"), 1, "before it was written");
        assert_eq!(found("r1@0-1"), 1, "never written");
        assert_eq!(found("w1@0-1 w2@2-? r1@4-5"), 0, "unknown and not done");
        assert_eq!(found("w1@0-1 w2@2-? r2@4-5 r1@6-7"), 1, "unknown and done");
        assert_eq!(found("w1@0-1 r1@10-11 w2@3-4 w3@5-6"), 2, "both within");
    }

    #[test]
    fn correct_registers_raise_no_alarm_and_changed_reads_do() {
        let mut caught = 0;
        for seed in 0..500 {
            let mut random = SmallRng::seed_from_u64(seed);
            let mut accesses = Vec::new();
            let mut value = 0;
            for at in (100..10_000).step_by(10) {
                let is_write = at == 100 || random.random_range(0..3) == 0;
                value += i64::from(is_write);
                let end = at + random.random_range(0..60);
                accesses.push(Access { value, is_write, start: at - random.random_range(0..60), end });
            }
            assert_eq!(violations(&accesses), Vec::<String>::new(), "seed {seed}");
            let read = accesses.iter_mut().rev().find(|access| !access.is_write).unwrap();
            read.value -= 20;
            caught += usize::from(!violations(&accesses).is_empty());
        }
        assert_eq!(caught, 500);
    }
}
