//! MySQL expressions inside DataFusion's plans.
//!
//! Two ways down, chosen node by node:
//! - what DataFusion means exactly as MySQL does, and what its optimizer wants to see (columns, constants, AND, OR, NOT,
//!   IS NULL, comparisons of one type), becomes its own expressions, so that equalities become hash joins and filters move;
//! - everything else, a whole subtree at once, becomes one call of [`MySqlFunction`], which runs our own kernels over the
//!   columns that the subtree reads.
//!
//! ```text
//! a = 1 AND concat(b, 'x') LIKE c       a = 1 AND mysql[like(concat(#0, 'x'), #1)](b, c)
//! ```
//! A predicate is a Boolean here and an integer 0 or 1 in MySQL: [`lower_predicate`] gives the former, [`lower`] the latter.
//!
//! Strings and doubles compare by weight. An equality of two columns becomes an equality of their weights, which can be a join key;
//! other comparisons of strings stay calls. [`lower_key`] is what to group and sort by.
//!
//! Invariant: both sides of a native operator have the same Arrow type, so DataFusion's coercion finds nothing to do.

use crate::context::EvalContext;
use crate::convert::array_of;
use crate::error::{EvalError, ExprError};
use crate::eval::{ColumnarValue as Evaluated, eval, eval_scalar};
use crate::expr::Expr;
use crate::func::growth::{Growth, made};
use crate::func::{Func, Volatility as FuncVolatility};
use crate::slices::{LONG_BYTES, SliceRows};
use crate::types::{EvalType, FieldType};
use crate::value::Value;
use crate::wire::{decode_expr, encode_expr};
use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::concat;
use arrow::compute::kernels::cmp::neq;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion_common::{DataFusionError, Result as DfResult, ScalarValue, internal_err, plan_err};
use datafusion_expr::expr::{InList, ScalarFunction};
use datafusion_expr::{
    BinaryExpr, Cast, ColumnarValue, Expr as DfExpr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    TypeSignature, Volatility,
};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// The name that all calls go by in plans.
pub const FUNCTION_NAME: &str = "mysql";

/// Nodes and levels of a condition that DataFusion sees as they are.
const NATIVE_NODES_MAX: usize = 2_000;
const NATIVE_DEPTH_MAX: usize = 32;
/// A longer function goes by a number: plans ask for names again and again.
const NAMED_BYTES_MAX: usize = 4096;

/// What lowering needs to know of its surroundings.
#[derive(Clone, Copy)]
pub struct Lowering<'a> {
    /// DataFusion's expression for a column of ours.
    pub columns: &'a dyn Fn(usize) -> Result<DfExpr, ExprError>,
    /// The statement; its parameters become constants.
    pub context: &'a Arc<EvalContext>,
}

/// Lowers a value; its Arrow type is `expr.ty().arrow_type()`.
///
/// # Errors
/// [`ExprError`] when a constant cannot be calculated or a column is not there.
pub fn lower(expr: &Expr, with: Lowering<'_>) -> Result<DfExpr, ExprError> {
    match expr {
        Expr::Column { index, .. } => (with.columns)(*index),
        Expr::Literal(value, ty) => literal(value, ty),
        Expr::Parameter { .. } => {
            let value = eval_scalar(&expr.clone(), with.context)?;
            literal(&value, expr.ty())
        }
        _ if is_native_predicate(expr) => {
            let predicate = lower_predicate(expr, with)?;
            Ok(DfExpr::Cast(Cast::new(Box::new(predicate), expr.ty().arrow_type())))
        }
        _ => call(expr, false, with),
    }
}

/// Lowers a condition to a Boolean with MySQL's three values.
///
/// # Errors
/// As [`lower`].
pub fn lower_predicate(expr: &Expr, with: Lowering<'_>) -> Result<DfExpr, ExprError> {
    if is_small(expr) { native_predicate(expr, with) } else { large_predicate(expr, with) }
}

