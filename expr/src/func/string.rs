//! Strings, part one: joining, measuring, cutting and searching. Positions count characters from 1 (bytes in binary
//! strings).

use super::Func;
use super::collations::join_collations;
use super::spec::{Arg, Call, MANY, Ret, Spec, text_result};
use crate::collation::Collation;
use crate::error::{EvalError, ExprError};
use crate::expr::Expr;
use crate::types::FieldType;
use crate::value::Value;

pub(super) fn spec(func: Func) -> Option<Spec> {
    use Func::*;
    const TEXT: &[Arg] = &[Arg::Text];
    const TEXT_INT: &[Arg] = &[Arg::Text, Arg::Int];
    Some(match func {
        Concat => Spec::new(1, MANY, TEXT, Ret::Joined, concat).total(),
        ConcatWs => Spec::new(2, MANY, TEXT, Ret::Joined, concat_ws).sees_null(),
        Length | BitLength => Spec::new(1, 1, &[Arg::Bytes], Ret::Int, length).total(),
        CharLength => Spec::new(1, 1, TEXT, Ret::Int, length).total(),
        Upper | Lower => Spec::new(1, 1, TEXT, Ret::First, case).total(),
        Substring => Spec::new(2, 3, TEXT_INT, Ret::First, substring).total(),
        Left | Right => Spec::new(2, 2, TEXT_INT, Ret::First, end).total(),
        Trim => Spec::new(1, 3, TEXT, Ret::First, trim).total(),
        LTrim | RTrim => Spec::new(1, 2, TEXT, Ret::First, trim).total(),
        Replace => Spec::new(3, 3, TEXT, Ret::Custom(type_replace), replace).total(),
        Repeat => Spec::new(2, 2, TEXT_INT, Ret::Custom(type_long), repeat).total(),
        Reverse => Spec::new(1, 1, TEXT, Ret::First, reverse).total(),
        LPad | RPad => Spec::new(3, 3, &[Arg::Text, Arg::Int, Arg::Text], Ret::Custom(type_long), pad),
        Locate => Spec::new(2, 3, &[Arg::Text, Arg::Text, Arg::Int], Ret::Custom(type_search), locate).total(),
        InStr => Spec::new(2, 2, TEXT, Ret::Custom(type_search), locate).total(),
        Insert => Spec::new(4, 4, &[Arg::Text, Arg::Int, Arg::Int, Arg::Text], Ret::Joined, insert).total(),
        SubstringIndex => Spec::new(3, 3, &[Arg::Text, Arg::Text, Arg::Int], Ret::First, substring_index).total(),
        Space => Spec::new(1, 1, &[Arg::Int], Ret::Text(16_383), space).total(),
        _ => return None,
    })
}

fn type_replace(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    let collation = join_collations(args, "replace")?;
    Ok(text_result(args[0].ty().display_width().saturating_mul(args[2].ty().display_width().max(1)), collation))
}

fn type_long(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    let count = match args.get(1) {
        Some(Expr::Literal(value, _)) => value.as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
        _ => 16_384,
    };
    let width = args[0].ty().display_width().max(1);
    let length = if args.len() == 2 { width.saturating_mul(count) } else { width.max(count) };
    Ok(text_result(length, args[0].ty().collation))
}

fn type_search(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    join_collations(&mut args[..2], "locate")?;
    Ok(FieldType::bigint())
}

