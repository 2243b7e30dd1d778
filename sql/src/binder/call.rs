//! Functions, aggregates, windows.

use super::scope::{self, Block, Clause};
use crate::catalog::model::{Column, ColumnDefault};
use crate::error::{Error, Result};
use crate::parser::ast::{self, Bound, ColumnName, OrderItem, WindowSpec};
use crate::plan::{AggregateCall, FrameBound, SortKey, WindowCall, WindowFrame, WindowFunc};
use basalt_expr::aggregate::AggregateFunc;
use basalt_expr::expr::Expr;
use basalt_expr::func::Func;
use basalt_expr::types::FieldType;
use basalt_expr::value::Value;

impl super::Binder<'_> {
    /// The function of a name, or 1305.
    pub(super) fn native(&self, name: &str) -> Result<Func> {
        let known = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let missing = || {
            let full = self.ctx.database.map_or_else(|| name.to_string(), |d| format!("{d}.{name}"));
            Error::does_not_exist("FUNCTION", full)
        };
        Func::by_name(name).filter(|_| known).ok_or_else(missing)
    }

    /// A call with arguments between commas.
    pub(super) fn function(&mut self, name: &str, args: &[ast::Expr], block: &mut Block) -> Result<Expr> {
        if name == "grouping" {
            return Err(Error::unsupported("GROUPING"));
        }
        let func = self.native(name)?;
        let args = self.exprs(args, block)?;
        Ok(Expr::call(func, args)?)
    }

    /// An aggregate without OVER.
    pub(super) fn aggregate_call(&mut self, call: &ast::AggregateCall, block: &mut Block) -> Result<Expr> {
        let forbidden = matches!(block.clause, Clause::Where | Clause::On | Clause::GroupBy);
        if block.in_aggregate || forbidden {
            return Err(Error::invalid_group_function());
        }
        let aggregate = self.aggregate(call, block)?;
        let same = block.aggregates.iter().position(|a| same_aggregate(a, &aggregate));
        Ok(match same {
            Some(j) => Expr::Column { index: super::pending::aggregate(j), ty: aggregate.ty },
            None => block.add_aggregate(aggregate),
        })
    }

    fn aggregate(&mut self, call: &ast::AggregateCall, block: &mut Block) -> Result<AggregateCall> {
        let func = match aggregate_func(&call.name)? {
            AggregateFunc::Count if call.distinct && call.args.len() > 1 => AggregateFunc::CountDistinct,
            func => func,
        };
        block.in_aggregate = true;
        let args = self.exprs(&call.args, block);
        let order_by = self.sort_keys(&call.order_by, block);
        block.in_aggregate = false;
        let (args, order_by) = (args?, order_by?);
        if args.len() > 1 && !matches!(func, AggregateFunc::CountDistinct | AggregateFunc::GroupConcat) {
            return Err(Error::syntax("", 1));
        }
        let ty = func.result_type(&args)?;
        let sums = matches!(func, AggregateFunc::Sum | AggregateFunc::Avg);
        let args = if sums { args.into_iter().map(basalt_expr::func::with_hidden_digits).collect() } else { args };
        let separator =
            (func == AggregateFunc::GroupConcat).then(|| call.separator.clone().unwrap_or_else(|| ",".to_string()));
        Ok(AggregateCall { func, args, distinct: call.distinct, order_by, separator, ty })
    }

    pub(super) fn sort_keys(&mut self, items: &[OrderItem], block: &mut Block) -> Result<Vec<SortKey>> {
        let key = |item: &OrderItem| Ok(SortKey { expr: self.expr(&item.expr, block)?, descending: item.descending });
        items.iter().map(key).collect()
    }

    /// Any function with OVER.
    pub(super) fn window_call(&mut self, call: &ast::AggregateCall, block: &mut Block) -> Result<Expr> {
        if !matches!(block.clause, Clause::Fields | Clause::OrderBy) || block.in_aggregate {
            return Err(Error::misplaced_window(&call.name));
        }
        let spec = call.over.clone().unwrap_or_default();
        let spec = resolve_window(spec, &block.named_windows, 0)?;
        let (func, args, ty) = self.window_func(call, block)?;
        let partition_by = self.exprs(&spec.partition_by, block)?;
        let order_by = self.sort_keys(&spec.order_by, block)?;
        let frame = spec.frame.as_ref().map(frame).transpose()?;
        Ok(block.add_window(WindowCall { func, args, partition_by, order_by, frame, ty }))
    }

    fn window_func(
        &mut self,
        call: &ast::AggregateCall,
        block: &mut Block,
    ) -> Result<(WindowFunc, Vec<Expr>, FieldType)> {
        let func = match call.name.as_str() {
            "row_number" => WindowFunc::RowNumber,
            "rank" => WindowFunc::Rank,
            "dense_rank" => WindowFunc::DenseRank,
            "percent_rank" => WindowFunc::PercentRank,
            "cume_dist" => WindowFunc::CumeDist,
            "ntile" => WindowFunc::Ntile,
            "lag" => WindowFunc::Lag,
            "lead" => WindowFunc::Lead,
            "first_value" => WindowFunc::FirstValue,
            "last_value" => WindowFunc::LastValue,
            "nth_value" => WindowFunc::NthValue,
            _ => {
                if call.distinct {
                    return Err(Error::unsupported("DISTINCT with OVER"));
                }
                let aggregate = self.aggregate(call, block)?;
                return Ok((WindowFunc::Aggregate(aggregate.func), aggregate.args, aggregate.ty));
            }
        };
        let args = self.exprs(&call.args, block)?;
        let counts = match func {
            WindowFunc::Ntile | WindowFunc::FirstValue | WindowFunc::LastValue => 1..=1,
            WindowFunc::NthValue => 2..=2,
            WindowFunc::Lag | WindowFunc::Lead => 1..=3,
            _ => 0..=0,
        };
        if !counts.contains(&args.len()) {
            return Err(Error::parameter_count(&call.name));
        }
        let ty = match (&func, args.first()) {
            (WindowFunc::PercentRank | WindowFunc::CumeDist, _) => FieldType::double().required(),
            (WindowFunc::Lag | WindowFunc::Lead, Some(value)) => {
                let types: Vec<&FieldType> = std::iter::once(value).chain(args.get(2)).map(Expr::ty).collect();
                basalt_expr::func::common_type(&types)?.nullable()
            }
            (WindowFunc::FirstValue | WindowFunc::LastValue | WindowFunc::NthValue, Some(value)) => {
                value.ty().clone().nullable()
            }
            _ => FieldType::bigint_unsigned().required(),
        };
        Ok((func, args, ty))
    }

    /// DEFAULT(column).
    pub(super) fn default_of(&mut self, name: &ColumnName, block: &Block) -> Result<Expr> {
        let Some(index) = scope::find(&block.columns, name, block.clause)? else {
            return Err(Error::unknown_column(name, block.clause.text()));
        };
        let origin = block.columns[index].origin.as_ref();
        let column = origin.and_then(|o| {
            let table = self.ctx.schema.table(&o.database, &o.table)?;
            table.column_offset(&o.column).map(|offset| &table.columns[offset])
        });
        match column {
            Some(column) => default_value(column),
            None => Err(Error::no_default(name)),
        }
    }

    /// VALUES(column): the row that was to be inserted; NULL outside of ON DUPLICATE KEY UPDATE, as in MySQL.
    pub(super) fn inserted(&mut self, name: &ColumnName, block: &Block) -> Result<Expr> {
        let Some(index) = scope::find(&block.columns, name, block.clause)? else {
            return Err(Error::unknown_column(name, block.clause.text()));
        };
        Ok(match block.inserted_from {
            Some(first) => Expr::Column { index: index + first, ty: block.columns[index].ty.clone() },
            None => Expr::null(),
        })
    }
}

