//! Functions and aggregates.

use super::scope::{self, Block, Clause};
use crate::catalog::model::{Column, ColumnDefault};
use crate::error::{Error, Result};
use crate::parser::ast::{self, ColumnName, OrderItem};
use crate::plan::{AggregateCall, SortKey, as_outer_column};
use basalt_expr::aggregate::AggregateFunc;
use basalt_expr::expr::Expr;
use basalt_expr::func::{self, Func};
use basalt_expr::types::{FieldType, TypeKind};
use basalt_expr::value::Value;

/// Digits that a sum is calculated with at most.
const SUM_DIGITS_MAX: u32 = 76;
/// Digits of an argument up to which no sum is longer than a DECIMAL.
const SUM_ARGUMENT_DIGITS: u32 = 43;

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
            return self.grouping(args, block);
        }
        let func = self.native(name)?;
        let args = self.ctx.settings.arguments(func, self.exprs(args, block)?);
        Ok(func::infer_in(func, args, self.ctx.collation)?)
    }

    /// GROUPING(…): a number that is known where the groups are.
    fn grouping(&mut self, args: &[ast::Expr], block: &mut Block) -> Result<Expr> {
        if matches!(block.clause, Clause::Where | Clause::On | Clause::GroupBy) {
            return Err(Error::invalid_group_function());
        }
        let args = self.exprs(args, block)?;
        if args.is_empty() {
            return Err(Error::parameter_count("grouping"));
        }
        // An aggregate's rows are those of FROM, none of which is a super-aggregate.
        if block.in_aggregate {
            return Ok(Expr::int(0));
        }
        block.groupings.push(args);
        let index = super::pending::grouping(block.groupings.len() - 1);
        Ok(Expr::Column { index, ty: FieldType::bigint() })
    }

    /// An aggregate without OVER.
    pub(super) fn aggregate_call(&mut self, call: &ast::AggregateCall, block: &mut Block) -> Result<Expr> {
        let forbidden = matches!(block.clause, Clause::Where | Clause::On | Clause::GroupBy);
        if block.in_aggregate || forbidden {
            return Err(Error::invalid_group_function());
        }
        let aggregate = self.aggregate(call, true, block)?;
        let same = block.aggregates.iter().position(|a| same_aggregate(a, &aggregate));
        Ok(match same {
            Some(j) => Expr::Column { index: super::pending::aggregate(j), ty: aggregate.ty.calculated() },
            None => block.add_aggregate(aggregate),
        })
    }

    /// An aggregate's parts. One that is `grouped` is calculated over rows of FROM; one over a window may take aggregates as
    /// arguments.
    pub(super) fn aggregate(
        &mut self,
        call: &ast::AggregateCall,
        grouped: bool,
        block: &mut Block,
    ) -> Result<AggregateCall> {
        let func = match aggregate_func(&call.name)? {
            AggregateFunc::Count if call.distinct && call.args.len() > 1 => AggregateFunc::CountDistinct,
            func => func,
        };
        block.in_aggregate = grouped;
        let args = self.exprs(&call.args, block);
        let order_by = self.concat_order(&call.order_by, &args, block);
        block.in_aggregate = false;
        let (args, order_by) = (args?, order_by?);
        if is_of_outer_block(&args) {
            return Err(Error::unsupported("aggregates over columns of an outer query alone"));
        }
        if args.len() > 1 && !matches!(func, AggregateFunc::CountDistinct | AggregateFunc::GroupConcat) {
            return Err(Error::syntax("", 1));
        }
        let args =
            if func.keeps_moments() { args } else { args.into_iter().map(basalt_expr::func::localize).collect() };
        // A moment is added up as the number that it looks like, a hexadecimal literal as the one that it is.
        let as_number = |arg: Expr| match arg.ty().is_temporal() {
            true => func::date_as_number(arg),
            false => func::literal_as_number(arg),
        };
        let args: Vec<Expr> = if func.takes_numbers() { args.into_iter().map(as_number).collect() } else { args };
        let mut ty = func.result_type(&args)?;
        if func == AggregateFunc::Avg {
            ty = self.ctx.settings.quotient(ty);
        }
        match (func, args.first().map(Expr::ty)) {
            (AggregateFunc::GroupConcat, _) => {
                let is_new = !args.iter().any(|arg| arg.ty().is_string());
                let collation = if is_new { self.ctx.collation } else { ty.collation };
                ty = self.concat_type(ty.with_collation(collation))?;
            }
            // A sum may have more digits than any column.
            (AggregateFunc::Sum, Some(arg)) if grouped && arg.decimal_precision() > SUM_ARGUMENT_DIGITS => {
                ty.length = SUM_DIGITS_MAX;
            }
            _ => {}
        }
        let separator =
            (func == AggregateFunc::GroupConcat).then(|| call.separator.clone().unwrap_or_else(|| ",".to_string()));
        Ok(AggregateCall { func, args, distinct: call.distinct, order_by, separator, ty })
    }

    /// GROUP_CONCAT's ORDER BY; a number is the position of an argument.
    fn concat_order(
        &mut self,
        items: &[OrderItem],
        args: &Result<Vec<Expr>>,
        block: &mut Block,
    ) -> Result<Vec<SortKey>> {
        let mut keys = Vec::with_capacity(items.len());
        for item in items {
            let expr = match (Self::position(&item.expr), args) {
                (Some(position), Ok(args)) => {
                    let index = usize::try_from(position).ok().and_then(|p| p.checked_sub(1));
                    let arg = index.and_then(|index| args.get(index)).cloned();
                    arg.ok_or_else(|| Error::unknown_column(position, Clause::OrderBy.text()))?
                }
                _ => self.expr(&item.expr, block)?,
            };
            keys.push(SortKey { expr, descending: item.descending });
        }
        Ok(keys)
    }

    /// GROUP_CONCAT's type: a string as long as `group_concat_max_len` lets it become.
    fn concat_type(&mut self, ty: FieldType) -> Result<FieldType> {
        const LONGEST_VARCHAR: u64 = 512;
        self.uses_variables = true;
        let bytes_max = self.ctx.variables.system(None, "group_concat_max_len")?.as_u64().unwrap_or(u64::MAX);
        let binary = ty.is_binary_string();
        let kind = match (bytes_max, binary) {
            (..=LONGEST_VARCHAR, true) => return Ok(FieldType::varbinary(bytes_max as u32)),
            (..=LONGEST_VARCHAR, false) => {
                return Ok(FieldType { length: bytes_max as u32, kind: TypeKind::VarChar, ..ty });
            }
            (..=0xffff, true) => TypeKind::Blob,
            (..=0xffff, false) => TypeKind::Text,
            (..=0xff_ffff, true) => TypeKind::MediumBlob,
            (..=0xff_ffff, false) => TypeKind::MediumText,
            (_, true) => TypeKind::LongBlob,
            (_, false) => TypeKind::LongText,
        };
        Ok(FieldType { coercibility: ty.coercibility, ..FieldType::new(kind).with_collation(ty.collation) })
    }

    pub(super) fn sort_keys(&mut self, items: &[OrderItem], block: &mut Block) -> Result<Vec<SortKey>> {
        let key = |item: &OrderItem| Ok(SortKey { expr: self.expr(&item.expr, block)?, descending: item.descending });
        items.iter().map(key).collect()
    }

    /// DEFAULT(column).
    pub(super) fn default_of(&mut self, name: &ColumnName, block: &Block) -> Result<Expr> {
        let columns = &block.columns[..block.inserted_from.unwrap_or(block.columns.len())];
        let Some(index) = scope::find(columns, name, block.clause)? else {
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
        let columns = &block.columns[..block.inserted_from.unwrap_or(block.columns.len())];
        let Some(index) = scope::find(columns, name, block.clause)? else {
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

/// Whether an aggregate's columns all belong to enclosing queries: then it is theirs, not the subquery's.
fn is_of_outer_block(args: &[Expr]) -> bool {
    let columns: Vec<usize> = args.iter().flat_map(Expr::columns).collect();
    !columns.is_empty() && columns.into_iter().all(|index| as_outer_column(index).is_some())
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
        other => return Err(Error::unsupported(other.to_uppercase())),
    })
}
