//! What a predicate says about one column: the part of WHERE that a key can answer.
//!
//! A conjunct `column op constant` becomes a [`Condition`]; constants may be parameters, so that values are compared
//! with nothing here: `bounds` turns conditions into intervals when the statement runs. A condition never excludes
//! a row for which the predicate is true; [`Condition::is_exact`] says that it includes no other either, so that the
//! predicate need not be evaluated again. Both [`Condition::is_exact`] and [`Condition::is_certain`] hold for every value
//! that the constants can take: what they promise is used when the values are not known yet.

use crate::plan::CompareOp;
use basalt_expr::expr::Expr;
use basalt_expr::func::{Func, literal_type};
use basalt_expr::types::{EvalType, FieldType, TypeKind, UNSPECIFIED};
use basalt_expr::value::Value;
use basalt_expr::value_set::ValueSet;
use std::sync::Arc;

/// Ranges that stand for a set of more values than a key is asked for one by one.
pub const NEAR_RANGES_MAX: usize = 1024;

/// What is asked of a column's value.
#[derive(Debug, Clone)]
pub enum Test {
    /// `column op constant`.
    Compare(CompareOp, Expr),
    /// `column <=> constant`.
    NullSafeEqual(Expr),
    /// `column IN (constants)`.
    In(Vec<Expr>),
    /// `column IN (very many constants)`.
    InSet(Arc<ValueSet>),
    /// Near one of the constants: some ranges that hold all of them, when they are too many for a range each.
    Near(Arc<ValueSet>),
    /// `column IS NULL`.
    IsNull,
    /// `column IS NOT NULL`.
    IsNotNull,
    /// `column LIKE constant`: the part before the first wildcard.
    Like {
        /// The pattern.
        pattern: Expr,
        /// Its escape character.
        escape: char,
    },
    /// All of them.
    All(Vec<Test>),
    /// At least one of them.
    Any(Vec<Test>),
}

impl Test {
    /// True when the test allows single values only.
    pub fn is_points(&self) -> bool {
        match self {
            Test::Compare(op, _) => *op == CompareOp::Eq,
            Test::NullSafeEqual(_) | Test::In(_) | Test::InSet(_) | Test::IsNull => true,
            Test::IsNotNull | Test::Like { .. } | Test::Near(_) => false,
            Test::All(tests) => tests.iter().any(Test::is_points),
            Test::Any(tests) => tests.iter().all(Test::is_points),
        }
    }

    /// How many values a test that [`is_points`](Test::is_points) allows at most.
    pub fn points_max(&self) -> usize {
        match self {
            Test::In(list) => list.len(),
            Test::InSet(set) => set.values().len(),
            Test::All(tests) => tests.iter().filter(|t| t.is_points()).map(Test::points_max).min().unwrap_or(1),
            Test::Any(tests) => tests.iter().map(Test::points_max).sum(),
            _ => 1,
        }
    }

    /// How many intervals the test makes at most.
    pub fn intervals_max(&self) -> usize {
        match self {
            Test::In(list) => list.len(),
            Test::InSet(set) => set.values().len(),
            Test::Near(set) => set.values().len().min(NEAR_RANGES_MAX),
            Test::All(tests) | Test::Any(tests) => tests.iter().map(Test::intervals_max).sum(),
            _ => 1,
        }
    }

    /// The test, or a weaker one when it would make more than `ranges_max` intervals and there is one that makes fewer.
    pub fn within(self, ranges_max: usize) -> Test {
        match self {
            Test::InSet(set) if set.values().len() > ranges_max => Test::Near(set),
            test => test,
        }
    }

    /// True when both ends of the allowed values are given.
    pub fn is_bounded(&self) -> bool {
        let bounds = |test: &Test| match test {
            Test::Compare(CompareOp::Gt | CompareOp::Ge, _) => (true, false),
            Test::Compare(CompareOp::Lt | CompareOp::Le, _) => (false, true),
            Test::Like { .. } | Test::Near(_) => (true, true),
            test => (test.is_points(), test.is_points()),
        };
        match self {
            Test::All(tests) => {
                let ends = tests.iter().map(bounds).fold((false, false), |a, b| (a.0 || b.0, a.1 || b.1));
                ends == (true, true) || tests.iter().any(Test::is_bounded)
            }
            Test::Any(tests) => tests.iter().all(Test::is_bounded),
            test => bounds(test) == (true, true),
        }
    }
}

/// A test of one column.
#[derive(Debug, Clone)]
pub struct Condition {
    /// The column, by its position in the predicate's input.
    pub column: usize,
    /// The test.
    pub test: Test,
    /// Whether rows that pass the test are exactly those for which the predicate is true.
    pub is_exact: bool,
    /// Whether every constant has a place in the column's order, whatever its value: a test for single values is one
    /// when the statement runs. Otherwise it may turn out to ask nothing, and nothing may rest on it.
    pub is_certain: bool,
}

