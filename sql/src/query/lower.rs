//! From the typed plan to DataFusion's logical plan, operator by operator.
//!
//! Names: DataFusion refers to columns by qualified name, we by position. Every scan gets a qualifier of its own (its alias,
//! numbered when it is taken), every computed column a name that occurs once (`Column#7`); a lowered node carries the
//! list of its columns' names in order ([`Lowered::columns`]), and expressions look positions up there.
//!
//! Access paths: a scan must know its ranges when the plan is made, but what restricts it may stand far above. So conjuncts
//! of filters and join conditions travel down as *hints* ([`Hints`]): what a row must satisfy to matter. They only choose
//! keys and ranges; every predicate is still evaluated where it stands, or where DataFusion moves it.
//!
//! Types: all conversions are in the expressions already; aggregates, window functions and set operations end in a
//! projection to the type that the binder promised.

use super::hints::Hints;
use super::lower_aggregate as aggregate;
use super::lower_expr::{Exprs, NamedColumn};
use super::lower_groups;
use super::lower_window;
use super::recursion::{LimitedWorkTable, RECURSION_DEPTH_MAX};
use super::scan_plan::ScanPlanner;
use crate::error::{Error, Result};
use crate::plan::{JoinKind, LogicalPlan, OutputColumn, Scan, SetKind, SortKey, Subquery};
use crate::planner::row_count;
use arrow::datatypes::{Field, Schema, SchemaRef};
use basalt_expr::EvalContext;
use basalt_expr::expr::Expr;
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::datasource::{MemTable, TableProvider, provider_as_source};
use datafusion_common::metadata::FieldMetadata;
use datafusion_common::{Column, JoinType, TableReference};
use datafusion_expr::logical_plan::builder::LogicalPlanBuilder;
use datafusion_expr::{Cast, Expr as DfExpr, LogicalPlan as DfPlan, Sort, SortExpr, Union};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Deepest nesting of operators and subqueries; deeper statements are refused before the stack runs out.
pub const PLAN_DEPTH_MAX: usize = 256;

/// A lowered operator.
pub struct Lowered {
    /// DataFusion's plan.
    pub plan: DfPlan,
    /// Its columns, in our order.
    pub columns: Vec<NamedColumn>,
}

/// Rows of the made-up tables that a plan reads, by database and table.
pub type VirtualTables = BTreeMap<(String, String), Arc<MemTable>>;

/// Lowers one statement's plan.
pub struct Lowerer<'a> {
    /// The statement's surroundings.
    pub context: &'a Arc<EvalContext>,
    /// Makes scans of stored tables.
    pub scans: &'a ScanPlanner,
    /// Rows of made-up tables.
    pub virtual_tables: &'a VirtualTables,
    names: BTreeSet<String>,
    columns_made: usize,
    depth: usize,
    work_tables: BTreeMap<String, Arc<LimitedWorkTable>>,
    /// Inputs of the applies around the operator being lowered, outermost first.
    pub(super) outer: Vec<Vec<NamedColumn>>,
}

impl<'a> Lowerer<'a> {
    /// For one statement.
    pub fn new(context: &'a Arc<EvalContext>, scans: &'a ScanPlanner, virtual_tables: &'a VirtualTables) -> Self {
        Lowerer {
            context,
            scans,
            virtual_tables,
            names: BTreeSet::new(),
            columns_made: 0,
            depth: 0,
            work_tables: BTreeMap::new(),
            outer: Vec::new(),
        }
    }

    /// Lowers a plan. `hints` are over its output.
    ///
    /// # Errors
    /// 1235 for what is not done; errors of constants.
    pub fn lower(&mut self, plan: &LogicalPlan, hints: Hints) -> Result<Lowered> {
        crate::memory::check()?;
        self.depth += 1;
        if self.depth > PLAN_DEPTH_MAX {
            return Err(Error::unsupported(format!("statements nested deeper than {PLAN_DEPTH_MAX}")));
        }
        let lowered = self.lower_node(plan, hints);
        self.depth -= 1;
        lowered
    }