/// What an INSERT without the column stores, as an expression.
pub(super) fn default_value(column: &Column) -> Result<Expr> {
    match &column.default {
        ColumnDefault::Value(value) => Ok(Expr::Literal(value.clone(), column.ty.clone().nullable())),
        ColumnDefault::CurrentTimestamp(digits) => Ok(Expr::call(Func::Now, vec![Expr::int(i64::from(*digits))])?),
        ColumnDefault::None if column.ty.not_null => Err(Error::no_default(&column.name)),
        ColumnDefault::None => Ok(Expr::Literal(Value::Null, column.ty.clone())),
    }
}

fn same_aggregate(a: &AggregateCall, b: &AggregateCall) -> bool {
    let keys = |c: &AggregateCall| c.order_by.iter().map(|k| (k.expr.clone(), k.descending)).collect::<Vec<_>>();
    a.func == b.func
        && a.distinct == b.distinct
        && a.args == b.args
        && a.separator == b.separator
        && keys(a) == keys(b)
        && a.args.iter().all(|e| e.is_immutable() || !e.columns().is_empty())
}

fn aggregate_func(name: &str) -> Result<AggregateFunc> {
    Ok(match name {
        "count" => AggregateFunc::Count,
        "sum" => AggregateFunc::Sum,
        "avg" => AggregateFunc::Avg,
        "min" => AggregateFunc::Min,
        "max" => AggregateFunc::Max,
        "group_concat" => AggregateFunc::GroupConcat,
        "bit_and" => AggregateFunc::BitAnd,
        "bit_or" => AggregateFunc::BitOr,
        "bit_xor" => AggregateFunc::BitXor,
        "std" | "stddev" | "stddev_pop" => AggregateFunc::StddevPop,
        "stddev_samp" => AggregateFunc::StddevSamp,
        "variance" | "var_pop" => AggregateFunc::VarPop,
        "var_samp" => AggregateFunc::VarSamp,
        "any_value" => AggregateFunc::AnyValue,
        other => return Err(Error::unsupported(other.to_uppercase())),
    })
}

