//! `REGEXP` and the functions `REGEXP_LIKE`, `REGEXP_INSTR`, `REGEXP_SUBSTR`, `REGEXP_REPLACE`.
//!
//! MySQL's regular expressions are ICU's. [`super::icu`] reads a pattern as ICU does, with its errors, and writes it as
//! `fancy-regex` wants it, which runs what has no back-references and no look-around in linear time. A compiled pattern is
//! kept from row to row.
//!
//! Positions count characters from 1. Byte strings match byte by byte: each is the character of its number meanwhile.

use super::Func;
use super::collations::unify_collations;
use super::icu::{self, Options};
use super::spec::{Arg, Call, Ret, Spec, text_result};
use crate::error::{EvalError, ExprError, RegexFault};
use crate::expr::Expr;
use crate::types::FieldType;
use crate::value::Value;
use fancy_regex::{Captures, Regex, RegexBuilder};
use std::borrow::Cow;

/// Largest compiled regular expression.
const REGEX_BYTES_MAX: usize = 1 << 20;
/// Steps back that a pattern with back-references or look-around may take.
const BACKTRACK_MAX: usize = 1_000_000;
/// Characters of REGEXP_REPLACE's result, as its column says.
const REPLACED_CHARS: u32 = 16_777_216;

pub(super) fn spec(func: Func) -> Option<Spec> {
    use Arg::{Int, Text};
    Some(match func {
        Func::Regexp => Spec::new(2, 3, &[Text], Ret::Custom(type_like), like).total(),
        Func::RegexpInstr => Spec::new(2, 6, &[Text, Text, Int, Int, Int, Text], Ret::Custom(type_instr), instr),
        Func::RegexpSubstr => Spec::new(2, 5, &[Text, Text, Int, Int, Text], Ret::Custom(type_substr), substr),
        Func::RegexpReplace => Spec::new(3, 6, &[Text, Text, Text, Int, Int, Text], Ret::Custom(type_replace), replace),
        _ => return None,
    })
}

pub(super) fn operation(func: Func) -> &'static str {
    if func == Func::Regexp { "regexp_like" } else { func.name() }
}

fn type_like(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    unify(args, 2, Func::Regexp)?;
    Ok(FieldType::boolean())
}

fn type_instr(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    unify(args, 2, Func::RegexpInstr)?;
    Ok(FieldType::bigint())
}

fn type_substr(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    let width = args[0].ty().display_width();
    unify(args, 2, Func::RegexpSubstr)?;
    Ok(text_result(width, args[0].ty().collation))
}

fn type_replace(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    unify(args, 3, Func::RegexpReplace)?;
    Ok(text_result(REPLACED_CHARS, args[0].ty().collation))
}

/// Brings the first `count` arguments to one collation.
fn unify(args: &mut [Expr], count: usize, func: Func) -> Result<(), ExprError> {
    unify_collations(&mut args[..count], operation(func)).map(|_| ())
}

/// Bytes and characters do not go together here.
///
/// # Errors
/// [`ExprError::RegexCharsets`].
pub(super) fn check_charsets(func: Func, args: &[Expr]) -> Result<(), ExprError> {
    let is_ours = matches!(func, Func::Regexp | Func::RegexpInstr | Func::RegexpSubstr | Func::RegexpReplace);
    // What a parameter is, is known when the statement runs.
    let is_known = |e: &Expr| !matches!(e, Expr::Parameter { .. });
    match args {
        [subject, pattern, ..]
            if is_ours
                && is_known(subject)
                && is_known(pattern)
                && subject.ty().is_string()
                && pattern.ty().is_string()
                && subject.ty().is_binary_string() != pattern.ty().is_binary_string() =>
        {
            let (a, b) = (subject.ty().collation.name(), pattern.ty().collation.name());
            Err(ExprError::RegexCharsets(a.into(), b.into(), operation(func).into()))
        }
        _ => Ok(()),
    }
}

/// A pattern as it was compiled last.
pub(crate) struct Compiled {
    pattern: String,
    options: Options,
    regex: Regex,
}