/// Whether DataFusion may see every node: its rules look at each many times, and a fragment's message has a depth.
fn is_small(expr: &Expr) -> bool {
    fn fits(expr: &Expr, nodes: &mut usize, depth: usize) -> bool {
        *nodes += 1;
        let inside = *nodes <= NATIVE_NODES_MAX && depth <= NATIVE_DEPTH_MAX;
        inside && expr.children().into_iter().all(|child| fits(child, nodes, depth + 1))
    }
    fits(expr, &mut 0, 1)
}

/// A condition of very many parts: one function for all that is asked of the same columns. Equalities of columns stay
/// apart, for joins.
fn large_predicate(expr: &Expr, with: Lowering<'_>) -> Result<DfExpr, ExprError> {
    let mut groups: Vec<(Vec<usize>, Vec<Expr>)> = Vec::new();
    let mut places: HashMap<Vec<usize>, usize> = HashMap::new();
    let mut parts = Vec::new();
    for conjunct in expr.clone().conjuncts() {
        let is_join = matches!(&conjunct, Expr::Call { func: Func::Eq | Func::NullSafeEq, args, .. }
            if args.iter().all(|arg| matches!(arg, Expr::Column { .. })));
        if is_join {
            parts.push(native_predicate(&conjunct, with)?);
            continue;
        }
        let columns = conjunct.columns();
        let place = *places.entry(columns.clone()).or_insert(groups.len());
        match groups.get_mut(place) {
            Some((_, conjuncts)) => conjuncts.push(conjunct),
            None => groups.push((columns, vec![conjunct])),
        }
    }
    for (_, mut conjuncts) in groups {
        let whole = match conjuncts.len() {
            1 => conjuncts.remove(0),
            _ => Expr::Call { func: Func::And, args: conjuncts, ty: FieldType::boolean() },
        };
        parts.push(if is_small(&whole) { native_predicate(&whole, with)? } else { call(&whole, true, with)? });
    }
    Ok(joined(parts, Operator::And))
}

/// Predicates joined in a tree of logarithmic depth, in their order.
fn joined(mut parts: Vec<DfExpr>, op: Operator) -> DfExpr {
    while parts.len() > 1 {
        let mut next = Vec::with_capacity(parts.len().div_ceil(2));
        let mut iter = parts.into_iter();
        while let Some(left) = iter.next() {
            next.push(match iter.next() {
                Some(right) => binary(left, op, right),
                None => left,
            });
        }
        parts = next;
    }
    parts.pop().unwrap_or(DfExpr::Literal(ScalarValue::Boolean(Some(op == Operator::And)), None))
}

