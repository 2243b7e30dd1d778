//! MySQL's window functions as one of DataFusion's: it partitions and sorts, everything within a partition is done here.
//!
//! DataFusion's own functions know neither collations nor MySQL's frames (its RANGE works on few types, not on strings), so
//! they are told of no frame at all; the columns that frames need travel as further arguments:
//!
//! ```text
//! arguments of the function │ ORDER BY, strings by weight │ the value that a distance is added to
//! ```

use super::window_aggregate::WindowAggregate;
use super::window_frame::Frames;
use crate::error::{Error, Result};
use crate::plan::{Frame, WindowFunc};
use arrow::array::{ArrayRef, BooleanArray, Float64Array, UInt64Array};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{partition, take};
use arrow::datatypes::{Field, FieldRef};
use basalt_expr::EvalContext;
use basalt_expr::convert::array_of;
use basalt_expr::types::FieldType;
use datafusion_common::{DataFusionError, Result as DfResult};
use datafusion_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion_expr::{PartitionEvaluator, Signature, TypeSignature, Volatility, WindowUDFImpl};
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

/// What is known of a call before its rows.
#[derive(Debug)]
pub struct Spec {
    /// The function.
    pub func: WindowFunc,
    /// Type of its first argument; NULL's when it has none.
    pub arg: FieldType,
    /// The number among the arguments of NTILE, LAG, LEAD and NTH_VALUE, which is not among the columns.
    pub count: usize,
    /// Columns of arguments.
    pub args: usize,
    /// Columns of ORDER BY.
    pub keys: usize,
    /// The frame.
    pub frame: Frame,
    /// Type and direction of the column that a distance is added to, if there is one.
    pub order: Option<(FieldType, bool)>,
    /// Type of the result.
    pub ty: FieldType,
    /// The statement.
    pub context: Arc<EvalContext>,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct WindowFunction {
    spec: Arc<Spec>,
    signature: Signature,
}

impl WindowFunction {
    /// The function of a call.
    pub fn new(spec: Spec) -> Self {
        let any = vec![TypeSignature::VariadicAny, TypeSignature::Nullary];
        WindowFunction { spec: Arc::new(spec), signature: Signature::one_of(any, Volatility::Immutable) }
    }
}

impl PartialEq for WindowFunction {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.spec, &other.spec)
    }
}
impl Eq for WindowFunction {}
impl Hash for WindowFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.spec).hash(state);
    }
}

impl WindowUDFImpl for WindowFunction {
    fn name(&self) -> &str {
        self.spec.func.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(&self, _: PartitionEvaluatorArgs<'_>) -> DfResult<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Evaluator(self.spec.clone())))
    }

    fn field(&self, args: WindowUDFFieldArgs<'_>) -> DfResult<FieldRef> {
        Ok(Arc::new(Field::new(args.name(), self.spec.ty.arrow_type(), true)))
    }
}

#[derive(Debug)]
struct Evaluator(Arc<Spec>);

impl PartitionEvaluator for Evaluator {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> DfResult<ArrayRef> {
        self.0.evaluate(values, rows).map_err(|error| DataFusionError::External(Box::new(error)))
    }
}

impl Spec {
    fn evaluate(&self, columns: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let (args, rest) = columns.split_at(self.args.min(columns.len()));
        let (keys, order) = rest.split_at(self.keys.min(rest.len()));
        let peers = peers(keys, rows)?;
        match self.func {
            WindowFunc::Aggregate(func) => {
                let mut aggregate = WindowAggregate::new(func, args.first(), &self.arg, &self.ty, &self.context)?;
                let mut frames = self.frames(rows, &peers, order)?;
                let values = (0..rows).map(|row| aggregate.over(frames.next(row))).collect::<Result<Vec<_>>>()?;
                Ok(array_of(&self.ty, &values)?)
            }
            WindowFunc::RowNumber => Ok(numbers(1..=rows as u64)),
            WindowFunc::Rank => Ok(numbers(by_peers(&peers, |_, group| group.start as u64 + 1))),
            WindowFunc::DenseRank => Ok(numbers(by_peers(&peers, |number, _| number as u64 + 1))),
            WindowFunc::PercentRank => {
                let others = rows.saturating_sub(1).max(1) as f64;
                Ok(Arc::new(by_peers(&peers, |_, group| group.start as f64 / others).collect::<Float64Array>()))
            }
            WindowFunc::CumeDist => {
                Ok(Arc::new(by_peers(&peers, |_, group| group.end as f64 / rows as f64).collect::<Float64Array>()))
            }
            WindowFunc::Ntile => Ok(numbers(tiles(rows, self.count))),
            WindowFunc::Lag | WindowFunc::Lead => self.neighbor(args, rows),
            WindowFunc::FirstValue | WindowFunc::LastValue | WindowFunc::NthValue => {
                let mut frames = self.frames(rows, &peers, order)?;
                let at = |frame: Range<usize>| match self.func {
                    WindowFunc::LastValue => frame.clone().next_back(),
                    _ => frame.clone().nth(self.count.saturating_sub(1)),
                };
                taken(args, (0..rows).map(|row| at(frames.next(row))))
            }
        }
    }

