//! LIKE and regular expressions.
//!
//! LIKE compares character by character in the operands' collation; `%` is any run, `_` any one character. Regular
//! expressions are Rust's `regex`, which has no back-references and no look-around (MySQL's ICU has); those are error 3685.

use super::Func;
use super::collate::unify_collations;
use super::spec::{Arg, Call, Ret, Spec, text_result};
use crate::collation::Collation;
use crate::error::{EvalError, ExprError};
use crate::expr::Expr;
use crate::types::FieldType;
use crate::value::Value;
use regex::{Regex, RegexBuilder};

/// Largest compiled regular expression.
const REGEX_BYTES_MAX: usize = 1 << 20;

pub(super) fn spec(func: Func) -> Option<Spec> {
    const TEXT: &[Arg] = &[Arg::Text];
    Some(match func {
        Func::Like => Spec::new(2, 3, TEXT, Ret::Custom(type_match), like).total(),
        Func::Regexp => Spec::new(2, 3, TEXT, Ret::Custom(type_match), regexp).total(),
        Func::RegexpInstr => Spec::new(2, 3, &[Arg::Text, Arg::Text, Arg::Int], Ret::Custom(type_instr), regexp_instr),
        Func::RegexpSubstr => {
            Spec::new(2, 4, &[Arg::Text, Arg::Text, Arg::Int, Arg::Int], Ret::Custom(type_substr), regexp_substr)
        }
        Func::RegexpReplace => Spec::new(3, 3, TEXT, Ret::Custom(type_replace), regexp_replace),
        _ => return None,
    })
}

fn type_match(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    unify_collations(&mut args[..2], "like")?;
    Ok(FieldType::boolean())
}

fn type_instr(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    unify_collations(&mut args[..2], "regexp")?;
    Ok(FieldType::bigint())
}

fn type_substr(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    let collation = unify_collations(&mut args[..2], "regexp")?;
    Ok(text_result(args[0].ty().display_width(), collation))
}

fn type_replace(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    let collation = unify_collations(args, "regexp")?;
    Ok(text_result(args[0].ty().display_width().saturating_mul(4), collation))
}

/// A part of a LIKE pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<T> {
    /// `%`
    Run,
    /// `_`
    One,
    /// This character.
    Char(T),
}

fn tokens<T: Copy + PartialEq>(pattern: impl Iterator<Item = T>, run: T, one: T, escape: Option<T>) -> Vec<Token<T>> {
    let mut tokens = Vec::new();
    let mut chars = pattern;
    while let Some(c) = chars.next() {
        tokens.push(if Some(c) == escape {
            Token::Char(chars.next().unwrap_or(c))
        } else if c == run {
            Token::Run
        } else if c == one {
            Token::One
        } else {
            Token::Char(c)
        });
    }
    tokens
}

/// Greedy matching with one point to return to: linear but for patterns with many `%`.
fn matches<T: Copy>(text: &[T], tokens: &[Token<T>], same: impl Fn(T, T) -> bool) -> bool {
    let (mut t, mut p) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let advanced = match tokens.get(p) {
            Some(Token::Run) => {
                retry = Some((p, t));
                p += 1;
                continue;
            }
            Some(Token::One) => t < text.len(),
            Some(Token::Char(c)) => t < text.len() && same(*c, text[t]),
            None if t == text.len() => return true,
            None => false,
        };
        if advanced {
            t += 1;
            p += 1;
            continue;
        }
        match retry {
            Some((run, from)) if from < text.len() => {
                retry = Some((run, from + 1));
                t = from + 1;
                p = run + 1;
            }
            _ => return false,
        }
    }
}

/// `text LIKE pattern ESCAPE escape` in a collation; an empty `escape` is none.
pub fn like_matches(text: &[u8], pattern: &[u8], escape: &[u8], collation: Collation) -> bool {
    match (std::str::from_utf8(text), std::str::from_utf8(pattern)) {
        (Ok(string), Ok(_)) if !collation.is_bin() && [text, pattern, escape].iter().all(|t| t.is_ascii()) => {
            let tokens = tokens(pattern.iter().copied(), b'%', b'_', escape.first().copied());
            matches(string.as_bytes(), &tokens, |a, b| collation.same_char(char::from(a), char::from(b)))
        }
        (Ok(text), Ok(pattern)) if !collation.is_bin() => {
            let escape = std::str::from_utf8(escape).ok().and_then(|e| e.chars().next());
            let text: Vec<char> = text.chars().collect();
            let tokens = tokens(pattern.chars(), '%', '_', escape);
            matches(&text, &tokens, |a, b| collation.same_char(a, b))
        }
        (Ok(string), Ok(_)) if collation != Collation::Binary && pattern.contains(&b'_') && !string.is_ascii() => {
            let escape = std::str::from_utf8(escape).ok().and_then(|e| e.chars().next());
            let text: Vec<char> = string.chars().collect();
            let tokens = tokens(String::from_utf8_lossy(pattern).chars(), '%', '_', escape);
            matches(&text, &tokens, |a, b| a == b)
        }
        // Bytes will do: a match of UTF-8 byte by byte is one of characters as long as no `_` meets a long one.
        _ => {
            let tokens = tokens(pattern.iter().copied(), b'%', b'_', escape.first().copied());
            matches(text, &tokens, |a, b| a == b)
        }
    }
}

