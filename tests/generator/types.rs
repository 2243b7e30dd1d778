//! Column types, and literals that fit them: few values, so that rows meet, and the ends of every range.

use crate::dice::Dice;
use crate::peer::Dialect;

/// What an expression is, as far as the generator cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Integers, truth, YEAR and BIT among them.
    Int,
    /// DECIMAL.
    Decimal,
    /// FLOAT and DOUBLE.
    Real,
    /// Text with a collation.
    Text,
    /// Bytes.
    Bytes,
    /// DATE.
    Date,
    /// TIME.
    Time,
    /// DATETIME and TIMESTAMP.
    Moment,
}

impl Class {
    /// All of them.
    pub const ALL: [Class; 8] =
        [Class::Int, Class::Decimal, Class::Real, Class::Text, Class::Bytes, Class::Date, Class::Time, Class::Moment];

    /// A constant that can stand for any expression of the class.
    pub fn constant(self) -> &'static str {
        match self {
            Class::Int => "1",
            Class::Decimal => "1.5",
            Class::Real => "1e0",
            Class::Text => "'a'",
            Class::Bytes => "x'61'",
            Class::Date => "DATE'2020-01-31'",
            Class::Time => "TIME'10:11:12'",
            Class::Moment => "TIMESTAMP'2020-01-31 10:11:12'",
        }
    }
}

/// Collations that MySQL, MariaDB and Basalt have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Collation {
    /// utf8mb4_general_ci.
    General,
    /// utf8mb4_unicode_ci.
    Unicode,
    /// utf8mb4_bin.
    Bin,
    /// utf8mb4_0900_ai_ci; the nearest that MariaDB has.
    Default,
}

impl Collation {
    const ALL: [Collation; 4] = [Collation::General, Collation::Unicode, Collation::Bin, Collation::Default];

    /// Any.
    pub fn any(dice: &mut Dice) -> Collation {
        *dice.pick(&Self::ALL)
    }

    /// Its name where the statement is sent.
    pub fn name(self, dialect: Dialect) -> &'static str {
        match (self, dialect) {
            (Collation::General, _) => "utf8mb4_general_ci",
            (Collation::Unicode, _) => "utf8mb4_unicode_ci",
            (Collation::Bin, _) => "utf8mb4_bin",
            (Collation::Default, Dialect::MariaDb) => "utf8mb4_uca1400_nopad_ai_ci",
            (Collation::Default, Dialect::MySql) => "utf8mb4_0900_ai_ci",
        }
    }
}

