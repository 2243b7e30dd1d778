//! BIT_AND, BIT_OR and BIT_XOR of binary strings, byte by byte.

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use basalt_expr::aggregate::{Accumulator as Bits, AggregateFunc};
use basalt_expr::value::Value;
use basalt_expr::{EvalContext, FieldType};
use datafusion_common::{DataFusionError, Result, ScalarValue};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// See the module.
#[derive(Debug, Clone)]
pub struct BitBytes {
    func: AggregateFunc,
    ty: FieldType,
    signature: Signature,
}

impl BitBytes {
    /// The function for strings of type `ty`.
    pub fn new(func: AggregateFunc, ty: FieldType) -> Self {
        BitBytes { func, ty, signature: Signature::exact(vec![DataType::Binary], Volatility::Immutable) }
    }
}

impl PartialEq for BitBytes {
    fn eq(&self, other: &Self) -> bool {
        self.func == other.func && self.ty.length == other.ty.length
    }
}
impl Eq for BitBytes {}
impl Hash for BitBytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.func, self.ty.length).hash(state);
    }
}

impl AggregateUDFImpl for BitBytes {
    fn name(&self) -> &'static str {
        match self.func {
            AggregateFunc::BitAnd => "bit_and_bytes",
            AggregateFunc::BitOr => "bit_or_bytes",
            _ => "bit_xor_bytes",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Binary)
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let bits = Bits::new(self.func, false, &self.ty, &self.ty, None);
        Ok(Box::new(Group { bits, bytes: self.ty.length as usize, is_empty: true, context: Arc::default() }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[bits]", args.name), DataType::Binary, true))])
    }
}

struct Group {
    bits: Bits,
    bytes: usize,
    is_empty: bool,
    context: Arc<EvalContext>,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.bytes)
    }
}

impl Accumulator for Group {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(values) = values.first() else { return Ok(()) };
        for bytes in values.as_binary::<i32>().iter().flatten() {
            let added = self.bits.add(&Value::from(bytes.to_vec()), &self.context);
            added.map_err(|error| DataFusionError::External(Box::new(error)))?;
            self.is_empty = false;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let bits = self.bits.finish().map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(ScalarValue::Binary(bits.as_bytes().map(<[u8]>::to_vec)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.bytes
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![if self.is_empty { ScalarValue::Binary(None) } else { self.evaluate()? }])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }
}