fn native_predicate(expr: &Expr, with: Lowering<'_>) -> Result<DfExpr, ExprError> {
    match expr {
        Expr::Literal(..) | Expr::Parameter { .. } => {
            let value = truth_of(&eval_scalar(expr, with.context)?);
            Ok(DfExpr::Literal(ScalarValue::Boolean(value), None))
        }
        Expr::Call { func, args, .. } => match (func, &args[..]) {
            (Func::And | Func::Or, args) if args.iter().any(reads_only_row) => call(expr, true, with),
            (Func::And, args) => fold_logic(args, Operator::And, with),
            (Func::Or, args) => fold_logic(args, Operator::Or, with),
            (Func::Not, [arg]) => Ok(DfExpr::Not(Box::new(native_predicate(arg, with)?))),
            (Func::IsNull, [arg]) => Ok(DfExpr::IsNull(Box::new(lower(arg, with)?))),
            (Func::IsNotNull, [arg]) => Ok(DfExpr::IsNotNull(Box::new(lower(arg, with)?))),
            (Func::Between, [value, low, high]) if is_native_pair(value, low) && is_native_pair(value, high) => {
                let from = comparison(value, Operator::GtEq, low, with)?;
                let to = comparison(value, Operator::LtEq, high, with)?;
                Ok(binary(from, Operator::And, to))
            }
            (func, [left, right]) => match operator(*func) {
                Some(op) if is_native_pair(left, right) || op == Operator::Eq && is_weight_join(left, right) => {
                    comparison(left, op, right, with)
                }
                _ => call(expr, true, with),
            },
            _ => call(expr, true, with),
        },
        Expr::InList { expr: needle, list, negated, .. } => match &list[..] {
            [item] if !negated && is_native_pair(needle, item) => comparison(needle, Operator::Eq, item, with),
            // Of constants only: DataFusion makes one list of two, and looks for equal items by how they are written. Without
            // NULL: what `IN (1, 2)` and `NOT IN (1, NULL)` have in common it calculates without it.
            list if list.iter().all(|item| item.is_constant() && same_plain_type(needle, item)) => {
                let items = list.iter().map(|item| lower(item, with)).collect::<Result<Vec<_>, _>>()?;
                if items.iter().any(|item| matches!(item, DfExpr::Literal(value, _) if value.is_null())) {
                    return call(expr, true, with);
                }
                Ok(DfExpr::InList(InList::new(Box::new(lower(needle, with)?), items, *negated)))
            }
            _ => call(expr, true, with),
        },
        Expr::Column { ty, .. } if ty.is_integer() => {
            let zero = literal(&if ty.unsigned { Value::UInt(0) } else { Value::Int(0) }, ty)?;
            Ok(binary(lower(expr, with)?, Operator::NotEq, zero))
        }
        _ => call(expr, true, with),
    }
}

/// Lowers what rows are grouped, sorted or made distinct by: strings become their weights.
///
/// # Errors
/// As [`lower`].
pub fn lower_key(expr: &Expr, with: Lowering<'_>) -> Result<DfExpr, ExprError> {
    if has_weight(expr.ty()) { lower(&weight_of(expr), with) } else { lower(expr, with) }
}

/// True for types whose equal values may differ in bytes: texts, and doubles, of which zero has two signs.
pub fn has_weight(ty: &FieldType) -> bool {
    is_text(ty) || ty.eval_type() == EvalType::Real
}

fn is_text(ty: &FieldType) -> bool {
    ty.is_string() && !ty.is_binary_string()
}

fn weight_of(expr: &Expr) -> Expr {
    let ty = if is_text(expr.ty()) { FieldType::varbinary(u32::from(u16::MAX)) } else { FieldType::double() };
    let ty = FieldType { not_null: expr.ty().not_null, ..ty };
    Expr::Call { func: Func::Weight, args: vec![expr.clone()], ty }
}

/// A constant of a MySQL type.
///
/// # Errors
/// [`ExprError`] when the value is not of the type.
pub fn literal(value: &Value, ty: &FieldType) -> Result<DfExpr, ExprError> {
    Ok(DfExpr::Literal(scalar(value, ty)?, None))
}

fn scalar(value: &Value, ty: &FieldType) -> Result<ScalarValue, ExprError> {
    let array = array_of(ty, std::slice::from_ref(value))?;
    ScalarValue::try_from_array(&array, 0).map_err(|e| EvalError::Internal(e.to_string()).into())
}

fn truth_of(value: &Value) -> Option<bool> {
    match value {
        Value::Null => None,
        Value::Int(v) | Value::Time(v) => Some(*v != 0),
        Value::UInt(v) => Some(*v != 0),
        Value::Double(v) => Some(*v != 0.0),
        Value::Decimal(v) => Some(!v.is_zero()),
        Value::DateTime(v) => Some(v.0 != 0),
        other => Some(crate::cast::to_f64_quiet(other) != 0.0),
    }
}

fn binary(left: DfExpr, op: Operator, right: DfExpr) -> DfExpr {
    DfExpr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
}

