//! Memcomparable encodings: the order of the encoded bytes is the order of the values, so RocksDB's byte order is SQL's
//! order.
//!
//! | type | encoding |
//! |---|---|
//! | `u64` | 8 bytes, big endian |
//! | `i64` | the same with the sign bit flipped |
//! | `f64` | the IEEE bits; positive: sign bit set, negative: all bits inverted |
//! | bytes | groups of 8, each followed by a marker: `0xff` = full and more follows, `0xff - pad` = last, padded with `0x00` |
//!
//! ```text
//! "basalt"     → 62 61 73 61 6c 74 00 00 fd
//! "percolator" → 70 65 72 63 6f 6c 61 74 ff  6f 72 00 00 00 00 00 00 f9
//! ""           → 00 00 00 00 00 00 00 00 f7
//! ```
//! A string that is a multiple of 8 long ends in an all-padding group, so no encoding is a prefix of another: a suffix
//! (a timestamp, the next column) may follow. Descending order is the bitwise complement of the ascending encoding.

/// What went wrong while decoding; the bytes came from a disk or a network and may be anything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The input ended inside a value.
    #[error("encoded value is cut short")]
    Truncated,
    /// A marker, padding or flag has no meaning.
    #[error("encoded value is malformed: {0}")]
    Malformed(&'static str),
}

const GROUP: usize = 8;
const MARKER: u8 = 0xff;

/// Appends the memcomparable encoding of `value`.
pub fn encode_bytes(out: &mut Vec<u8>, value: &[u8]) {
    out.reserve(encoded_bytes_len(value.len()));
    let mut groups = value.chunks_exact(GROUP);
    for group in &mut groups {
        out.extend_from_slice(group);
        out.push(MARKER);
    }
    let rest = groups.remainder();
    let pad = GROUP - rest.len();
    out.extend_from_slice(rest);
    out.extend_from_slice(&[0; GROUP][..pad]);
    out.push(MARKER - pad as u8);
}

/// The encoded length of `len` bytes.
pub fn encoded_bytes_len(len: usize) -> usize {
    (len / GROUP + 1) * (GROUP + 1)
}

/// Reads one encoded byte string from the front of `input` and moves `input` past it.
///
/// # Errors
/// [`CodecError`] when `input` does not start with an encoded byte string.
pub fn decode_bytes(input: &mut &[u8]) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::with_capacity(input.len() / (GROUP + 1) * GROUP);
    decode_bytes_into(&mut out, input)?;
    Ok(out)
}

/// [`decode_bytes`] that appends to a buffer which is used again and again.
///
/// # Errors
/// [`CodecError`] when `input` does not start with an encoded byte string; `out` then holds a part of it.
pub fn decode_bytes_into(out: &mut Vec<u8>, input: &mut &[u8]) -> Result<(), CodecError> {
    loop {
        let (group, rest) = input.split_at_checked(GROUP + 1).ok_or(CodecError::Truncated)?;
        *input = rest;
        let pad = (MARKER - group[GROUP]) as usize;
        if pad == 0 {
            out.extend_from_slice(&group[..GROUP]);
            continue;
        }
        if pad > GROUP || group[GROUP - pad..GROUP].iter().any(|&b| b != 0) {
            return Err(CodecError::Malformed("bytes group"));
        }
        out.extend_from_slice(&group[..GROUP - pad]);
        return Ok(());
    }
}

/// The length of the encoded byte string at the front of `input`, without decoding it.
///
/// # Errors
/// [`CodecError::Truncated`] when it does not end within `input`.
pub fn skip_bytes(input: &[u8]) -> Result<usize, CodecError> {
    let mut end = GROUP + 1;
    loop {
        match input.get(end - 1) {
            Some(&MARKER) => end += GROUP + 1,
            Some(_) => return Ok(end),
            None => return Err(CodecError::Truncated),
        }
    }
}

/// Appends a `u64`, ascending.
pub fn encode_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Reads a `u64`, ascending.
///
/// # Errors
/// [`CodecError::Truncated`] below 8 bytes.
pub fn decode_u64(input: &mut &[u8]) -> Result<u64, CodecError> {
    let (head, rest) = input.split_first_chunk::<8>().ok_or(CodecError::Truncated)?;
    *input = rest;
    Ok(u64::from_be_bytes(*head))
}

/// Appends a `u64` so that larger values sort first.
pub fn encode_u64_desc(out: &mut Vec<u8>, value: u64) {
    encode_u64(out, !value);
}

/// Reads what [`encode_u64_desc`] wrote.
///
/// # Errors
/// [`CodecError::Truncated`] below 8 bytes.
pub fn decode_u64_desc(input: &mut &[u8]) -> Result<u64, CodecError> {
    decode_u64(input).map(|v| !v)
}

/// Appends an `i64`, ascending.
pub fn encode_i64(out: &mut Vec<u8>, value: i64) {
    encode_u64(out, (value as u64) ^ (1 << 63));
}

/// Reads an `i64`, ascending.
///
/// # Errors
/// [`CodecError::Truncated`] below 8 bytes.
pub fn decode_i64(input: &mut &[u8]) -> Result<i64, CodecError> {
    decode_u64(input).map(|v| (v ^ (1 << 63)) as i64)
}

