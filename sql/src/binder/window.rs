//! Window functions: which window a call means, and what its frame may be.

use super::scope::{Block, Clause};
use crate::error::{Error, Result};
use crate::parser::ast::{self, WindowSpec};
use crate::plan::{FrameBound, FrameOffset, SortKey, WindowCall, WindowFrame, WindowFunc};
use basalt_expr::EvalContext;
use basalt_expr::aggregate::AggregateFunc;
use basalt_expr::expr::Expr;
use basalt_expr::func::{IntervalUnit, Volatility};
use basalt_expr::types::FieldType;
use std::collections::{HashMap, HashSet};

/// What errors call a window that has no name.
const UNNAMED: &str = "<unnamed window>";

/// Expressions of a PARTITION BY: DataFusion's planning is cubic in them (128: 1 s, 400: 24 s).
const PARTITION_KEYS_MAX: usize = 128;

/// The clauses of a window, bound.
struct Window {
    partition_by: Vec<Expr>,
    order_by: Vec<SortKey>,
    frame: Option<WindowFrame>,
}

impl super::Binder<'_> {
    /// Checks the windows that WINDOW names, used or not.
    pub(super) fn check_windows(&mut self, block: &mut Block) -> Result<()> {
        resolve_named(&mut block.named_windows)?;
        let named = block.named_windows.clone();
        let mut names = HashSet::with_capacity(named.len());
        if let Some((twice, _)) = named.iter().find(|(name, _)| !names.insert(name.to_ascii_lowercase())) {
            return Err(Error::duplicate_window(twice));
        }
        for (name, spec) in &named {
            self.window(spec, name, block)?;
        }
        Ok(())
    }

    /// Any function with OVER.
    pub(super) fn window_call(&mut self, call: &ast::AggregateCall, block: &mut Block) -> Result<Expr> {
        if let Some(name) = &block.in_window {
            return Err(Error::nested_window(name));
        }
        if !matches!(block.clause, Clause::Fields | Clause::OrderBy) || block.in_aggregate || block.in_window_args {
            return Err(Error::misplaced_window(&call.name));
        }
        let spec = call.over.clone().unwrap_or_default();
        let base = spec.name.as_ref().map(|wanted| named_window(wanted, block)).transpose()?;
        let (spec, name) = match base {
            Some((name, base)) if spec.is_reference => (base, name),
            Some((name, base)) => (extended(&spec, UNNAMED, (&name, &base))?, UNNAMED.to_string()),
            None => (spec, UNNAMED.to_string()),
        };
        let window = self.window(&spec, &name, block)?;
        block.in_window_args = true;
        let bound = self.window_func(call, block);
        block.in_window_args = false;
        let (func, args, ty) = bound?;
        let Window { partition_by, order_by, frame } = window;
        Ok(block.add_window(WindowCall { func, args, partition_by, order_by, frame, ty }))
    }

    /// Binds a window that has all its clauses.
    fn window(&mut self, spec: &WindowSpec, name: &str, block: &mut Block) -> Result<Window> {
        let clause = block.clause;
        block.in_window = Some(name.to_string());
        let bound = self.window_clauses(spec, name, block);
        block.in_window = None;
        block.clause = clause;
        bound
    }

    fn window_clauses(&mut self, spec: &WindowSpec, name: &str, block: &mut Block) -> Result<Window> {
        if spec.partition_by.len() > PARTITION_KEYS_MAX {
            return Err(Error::unsupported(format!("more than {PARTITION_KEYS_MAX} expressions in PARTITION BY")));
        }
        let keys = spec.partition_by.iter().chain(spec.order_by.iter().map(|item| &item.expr));
        if keys.into_iter().any(|e| Self::position(e).is_some()) {
            return Err(Error::window_position(name));
        }
        block.clause = Clause::WindowPartition;
        let partition_by = self.exprs(&spec.partition_by, block)?;
        block.clause = Clause::WindowOrder;
        let order_by = self.sort_keys(&spec.order_by, block)?;
        let by_range = spec.frame.as_ref().is_none_or(|frame| frame.range);
        if by_range && order_by.len() == 1 && is_volatile(&order_by[0].expr) {
            return Err(Error::range_order(name));
        }
        let frame = spec.frame.as_ref().map(|frame| self.frame(frame, &order_by, name, block)).transpose()?;
        Ok(Window { partition_by, order_by, frame })
    }

    fn frame(
        &mut self,
        frame: &ast::Frame,
        order_by: &[SortKey],
        name: &str,
        block: &mut Block,
    ) -> Result<WindowFrame> {
        use ast::Bound::{CurrentRow, Following, Preceding, UnboundedFollowing, UnboundedPreceding};
        match (&frame.start, &frame.end) {
            (UnboundedFollowing, _) => return Err(Error::frame_starts_at_end(name)),
            (_, UnboundedPreceding) => return Err(Error::frame_ends_at_start(name)),
            (CurrentRow, Preceding(..)) | (Following(..), CurrentRow | Preceding(..)) => {
                return Err(Error::bad_frame(name));
            }
            _ => {}
        }
        let mut bound = |bound: &ast::Bound| -> Result<FrameBound> {
            Ok(match bound {
                UnboundedPreceding => FrameBound::UnboundedPreceding,
                CurrentRow => FrameBound::CurrentRow,
                UnboundedFollowing => FrameBound::UnboundedFollowing,
                Preceding(value, unit) => {
                    FrameBound::Preceding(self.offset(value, unit.as_deref(), frame.range, order_by, name, block)?)
                }
                Following(value, unit) => {
                    FrameBound::Following(self.offset(value, unit.as_deref(), frame.range, order_by, name, block)?)
                }
            })
        };
        let (start, end) = (bound(&frame.start)?, bound(&frame.end)?);
        let frame = WindowFrame { window: name.to_string(), range: frame.range, start, end };
        frame.check(&EvalContext::default())?;
        Ok(frame)
    }

    fn offset(
        &mut self,
        value: &ast::Expr,
        unit: Option<&str>,
        range: bool,
        order_by: &[SortKey],
        name: &str,
        block: &mut Block,
    ) -> Result<FrameOffset> {
        if range {
            let [SortKey { expr, .. }] = order_by else { return Err(Error::range_order(name)) };
            let ty = expr.ty();
            match unit {
                _ if is_volatile(expr) || !(ty.is_numeric() || ty.is_temporal()) => {
                    return Err(Error::range_order(name));
                }
                None if ty.is_temporal() => return Err(Error::range_wants_interval(name)),
                Some(_) if !ty.is_temporal() => return Err(Error::range_wants_number(name)),
                _ => {}
            }
        } else if unit.is_some() {
            return Err(Error::interval_in_rows(name));
        }
        let value = self.expr(value, block)?;
        if !value.is_constant() {
            return Err(Error::frame_not_constant(name));
        }
        Ok(FrameOffset { value, unit: unit.and_then(IntervalUnit::by_name) })
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
            _ => return self.window_aggregate(call, block),
        };
        let args = self.exprs(&call.args, block)?;
        if let Some(count) = func.count_argument().and_then(|at| args.get(at))
            && !matches!(count, Expr::Parameter { .. })
        {
            func.count(count, &EvalContext::default())?;
        }
        let ty = match (func, args.first()) {
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

    fn window_aggregate(
        &mut self,
        call: &ast::AggregateCall,
        block: &mut Block,
    ) -> Result<(WindowFunc, Vec<Expr>, FieldType)> {
        if call.name == "group_concat" {
            return Err(Error::unsupported("group_concat as window function"));
        }
        if call.distinct {
            return Err(Error::unsupported("<window function>(DISTINCT ..)"));
        }
        let aggregate = self.aggregate(call, false, block)?;
        let counts = matches!(aggregate.func, AggregateFunc::Count | AggregateFunc::CountDistinct);
        let bits = matches!(aggregate.func, AggregateFunc::BitAnd | AggregateFunc::BitOr | AggregateFunc::BitXor);
        // A frame may be without rows.
        let ty = if counts || bits { aggregate.ty } else { aggregate.ty.nullable() };
        Ok((WindowFunc::Aggregate(aggregate.func), aggregate.args, ty))
    }
}

