//! Query expressions: WITH, set operations, ORDER BY and LIMIT of the whole.

use super::from::{ScanColumns, of_output, renamed};
use super::locks::{Locks, Place};
use super::pending::Stage;
use super::scope::{Block, Clause, Relation};
use crate::error::{Error, Result};
use crate::parser::ast::{self, Cte, OrderItem, QueryBody, SetOperator};
use crate::plan::{LogicalPlan, OutputColumn, Query, SetKind, SortKey, walk};
use basalt_expr::expr::Expr;
use basalt_expr::func::{self, Func};
use basalt_expr::types::{EvalType, FieldType, TypeKind};
use std::rc::Rc;

/// A common table expression that names may refer to.
#[derive(Clone)]
pub(super) struct CteInSight {
    name: String,
    kind: CteKind,
    /// How many of the common table expressions its own query sees.
    sees: usize,
    /// How many enclosing blocks its own query sees.
    frames: usize,
}

#[derive(Clone)]
enum CteKind {
    /// Bound anew wherever it is named.
    Plain(Rc<Cte>),
    /// The work table, within the recursive part.
    Work(Vec<OutputColumn>),
    /// WITH RECURSIVE, for names outside of it.
    Recursive(Rc<Cte>),
}

impl super::Binder<'_> {
    /// The query of a whole statement.
    pub(super) fn top_query(&mut self, query: &ast::Query) -> Result<Query> {
        self.locks = Some(Locks::default());
        let root = self.query_at(query, Place::Whole);
        let locks = self.locks.take().unwrap_or_default();
        Ok(Query { root: root?, locking: locks.of_only_table, locks: locks.rows })
    }

    /// Binds a query expression within a statement.
    pub(super) fn query(&mut self, query: &ast::Query) -> Result<LogicalPlan> {
        self.query_at(query, Place::Within)
    }

    fn query_at(&mut self, query: &ast::Query, place: Place) -> Result<LogicalPlan> {
        self.check_stack()?;
        let ctes = self.ctes.len();
        self.put_in_sight(&query.with, query.recursive)?;
        let plan = self.query_body(query, place);
        self.ctes.truncate(ctes);
        plan
    }

    /// Makes the common table expressions of a WITH known.
    pub(super) fn put_in_sight(&mut self, ctes: &[Cte], recursive: bool) -> Result<()> {
        for (i, cte) in ctes.iter().enumerate() {
            if ctes[..i].iter().any(|earlier| earlier.name.eq_ignore_ascii_case(&cte.name)) {
                return Err(Error::duplicate_alias(&cte.name));
            }
            let cte_rc = Rc::new(cte.clone());
            let recursive = recursive && refers_to(&cte.query.body, &cte.name);
            let kind = if recursive { CteKind::Recursive(cte_rc) } else { CteKind::Plain(cte_rc) };
            let (sees, frames) = (self.ctes.len(), self.frames.len());
            self.ctes.push(CteInSight { name: cte.name.clone(), kind, sees, frames });
        }
        Ok(())
    }

    fn query_body(&mut self, query: &ast::Query, place: Place) -> Result<LogicalPlan> {
        if let QueryBody::Select(select) = &query.body {
            return match query.locking.is_empty() {
                true => self.select(select, &query.order_by, query.limit.as_ref()),
                false => self.locking_block(query, select, place),
            };
        }
        let plan = self.body(&query.body)?;
        let mut stage = Stage::new(plan);
        if !query.order_by.is_empty() {
            let keys = self.order_of_whole(&stage.plan, &query.order_by)?;
            let width = stage.width;
            stage.stack(width, |input| LogicalPlan::Sort { input, keys });
        }
        self.put_up_limit(&mut stage, query.limit.as_ref())?;
        Ok(stage.plan)
    }

    /// ORDER BY of a UNION sees only its result.
    fn order_of_whole(&mut self, plan: &LogicalPlan, order_by: &[OrderItem]) -> Result<Vec<SortKey>> {
        let output = plan.output();
        let mut block = Block::new(output.iter().map(|c| of_output(c, "")).collect());
        block.clause = Clause::OrderBy;
        let mut keys = Vec::with_capacity(order_by.len());
        for item in order_by {
            let expr = match Self::position(&item.expr) {
                Some(position) => {
                    let index = usize::try_from(position).ok().and_then(|p| p.checked_sub(1));
                    let column = index.and_then(|i| output.get(i).map(|c| (i, c)));
                    let (index, column) = column.ok_or_else(|| Error::unknown_column(position, "order clause"))?;
                    Expr::column(index, column.ty.clone())
                }
                None => {
                    if let ast::Expr::Column(ast::ColumnName { table: Some(table), .. }) = &item.expr {
                        return Err(Error::table_not_usable(table, "global ORDER clause"));
                    }
                    self.expr(&item.expr, &mut block)?
                }
            };
            keys.push(SortKey { expr, descending: item.descending });
        }
        block.refuse_pending()?;
        Ok(keys)
    }

    pub(super) fn body(&mut self, body: &QueryBody) -> Result<LogicalPlan> {
        match body {
            QueryBody::Select(select) => self.select(select, &[], None),
            QueryBody::Nested(query) => self.query(query),
            QueryBody::Values(rows) => self.values(rows),
            QueryBody::SetOperation { .. } => self.set_operations(body),
        }
    }

    fn values(&mut self, rows: &[Vec<ast::Expr>]) -> Result<LogicalPlan> {
        let mut block = Block::new(Vec::new());
        let mut bound: Vec<Vec<Expr>> = Vec::with_capacity(rows.len());
        for (i, row) in rows.iter().enumerate() {
            if row.len() != rows[0].len() {
                return Err(Error::wrong_value_count(i + 1));
            }
            bound.push(self.exprs(row, &mut block)?);
        }
        block.refuse_pending()?;
        let mut output = Vec::new();
        for i in 0..bound.first().map_or(0, Vec::len) {
            let cells: Vec<&Expr> = bound.iter().map(|r| &r[i]).collect();
            let ty = func::common_type_of(&cells)?;
            output.push(OutputColumn { name: format!("column_{i}"), table: String::new(), origin: None, ty });
        }
        for row in &mut bound {
            let cells = std::mem::take(row);
            *row = cells.into_iter().zip(&output).map(|(e, c)| cast_to(e, &c.ty)).collect::<Result<_>>()?;
        }
        Ok(LogicalPlan::Values { rows: bound, output })
    }

    // ---- common table expressions ----

    /// True within the recursive part of a common table expression.
    pub(super) fn is_in_recursion(&self) -> bool {
        self.ctes.iter().any(|cte| matches!(cte.kind, CteKind::Work(_)))
    }

    /// The common table expression of a name, bound as a table.
    pub(super) fn cte(&mut self, name: &str, alias: &str) -> Result<Option<Relation>> {
        let found = self.ctes.iter().rposition(|c| c.name.eq_ignore_ascii_case(name));
        let Some(at) = found else { return Ok(None) };
        let cte = self.ctes[at].clone();
        if let CteKind::Work(output) = &cte.kind {
            if cte.frames != self.frames.len() {
                return Err(Error::recursive_table_reference(&cte.name));
            }
            let plan = LogicalPlan::WorkTable { name: cte.name.clone(), output: output.clone() };
            return renamed(plan, alias, &[]).map(Some);
        }
        // Its query sees what stood before it, and the blocks around its WITH, not those around its name.
        let later_ctes = self.ctes.split_off(cte.sees);
        if cte.frames != self.frames.len() && self.frames.len() > cte.frames {
            // Numbering outer columns across the blocks between would go wrong: such a query sees no outer block.
            let frames = std::mem::take(&mut self.frames);
            let bound = self.cte_plan(&cte);
            self.frames = frames;
            self.ctes.extend(later_ctes);
            return bound.and_then(|(plan, columns)| renamed(plan, alias, &columns)).map(Some);
        }
        let bound = self.cte_plan(&cte);
        self.ctes.extend(later_ctes);
        bound.and_then(|(plan, columns)| renamed(plan, alias, &columns)).map(Some)
    }

    fn cte_plan(&mut self, cte: &CteInSight) -> Result<(LogicalPlan, Vec<String>)> {
        match &cte.kind {
            CteKind::Plain(definition) => {
                let plan = self.scanning(ScanColumns::Public, |binder| binder.query(&definition.query))?;
                Ok((plan, definition.columns.clone()))
            }
            CteKind::Recursive(definition) => Ok((self.recursive(definition)?, Vec::new())),
            CteKind::Work(_) => Err(Error::internal("work tables are bound by their reader")),
        }
    }

    /// The parts of the UNION that do not name the table give the first rows and all types; the others run over and over.
    fn recursive(&mut self, cte: &Rc<Cte>) -> Result<LogicalPlan> {
        let QueryBody::SetOperation { op: SetOperator::Union, all, left, right } = &cte.query.body else {
            return Err(Error::cte_needs_union(&cte.name));
        };
        if refers_to(left, &cte.name) || !refers_to(right, &cte.name) {
            return Err(Error::cte_needs_union(&cte.name));
        }
        if references(right, &cte.name) > 1 {
            return Err(Error::recursive_table_reference(&cte.name));
        }
        let base = self.body(left)?;
        let mut output = base.output();
        if !cte.columns.is_empty() && cte.columns.len() != output.len() {
            return Err(Error::wrong_column_list());
        }
        for (i, column) in output.iter_mut().enumerate() {
            if let Some(name) = cte.columns.get(i) {
                column.name = name.clone();
            }
            column.ty.not_null = false;
            column.table = cte.name.clone();
        }
        let work = CteKind::Work(output.clone());
        let (sees, frames) = (self.ctes.len(), self.frames.len());
        self.ctes.push(CteInSight { name: cte.name.clone(), kind: work, sees, frames });
        let step = self.body(right);
        self.ctes.pop();
        let mut step = step?;
        if aggregates_work_table(&mut step, &cte.name) {
            return Err(Error::recursive_aggregate(&cte.name));
        }
        if step.output().len() != output.len() {
            return Err(Error::different_column_counts());
        }
        let step = stored_columns(step, &output)?;
        let base = LogicalPlan::Rename { input: Box::new(cast_columns(base, &output)?), output };
        let plan = LogicalPlan::RecursiveCte {
            name: cte.name.clone(),
            base: Box::new(base),
            step: Box::new(step),
            distinct: !all,
        };
        let mut stage = Stage::new(plan);
        if !cte.query.order_by.is_empty() {
            let keys = self.order_of_whole(&stage.plan, &cte.query.order_by)?;
            let width = stage.width;
            stage.stack(width, |input| LogicalPlan::Sort { input, keys });
        }
        self.put_up_limit(&mut stage, cte.query.limit.as_ref())?;
        Ok(stage.plan)
    }
}

