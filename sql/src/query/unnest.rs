//! Correlated subqueries as joins, after Neumann and Kemper's "Unnesting Arbitrary Queries".
//!
//! ```text
//! Apply(outer, subquery over outer's columns a, b)
//!   domain = DISTINCT a, b of outer
//!   inner  = the subquery's plan with the domain's columns carried along: one result for each binding of (a, b)
//!   outer LEFT JOIN inner ON outer.a <=> inner.a AND outer.b <=> inner.b
//! ```
//! The domain comes in by a cross join above the largest parts of the plan that read no outer column, and travels upwards
//! behind each operator's own columns: it joins the grouping keys of an aggregate, the partitions of a window, the rows of a
//! set operation; a LIMIT becomes a row number within each binding. An aggregate without groups gives a row for nothing, so
//! the domain is joined to its result once more, and counts that are missing are 0.
//!
//! **Strings are bytes in the domain.** Bindings that compare equal ('a' and 'A') may give different results, so the domain
//! holds strings as binary ones and hands them to expressions in their own type.
//!
//! **The domain may be too large**, never too small: it leaves out the limits and filters of the outer plan, whose rows might
//! be others when they are read again. What a binding that nobody asks for gives is dropped by the join.

use crate::error::{Error, Result};
use crate::plan::{
    AggregateCall, JoinKind, LogicalPlan, OutputColumn, SetKind, SortKey, Subquery, WindowCall, WindowFunc,
    as_outer_column, outer_column, walk,
};
use basalt_expr::aggregate::AggregateFunc;
use basalt_expr::expr::Expr;
use basalt_expr::func::Func;
use basalt_expr::types::{EvalType, FieldType, UNSPECIFIED};
use basalt_expr::value::Value;

/// The distinct values of the outer columns that a subquery reads.
#[derive(Debug)]
pub struct Domain {
    columns: Vec<DomainColumn>,
    plan: LogicalPlan,
}

#[derive(Debug)]
struct DomainColumn {
    /// Which column of the outer plan.
    index: usize,
    /// What the subquery takes it for.
    ty: FieldType,
    /// How the domain holds it.
    exact: FieldType,
}

impl Domain {
    /// What `subquery` reads of `outer`; `None` when it reads nothing.
    ///
    /// # Errors
    /// 1235 when the outer columns may have other values the next time they are read.
    pub fn of(outer: &LogicalPlan, subquery: &LogicalPlan) -> Result<Option<Domain>> {
        let read = walk::outer_columns(subquery)?;
        if read.is_empty() {
            return Ok(None);
        }
        let source = superset(outer, read.keys().copied().max().unwrap_or(0));
        if is_volatile(source)? {
            return Err(Error::unsupported("correlated subqueries over rows that change from one reading to the next"));
        }
        let outputs = source.output();
        let (mut columns, mut exprs) = (Vec::with_capacity(read.len()), Vec::with_capacity(read.len()));
        for (index, ty) in read {
            let from = &outputs.get(index).ok_or_else(|| missing(index))?.ty;
            let exact = FieldType { not_null: from.not_null, ..exact_type(&ty) };
            exprs.push(held(index, from, &exact));
            columns.push(DomainColumn { index, ty, exact });
        }
        let output = columns.iter().map(|c| unnamed(c.exact.clone())).collect();
        let bindings = LogicalPlan::Project { input: Box::new(source.clone()), exprs, output };
        Ok(Some(Domain { columns, plan: LogicalPlan::Distinct { input: Box::new(bindings) } }))
    }

    fn width(&self) -> usize {
        self.columns.len()
    }

