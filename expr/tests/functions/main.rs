//! Golden scripts of expressions: each `> expression` prints its value, its type, and its warnings or error.
//!
//! Every expression runs twice: as one row of values and over a batch of three rows whose columns hold what the literals
//! say. Both must agree, so the fast kernels over arrays are checked against the row kernels.
//!
//! The notation is MySQL's, as far as a small parser goes: operators, calls, `CAST(x AS type)`, `x COLLATE name`, `IN`,
//! `BETWEEN`, `IS`, `CASE WHEN`, and `unit` names as strings. `col(x)` is a column instead of a constant.

mod parser;

use basalt_expr::temporal::zone::TimeZone;
use basalt_expr::{ColumnarValue, EvalContext, EvalError, Expr, FieldType, SessionInfo, Value};
use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;

const ROWS: usize = 3;

#[test]
fn functions() -> Result<(), Box<dyn Error>> {
    let mut failed = Vec::new();
    let mut paths: Vec<_> =
        std::fs::read_dir("testscripts/functions")?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    paths.sort();
    for path in paths {
        let result = std::panic::catch_unwind(|| goldenscript::run(&mut Runner, &path).map_err(|e| e.to_string()));
        if !matches!(result, Ok(Ok(()))) {
            failed.push(path);
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
    Ok(())
}

struct Runner;

impl goldenscript::Runner for Runner {
    type Command = goldenscript::Command;

    fn run(&mut self, command: &goldenscript::Command, _: &goldenscript::Context) -> Result<String, Box<dyn Error>> {
        let mut output = String::new();
        let (expr, columns) = match parser::parse(&command.name) {
            Ok(parsed) => parsed,
            Err(error) => return Ok(format!("{error}\n")),
        };
        let ctx = context();
        let scalar = basalt_expr::eval_row(&expr, &columns.iter().map(|c| c.0.clone()).collect::<Vec<_>>(), &ctx);
        let warnings = ctx.warnings.take();
        match &scalar {
            Ok(value) => write!(output, "{} {}", shown(value, expr.ty()), expr.ty().sql_name())?,
            Err(error) => write!(output, "error {} {error}", error.code())?,
        }
        if expr.ty().not_null {
            output.push_str(" not null");
        }
        for warning in warnings {
            write!(output, "\n  warning {} {}", warning.code, warning.message)?;
        }
        let batch = over_batch(&expr, &columns);
        if batch != scalar {
            write!(output, "\n  OVER A BATCH {batch:?}")?;
        }
        output.push('\n');
        Ok(output)
    }
}

fn context() -> EvalContext {
    let session = SessionInfo {
        database: Some("test".into()),
        user: "root@localhost".into(),
        connection_id: 7,
        last_insert_id: 42,
        ..SessionInfo::default()
    };
    EvalContext {
        session: Arc::new(session),
        time_zone: TimeZone::parse("+02:00").expect("an offset"),
        // 2024-05-06 07:08:09.123456 UTC
        now_unix_micros: 1_714_979_289_123_456,
        ..EvalContext::default()
    }
}

fn shown(value: &Value, ty: &FieldType) -> String {
    match value {
        Value::Null => "NULL".into(),
        Value::Bytes(bytes) => format!("x'{}'", bytes.iter().map(|b| format!("{b:02X}")).collect::<String>()),
        Value::String(text) => format!("'{text}'"),
        _ => {
            let mut out = Vec::new();
            basalt_expr::cell::format_value(ty, value, &mut out);
            String::from_utf8_lossy(&out).into_owned()
        }
    }
}

fn over_batch(expr: &Expr, columns: &[(Value, FieldType)]) -> Result<Value, EvalError> {
    use arrow::array::{RecordBatch, RecordBatchOptions};
    let mut fields = Vec::new();
    let mut arrays = Vec::new();
    for (index, (value, ty)) in columns.iter().enumerate() {
        fields.push(ty.arrow_field(&format!("c{index}")).with_nullable(true));
        arrays.push(basalt_expr::convert::array_of(ty, &vec![value.clone(); ROWS])?);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(ROWS));
    let schema = Arc::new(arrow::datatypes::Schema::new(fields));
    let batch = RecordBatch::try_new_with_options(schema, arrays, &options)?;
    match basalt_expr::eval(expr, &batch, &context())? {
        ColumnarValue::Scalar(value) => Ok(value),
        array => {
            let array = array.into_array(expr.ty(), ROWS)?;
            assert_eq!(array.data_type(), &expr.ty().arrow_type());
            basalt_expr::convert::value_at(array.as_ref(), expr.ty(), ROWS - 1)
        }
    }
}
