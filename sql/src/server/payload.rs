//! The primitive values inside a packet's payload: fixed integers, length-encoded integers and strings, NUL strings.
//!
//! ```text
//! length-encoded integer      first byte   meaning
//!                             0x00..0xfa   the value itself
//!                             0xfb         NULL, in text rows only
//!                             0xfc         2 bytes follow, little-endian
//!                             0xfd         3 bytes follow
//!                             0xfe         8 bytes follow
//!                             0xff         never: it starts an error packet
//! length-encoded string       such an integer, then that many bytes
//! ```
//!
//! [`Payload`] reads from bytes a client sent: every access is checked, nothing is allocated, and a length is compared
//! with the bytes at hand before it is believed.

/// The payload is shorter than its own structure says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("malformed packet")]
pub struct Malformed;

/// A cursor over the bytes of one packet.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    rest: &'a [u8],
}

impl<'a> Payload<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Payload<'a> {
        Payload { rest: bytes }
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// True when all has been read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Reads `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// Reads one byte.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Reads two bytes, little-endian.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    /// Reads four bytes, little-endian.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    /// Reads eight bytes, little-endian.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    /// Reads a length-encoded integer. The markers of NULL and of an error are malformed here.
    pub fn lenenc_int(&mut self) -> Result<u64, Malformed> {
        match self.u8()? {
            small @ 0..=0xfa => Ok(u64::from(small)),
            0xfc => self.u16().map(u64::from),
            0xfd => self.array::<3>().map(|[a, b, c]| u64::from(u32::from_le_bytes([a, b, c, 0]))),
            0xfe => self.u64(),
            0xfb | 0xff => Err(Malformed),
        }
    }

    /// Reads a length-encoded string.
    pub fn lenenc_bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.lenenc_int()?;
        self.bytes(usize::try_from(length).map_err(|_| Malformed)?)
    }

    /// Reads up to a NUL byte and skips it; without one, all that is left (as MySQL does: some connectors leave the
    /// last NUL out).
    pub fn nul_bytes(&mut self) -> &'a [u8] {
        match memchr::memchr(0, self.rest) {
            Some(at) => {
                let (taken, rest) = self.rest.split_at(at);
                self.rest = rest.get(1..).unwrap_or_default();
                taken
            }
            None => std::mem::take(&mut self.rest),
        }
    }
}

/// Appends a length-encoded integer.
pub fn put_lenenc_int(out: &mut Vec<u8>, value: u64) {
    match value {
        0..=0xfa => out.push(value as u8),
        0xfb..=0xffff => {
            out.push(0xfc);
            out.extend_from_slice(&(value as u16).to_le_bytes());
        }
        0x1_0000..=0xff_ffff => {
            let [a, b, c, _] = (value as u32).to_le_bytes();
            out.extend_from_slice(&[0xfd, a, b, c]);
        }
        _ => {
            out.push(0xfe);
            out.extend_from_slice(&value.to_le_bytes());
        }
    }
}

/// Appends a length-encoded string.
#[inline]
pub fn put_lenenc_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_lenenc_int(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends what `write` appends, as a length-encoded string: the length is filled in afterwards.
#[inline]
pub fn put_lenenc_with(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let length_at = out.len();
    out.push(0);
    write(out);
    let length = out.len().saturating_sub(length_at + 1);
    if length <= 0xfa {
        if let Some(byte) = out.get_mut(length_at) {
            *byte = length as u8;
        }
        return;
    }
    let mut prefix = Vec::with_capacity(9);
    put_lenenc_int(&mut prefix, length as u64);
    out.splice(length_at..=length_at, prefix);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lenenc_boundaries() {
        for value in [0, 0xfa, 0xfb, 0xff, 0xffff, 0x1_0000, 0xff_ffff, 0x100_0000, u64::MAX] {
            let mut out = Vec::new();
            put_lenenc_int(&mut out, value);
            let mut payload = Payload::new(&out);
            assert_eq!(payload.lenenc_int(), Ok(value));
            assert!(payload.is_empty());
        }
    }

    #[test]
    fn lies_about_lengths_are_malformed() {
        for bytes in [
            &b""[..],
            b"\xfb",
            b"\xff",
            b"\xfc\x01",
            b"\xfd\x01\x02",
            b"\xfe\x01\x02\x03\x04\x05\x06\x07",
            b"\x05abcd",
            b"\xfe\xff\xff\xff\xff\xff\xff\xff\xffabc",
        ] {
            assert_eq!(Payload::new(bytes).lenenc_bytes(), Err(Malformed), "{bytes:?}");
        }
    }

    #[test]
    fn nul_string_without_nul_takes_the_rest() {
        let mut payload = Payload::new(b"ab\0cd");
        assert_eq!(payload.nul_bytes(), b"ab");
        assert_eq!(payload.nul_bytes(), b"cd");
        assert_eq!(payload.nul_bytes(), b"");
    }

    proptest! {
        #[test]
        fn strings_round_trip(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let (mut direct, mut filled_in) = (Vec::new(), vec![7]);
            put_lenenc_bytes(&mut direct, &bytes);
            put_lenenc_with(&mut filled_in, |out| out.extend_from_slice(&bytes));
            prop_assert_eq!(&direct[..], &filled_in[1..]);
            prop_assert_eq!(Payload::new(&direct).lenenc_bytes(), Ok(&bytes[..]));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut payload = Payload::new(&bytes);
            while !payload.is_empty() {
                let before = payload.rest().len();
                if payload.lenenc_bytes().is_err() { break; }
                prop_assert!(payload.rest().len() < before);
            }
        }
    }
}
