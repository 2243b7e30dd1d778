//! Expressions as text, for `EXPLAIN` and for names of unnamed columns in plans.

use crate::cell;
use crate::expr::Expr;
use crate::func::{Func, literal_type};
use crate::types::FieldType;
use crate::value::Value;
use crate::value_set::ValueSet;

/// Writes an expression; `column` names its columns.
pub fn describe(expr: &Expr, column: &dyn Fn(usize) -> String) -> String {
    match expr {
        Expr::Column { index, .. } => column(*index),
        Expr::Literal(value, ty) => describe_value(value, ty),
        Expr::Parameter { index, .. } => format!("?{index}"),
        Expr::Call { func: Func::Cast, args, ty } => {
            let arg = args.first().map(|a| describe(a, column)).unwrap_or_default();
            format!("cast({arg}, {})", ty.sql_name())
        }
        Expr::Call { func, args, .. } => {
            let args: Vec<_> = args.iter().map(|a| describe(a, column)).collect();
            let is_word = func.name().starts_with(|c: char| c.is_ascii_alphabetic());
            match (&args[..], is_word || *func == Func::And) {
                ([left, right], false) => format!("({left} {} {right})", func.name()),
                ([left, right], true) if matches!(func, Func::And | Func::Or | Func::Xor | Func::Like) => {
                    format!("({left} {} {right})", func.name())
                }
                _ => format!("{}({})", func.name(), args.join(", ")),
            }
        }
        Expr::Case { branches, otherwise, .. } => {
            let mut out = "case".to_string();
            for (condition, result) in branches {
                out.push_str(&format!(" when {} then {}", describe(condition, column), describe(result, column)));
            }
            if let Some(otherwise) = otherwise {
                out.push_str(&format!(" else {}", describe(otherwise, column)));
            }
            out + " end"
        }
        Expr::InList { expr, list, negated, .. } => {
            let list: Vec<_> = list.iter().map(|e| describe(e, column)).collect();
            let not = if *negated { "not " } else { "" };
            format!("{} {not}in ({})", describe(expr, column), list.join(", "))
        }
        Expr::InSet { expr, set, negated, .. } => {
            let not = if *negated { "not " } else { "" };
            format!("{} {not}in {}", describe(expr, column), describe_set(set))
        }
    }
}

/// The first values of a set, how many there are, and a number by which two sets are told apart.
pub fn describe_set(set: &ValueSet) -> String {
    const SHOWN: usize = 3;
    let shown = set.values().iter().take(SHOWN).map(|value| describe_value(value, &literal_type(value)));
    let shown: Vec<_> = shown.chain(set.has_null().then(|| "NULL".to_string())).collect();
    let count = set.values().len() + usize::from(set.has_null());
    format!("({}, … {count} values, #{:016x})", shown.join(", "), set.fingerprint())
}

fn describe_value(value: &Value, ty: &FieldType) -> String {
    let mut out = Vec::new();
    match value {
        Value::Null => return "NULL".to_string(),
        Value::Bytes(bytes) => return format!("x'{}'", hex::encode(bytes)),
        other => cell::format_value(ty, other, &mut out),
    }
    let text = String::from_utf8_lossy(&out);
    if ty.is_numeric() { text.into_owned() } else { format!("\"{text}\"") }
}
