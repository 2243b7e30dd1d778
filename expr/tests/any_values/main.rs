//! What must hold of every function, conversion and codec for any values and any bytes at all.
//!
//! | net | what must hold |
//! |---|---|
//! | [`every_function_agrees_with_itself`] | no panic; a row alone gives what the same row gives within a batch |
//! | [`long_texts_end_in_an_answer`] | a sign a hundred thousand times, to every function: no stack is too small, and nothing takes forever |
//! | [`every_value_converts_to_every_type`] | CAST and storing, in every mode: no panic; what was stored is stored again as it is |
//! | [`what_was_written_is_read_or_refused`] | rows, keys, index entries, expressions and contexts with bytes changed: no panic |
//!
//! Each goes on for `FUZZ_SECONDS` (2) under `FUZZ_SEED` (1); a failure prints what it was given.

mod values;

use arrow::array::{RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{DataType, Field, Schema};
use basalt_common::{IndexId, TableId, table_key};
use basalt_expr::cast::cast_value;
use basalt_expr::convert::{array_of, value_at};
use basalt_expr::func::{self, ALL};
use basalt_expr::key::{Handle, IndexPart, IndexTarget, decode_index_handle, decode_row_key, encode_index_entry};
use basalt_expr::row::{IndexDecoder, IndexLayout, RowDecoder, ScanColumn, encode_row};
use basalt_expr::store::{StoreContext, cast_for_store};
use basalt_expr::temporal::zone::TimeZone;
use basalt_expr::{ColumnarValue, EvalContext, EvalError, Expr, FieldType, Func, Value, eval, eval_row};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};
use values::{Typed, typed, types};

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Failures after which a net gives up.
const FAILURES_MAX: usize = 20;

/// Calls `f` with its own source of chance until the time is over; says what it was given where it panicked.
#[expect(clippy::disallowed_methods, reason = "measures real time")]
fn for_a_while(mut f: impl FnMut(&mut SmallRng, &mut String)) {
    let (seconds, seed) = (setting("FUZZ_SECONDS", 2), setting("FUZZ_SEED", 1));
    let mut random = SmallRng::seed_from_u64(seed);
    let mut failed = Vec::new();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(seconds) && failed.len() < FAILURES_MAX {
        let mut given = String::new();
        if std::panic::catch_unwind(AssertUnwindSafe(|| f(&mut random, &mut given))).is_err() {
            failed.push(given);
        }
    }
    assert!(failed.is_empty(), "it was given\n{}", failed.join("\n"));
}

fn contexts(random: &mut SmallRng) -> EvalContext {
    let mut context = EvalContext { now_unix_micros: 1_714_979_289_123_456, ..EvalContext::default() };
    let mode = &mut context.mode;
    for flag in
        [&mut mode.strict, &mut mode.no_zero_date, &mut mode.no_zero_in_date, &mut mode.error_for_division_by_zero]
    {
        *flag = random.random();
    }
    (mode.allow_invalid_dates, mode.time_truncate_fractional) = (random.random_bool(0.2), random.random_bool(0.2));
    let zones = ["+00:00", "-12:00", "+14:00", "Europe/Berlin", "America/St_Johns"];
    context.time_zone = TimeZone::parse(zones[random.random_range(0..zones.len())]).expect("a zone");
    context.in_write = random.random_bool(0.3);
    context
}

fn batch_of(rows: &[Vec<Typed>]) -> RecordBatch {
    let columns = rows[0].len();
    let (mut fields, mut arrays) = (Vec::new(), Vec::new());
    for at in 0..columns {
        let ty = &rows[0][at].1;
        let values: Vec<Value> = rows.iter().map(|row| row[at].0.clone()).collect();
        fields.push(ty.arrow_field(&format!("c{at}")).with_nullable(true));
        arrays.push(array_of(ty, &values).expect("values of the type"));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options).expect("columns of one length")
}

/// As many rows, of columns that have no type.
fn without_types(batch: &RecordBatch) -> RecordBatch {
    let fields: Vec<Field> = (0..batch.num_columns()).map(|_| Field::new("", DataType::Null, true)).collect();
    let arrays = fields.iter().map(|field| new_null_array(field.data_type(), batch.num_rows())).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options).expect("columns of one length")
}

/// Functions that wait, whose value is chance, or that nobody can call.
fn is_its_own(func: Func) -> bool {
    let is_inner = func.name().contains(' ') || matches!(func, Func::Cast | Func::CollateTo | Func::Weight);
    is_inner || matches!(func, Func::Sleep | Func::Benchmark | Func::Rand | Func::Uuid | Func::SysDate)
}