/// The condition that a conjunct puts on a column, if it is of a form that keys can answer.
pub fn of_conjunct(predicate: &Expr) -> Option<Condition> {
    match predicate {
        Expr::InList { expr, list, negated: false, .. } => {
            let (column, column_ty) = seen_through(expr)?;
            let usable = list.iter().all(|e| e.is_constant() && fits(column_ty, e.ty()));
            let is_exact = list.iter().all(|e| is_exact(column_ty, expr, e));
            let is_certain = list.iter().all(|e| is_certain(column_ty, expr, e));
            usable.then(|| Condition { column, test: Test::In(list.clone()), is_exact, is_certain })
        }
        Expr::InSet { expr, set, negated: false, .. } => {
            let (column, column_ty) = seen_through(expr)?;
            let examples: Vec<Expr> = set.examples().map(|value| example(value, expr.ty())).collect();
            let usable = examples.iter().all(|e| fits(column_ty, e.ty()));
            let is_exact = examples.iter().all(|e| is_exact(column_ty, expr, e));
            let is_certain = examples.iter().all(|e| is_certain(column_ty, expr, e));
            usable.then(|| Condition { column, test: Test::InSet(set.clone()), is_exact, is_certain })
        }
        Expr::Call { func, args, .. } => of_call(func, args),
        _ => None,
    }
}

/// A constant as it stands beside what is looked for.
fn example(value: &Value, needle: &FieldType) -> Expr {
    let mut ty = literal_type(value);
    if ty.is_string() {
        ty.collation = needle.collation;
    }
    Expr::Literal(value.clone(), ty)
}

fn of_call(func: &Func, args: &[Expr]) -> Option<Condition> {
    match (func, args) {
        (Func::Or, args) => of_or(args),
        (Func::And, args) => of_and(args),
        (Func::IsNull, [arg]) => {
            let (column, _) = plain_column(arg)?;
            Some(Condition { column, test: Test::IsNull, is_exact: true, is_certain: true })
        }
        (Func::IsNotNull, [arg]) => {
            let (column, _) = plain_column(arg)?;
            Some(Condition { column, test: Test::IsNotNull, is_exact: true, is_certain: true })
        }
        (Func::Between, [arg, low, high]) => {
            let low = of_comparison(&Func::Ge, arg, low)?;
            let high = of_comparison(&Func::Le, arg, high)?;
            let is_exact = low.is_exact && high.is_exact;
            let is_certain = low.is_certain && high.is_certain;
            let (column, test) = (low.column, Test::All(vec![low.test, high.test]));
            // A constant may stand between two columns.
            (column == high.column).then_some(Condition { column, test, is_exact, is_certain })
        }
        (Func::Like, [arg, pattern, rest @ ..]) => {
            let (column, ty) = plain_column(arg)?;
            let escape = match rest.first() {
                None => '\\',
                Some(Expr::Literal(value, _)) => std::str::from_utf8(value.as_bytes()?).ok()?.chars().next()?,
                Some(_) => return None,
            };
            let usable = ty.is_string() && pattern.is_constant() && pattern.ty().is_string();
            let test = Test::Like { pattern: pattern.clone(), escape };
            usable.then_some(Condition { column, test, is_exact: false, is_certain: false })
        }
        (func, [left, right]) => of_comparison(func, left, right),
        _ => None,
    }
}

fn of_comparison(func: &Func, left: &Expr, right: &Expr) -> Option<Condition> {
    let (column_side, constant, flipped) = match (left.is_constant(), right.is_constant()) {
        (false, true) => (left, right, false),
        (true, false) => (right, left, true),
        _ => return None,
    };
    let (column, ty) = seen_through(column_side)?;
    if !fits(ty, constant.ty()) {
        return None;
    }
    let (is_exact, is_certain) = (is_exact(ty, column_side, constant), is_certain(ty, column_side, constant));
    let op = match (func, flipped) {
        (Func::NullSafeEq, _) => {
            return Some(Condition { column, test: Test::NullSafeEqual(constant.clone()), is_exact, is_certain });
        }
        (Func::Eq, _) => CompareOp::Eq,
        (Func::Lt, false) | (Func::Gt, true) => CompareOp::Lt,
        (Func::Le, false) | (Func::Ge, true) => CompareOp::Le,
        (Func::Gt, false) | (Func::Lt, true) => CompareOp::Gt,
        (Func::Ge, false) | (Func::Le, true) => CompareOp::Ge,
        _ => return None,
    };
    Some(Condition { column, test: Test::Compare(op, constant.clone()), is_exact, is_certain })
}

/// `a = 1 OR a > 5`: every branch must be about the same column.
fn of_or(args: &[Expr]) -> Option<Condition> {
    let branches = args.iter().map(of_conjunct).collect::<Option<Vec<_>>>()?;
    let column = branches.first()?.column;
    if branches.iter().any(|b| b.column != column) {
        return None;
    }
    let (is_exact, is_certain) = (branches.iter().all(|b| b.is_exact), branches.iter().all(|b| b.is_certain));
    let mut tests = Vec::with_capacity(branches.len());
    for branch in branches {
        match branch.test {
            // OR is a tree of twos; keep the list flat.
            Test::Any(inner) => tests.extend(inner),
            test => tests.push(test),
        }
    }
    Some(Condition { column, test: Test::Any(tests), is_exact, is_certain })
}

