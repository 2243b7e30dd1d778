//! Expressions of a plan node as DataFusion's: columns by position become columns by name.

use crate::error::Result;
use crate::plan::as_outer_column;
use arrow::datatypes::FieldRef;
use basalt_expr::EvalContext;
use basalt_expr::datafusion::{self as lowering, Lowering};
use basalt_expr::error::ExprError;
use basalt_expr::expr::Expr;
use datafusion_common::Column;
use datafusion_expr::Expr as DfExpr;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A column of a lowered node.
#[derive(Debug, Clone)]
pub struct NamedColumn {
    /// Its unique name.
    pub column: Column,
    /// Name, type and nullability in DataFusion's schema.
    pub field: FieldRef,
}

/// The names that a node's expressions refer to.
pub struct Exprs<'a> {
    /// The node's input.
    pub columns: &'a [NamedColumn],
    /// Expressions that stand for columns which are not there: subqueries of the apply below.
    pub substitutes: BTreeMap<usize, DfExpr>,
    /// Inputs of the enclosing applies, outermost first.
    pub outer: &'a [Vec<NamedColumn>],
    /// The statement.
    pub context: &'a Arc<EvalContext>,
}

impl<'a> Exprs<'a> {
    /// Over the columns of an input.
    pub fn new(columns: &'a [NamedColumn], outer: &'a [Vec<NamedColumn>], context: &'a Arc<EvalContext>) -> Self {
        Exprs { columns, substitutes: BTreeMap::new(), outer, context }
    }

    /// A value.
    ///
    /// # Errors
    /// When a constant part cannot be calculated.
    pub fn value(&self, expr: &Expr) -> Result<DfExpr> {
        Ok(lowering::lower(expr, self.lowering(&|index| self.column(index)))?)
    }

    /// What to group and sort by.
    ///
    /// # Errors
    /// As [`Exprs::value`].
    pub fn key(&self, expr: &Expr) -> Result<DfExpr> {
        Ok(lowering::lower_key(expr, self.lowering(&|index| self.column(index)))?)
    }

    /// A condition.
    ///
    /// # Errors
    /// As [`Exprs::value`].
    pub fn predicate(&self, expr: &Expr) -> Result<DfExpr> {
        Ok(lowering::lower_predicate(expr, self.lowering(&|index| self.column(index)))?)
    }

    fn lowering<'b>(&'b self, columns: &'b dyn Fn(usize) -> Result<DfExpr, ExprError>) -> Lowering<'b> {
        Lowering { columns, context: self.context }
    }

    fn column(&self, index: usize) -> Result<DfExpr, ExprError> {
        if let Some(substitute) = self.substitutes.get(&index) {
            return Ok(substitute.clone());
        }
        if let Some((depth, index)) = as_outer_column(index) {
            let scope =
                self.outer.len().checked_sub(1 + usize::from(depth)).and_then(|scope| self.outer[scope].get(index));
            let outer = scope.ok_or_else(|| missing("outer column", index))?;
            return Ok(DfExpr::OuterReferenceColumn(outer.field.clone(), outer.column.clone()));
        }
        match self.columns.get(index) {
            Some(column) => Ok(DfExpr::Column(column.column.clone())),
            None => Err(missing("column", index)),
        }
    }
}

fn missing(what: &str, index: usize) -> ExprError {
    ExprError::Eval(basalt_expr::error::EvalError::Internal(format!(
        "a plan refers to {what} {index}, which is not there"
    )))
}
