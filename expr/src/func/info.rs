//! What the connection is, and small functions that belong nowhere else.

use super::Func;
use super::spec::{Arg, Call, Ret, Spec};
use crate::cast::to_bits;
use crate::error::EvalError;
use crate::value::Value;
use std::sync::PoisonError;

pub(super) fn spec(func: Func) -> Option<Spec> {
    use Func::*;
    const ANY: &[Arg] = &[Arg::Any];
    const TEXT: &[Arg] = &[Arg::Text];
    Some(match func {
        Database | User | CurrentUser | Version => Spec::new(0, 0, ANY, Ret::Text(64), session),
        ConnectionId | FoundRows | RowCount => Spec::new(0, 0, ANY, Ret::Int, session),
        LastInsertId => Spec::new(0, 1, &[Arg::Int], Ret::UInt, session).sees_null(),
        Charset | Collation => Spec::new(1, 1, ANY, Ret::Text(64), collation).sees_null(),
        Uuid => Spec::new(0, 0, ANY, Ret::Text(36), uuid),
        InetAton => Spec::new(1, 1, TEXT, Ret::UInt, inet_aton),
        InetNtoa => Spec::new(1, 1, ANY, Ret::Text(15), inet_ntoa),
        _ => return None,
    })
}

fn session(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let info = &call.ctx.session;
    Ok(match call.func {
        Func::Database => info.database.as_deref().map_or(Value::Null, Value::from),
        Func::User => Value::from(&*info.user),
        Func::CurrentUser => Value::from(&*info.current_user),
        Func::Version => Value::from(&*info.version),
        Func::ConnectionId => Value::Int(info.connection_id as i64),
        Func::FoundRows => Value::Int(info.found_rows),
        Func::RowCount => Value::Int(info.row_count),
        _ => match args.first() {
            None => Value::UInt(info.last_insert_id),
            Some(Value::Null) => Value::Null,
            Some(value) => {
                let id = to_bits(value, call.ctx)?;
                *call.ctx.set_last_insert_id.lock().unwrap_or_else(PoisonError::into_inner) = Some(id);
                Value::UInt(id)
            }
        },
    })
}

fn collation(call: &Call<'_>, _: &[Value]) -> Result<Value, EvalError> {
    let ty = call.types[0];
    let collation = if ty.is_string() { ty.collation } else { crate::collation::Collation::Binary };
    Ok(Value::from(if call.func == Func::Charset { collation.charset() } else { collation.name() }))
}

fn uuid(call: &Call<'_>, _: &[Value]) -> Result<Value, EvalError> {
    use rand::{RngCore, SeedableRng};
    let mut rng = call.memo.rng.borrow_mut();
    let rng = rng.get_or_insert_with(|| rand::rngs::SmallRng::seed_from_u64(call.ctx.next_seed()));
    let (mut high, mut low) = (rng.next_u64(), rng.next_u64());
    high = high & !0xf000 | 0x4000;
    low = low & !(0b11 << 62) | 1 << 63;
    Ok(Value::from(format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )))
}

fn inet_aton(_: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let text = String::from_utf8_lossy(args[0].as_bytes().unwrap_or_default()).into_owned();
    let parts: Option<Vec<u64>> = text.split('.').map(|part| part.parse::<u8>().ok().map(u64::from)).collect();
    Ok(match parts.as_deref() {
        Some([rest @ .., last]) if rest.len() <= 3 => {
            let high = rest.iter().enumerate().fold(0, |sum, (at, part)| sum | part << (24 - 8 * at));
            Value::UInt(high | last)
        }
        _ => Value::Null,
    })
}

fn inet_ntoa(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    match u32::try_from(to_bits(&args[0], call.ctx)?) {
        Ok(address) => Ok(Value::from(std::net::Ipv4Addr::from(address).to_string())),
        Err(_) => Ok(Value::Null),
    }
}