    fn output(&self) -> impl Iterator<Item = OutputColumn> + '_ {
        self.columns.iter().map(|c| unnamed(c.exact.clone()))
    }

    /// The domain's columns where they start at `first`.
    fn exprs(&self, first: usize) -> impl Iterator<Item = Expr> + '_ {
        self.columns.iter().enumerate().map(move |(i, c)| Expr::column(first + i, c.exact.clone()))
    }

    fn position(&self, index: usize) -> Result<usize> {
        self.columns.iter().position(|c| c.index == index).ok_or_else(|| missing(index))
    }

    /// That two copies of the domain's columns are the same binding.
    fn same(&self, left: usize, right: usize) -> Result<Vec<Expr>> {
        self.exprs(left).zip(self.exprs(right)).map(|(l, r)| equal(l, r)).collect()
    }

    /// That a row of the outer plan is of the binding whose columns start at `first`.
    ///
    /// # Errors
    /// Those of typing.
    pub fn matches(&self, outer: &[OutputColumn], first: usize) -> Result<Expr> {
        let mut all = Vec::with_capacity(self.width());
        for (column, bound) in self.columns.iter().zip(self.exprs(first)) {
            let from = &outer.get(column.index).ok_or_else(|| missing(column.index))?.ty;
            all.push(equal(held(column.index, from, &column.exact), bound)?);
        }
        conjunction(all)
    }
}

/// A plan without outer columns that gives, for every binding of the domain, the rows of `plan`: the plan's columns, then the
/// domain's.
///
/// # Errors
/// Those of typing.
pub fn unnest(plan: LogicalPlan, domain: &Domain) -> Result<LogicalPlan> {
    Unnest { domain, carrying: Vec::new() }.plan(plan)
}

struct Unnest<'a> {
    domain: &'a Domain,
    /// Recursive work tables whose rows hold the domain's columns.
    carrying: Vec<String>,
}

