//! The aggregate that says which string stands for a group: the one of the row that was met first.
//!
//! Groups are made of strings by weight ([`crate::datafusion::lower_key`]), so a group holds strings of different bytes.
//! Of several columns the first row's values are taken together, hence always a row that exists. NULLs group apart: within
//! a group either all of a column's strings are NULL, or none is.
//!
//! A partial step in storage and a final one above run the same code: its state is the string.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, Expr, GroupsAccumulator, Signature, Volatility,
};
use std::sync::{Arc, LazyLock};

/// Its name in plans.
pub const FIRST_ROW_NAME: &str = "first_row";

/// See the module.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct FirstRow {
    signature: Signature,
}

static FIRST_ROW: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
    let signature = Signature::exact(vec![DataType::Utf8], Volatility::Immutable);
    Arc::new(AggregateUDF::new_from_impl(FirstRow { signature }))
});

impl FirstRow {
    /// The function.
    pub fn udaf() -> Arc<AggregateUDF> {
        FIRST_ROW.clone()
    }

    /// The function over a string.
    pub fn call(string: Expr) -> Expr {
        FIRST_ROW.call(vec![string])
    }
}

impl AggregateUDFImpl for FirstRow {
    fn name(&self) -> &'static str {
        FIRST_ROW_NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(One(None)))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[first]", args.name), DataType::Utf8, true))])
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs<'_>) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Many { strings: Vec::new(), bytes: 0 }))
    }
}

/// Of one group.
#[derive(Debug)]
struct One(Option<String>);

impl Accumulator for One {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        if let (None, Some(values)) = (&self.0, values.first()) {
            self.0 = values.as_string::<i32>().iter().flatten().next().map(str::to_string);
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Utf8(self.0.clone()))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.0.as_ref().map_or(0, String::capacity)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }
}

/// Of all groups of an operator.
#[derive(Debug)]
struct Many {
    strings: Vec<Option<Box<str>>>,
    bytes: usize,
}

impl GroupsAccumulator for Many {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total_groups: usize,
    ) -> Result<()> {
        self.strings.resize(total_groups, None);
        let Some(values) = values.first() else { return Ok(()) };
        let values = values.as_string::<i32>();
        for (row, &group) in groups.iter().enumerate() {
            let wanted = filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            if wanted && self.strings[group].is_none() && values.is_valid(row) {
                let string = values.value(row);
                self.bytes += string.len();
                self.strings[group] = Some(string.into());
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let strings = emit_to.take_needed(&mut self.strings);
        self.bytes -= strings.iter().flatten().map(|string| string.len()).sum::<usize>();
        Ok(Arc::new(StringArray::from_iter(strings)))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(emit_to)?])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total_groups: usize) -> Result<()> {
        self.update_batch(values, groups, None, total_groups)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let Some(filter) = filter else { return Ok(values.to_vec()) };
        let nulled = |values: &ArrayRef| {
            let rows = values.as_string::<i32>().iter().zip(filter.iter());
            let kept = rows.map(|(value, wanted)| value.filter(|_| wanted == Some(true)));
            Arc::new(StringArray::from_iter(kept)) as ArrayRef
        };
        Ok(values.iter().map(nulled).collect())
    }

    fn size(&self) -> usize {
        self.strings.capacity() * size_of::<Option<Box<str>>>() + self.bytes
    }
}
