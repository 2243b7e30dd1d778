//! Pairs of keys and values, as answers carry them: all bytes in one buffer, and how long each is.
//!
//! A message for each pair cost a tenth of a range read between two processes: two allocations in the store, and a tag and
//! a length for each of its parts to be written and read again.

use basalt_proto::kv;
use bytes::Bytes;

/// Pairs, in the order in which they were pushed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs {
    data: Vec<u8>,
    /// Of a key, of its value, of the next key, …
    lengths: Vec<u32>,
}

/// Lengths that do not fit the bytes beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pairs with {lengths} lengths do not fill {bytes} bytes")]
pub struct CorruptPairs {
    lengths: usize,
    bytes: usize,
}

impl Pairs {
    /// Appends a pair. Keys and values are shorter than 4 GiB (`client/src/config.rs` bounds both).
    #[inline]
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        self.data.extend_from_slice(key);
        self.data.extend_from_slice(value);
        self.lengths.extend([key.len() as u32, value.len() as u32]);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lengths.len() / 2
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    /// Of the last pair.
    pub fn last_key(&self) -> Option<&[u8]> {
        let [.., key, value] = self.lengths[..] else { return None };
        let start = self.data.len() - value as usize - key as usize;
        Some(&self.data[start..start + key as usize])
    }

    /// Keeps the first `pairs`.
    pub fn truncate(&mut self, pairs: usize) {
        let kept = self.lengths.len().min(pairs * 2);
        let dropped: usize = self.lengths.drain(kept..).map(|length| length as usize).sum();
        self.data.truncate(self.data.len() - dropped);
    }

    /// The pairs of a message, which share its bytes: who keeps one keeps all.
    ///
    /// # Errors
    /// [`CorruptPairs`].
    pub fn unpack(message: kv::Pairs) -> Result<impl ExactSizeIterator<Item = (Bytes, Bytes)>, CorruptPairs> {
        let kv::Pairs { mut data, lengths } = message;
        let length: u64 = lengths.iter().copied().map(u64::from).sum();
        if lengths.len() % 2 != 0 || length != data.len() as u64 {
            return Err(CorruptPairs { lengths: lengths.len(), bytes: data.len() });
        }
        Ok((0..lengths.len() / 2).map(move |pair| {
            let key = data.split_to(lengths[2 * pair] as usize);
            (key, data.split_to(lengths[2 * pair + 1] as usize))
        }))
    }
}

impl From<Pairs> for kv::Pairs {
    fn from(pairs: Pairs) -> kv::Pairs {
        kv::Pairs { data: pairs.data.into(), lengths: pairs.lengths }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(message: kv::Pairs) -> Option<Vec<(Bytes, Bytes)>> {
        Some(Pairs::unpack(message).ok()?.collect())
    }

    fn owned(pairs: &[(&'static str, &'static str)]) -> Vec<(Bytes, Bytes)> {
        pairs
            .iter()
            .map(|(key, value)| (Bytes::from_static(key.as_bytes()), Bytes::from_static(value.as_bytes())))
            .collect()
    }

    #[test]
    fn pairs_come_back_as_they_were_pushed() {
        let mut pairs = Pairs::default();
        assert_eq!((pairs.len(), pairs.is_empty(), pairs.last_key()), (0, true, None));
        for (key, value) in [("a", "one"), ("bb", ""), ("", "three"), ("d", "four")] {
            pairs.push(key.as_bytes(), value.as_bytes());
        }
        assert_eq!((pairs.len(), pairs.bytes(), pairs.last_key()), (4, 16, Some(&b"d"[..])));
        pairs.truncate(7);
        pairs.truncate(3);
        assert_eq!((pairs.len(), pairs.bytes(), pairs.last_key()), (3, 11, Some(&b""[..])));
        assert_eq!(unpacked(pairs.into()), Some(owned(&[("a", "one"), ("bb", ""), ("", "three")])));
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        let message = |lengths: &[u32]| kv::Pairs { data: Bytes::from_static(b"abc"), lengths: lengths.to_vec() };
        assert_eq!(unpacked(message(&[1, 2])), Some(owned(&[("a", "bc")])));
        for wrong in [&[][..], &[3], &[1, 1], &[1, 3], &[1, 1, 1], &[u32::MAX, 4], &[u32::MAX; 4]] {
            assert_eq!(unpacked(message(wrong)), None, "{wrong:?}");
        }
    }
}