impl Unnest<'_> {
    fn plan(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        if !self.is_correlated(&plan)? {
            return Ok(self.crossed(plan));
        }
        let width = plan.output().len();
        match plan {
            LogicalPlan::Filter { input, predicate } => {
                let predicate = self.resolved(predicate, width)?;
                Ok(LogicalPlan::Filter { input: Box::new(self.plan(*input)?), predicate })
            }
            LogicalPlan::Project { input, exprs, output } => self.project(*input, exprs, output),
            LogicalPlan::Rename { input, output } => {
                let output = output.into_iter().chain(self.domain.output()).collect();
                Ok(LogicalPlan::Rename { input: Box::new(self.plan(*input)?), output })
            }
            LogicalPlan::Distinct { input } => Ok(LogicalPlan::Distinct { input: Box::new(self.plan(*input)?) }),
            // Nobody sees the order but a LIMIT right above.
            LogicalPlan::Sort { input, .. } => self.plan(*input),
            LogicalPlan::Limit { input, offset, count } => self.limit(*input, offset, count),
            LogicalPlan::Aggregate { rollup: true, .. } => {
                Err(Error::unsupported("WITH ROLLUP in a correlated subquery"))
            }
            LogicalPlan::Aggregate { input, group_by, aggregates, output, .. } => {
                self.aggregate(*input, group_by, aggregates, output)
            }
            LogicalPlan::Window { input, calls, output } => self.window(*input, calls, output),
            LogicalPlan::Join { left, right, kind, condition } => self.join(*left, *right, kind, condition),
            LogicalPlan::SetOperation { kind, all, inputs, output } => {
                let inputs = inputs.into_iter().map(|input| self.plan(input)).collect::<Result<_>>()?;
                let output = output.into_iter().chain(self.domain.output()).collect();
                Ok(LogicalPlan::SetOperation { kind, all, inputs, output })
            }
            LogicalPlan::RecursiveCte { name, base, step, distinct } => {
                let base = Box::new(self.plan(*base)?);
                self.carrying.push(name.clone());
                let step = self.plan(*step);
                self.carrying.pop();
                Ok(LogicalPlan::RecursiveCte { name, base, step: Box::new(step?), distinct })
            }
            LogicalPlan::WorkTable { name, output } => {
                let output = output.into_iter().chain(self.domain.output()).collect();
                Ok(LogicalPlan::WorkTable { name, output })
            }
            LogicalPlan::Values { rows, output } => self.values(rows, output),
            LogicalPlan::Apply { input, subqueries } => self.apply(*input, subqueries),
            LogicalPlan::Scan(_) | LogicalPlan::Virtual(_) => Err(Error::internal("a scan reads no outer column")),
        }
    }

    fn is_correlated(&self, plan: &LogicalPlan) -> Result<bool> {
        Ok(reads_work_table(&mut plan.clone(), &self.carrying) || !walk::outer_columns(plan)?.is_empty())
    }

    /// Every row of a plan with every binding.
    fn crossed(&self, plan: LogicalPlan) -> LogicalPlan {
        match plan {
            LogicalPlan::Values { rows, output } if rows.len() == 1 && output.is_empty() => self.domain.plan.clone(),
            plan => LogicalPlan::Join {
                left: Box::new(plan),
                right: Box::new(self.domain.plan.clone()),
                kind: JoinKind::Inner,
                condition: None,
            },
        }
    }

    /// An expression whose outer columns are the domain's, which start at `first`.
    fn resolved(&self, expr: Expr, first: usize) -> Result<Expr> {
        self.at_level(expr, 0, &|position| first + position)
    }

    /// The same within `level` subqueries.
    fn at_level(&self, expr: Expr, level: u8, number: &dyn Fn(usize) -> usize) -> Result<Expr> {
        expr.transform(&mut |e| {
            let Expr::Column { index, ty } = &e else { return Ok(e) };
            match as_outer_column(*index) {
                Some((depth, index)) if depth == level => {
                    let position = self.domain.position(index)?;
                    Ok(bound(&self.domain.columns[position], number(position), ty))
                }
                _ => Ok(e),
            }
        })
    }

    fn project(&mut self, input: LogicalPlan, exprs: Vec<Expr>, output: Vec<OutputColumn>) -> Result<LogicalPlan> {
        let width = input.output().len();
        let mut exprs = exprs.into_iter().map(|e| self.resolved(e, width)).collect::<Result<Vec<_>>>()?;
        exprs.extend(self.domain.exprs(width));
        let output = output.into_iter().chain(self.domain.output()).collect();
        Ok(LogicalPlan::Project { input: Box::new(self.plan(input)?), exprs, output })
    }

    fn values(&mut self, rows: Vec<Vec<Expr>>, output: Vec<OutputColumn>) -> Result<LogicalPlan> {
        let output: Vec<OutputColumn> = output.into_iter().chain(self.domain.output()).collect();
        let mut inputs = Vec::with_capacity(rows.len());
        for row in rows {
            let mut exprs = row.into_iter().map(|e| self.resolved(e, 0)).collect::<Result<Vec<_>>>()?;
            exprs.extend(self.domain.exprs(0));
            let input = Box::new(self.domain.plan.clone());
            inputs.push(LogicalPlan::Project { input, exprs, output: output.clone() });
        }
        match inputs.pop() {
            Some(only) if inputs.is_empty() => Ok(only),
            last => {
                inputs.extend(last);
                Ok(LogicalPlan::SetOperation { kind: SetKind::Union, all: true, inputs, output })
            }
        }
    }

    /// LIMIT as a condition on the row's number within its binding.
    fn limit(&mut self, input: LogicalPlan, offset: Option<Expr>, count: Option<Expr>) -> Result<LogicalPlan> {
        let width = input.output().len();
        let (input, keys) = match input {
            LogicalPlan::Sort { input, keys } => (*input, keys),
            input => (input, Vec::new()),
        };
        let mut order_by = Vec::with_capacity(keys.len());
        for SortKey { expr, descending } in keys {
            order_by.push(SortKey { expr: self.resolved(expr, width)?, descending });
        }
        let ty = FieldType::bigint_unsigned().required();
        let call = WindowCall {
            func: WindowFunc::RowNumber,
            args: Vec::new(),
            partition_by: self.domain.exprs(width).collect(),
            order_by,
            frame: None,
            ty: ty.clone(),
        };
        let input = self.plan(input)?;
        let mut output = input.output();
        let number = Expr::column(output.len(), ty.clone());
        output.push(unnamed(ty));
        let numbered = LogicalPlan::Window { input: Box::new(input), calls: vec![call], output };
        // Decimals hold OFFSET + COUNT whatever the two are.
        let wide = FieldType::decimal(40, 0);
        let skipped = offset.unwrap_or_else(|| Expr::int(0)).cast(wide.clone());
        let mut conditions = vec![Expr::call(Func::Gt, vec![number.clone(), skipped.clone()])?];
        if let Some(count) = count {
            let last = Expr::call(Func::Add, vec![skipped, count.cast(wide)])?;
            conditions.push(Expr::call(Func::Le, vec![number, last])?);
        }
        let limited = LogicalPlan::Filter { input: Box::new(numbered), predicate: conjunction(conditions)? };
        Ok(picked(limited, (0..width + self.domain.width()).collect()))
    }

    fn aggregate(
        &mut self,
        input: LogicalPlan,
        group_by: Vec<Expr>,
        aggregates: Vec<AggregateCall>,
        output: Vec<OutputColumn>,
    ) -> Result<LogicalPlan> {
        let (width, groups, added) = (input.output().len(), group_by.len(), self.domain.width());
        let mut keys = group_by.into_iter().map(|e| self.resolved(e, width)).collect::<Result<Vec<_>>>()?;
        keys.extend(self.domain.exprs(width));
        let mut calls = aggregates;
        for call in &mut calls {
            walk::aggregate_exprs(call, &mut |e| {
                *e = self.resolved(e.clone(), width)?;
                Ok(())
            })?;
        }
        let functions: Vec<AggregateFunc> = calls.iter().map(|c| c.func).collect();
        let mut columns: Vec<OutputColumn> = output[..groups].to_vec();
        columns.extend(self.domain.output());
        columns.extend_from_slice(&output[groups..]);
        let grouped = LogicalPlan::Aggregate {
            input: Box::new(self.plan(input)?),
            group_by: keys,
            aggregates: calls,
            rollup: false,
            output: columns,
        };
        if groups > 0 {
            let aggregates = groups + added..added + output.len();
            return Ok(picked(grouped, (0..groups).chain(aggregates).chain(groups..groups + added).collect()));
        }
        // One row for every binding, also where it has no input.
        let joined = LogicalPlan::Join {
            left: Box::new(self.domain.plan.clone()),
            right: Box::new(grouped),
            kind: JoinKind::Left,
            condition: Some(conjunction(self.domain.same(0, added)?)?),
        };
        let mut exprs = Vec::with_capacity(output.len() + added);
        for (i, (func, column)) in functions.iter().zip(&output).enumerate() {
            let value = Expr::column(2 * added + i, column.ty.clone().nullable());
            exprs.push(match of_nothing(*func) {
                Some(default) => {
                    Expr::call(Func::IfNull, vec![value, default.cast(column.ty.clone())])?.cast(column.ty.clone())
                }
                None => value,
            });
        }
        exprs.extend(self.domain.exprs(0));
        let output = output.into_iter().chain(self.domain.output()).collect();
        Ok(LogicalPlan::Project { input: Box::new(joined), exprs, output })
    }

    fn window(
        &mut self,
        input: LogicalPlan,
        mut calls: Vec<WindowCall>,
        output: Vec<OutputColumn>,
    ) -> Result<LogicalPlan> {
        let (width, added) = (input.output().len(), self.domain.width());
        for call in &mut calls {
            walk::window_exprs(call, &mut |e| {
                *e = self.resolved(e.clone(), width)?;
                Ok(())
            })?;
            call.partition_by.extend(self.domain.exprs(width));
        }
        let mut columns = output[..width].to_vec();
        columns.extend(self.domain.output());
        columns.extend_from_slice(&output[width..]);
        let window = LogicalPlan::Window { input: Box::new(self.plan(input)?), calls, output: columns };
        let results = width + added..added + output.len();
        Ok(picked(window, (0..width).chain(results).chain(width..width + added).collect()))
    }

    fn join(
        &mut self,
        left: LogicalPlan,
        right: LogicalPlan,
        kind: JoinKind,
        condition: Option<Expr>,
    ) -> Result<LogicalPlan> {
        let (left_width, right_width, added) = (left.output().len(), right.output().len(), self.domain.width());
        let right_carries = kind == JoinKind::Right || self.is_correlated(&right)?;
        let left_carries = match kind {
            JoinKind::Inner => !right_carries || self.is_correlated(&left)?,
            JoinKind::Right => self.is_correlated(&left)?,
            JoinKind::Left | JoinKind::Semi | JoinKind::Anti => true,
        };
        let left = if left_carries { self.plan(left)? } else { left };
        let right = if right_carries { self.plan(right)? } else { right };
        let shift = if left_carries { added } else { 0 };
        let (left_domain, right_domain) = (left_width, left_width + shift + right_width);
        let mut conditions = Vec::new();
        if let Some(condition) = condition {
            let own = condition.map_columns(&|i| if (left_width..1 << 32).contains(&i) { i + shift } else { i });
            conditions.push(self.resolved(own, if left_carries { left_domain } else { right_domain })?);
        }
        if left_carries && right_carries {
            conditions.extend(self.domain.same(left_domain, right_domain)?);
        }
        let condition = if conditions.is_empty() { None } else { Some(conjunction(conditions)?) };
        let joined = LogicalPlan::Join { left: Box::new(left), right: Box::new(right), kind, condition };
        if matches!(kind, JoinKind::Semi | JoinKind::Anti) {
            return Ok(joined);
        }
        let domain = if left_carries && kind != JoinKind::Right { left_domain } else { right_domain };
        let right_first = left_width + shift;
        let own = (0..left_width).chain(right_first..right_first + right_width);
        Ok(picked(joined, own.chain(domain..domain + added).collect()))
    }

    /// An apply within: its subqueries find the outer columns in its input from now on.
    fn apply(&mut self, input: LogicalPlan, mut subqueries: Vec<Subquery>) -> Result<LogicalPlan> {
        let (width, added, count) = (input.output().len(), self.domain.width(), subqueries.len());
        for subquery in &mut subqueries {
            for operand in walk::operands(&mut subquery.kind) {
                *operand = self.resolved(operand.clone(), width)?;
            }
            walk::deep(&mut subquery.plan, 1, &mut |expr, level| {
                *expr = self.at_level(expr.clone(), level, &|position| outer_column(level - 1, width + position))?;
                Ok(())
            })?;
            subquery.correlated = !walk::outer_columns(&subquery.plan)?.is_empty();
        }
        let applied = LogicalPlan::Apply { input: Box::new(self.plan(input)?), subqueries };
        let values = width + added..width + added + count;
        Ok(picked(applied, (0..width).chain(values).chain(width..width + added).collect()))
    }
}