/// The escape character of a LIKE call: the third argument, `\` without one.
pub(crate) fn escape_of(args: &[Value]) -> &[u8] {
    args.get(2).map_or(b"\\", |v| v.as_bytes().unwrap_or_default())
}

fn like(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let (text, pattern) = (args[0].as_bytes().unwrap_or_default(), args[1].as_bytes().unwrap_or_default());
    Ok(Value::bool(like_matches(text, pattern, escape_of(args), call.collation(0))))
}

/// Runs `f` with the compiled pattern, which is kept for the next row.
fn with_regex<R>(call: &Call<'_>, pattern: &Value, flags: &str, f: impl FnOnce(&Regex) -> R) -> Result<R, EvalError> {
    let source = String::from_utf8_lossy(pattern.as_bytes().unwrap_or_default()).into_owned();
    let key = format!("{flags}/{source}");
    let mut memo = call.memo.regex.borrow_mut();
    if let Some((known, regex)) = &*memo
        && *known == key
    {
        return Ok(f(regex));
    }
    if source.is_empty() {
        return Err(EvalError::BadRegex("the pattern is empty".into()));
    }
    let mut insensitive = call.collation(0).ignores_case();
    for flag in flags.chars() {
        match flag {
            'i' => insensitive = true,
            'c' => insensitive = false,
            _ => {}
        }
    }
    let regex = RegexBuilder::new(&source)
        .case_insensitive(insensitive)
        .multi_line(flags.contains('m'))
        .dot_matches_new_line(flags.contains('n'))
        .size_limit(REGEX_BYTES_MAX)
        .build()
        .map_err(|e| EvalError::BadRegex(e.to_string().lines().last().unwrap_or("pattern").to_string()))?;
    let result = f(&regex);
    *memo = Some((key, regex));
    Ok(result)
}

fn subject(value: &Value) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(value.as_bytes().unwrap_or_default())
}

fn regexp(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let flags = args.get(2).map(|f| subject(f).into_owned()).unwrap_or_default();
    with_regex(call, &args[1], &flags, |regex| Value::bool(regex.is_match(&subject(&args[0]))))
}

/// The byte offset of a position counted in characters from 1.
fn start_of(text: &str, args: &[Value], at: usize) -> Option<usize> {
    let position = args.get(at).and_then(Value::as_i64).unwrap_or(1);
    let index = usize::try_from(position.checked_sub(1)?).ok()?;
    text.char_indices().map(|(offset, _)| offset).chain([text.len()]).nth(index)
}

fn regexp_instr(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let text = subject(&args[0]);
    let Some(start) = start_of(&text, args, 2) else { return Ok(Value::Int(0)) };
    with_regex(call, &args[1], "", |regex| match regex.find_at(&text, start) {
        Some(found) => Value::Int(text[..found.start()].chars().count() as i64 + 1),
        None => Value::Int(0),
    })
}

fn regexp_substr(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let text = subject(&args[0]);
    let Some(start) = start_of(&text, args, 2) else { return Ok(Value::Null) };
    let occurrence = args.get(3).and_then(Value::as_u64).unwrap_or(1).max(1) as usize;
    with_regex(call, &args[1], "", |regex| {
        let found = regex.find_iter(&text[start..]).nth(occurrence - 1);
        found.map_or(Value::Null, |m| call.text(m.as_str().as_bytes().to_vec()))
    })
}

fn regexp_replace(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let (text, with) = (subject(&args[0]), subject(&args[2]));
    // MySQL writes groups as $1 too, but `$1x` means group 1 there.
    let mut template = String::with_capacity(with.len());
    let mut chars = with.chars().peekable();
    while let Some(c) = chars.next() {
        template.push(c);
        if c == '$' && chars.peek().is_some_and(char::is_ascii_digit) {
            template.push('{');
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                template.push(digit);
            }
            template.push('}');
        }
    }
    let replaced = with_regex(call, &args[1], "", |regex| regex.replace_all(&text, template.as_str()).into_owned())?;
    call.check_length(replaced.len())?;
    Ok(call.text(replaced.into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_matches_as_mysql() {
        let cases = [
            ("abc", "a%", true),
            ("abc", "%b%", true),
            ("abc", "a_c", true),
            ("abc", "a_", false),
            ("a%c", "a\\%c", true),
            ("abc", "a\\%c", false),
            ("", "%", true),
            ("aXbXc", "a%X%c", true),
            ("mississippi", "%iss%ip%", true),
            ("mississippi", "%iss%iz%", false),
            ("für", "f_r", true),
            ("abc ", "abc", false),
        ];
        for (text, pattern, expected) in cases {
            let found = like_matches(text.as_bytes(), pattern.as_bytes(), b"\\", Collation::Utf8mb4Bin);
            assert_eq!(found, expected, "{text} LIKE {pattern}");
        }
        assert!(like_matches(b"ABC", b"a%C", b"\\", Collation::Utf8mb4GeneralCi));
        assert!(like_matches(b"a%c", b"a|%c", b"|", Collation::Utf8mb4Bin));
    }
}
