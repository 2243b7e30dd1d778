//! What a transaction has written and not yet sent: an ordered map with an undo journal.
//!
//! ```text
//!   entries   k1 → put v        journal   [ (k1, was nothing), (k2, was put w), … ]
//!             k2 → delete                     ▲
//!                                             └── a savepoint is a position in the journal
//! ```
//!
//! A statement that fails half-way, and `ROLLBACK TO SAVEPOINT`, undo the journal down to a position. Nothing here talks
//! to a store.

use crate::config::{KEY_BYTES_MAX, TXN_BYTES_MAX, TXN_KEYS_MAX, VALUE_BYTES_MAX};
use crate::error::{Error, Result};
use basalt_common::KeyRange;
use basalt_common::memory::Account;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;

/// What is to become of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// None: the key is deleted.
    pub(crate) value: Option<Bytes>,
    /// The key was inserted as new by this transaction; whether it was, is found out at commit (or was, by its lock).
    pub(crate) presumed_new: bool,
}

/// A position to return to. Positions nest: returning to one makes the later ones void.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Savepoint(usize);

/// The writes of one transaction.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes_max: usize,
    keys_max: usize,
    entries: BTreeMap<Bytes, Entry>,
    journal: Vec<(Bytes, Option<Entry>)>,
    bytes: usize,
    /// Bytes of values that only the journal still holds.
    undo_bytes: usize,
    /// Where all that is counted, if anywhere.
    account: Option<Account>,
}

/// What an entry takes beside its key and value, and what undoing a write does: nodes of the tree, handles of shared bytes,
/// the allocator's rounding.
const ENTRY_BYTES: usize = 192;
const JOURNAL_BYTES: usize = 112;

impl Buffer {
    /// An empty buffer with room for so many bytes, and for as many keys to a byte as there are by default.
    pub(crate) fn new(bytes_max: usize) -> Buffer {
        Buffer {
            bytes_max,
            keys_max: usize::try_from(bytes_max as u128 * TXN_KEYS_MAX as u128 / TXN_BYTES_MAX as u128)
                .unwrap_or(usize::MAX),
            entries: BTreeMap::new(),
            journal: Vec::new(),
            bytes: 0,
            undo_bytes: 0,
            account: None,
        }
    }

    /// How many keys may be written, or locked.
    pub(crate) fn keys_max(&self) -> usize {
        self.keys_max
    }

    /// From now on, what the buffer holds is told to `account`.
    pub(crate) fn count_in(&mut self, account: Account) {
        self.account = Some(account);
        self.count();
    }

    fn count(&mut self) {
        let overhead = self.entries.len() * ENTRY_BYTES + self.journal.len() * JOURNAL_BYTES;
        let held = self.bytes + self.undo_bytes + overhead;
        if let Some(account) = &mut self.account {
            account.set(held);
        }
    }

    pub(crate) fn put(&mut self, key: Bytes, value: Bytes) -> Result<()> {
        let presumed_new = self.entries.get(&key).is_some_and(|e| e.presumed_new);
        self.set(key, Entry { value: Some(value), presumed_new })
    }

    /// As put; the key must not be there, as far as the buffer knows, and at commit.
    pub(crate) fn insert(&mut self, key: Bytes, value: Bytes) -> Result<()> {
        let presumed_new = match self.entries.get(&key) {
            Some(Entry { value: Some(_), .. }) => return Err(Error::AlreadyExists { key }),
            Some(deleted) => deleted.presumed_new,
            None => true,
        };
        self.set(key, Entry { value: Some(value), presumed_new })
    }

