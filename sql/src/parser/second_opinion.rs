//! What `sqlparser`, with its MySQL dialect, makes of the statements of the SQL logic tests, and of the kinds of statements
//! that its own MySQL tests and MySQL's manual have (`testscripts/second_opinion.sql`; MySQL 9 reads each of them).
//!
//! | question | how |
//! |---|---|
//! | is it a statement? | where one takes it and the other does not, the record has MySQL's answer, and Basalt's must be that |
//! | what belongs together? | [`print`] puts parentheses around every operand; as sqlparser reads them, the statement and the printed one must be grouped alike |
//!
//! It is no authority: where MySQL's grammar says otherwise, [`GROUPED`] and [`TAKEN`] say so.

use super::nets::files;
use super::print::print;
use super::{ParseOptions, parse_one};
use regex::Regex;
use sqlparser::ast::{BinaryOperator, Expr, Ident, Statement, UnaryOperator, VisitMut, VisitorMut};
use sqlparser::dialect::MySqlDialect;
use sqlparser::parser::Parser;
use std::ops::ControlFlow;
use std::path::Path;

const KINDS: &str = include_str!("../../testscripts/second_opinion.sql");

/// What only one takes although MySQL's answer, where one is recorded, is the other's: what is in it, and why.
const TAKEN: &[(&str, &str)] = &[
    (r#"""#, "under ANSI_QUOTES; here it is read without"),
    ("``", "a name of no letters; MySQL's error is another one"),
    ("LIMIT id", "LIMIT takes numbers and variables of procedures, which are not here"),
    ("PREPARE", "the text within has the error"),
];

/// What the two group otherwise: what is in it, and why.
const GROUPED: &[(&str, &str)] = &[
    (r"\bXOR\b", "XOR is between AND and OR (sql_yacc.yy); sqlparser has it before comparisons"),
    (r"\|\|", "|| is OR without PIPES_AS_CONCAT; sqlparser always concatenates"),
    (
        r"LIKE|REGEXP|RLIKE|\bIN\b|BETWEEN|\bIS\b",
        "predicates bind alike and tighter than comparisons (sql_yacc.yy); sqlparser has levels",
    ),
    (r"\bMOD\b|\bDIV\b|\^|<<|>>|&|\|", "^ before *, shifts behind +, & before | (sql_yacc.yy)"),
    (r"INTERVAL|ADDDATE|SUBDATE|DATE_ADD|DATE_SUB", "one function, written as a sum or as a call"),
    (r"UNKNOWN|SOME\b|LIMIT \d+,|PRECEDING|(ROWS|RANGE) CURRENT|NULLS\b", "one meaning, written in two ways"),
    (r#"\bb'|\b0[xb]|\bx'|\bN'|"|\\|'\s+'|\b0\d|[-+]\s*[-+(\d]|\{"#, "one constant, written in two ways"),
    (
        r"SUBSTR|MID\(|POSITION|TRIM|EXTRACT|CONVERT|CAST|CHAR|BINARY|@|TIME|DATE|_\w+ ?'",
        "one function, written in two ways",
    ),
    ("JOIN .* JOIN .* LIMIT", "joins of a subquery are grouped from the left; printed, they say so"),
];

/// A statement, and whether MySQL reads it: any error but 1064 is an answer.
struct Asked {
    sql: String,
    is_mysql: bool,
}

fn statements() -> Vec<Asked> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").join("tests/slt");
    let kinds = KINDS.lines().map(|sql| Asked { sql: sql.to_string(), is_mysql: true });
    let mut all: Vec<Asked> = kinds.collect();
    for file in files(&root).iter().filter(|file| file.extension().is_some_and(|e| e == "slt")) {
        let text = std::fs::read_to_string(file).expect("a file of records");
        let records = text.split("\n\n").map(|record| record.lines());
        for mut lines in records {
            let Some(head) = lines.find(|l| l.starts_with("statement") || l.starts_with("query")) else { continue };
            let sql = lines.take_while(|l| *l != "----").collect::<Vec<_>>().join("\n");
            all.push(Asked { sql, is_mysql: !head.ends_with("ERROR 1064") });
        }
    }
    all
}

fn theirs(sql: &str) -> Option<Statement> {
    let mut parsed = Parser::parse_sql(&MySqlDialect {}, sql).ok()?;
    (parsed.len() == 1).then(|| parsed.remove(0))
}

fn is_ours(sql: &str) -> bool {
    match parse_one(sql.as_bytes(), ParseOptions::default()) {
        Ok(parsed) => parsed.is_some(),
        // What is refused as not supported, or nests too deep, was read.
        Err(error) => error.code() != 1064,
    }
}

/// The reasons of a list, of which each has to fit something, and what none of them fits.
struct Reasons {
    patterns: Vec<(Regex, bool)>,
    unexplained: Vec<String>,
}

impl Reasons {
    fn new(list: &[(&str, &str)]) -> Reasons {
        let regex = |text: &str| Regex::new(&format!("(?is){text}")).expect("a pattern is a regex");
        Reasons { patterns: list.iter().map(|(text, _)| (regex(text), false)).collect(), unexplained: Vec::new() }
    }

    fn note(&mut self, sql: &str, told: impl FnOnce() -> String) {
        match self.patterns.iter_mut().find(|(pattern, _)| pattern.is_match(sql)) {
            Some((_, is_used)) => *is_used = true,
            None => self.unexplained.push(told()),
        }
    }

    fn check(self) {
        assert!(self.unexplained.is_empty(), "{} of them:\n{}", self.unexplained.len(), self.unexplained.join("\n"));
        let idle: Vec<_> =
            self.patterns.iter().filter(|(_, used)| !used).map(|(pattern, _)| pattern.as_str()).collect();
        assert!(idle.is_empty(), "these explain nothing any more: {idle:?}");
    }
}

#[test]
fn where_one_of_two_parsers_takes_a_statement_mysql_decides() {
    let mut reasons = Reasons::new(TAKEN);
    let (mut both, mut theirs_alone, mut ours_alone) = (0, 0, 0);
    for Asked { sql, is_mysql } in statements() {
        match (is_ours(&sql), theirs(&sql).is_some()) {
            (true, true) => both += 1,
            (false, true) => {
                theirs_alone += 1;
                if is_mysql {
                    reasons.note(&sql, || format!("only sqlparser takes {sql}"));
                }
            }
            (true, false) => {
                ours_alone += 1;
                if !is_mysql {
                    reasons.note(&sql, || format!("only Basalt takes {sql}"));
                }
            }
            (false, false) => {}
        }
    }
    assert!(both > 15_000 && theirs_alone > 100 && ours_alone > 100, "{both} {theirs_alone} {ours_alone}");
    reasons.check();
}

/// Collects the texts of all expressions that stand in no other one, with parentheses around every operator and no others.
#[derive(Default)]
struct Groups {
    depth: usize,
    found: Vec<String>,
}

impl VisitorMut for Groups {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        while let Expr::Nested(inner) = expr {
            *expr = (**inner).clone();
        }
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.depth -= 1;
        let taken = std::mem::replace(expr, Expr::Identifier(Ident::new("")));
        *expr = match taken {
            Expr::BinaryOp { left, op, right } => {
                let (left, right) = (Box::new(without_own(*left, &op)), Box::new(without_own(*right, &op)));
                nested(Expr::BinaryOp { left, op, right })
            }
            Expr::Exists { subquery, negated: true } => {
                let expr = Box::new(Expr::Exists { subquery, negated: false });
                nested(Expr::UnaryOp { op: UnaryOperator::Not, expr })
            }
            expr if is_operator(&expr) => nested(expr),
            expr => expr,
        };
        if self.depth == 0 {
            self.found.push(expr.to_string());
        }
        ControlFlow::Continue(())
    }
}

