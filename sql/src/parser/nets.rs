//! What must hold of the lexer, the parser, the printer and the plan cache's digest for any bytes at all.
//!
//! [`check`] is what a fuzzer calls with its data. Here it is given every statement of the repository, in every `sql_mode` that
//! changes reading, and then those statements mutated under a fixed seed for a few seconds (`FUZZ_SECONDS`).

use super::ast::{Expr, Literal};
use super::print::print;
use super::{ParseOptions, Statement, parse_one};
use crate::planner::digest::{self, LexMode};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The modes that change how a text is read, and none.
fn modes() -> [ParseOptions; 4] {
    let plain = ParseOptions::default();
    [
        plain,
        ParseOptions { ansi_quotes: true, pipes_as_concat: true, ..plain },
        ParseOptions { no_backslash_escapes: true, ..plain },
        ParseOptions { high_not_precedence: true, ..plain },
    ]
}

/// Panics when `data`, as a statement, breaks what must hold.
fn check(data: &[u8]) {
    for options in modes() {
        let parsed = parse_one(data, options);
        if let Ok(Some(parsed)) = &parsed {
            assert!(parsed.start <= parsed.end && parsed.end <= parsed.next && parsed.next <= data.len());
            // Printed strings have escapes.
            if !options.no_backslash_escapes {
                check_print(&parsed.statement, options, data);
            }
        }
        check_digest(data, options);
    }
}

/// `parse(print(x)) = x`, but for the texts of select items and the order of parameters.
fn check_print(statement: &Statement, options: ParseOptions, data: &[u8]) {
    let Some(text) = print(statement) else { return };
    let shown = String::from_utf8_lossy(&text).into_owned();
    match parse_one(&text, options) {
        Ok(Some(again)) => {
            let (was, is) = (without_texts(statement), without_texts(&again.statement));
            assert_eq!(was, is, "{} printed as {shown}", String::from_utf8_lossy(data));
        }
        // Parentheses count as levels.
        Err(error) if error.code() == 1436 => {}
        outcome => panic!("{} printed as {shown}: {outcome:?}", String::from_utf8_lossy(data)),
    }
}

/// A tree's text without what a printed statement need not keep.
fn without_texts(statement: &Statement) -> String {
    without(&without(&format!("{statement:?}"), "text: \"", '"'), "Parameter(", ')')
}

/// A tree's text without what stands between `opening` and the first `closing` that has no backslash before it.
fn without(tree: &str, opening: &str, closing: char) -> String {
    let mut out = String::with_capacity(tree.len());
    let mut rest = tree;
    while let Some(at) = rest.find(opening) {
        out.push_str(&rest[..at]);
        rest = &rest[at + opening.len()..];
        let mut escaped = false;
        let end = rest.find(|c: char| {
            let ends = !escaped && c == closing;
            escaped = !escaped && c == '\\';
            ends
        });
        rest = &rest[end.map_or(rest.len(), |end| end + 1)..];
    }
    out + rest
}

/// What the plan cache takes out of a text are literals that the parser sees, with the values it sees, and what it leaves
/// parses to the same statement with `?` in their place.
fn check_digest(data: &[u8], options: ParseOptions) {
    let Ok(sql) = std::str::from_utf8(data) else { return };
    let mode = LexMode { ansi_quotes: options.ansi_quotes, no_backslash_escapes: options.no_backslash_escapes };
    let (mut text, mut types) = (Vec::new(), Vec::new());
    let Some(lexed) = digest::lex(sql, mode, &mut text, &mut types) else { return };
    let template = String::from_utf8_lossy(&text).into_owned();
    // A text whose template does not parse is not kept.
    let Ok(Some(of_template)) = parse_one(&text, options) else { return };
    let of_text = match parse_one(data, options) {
        Ok(Some(parsed)) => parsed,
        outcome => panic!("{sql} has the template {template} and parses to {outcome:?}"),
    };
    assert_eq!(of_template.parameters, lexed.params.len(), "{sql}: {template}");
    let mut tree = format!("{:?}", of_template.statement);
    for (i, param) in lexed.params.iter().enumerate().rev() {
        let literal = match param {
            digest::Literal::Int(v) => Literal::Integer(*v as u64),
            digest::Literal::Decimal(text) => Literal::Decimal((*text).to_string()),
            digest::Literal::Double(_) => Literal::Float("any".to_string()),
            digest::Literal::String(text) => Literal::String { bytes: text.as_bytes().to_vec(), charset: None },
        };
        tree = tree.replace(&format!("Parameter({i})"), &format!("{:?}", Expr::Literal(literal)));
    }
    let expected = same_numbers(&tree);
    let actual = same_numbers(&format!("{:?}", of_text.statement));
    assert_eq!(expected, actual, "{sql}\nhas the template {template}");
}

