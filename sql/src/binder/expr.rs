//! Expressions.

use super::from::ScanColumns;
use super::literal;
use super::row::{self, Operand};
use super::scope::{Block, Frame};
use crate::error::{Error, Result};
use crate::parser::ast::{self, BinaryOp, IsWhat, Literal, TrimSide, UnaryOp};
use crate::plan::{CompareOp, LogicalPlan, OutputColumn, Subquery, SubqueryKind};
use basalt_common::stack::levels_max;
use basalt_expr::collation::Collation;
use basalt_expr::error::ExprError;
use basalt_expr::expr::Expr;
use basalt_expr::func::{self, Func};
use basalt_expr::types::{DECIMAL_PRECISION_MAX, EvalType, FieldType, TypeKind};
use basalt_expr::value::Value;

impl super::Binder<'_> {
    /// Binds an expression that is one value.
    pub(super) fn expr(&mut self, expr: &ast::Expr, block: &mut Block) -> Result<Expr> {
        self.check_stack()?;
        match expr {
            ast::Expr::Literal(literal) => literal::literal_value(literal, self.ctx.collation, self.ctx.warnings),
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
                let mut args = vec![self.expr(expr, block)?, self.expr(pattern, block)?];
                if let Some(escape) = escape {
                    args.extend(escape_of(self.expr(escape, block)?)?);
                }
                negate(Expr::call(Func::Like, args)?, *negated)
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
                let chars = operand.ty().display_width();
                let ty = match collation {
                    Collation::Binary => FieldType::varbinary(chars.saturating_mul(4)),
                    collation => FieldType::varchar(chars).with_collation(collation),
                };
                Ok(func::cast_explicit(operand, ty))
            }
            ast::Expr::Collate(operand, name) => {
                let collation = Collation::from_name(name)?;
                let is_open = matches!(**operand, ast::Expr::Parameter(_) | ast::Expr::UserVariable(_));
                let operand = self.expr(operand, block)?;
                // NULL is of the character set binary; what has no value yet is of any.
                if operand.ty().kind == TypeKind::Null && !is_open {
                    return Err(ExprError::CollationOfOther(collation.name().into(), "binary".into()).into());
                }
                Ok(func::collate(operand, collation)?)
            }
            ast::Expr::Function { name, args } => self.function(name, args, block),
            ast::Expr::Aggregate(call) if call.over.is_some() => self.window_call(call, block),
            ast::Expr::Aggregate(call) => self.aggregate_call(call, block),
            ast::Expr::DateArithmetic { date, value, unit, subtract } => {
                let args = vec![self.expr(date, block)?, self.expr(value, block)?, Expr::string(unit)];
                let func = if *subtract { Func::DateSub } else { Func::DateAdd };
                Ok(func::infer_in(func, args, self.ctx.collation)?)
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

    /// Ends what nests too deeply or has grown too large.
    pub(super) fn check_stack(&self) -> Result<()> {
        crate::memory::check()?;
        if self.stack.is_spent() { Err(Error::too_deep()) } else { Ok(()) }
    }

    /// A `?`, of the type that the caller knows, or text.
    fn parameter(&self, index: usize) -> Expr {
        let collation = self.ctx.collation;
        let ty = match self.ctx.parameters.get(index) {
            // A text, which is in the connection's character set.
            Some(ty) if ty.is_string() && !ty.is_binary_string() && collation != Collation::Binary => {
                ty.clone().with_collation(collation)
            }
            Some(ty) => ty.clone(),
            None if collation == Collation::Binary => FieldType::varbinary(basalt_expr::types::UNSPECIFIED),
            None => FieldType::varchar(basalt_expr::types::UNSPECIFIED).with_collation(collation),
        };
        Expr::Parameter { index, ty: ty.nullable() }
    }

    pub(super) fn exprs(&mut self, exprs: &[ast::Expr], block: &mut Block) -> Result<Vec<Expr>> {
        exprs.iter().map(|e| self.expr(e, block)).collect()
    }

    fn call_of(&mut self, func: Func, args: &[&ast::Expr], block: &mut Block) -> Result<Expr> {
        let args = args.iter().map(|e| self.expr(e, block)).collect::<Result<Vec<_>>>()?;
        let bound = func::infer_in(func, args, self.ctx.collation)?;
        self.uses_variables |= func::awaits_text(&bound);
        Ok(bound)
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
        use BinaryOp::{Eq, Ge, Gt, Le, Lt, Ne, NullSafeEq};
        let may_be_row = |e: &ast::Expr| matches!(e, ast::Expr::Row(_) | ast::Expr::Subquery(_));
        if matches!(op, Eq | NullSafeEq | Ne | Lt | Le | Gt | Ge) && (may_be_row(left) || may_be_row(right)) {
            let sides = [self.operand(left, block)?, self.operand(right, block)?];
            // A subquery without rows is no row of NULLs to `<=>`.
            let mut terms = Vec::new();
            for (side, tree) in sides.iter().zip([left, right]) {
                if let (NullSafeEq, Operand::Row(_), ast::Expr::Subquery(query)) = (op, side, tree) {
                    terms.push(self.expr(&ast::Expr::Exists(query.clone()), block)?);
                }
            }
            let [left, right] = sides;
            terms.push(row::compare(op, left, right)?);
            return join(Func::And, terms);
        }
        let func = match op {
            BinaryOp::Or => Func::Or,
            BinaryOp::Xor => Func::Xor,
            BinaryOp::And => Func::And,
            BinaryOp::Eq
            | BinaryOp::NullSafeEq
            | BinaryOp::Ne
            | BinaryOp::Lt
            | BinaryOp::Le
            | BinaryOp::Gt
            | BinaryOp::Ge => row::comparison(op)?,
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
            BinaryOp::SoundsLike => {
                let soundex = |side: Expr| func::infer_in(Func::Soundex, vec![side], self.ctx.collation);
                let sides = vec![soundex(self.expr(left, block)?)?, soundex(self.expr(right, block)?)?];
                return Ok(func::infer_in(Func::Eq, sides, self.ctx.collation)?);
            }
        };
        let is_calculation = matches!(func, Func::Add | Func::Sub | Func::Mul | Func::Div | Func::IntDiv | Func::Mod);
        let mut operand = |expr: &ast::Expr| match literal::as_number(expr).filter(|_| is_calculation) {
            Some(number) => Ok(number),
            None => self.expr(expr, block),
        };
        let args = vec![operand(left)?, operand(right)?];
        let mut bound = self.ctx.settings.divided(func::infer_in(func, args, self.ctx.collation)?);
        self.uses_variables |= func::awaits_text(&bound);
        if let Expr::Call { func: Func::Sub, ty, .. } = &mut bound
            && ty.is_integer()
            && self.ctx.no_unsigned_subtraction
        {
            ty.unsigned = false;
        }
        Ok(bound)
    }

    fn in_list(&mut self, expr: &ast::Expr, list: &[ast::Expr], negated: bool, block: &mut Block) -> Result<Expr> {
        if let ast::Expr::Row(_) = expr {
            let left = self.operand(expr, block)?;
            let mut any = Vec::with_capacity(list.len());
            for item in list {
                let item = self.operand(item, block)?;
                // One row beside IN is `=`; among several each column has the collation of the row on the left.
                let item = if list.len() > 1 { row::collate_as(item, &left)? } else { item };
                any.push(row::compare(BinaryOp::Eq, left.clone(), item)?);
            }
            return negate(join(Func::Or, any)?, negated);
        }
        let bound = self.expr(expr, block)?;
        let list = self.exprs(list, block)?;
        let bound = func::in_list(bound, list, negated)?;
        self.uses_variables |= func::awaits_text(&bound);
        Ok(bound)
    }

    fn case(
        &mut self,
        operand: Option<&ast::Expr>,
        branches: &[(ast::Expr, ast::Expr)],
        otherwise: Option<&ast::Expr>,
        block: &mut Block,
    ) -> Result<Expr> {
        let mut bound = Vec::with_capacity(branches.len());
        let whens: Vec<&ast::Expr> = operand.into_iter().chain(branches.iter().map(|(when, _)| when)).collect();
        let mut whens = whens.into_iter().map(|when| self.expr(when, block)).collect::<Result<Vec<_>>>()?;
        let operand = match operand {
            Some(_) => {
                func::one_collation(&mut whens, "case")?;
                let operand = whens.remove(0);
                func::check_repeated(&operand, whens.len())?;
                Some(operand)
            }
            None => None,
        };
        for (when, (_, then)) in whens.into_iter().zip(branches) {
            let when = match &operand {
                Some(operand) => func::equal_in_case(operand.clone(), when)?,
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
        Ok(func::infer_in(func, args, self.ctx.collation)?)
    }

    // ---- subqueries ----

    /// Binds a query as a subquery of `block`.
    pub(super) fn subquery_plan(&mut self, query: &ast::Query, block: &Block) -> Result<(LogicalPlan, bool)> {
        self.frames.push(Frame { columns: block.columns.clone(), aliases: block.aliases.clone(), correlated: false });
        let plan = self.scanning(ScanColumns::Public, |binder| binder.query(query));
        let frame = self.frames.pop();
        Ok((plan?, frame.is_some_and(|f| f.correlated)))
    }

    fn scalar_subquery(&mut self, query: &ast::Query, block: &mut Block) -> Result<Expr> {
        match self.subquery_operand(query, block)? {
            Operand::One(value) => Ok(value),
            Operand::Row(_) => Err(Error::operand_columns(1)),
        }
    }

    fn in_subquery(&mut self, expr: &ast::Expr, query: &ast::Query, negated: bool, block: &mut Block) -> Result<Expr> {
        let left = self.operand(expr, block)?;
        let found = self.membership(left, query, block)?;
        negate(found, negated)
    }

    /// `left IN (query)`
    fn membership(&mut self, left: Operand, query: &ast::Query, block: &mut Block) -> Result<Expr> {
        refuse_limit(query)?;
        let (plan, correlated) = self.subquery_plan(query, block)?;
        let (kind, plan) = match left {
            Operand::One(operand) => {
                let (operand, plan) = comparable(operand, plan)?;
                (SubqueryKind::In { operand }, plan)
            }
            Operand::Row(items) => {
                if items.len() != plan.output().len() {
                    return Err(Error::operand_columns(items.len()));
                }
                let operands = items.into_iter().map(Operand::one).collect::<Result<_>>()?;
                (SubqueryKind::InRows { operands }, plan)
            }
        };
        Ok(block.add_subquery(subquery(kind, plan, correlated, FieldType::boolean())))
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
        let operand = match self.operand(expr, block)? {
            Operand::One(operand) => operand,
            row => {
                return match (op, all) {
                    (CompareOp::Eq, false) => self.membership(row, query, block),
                    (CompareOp::Ne, true) => negate(self.membership(row, query, block)?, true),
                    _ => Err(Error::operand_columns(1)),
                };
            }
        };
        refuse_limit(query)?;
        let (plan, correlated) = self.subquery_plan(query, block)?;
        let (operand, plan) = comparable(operand, plan)?;
        let kind = SubqueryKind::Quantified { operand, op, all };
        Ok(block.add_subquery(subquery(kind, plan, correlated, FieldType::boolean())))
    }

    /// Binds what rows must satisfy.
    pub(super) fn condition(&mut self, expr: &ast::Expr, block: &mut Block) -> Result<Expr> {
        Ok(func::condition(self.expr(expr, block)?))
    }

    /// Fails for a tree that would overflow a stack later.
    pub(super) fn check_depth(expr: Expr) -> Result<Expr> {
        if expr.depth() > levels_max() { Err(Error::too_deep()) } else { Ok(expr) }
    }

    /// Whether an item of ORDER BY or GROUP BY is a position.
    pub(super) fn position(expr: &ast::Expr) -> Option<u64> {
        match expr {
            ast::Expr::Literal(Literal::Integer(position)) => Some(*position),
            _ => None,
        }
    }
}

/// What ESCAPE names: at most one character, which does not depend on the row. NULL is as none.
fn escape_of(escape: Expr) -> Result<Option<Expr>> {
    if !escape.is_constant() {
        return Err(Error::wrong_arguments("ESCAPE"));
    }
    match &escape {
        Expr::Literal(Value::Null, _) => Ok(None),
        Expr::Literal(value, _) => match value.as_bytes() {
            Some(text) if String::from_utf8_lossy(text).chars().count() > 1 => Err(Error::wrong_arguments("ESCAPE")),
            _ => Ok(Some(escape)),
        },
        _ => Ok(Some(escape)),
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

pub(super) fn subquery(kind: SubqueryKind, plan: LogicalPlan, correlated: bool, ty: FieldType) -> Subquery {
    let output = OutputColumn { name: String::new(), table: String::new(), origin: None, ty };
    Subquery { kind, plan: Box::new(plan), correlated, output }
}

/// MySQL has no LIMIT in what a value is compared with.
fn refuse_limit(query: &ast::Query) -> Result<()> {
    match query.limit {
        Some(_) => Err(Error::unsupported("LIMIT & IN/ALL/ANY/SOME subquery")),
        None => Ok(()),
    }
}

fn only_column(plan: &LogicalPlan) -> Result<OutputColumn> {
    let mut output = plan.output();
    match output.pop() {
        Some(column) if output.is_empty() => Ok(column),
        _ => Err(Error::operand_columns(1)),
    }
}

/// Brings an operand and the one column of a subquery to the type in which MySQL compares them: to one type, if there is one
/// in which no value of either changes. Those for which there is none are compared pair by pair.
fn comparable(operand: Expr, plan: LogicalPlan) -> Result<(Expr, LogicalPlan)> {
    let column = only_column(&plan)?;
    let inner = Expr::column(0, column.ty.clone());
    let compared = Expr::call(Func::Eq, vec![operand, inner])?;
    let Expr::Call { args, .. } = compared else { return Err(Error::internal("a comparison is a call")) };
    let [operand, inner] = <[Expr; 2]>::try_from(args).map_err(|_| Error::internal("a comparison has two sides"))?;
    let (operand, inner) = match comparison_type(operand.ty(), inner.ty()) {
        Some(ty) => (as_key(operand, &ty), as_key(inner, &ty)),
        None => (operand, inner),
    };
    if matches!(inner, Expr::Column { .. }) {
        return Ok((operand, plan));
    }
    let output = vec![OutputColumn { ty: inner.ty().clone(), ..column }];
    Ok((operand, LogicalPlan::Project { input: Box::new(plan), exprs: vec![inner], output }))
}

/// The type that holds all values of two types that are stored differently, and compares them as MySQL does.
fn comparison_type(a: &FieldType, b: &FieldType) -> Option<FieldType> {
    use EvalType::{DateTime, Decimal, Duration, Int, Real};
    if a.arrow_type() == b.arrow_type() {
        return None;
    }
    Some(match (a.eval_type(), b.eval_type()) {
        (Real, Int | Decimal | Real) | (Int | Decimal, Real) => FieldType::double(),
        (Int | Decimal, Int | Decimal) => {
            let digits = |ty: &FieldType| match ty.eval_type() {
                Decimal => (ty.length.saturating_sub(u32::from(ty.decimals)), ty.decimals),
                _ => (BIGINT_DIGITS, 0),
            };
            let ((a, a_scale), (b, b_scale)) = (digits(a), digits(b));
            let scale = a_scale.max(b_scale);
            let precision = a.max(b) + u32::from(scale);
            if precision > DECIMAL_PRECISION_MAX {
                return None;
            }
            FieldType::decimal(precision, scale)
        }
        (DateTime, DateTime) => FieldType::datetime(6),
        (Duration, Duration) => FieldType::time(6),
        _ => return None,
    })
}

/// Digits of the longest BIGINT UNSIGNED.
const BIGINT_DIGITS: u32 = 20;

fn as_key(expr: Expr, ty: &FieldType) -> Expr {
    if expr.ty().arrow_type() == ty.arrow_type() { expr } else { expr.cast(ty.clone()) }
}
