//! Patterns and their errors.

use super::*;

const PLAIN: Options =
    Options { ignore_case: false, multi_line: false, dot_is_all: false, unix_lines: false, ends_in_line: false };

fn is_match(pattern: &str, text: &str) -> bool {
    let options = Options { ends_in_line: text.ends_with(LINE_ENDS), ..PLAIN };
    let source = translate(pattern, options).unwrap_or_else(|error| panic!("{pattern}: {error}"));
    let regex = fancy_regex::Regex::new(&source).unwrap_or_else(|error| panic!("{pattern} is {source}: {error}"));
    regex.is_match(text).unwrap()
}

#[test]
fn patterns_mean_what_they_mean_to_icu() {
    for (pattern, text, expected) in [
        ("a$", "a\n", true),
        ("a$", "a\nb", false),
        ("a$", "a\r\n", true),
        ("a.b", "a\rb", false),
        ("[[:alpha:]]+", "é", true),
        ("^[^[:digit:]]$", "٣", false),
        ("[]]", "]", true),
        ("[a-c[x-z]]", "y", true),
        ("[a-z&&[^b]]", "b", false),
        (r"(a)\1", "aa", true),
        (r"(?<=a)b", "ab", true),
        ("a*+a", "aa", false),
        (r"\Qa.b\E", "axb", false),
        (r"\u00e4", "ä", true),
        (r"\bé", "é", true),
        ("a{2}", "aa", true),
        ("[a-]", "-", true),
        ("[.]", "x", false),
        ("a#b", "a#b", true),
        (r"\R", "\r\n", true),
    ] {
        assert_eq!(is_match(pattern, text), expected, "{text:?} REGEXP {pattern}");
    }
}

#[test]
fn errors_are_icus() {
    use RegexFault::*;
    for (pattern, expected) in [
        ("", IllegalArgument),
        ("[", Bracket),
        ("[a", Bracket),
        ("[]", Bracket),
        ("(", Parenthesis),
        (")", Parenthesis),
        ("*", Syntax { line: 1, character: 1 }),
        ("a**", Syntax { line: 1, character: 3 }),
        ("(?z)", Syntax { line: 1, character: 3 }),
        ("a{2,1}", IntervalOrder),
        ("a{", Interval),
        ("a{x}", Interval),
        ("a{1,99999999999}", Number),
        ("[b-a]", Range),
        ("\\", Escape),
        (r"\x{zz}", Escape),
        (r"\1", BackReference),
        ("(?<=a+)b", LookBehind),
        ("[[:foo:]]", IllegalArgument),
        ("(?<n", GroupName),
        ("(?<n>a)(?<n>a)", GroupName),
        (r"(?<n>a)\k<m>", GroupName),
    ] {
        assert_eq!(translate(pattern, PLAIN), Err(EvalError::BadRegex(expected)), "{pattern}");
    }
}

#[test]
fn what_nests_deeper_than_icus_stack_is_refused() {
    let nested = |open: &str, close: &str, depth: usize| open.repeat(depth) + "a" + &close.repeat(depth);
    for (open, close) in [("(", ")"), ("(?:b|", ")"), ("[", "]"), ("(?=", ")"), ("[^b", "]")] {
        let pattern = nested(open, close, if open.starts_with('[') { 99 } else { 60 });
        assert!(translate(&pattern, PLAIN).is_ok_and(|source| fancy_regex::Regex::new(&source).is_ok()), "{open}");
        for depth in [100, 20_000] {
            let refused = Err(EvalError::BadRegex(RegexFault::Internal));
            assert_eq!(translate(&nested(open, close, depth), PLAIN), refused, "{depth} times {open}");
        }
    }
    assert!(translate(&"(a)[b]".repeat(1_000), PLAIN).is_ok(), "what is closed does not count");
}

#[test]
fn what_would_run_for_hours_is_refused() {
    let too_big = Err(EvalError::BadRegex(RegexFault::TooBig));
    for pattern in [r"(?:(?:()\1){2147483647}){2147483647}a", "((a{1000}b){2}){1000}", "a{65537}", &"(?=a)".repeat(65)]
    {
        assert_eq!(translate(pattern, PLAIN), too_big, "{pattern}");
    }
    for pattern in ["(a{1000}b{1000}){60}", "a{1000}|(b{1000})", "a{65536}a{65536}", &"(?=a)".repeat(64)] {
        assert!(translate(pattern, PLAIN).is_ok(), "{pattern}");
    }
}
