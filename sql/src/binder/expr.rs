//! Expressions.

use super::literal;
use super::scope::{Block, Frame};
use crate::error::{Error, Result};
use crate::parser::ast::{self, BinaryOp, IsWhat, Literal, TrimSide, UnaryOp};
use crate::plan::{CompareOp, LogicalPlan, OutputColumn, Subquery, SubqueryKind, outer_column};
use basalt_expr::expr::{EXPR_DEPTH_MAX, Expr};
use basalt_expr::func::{self, Func};
use basalt_expr::types::FieldType;

impl super::Binder<'_> {
    /// Binds an expression that is one value.
    pub(super) fn expr(&mut self, expr: &ast::Expr, block: &mut Block) -> Result<Expr> {
        match expr {
            ast::Expr::Literal(literal) => literal::literal_value(literal, self.ctx.collation),
            ast::Expr::Parameter(index) => Ok(self.parameter(*index)),
            ast::Expr::Column(name) => self.column(name, block),
            ast::Expr::SystemVariable { scope, name } => {
                self.uses_variables = true;
                Ok(Expr::literal(self.ctx.variables.system(*scope, name)?))
            }
            ast::Expr::UserVariable(name) => {
                self.uses_variables = true;
                Ok(Expr::literal(self.ctx.variables.user(name)))
            }
            ast::Expr::AssignVariable(..) => Err(Error::unsupported("setting user variables within expressions")),
            ast::Expr::Unary(op, operand) => self.unary(*op, operand, block),
            ast::Expr::Binary(op, left, right) => self.binary(*op, left, right, block),
            ast::Expr::Is { expr, what, negated } => {
                let func = match (what, negated) {
                    (IsWhat::Null, false) => Func::IsNull,
                    (IsWhat::Null, true) => Func::IsNotNull,
                    (IsWhat::True, false) => Func::IsTrue,
                    (IsWhat::True, true) => Func::IsNotTrue,
                    (IsWhat::False, false) => Func::IsFalse,
                    (IsWhat::False, true) => Func::IsNotFalse,
                };
                self.call_of(func, &[expr], block)
            }
            ast::Expr::Between { expr, low, high, negated } => {
                let between = self.call_of(Func::Between, &[expr, low, high], block)?;
                negate(between, *negated)
            }
            ast::Expr::InList { expr, list, negated } => self.in_list(expr, list, *negated, block),
            ast::Expr::InSubquery { expr, query, negated } => self.in_subquery(expr, query, *negated, block),
            ast::Expr::Like { expr, pattern, escape, negated } => {
                let mut args: Vec<&ast::Expr> = vec![expr, pattern];
                args.extend(escape.as_deref());
                let like = self.call_of(Func::Like, &args, block)?;
                negate(like, *negated)
            }
            ast::Expr::Regexp { expr, pattern, negated } => {
                let regexp = self.call_of(Func::Regexp, &[expr, pattern], block)?;
                negate(regexp, *negated)
            }
            ast::Expr::Quantified { expr, op, all, query } => self.quantified(expr, *op, *all, query, block),
            ast::Expr::Exists(query) => {
                let (plan, correlated) = self.subquery_plan(query, block)?;
                let ty = FieldType::boolean().required();
                Ok(block.add_subquery(subquery(SubqueryKind::Exists, plan, correlated, ty)))
            }
            ast::Expr::Subquery(query) => self.scalar_subquery(query, block),
            ast::Expr::Row(items) => Err(Error::operand_columns(if items.is_empty() { 0 } else { 1 })),
            ast::Expr::Case { operand, branches, otherwise } => {
                self.case(operand.as_deref(), branches, otherwise.as_deref(), block)
            }
            ast::Expr::Cast(operand, ty) => self.cast(operand, ty, block),
            ast::Expr::ConvertUsing(operand, charset) => {
                let collation = literal::collation_of(Some(charset), None, self.ctx.collation)?;
                let operand = self.expr(operand, block)?;
                let unspecified = basalt_expr::types::UNSPECIFIED;
                Ok(operand.cast(match collation {
                    basalt_expr::Collation::Binary => FieldType::varbinary(unspecified),
                    collation => FieldType::varchar(unspecified).with_collation(collation),
                }))
            }
            ast::Expr::Collate(operand, name) => {
                let collation = basalt_expr::Collation::from_name(name)?;
                Ok(func::collate(self.expr(operand, block)?, collation)?)
            }
            ast::Expr::Function { name, args } => self.function(name, args, block),
            ast::Expr::Aggregate(call) if call.over.is_some() => self.window_call(call, block),
            ast::Expr::Aggregate(call) => self.aggregate_call(call, block),
            ast::Expr::DateArithmetic { date, value, unit, subtract } => {
                let args = vec![self.expr(date, block)?, self.expr(value, block)?, Expr::string(unit)];
                Ok(Expr::call(if *subtract { Func::DateSub } else { Func::DateAdd }, args)?)
            }
            ast::Expr::UnitFunction { name, unit, args } => {
                let mut bound = vec![Expr::string(unit)];
                for arg in args {
                    bound.push(self.expr(arg, block)?);
                }
                Ok(Expr::call(self.native(name)?, bound)?)
            }
            ast::Expr::Trim { side, what, expr } => self.trim(*side, what.as_deref(), expr, block),
            ast::Expr::Default => Err(Error::syntax("DEFAULT", 1)),
            ast::Expr::DefaultOf(name) => self.default_of(name, block),
            ast::Expr::Values(name) => self.inserted(name, block),
        }
    }

    /// A `?`, of the type that the caller knows, or text.
    fn parameter(&self, index: usize) -> Expr {
        let ty = self.ctx.parameters.get(index).cloned();
        let ty = ty
            .unwrap_or_else(|| FieldType::varchar(basalt_expr::types::UNSPECIFIED).with_collation(self.ctx.collation));
        Expr::Parameter { index, ty: ty.nullable() }
    }

    pub(super) fn exprs(&mut self, exprs: &[ast::Expr], block: &mut Block) -> Result<Vec<Expr>> {
        exprs.iter().map(|e| self.expr(e, block)).collect()
    }

    fn call_of(&mut self, func: Func, args: &[&ast::Expr], block: &mut Block) -> Result<Expr> {
        let args = args.iter().map(|e| self.expr(e, block)).collect::<Result<Vec<_>>>()?;
        Ok(Expr::call(func, args)?)
    }

    fn unary(&mut self, op: UnaryOp, operand: &ast::Expr, block: &mut Block) -> Result<Expr> {
        let func = match op {
            UnaryOp::Plus => return self.expr(operand, block),
            UnaryOp::Minus => {
                if let ast::Expr::Literal(literal) = operand
                    && let Some(constant) = literal::negative(literal)
                {
                    return Ok(constant);
                }
                Func::Neg
            }
            UnaryOp::Not => Func::Not,
            UnaryOp::BitNot => Func::BitNot,
        };
        self.call_of(func, &[operand], block)
    }

    fn binary(&mut self, op: BinaryOp, left: &ast::Expr, right: &ast::Expr, block: &mut Block) -> Result<Expr> {
        if let (ast::Expr::Row(a), ast::Expr::Row(b)) = (left, right) {
            return self.compare_rows(op, a, b, block);
        }
        let func = match op {
            BinaryOp::Or => Func::Or,
            BinaryOp::Xor => Func::Xor,
            BinaryOp::And => Func::And,
            BinaryOp::Eq => Func::Eq,
            BinaryOp::NullSafeEq => Func::NullSafeEq,
            BinaryOp::Ne => Func::Ne,
            BinaryOp::Lt => Func::Lt,
            BinaryOp::Le => Func::Le,
            BinaryOp::Gt => Func::Gt,
            BinaryOp::Ge => Func::Ge,
            BinaryOp::BitOr => Func::BitOr,
            BinaryOp::BitAnd => Func::BitAnd,
            BinaryOp::ShiftLeft => Func::ShiftLeft,
            BinaryOp::ShiftRight => Func::ShiftRight,
            BinaryOp::Add => Func::Add,
            BinaryOp::Subtract => Func::Sub,
            BinaryOp::Multiply => Func::Mul,
            BinaryOp::Divide => Func::Div,
            BinaryOp::IntegerDivide => Func::IntDiv,
            BinaryOp::Modulo => Func::Mod,
            BinaryOp::BitXor => Func::BitXor,
            BinaryOp::Concat => Func::Concat,
            BinaryOp::JsonExtract | BinaryOp::JsonUnquote => return Err(Error::unsupported("JSON")),
            BinaryOp::SoundsLike => return Err(Error::unsupported("SOUNDS LIKE")),
        };
        let is_calculation = matches!(func, Func::Add | Func::Sub | Func::Mul | Func::Div | Func::IntDiv | Func::Mod);
        let mut operand = |expr: &ast::Expr| match literal::as_number(expr).filter(|_| is_calculation) {
            Some(number) => Ok(number),
            None => self.expr(expr, block),
        };
        let args = vec![operand(left)?, operand(right)?];
        Ok(Expr::call(func, args)?)
    }

    /// `(a, b) op (c, d)` spelled out.
    fn compare_rows(&mut self, op: BinaryOp, a: &[ast::Expr], b: &[ast::Expr], block: &mut Block) -> Result<Expr> {
        if a.len() != b.len() {
            return Err(Error::operand_columns(a.len()));
        }
        let (left, right) = (self.exprs(a, block)?, self.exprs(b, block)?);
        let pairs: Vec<(Expr, Expr)> = left.into_iter().zip(right).collect();
        let each = |func: Func| -> Result<Vec<Expr>> {
            pairs.iter().map(|(l, r)| Ok(Expr::call(func, vec![l.clone(), r.clone()])?)).collect()
        };
        match op {
            BinaryOp::Eq => join(Func::And, each(Func::Eq)?),
            BinaryOp::NullSafeEq => join(Func::And, each(Func::NullSafeEq)?),
            BinaryOp::Ne => join(Func::Or, each(Func::Ne)?),
            BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge => {
                let strict = if matches!(op, BinaryOp::Lt | BinaryOp::Le) { Func::Lt } else { Func::Gt };
                let last = match op {
                    BinaryOp::Le => Func::Le,
                    BinaryOp::Ge => Func::Ge,
                    _ => strict,
                };
                let mut result: Option<Expr> = None;
                for (l, r) in pairs.into_iter().rev() {
                    result = Some(match result {
                        None => Expr::call(last, vec![l, r])?,
                        Some(rest) => {
                            let less = Expr::call(strict, vec![l.clone(), r.clone()])?;
                            let equal = Expr::call(Func::Eq, vec![l, r])?;
                            let tie = Expr::call(Func::And, vec![equal, rest])?;
                            Expr::call(Func::Or, vec![less, tie])?
                        }
                    });
                }
                result.ok_or_else(|| Error::operand_columns(1))
            }
            _ => Err(Error::operand_columns(1)),
        }
    }

    fn in_list(&mut self, expr: &ast::Expr, list: &[ast::Expr], negated: bool, block: &mut Block) -> Result<Expr> {
        if let ast::Expr::Row(left) = expr {
            let mut any = Vec::with_capacity(list.len());
            for item in list {
                let ast::Expr::Row(right) = item else { return Err(Error::operand_columns(left.len())) };
                any.push(self.compare_rows(BinaryOp::Eq, left, right, block)?);
            }
            return negate(join(Func::Or, any)?, negated);
        }
        let bound = self.expr(expr, block)?;
        let list = self.exprs(list, block)?;
        Ok(func::in_list(bound, list, negated)?)
    }

    fn case(
        &mut self,
        operand: Option<&ast::Expr>,
        branches: &[(ast::Expr, ast::Expr)],
        otherwise: Option<&ast::Expr>,
        block: &mut Block,
    ) -> Result<Expr> {
        let operand = operand.map(|o| self.expr(o, block)).transpose()?;
        let mut bound = Vec::with_capacity(branches.len());
        for (when, then) in branches {
            let when = self.expr(when, block)?;
            let when = match &operand {
                Some(operand) => Expr::call(Func::Eq, vec![operand.clone(), when])?,
                None => when,
            };
            bound.push((when, self.expr(then, block)?));
        }
        let otherwise = otherwise.map(|e| self.expr(e, block)).transpose()?;
        Ok(func::case(bound, otherwise)?)
    }

    fn cast(&mut self, operand: &ast::Expr, ty: &ast::DataType, block: &mut Block) -> Result<Expr> {
        let ty = literal::cast_type(ty, self.ctx.collation)?;
        Ok(func::cast_explicit(self.expr(operand, block)?, ty))
    }

    fn trim(&mut self, side: TrimSide, what: Option<&ast::Expr>, expr: &ast::Expr, block: &mut Block) -> Result<Expr> {
        let expr = self.expr(expr, block)?;
        let func = match side {
            TrimSide::Both => Func::Trim,
            TrimSide::Leading => Func::LTrim,
            TrimSide::Trailing => Func::RTrim,
        };
        let mut args = vec![expr];
        if let Some(what) = what {
            args.push(self.expr(what, block)?);
        }
        Ok(Expr::call(func, args)?)
    }

    // ---- subqueries ----

    /// Binds a query as a subquery of `block`.
    pub(super) fn subquery_plan(&mut self, query: &ast::Query, block: &Block) -> Result<(LogicalPlan, bool)> {
        self.frames.push(Frame { columns: block.columns.clone(), correlated: false });
        let full_scans = std::mem::replace(&mut self.full_scans, false);
        let plan = self.query(query);
        self.full_scans = full_scans;
        let frame = self.frames.pop();
        Ok((plan?, frame.is_some_and(|f| f.correlated)))
    }

    fn scalar_subquery(&mut self, query: &ast::Query, block: &mut Block) -> Result<Expr> {
        let (plan, correlated) = self.subquery_plan(query, block)?;
        let column = only_column(&plan)?;
        Ok(block.add_subquery(subquery(SubqueryKind::Scalar, plan, correlated, column.ty.nullable())))
    }

    fn in_subquery(&mut self, expr: &ast::Expr, query: &ast::Query, negated: bool, block: &mut Block) -> Result<Expr> {
        if let ast::Expr::Row(items) = expr {
            return self.row_in_subquery(items, query, negated, block);
        }
        let operand = self.expr(expr, block)?;
        let (plan, correlated) = self.subquery_plan(query, block)?;
        let (operand, plan) = comparable(operand, plan)?;
        let found = subquery(SubqueryKind::In { operand }, plan, correlated, FieldType::boolean());
        negate(block.add_subquery(found), negated)
    }

    /// `(a, b) IN (SELECT x, y …)` as EXISTS (… WHERE x = a AND y = b). Not the same under NOT, where NULLs matter.
    fn row_in_subquery(
        &mut self,
        items: &[ast::Expr],
        query: &ast::Query,
        negated: bool,
        block: &mut Block,
    ) -> Result<Expr> {
        if negated {
            return Err(Error::unsupported("NOT IN with rows and a subquery"));
        }
        let operands = self.exprs(items, block)?;
        let (plan, _) = self.subquery_plan(query, block)?;
        let output = plan.output();
        if output.len() != operands.len() {
            return Err(Error::operand_columns(operands.len()));
        }
        let mut equal = Vec::with_capacity(operands.len());
        for (i, (operand, column)) in operands.into_iter().zip(output).enumerate() {
            let Expr::Column { index, ty } = operand else {
                return Err(Error::unsupported("IN with rows of anything but columns"));
            };
            let outer = Expr::Column { index: outer_column(0, index), ty };
            equal.push(Expr::call(Func::Eq, vec![Expr::column(i, column.ty), outer])?);
        }
        let filtered = LogicalPlan::Filter { input: Box::new(plan), predicate: join(Func::And, equal)? };
        let ty = FieldType::boolean().required();
        Ok(block.add_subquery(subquery(SubqueryKind::Exists, filtered, true, ty)))
    }

    fn quantified(
        &mut self,
        expr: &ast::Expr,
        op: BinaryOp,
        all: bool,
        query: &ast::Query,
        block: &mut Block,
    ) -> Result<Expr> {
        let op = match op {
            BinaryOp::Eq => CompareOp::Eq,
            BinaryOp::Ne => CompareOp::Ne,
            BinaryOp::Lt => CompareOp::Lt,
            BinaryOp::Le => CompareOp::Le,
            BinaryOp::Gt => CompareOp::Gt,
            BinaryOp::Ge => CompareOp::Ge,
            _ => return Err(Error::syntax("", 1)),
        };
        let operand = self.expr(expr, block)?;
        let (plan, correlated) = self.subquery_plan(query, block)?;
        let (operand, plan) = comparable(operand, plan)?;
        let kind = SubqueryKind::Quantified { operand, op, all };
        Ok(block.add_subquery(subquery(kind, plan, correlated, FieldType::boolean())))
    }

    /// Fails for a tree that would overflow a stack later.
    pub(super) fn check_depth(expr: Expr) -> Result<Expr> {
        if expr.depth() > EXPR_DEPTH_MAX { Err(Error::too_deep()) } else { Ok(expr) }
    }

    /// Whether an item of ORDER BY or GROUP BY is a position.
    pub(super) fn position(expr: &ast::Expr) -> Option<u64> {
        match expr {
            ast::Expr::Literal(Literal::Integer(position)) => Some(*position),
            _ => None,
        }
    }
}