/// `(a > 1 AND a < 5)` within an OR. Parts about nothing that keys know make the condition inexact, not useless.
fn of_and(args: &[Expr]) -> Option<Condition> {
    let parts: Vec<_> = args.iter().map(of_conjunct).collect();
    let column = parts.iter().flatten().next()?.column;
    let (mut is_exact, mut is_certain) = (true, true);
    let mut tests = Vec::with_capacity(parts.len());
    for part in parts {
        match part {
            Some(part) if part.column == column => {
                is_exact &= part.is_exact;
                is_certain &= part.is_certain;
                tests.push(part.test);
            }
            _ => is_exact = false,
        }
    }
    Some(Condition { column, test: Test::All(tests), is_exact, is_certain })
}

fn plain_column(expr: &Expr) -> Option<(usize, &FieldType)> {
    match expr {
        Expr::Column { index, ty } => Some((*index, ty)),
        _ => None,
    }
}

/// A column, or a column under a conversion that keeps every value and their order, with the column's own type.
fn seen_through(expr: &Expr) -> Option<(usize, &FieldType)> {
    match expr {
        Expr::Call { func: Func::Cast, args, ty } => {
            let (index, from) = plain_column(args.first()?)?;
            keeps_order(from, ty).then_some((index, from))
        }
        expr => plain_column(expr),
    }
}

/// Different values stay different and in their order: nothing is cut, rounded, clipped or wrapped.
fn keeps_order(from: &FieldType, to: &FieldType) -> bool {
    use EvalType::*;
    let whole_digits = |ty: &FieldType| ty.decimal_precision().saturating_sub(u32::from(ty.scale()));
    match (from.eval_type(), to.eval_type()) {
        (Int, Int) => from.unsigned == to.unsigned || from.unsigned && from.kind < TypeKind::LongLong,
        (Int, Decimal) => whole_digits(to) >= BIGINT_DIGITS,
        // Beyond 2^53 doubles stand for several integers; `bounds` knows.
        (Int, Real) => to.kind == TypeKind::Double,
        (Decimal, Decimal) => to.scale() >= from.scale() && whole_digits(to) >= whole_digits(from),
        (DateTime, DateTime) if (from.kind == TypeKind::Timestamp) != (to.kind == TypeKind::Timestamp) => false,
        (DateTime, DateTime) => from.kind == TypeKind::Date || (from.kind == to.kind && to.decimals >= from.decimals),
        (Real, Real) => to.kind == TypeKind::Double || from.kind == TypeKind::Float,
        (String, String) => {
            let fits = to.length == UNSPECIFIED || from.length != UNSPECIFIED && from.length <= to.length;
            from.collation == to.collation && fits && to.kind != TypeKind::Binary
        }
        _ => false,
    }
}

/// Digits of the largest BIGINT UNSIGNED.
const BIGINT_DIGITS: u32 = 20;

/// Whether constants of this type can be brought into the column's order at all.
fn fits(column: &FieldType, constant: &FieldType) -> bool {
    use EvalType::*;
    match (column.eval_type(), constant.eval_type()) {
        (_, Null) => true,
        (Int, Int | Decimal | Real) => true,
        (Real, Real | Int | Decimal) => true,
        (Decimal, Decimal | Int) => true,
        (String, String) => column.collation == constant.collation,
        (a, b) => a == b,
    }
}

/// Whether the interval holds exactly the rows for which the comparison is true.
fn is_exact(column: &FieldType, column_side: &Expr, constant: &Expr) -> bool {
    use EvalType::*;
    let compared_as_double = column_side.ty().eval_type() == Real || constant.ty().eval_type() == Real;
    match column.eval_type() {
        // Integers beyond 2^53 that are compared as doubles may be equal without being the same.
        Int => !compared_as_double,
        String => column.collation == constant.ty().collation,
        DateTime => true,
        Real => column.kind == TypeKind::Double,
        _ => false,
    }
}

/// Whether any value of the constant's type has a place in the order of the column (see `bounds`).
fn is_certain(column: &FieldType, column_side: &Expr, constant: &Expr) -> bool {
    use EvalType::*;
    let constant = constant.ty().eval_type();
    let as_it_is = column_side.ty().eval_type() == column.eval_type();
    match column.eval_type() {
        Int => as_it_is && matches!(constant, Int | Decimal | Null),
        String => as_it_is && matches!(constant, String | Null),
        DateTime => as_it_is && matches!(constant, DateTime | Null),
        Duration => as_it_is && matches!(constant, Duration | Null),
        Real => column.kind == TypeKind::Double,
        // A constant of more digits than the column's cannot be encoded.
        Decimal | Null => false,
    }
}
