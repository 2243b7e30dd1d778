//! Values of every type, by chance: those at which things break rather than those that are common.

use basalt_expr::collation::Collation;
use basalt_expr::store::{StoreContext, cast_for_store};
use basalt_expr::temporal::{DateTime, Fields, TIME_MAX};
use basalt_expr::{Decimal, EvalContext, FieldType, SqlMode, TypeKind, Value};
use rand::Rng;
use rand::rngs::SmallRng;

/// A value and its type.
pub type Typed = (Value, FieldType);

const NUMBERS: &[i64] = &[
    0,
    1,
    -1,
    2,
    7,
    10,
    59,
    60,
    100,
    127,
    128,
    255,
    256,
    999,
    65_535,
    65_536,
    20_240_229,
    20_230_229,
    991_231,
    101,
    -128,
    235_959,
    2_359_599,
    8_385_959,
    8_385_960,
    20_240_229_235_959,
    1 << 31,
    (1 << 31) - 1,
    -(1 << 31),
    1 << 53,
    i64::MAX,
    i64::MIN,
];
const TEXTS: &[&str] = &[
    "",
    " ",
    "a",
    "A",
    "a ",
    "é",
    "e\u{301}",
    "ß",
    "SS",
    "日本",
    "😀",
    "\u{ffff}",
    "%",
    "_",
    "\\",
    "a%b_c",
    "0",
    "-0",
    "1",
    "1.5",
    "-1e3",
    "1e400",
    "-1e-400",
    "9223372036854775808",
    "18446744073709551616",
    "0x1F",
    " 12abc",
    "1,2,3",
    "a,b,é",
    "true",
    "2024-02-29",
    "2023-02-29",
    "2024-02-29 23:59:59.9999999",
    "0000-00-00",
    "9999-12-31 23:59:59",
    "24:00:00",
    "-838:59:59",
    "839:00:00",
    "1 2:3:4",
    "2024-02-29T12:00:00+14:00",
    "12:34:56.789",
    "+02:00",
    "Europe/Berlin",
    "YEAR_MONTH",
    "DAY",
    "MICROSECOND",
    "%Y-%m-%d %H:%i:%s.%f",
    "%W %M %%",
    "(a|b)*",
    "[",
    "a{1,1000}",
    "(?i)A",
    "utf8mb4_bin",
    "latin1",
    "10:11:12",
    "1-1",
    "0.1",
    "99999999999999999999999999999999999999999999999999999999999999999.9",
    "\0",
    "\u{1}\u{7f}",
    "aGk=",
    "4D5A",
    "DATE",
    "EUR",
    "de_DE",
];

/// Column types: every kind, with the collations and digits at which rules change.
pub fn types() -> Vec<FieldType> {
    use TypeKind::*;
    let mut out = vec![FieldType::bigint(), FieldType::bigint_unsigned(), FieldType::double(), FieldType::boolean()];
    out.extend([Tiny, Short, Int24, Long, Float, Year, Date, Timestamp, Text, Blob].map(FieldType::new));
    out.extend([Tiny, Short, Int24, Long].map(|kind| FieldType { unsigned: true, ..FieldType::new(kind) }));
    out.extend([(1, 0), (10, 2), (30, 30), (65, 0), (65, 30)].map(|(digits, scale)| FieldType::decimal(digits, scale)));
    for fsp in [0, 3, 6] {
        out.extend([FieldType::datetime(fsp), FieldType::time(fsp)]);
        out.push(FieldType { decimals: fsp, ..FieldType::new(Timestamp) });
    }
    out.extend([1, 8, 64].map(|length| FieldType { length, unsigned: true, ..FieldType::new(Bit) }));
    out.extend([0, 1, 20].map(FieldType::varbinary));
    for collation in Collation::all().into_iter().filter(|collation| *collation != Collation::Binary) {
        out.push(FieldType::varchar(20).with_collation(collation));
    }
    out.extend([FieldType::varchar(1), FieldType { length: 3, ..FieldType::new(Char) }]);
    out
}

/// Any value as it comes in: a number, a text, bytes, a moment.
fn raw(random: &mut SmallRng) -> Typed {
    let number = NUMBERS[random.random_range(0..NUMBERS.len())];
    match random.random_range(0..9) {
        0 => (Value::Null, FieldType::null()),
        1 => (Value::Int(number), FieldType::bigint()),
        2 => (Value::UInt(number as u64), FieldType::bigint_unsigned()),
        3 => {
            let value = number as f64 * [1.0, 0.125, 1e-300, 1e280][random.random_range(0..4)];
            (Value::Double(value), FieldType::double())
        }
        4 => {
            let scale = random.random_range(0..=20);
            (Value::Decimal(Decimal::new(i128::from(number), scale)), FieldType::decimal(40, scale))
        }
        5 => {
            let bytes = (0..random.random_range(0..9)).map(|_| random.random()).collect::<Vec<u8>>();
            (Value::from(bytes), FieldType::varbinary(20))
        }
        6 => (Value::DateTime(moment(random)), FieldType::datetime(6)),
        7 => (Value::Time(number % TIME_MAX), FieldType::time(6)),
        _ => (Value::from(TEXTS[random.random_range(0..TEXTS.len())]), FieldType::varchar(100)),
    }
}

/// Days that are none, too.
fn moment(random: &mut SmallRng) -> DateTime {
    let any = |of: &[u32], random: &mut SmallRng| of[random.random_range(0..of.len())];
    let fields = Fields {
        year: any(&[0, 1, 1969, 1970, 2000, 2023, 2024, 2038, 9999], random),
        month: any(&[0, 1, 2, 3, 10, 12], random),
        day: any(&[0, 1, 19, 27, 28, 29, 30, 31], random),
        hour: any(&[0, 1, 2, 3, 23], random),
        minute: any(&[0, 30, 59], random),
        second: any(&[0, 7, 59], random),
        micro: any(&[0, 1, 499_999, 500_000, 999_999], random),
    };
    fields.pack()
}

/// A value that a column of its type can hold.
pub fn typed(random: &mut SmallRng) -> Typed {
    let (value, from) = raw(random);
    if value.is_null() && random.random_bool(0.3) {
        return (value, from);
    }
    let types = types();
    let to = types[random.random_range(0..types.len())].clone();
    let mode = SqlMode { strict: false, no_zero_date: false, no_zero_in_date: false, ..SqlMode::default() };
    let eval = EvalContext { mode, ..EvalContext::default() };
    let context = StoreContext { eval: &eval, column: "c", row: 1, ignore: true };
    match cast_for_store(&value, &from, &to, &context) {
        Ok(value) => (value, to),
        Err(_) => (Value::Null, to),
    }
}