/// NOT, or not.
fn negate(expr: Expr, negated: bool) -> Result<Expr> {
    if negated { Ok(Expr::call(Func::Not, vec![expr])?) } else { Ok(expr) }
}

/// Joins predicates by AND or OR, in a tree of logarithmic depth.
pub(super) fn join(func: Func, mut terms: Vec<Expr>) -> Result<Expr> {
    while terms.len() > 1 {
        let mut next = Vec::with_capacity(terms.len().div_ceil(2));
        let mut iter = terms.into_iter();
        while let Some(left) = iter.next() {
            next.push(match iter.next() {
                Some(right) => Expr::call(func, vec![left, right])?,
                None => left,
            });
        }
        terms = next;
    }
    Ok(terms.pop().unwrap_or_else(|| Expr::int(i64::from(func == Func::And))))
}

fn subquery(kind: SubqueryKind, plan: LogicalPlan, correlated: bool, ty: FieldType) -> Subquery {
    let output = OutputColumn { name: String::new(), table: String::new(), origin: None, ty };
    Subquery { kind, plan: Box::new(plan), correlated, output }
}

fn only_column(plan: &LogicalPlan) -> Result<OutputColumn> {
    let mut output = plan.output();
    match output.pop() {
        Some(column) if output.is_empty() => Ok(column),
        _ => Err(Error::operand_columns(1)),
    }
}

/// Brings an operand and the one column of a subquery to the type in which MySQL compares them.
fn comparable(operand: Expr, plan: LogicalPlan) -> Result<(Expr, LogicalPlan)> {
    let column = only_column(&plan)?;
    let inner = Expr::column(0, column.ty.clone());
    let compared = Expr::call(Func::Eq, vec![operand, inner])?;
    let Expr::Call { args, .. } = compared else { return Err(Error::internal("a comparison is a call")) };
    let [operand, inner] = <[Expr; 2]>::try_from(args).map_err(|_| Error::internal("a comparison has two sides"))?;
    if matches!(inner, Expr::Column { .. }) {
        return Ok((operand, plan));
    }
    let output = vec![OutputColumn { ty: inner.ty().clone(), ..column }];
    Ok((operand, LogicalPlan::Project { input: Box::new(plan), exprs: vec![inner], output }))
}