    fn lower_node(&mut self, plan: &LogicalPlan, hints: Hints) -> Result<Lowered> {
        match plan {
            LogicalPlan::Values { rows, output } => self.values(rows, output),
            LogicalPlan::Scan(scan) => self.scan(scan, hints),
            LogicalPlan::Virtual(scan) => {
                let key = (scan.database.clone(), scan.table.clone());
                let table = self.virtual_tables.get(&key);
                let table = table.ok_or_else(|| Error::Internal(format!("no rows for {}.{}", key.0, key.1)))?.clone();
                self.table(&scan.table, table)
            }
            LogicalPlan::Filter { input, predicate } => self.filter(input, predicate, hints),
            LogicalPlan::Project { input, exprs, output } => self.project(input, exprs, output, &hints),
            LogicalPlan::Apply { input, subqueries } => self.apply(input, subqueries, &hints),
            LogicalPlan::Aggregate { input, group_by, aggregates, rollup, output } => {
                let input = self.lower(input, Hints::default())?;
                lower_groups::lower(self, input, group_by, aggregates, *rollup, output)
            }
            LogicalPlan::Window { input, calls, .. } => {
                let input = self.lower(input, Hints::default())?;
                lower_window::lower(self, input, calls)
            }
            LogicalPlan::Join { left, right, kind, condition } => {
                self.join(left, right, *kind, condition.as_ref(), hints)
            }
            LogicalPlan::Sort { input, keys } => self.sort(input, keys, hints),
            LogicalPlan::Limit { input, offset, count } => self.limit(input, offset.as_ref(), count.as_ref()),
            LogicalPlan::Distinct { input } => {
                let types: Vec<_> = input.output().into_iter().map(|c| c.ty).collect();
                let input = self.lower(input, hints)?;
                self.distinct(input, &types)
            }
            LogicalPlan::SetOperation { kind, all, inputs, output } => self.set_operation(*kind, *all, inputs, output),
            LogicalPlan::RecursiveCte { name, base, step, distinct } => self.recursive(name, base, step, *distinct),
            LogicalPlan::WorkTable { name, .. } => {
                let table = self.work_tables.get(name).cloned();
                let table = table.ok_or_else(|| Error::Internal(format!("no work table {name}")))?;
                self.table(name, table)
            }
            LogicalPlan::Rename { input, .. } => self.lower(input, hints),
        }
    }

    /// A name that no other column has.
    pub fn column_name(&mut self) -> String {
        self.columns_made += 1;
        format!("Column#{}", self.columns_made)
    }

    fn qualifier(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_string();
        let mut number = 1;
        while !self.names.insert(name.clone()) {
            number += 1;
            name = format!("{wanted}_{number}");
        }
        name
    }

    /// Expressions over an input's columns.
    pub fn exprs<'b>(&'b self, columns: &'b [NamedColumn]) -> Exprs<'b> {
        Exprs::new(columns, &self.outer, self.context)
    }

    fn table(&mut self, name: &str, table: Arc<dyn TableProvider>) -> Result<Lowered> {
        let qualifier = self.qualifier(name);
        let source = provider_as_source(table);
        let plan = LogicalPlanBuilder::scan(TableReference::bare(qualifier), source, None)?.build()?;
        Ok(in_schema_order(plan))
    }

    fn scan(&mut self, scan: &Scan, hints: Hints) -> Result<Lowered> {
        let table = self.scans.table(scan, hints.conjuncts)?;
        self.table(&scan.alias, table)
    }