/// Floats compare by being there; a negative decimal is `-` before one in a template.
fn same_numbers(tree: &str) -> String {
    let mut out = String::new();
    let mut rest = tree;
    while let Some(at) = rest.find("Literal(Float(\"") {
        let from = at + "Literal(Float(\"".len();
        out.push_str(&rest[..from]);
        rest = &rest[from..];
        rest = &rest[rest.find('"').unwrap_or(rest.len())..];
    }
    out.push_str(rest);
    negated_decimals(&without(&out, "text: \"", '"'))
}

/// `-` before a decimal without one is part of it.
fn negated_decimals(tree: &str) -> String {
    const MINUS: &str = "Unary(Minus, Literal(Decimal(\"";
    let mut out = String::new();
    let mut rest = tree;
    while let Some(at) = rest.find(MINUS) {
        let digits = &rest[at + MINUS.len()..];
        let end = digits.find('"').unwrap_or(digits.len());
        if digits.starts_with('-') {
            out.push_str(&rest[..at + MINUS.len()]);
            rest = digits;
        } else {
            out.push_str(&rest[..at]);
            out.push_str(&format!("Literal(Decimal(\"-{}\"))", &digits[..end]));
            rest = &digits[(end + "\")))".len()).min(digits.len())..];
        }
    }
    out + rest
}

/// Every statement of the SQL logic tests and of this crate's scripts.
fn corpus() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_path_buf();
    let mut statements = Vec::new();
    for file in files(&root.join("tests/slt")) {
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        for record in text.split("\n\n") {
            let lines = record.lines().skip_while(|l| !l.starts_with("statement") && !l.starts_with("query")).skip(1);
            statements.push(lines.take_while(|l| *l != "----").collect::<Vec<_>>().join("\n"));
        }
    }
    for file in files(&root.join("sql/testscripts")) {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        statements.extend(text.lines().map(|l| l.trim_start_matches("> ").trim_matches('\'').to_string()));
    }
    statements.retain(|s| !s.is_empty());
    statements
}

pub(super) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// What texts break at.
const PIECES: &[&str] = &[
    "'",
    "\"",
    "`",
    "\\",
    "/*!",
    "/*!80000 ",
    "*/",
    "-- ",
    "#",
    "?",
    "@",
    "@@",
    "(",
    ")",
    ",",
    ".",
    ";",
    "1.e5",
    ".5",
    "0x1f",
    "x'41'",
    "b'1'",
    "N'a'",
    "_utf8mb4'a'",
    "1e",
    "-",
    "NOT ",
    "!",
    "||",
    " AND ",
    " IN ",
    " BETWEEN ",
    "INTERVAL ",
    "(SELECT 1)",
    "NULL",
    "\n",
    "\0",
    "é",
    "1.5",
    "18446744073709551616",
    " JOIN ",
    " ON ",
    "CASE WHEN ",
    " END ",
    ":=",
    "<=>",
    " LIKE ",
    " COLLATE ",
    "{d '",
    "}",
    "\u{a0}",
    " WHERE ",
    " VALUES ",
    "SET ",
];