/// A comparison, a constant behind what it is compared with: `c = 3` and `3 = c` contradict each other to DataFusion, and of
/// `c >= 3` and `3 < c` it keeps the first.
fn comparison(left: &Expr, op: Operator, right: &Expr, with: Lowering<'_>) -> Result<DfExpr, ExprError> {
    let lowered = |expr: &Expr| if is_weight_join(left, right) { lower_key(expr, with) } else { lower(expr, with) };
    Ok(match op.swap().filter(|_| left.is_constant() && !right.is_constant()) {
        Some(swapped) => binary(lowered(right)?, swapped, lowered(left)?),
        None => binary(lowered(left)?, op, lowered(right)?),
    })
}

fn fold_logic(args: &[Expr], op: Operator, with: Lowering<'_>) -> Result<DfExpr, ExprError> {
    let args = args.iter().map(|arg| native_predicate(arg, with)).collect::<Result<_, _>>()?;
    Ok(joined(args, op))
}

/// Whether a part must not run for rows that another decides: DataFusion's AND and OR may look at all.
fn reads_only_row(expr: &Expr) -> bool {
    let mut found = false;
    expr.visit(&mut |node| found |= matches!(node, Expr::Call { func: Func::OnlyRow, .. }));
    found
}

fn operator(func: Func) -> Option<Operator> {
    Some(match func {
        Func::Eq => Operator::Eq,
        Func::NullSafeEq => Operator::IsNotDistinctFrom,
        Func::Ne => Operator::NotEq,
        Func::Lt => Operator::Lt,
        Func::Le => Operator::LtEq,
        Func::Gt => Operator::Gt,
        Func::Ge => Operator::GtEq,
        _ => return None,
    })
}

/// Both sides are of one Arrow type, whose order is MySQL's.
fn same_plain_type(left: &Expr, right: &Expr) -> bool {
    let (left, right) = (left.ty(), right.ty());
    left.arrow_type() == right.arrow_type()
        && left.eval_type() == right.eval_type()
        // Arrow tells -0.0 from 0.0.
        && !matches!(left.eval_type(), EvalType::Null | EvalType::Real)
        && !has_weight(left)
        && !has_weight(right)
}

/// Two sides that DataFusion may compare itself. Not `f(c)` and `c`: of equal sides it puts one wherever the other stands,
/// and so on within what it put there, until a window no longer finds the order of its partitions.
fn is_native_pair(left: &Expr, right: &Expr) -> bool {
    let is_within = |part: &Expr, whole: &Expr| match (part, whole) {
        (Expr::Column { index, .. }, Expr::Call { .. } | Expr::Case { .. }) => whole.columns().contains(index),
        _ => false,
    };
    same_plain_type(left, right) && !is_within(left, right) && !is_within(right, left)
}

fn is_weight_join(left: &Expr, right: &Expr) -> bool {
    let both_texts = is_text(left.ty()) && is_text(right.ty()) && left.ty().collation == right.ty().collation;
    let both_reals = [left, right].iter().all(|side| side.ty().eval_type() == EvalType::Real);
    (both_texts || both_reals) && !left.is_constant() && !right.is_constant()
}

fn is_native_predicate(expr: &Expr) -> bool {
    match expr {
        Expr::Call { func, args, .. } => match (func, &args[..]) {
            (Func::And | Func::Or | Func::Not | Func::IsNull | Func::IsNotNull, _) => true,
            (func, [left, right]) => operator(*func).is_some() && is_native_pair(left, right),
            _ => false,
        },
        _ => false,
    }
}

/// One call for a whole subtree, over the columns that it reads.
fn call(expr: &Expr, predicate: bool, with: Lowering<'_>) -> Result<DfExpr, ExprError> {
    let expr = with_parameters(expr, with.context)?;
    let columns = expr.columns();
    let args = columns.iter().map(|&column| (with.columns)(column)).collect::<Result<Vec<_>, _>>()?;
    let position = |index: usize| columns.binary_search(&index).unwrap_or(index);
    let function = MySqlFunction::new(expr.map_columns(&position), predicate, with.context.clone());
    Ok(DfExpr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::new_from_impl(function)), args)))
}