    fn values(&mut self, rows: &[Vec<Expr>], output: &[OutputColumn]) -> Result<Lowered> {
        if rows.is_empty() {
            let schema = output_schema(output);
            return self.table("empty", Arc::new(MemTable::try_new(schema, vec![Vec::new()])?));
        }
        if output.is_empty() {
            let one = LogicalPlanBuilder::empty(true).build()?;
            if rows.len() == 1 {
                return Ok(Lowered { plan: one, columns: Vec::new() });
            }
            return Err(Error::Internal("several rows without columns".to_string()));
        }
        if let Some(table) = super::literal_rows::table(rows, output)? {
            return self.table("values", table);
        }
        let columns = Vec::new();
        let mut lowered_rows = Vec::with_capacity(rows.len());
        for row in rows {
            let exprs = self.exprs(&columns);
            let row = row.iter().zip(output).map(|(expr, column)| exprs.value(&as_type(expr, column)));
            lowered_rows.push(row.collect::<Result<Vec<_>>>()?);
        }
        let builder = match &mut lowered_rows[..] {
            [row] => LogicalPlanBuilder::empty(true).project(self.named(std::mem::take(row)))?,
            _ => {
                let values = LogicalPlanBuilder::values(lowered_rows)?;
                let columns = values.schema().columns().into_iter().map(DfExpr::Column).collect();
                values.project(self.named(columns))?
            }
        };
        Ok(in_schema_order(builder.build()?))
    }

    /// Gives computed expressions names; a column keeps its own the first time it occurs.
    pub fn named(&mut self, exprs: Vec<DfExpr>) -> Vec<DfExpr> {
        let mut seen = BTreeSet::new();
        exprs
            .into_iter()
            .map(|expr| match &expr {
                DfExpr::Column(column) if seen.insert(column.clone()) => expr,
                _ => expr.alias(self.column_name()),
            })
            .collect()
    }

    /// A projection whose output is `exprs` in order.
    pub fn projected(&mut self, plan: DfPlan, exprs: Vec<DfExpr>) -> Result<Lowered> {
        let exprs = self.named(exprs);
        Ok(in_schema_order(LogicalPlanBuilder::from(plan).project(exprs)?.build()?))
    }

    fn filter(&mut self, input: &LogicalPlan, predicate: &Expr, hints: Hints) -> Result<Lowered> {
        let below = hints.and(predicate);
        let LogicalPlan::Apply { input, subqueries } = input else {
            let input = self.lower(input, below)?;
            let predicate = self.exprs(&input.columns).predicate(predicate)?;
            return Ok(Lowered { plan: LogicalPlanBuilder::from(input.plan).filter(predicate)?.build()?, ..input });
        };
        self.filter_over_apply(input, subqueries, predicate, below)
    }

    fn project(
        &mut self,
        input: &LogicalPlan,
        exprs: &[Expr],
        output: &[OutputColumn],
        hints: &Hints,
    ) -> Result<Lowered> {
        let input = self.lower(input, hints.through_projection(exprs))?;
        let with = self.exprs(&input.columns);
        let lowered = exprs.iter().zip(output).map(|(expr, column)| with.value(&as_type(expr, column)));
        let lowered = lowered.collect::<Result<Vec<_>>>()?;
        self.projected(input.plan, lowered)
    }

    fn join(
        &mut self,
        left: &LogicalPlan,
        right: &LogicalPlan,
        kind: JoinKind,
        condition: Option<&Expr>,
        hints: Hints,
    ) -> Result<Lowered> {
        let width = left.output().len();
        let (left_hints, right_hints) = hints.through_join(kind, width, condition);
        let left = self.lower(left, left_hints)?;
        let right = self.lower(right, right_hints)?;
        let mut columns = [left.columns.clone(), right.columns].concat();
        let predicate = condition.map(|condition| self.exprs(&columns).predicate(condition)).transpose()?;
        let builder = LogicalPlanBuilder::from(left.plan);
        let kind = match kind {
            JoinKind::Inner if predicate.is_none() => {
                return Ok(Lowered { plan: builder.cross_join(right.plan)?.build()?, columns });
            }
            JoinKind::Inner => JoinType::Inner,
            JoinKind::Left => JoinType::Left,
            JoinKind::Right => JoinType::Right,
            JoinKind::Semi => JoinType::LeftSemi,
            JoinKind::Anti => JoinType::LeftAnti,
        };
        let predicate = predicate.unwrap_or_else(|| datafusion_expr::lit(true));
        let plan = builder.join_on(right.plan, kind, [predicate])?.build()?;
        if matches!(kind, JoinType::LeftSemi | JoinType::LeftAnti) {
            columns = left.columns;
        }
        Ok(renamed(plan, columns))
    }