/// A column of the domain as the subquery knows it.
fn bound(column: &DomainColumn, index: usize, ty: &FieldType) -> Expr {
    if ty.eval_type() == EvalType::Null {
        return Expr::null();
    }
    let held = Expr::column(index, column.exact.clone());
    if is_text(&column.ty) { held.cast(ty.clone()) } else { Expr::column(index, ty.clone()) }
}

/// A column of the outer plan as the domain holds it.
fn held(index: usize, from: &FieldType, exact: &FieldType) -> Expr {
    let exact = FieldType { not_null: from.not_null, ..exact.clone() };
    if from.arrow_type() == exact.arrow_type() {
        Expr::column(index, exact)
    } else {
        Expr::column(index, from.clone()).cast(exact)
    }
}

fn is_text(ty: &FieldType) -> bool {
    ty.is_string() && !ty.is_binary_string()
}

fn exact_type(ty: &FieldType) -> FieldType {
    if ty.eval_type() == EvalType::Null {
        FieldType::bigint()
    } else if is_text(ty) {
        FieldType { not_null: ty.not_null, ..FieldType::varbinary(UNSPECIFIED) }
    } else {
        ty.clone()
    }
}

/// What the bindings are read from: without limits and orders, and without filters that would run subqueries again, as long
/// as columns up to `last` are there.
fn superset(outer: &LogicalPlan, last: usize) -> &LogicalPlan {
    match outer {
        LogicalPlan::Limit { input, .. } | LogicalPlan::Sort { input, .. } => superset(input, last),
        LogicalPlan::Filter { input, .. } if matches!(**input, LogicalPlan::Apply { .. }) => superset(input, last),
        LogicalPlan::Apply { input, .. } if last < input.output().len() => superset(input, last),
        other => other,
    }
}

