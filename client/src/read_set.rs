//! What a serializable transaction has read, and whether it is still so at its commit.
//!
//! Every read of a snapshot that records notes its key ranges and its timestamp, reads that bring nothing as well. The commit
//! prewrites its writes, draws its timestamp, and reads all these ranges once more, as any reader at that timestamp would: a
//! transaction that is committing in one of them is waited for or pushed above it, and one that comes later commits later.
//! When nobody else has changed a key in them since they were read, all that the transaction has read and written is as of
//! the one moment of its commit, so that transactions are as if they came one after the other, in the order of their commit
//! timestamps. This is optimistic concurrency control with backward validation (Kung and Robinson 1981); phantoms are found
//! because ranges are noted, not rows.
//!
//! A transaction that neither writes nor locks and has read at one timestamp is as of that one.

use crate::cluster::Cluster;
use crate::config::{READ_RANGES_MAX, REGION_CONCURRENCY};
use crate::error::{Error, Result};
use crate::snapshot::ScanOptions;
use basalt_common::{KeyRange, Timestamp, UserKey};
use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use parking_lot::Mutex;

/// Ranges of keys, each with when it was read.
#[derive(Debug, Default)]
pub struct ReadSet {
    reads: Mutex<Reads>,
}

#[derive(Debug, Default)]
struct Reads {
    noted: Vec<Read>,
    /// How often there were too many, so that ranges were joined.
    joined: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Read {
    range: KeyRange,
    ts: Timestamp,
}

/// Where a [`ReadSet`] ended at some time.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReadMark {
    len: usize,
    joined: usize,
}

impl ReadSet {
    /// Notes that a range was read as of `ts`. Beyond [`READ_RANGES_MAX`] neighbors become one: then changes between them
    /// count, too.
    pub fn note(&self, range: KeyRange, ts: Timestamp) {
        let mut reads = self.reads.lock();
        let read = Read { range, ts };
        if reads.noted.last() == Some(&read) {
            return;
        }
        reads.noted.push(read);
        if reads.noted.len() > READ_RANGES_MAX {
            reads.noted = merged(std::mem::take(&mut reads.noted));
            while reads.noted.len() > READ_RANGES_MAX / 2 {
                reads.noted = paired(std::mem::take(&mut reads.noted));
            }
            reads.joined += 1;
        }
    }

    /// Notes that a key was read as of `ts`.
    pub(crate) fn note_key(&self, key: &Bytes, ts: Timestamp) {
        let start = UserKey(key.clone());
        self.note(KeyRange { end: start.successor(), start }, ts);
    }

    /// Where it ends now.
    pub fn mark(&self) -> ReadMark {
        let reads = self.reads.lock();
        ReadMark { len: reads.noted.len(), joined: reads.joined }
    }

    /// Forgets what was noted since then, as far as that is still known: of a statement that is done again.
    pub fn forget_since(&self, mark: ReadMark) {
        let mut reads = self.reads.lock();
        if reads.joined == mark.joined {
            reads.noted.truncate(mark.len);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.reads.lock().noted.is_empty()
    }

    /// Whether everything was read at one timestamp.
    pub(crate) fn is_of_one_moment(&self) -> bool {
        let reads = self.reads.lock();
        reads.noted.windows(2).all(|pair| pair[0].ts == pair[1].ts)
    }

    /// Makes sure that nobody but `start_ts` has changed, up to `commit_ts`, what was read.
    ///
    /// # Errors
    /// [`Error::ReadChanged`]; what reading returns.
    pub(crate) async fn check(&self, cluster: &Cluster, start_ts: Timestamp, commit_ts: Timestamp) -> Result<()> {
        let reads = merged(self.reads.lock().noted.clone());
        let snapshot = cluster.snapshot(commit_ts).beside(start_ts);
        let checks = reads.into_iter().map(|Read { range, ts }| {
            let options = ScanOptions { key_only: true, limit: 1, changed_after: Some(ts), ..ScanOptions::default() };
            let mut changes = snapshot.scan(range, options);
            async move {
                match changes.next().await? {
                    None => Ok(()),
                    Some((key, _)) => Err(Error::ReadChanged { key }),
                }
            }
        });
        let checks: Vec<_> = checks.collect();
        stream::iter(checks).buffer_unordered(REGION_CONCURRENCY).try_collect().await
    }
}

/// In key order, and those that overlap as one, as of the earlier timestamp.
fn merged(mut reads: Vec<Read>) -> Vec<Read> {
    reads.sort_by(|a, b| a.range.start.cmp(&b.range.start));
    let mut out: Vec<Read> = Vec::with_capacity(reads.len());
    for read in reads {
        match out.last_mut() {
            Some(last) if is_before(&read.range.start, &last.range.end) => *last = hull(last, &read),
            _ => out.push(read),
        }
    }
    out
}

/// Every two neighbors as one range, with what lies between them.
fn paired(reads: Vec<Read>) -> Vec<Read> {
    reads.chunks(2).map(|pair| pair.iter().skip(1).fold(pair[0].clone(), |all, read| hull(&all, read))).collect()
}

/// From the start of `a`, which comes first, to the end of the one that ends last.
fn hull(a: &Read, b: &Read) -> Read {
    let b_ends_last = !a.range.end.0.is_empty() && is_before(&a.range.end, &b.range.end);
    let end = if b_ends_last { b.range.end.clone() } else { a.range.end.clone() };
    Read { range: KeyRange { start: a.range.start.clone(), end }, ts: a.ts.min(b.ts) }
}

/// Whether a key lies before the end of a range; an empty end is behind all keys.
fn is_before(key: &UserKey, end: &UserKey) -> bool {
    end.0.is_empty() || key < end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(start: &str, end: &str, ts: u64) -> Read {
        Read { range: KeyRange::new(start.as_bytes().to_vec(), end.as_bytes().to_vec()), ts: Timestamp(ts) }
    }

    #[test]
    fn overlapping_reads_are_one_as_of_the_earlier() {
        let reads = vec![read("m", "p", 9), read("a", "c", 5), read("b", "d", 3), read("d", "e", 4), read("n", "", 7)];
        assert_eq!(merged(reads), [read("a", "d", 3), read("d", "e", 4), read("m", "", 7)]);
        let reads = vec![read("a", "", 5), read("b", "c", 6)];
        assert_eq!(merged(reads), [read("a", "", 5)]);
    }

    #[test]
    fn too_many_reads_are_joined_and_marks_know_it() {
        let set = ReadSet::default();
        set.note(read("a", "b", 1).range, Timestamp(1));
        let mark = set.mark();
        set.note(read("c", "d", 2).range, Timestamp(2));
        assert!(!set.is_of_one_moment());
        set.forget_since(mark);
        assert!(set.is_of_one_moment() && !set.is_empty());
        for at in 0..READ_RANGES_MAX as u32 * 3 {
            let key = [b"k", &at.to_be_bytes()[..]].concat();
            set.note(KeyRange::new(key.clone(), [&key[..], b"x"].concat()), Timestamp(9));
        }
        let covers = |key: &[u8]| set.reads.lock().noted.iter().any(|read| read.range.contains(key));
        assert!(set.reads.lock().noted.len() <= READ_RANGES_MAX);
        assert!(
            (0..READ_RANGES_MAX as u32 * 3).all(|at| covers(&[b"k", &at.to_be_bytes()[..]].concat())) && covers(b"a")
        );
        let before = set.mark();
        set.forget_since(mark);
        assert_eq!(set.mark().len, before.len, "the mark is of no use any more");
    }
}
