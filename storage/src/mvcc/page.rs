//! Pages of a range: what a scan brings, with locks looked for only as far as the page goes.
//!
//! ```text
//! write    a b c d e f g …          1. three rows without locks: a, b, c
//! lock     · · · × × × ×            2. a lock between a and c that is in the way?   no:  the page
//!                                   3. yes: a to c again, beside the locks; then on behind c while there is room
//! ```
//! A scanner seeks its first lock through all of its range. Where locks were, their tombstones are stepped over until RocksDB
//! compacts them away: a load of 100,000 rows made the first row of its table cost 14 ms. A page steps over those of its
//! own keys.

use super::scan::{Row, ScanOptions};
use super::{BackwardScanner, ForwardScanner, Lock, ReadAt, Verdict};
use crate::engine::{Cf, EngineRange, IterOptions, Snapshot};
use crate::error::{Error, KeyError, LockedKey};
use basalt_common::key::decode_user_key;
use basalt_common::pairs::Pairs;
use basalt_common::{KeyRange, UserKey};
use std::sync::Arc;

/// What is read into a page.
#[derive(Clone, Debug)]
pub struct PageRequest {
    /// Where.
    pub range: KeyRange,
    /// From its end to its start.
    pub reverse: bool,
    /// At which timestamp, past which locks.
    pub read: ReadAt,
    /// Values are not wanted.
    pub key_only: bool,
    /// The page is full with so many rows,
    pub rows_max: usize,
    /// or with the row that brings so many bytes of keys and values.
    pub bytes_max: usize,
}

/// Rows of a range, in the scan's order.
#[derive(Debug)]
pub struct Page {
    /// What was found.
    pub rows: Pairs,
    /// The key behind them, whose lock is in the reader's way.
    pub locked: Option<Box<LockedKey>>,
    /// The page was full before the range was at its end.
    pub more: bool,
}

/// Reads a page.
///
/// # Errors
/// Of the engine. A lock in the way is no error: the page ends before it.
pub fn read_page(snapshot: &Arc<dyn Snapshot>, request: &PageRequest) -> Result<Page, Error> {
    let mut rows = Pairs::default();
    let mut left = request.range.clone();
    loop {
        let before = rows.len();
        let more = match fill(&mut rows, request, Walk::past_locks(snapshot, request, &left)?)? {
            Ending::Full => true,
            Ending::RangeIsDone => false,
            Ending::Locked(locked) => return Ok(Page { rows, locked: Some(locked), more: true }),
        };
        let (seen, behind) = match rows.last_key().filter(|_| more) {
            Some(last) => split_at(left, UserKey::from(last), request.reverse),
            None => (left, KeyRange::default()),
        };
        if !has_lock_in_way(&**snapshot, &EngineRange::from(&seen), &request.read)? {
            return Ok(Page { rows, locked: None, more });
        }
        rows.truncate(before);
        match fill(&mut rows, request, Walk::beside_locks(snapshot, request, &seen)?)? {
            Ending::Full => return Ok(Page { rows, locked: None, more: true }),
            Ending::Locked(locked) => return Ok(Page { rows, locked: Some(locked), more: true }),
            Ending::RangeIsDone if !more => return Ok(Page { rows, locked: None, more: false }),
            Ending::RangeIsDone => left = behind,
        }
    }
}

/// Why no more rows were taken.
enum Ending {
    Full,
    RangeIsDone,
    Locked(Box<LockedKey>),
}

/// Takes rows as long as the page has room.
fn fill(rows: &mut Pairs, request: &PageRequest, mut walk: Walk) -> Result<Ending, Error> {
    while rows.len() < request.rows_max && rows.bytes() < request.bytes_max {
        match walk.next() {
            Ok(Some(row)) => rows.push(row.key, row.value),
            Ok(None) => return Ok(Ending::RangeIsDone),
            Err(Error::Key(KeyError::Locked(locked))) => return Ok(Ending::Locked(locked)),
            Err(error) => return Err(error),
        }
    }
    Ok(Ending::Full)
}

/// A scan in either direction.
enum Walk {
    Forward(ForwardScanner),
    Backward(BackwardScanner),
}

impl Walk {
    fn past_locks(snapshot: &Arc<dyn Snapshot>, request: &PageRequest, range: &KeyRange) -> Result<Walk, Error> {
        let (snapshot, options) = (snapshot.clone(), options(request, range));
        Ok(match request.reverse {
            false => Walk::Forward(ForwardScanner::past_locks(snapshot, options)?),
            true => Walk::Backward(BackwardScanner::past_locks(snapshot, options)?),
        })
    }

    fn beside_locks(snapshot: &Arc<dyn Snapshot>, request: &PageRequest, range: &KeyRange) -> Result<Walk, Error> {
        let (snapshot, options) = (snapshot.clone(), options(request, range));
        Ok(match request.reverse {
            false => Walk::Forward(ForwardScanner::new(snapshot, options)?),
            true => Walk::Backward(BackwardScanner::new(snapshot, options)?),
        })
    }

    fn next(&mut self) -> Result<Option<Row<'_>>, Error> {
        match self {
            Walk::Forward(scanner) => scanner.next(),
            Walk::Backward(scanner) => scanner.next(),
        }
    }
}

fn options(request: &PageRequest, range: &KeyRange) -> ScanOptions {
    let range = EngineRange::from(range);
    ScanOptions { range, read: request.read.clone(), key_only: request.key_only, fill_cache: true }
}

/// A range up to `last`, which is in it, and what is behind.
fn split_at(range: KeyRange, last: UserKey, reverse: bool) -> (KeyRange, KeyRange) {
    if reverse {
        let behind = KeyRange { start: range.start, end: last.clone() };
        return (KeyRange { start: last, end: range.end }, behind);
    }
    let end = last.successor();
    (KeyRange { start: range.start, end: end.clone() }, KeyRange { start: end, end: range.end })
}

/// Whether a lock in the range stops the reader, or holds a value that it must see.
fn has_lock_in_way(snapshot: &dyn Snapshot, range: &EngineRange, read: &ReadAt) -> Result<bool, Error> {
    let options = IterOptions { lower: range.start.clone(), upper: range.end.clone(), ..IterOptions::default() };
    let mut locks = snapshot.iter(Cf::Lock, options)?;
    let mut valid = locks.seek_to_first()?;
    while valid {
        let key = decode_user_key(locks.key())?;
        if Lock::decode(locks.value())?.verdict(key.as_slice(), read) != Verdict::Pass {
            return Ok(true);
        }
        valid = locks.next()?;
    }
    Ok(false)
}