/// Whether a plan's rows may be others when it is run again.
fn is_volatile(plan: &LogicalPlan) -> Result<bool> {
    let mut volatile = has_limit(&mut plan.clone());
    walk::deep(&mut plan.clone(), 0, &mut |expr, _| {
        expr.visit(&mut |e| {
            if let Expr::Call { func, .. } = e {
                volatile |= func.volatility() == basalt_expr::func::Volatility::Volatile;
            }
        });
        Ok(())
    })?;
    Ok(volatile)
}

/// Whether some of several rows are chosen without an order.
fn has_limit(plan: &mut LogicalPlan) -> bool {
    if let LogicalPlan::Limit { input, .. } = plan
        && !matches!(**input, LogicalPlan::Sort { .. })
    {
        return true;
    }
    walk::inputs(plan).into_iter().any(has_limit)
}

fn reads_work_table(plan: &mut LogicalPlan, names: &[String]) -> bool {
    if let LogicalPlan::WorkTable { name, .. } = plan {
        return names.contains(name);
    }
    !names.is_empty() && walk::inputs(plan).into_iter().any(|input| reads_work_table(input, names))
}

/// What an aggregate gives for no rows, where it is not NULL.
pub fn of_nothing(func: AggregateFunc) -> Option<Expr> {
    match func {
        AggregateFunc::Count | AggregateFunc::CountDistinct => Some(Expr::int(0)),
        AggregateFunc::BitOr | AggregateFunc::BitXor => Some(Expr::literal(Value::UInt(0))),
        AggregateFunc::BitAnd => Some(Expr::literal(Value::UInt(u64::MAX))),
        _ => None,
    }
}

