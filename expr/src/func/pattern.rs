//! LIKE: character by character in the operands' collation; `%` is any run, `_` any one character.

use super::Func;
use super::collations::unify_collations;
use super::spec::{Arg, Call, Ret, Spec};
use crate::collation::Collation;
use crate::error::{EvalError, ExprError};
use crate::expr::Expr;
use crate::types::FieldType;
use crate::value::Value;

pub(super) fn spec(func: Func) -> Option<Spec> {
    const TEXT: &[Arg] = &[Arg::Text];
    Some(match func {
        Func::Like => Spec::new(2, 3, TEXT, Ret::Custom(type_match), like).total(),
        _ => return None,
    })
}

fn type_match(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    unify_collations(&mut args[..2], "like")?;
    Ok(FieldType::boolean())
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

/// True for more than one character.
pub(crate) fn is_long(escape: &[u8]) -> bool {
    escape.len() > 1 && String::from_utf8_lossy(escape).chars().count() > 1
}

fn like(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let (text, pattern) = (args[0].as_bytes().unwrap_or_default(), args[1].as_bytes().unwrap_or_default());
    if is_long(escape_of(args)) {
        return Err(EvalError::WrongArguments("ESCAPE".into()));
    }
    Ok(Value::bool(like_matches(text, pattern, escape_of(args), call.collation(0))))
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
