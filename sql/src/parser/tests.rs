//! Golden scripts of the parser: `sql/testscripts/parser`.

use super::{ParseOptions, parse_one};
use goldenscript::{Command, Context, Runner};
use std::error::Error;
use std::fmt::Write as _;

struct Parse;

impl Runner for Parse {
    type Command = Command;

    /// Every line is SQL; prints the trees of its statements, or MySQL's error.
    fn run(&mut self, command: &Command, _: &Context) -> Result<String, Box<dyn Error>> {
        let mut text = command.name.as_bytes();
        let mut out = String::new();
        loop {
            match parse_one(text, ParseOptions::default()) {
                Ok(Some(parsed)) => {
                    writeln!(out, "{:?}", parsed.statement)?;
                    text = &text[parsed.next..];
                }
                Ok(None) => return Ok(out),
                Err(error) => {
                    writeln!(out, "{}: {error}", error.code())?;
                    return Ok(out);
                }
            }
        }
    }
}

#[test]
fn scripts() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testscripts/parser");
    for entry in std::fs::read_dir(folder).expect("the scripts are part of the repository") {
        let path = entry.expect("a readable folder").path();
        goldenscript::run(&mut Parse, &path).expect("the script passes");
    }
}

#[test]
fn statements_are_read_one_by_one() {
    let text = b" ; SELECT 1 ; -- no more\n INSERT INTO t VALUES (';', ?, ?)";
    let first = parse_one(text, ParseOptions::default()).unwrap().unwrap();
    assert_eq!(&text[first.start..first.end], b"SELECT 1");
    let second = parse_one(&text[first.next..], ParseOptions::default()).unwrap().unwrap();
    assert_eq!((second.parameters, second.next), (2, text.len() - first.next));
}

#[test]
fn bytes_need_not_be_text() {
    let parsed = parse_one(b"INSERT INTO t VALUES (_binary '\xff\xfe\\0')", ParseOptions::default()).unwrap();
    assert!(format!("{parsed:?}").contains("[255, 254, 0]"));
    assert_eq!(parse_one(b"SELECT \xff\xff FROM t", ParseOptions::default()).unwrap_err().code(), 1064);
}

#[test]
fn depth_is_bounded_and_lists_are_not() {
    let pairs = format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000));
    assert!(parse_one(pairs.as_bytes(), ParseOptions::default()).is_ok(), "pairs around pairs are no levels");
    let deep = format!("SELECT {}1{}", "(1 + (".repeat(10_000), "))".repeat(10_000));
    assert_eq!(parse_one(deep.as_bytes(), ParseOptions::default()).unwrap_err().code(), 1436);
    let chain = format!("SELECT 1{}", " - 1".repeat(10_000));
    assert_eq!(parse_one(chain.as_bytes(), ParseOptions::default()).unwrap_err().code(), 1436);
    let nested = |levels: usize| format!("SELECT {}1{}", "(SELECT ".repeat(levels), ")".repeat(levels));
    assert_eq!(parse_one(nested(64).as_bytes(), ParseOptions::default()).unwrap_err().code(), 1473);
    let minus = format!("SELECT {}1", "- ".repeat(10_000));
    assert_eq!(parse_one(minus.as_bytes(), ParseOptions::default()).unwrap_err().code(), 1436);
    let wide = format!("SELECT 1 FROM t WHERE {}a = 1", "a = 2 OR ".repeat(10_000));
    assert!(parse_one(wide.as_bytes(), ParseOptions::default()).is_ok());
}
