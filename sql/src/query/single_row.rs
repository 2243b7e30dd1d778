//! The check that a correlated scalar subquery has at most one row (error 1242), as a function over its value and count.

use crate::error::Error;
use arrow::array::AsArray;
use arrow::datatypes::{DataType, Int64Type};
use datafusion_common::{DataFusionError, Result, internal_err};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::sync::{Arc, LazyLock};

/// `value`, or error 1242 where `count` is above 1.
pub fn single_row(value: Expr, count: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(FUNCTION.clone(), vec![value, count]))
}

static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    // Not immutable: a constant argument must not fail while the plan is made.
    let signature = Signature::any(2, Volatility::Volatile);
    Arc::new(ScalarUDF::new_from_impl(SingleRow { signature }))
});

#[derive(Debug, PartialEq, Eq, Hash)]
struct SingleRow {
    signature: Signature,
}

impl ScalarUDFImpl for SingleRow {
    fn name(&self) -> &'static str {
        "single_row"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        match args {
            [value, _] => Ok(value.clone()),
            _ => internal_err!("single_row takes a value and a count"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value, count] = &args.args[..] else { return internal_err!("single_row takes a value and a count") };
        let counts = count.to_array(args.number_rows)?;
        let Some(counts) = counts.as_primitive_opt::<Int64Type>() else {
            return internal_err!("a count is an integer");
        };
        if counts.iter().flatten().any(|count| count > 1) {
            return Err(DataFusionError::External(Box::new(Error::subquery_rows())));
        }
        Ok(value.clone())
    }
}