/// True when two calculations over one row may differ.
fn is_volatile(expr: &Expr) -> bool {
    let mut volatile = false;
    expr.visit(&mut |e| {
        if let Expr::Call { func, .. } = e {
            volatile |= func.volatility() == Volatility::Volatile;
        }
    });
    volatile
}

/// The window that WINDOW calls `wanted`: its name there, and all its clauses.
fn named_window(wanted: &str, block: &mut Block) -> Result<(String, WindowSpec)> {
    let found = block.named_windows.iter().position(|(name, _)| name.eq_ignore_ascii_case(wanted));
    let at = found.ok_or_else(|| Error::unknown_window(wanted))?;
    if block.named_windows[at].1.name.is_some() {
        resolve_named(&mut block.named_windows)?;
    }
    Ok(block.named_windows[at].clone())
}

/// Gives each window the clauses of those that it extends. Each is looked up once: a chain may be as long as the text.
fn resolve_named(named: &mut [(String, WindowSpec)]) -> Result<()> {
    let bases = bases_of(named)?;
    for at in bases_first(&bases)? {
        let Some(base) = bases[at] else { continue };
        let ((name, spec), (base_name, base)) = (&named[at], &named[base]);
        named[at].1 = extended(spec, name, (base_name, base))?;
        crate::memory::check()?;
    }
    Ok(())
}

