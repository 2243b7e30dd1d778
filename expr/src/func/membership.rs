//! The form of `x IN (…)`: a list, a set when it is long and constant, or several of them where `x` is converted in
//! different ways beside different items.

use crate::error::ExprError;
use crate::expr::Expr;
use crate::func::{Func, check_repeated};
use crate::types::{FieldType, TypeKind};
use crate::value::Value;
use crate::value_set::{SET_VALUES_MIN, ValueSet};
use std::sync::Arc;

/// `x IN (…)` from the pairs of `x` and each item, converted so that they compare; `ty` is the result's type.
///
/// # Errors
/// Those of the pairs; [`ExprError::BadArguments`] for no item at all; [`ExprError::TooLarge`] where `x` has too many forms.
pub(super) fn of_pairs(
    pairs: impl Iterator<Item = Result<(Expr, Expr), ExprError>>,
    negated: bool,
    ty: FieldType,
) -> Result<Expr, ExprError> {
    let mut groups: Vec<(Expr, Vec<Expr>)> = Vec::new();
    let (mut nulls, mut beside_null) = (Vec::new(), None);
    for pair in pairs {
        let (needle, item) = pair?;
        if item.ty().kind == TypeKind::Null {
            beside_null = Some(needle);
            nulls.push(item);
            continue;
        }
        // The same form as the item before is the usual case.
        match groups.iter_mut().rev().find(|(known, _)| *known == needle) {
            Some((_, items)) => items.push(item),
            None => {
                check_repeated(&needle, groups.len() + 1)?;
                groups.push((needle, vec![item]));
            }
        }
    }
    match (groups.first_mut(), beside_null) {
        (Some((_, items)), _) => items.append(&mut nulls),
        (None, Some(needle)) => groups.push((needle, nulls)),
        (None, None) => return Err(ExprError::BadArguments("IN".into())),
    }
    if groups.len() == 1 {
        let (needle, items) = groups.pop().ok_or_else(|| ExprError::BadArguments("IN".into()))?;
        return Ok(one(needle, items, negated, ty));
    }
    let lists = groups.into_iter().map(|(needle, items)| one(needle, items, false, ty.clone())).collect();
    let any = Expr::Call { func: Func::Or, args: lists, ty: ty.clone() };
    Ok(if negated { Expr::Call { func: Func::Not, args: vec![any], ty } } else { any })
}

fn one(needle: Expr, items: Vec<Expr>, negated: bool, ty: FieldType) -> Expr {
    let constant = |item: &Expr| matches!(item, Expr::Literal(..));
    if items.len() < SET_VALUES_MIN || !items.iter().all(constant) {
        return Expr::InList { expr: Box::new(needle), list: items, negated, ty };
    }
    let values: Vec<Value> = items.iter().filter_map(|item| literal(item).cloned()).collect();
    match ValueSet::new(needle.ty(), values) {
        Some(set) => Expr::InSet { expr: Box::new(needle), set: Arc::new(set), negated, ty },
        None => Expr::InList { expr: Box::new(needle), list: items, negated, ty },
    }
}

fn literal(item: &Expr) -> Option<&Value> {
    match item {
        Expr::Literal(value, _) => Some(value),
        _ => None,
    }
}