fn with_parameters(expr: &Expr, context: &EvalContext) -> Result<Expr, ExprError> {
    expr.clone().transform(&mut |node| match node {
        Expr::Parameter { ref ty, .. } => {
            let value = eval_scalar(&node, context)?;
            Ok(Expr::Literal(value, ty.clone()))
        }
        other => Ok(other),
    })
}

/// A MySQL expression as a function of the columns that it reads.
pub struct MySqlFunction {
    expr: Expr,
    /// Gives a Boolean rather than a value.
    predicate: bool,
    context: Arc<EvalContext>,
    payload: Vec<u8>,
    /// Of the payload, which may be long: plans hash and compare it at every turn.
    hash: u64,
    signature: Signature,
    /// Rows to evaluate at a time, of what may make long strings.
    slices: Option<SliceRows>,
}

impl MySqlFunction {
    /// A function of `n` arguments for an expression over the columns `0..n`.
    pub fn new(expr: Expr, predicate: bool, context: Arc<EvalContext>) -> Self {
        let mut payload = vec![u8::from(predicate)];
        encode_expr(&expr, &mut payload);
        let mut volatility = Volatility::Immutable;
        let mut is_long = false;
        expr.visit(&mut |node| {
            is_long |= makes_long(node);
            if let Expr::Call { func, .. } = node {
                let own = match func.volatility() {
                    FuncVolatility::Immutable => Volatility::Immutable,
                    FuncVolatility::Stable => Volatility::Stable,
                    FuncVolatility::Volatile => Volatility::Volatile,
                };
                volatility = volatility.max(own);
            }
        });
        // NOW() and its like read no column.
        let signature = Signature::one_of(vec![TypeSignature::VariadicAny, TypeSignature::Nullary], volatility);
        let mut hasher = DefaultHasher::new();
        payload.hash(&mut hasher);
        let slices = (is_long && volatility != Volatility::Volatile).then(|| SliceRows::starting(1));
        MySqlFunction { expr, predicate, context, payload, hash: hasher.finish(), signature, slices }
    }

    /// The expression.
    pub fn expr(&self) -> &Expr {
        &self.expr
    }

    /// Whether what it gives or goes through may be long strings.
    pub(crate) fn may_be_long(&self) -> bool {
        self.slices.is_some()
    }

    /// What [`decode_function`] reads.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    fn return_data_type(&self) -> DataType {
        if self.predicate { DataType::Boolean } else { self.expr.ty().arrow_type() }
    }

    /// Evaluates some rows, and learns what that came to.
    fn slice(&self, batch: &RecordBatch, slices: &SliceRows) -> Result<Evaluated, EvalError> {
        let before = made();
        let result = eval(&self.expr, batch, &self.context)?;
        slices.learn(batch.num_rows(), usize::try_from(made().wrapping_sub(before)).unwrap_or(usize::MAX));
        Ok(result)
    }

    /// Evaluates a few rows at a time. See [`crate::slices`].
    fn in_slices(&self, batch: &RecordBatch, slices: &SliceRows) -> Result<Evaluated, EvalError> {
        let mut parts = Vec::new();
        let mut growth = Growth::default();
        let mut done = 0;
        while done < batch.num_rows() {
            let rows = slices.get().min(batch.num_rows() - done);
            let part = self.slice(&batch.slice(done, rows), slices)?.into_array(self.expr.ty(), rows)?;
            if self.expr.ty().is_string() {
                growth.add(part.get_buffer_memory_size())?;
            }
            parts.push(part);
            done += rows;
        }
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        Ok(Evaluated::Array(concat(&parts)?))
    }

    fn run(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant && self.signature.volatility != Volatility::Volatile { 1 } else { args.number_rows };
        let arrays = args.args.into_iter().map(|arg| arg.into_array(rows)).collect::<DfResult<Vec<_>>>()?;
        let fields: Vec<_> = arrays.iter().map(|array| Field::new("", array.data_type().clone(), true)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)?;
        let result = match &self.slices {
            Some(slices) if slices.get() < rows => self.in_slices(&batch, slices),
            Some(slices) => self.slice(&batch, slices),
            None => eval(&self.expr, &batch, &self.context),
        };
        let result = result.map_err(external)?;
        let array = match (result, self.predicate) {
            (Evaluated::Scalar(value), true) => {
                return Ok(ColumnarValue::Scalar(ScalarValue::Boolean(truth_of(&value))));
            }
            (Evaluated::Scalar(value), false) => {
                let value = scalar(&value, self.expr.ty()).map_err(|e| DataFusionError::External(Box::new(e)))?;
                return Ok(ColumnarValue::Scalar(value));
            }
            (Evaluated::Array(array), true) => truth(&array)?,
            (Evaluated::Array(array), false) => array,
        };
        if constant && rows == 1 && array.len() == 1 {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?));
        }
        Ok(ColumnarValue::Array(array))
    }
}