/// `=` where NULL cannot be, `<=>` where it can.
fn equal(left: Expr, right: Expr) -> Result<Expr> {
    let func = if left.ty().not_null && right.ty().not_null { Func::Eq } else { Func::NullSafeEq };
    Ok(Expr::call(func, vec![left, right])?)
}

/// All of them.
pub fn conjunction(conditions: Vec<Expr>) -> Result<Expr> {
    let mut conditions = conditions.into_iter();
    let first = conditions.next().unwrap_or_else(|| Expr::int(1));
    conditions.try_fold(first, |all, next| Ok(Expr::call(Func::And, vec![all, next])?))
}

/// Some columns of a plan.
pub fn picked(plan: LogicalPlan, columns: Vec<usize>) -> LogicalPlan {
    let from = plan.output();
    let output: Vec<OutputColumn> = columns.iter().map(|&i| from[i].clone()).collect();
    let exprs = columns.into_iter().map(|i| Expr::column(i, from[i].ty.clone())).collect();
    LogicalPlan::Project { input: Box::new(plan), exprs, output }
}

/// A column that no client sees.
pub fn unnamed(ty: FieldType) -> OutputColumn {
    OutputColumn { name: String::new(), table: String::new(), origin: None, ty }
}

fn missing(index: usize) -> Error {
    Error::Internal(format!("a subquery refers to outer column {index}, which is not there"))
}