    fn sort(&mut self, input: &LogicalPlan, keys: &[SortKey], hints: Hints) -> Result<Lowered> {
        let input = self.lower(input, hints)?;
        self.sorted(input, keys)
    }

    /// The same rows in the order of `keys`.
    pub(super) fn sorted(&mut self, input: Lowered, keys: &[SortKey]) -> Result<Lowered> {
        if keys.is_empty() {
            return Ok(input);
        }
        let with = self.exprs(&input.columns);
        let mut keys = keys.iter().map(|key| aggregate::sort(key, &with)).collect::<Result<Vec<_>>>()?;
        if !keys.iter().all(|key| key.expr.column_refs().is_empty()) {
            return Ok(Lowered { plan: sort(input.plan, keys), columns: input.columns });
        }
        // RAND() alone: of rows without columns, which a sort has no place for, it becomes the only one.
        let columns = input.columns.iter().map(|c| DfExpr::Column(c.column.clone()));
        let mut exprs: Vec<_> = columns.clone().collect();
        for key in &mut keys {
            let name = self.column_name();
            let column = DfExpr::Column(Column::from_name(name.clone()));
            exprs.push(std::mem::replace(&mut key.expr, column).alias(name));
        }
        let beside = LogicalPlanBuilder::from(input.plan).project(exprs)?.build()?;
        let plan = LogicalPlanBuilder::from(sort(beside, keys)).project(columns)?.build()?;
        Ok(Lowered { plan, columns: input.columns })
    }

    fn limit(&mut self, input: &LogicalPlan, offset: Option<&Expr>, count: Option<&Expr>) -> Result<Lowered> {
        let input = self.lower(input, Hints::default())?;
        let skip = offset.map_or(Ok(0), |offset| row_count(offset, self.context))?;
        let fetch = count.map(|count| row_count(count, self.context)).transpose()?;
        let fetch = fetch.filter(|&rows| rows < usize::MAX / 2);
        Ok(Lowered { plan: LogicalPlanBuilder::from(input.plan).limit(skip, fetch)?.build()?, columns: input.columns })
    }

    /// Each row once, strings by weight.
    pub fn distinct(&mut self, input: Lowered, types: &[basalt_expr::types::FieldType]) -> Result<Lowered> {
        lower_groups::first_rows(self, input, types)
    }

    fn set_operation(
        &mut self,
        kind: SetKind,
        all: bool,
        inputs: &[LogicalPlan],
        output: &[OutputColumn],
    ) -> Result<Lowered> {
        if all && kind != SetKind::Union {
            return self.counted_set_operation(kind, inputs, output);
        }
        let names: Vec<_> = output.iter().map(|_| self.column_name()).collect();
        let mut plans = Vec::with_capacity(inputs.len());
        for input in inputs {
            let types = input.output();
            let lowered = self.lower(input, Hints::default())?;
            let with = self.exprs(&lowered.columns);
            let mut exprs = Vec::with_capacity(output.len());
            for (index, (from, to)) in types.iter().zip(output).enumerate() {
                let value = with.value(&as_type(&Expr::column(index, from.ty.clone()), to))?;
                exprs.push(value.alias(&names[index]));
            }
            plans.push(LogicalPlanBuilder::from(lowered.plan).project(exprs)?.build()?);
        }
        let types: Vec<_> = output.iter().map(|c| c.ty.clone()).collect();
        let mut plans = plans.into_iter();
        let first = plans.next().ok_or_else(|| Error::Internal("a set operation of nothing".to_string()))?;
        if kind == SetKind::Union {
            let parts: Vec<_> = std::iter::once(first).chain(plans).map(Arc::new).collect();
            let union = match <[Arc<DfPlan>; 1]>::try_from(parts) {
                Ok([only]) => Arc::unwrap_or_clone(only),
                Err(parts) => DfPlan::Union(Union::try_new_with_loose_types(parts)?),
            };
            let union = in_schema_order(union);
            return if all { Ok(union) } else { self.distinct(union, &types) };
        }
        let mut result = in_schema_order(first);
        for plan in plans {
            let right = in_schema_order(plan);
            result = self.semi(result, right, &types, kind)?;
        }
        self.distinct(result, &types)
    }