    pub(crate) fn delete(&mut self, key: Bytes) -> Result<()> {
        let presumed_new = self.entries.get(&key).is_some_and(|e| e.presumed_new);
        self.set(key, Entry { value: None, presumed_new })
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// Entries in a range, in key order.
    pub(crate) fn range<'a>(
        &'a self,
        range: &KeyRange,
    ) -> impl DoubleEndedIterator<Item = (&'a Bytes, &'a Entry)> + use<'a> {
        let end = match range.end.0.is_empty() {
            true => Bound::Unbounded,
            // An empty range must not panic.
            false => Bound::Excluded(range.end.0.clone().max(range.start.0.clone())),
        };
        self.entries.range((Bound::Included(range.start.0.clone()), end))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Bytes, &Entry)> {
        self.entries.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn savepoint(&self) -> Savepoint {
        Savepoint(self.journal.len())
    }

    pub(crate) fn rollback_to(&mut self, savepoint: Savepoint) {
        while self.journal.len() > savepoint.0 {
            let Some((key, before)) = self.journal.pop() else { break };
            self.undo_bytes -= stored_bytes(&before);
            match before {
                Some(entry) => self.replace(key, entry),
                None => self.remove(&key),
            };
        }
        self.count();
    }

    /// Forgets how to undo: no savepoint is held any more.
    pub(crate) fn release_savepoints(&mut self) {
        self.journal = Vec::new();
        self.undo_bytes = 0;
        self.count();
    }

    fn set(&mut self, key: Bytes, entry: Entry) -> Result<()> {
        let value_bytes = entry.value.as_ref().map_or(0, Bytes::len);
        if key.len() > KEY_BYTES_MAX {
            return Err(Error::EntryTooLarge { size: key.len(), limit: KEY_BYTES_MAX });
        }
        if value_bytes > VALUE_BYTES_MAX {
            return Err(Error::EntryTooLarge { size: value_bytes, limit: VALUE_BYTES_MAX });
        }
        let size = self.bytes + key.len() + value_bytes;
        if size > self.bytes_max {
            return Err(Error::TxnTooLarge { size, unit: "bytes", limit: self.bytes_max });
        }
        // The journal grows with every write, the entries only with new keys: the bound is on both.
        if self.journal.len() >= self.keys_max {
            return Err(Error::TxnTooLarge { size: self.journal.len(), unit: "keys", limit: self.keys_max });
        }
        let before = self.replace(key.clone(), entry);
        self.undo_bytes += stored_bytes(&before);
        self.journal.push((key, before));
        self.count();
        Ok(())
    }

    fn replace(&mut self, key: Bytes, entry: Entry) -> Option<Entry> {
        let value_bytes = |e: &Entry| e.value.as_ref().map_or(0, Bytes::len);
        self.bytes += key.len() + value_bytes(&entry);
        let key_bytes = key.len();
        let before = self.entries.insert(key, entry);
        self.bytes -= before.as_ref().map_or(0, |b| key_bytes + value_bytes(b));
        before
    }

    fn remove(&mut self, key: &Bytes) -> Option<Entry> {
        let before = self.entries.remove(key)?;
        self.bytes -= key.len() + before.value.as_ref().map_or(0, Bytes::len);
        Some(before)
    }
}

fn stored_bytes(entry: &Option<Entry>) -> usize {
    entry.as_ref().and_then(|entry| entry.value.as_ref()).map_or(0, Bytes::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn b(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn dump(buffer: &Buffer) -> String {
        let show = |(k, e): (&Bytes, &Entry)| {
            let value = e.value.as_ref().map_or("-".into(), |v| v.escape_ascii().to_string());
            format!("{}={value}{}", k.escape_ascii(), if e.presumed_new { "!" } else { "" })
        };
        buffer.iter().map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn savepoints_undo_exactly_what_came_after() {
        let mut buffer = Buffer::new(TXN_BYTES_MAX);
        buffer.put(b("a"), b("1")).expect("fits");
        buffer.insert(b("b"), b("2")).expect("fits");
        let (outer, bytes) = (buffer.savepoint(), buffer.bytes);
        buffer.put(b("a"), b("333")).expect("fits");
        let inner = buffer.savepoint();
        buffer.delete(b("b")).expect("fits");
        buffer.put(b("c"), b("4")).expect("fits");
        assert_eq!(dump(&buffer), "a=333 b=-! c=4");
        buffer.rollback_to(inner);
        assert_eq!(dump(&buffer), "a=333 b=2!");
        buffer.rollback_to(outer);
        assert_eq!((dump(&buffer).as_str(), buffer.bytes), ("a=1 b=2!", bytes));
        buffer.rollback_to(inner);
        assert_eq!(dump(&buffer), "a=1 b=2!", "a void savepoint undoes nothing");
    }

    #[test]
    fn a_transaction_ends_where_its_bounds_say() {
        let mut buffer = Buffer::new(1_049);
        assert_eq!((buffer.keys_max(), Buffer::new(TXN_BYTES_MAX).keys_max()), (20, TXN_KEYS_MAX));
        buffer.put(b("a"), Bytes::from(vec![0; 1_048])).expect("fits");
        assert!(matches!(
            buffer.put(b("b"), b("")),
            Err(Error::TxnTooLarge { size: 1_050, unit: "bytes", limit: 1_049 })
        ));
        let mut buffer = Buffer::new(1_049);
        let keys = (0..21).map(|i| buffer.put(Bytes::from(format!("{i}")), b("")));
        let refused: Vec<_> = keys.filter_map(Result::err).collect();
        assert!(matches!(refused[..], [Error::TxnTooLarge { unit: "keys", limit: 20, .. }, ..]), "{refused:?}");
    }

    #[test]
    fn inserts_over_own_writes() {
        let mut buffer = Buffer::new(TXN_BYTES_MAX);
        buffer.put(b("a"), b("1")).expect("fits");
        assert!(matches!(buffer.insert(b("a"), b("2")), Err(Error::AlreadyExists { .. })));
        buffer.delete(b("a")).expect("fits");
        buffer.insert(b("a"), b("3")).expect("a row deleted here may come again");
        assert_eq!(dump(&buffer), "a=3");
        assert_eq!(buffer.range(&KeyRange::new(&b"z"[..], &b"a"[..])).count(), 0);
    }
}