/// Where the window stands that each one extends.
fn bases_of(named: &[(String, WindowSpec)]) -> Result<Vec<Option<usize>>> {
    let mut places = HashMap::with_capacity(named.len());
    for (at, (name, _)) in named.iter().enumerate() {
        places.entry(name.to_ascii_lowercase()).or_insert(at);
    }
    let base = |wanted: &String| {
        places.get(&wanted.to_ascii_lowercase()).copied().ok_or_else(|| Error::unknown_window(wanted))
    };
    named.iter().map(|(_, spec)| spec.name.as_ref().map(base).transpose()).collect()
}

/// All windows, each behind the one that it extends.
fn bases_first(bases: &[Option<usize>]) -> Result<Vec<usize>> {
    let mut order = Vec::with_capacity(bases.len());
    let mut is_placed = vec![false; bases.len()];
    for start in 0..bases.len() {
        let (mut chain, mut next) = (Vec::new(), Some(start));
        while let Some(at) = next.filter(|&at| !is_placed[at]) {
            if chain.len() == bases.len() {
                return Err(Error::circular_windows());
            }
            chain.push(at);
            next = bases[at];
        }
        for at in chain.into_iter().rev() {
            is_placed[at] = true;
            order.push(at);
        }
    }
    Ok(order)
}

/// A window's own clauses with those of the named window that it extends.
fn extended(spec: &WindowSpec, name: &str, (base_name, base): (&str, &WindowSpec)) -> Result<WindowSpec> {
    if !spec.partition_by.is_empty() {
        return Err(Error::window_repartitioned());
    }
    if base.frame.is_some() {
        return Err(Error::window_has_frame(base_name));
    }
    if !spec.order_by.is_empty() && !base.order_by.is_empty() {
        return Err(Error::window_reordered(name, base_name));
    }
    let order_by = if spec.order_by.is_empty() { &base.order_by } else { &spec.order_by };
    let (partition_by, order_by, frame) = (base.partition_by.clone(), order_by.clone(), spec.frame.clone());
    Ok(WindowSpec { name: None, is_reference: false, partition_by, order_by, frame })
}