/// A window's own clauses with those of the named window it extends.
fn resolve_window(spec: WindowSpec, named: &[(String, WindowSpec)], depth: usize) -> Result<WindowSpec> {
    let Some(name) = spec.name.clone() else { return Ok(spec) };
    if depth > named.len() {
        return Err(Error::unknown_window(name));
    }
    let Some((_, base)) = named.iter().find(|(n, _)| n.eq_ignore_ascii_case(&name)) else {
        return Err(Error::unknown_window(name));
    };
    let base = resolve_window(base.clone(), named, depth + 1)?;
    Ok(WindowSpec {
        name: None,
        partition_by: if spec.partition_by.is_empty() { base.partition_by } else { spec.partition_by },
        order_by: if spec.order_by.is_empty() { base.order_by } else { spec.order_by },
        frame: spec.frame.or(base.frame),
    })
}

fn frame(frame: &ast::Frame) -> Result<WindowFrame> {
    let bound = |bound: &Bound| -> Result<FrameBound> {
        let rows = |expr: &ast::Expr| match expr {
            ast::Expr::Literal(ast::Literal::Integer(n)) => Ok(*n),
            _ => Err(Error::bad_frame("<unnamed window>")),
        };
        Ok(match bound {
            Bound::UnboundedPreceding => FrameBound::UnboundedPreceding,
            Bound::Preceding(n) => FrameBound::Preceding(rows(n)?),
            Bound::CurrentRow => FrameBound::CurrentRow,
            Bound::Following(n) => FrameBound::Following(rows(n)?),
            Bound::UnboundedFollowing => FrameBound::UnboundedFollowing,
        })
    };
    Ok(WindowFrame { range: frame.range, start: bound(&frame.start)?, end: bound(&frame.end)? })
}