#[test]
fn every_function_agrees_with_itself() {
    let functions: Vec<Func> = ALL.iter().copied().filter(|func| !is_its_own(*func)).collect();
    let (mut asked, mut answered) = (0, 0);
    for_a_while(|random, given| {
        let func = functions[random.random_range(0..functions.len())];
        let first: Vec<Typed> = (0..random.random_range(0..=4)).map(|_| typed(random)).collect();
        let args = first.iter().enumerate().map(|(at, (value, ty))| match random.random_bool(0.4) {
            true => Expr::Literal(value.clone(), ty.clone()),
            false => Expr::column(at, ty.clone()),
        });
        let mut args: Vec<Expr> = args.collect();
        *given = format!("{func:?} of {args:?} over {first:?}");
        let is_list = args.len() > 1 && random.random_bool(0.05);
        let made = match is_list {
            true => func::in_list(args.remove(0), args, random.random()),
            false => Expr::call(func, args),
        };
        let Ok(expr) = made else { return };
        // A second row has NULLs where the first one has values.
        let second = first.iter().map(|(_, ty)| (Value::Null, ty.clone())).collect();
        let context = contexts(random);
        let batch = batch_of(&[first.clone(), second]);
        let row: Vec<Value> = first.iter().map(|(value, _)| value.clone()).collect();
        asked += 1;
        let alone = eval_row(&expr, &row, &EvalContext { warnings: Default::default(), ..context.clone() });
        let within = eval(&expr, &batch.slice(0, 1), &context).and_then(|value| first_of(value, expr.ty()));
        answered += usize::from(alone.is_ok());
        match (&alone, &within) {
            (Err(alone), Err(within)) => assert_eq!(alone.code(), within.code()),
            // A batch looks at all of a list, also for rows that know the answer before.
            (Ok(_), Err(_)) if is_list => {}
            _ => assert_eq!(alone, within, "alone, and within a batch"),
        }
        // A column without a type has NULLs only: so DataFusion asks which predicates let none pass.
        let nulls = batch.slice(1, 1);
        let untyped = without_types(&nulls);
        match (eval(&expr, &nulls, &context), eval(&expr, &untyped, &context)) {
            (Ok(typed), Ok(untyped)) => {
                let (typed, untyped) = (first_of(typed, expr.ty()), first_of(untyped, expr.ty()));
                assert_eq!(typed, untyped, "NULLs with and without a type");
            }
            (typed, untyped) => assert_eq!(typed.is_ok(), untyped.is_ok(), "NULLs with and without a type"),
        }
        // What fails for one row may fail for all; what does not must not because of others.
        if let (Ok(value), Ok(column)) = (&alone, eval(&expr, &batch, &context)) {
            assert_eq!(first_of(column, expr.ty()).as_ref(), Ok(value), "alone, and beside another row");
        }
    });
    assert!(answered * 4 > asked, "{answered} of {asked}");
}

fn first_of(value: ColumnarValue, ty: &FieldType) -> Result<Value, EvalError> {
    match value {
        ColumnarValue::Scalar(value) => Ok(value),
        array => {
            let array = array.into_array(ty, 1)?;
            assert_eq!(array.data_type(), &ty.arrow_type());
            value_at(array.as_ref(), ty, 0)
        }
    }
}

/// What is opened and never closed, what can be read in many ways, and what numbers and dates are made of.
const SIGNS: [&str; 20] = [
    "(", "[", "{", "(?=", "<", "a|", "a*", "%", "%a", "\\", "$", "$.", "-", "1", "9e", " ", ",", "+05:00", "%Y",
    "e\u{301}",
];

#[test]
#[expect(clippy::disallowed_methods, reason = "measures real time")]
fn long_texts_end_in_an_answer() {
    const TIMES: usize = 100_000;
    const PATIENCE: Duration = Duration::from_secs(5);
    let ask = |func: Func, args: Vec<Expr>| {
        let Ok(expr) = Expr::call(func, args) else { return false };
        // An error is an answer.
        let _ = eval_row(&expr, &[], &EvalContext::default());
        true
    };
    let mut asked = 0;
    for func in ALL.iter().copied().filter(|func| !is_its_own(*func)) {
        for (count, long) in [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)] {
            for sign in SIGNS {
                let text = |at| Expr::string(&if at == long { sign.repeat(TIMES) } else { "a".repeat(100) });
                // A stack that is too small says whose it was.
                let thread = std::thread::Builder::new().name(format!("{func:?}, {sign:?} as {long} of {count}"));
                let began = Instant::now();
                let is_asked = std::thread::scope(|scope| {
                    let asks = || ask(func, (0..count).map(text).collect());
                    thread.spawn_scoped(scope, asks).expect("a thread").join()
                });
                assert!(began.elapsed() < PATIENCE, "{func:?}, {sign:?} as {long} of {count}: {:?}", began.elapsed());
                match is_asked {
                    Ok(true) => asked += 1,
                    Ok(false) => break,
                    Err(_) => panic!("{func:?}, {sign:?} as {long} of {count}"),
                }
            }
        }
    }
    assert!(asked > 5_000, "{asked}");
}