    /// The rows of `left` that are (or are not) in `right`, NULLs equal to each other.
    pub(super) fn semi(
        &mut self,
        left: Lowered,
        right: Lowered,
        types: &[basalt_expr::types::FieldType],
        kind: SetKind,
    ) -> Result<Lowered> {
        let mut names = Vec::with_capacity(types.len());
        let mut keys = Vec::with_capacity(types.len());
        for (index, ty) in types.iter().enumerate() {
            let name = self.column_name();
            keys.push(self.exprs(&right.columns).key(&Expr::column(index, ty.clone()))?.alias(&name));
            names.push(Column::from_name(name));
        }
        let right = LogicalPlanBuilder::from(right.plan).project(keys)?.build()?;
        let with = self.exprs(&left.columns);
        let left_keys = types.iter().enumerate().map(|(index, ty)| with.key(&Expr::column(index, ty.clone())));
        let left_keys = left_keys.collect::<Result<Vec<_>>>()?;
        let right_keys: Vec<_> = names.into_iter().map(DfExpr::Column).collect();
        let kind = if kind == SetKind::Intersect { JoinType::LeftSemi } else { JoinType::LeftAnti };
        let on = left_keys.into_iter().zip(right_keys).map(|(l, r)| {
            DfExpr::BinaryExpr(datafusion_expr::BinaryExpr::new(
                Box::new(l),
                datafusion_expr::Operator::IsNotDistinctFrom,
                Box::new(r),
            ))
        });
        let plan = LogicalPlanBuilder::from(left.plan).join_on(right, kind, on)?.build()?;
        Ok(Lowered { plan, columns: left.columns })
    }

    fn recursive(&mut self, name: &str, base: &LogicalPlan, step: &LogicalPlan, distinct: bool) -> Result<Lowered> {
        let output = base.output();
        let base = self.lower(base, Hints::default())?;
        // Both parts must have the same fields, down to the types in their metadata.
        let metadata = |column: &OutputColumn| {
            let field = column.ty.arrow_field("");
            Some(FieldMetadata::from(field.metadata()))
        };
        let mut columns = Vec::with_capacity(output.len());
        for (column, to) in base.columns.iter().zip(&output) {
            let expr = DfExpr::Column(column.column.clone());
            columns.push(expr.alias_with_metadata(self.column_name(), metadata(to)));
        }
        let base = in_schema_order(LogicalPlanBuilder::from(base.plan).project(columns)?.build()?);
        let unique = self.qualifier(name);
        // The step may give NULLs where the base has none.
        let fields: Vec<_> = base.columns.iter().map(|c| c.field.as_ref().clone().with_nullable(true)).collect();
        let table = CteWorkTable::new(&unique, Arc::new(Schema::new(fields)));
        let limit = self.context.session.recursion_depth_max.unwrap_or(RECURSION_DEPTH_MAX);
        let table = Arc::new(LimitedWorkTable { table, limit });
        let shadowed = self.work_tables.insert(name.to_string(), table);
        let types = step.output();
        let step = self.lower(step, Hints::default());
        match shadowed {
            Some(shadowed) => self.work_tables.insert(name.to_string(), shadowed),
            None => self.work_tables.remove(name),
        };
        let step = step?;
        let with = self.exprs(&step.columns);
        let mut exprs = Vec::with_capacity(output.len());
        for (index, (from, to)) in types.iter().zip(&output).enumerate() {
            let value = with.value(&as_type(&Expr::column(index, from.ty.clone()), to))?;
            exprs.push(value.alias_with_metadata(&base.columns[index].column.name, metadata(to)));
        }
        let step = LogicalPlanBuilder::from(step.plan).project(exprs)?.build()?;
        let plan = LogicalPlanBuilder::from(base.plan).to_recursive_query(unique.clone(), step, distinct)?;
        Ok(in_schema_order(plan.alias(TableReference::bare(self.qualifier(name)))?.build()?))
    }