/// Bytes as characters of their numbers; text as it is.
fn subject(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        other => other.as_bytes().unwrap_or_default().iter().map(|&byte| char::from(byte)).collect(),
    }
}

/// The way back from [`subject`].
fn result(call: &Call<'_>, text: &str) -> Value {
    match call.ty.is_binary_string() {
        true => Value::from(text.chars().map(|c| c as u8).collect::<Vec<u8>>()),
        false => Value::from(text),
    }
}

/// What the match type and the collation say, for one text.
fn options(call: &Call<'_>, flags: Option<&Value>, text: &str) -> Result<Options, EvalError> {
    let mut options = Options {
        ignore_case: call.collation(0).ignores_case(),
        multi_line: false,
        dot_is_all: false,
        unix_lines: false,
        ends_in_line: text.ends_with(icu::LINE_ENDS),
    };
    for flag in flags.map(subject).unwrap_or_default().chars() {
        match flag {
            'i' => options.ignore_case = true,
            'c' => options.ignore_case = false,
            'm' => options.multi_line = true,
            'n' => options.dot_is_all = true,
            'u' => options.unix_lines = true,
            _ => return Err(EvalError::WrongArguments(operation(call.func).into())),
        }
    }
    Ok(options)
}

/// Runs `work` with the compiled pattern, which is kept for the next row.
fn with_regex<R>(
    call: &Call<'_>,
    pattern: &Value,
    options: Options,
    work: impl FnOnce(&Regex) -> Result<R, EvalError>,
) -> Result<R, EvalError> {
    let pattern = subject(pattern);
    let mut memo = call.memo.regex.borrow_mut();
    if let Some(known) = memo.as_ref().filter(|known| known.options == options && known.pattern == *pattern) {
        return work(&known.regex);
    }
    let source = icu::translate(&pattern, options)?;
    let regex = RegexBuilder::new(&source)
        .delegate_size_limit(REGEX_BYTES_MAX)
        .backtrack_limit(BACKTRACK_MAX)
        .build()
        .map_err(|error| EvalError::BadRegex(refused(&error)))?;
    let compiled = memo.insert(Compiled { pattern: pattern.into_owned(), options, regex });
    work(&compiled.regex)
}

/// What is wrong with a pattern that ICU's grammar allows.
fn refused(error: &fancy_regex::Error) -> RegexFault {
    let text = error.to_string();
    if matches!(error, fancy_regex::Error::ParseError(_, fancy_regex::ParseError::RecursionExceeded)) {
        RegexFault::Internal
    } else if text.contains("size") || text.contains("exceeds") {
        RegexFault::TooBig
    } else if text.contains("ook-behind") {
        RegexFault::LookBehind
    } else {
        RegexFault::IllegalArgument
    }
}

fn ran_out(_: fancy_regex::Error) -> EvalError {
    EvalError::BadRegex(RegexFault::TimeOut)
}

fn like(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let text = subject(&args[0]);
    let options = options(call, args.get(2), &text)?;
    with_regex(call, &args[1], options, |regex| regex.is_match(&*text).map(Value::bool).map_err(ran_out))
}

/// The byte offset of a position; `None` for one that is not there.
fn offset(text: &str, position: i64) -> Option<usize> {
    let index = usize::try_from(position.checked_sub(1)?).ok()?;
    text.char_indices().map(|(offset, _)| offset).chain([text.len()]).nth(index)
}

fn number(args: &[Value], at: usize, otherwise: i64) -> i64 {
    args.get(at).and_then(Value::as_i64).unwrap_or(otherwise)
}

/// Start and end of a match, the `occurrence`-th from `start`.
fn nth(regex: &Regex, text: &str, start: usize, occurrence: i64) -> Result<Option<(usize, usize)>, EvalError> {
    let mut left = occurrence.max(1);
    let mut at = start;
    while at <= text.len() {
        let Some(found) = regex.find_from_pos(text, at).map_err(ran_out)? else { return Ok(None) };
        left -= 1;
        if left == 0 {
            return Ok(Some((found.start(), found.end())));
        }
        at = behind(text, found.start(), found.end());
    }
    Ok(None)
}

