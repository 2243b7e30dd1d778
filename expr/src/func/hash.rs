//! Checksums, digests and Base64.

use super::Func;
use super::spec::{Arg, Call, Ret, Spec, text_result};
use super::string::{TEXT_COLLATION, bytes};
use crate::collation::Collation;
use crate::error::{EvalError, ExprError};
use crate::expr::Expr;
use crate::types::FieldType;
use crate::value::Value;
use base64::Engine;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

/// Characters of a line of TO_BASE64.
const BASE64_LINE: usize = 76;
/// The standard alphabet; bits behind the last byte do not matter.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&base64::alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

pub(super) fn spec(func: Func) -> Option<Spec> {
    const BYTES: &[Arg] = &[Arg::Bytes];
    const TEXT: &[Arg] = &[Arg::Text];
    Some(match func {
        Func::Crc32 => Spec::new(1, 1, BYTES, Ret::UInt, crc32).total(),
        Func::Md5 => Spec::new(1, 1, BYTES, Ret::Text(32), digest).total(),
        Func::Sha1 => Spec::new(1, 1, BYTES, Ret::Text(40), digest).total(),
        Func::Sha2 => Spec::new(2, 2, &[Arg::Bytes, Arg::Int], Ret::Text(128), digest),
        Func::ToBase64 => Spec::new(1, 1, BYTES, Ret::Custom(type_to_base64), to_base64).total(),
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
    Ok(Value::UInt(u64::from(crc32fast::hash(bytes(&args[0])))))
}

fn digest(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let data = bytes(&args[0]);
    let hash = match (call.func, args.get(1).and_then(Value::as_i64)) {
        (Func::Md5, _) => Md5::digest(data).to_vec(),
        (Func::Sha1, _) => Sha1::digest(data).to_vec(),
        (_, Some(224)) => Sha224::digest(data).to_vec(),
        (_, Some(0 | 256)) => Sha256::digest(data).to_vec(),
        (_, Some(384)) => Sha384::digest(data).to_vec(),
        (_, Some(512)) => Sha512::digest(data).to_vec(),
        _ => return Ok(Value::Null),
    };
    Ok(Value::from(hex::encode(hash)))
}

fn to_base64(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let data = bytes(&args[0]);
    call.check_length(data.len().saturating_mul(2))?;
    let encoded = BASE64.encode(data);
    let lines: Vec<&[u8]> = encoded.as_bytes().chunks(BASE64_LINE).collect();
    Ok(call.text(lines.join(&b'\n')))
}

fn from_base64(_: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let text: Vec<u8> = bytes(&args[0]).iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
    Ok(BASE64.decode(text).map_or(Value::Null, Value::from))
}
