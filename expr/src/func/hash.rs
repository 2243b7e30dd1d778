//! Checksums, digests and Base64. MD5 stands here whole (RFC 1321): no dependency of ours has it.

use super::Func;
use super::spec::{Arg, Call, Ret, Spec, text_result};
use super::string::{TEXT_COLLATION, bytes};
use crate::collation::Collation;
use crate::error::{EvalError, ExprError};
use crate::expr::Expr;
use crate::types::FieldType;
use crate::value::Value;
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

/// Characters of a line of TO_BASE64.
const BASE64_LINE: usize = 76;
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(super) fn spec(func: Func) -> Option<Spec> {
    const TEXT: &[Arg] = &[Arg::Text];
    Some(match func {
        Func::Crc32 => Spec::new(1, 1, TEXT, Ret::UInt, crc32).total(),
        Func::Md5 => Spec::new(1, 1, TEXT, Ret::Text(32), digest).total(),
        Func::Sha1 => Spec::new(1, 1, TEXT, Ret::Text(40), digest).total(),
        Func::Sha2 => Spec::new(2, 2, &[Arg::Text, Arg::Int], Ret::Text(128), digest),
        Func::ToBase64 => Spec::new(1, 1, TEXT, Ret::Custom(type_to_base64), to_base64).total(),
        Func::FromBase64 => Spec::new(1, 1, TEXT, Ret::Custom(type_from_base64), from_base64),
        _ => return None,
    })
}

fn type_to_base64(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    Ok(text_result(args[0].ty().display_width().saturating_mul(6), TEXT_COLLATION))
}

fn type_from_base64(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    Ok(text_result(args[0].ty().display_width(), Collation::Binary))
}

fn crc32(_: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let mut crc = u32::MAX;
    for &byte in bytes(&args[0]) {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    Ok(Value::UInt(u64::from(!crc)))
}

fn digest(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let data = bytes(&args[0]);
    let hash = match (call.func, args.get(1).and_then(Value::as_i64)) {
        (Func::Md5, _) => md5(data).to_vec(),
        (Func::Sha1, _) => Sha1::digest(data).to_vec(),
        (_, Some(224)) => Sha224::digest(data).to_vec(),
        (_, Some(0 | 256)) => Sha256::digest(data).to_vec(),
        (_, Some(384)) => Sha384::digest(data).to_vec(),
        (_, Some(512)) => Sha512::digest(data).to_vec(),
        _ => return Ok(Value::Null),
    };
    Ok(Value::from(hash.iter().map(|b| format!("{b:02x}")).collect::<String>()))
}

/// RFC 1321, section 3. Not for anything that must be safe.
fn md5(data: &[u8]) -> [u8; 16] {
    const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
    let constant = |step: usize| ((step as f64 + 1.0).sin().abs() * 4_294_967_296.0) as u32;
    let mut message = data.to_vec();
    message.push(0x80);
    while message.len() % 64 != 56 {
        message.push(0);
    }
    message.extend_from_slice(&(data.len() as u64).wrapping_mul(8).to_le_bytes());
    let mut state = [0x6745_2301u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for block in message.chunks_exact(64) {
        let word =
            |at: usize| u32::from_le_bytes([block[at * 4], block[at * 4 + 1], block[at * 4 + 2], block[at * 4 + 3]]);
        let [mut a, mut b, mut c, mut d] = state;
        for step in 0..64 {
            let (mix, at) = match step / 16 {
                0 => (b & c | !b & d, step),
                1 => (d & b | !d & c, (5 * step + 1) % 16),
                2 => (b ^ c ^ d, (3 * step + 5) % 16),
                _ => (c ^ (b | !d), 7 * step % 16),
            };
            let sum = a.wrapping_add(mix).wrapping_add(constant(step)).wrapping_add(word(at));
            (a, d, c) = (d, c, b);
            b = b.wrapping_add(sum.rotate_left(SHIFTS[step / 16][step % 4]));
        }
        for (value, add) in state.iter_mut().zip([a, b, c, d]) {
            *value = value.wrapping_add(add);
        }
    }
    let mut out = [0; 16];
    for (bytes, value) in out.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&value.to_le_bytes());
    }
    out
}

fn to_base64(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let data = bytes(&args[0]);
    call.check_length(data.len().saturating_mul(2))?;
    let mut out = Vec::with_capacity(data.len() / 3 * 4 + 4);
    let mut line = 0;
    for chunk in data.chunks(3) {
        if line == BASE64_LINE {
            out.push(b'\n');
            line = 0;
        }
        let group = chunk.iter().fold(0u32, |g, b| g << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = group >> (18 - 6 * place) & 63;
            out.push(if place <= chunk.len() { BASE64[digit as usize] } else { b'=' });
        }
        line += 4;
    }
    Ok(call.text(out))
}

fn from_base64(_: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let mut out = Vec::new();
    let (mut group, mut digits, mut padding) = (0u32, 0, 0);
    for &byte in bytes(&args[0]).iter().filter(|b| !b.is_ascii_whitespace()) {
        let digit = match BASE64.iter().position(|&b| b == byte) {
            Some(digit) if padding == 0 => digit as u32,
            None if byte == b'=' => {
                padding += 1;
                0
            }
            _ => return Ok(Value::Null),
        };
        group = group << 6 | digit;
        digits += 1;
        if digits == 4 {
            let decoded = group.to_be_bytes();
            let Some(keep) = 3usize.checked_sub(padding).filter(|keep| *keep > 0) else { return Ok(Value::Null) };
            out.extend_from_slice(&decoded[1..=keep]);
            (group, digits) = (0, 0);
        }
    }
    Ok(if digits == 0 { Value::from(out) } else { Value::Null })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn md5_is_rfc_1321() {
        let hex = |data: &[u8]| md5(data).iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(hex(b""), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(hex(b"message digest"), "f96b697d7cb7938d525a2f31aaf161d0");
        assert_eq!(
            hex(b"12345678901234567890123456789012345678901234567890123456789012345678901234567890"),
            "57edf4a22be3c955ac49da2e2107b67a"
        );
    }
}