/// A number of characters or occurrences: one beyond BIGINT counts as the largest.
fn count_of(value: &Value) -> i64 {
    value.as_i128().unwrap_or(0).clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

pub(super) fn bytes(value: &Value) -> &[u8] {
    value.as_bytes().unwrap_or_default()
}

/// A string's characters as byte strings: one byte each in binary strings.
fn characters(value: &Value) -> Vec<&[u8]> {
    match value {
        Value::String(text) => {
            let all = text.as_bytes();
            text.char_indices().map(|(at, c)| &all[at..at + c.len_utf8()]).collect()
        }
        other => bytes(other).chunks(1).collect(),
    }
}

fn char_count(value: &Value) -> usize {
    match value {
        Value::String(text) => text.chars().count(),
        other => bytes(other).len(),
    }
}

/// Byte offset of the `n`-th character (from 0); the end when there are fewer.
fn offset(value: &Value, n: usize) -> usize {
    match value {
        Value::String(text) if !text.is_ascii() => text.char_indices().nth(n).map_or(text.len(), |(at, _)| at),
        other => n.min(bytes(other).len()),
    }
}

fn concat(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let total = call.check_length(args.iter().map(|v| bytes(v).len()).sum())?;
    let mut out = Vec::with_capacity(total);
    args.iter().for_each(|v| out.extend_from_slice(bytes(v)));
    Ok(call.text(out))
}

fn concat_ws(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    if args[0].is_null() {
        return Ok(Value::Null);
    }
    let parts: Vec<&[u8]> = args[1..].iter().filter(|v| !v.is_null()).map(bytes).collect();
    call.check_length(parts.iter().map(|p| p.len() + bytes(&args[0]).len()).sum())?;
    Ok(call.text(parts.join(bytes(&args[0]))))
}

fn length(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    Ok(Value::Int(match call.func {
        Func::CharLength => char_count(&args[0]) as i64,
        Func::BitLength => bytes(&args[0]).len() as i64 * 8,
        _ => bytes(&args[0]).len() as i64,
    }))
}

fn case(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    Ok(match &args[0] {
        Value::String(text) => {
            let upper = call.func == Func::Upper;
            Value::from(text.chars().map(|c| simple_case(c, upper)).collect::<String>())
        }
        other => other.clone(),
    })
}

/// The other case of a letter where that is one letter: `ß` stays, as in MySQL.
fn simple_case(c: char, upper: bool) -> char {
    if c.is_ascii() {
        return if upper { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
    }
    let mut mapped = c.to_uppercase();
    let mut lowered = c.to_lowercase();
    let (first, second) = if upper { (mapped.next(), mapped.next()) } else { (lowered.next(), lowered.next()) };
    match (first, second) {
        (Some(one), None) => one,
        _ => c,
    }
}

fn slice(value: &Value, start: usize, end: usize) -> Value {
    match value {
        Value::String(text) => Value::from(text.get(start..end).unwrap_or_default()),
        Value::Bytes(b) => Value::Bytes(b.slice(start.min(b.len())..end.min(b.len()))),
        _ => Value::Null,
    }
}

fn substring(_: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let (position, count) = (count_of(&args[1]), args.get(2).map_or(i64::MAX, count_of));
    let start = match position {
        1.. => usize::try_from(position - 1).unwrap_or(usize::MAX),
        0 => usize::MAX,
        _ => char_count(&args[0])
            .checked_sub(usize::try_from(position.unsigned_abs()).unwrap_or(usize::MAX))
            .unwrap_or(usize::MAX),
    };
    if count <= 0 || start == usize::MAX {
        return Ok(slice(&args[0], 0, 0));
    }
    let from = offset(&args[0], start);
    let to = offset(&args[0], start.saturating_add(usize::try_from(count).unwrap_or(usize::MAX)));
    Ok(slice(&args[0], from, to.max(from)))
}

fn end(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let count = usize::try_from(count_of(&args[1])).unwrap_or(0);
    if call.func == Func::Left {
        return Ok(slice(&args[0], 0, offset(&args[0], count)));
    }
    let start = char_count(&args[0]).saturating_sub(count);
    Ok(slice(&args[0], offset(&args[0], start), bytes(&args[0]).len()))
}

/// TRIM(text [, what [, 'leading' | 'trailing' | 'both']]), LTRIM, RTRIM.
fn trim(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let all = bytes(&args[0]);
    let what = args.get(1).map_or(&b" "[..], bytes);
    let side = args.get(2).map_or(&b"both"[..], bytes).to_ascii_lowercase();
    if what.is_empty() {
        return Ok(args[0].clone());
    }
    let (mut start, mut stop) = (0, all.len());
    if call.func != Func::RTrim && side != b"trailing" {
        while all[start..stop].starts_with(what) {
            start += what.len();
        }
    }
    if call.func != Func::LTrim && side != b"leading" {
        while all[start..stop].ends_with(what) {
            stop -= what.len();
        }
    }
    Ok(slice(&args[0], start, stop))
}

fn replace(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let (text, from, to) = (bytes(&args[0]), bytes(&args[1]), bytes(&args[2]));
    if from.is_empty() {
        return Ok(args[0].clone());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut done = 0;
    for at in memchr::memmem::find_iter(text, from) {
        out.extend_from_slice(&text[done..at]);
        out.extend_from_slice(to);
        call.check_length(out.len())?;
        done = at + from.len();
    }
    out.extend_from_slice(&text[done..]);
    Ok(call.text(out))
}

fn repeat(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let count = usize::try_from(count_of(&args[1])).unwrap_or(0);
    let total = bytes(&args[0]).len().saturating_mul(count);
    if let Err(error) = call.check_length(total) {
        call.ctx.soften(error)?;
        return Ok(Value::Null);
    }
    Ok(call.text(bytes(&args[0]).repeat(count)))
}

fn space(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    repeat(call, &[Value::from(" "), args[0].clone()])
}

fn reverse(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    Ok(match &args[0] {
        Value::String(text) => Value::from(text.chars().rev().collect::<String>()),
        other => call.text(bytes(other).iter().rev().copied().collect()),
    })
}

fn pad(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let Ok(wanted) = usize::try_from(count_of(&args[1])) else { return Ok(Value::Null) };
    let have = char_count(&args[0]);
    if wanted <= have {
        return Ok(slice(&args[0], 0, offset(&args[0], wanted)));
    }
    if let Err(error) = call.check_length(wanted.saturating_mul(4)) {
        call.ctx.soften(error)?;
        return Ok(Value::Null);
    }
    let filler = slice(&args[2], 0, offset(&args[2], wanted - have));
    let filler = characters(&filler);
    if filler.is_empty() {
        return Ok(args[0].clone());
    }
    let (whole, left) = ((wanted - have) / filler.len(), (wanted - have) % filler.len());
    let padding = [filler.concat().repeat(whole), filler[..left].concat()].concat();
    let text = bytes(&args[0]);
    let parts = if call.func == Func::LPad { [&padding[..], text] } else { [text, &padding[..]] };
    Ok(call.text(parts.concat()))
}

/// LOCATE(what, text [, from]), INSTR(text, what): position in characters, 0 when it does not occur.
fn locate(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let (what, text) = if call.func == Func::InStr { (&args[1], &args[0]) } else { (&args[0], &args[1]) };
    let from = args.get(2).map_or(1, |v| v.as_i64().unwrap_or(0));
    let Ok(skip) = usize::try_from(from - 1) else { return Ok(Value::Int(0)) };
    let collation = call.collation(0);
    if collation.is_bin() {
        let total = char_count(text);
        if skip > total {
            return Ok(Value::Int(0));
        }
        let start = offset(text, skip);
        return Ok(match memchr::memmem::find(&bytes(text)[start..], bytes(what)) {
            Some(at) => {
                let before = slice(text, 0, start + at);
                Value::Int(char_count(&before) as i64 + 1)
            }
            None => Value::Int(0),
        });
    }
    let decode = |v: &Value| -> Vec<char> { String::from_utf8_lossy(bytes(v)).chars().collect() };
    let (what, text) = (decode(what), decode(text));
    let found = (skip..=text.len().saturating_sub(what.len())).find(|&at| {
        text[at..].len() >= what.len() && what.iter().zip(&text[at..]).all(|(a, b)| collation.same_char(*a, *b))
    });
    Ok(Value::Int(found.map_or(0, |at| at as i64 + 1)))
}

fn insert(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let (position, count) = (count_of(&args[1]), count_of(&args[2]));
    let total = char_count(&args[0]);
    let Some(start) = usize::try_from(position - 1).ok().filter(|start| *start < total) else {
        return Ok(call.text(bytes(&args[0]).to_vec()));
    };
    let removed = usize::try_from(count).unwrap_or(usize::MAX).min(total - start);
    let text = bytes(&args[0]);
    let (from, to) = (offset(&args[0], start), offset(&args[0], start + removed));
    let out = [&text[..from], bytes(&args[3]), &text[to..]].concat();
    call.check_length(out.len())?;
    Ok(call.text(out))
}

fn substring_index(_: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let (text, delimiter, count) = (bytes(&args[0]), bytes(&args[1]), count_of(&args[2]));
    if delimiter.is_empty() || count == 0 {
        return Ok(slice(&args[0], 0, 0));
    }
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    if count > 0 {
        let end = memchr::memmem::find_iter(text, delimiter).nth(wanted - 1);
        return Ok(end.map_or_else(|| args[0].clone(), |end| slice(&args[0], 0, end)));
    }
    let start = memchr::memmem::FinderRev::new(delimiter).rfind_iter(text).nth(wanted - 1);
    Ok(start.map_or_else(|| args[0].clone(), |at| slice(&args[0], at + delimiter.len(), text.len())))
}

/// The collation for a function that always gives text.
pub(super) const TEXT_COLLATION: Collation = Collation::DEFAULT;
