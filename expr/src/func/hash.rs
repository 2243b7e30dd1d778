//! Checksums, digests and Base64. MD5 is not done: no dependency of ours has it.

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
    let hash = if call.func == Func::Sha1 {
        Sha1::digest(data).to_vec()
    } else {
        match args[1].as_i64() {
            Some(224) => Sha224::digest(data).to_vec(),
            Some(0 | 256) => Sha256::digest(data).to_vec(),
            Some(384) => Sha384::digest(data).to_vec(),
            Some(512) => Sha512::digest(data).to_vec(),
            _ => return Ok(Value::Null),
        }
    };
    Ok(Value::from(hash.iter().map(|b| format!("{b:02x}")).collect::<String>()))
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