/// Where to look for the match after this one: an empty one takes a character with it.
fn behind(text: &str, start: usize, end: usize) -> usize {
    if end > start { end } else { end + text[end..].chars().next().map_or(1, char::len_utf8) }
}

fn out_of_bounds() -> EvalError {
    EvalError::BadRegex(RegexFault::IndexOutOfBounds)
}

fn instr(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let text = subject(&args[0]);
    let option = number(args, 4, 0);
    if !matches!(option, 0 | 1) {
        return Err(EvalError::WrongArguments("regexp_instr: return_option must be 1 or 0.".into()));
    }
    let options = options(call, args.get(5), &text)?;
    let inside = |start: &usize| *start < text.len() || text.is_empty();
    with_regex(call, &args[1], options, |regex| {
        let start = offset(&text, number(args, 2, 1)).filter(inside).ok_or_else(out_of_bounds)?;
        let found = nth(regex, &text, start, number(args, 3, 1))?;
        let place = found.map(|(start, end)| if option == 0 { start } else { end });
        Ok(Value::Int(place.map_or(0, |place| text[..place].chars().count() as i64 + 1)))
    })
}

/// The byte offset that a search starts at.
fn start_of(call: &Call<'_>, text: &str, position: i64) -> Result<usize, EvalError> {
    if position < 1 {
        return Err(EvalError::WrongParameters(operation(call.func).into()));
    }
    offset(text, position).ok_or_else(out_of_bounds)
}

fn substr(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let text = subject(&args[0]);
    let start = start_of(call, &text, number(args, 2, 1))?;
    let options = options(call, args.get(4), &text)?;
    with_regex(call, &args[1], options, |regex| {
        let found = nth(regex, &text, start, number(args, 3, 1))?;
        Ok(found.map_or(Value::Null, |(start, end)| result(call, &text[start..end])))
    })
}

fn replace(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let (text, template) = (subject(&args[0]), subject(&args[2]));
    let mut at = start_of(call, &text, number(args, 3, 1))?;
    let occurrence = number(args, 4, 0);
    let options = options(call, args.get(5), &text)?;
    with_regex(call, &args[1], options, |regex| {
        let mut out = text[..at].to_string();
        let mut done = at;
        let mut seen = 0;
        while at <= text.len() {
            let Some(found) = regex.captures_from_pos(&*text, at).map_err(ran_out)? else { break };
            let Some(whole) = found.get(0) else { break };
            seen += 1;
            if occurrence <= 0 || seen == occurrence {
                out.push_str(&text[done..whole.start()]);
                expand(&template, &found, &mut out)?;
                call.check_length(out.len())?;
                done = whole.end();
            }
            if seen == occurrence {
                break;
            }
            at = behind(&text, whole.start(), whole.end());
        }
        out.push_str(&text[done..]);
        call.check_length(out.len())?;
        Ok(result(call, &out))
    })
}

/// Appends a replacement: `$1` and `${name}` are groups, a character behind `\` is itself.
fn expand(template: &str, found: &Captures<'_, str>, out: &mut String) -> Result<(), EvalError> {
    let bad_name = || EvalError::BadRegex(RegexFault::GroupName);
    let mut chars = template.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            '$' => match chars.peek() {
                Some('{') => {
                    chars.next();
                    let name: String = chars.by_ref().take_while(|c| *c != '}').collect();
                    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic());
                    let known = found.name(&name).filter(|_| is_name).ok_or_else(bad_name)?;
                    out.push_str(known.as_str());
                }
                Some(digit) if digit.is_ascii_digit() => {
                    let mut group = 0usize;
                    let mut digits = 0;
                    while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
                        let longer = group * 10 + digit as usize;
                        if digits > 0 && longer >= found.len() {
                            break;
                        }
                        (group, digits) = (longer, digits + 1);
                        chars.next();
                    }
                    if group >= found.len() {
                        return Err(out_of_bounds());
                    }
                    out.push_str(found.get(group).map_or("", |part| part.as_str()));
                }
                _ => return Err(bad_name()),
            },
            other => out.push(other),
        }
    }
    Ok(())
}
