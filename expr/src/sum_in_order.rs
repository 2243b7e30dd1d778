//! SUM of DOUBLEs one after the other, as MySQL adds them: the sum of a batch over several lanes has other last digits.

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float64Type};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::function::AccumulatorArgs;
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility};
use datafusion_functions_aggregate::sum::sum_udaf;
use std::sync::{Arc, LazyLock};

/// See the module.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct SumInOrder {
    signature: Signature,
}

static SUM_IN_ORDER: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
    let signature = Signature::exact(vec![DataType::Float64], Volatility::Immutable);
    Arc::new(AggregateUDF::new_from_impl(SumInOrder { signature }))
});

impl SumInOrder {
    /// The function.
    pub fn udaf() -> Arc<AggregateUDF> {
        SUM_IN_ORDER.clone()
    }
}

impl AggregateUDFImpl for SumInOrder {
    fn name(&self) -> &'static str {
        "sum_in_order"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return sum_udaf().accumulator(args);
        }
        Ok(Box::new(Sum(None)))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        sum_udaf().groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        // That of groups adds row by row.
        sum_udaf().create_groups_accumulator(args)
    }
}

#[derive(Debug)]
struct Sum(Option<f64>);

impl Accumulator for Sum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        if let Some(values) = values.first() {
            for value in values.as_primitive::<Float64Type>().iter().flatten() {
                self.0 = Some(self.0.unwrap_or(0.0) + value);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(self.0))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }
}