/// True for nodes that make strings of their own, so long that a batch of them is too much.
fn makes_long(node: &Expr) -> bool {
    // Characters of up to four bytes.
    let is_long = node.ty().is_string() && node.ty().length as usize > LONG_BYTES / 4;
    match node {
        // As long as what it weighs.
        Expr::Call { func: Func::Weight, .. } => false,
        Expr::Call { .. } | Expr::Case { .. } => is_long,
        _ => false,
    }
}

fn external(error: EvalError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

fn truth(array: &ArrayRef) -> DfResult<ArrayRef> {
    let zero = match array.data_type() {
        DataType::Boolean => return Ok(array.clone()),
        DataType::Null => return ScalarValue::Boolean(None).to_array_of_size(array.len()),
        DataType::Int64
        | DataType::UInt64
        | DataType::Float64
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => ScalarValue::new_zero(array.data_type())?,
        other => return plan_err!("{other} is no condition"),
    };
    Ok(Arc::new(neq(array, &zero.to_scalar()?)?))
}

impl std::fmt::Debug for MySqlFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{FUNCTION_NAME}[{}]", crate::describe::describe(&self.expr, &|i| format!("#{i}")))
    }
}

impl PartialEq for MySqlFunction {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.payload == other.payload
    }
}
impl Eq for MySqlFunction {}
impl Hash for MySqlFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

impl ScalarUDFImpl for MySqlFunction {
    fn name(&self) -> &'static str {
        FUNCTION_NAME
    }

    fn schema_name(&self, args: &[DfExpr]) -> DfResult<String> {
        let name = |i: usize| args.get(i).map_or_else(|| format!("#{i}"), |arg| arg.schema_name().to_string());
        // Where projections become one, `x + x` stands for a calculation twice: written out, n of them are 2^n long.
        let is_nested = args.iter().any(|arg| !matches!(arg, DfExpr::Column(_) | DfExpr::OuterReferenceColumn(..)));
        if is_nested || self.payload.len() > NAMED_BYTES_MAX {
            let args: Vec<_> = (0..args.len()).map(name).collect();
            return Ok(format!("{FUNCTION_NAME}[#{:016x}]({})", self.hash, args.join(", ")));
        }
        Ok(crate::describe::describe(&self.expr, &name))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.return_data_type())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        self.run(args)
    }
}

/// The function of a payload, to run in the surroundings of `context`.
///
/// # Errors
/// When the payload is not one that this version knows.
pub fn decode_function(payload: &[u8], context: &Arc<EvalContext>) -> DfResult<Arc<ScalarUDF>> {
    let Some((&predicate, expr)) = payload.split_first() else { return internal_err!("a function without payload") };
    let expr = decode_expr(expr).map_err(|e| DataFusionError::Plan(format!("function in a fragment: {e}")))?;
    let function = MySqlFunction::new(expr, predicate != 0, context.clone());
    Ok(Arc::new(ScalarUDF::new_from_impl(function)))
}