    fn frames<'a>(&'a self, rows: usize, peers: &'a [Range<usize>], order: &[ArrayRef]) -> Result<Frames<'a>> {
        let order = self.order.as_ref().zip(order.first()).map(|((ty, descending), column)| (column, ty, *descending));
        Frames::new(&self.frame, rows, peers, order)
    }

    /// LAG and LEAD: the value of another row, or the default where there is none.
    fn neighbor(&self, args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let there = |row: usize| match self.func {
            WindowFunc::Lag => row.checked_sub(self.count),
            _ => row.checked_add(self.count).filter(|there| *there < rows),
        };
        let values = taken(args, (0..rows).map(there))?;
        let Some(default) = args.get(1) else { return Ok(values) };
        let exists = (0..rows).map(|row| Some(there(row).is_some())).collect::<BooleanArray>();
        Ok(zip(&exists, &values, default).map_err(DataFusionError::from)?)
    }
}

/// The groups of rows that ORDER BY does not tell apart.
fn peers(keys: &[ArrayRef], rows: usize) -> Result<Vec<Range<usize>>> {
    if keys.is_empty() || rows == 0 {
        return Ok(std::iter::once(0..rows).collect());
    }
    Ok(partition(keys).map_err(DataFusionError::from)?.ranges())
}

/// One value a row, from the number and the rows of its group of peers.
fn by_peers<T: Clone>(peers: &[Range<usize>], value: impl Fn(usize, &Range<usize>) -> T) -> impl Iterator<Item = T> {
    peers.iter().enumerate().flat_map(move |(number, group)| std::iter::repeat_n(value(number, group), group.len()))
}

fn numbers(values: impl IntoIterator<Item = u64>) -> ArrayRef {
    Arc::new(UInt64Array::from_iter_values(values))
}

/// NTILE: the first buckets have a row more where they do not divide evenly.
fn tiles(rows: usize, buckets: usize) -> impl Iterator<Item = u64> {
    let (each, larger) = (rows / buckets.max(1), rows % buckets.max(1));
    (0..rows).map(move |row| {
        let in_larger = larger * (each + 1);
        let tile = if row < in_larger { row / (each + 1) } else { larger + (row - in_larger) / each.max(1) };
        tile as u64 + 1
    })
}

fn taken(args: &[ArrayRef], rows: impl Iterator<Item = Option<usize>>) -> Result<ArrayRef> {
    let values = args.first().ok_or_else(|| Error::Internal("a window function without argument".to_string()))?;
    let indices = rows.map(|row| row.map(|row| row as u64)).collect::<UInt64Array>();
    Ok(take(values.as_ref(), &indices, None).map_err(DataFusionError::from)?)
}