pub(super) fn set_operation(kind: SetKind, all: bool, inputs: Vec<LogicalPlan>) -> Result<LogicalPlan> {
    let outputs: Vec<Vec<OutputColumn>> = inputs.iter().map(LogicalPlan::output).collect();
    if outputs.iter().any(|o| o.len() != outputs[0].len()) {
        return Err(Error::different_column_counts());
    }
    let name = match kind {
        SetKind::Union => "UNION",
        SetKind::Intersect => "INTERSECT",
        SetKind::Except => "EXCEPT",
    };
    let mut merged = Vec::with_capacity(outputs[0].len());
    for (i, first) in outputs[0].iter().enumerate() {
        let types: Vec<&FieldType> = outputs.iter().map(|o| &o[i].ty).collect();
        let mut ty = func::common_column(&types, name)?;
        ty.not_null = types.iter().all(|t| t.not_null);
        merged.push(OutputColumn { name: first.name.clone(), table: String::new(), origin: None, ty });
    }
    let inputs = inputs.into_iter().map(|plan| cast_columns(plan, &merged)).collect::<Result<_>>()?;
    Ok(LogicalPlan::SetOperation { kind, all, inputs, output: merged })
}

fn cast_to(expr: Expr, ty: &FieldType) -> Result<Expr> {
    let same = expr.ty().clone().nullable() == ty.clone().nullable();
    // A BIT is a number here, also where the column becomes a text.
    let is_text = expr.ty().kind == TypeKind::Bit && ty.is_string();
    let expr = if is_text { func::cast(expr, FieldType::bigint_unsigned()) } else { expr };
    if same { Ok(expr) } else { Ok(func::cast_among(expr, ty.clone())?) }
}