#[test]
fn every_value_converts_to_every_type() {
    let types = types();
    for_a_while(|random, given| {
        let (value, from) = typed(random);
        let to = &types[random.random_range(0..types.len())];
        let eval = contexts(random);
        *given = format!("{value:?} of {from:?} as {to:?} in {:?}", eval.mode);
        // An error is an answer.
        let _ = cast_value(&value, &from, to, &eval);
        let context = StoreContext { eval: &eval, column: "c", row: 1, ignore: random.random() };
        let Ok(stored) = cast_for_store(&value, &from, to, &context) else { return };
        let again = cast_for_store(&stored, to, to, &context);
        assert_eq!(again.as_ref(), Ok(&stored), "stored a second time");
        let column = batch_of(&[vec![(stored.clone(), to.clone())]]);
        assert_eq!(value_at(column.column(0), to, 0).as_ref(), Ok(&stored), "as a column");
    });
}

/// Bytes with some of them changed, left out, or doubled.
fn damaged(bytes: &[u8], random: &mut SmallRng) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..random.random_range(0..4) {
        let at = random.random_range(0..=out.len());
        let to = (at + random.random_range(0..6)).min(out.len());
        match random.random_range(0..4) {
            0 => out.truncate(at),
            1 => drop(out.splice(at..to, [])),
            2 => {
                let copy = out[at..to].to_vec();
                drop(out.splice(at..at, copy));
            }
            _ => {
                if let Some(byte) = out.get_mut(at) {
                    *byte = [0, 1, 0x7f, 0x80, 0xff, random.random()][random.random_range(0..6)];
                }
            }
        }
    }
    out
}

#[test]
fn what_was_written_is_read_or_refused() {
    for_a_while(|random, given| {
        let row: Vec<Typed> = (0..random.random_range(1..6)).map(|_| typed(random)).collect();
        let stored: Vec<_> = row.iter().enumerate().map(|(id, (value, ty))| (id as u32, ty, value)).collect();
        let mut bytes = Vec::new();
        if encode_row(&stored, &mut bytes).is_err() {
            return;
        }
        let bytes = damaged(&bytes, random);
        *given = format!("{row:?} as {bytes:?}");
        let columns: Vec<_> =
            row.iter().enumerate().map(|(id, (_, ty))| ScanColumn::new(id as u32, ty.clone())).collect();
        let mut decoder = RowDecoder::new(columns, 1);
        if decoder.append(&[0; 8], &bytes).is_ok() {
            // A value that fits no column is an error here at the latest.
            let _ = decoder.finish();
        }
        read_keys(&row, random, given);
        let context = damaged(&contexts(random).encode(), random);
        *given = format!("a context: {context:?}");
        let _ = EvalContext::decode(&context);
    });
}

/// Entries of an index over the row, damaged.
fn read_keys(row: &[Typed], random: &mut SmallRng, given: &mut String) {
    let parts: Vec<IndexPart> = row.iter().map(|(_, ty)| IndexPart::whole(ty.clone())).collect();
    let values: Vec<Value> = row.iter().map(|(value, _)| value.clone()).collect();
    let (unique, integer) = (random.random(), random.random());
    let handle = match integer {
        true => Handle::Int(random.random()),
        false => match Handle::of_values(&row.iter().map(|(value, ty)| (ty, value)).collect::<Vec<_>>()) {
            Ok(handle) => handle,
            Err(_) => return,
        },
    };
    let target = IndexTarget { table: TableId(3), index: IndexId(1), unique, parts: &parts };
    let Ok(entry) = encode_index_entry(target, &values, &handle) else { return };
    assert_eq!(decode_index_handle(&entry.key, &entry.value, parts.len(), integer).as_ref(), Ok(&handle));
    let (key, value) = (damaged(&entry.key, random), damaged(&entry.value, random));
    *given = format!("{row:?}, an entry: {key:?} {value:?}");
    let _ = decode_index_handle(&key, &value, parts.len(), integer);
    let _ = decode_row_key(&key, integer);
    let layout = IndexLayout {
        columns: row.iter().enumerate().map(|(id, (_, ty))| (id as u32, ty.clone())).collect(),
        handle_columns: Vec::new(),
        integer_handle: integer,
    };
    let wanted: Vec<_> = row.iter().enumerate().map(|(id, (_, ty))| ScanColumn::new(id as u32, ty.clone())).collect();
    let Ok(mut decoder) = IndexDecoder::new(layout, wanted, 1) else { return };
    if let Ok((.., columns)) = table_key::decode(&key)
        && decoder.append(columns, &value).is_ok()
    {
        let _ = decoder.finish();
    }
}