/// Appends an `f64` in numeric order; `-0.0` is written as `0.0`, NaN must not come.
pub fn encode_f64(out: &mut Vec<u8>, value: f64) {
    let bits = if value == 0.0 { 0 } else { value.to_bits() };
    encode_u64(out, if bits >> 63 == 0 { bits | (1 << 63) } else { !bits });
}

/// Reads what [`encode_f64`] wrote.
///
/// # Errors
/// [`CodecError::Truncated`] below 8 bytes.
pub fn decode_f64(input: &mut &[u8]) -> Result<f64, CodecError> {
    decode_u64(input).map(|v| f64::from_bits(if v >> 63 == 1 { v & !(1 << 63) } else { !v }))
}

/// Appends an unsigned LEB128 integer: small numbers take one byte. Not memcomparable.
pub fn encode_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads what [`encode_varint`] wrote.
///
/// # Errors
/// [`CodecError`] when the input is cut short or longer than 10 bytes.
pub fn decode_varint(input: &mut &[u8]) -> Result<u64, CodecError> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let (&byte, rest) = input.split_first().ok_or(CodecError::Truncated)?;
        *input = rest;
        if shift == 63 && byte > 1 {
            return Err(CodecError::Malformed("varint"));
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(CodecError::Malformed("varint"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_format_is_fixed() {
        let golden: [(&[u8], &[u8]); 3] = [
            (b"basalt", b"basalt\0\0\xfd"),
            (b"percolator", b"percolat\xffor\0\0\0\0\0\0\xf9"),
            (b"", b"\0\0\0\0\0\0\0\0\xf7"),
        ];
        for (raw, encoded) in golden {
            let mut out = Vec::new();
            encode_bytes(&mut out, raw);
            assert_eq!(out, encoded);
            assert_eq!(out.len(), encoded_bytes_len(raw.len()));
            assert_eq!(skip_bytes(&out), Ok(out.len()));
            assert_eq!(decode_bytes(&mut &out[..]).as_deref(), Ok(raw));
        }
    }

    #[test]
    fn number_formats_are_fixed() {
        let of = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            out
        };
        assert_eq!(of(&|o| encode_u64(o, 258)), [0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(of(&|o| encode_u64_desc(o, 1)), [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]);
        assert_eq!(of(&|o| encode_i64(o, -1)), [0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(of(&|o| encode_f64(o, 1.0)), [0xbf, 0xf0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(of(&|o| encode_f64(o, -1.5)), [0x40, 0x07, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(of(&|o| encode_varint(o, 300)), [0xac, 0x02]);
    }

    #[test]
    fn order_is_kept() {
        let mut words: Vec<Vec<u8>> = vec![
            vec![],
            vec![0],
            vec![0, 0],
            vec![1],
            vec![255; 8],
            vec![255; 9],
            b"abcdefgh".to_vec(),
            b"abcdefgh\0".to_vec(),
        ];
        words.sort();
        let encoded: Vec<Vec<u8>> = words
            .iter()
            .map(|w| {
                let mut out = Vec::new();
                encode_bytes(&mut out, w);
                out
            })
            .collect();
        assert!(encoded.windows(2).all(|w| w[0] < w[1]));
        let ints = [i64::MIN, -5, -1, 0, 1, 7, i64::MAX];
        let floats = [f64::NEG_INFINITY, -1.5, -1e-300, 0.0, 1e-300, 2.5, f64::INFINITY];
        let of = |f: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            f(&mut out);
            out
        };
        let ints_enc: Vec<_> = ints.iter().map(|&v| of(&|o| encode_i64(o, v))).collect();
        let floats_enc: Vec<_> = floats.iter().map(|&v| of(&|o| encode_f64(o, v))).collect();
        assert!(ints_enc.windows(2).all(|w| w[0] < w[1]) && floats_enc.windows(2).all(|w| w[0] < w[1]));
        for (v, e) in ints.iter().zip(&ints_enc) {
            assert_eq!(decode_i64(&mut &e[..]), Ok(*v));
        }
        for (v, e) in floats.iter().zip(&floats_enc) {
            assert_eq!(decode_f64(&mut &e[..]), Ok(*v));
        }
    }

    #[test]
    fn damaged_input_is_an_error() {
        assert_eq!(decode_bytes(&mut &b"abc"[..]), Err(CodecError::Truncated));
        assert_eq!(decode_bytes(&mut &b"abcdefgh\xf0"[..]), Err(CodecError::Malformed("bytes group")));
        assert_eq!(decode_bytes(&mut &b"abcdefgh\xfe"[..]), Err(CodecError::Malformed("bytes group")));
        assert_eq!(decode_varint(&mut &[0xff; 11][..]), Err(CodecError::Malformed("varint")));
        for v in [0, 127, 128, u64::MAX] {
            let mut out = Vec::new();
            encode_varint(&mut out, v);
            assert_eq!(decode_varint(&mut &out[..]), Ok(v));
        }
    }
}