/// Casts a plan's columns to the types of `output`, where they differ.
fn cast_columns(plan: LogicalPlan, output: &[OutputColumn]) -> Result<LogicalPlan> {
    let columns = plan.output();
    let same = |(a, b): (&OutputColumn, &OutputColumn)| a.ty.clone().nullable() == b.ty.clone().nullable();
    if columns.iter().zip(output).all(same) {
        return Ok(plan);
    }
    let exprs: Vec<Expr> = columns
        .iter()
        .zip(output)
        .enumerate()
        .map(|(i, (from, to))| cast_to(Expr::column(i, from.ty.clone()), &to.ty))
        .collect::<Result<_>>()?;
    // Types of one representation need no work.
    if exprs.iter().enumerate().all(|(i, e)| matches!(e, Expr::Column { index, .. } if *index == i)) {
        return Ok(plan);
    }
    let typed = columns.into_iter().zip(&exprs).map(|(c, e)| OutputColumn { ty: e.ty().clone(), ..c }).collect();
    Ok(LogicalPlan::Project { input: Box::new(plan), exprs, output: typed })
}

/// A recursive step's rows as the table takes them whose types its first rows have: what does not fit is an error.
fn stored_columns(plan: LogicalPlan, output: &[OutputColumn]) -> Result<LogicalPlan> {
    let columns = plan.output();
    let fits = |from: &FieldType, to: &FieldType| {
        let is_number = matches!(to.eval_type(), EvalType::Int | EvalType::Real);
        from.clone().nullable() == to.clone().nullable()
            || from.eval_type() == EvalType::Null
            || (is_number && from.kind == to.kind && from.unsigned == to.unsigned)
    };
    let stored = |(i, (from, to)): (usize, (&OutputColumn, &OutputColumn))| {
        let column = Expr::column(i, from.ty.clone());
        if fits(&from.ty, &to.ty) {
            return cast_to(column, &to.ty);
        }
        let args = vec![column, Expr::string(&to.name)];
        Ok(Expr::Call { func: Func::Stored, args, ty: to.ty.clone().nullable() })
    };
    let exprs: Vec<Expr> = columns.iter().zip(output).enumerate().map(stored).collect::<Result<_>>()?;
    if exprs.iter().enumerate().all(|(i, e)| matches!(e, Expr::Column { index, .. } if *index == i)) {
        return Ok(plan);
    }
    Ok(LogicalPlan::Project { input: Box::new(plan), exprs, output: output.to_vec() })
}

