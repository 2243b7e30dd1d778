//! CAST, BINARY, COLLATE, and the weight that rows are grouped and joined by.

use super::Func;
use super::spec::{Arg, Call, Ret, Spec, text_result};
use crate::cast::cast_value;
use crate::collation::Collation;
use crate::error::{EvalError, ExprError};
use crate::expr::Expr;
use crate::types::FieldType;
use crate::value::Value;

pub(super) fn spec(func: Func) -> Option<Spec> {
    const ANY: &[Arg] = &[Arg::Any];
    Some(match func {
        // Built by infer::cast and infer::collate, which know the type.
        Func::Cast => Spec::new(1, 1, ANY, Ret::First, convert),
        Func::CollateTo => Spec::new(1, 1, ANY, Ret::First, same),
        Func::Weight => Spec::new(1, 1, ANY, Ret::Custom(type_binary), weight).total(),
        Func::Binary => Spec::new(1, 1, ANY, Ret::Custom(type_binary), convert).total(),
        _ => return None,
    })
}

fn type_binary(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    Ok(text_result(args[0].ty().display_width().saturating_mul(4), Collation::Binary))
}

fn convert(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    cast_value(&args[0], call.types[0], call.ty, call.ctx)
}

fn same(_: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    Ok(args[0].clone())
}

fn weight(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    Ok(match args[0].as_bytes() {
        Some(bytes) => Value::from(call.collation(0).weight(bytes).into_owned()),
        None => Value::from(crate::cast::to_text(&args[0], call.types[0])),
    })
}