    pub(super) fn subquery(&mut self, subquery: &Subquery, input: &[NamedColumn]) -> Result<Lowered> {
        self.outer.push(input.to_vec());
        let lowered = self.lower(&subquery.plan, Hints::default());
        self.outer.pop();
        lowered
    }
}

/// A computed result over columns, in the promised type. A bare column needs no expression of ours, only its type.
pub fn computed(with: &Exprs<'_>, expr: &Expr, parts: &[NamedColumn], column: &OutputColumn) -> Result<DfExpr> {
    if let (Expr::Column { index, .. }, Some(part)) = (strip_cast(expr), parts.first())
        && *index == 0
        && is_widening(part.field.data_type(), &column.ty.arrow_type())
    {
        return Ok(with_arrow_type(DfExpr::Column(part.column.clone()), &part.field, column));
    }
    with.value(&as_type(expr, column))
}

fn strip_cast(expr: &Expr) -> &Expr {
    match expr {
        Expr::Call { func: basalt_expr::func::Func::Cast, args, .. } if args.len() == 1 => &args[0],
        other => other,
    }
}

/// Conversions that Arrow makes as MySQL would: between decimals of one scale and between integers.
fn is_widening(from: &arrow::datatypes::DataType, to: &arrow::datatypes::DataType) -> bool {
    use arrow::datatypes::DataType::*;
    match (from, to) {
        (Decimal128(_, a) | Decimal256(_, a), Decimal128(_, b) | Decimal256(_, b)) => a == b,
        (Int64 | UInt64, Int64 | UInt64) | (LargeUtf8 | Utf8View, Utf8) => true,
        (a, b) => a == b,
    }
}

pub(super) fn with_arrow_type(expr: DfExpr, field: &Field, column: &OutputColumn) -> DfExpr {
    let wanted = column.ty.arrow_type();
    if *field.data_type() == wanted { expr } else { DfExpr::Cast(Cast::new(Box::new(expr), wanted)) }
}

/// An expression in the type that the binder promised for its column.
pub fn as_type(expr: &Expr, column: &OutputColumn) -> Expr {
    if expr.ty().arrow_type() == column.ty.arrow_type() { expr.clone() } else { expr.clone().cast(column.ty.clone()) }
}

/// The node's columns are the schema's, in its order.
pub fn in_schema_order(plan: DfPlan) -> Lowered {
    let columns = plan.schema().columns();
    let columns = columns
        .into_iter()
        .zip(plan.schema().fields())
        .map(|(column, field)| NamedColumn { column, field: field.clone() });
    let columns = columns.collect();
    Lowered { plan, columns }
}

/// The same columns with the nullability that the plan's schema has now.
fn renamed(plan: DfPlan, mut columns: Vec<NamedColumn>) -> Lowered {
    for column in &mut columns {
        if let Ok(index) = plan.schema().index_of_column(&column.column) {
            column.field = plan.schema().fields()[index].clone();
        }
    }
    Lowered { plan, columns }
}

/// A sort by keys over the columns of `input`. DataFusion's builder would take a key for a column of the input when the input's
/// node calculates the same, also where that node is a sort or a filter and puts nothing out.
fn sort(input: DfPlan, keys: Vec<SortExpr>) -> DfPlan {
    DfPlan::Sort(Sort { expr: keys, input: Arc::new(input), fetch: None })
}

/// The Arrow schema of columns.
pub fn output_schema(output: &[OutputColumn]) -> SchemaRef {
    Arc::new(Schema::new(output.iter().map(|c| c.ty.arrow_field(&c.name)).collect::<Vec<_>>()))
}