/// Whether a query names a table `name` anywhere in FROM.
fn refers_to(body: &QueryBody, name: &str) -> bool {
    match body {
        QueryBody::Select(select) => select.from.iter().any(|t| table_refers(t, name)),
        QueryBody::Values(_) => false,
        QueryBody::Nested(query) => refers_to(&query.body, name),
        QueryBody::SetOperation { left, right, .. } => refers_to(left, name) || refers_to(right, name),
    }
}

/// How often a query names a table in FROM, a derived table with the name in it counted twice.
fn references(body: &QueryBody, name: &str) -> usize {
    match body {
        QueryBody::Select(select) => select.from.iter().map(|t| table_references(t, name)).sum(),
        QueryBody::Values(_) => 0,
        QueryBody::Nested(query) => references(&query.body, name),
        QueryBody::SetOperation { left, right, .. } => references(left, name).max(references(right, name)),
    }
}

fn table_references(table: &ast::TableRef, name: &str) -> usize {
    match table {
        ast::TableRef::Table { .. } => usize::from(table_refers(table, name)),
        ast::TableRef::Derived { .. } => 2 * usize::from(table_refers(table, name)),
        ast::TableRef::Join { left, right, .. } => table_references(left, name) + table_references(right, name),
    }
}

/// Whether a plan groups rows of the work table or looks at them through a window.
fn aggregates_work_table(plan: &mut LogicalPlan, name: &str) -> bool {
    fn reads(plan: &mut LogicalPlan, name: &str) -> bool {
        matches!(plan, LogicalPlan::WorkTable { name: work, .. } if work == name)
            || walk::inputs(plan).into_iter().any(|input| reads(input, name))
    }
    (matches!(plan, LogicalPlan::Aggregate { .. } | LogicalPlan::Window { .. }) && reads(plan, name))
        || walk::inputs(plan).into_iter().any(|input| aggregates_work_table(input, name))
}

fn table_refers(table: &ast::TableRef, name: &str) -> bool {
    match table {
        ast::TableRef::Table { name: table, .. } => table.database.is_none() && table.name.eq_ignore_ascii_case(name),
        ast::TableRef::Derived { query, .. } => refers_to(&query.body, name),
        ast::TableRef::Join { left, right, .. } => table_refers(left, name) || table_refers(right, name),
    }
}