/// Takes pieces of `a` and `b` together, or changes a byte or a word.
fn mutate(random: &mut SmallRng, a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut out = a.to_vec();
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..=out.len());
        let to = (at + random.random_range(0..8)).min(out.len());
        match random.random_range(0..5) {
            0 => drop(out.splice(at..to, [])),
            1 => drop(out.splice(at..at, PIECES[random.random_range(0..PIECES.len())].bytes())),
            2 => drop(out.splice(at..to, PIECES[random.random_range(0..PIECES.len())].bytes())),
            3 => {
                let from = random.random_range(0..=b.len());
                let until = (from + random.random_range(0..30)).min(b.len());
                drop(out.splice(at..to, b[from..until].iter().copied()));
            }
            _ => {
                if let Some(byte) = out.get_mut(at) {
                    *byte = random.random();
                }
            }
        }
    }
    out
}

#[test]
fn every_statement_of_the_repository_holds() {
    let corpus = corpus();
    assert!(corpus.len() > 10_000);
    corpus.iter().for_each(|statement| check(statement.as_bytes()));
    let printed = corpus.iter().filter_map(|s| parse_one(s.as_bytes(), ParseOptions::default()).ok().flatten());
    assert!(printed.filter(|p| print(&p.statement).is_some()).count() > 8_000);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "measures real time: a reader that is quadratic shows in it")]
fn mutated_statements_hold() {
    let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(3);
    let corpus = corpus();
    let mut random = SmallRng::seed_from_u64(std::env::var("FUZZ_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1));
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(seconds) {
        let a = &corpus[random.random_range(0..corpus.len())];
        let b = &corpus[random.random_range(0..corpus.len())];
        let data = mutate(&mut random, a.as_bytes(), b.as_bytes());
        let started = Instant::now();
        let held = std::panic::catch_unwind(|| check(&data)).is_ok();
        assert!(held, "the input was {:?}", String::from_utf8_lossy(&data));
        assert!(started.elapsed() < SLOW, "slow: {}", String::from_utf8_lossy(&data));
    }
}

/// What reading a text of this size may take, on a machine that does other things besides.
const SLOW: Duration = Duration::from_secs(10);

/// Whatever is repeated is read in time that grows with the text, and refused where it nests too deep.
#[test]
#[expect(clippy::disallowed_methods, reason = "measures real time: a reader that is quadratic shows in it")]
fn repetitions_are_read_once() {
    const REPEATED: &[&str] = &[
        "(",
        "(SELECT ",
        "((SELECT 1),",
        "-",
        "- ",
        "NOT ",
        "! ",
        "~",
        "a JOIN ",
        "a JOIN b ON ",
        "CASE ",
        "CASE WHEN 1 THEN ",
        "/*!99999 /* */ ",
        "/*! ",
        "/*",
        "'a' ",
        "'",
        "`",
        "1 IN (",
        "INTERVAL (",
        "INTERVAL 1 DAY + ",
        "@",
        "@a := ",
        "a.",
        "f(",
        "{fn ",
        ",(1)",
        "EXISTS(",
        "1 BETWEEN ",
        "1 LIKE ",
        "WITH a AS (",
        "SELECT 1 UNION (",
        "SELECT 1 UNION ",
        "x'",
        "1.",
        "1 + ",
        "1 = ",
        "1 AND ",
        "1 XOR ",
        "1 || ",
        "a COLLATE b ",
        "IS NULL ",
        "ROW(",
        "SELECT (",
        "{OJ ",
        "(a JOIN b) JOIN ",
        "BINARY ",
        "\\",
        "\\'",
        "N'a' ",
        ")",
        ") ",
        "EXPLAIN ",
        "LIMIT ",
        "DEFAULT(",
        "CAST(",
        "TRIM(",
        "?",
        "?,",
        "-- ",
        "#",
        "\n",
        "a ",
        "AS ",
        "<>",
        "= ANY (",
        "CONVERT(",
        "é",
        "\u{a0}",
    ];
    for prefix in ["", "SELECT ", "SELECT 1 FROM ", "SELECT 1 FROM t WHERE a = ", "INSERT INTO t VALUES (", "SET @a = "]
    {
        for repeated in REPEATED {
            let text = format!("{prefix}{}", repeated.repeat(120_000 / repeated.len()));
            let began = Instant::now();
            drop(parse_one(text.as_bytes(), ParseOptions::default()));
            assert!(began.elapsed() < SLOW, "{prefix}{repeated}…");
        }
    }
}
