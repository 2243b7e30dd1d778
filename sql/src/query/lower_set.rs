//! INTERSECT ALL and EXCEPT ALL: equal rows are numbered on both sides, and a row meets the one of its number.

use super::hints::Hints;
use super::lower::{Lowered, Lowerer, as_type};
use super::unnest::unnamed;
use crate::error::{Error, Result};
use crate::plan::{LogicalPlan, OutputColumn, SetKind, WindowCall, WindowFunc};
use basalt_expr::expr::Expr;
use basalt_expr::types::FieldType;
use datafusion_expr::Expr as DfExpr;

impl Lowerer<'_> {
    /// The rows of the first input, each as often as the others allow.
    pub(super) fn counted_set_operation(
        &mut self,
        kind: SetKind,
        inputs: &[LogicalPlan],
        output: &[OutputColumn],
    ) -> Result<Lowered> {
        let number = FieldType::bigint_unsigned().required();
        let types: Vec<FieldType> = output.iter().map(|c| c.ty.clone()).chain([number]).collect();
        let mut result: Option<Lowered> = None;
        for input in inputs {
            let next = self.lower(&numbered(input, output), Hints::default())?;
            result = Some(match result {
                None => next,
                Some(left) => self.semi(left, next, &types, kind)?,
            });
        }
        let result = result.ok_or_else(|| Error::internal("a set operation of nothing"))?;
        let exprs = result.columns[..output.len()].iter().map(|c| DfExpr::Column(c.column.clone())).collect();
        self.projected(result.plan, exprs)
    }
}

/// A plan with the number of each row among those equal to it.
fn numbered(input: &LogicalPlan, output: &[OutputColumn]) -> LogicalPlan {
    let from = input.output();
    let exprs =
        from.iter().zip(output).enumerate().map(|(i, (from, to))| as_type(&Expr::column(i, from.ty.clone()), to));
    let typed =
        LogicalPlan::Project { input: Box::new(input.clone()), exprs: exprs.collect(), output: output.to_vec() };
    let ty = FieldType::bigint_unsigned().required();
    let call = WindowCall {
        func: WindowFunc::RowNumber,
        args: Vec::new(),
        partition_by: output.iter().enumerate().map(|(i, c)| Expr::column(i, c.ty.clone())).collect(),
        order_by: Vec::new(),
        frame: None,
        ty: ty.clone(),
    };
    let columns = output.iter().cloned().chain([unnamed(ty)]).collect();
    LogicalPlan::Window { input: Box::new(typed), calls: vec![call], output: columns }
}
