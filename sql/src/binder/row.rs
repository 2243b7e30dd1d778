//! Rows as operands: `(a, b) = (c, d)`, `ROW(a, b) < (SELECT x, y …)`, spelled out as comparisons of single values.

use super::expr::{join, subquery};
use super::scope::Block;
use crate::error::{Error, Result};
use crate::parser::ast::{self, BinaryOp};
use crate::plan::{LogicalPlan, SubqueryKind};
use basalt_expr::expr::Expr;
use basalt_expr::func::{self, Func};

/// One side of a comparison.
#[derive(Debug, Clone)]
pub(super) enum Operand {
    /// A value.
    One(Expr),
    /// A row, whose parts may be rows.
    Row(Vec<Operand>),
}

impl Operand {
    /// The value, where no row may stand.
    pub fn one(self) -> Result<Expr> {
        match self {
            Operand::One(expr) => Ok(expr),
            Operand::Row(_) => Err(Error::operand_columns(1)),
        }
    }
}

impl super::Binder<'_> {
    /// Binds an expression that may be a row.
    pub(super) fn operand(&mut self, expr: &ast::Expr, block: &mut Block) -> Result<Operand> {
        match expr {
            ast::Expr::Row(items) => {
                let items = items.iter().map(|item| self.operand(item, block)).collect::<Result<_>>()?;
                Ok(Operand::Row(items))
            }
            ast::Expr::Subquery(query) => self.subquery_operand(query, block),
            expr => Ok(Operand::One(self.expr(expr, block)?)),
        }
    }

    /// A subquery as a value, or as a row with one subquery a column.
    pub(super) fn subquery_operand(&mut self, query: &ast::Query, block: &mut Block) -> Result<Operand> {
        let (plan, correlated) = self.subquery_plan(query, block)?;
        let output = plan.output();
        if let [column] = &output[..] {
            let ty = column.ty.clone().nullable();
            return Ok(Operand::One(block.add_subquery(subquery(SubqueryKind::Scalar, plan, correlated, ty))));
        }
        let mut items = Vec::with_capacity(output.len());
        for (index, column) in output.into_iter().enumerate() {
            let ty = column.ty.clone();
            let exprs = vec![Expr::column(index, ty.clone())];
            let one = LogicalPlan::Project { input: Box::new(plan.clone()), exprs, output: vec![column] };
            let one = block.add_subquery(subquery(SubqueryKind::Scalar, one, correlated, ty.nullable()));
            items.push(Operand::One(one));
        }
        Ok(Operand::Row(items))
    }
}

/// A row whose texts are compared in the collations of `left`.
pub(super) fn collate_as(row: Operand, left: &Operand) -> Result<Operand> {
    Ok(match (row, left) {
        (Operand::One(expr), Operand::One(left)) => Operand::One(func::collate_as(expr, left.ty())?),
        (Operand::Row(items), Operand::Row(left)) if items.len() == left.len() => {
            Operand::Row(items.into_iter().zip(left).map(|(item, left)| collate_as(item, left)).collect::<Result<_>>()?)
        }
        (row, _) => row,
    })
}

/// `left op right`.
pub(super) fn compare(op: BinaryOp, left: Operand, right: Operand) -> Result<Expr> {
    let (left, right) = match (left, right) {
        (Operand::One(left), Operand::One(right)) => return Ok(Expr::call(comparison(op)?, vec![left, right])?),
        (Operand::Row(left), Operand::Row(right)) if left.len() == right.len() => (left, right),
        (Operand::Row(left), _) => return Err(Error::operand_columns(left.len())),
        (Operand::One(_), Operand::Row(_)) => return Err(Error::operand_columns(1)),
    };
    let pairs = left.into_iter().zip(right);
    match op {
        BinaryOp::Eq | BinaryOp::NullSafeEq => {
            join(Func::And, pairs.map(|(l, r)| compare(op, l, r)).collect::<Result<_>>()?)
        }
        BinaryOp::Ne => join(Func::Or, pairs.map(|(l, r)| compare(op, l, r)).collect::<Result<_>>()?),
        _ => {
            let strict = if matches!(op, BinaryOp::Lt | BinaryOp::Le) { BinaryOp::Lt } else { BinaryOp::Gt };
            let mut result: Option<Expr> = None;
            for (l, r) in pairs.rev() {
                result = Some(match result {
                    None => compare(op, l, r)?,
                    Some(rest) => {
                        let decided = compare(strict, l.clone(), r.clone())?;
                        let tie = Expr::call(Func::And, vec![compare(BinaryOp::Eq, l, r)?, rest])?;
                        Expr::call(Func::Or, vec![decided, tie])?
                    }
                });
            }
            result.ok_or_else(|| Error::operand_columns(1))
        }
    }
}

/// The function of a comparison.
///
/// # Errors
/// [`Error::Internal`] for any other operator.
pub(super) fn comparison(op: BinaryOp) -> Result<Func> {
    Ok(match op {
        BinaryOp::Eq => Func::Eq,
        BinaryOp::NullSafeEq => Func::NullSafeEq,
        BinaryOp::Ne => Func::Ne,
        BinaryOp::Lt => Func::Lt,
        BinaryOp::Le => Func::Le,
        BinaryOp::Gt => Func::Gt,
        BinaryOp::Ge => Func::Ge,
        _ => return Err(Error::internal("rows are compared by comparisons")),
    })
}