fn is_operator(expr: &Expr) -> bool {
    use Expr::*;
    let is_test = matches!(expr, IsNull(_) | IsNotNull(_) | IsTrue(_) | IsNotTrue(_) | IsFalse(_) | IsNotFalse(_));
    let is_test = is_test || matches!(expr, IsUnknown(_) | IsNotUnknown(_) | Between { .. } | In { .. });
    is_test
        || matches!(expr, UnaryOp { .. } | Like { .. } | RLike { .. } | AnyOp { .. } | AllOp { .. } | Collate { .. })
}

fn nested(expr: Expr) -> Expr {
    Expr::Nested(Box::new(expr))
}

/// AND of an AND is one AND, however it was put together.
fn without_own(expr: Expr, of: &BinaryOperator) -> Expr {
    let is_own = |inner: &Expr| matches!(inner, Expr::BinaryOp { op, .. } if op == of);
    match expr {
        Expr::Nested(inner) if matches!(of, BinaryOperator::And | BinaryOperator::Or) && is_own(&inner) => *inner,
        expr => expr,
    }
}

/// The groups of a statement, without what a printed one spells otherwise.
fn groups(mut statement: Statement) -> Vec<String> {
    let mut groups = Groups::default();
    let _ = VisitMut::visit(&mut statement, &mut groups);
    let plain = |text: &String| {
        let text = text.replace('`', "").to_ascii_lowercase();
        text.replace("row(", "(").replace(" as ", " ").replace("union distinct", "union")
    };
    let mut out: Vec<_> = groups.found.iter().map(plain).collect();
    // Printed clauses may stand in another order.
    out.sort();
    out
}

#[test]
fn both_parsers_group_alike() {
    let mut reasons = Reasons::new(GROUPED);
    let mut compared = 0;
    for Asked { sql, .. } in statements() {
        let Ok(Some(parsed)) = parse_one(sql.as_bytes(), ParseOptions::default()) else { continue };
        let Some(printed) = print(&parsed.statement).and_then(|bytes| String::from_utf8(bytes).ok()) else { continue };
        let (Some(written), Some(read)) = (theirs(&sql), theirs(&printed)) else { continue };
        compared += 1;
        let (written, read) = (groups(written), groups(read));
        if written != read {
            reasons.note(&sql, || format!("{sql}\n  sqlparser {written:?}\n  Basalt    {read:?}"));
        }
    }
    assert!(compared > 12_000, "{compared}");
    reasons.check();
}