/// A column's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Name, bits, whether it is unsigned.
    Int(&'static str, u32, bool),
    /// Precision and scale.
    Decimal(u32, u32),
    /// FLOAT.
    Float,
    /// DOUBLE.
    Double,
    /// Bits.
    Bit(u32),
    /// YEAR.
    Year,
    /// DATE.
    Date,
    /// With so many digits of a second.
    Time(u32),
    /// With so many digits of a second.
    DateTime(u32),
    /// With so many digits of a second.
    Timestamp(u32),
    /// CHAR, VARCHAR or TEXT.
    Text(&'static str, Collation),
    /// BINARY, VARBINARY or BLOB.
    Bytes(&'static str),
}

const INTS: [(&str, u32); 5] = [("TINYINT", 8), ("SMALLINT", 16), ("MEDIUMINT", 24), ("INT", 32), ("BIGINT", 64)];
const TEXTS: [&str; 4] = ["CHAR(8)", "VARCHAR(20)", "VARCHAR(5)", "TEXT"];
const BYTES: [&str; 3] = ["BINARY(4)", "VARBINARY(12)", "BLOB"];

/// Texts in which collations, pads, patterns and conversions to numbers differ.
const WORDS: &[&str] = &[
    "",
    "a",
    "A",
    "á",
    "a ",
    "ab",
    "Ab",
    "aB ",
    "b",
    "B",
    "c",
    "e",
    "é",
    "e\u{301}",
    "E",
    "ss",
    "ß",
    "日本",
    "日本語",
    "😀",
    "z",
    "10",
    "1",
    "2",
    "-3",
    "0",
    "1.5",
    "a%",
    "a_b",
    "n",
    "ñ",
    " a",
    "Z",
    "1a",
];
const DATES: &[&str] =
    &["2020-01-31", "2020-02-29", "2019-12-31", "1999-01-01", "2038-01-19", "2020-03-01", "1970-01-02", "2020-01-01"];
const TIMES: &[&str] =
    &["10:11:12", "00:00:00", "23:59:59", "-01:30:00", "100:00:01", "00:00:01", "12:30:00.5", "12:30:00.123456"];
const CLOCKS: &[&str] = &["00:00:00", "23:59:59", "10:11:12", "12:30:00.5", "01:02:03.123456"];

impl Type {
    /// Any.
    pub fn any(dice: &mut Dice) -> Type {
        match dice.below(16) {
            0..=3 => {
                let (name, bits) = *dice.pick(&INTS);
                Type::Int(name, bits, dice.chance(35))
            }
            4 | 5 => {
                let (precision, scale) = *dice.pick(&[(5, 2), (10, 0), (18, 6), (30, 10), (12, 4)]);
                Type::Decimal(precision, scale)
            }
            6 => Type::Float,
            7 => Type::Double,
            8 => *dice.pick(&[Type::Bit(1), Type::Bit(8), Type::Bit(40), Type::Year]),
            9 => Type::Date,
            10 => Type::Time(*dice.pick(&[0, 0, 3, 6])),
            11 => Type::DateTime(*dice.pick(&[0, 0, 3, 6])),
            12 => Type::Timestamp(*dice.pick(&[0, 0, 2, 6])),
            13 | 14 => Type::Text(dice.word(&TEXTS), Collation::any(dice)),
            _ => Type::Bytes(dice.word(&BYTES)),
        }
    }

    /// As CREATE TABLE has it.
    pub fn sql(self, dialect: Dialect) -> String {
        let fsp = |name: &str, digits: u32| if digits == 0 { name.to_string() } else { format!("{name}({digits})") };
        match self {
            Type::Int(name, _, unsigned) => format!("{name}{}", if unsigned { " UNSIGNED" } else { "" }),
            Type::Decimal(precision, scale) => format!("DECIMAL({precision},{scale})"),
            Type::Float => "FLOAT".into(),
            Type::Double => "DOUBLE".into(),
            Type::Bit(bits) => format!("BIT({bits})"),
            Type::Year => "YEAR".into(),
            Type::Date => "DATE".into(),
            Type::Time(digits) => fsp("TIME", digits),
            Type::DateTime(digits) => fsp("DATETIME", digits),
            Type::Timestamp(digits) => fsp("TIMESTAMP", digits),
            Type::Text(name, collation) => format!("{name} COLLATE {}", collation.name(dialect)),
            Type::Bytes(name) => name.into(),
        }
    }

    /// Its class.
    pub fn class(self) -> Class {
        match self {
            Type::Int(..) | Type::Bit(_) | Type::Year => Class::Int,
            Type::Decimal(..) => Class::Decimal,
            Type::Float | Type::Double => Class::Real,
            Type::Date => Class::Date,
            Type::Time(_) => Class::Time,
            Type::DateTime(_) | Type::Timestamp(_) => Class::Moment,
            Type::Text(..) => Class::Text,
            Type::Bytes(_) => Class::Bytes,
        }
    }

    /// The prefix that a key of the column takes; `None`: the whole column.
    pub fn prefix(self, dice: &mut Dice) -> Option<u32> {
        match self {
            Type::Text("TEXT", _) | Type::Bytes("BLOB") => Some(*dice.pick(&[1, 3, 10])),
            Type::Text("VARCHAR(20)", _) | Type::Bytes("VARBINARY(12)") if dice.chance(40) => Some(*dice.pick(&[1, 3])),
            _ => None,
        }
    }

    /// A literal that a column of the type takes as it is.
    pub fn literal(self, dice: &mut Dice) -> String {
        match self {
            Type::Int(_, bits, unsigned) => int(dice, bits, unsigned),
            Type::Decimal(precision, scale) => decimal(dice, precision, scale),
            Type::Float => dice.pick(&["0", "1", "0.5", "-2.25", "1.5", "3", "100.125", "1e10"]).to_string(),
            Type::Double => dice.pick(&["0", "1", "0.5", "-2.25", "1.5", "0.1", "1e15", "-1e-3", "3"]).to_string(),
            Type::Bit(bits) => format!("{}", dice.below(if bits == 1 { 2 } else { 200 })),
            Type::Year => dice.pick(&["1999", "2020", "2000", "1901", "2155", "2020"]).to_string(),
            // What lies outside of a TIMESTAMP's range becomes no date at all.
            Type::Timestamp(_) => constant(Class::Moment, dice).replace("2038-01-19", "2038-01-18"),
            _ => constant(self.class(), dice),
        }
    }
}

fn int(dice: &mut Dice, bits: u32, unsigned: bool) -> String {
    if dice.chance(85) {
        return format!("{}", dice.below(12) as i64 - if unsigned { 0 } else { 4 });
    }
    let end = if unsigned { (1i128 << bits) - 1 } else { (1i128 << (bits - 1)) - 1 };
    let ends = if unsigned { [0, end, end - 1] } else { [-end - 1, end, -end] };
    dice.pick(&ends).to_string()
}

fn decimal(dice: &mut Dice, precision: u32, scale: u32) -> String {
    let whole = dice.below(9) as i64 - 3;
    if dice.chance(8) {
        let digits = "9".repeat((precision - scale) as usize);
        return if scale == 0 { digits } else { format!("-{digits}.{}", "9".repeat(scale as usize)) };
    }
    match scale {
        0 => whole.to_string(),
        1 | 2 => format!("{whole}.{}", dice.pick(&["0", "5", "25"])),
        _ => format!("{whole}.{}", dice.pick(&["0", "5", "25", "125", "0001"])),
    }
}

/// A literal of a class, of one of its types.
pub fn constant(class: Class, dice: &mut Dice) -> String {
    match class {
        Class::Int => format!("{}", dice.below(14) as i64 - 4),
        Class::Decimal => {
            let scale = *dice.pick(&[1, 2, 4]);
            decimal(dice, 10, scale)
        }
        Class::Real => dice.pick(&["0e0", "1e0", "5e-1", "-2.25e0", "1.5e0", "3e0"]).to_string(),
        Class::Text => format!("'{}'", dice.pick(WORDS)),
        Class::Bytes => dice.pick(&["'a'", "'ab'", "x'6100'", "x'FF'", "''", "'A'", "x'C3A1'", "x'00'"]).to_string(),
        Class::Date => format!("'{}'", dice.pick(DATES)),
        Class::Time => format!("'{}'", dice.pick(TIMES)),
        Class::Moment => format!("'{} {}'", dice.pick(DATES), dice.pick(CLOCKS)),
    }
}

/// As [`constant`], with its type where the text alone would be a string.
pub fn typed_constant(class: Class, dice: &mut Dice) -> String {
    let text = constant(class, dice);
    match class {
        Class::Date => format!("DATE{text}"),
        Class::Time => format!("TIME{text}"),
        Class::Moment => format!("TIMESTAMP{text}"),
        Class::Bytes if text.starts_with('\'') => format!("CAST({text} AS BINARY)"),
        _ => text,
    }
}
