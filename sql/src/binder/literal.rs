//! Constants and types, from text to values.

use crate::error::{Error, Result};
use crate::parser::ast::{DataType, Literal, TemporalKind};
use basalt_expr::cast::cast_value;
use basalt_expr::charset::Charset;
use basalt_expr::collation::Collation;
use basalt_expr::decimal::Decimal;
use basalt_expr::expr::Expr;
use basalt_expr::func::{self, Func};
use basalt_expr::temporal::parse::has_offset;
use basalt_expr::types::{DECIMAL_PRECISION_MAX, DECIMAL_SCALE_MAX, FieldType, NOT_FIXED, TypeKind, UNSPECIFIED};
use basalt_expr::value::Value;
use basalt_expr::{EvalContext, Warnings};

/// Most fractional digits of seconds.
const FSP_MAX: u32 = 6;
/// Most bytes of a VARBINARY.
const VARBINARY_BYTES_MAX: u32 = 65_535;
/// Most characters of a CHAR.
const CHAR_CHARS_MAX: u32 = 255;

/// Most digits of a BIT.
const BIT_DIGITS_MAX: u32 = 64;

/// A literal as an expression.
///
/// # Errors
/// 1300 for a string that is not text of the character set that it names, 1292 or 1525 for a bad date.
pub fn literal_value(literal: &Literal, collation: Collation, warnings: &Warnings) -> Result<Expr> {
    let value = match literal {
        Literal::Null => return Ok(Expr::null()),
        Literal::Bool(b) => Value::Int(i64::from(*b)),
        Literal::Integer(v) => integer(*v),
        Literal::Decimal(text) => match Decimal::parse(text.as_bytes()) {
            Some((decimal, _)) => Value::Decimal(decimal),
            None => Value::Double(text.parse().map_err(|_| illegal_number(text))?),
        },
        Literal::Float(text) => match text.parse::<f64>() {
            Ok(v) if v.is_finite() => Value::Double(v),
            _ => return Err(illegal_number(text)),
        },
        Literal::String { bytes, charset } => return string(bytes, charset.as_deref(), collation, warnings),
        Literal::Hex(bytes) | Literal::Bit(bytes) => {
            let value = Value::from(bytes.clone());
            let ty = func::literal_type(&value);
            return Ok(Expr::Literal(value, FieldType { unsigned: true, ..ty }));
        }
        Literal::Temporal(kind, text) => return temporal(*kind, text),
    };
    Ok(Expr::literal(value))
}

fn illegal_number(text: &str) -> Error {
    Error::User {
        code: 1367,
        sqlstate: "22007",
        message: format!("Illegal double '{text}' value found during parsing"),
    }
}

fn integer(value: u64) -> Value {
    i64::try_from(value).map_or(Value::UInt(value), Value::Int)
}

/// A string: in the connection's character set, or in the one that it names itself. What is no text stands for its bytes, as a
/// dump writes them for a BLOB.
fn string(bytes: &[u8], charset: Option<&str>, connection: Collation, warnings: &Warnings) -> Result<Expr> {
    let collation = charset.map_or(Ok(connection), Collation::of_charset)?;
    if collation == Collation::Binary {
        return Ok(Expr::literal(Value::from(bytes.to_vec())));
    }
    // Text of the connection has been UTF-8 since it came from the client.
    let written = if charset.is_some() { collation.character_set() } else { Charset::Utf8mb4 };
    let text = match written.decode(bytes) {
        Ok(text) => text,
        Err(at) => {
            let shown: String = bytes[at..].iter().take(3).map(|byte| format!("{byte:02X}")).collect();
            let error = Error::invalid_string(written.name(), &shown);
            if charset.is_some() {
                return Err(error);
            }
            warnings.push(error.code(), error.to_string());
            return Ok(Expr::literal(Value::from(bytes.to_vec())));
        }
    };
    let value = Value::from(&*collation.character_set().fit(&text));
    let ty = func::literal_type(&value).with_collation(collation);
    Ok(Expr::Literal(value, ty))
}

fn temporal(kind: TemporalKind, text: &str) -> Result<Expr> {
    let digits = text.rsplit_once('.').map_or("", |(_, digits)| digits);
    let fsp = digits.bytes().take_while(u8::is_ascii_digit).count().min(FSP_MAX as usize) as u8;
    let (ty, name) = match kind {
        TemporalKind::Date => (FieldType::date(), "DATE"),
        TemporalKind::Time => (FieldType::time(fsp), "TIME"),
        TemporalKind::Timestamp => (FieldType::datetime(fsp), "DATETIME"),
    };
    let read = |ctx: &EvalContext| -> Result<Option<Value>> {
        let value = cast_value(&Value::from(text), &FieldType::varchar(UNSPECIFIED), &ty, ctx)?;
        Ok((!value.is_null() && ctx.warnings.count() == 0).then_some(value))
    };
    let plain = read(&EvalContext::default())?;
    if let Some(value) = plain.filter(|_| !has_offset(text.as_bytes())) {
        return Ok(Expr::Literal(value, ty.required()));
    }
    // A date that some sql_mode allows, or a moment of some time zone: the statement's decide.
    let mut lenient = EvalContext::default();
    (lenient.mode.no_zero_date, lenient.mode.no_zero_in_date) = (false, false);
    lenient.mode.allow_invalid_dates = true;
    if kind == TemporalKind::Time || read(&lenient)?.is_none() {
        return Err(Error::wrong_value(name, text));
    }
    Ok(Expr::Call { func: Func::DateConstant, args: vec![Expr::string(text), Expr::string(name)], ty: ty.required() })
}

/// A hexadecimal or bit literal as the number that it is in calculations.
pub(super) fn as_number(expr: &crate::parser::ast::Expr) -> Option<Expr> {
    match expr {
        crate::parser::ast::Expr::Literal(Literal::Hex(bytes) | Literal::Bit(bytes)) if bytes.len() <= 8 => {
            Some(Expr::literal(Value::UInt(bytes.iter().fold(0, |v, b| v << 8 | u64::from(*b)))))
        }
        _ => None,
    }
}

/// `-literal` as one constant, where that keeps the type.
pub(super) fn negative(literal: &Literal) -> Option<Expr> {
    match literal {
        Literal::Integer(v) if *v <= 1 << 63 => Some(Expr::int((*v as i64).wrapping_neg())),
        Literal::Integer(v) => {
            Decimal::parse(format!("-{v}").as_bytes()).map(|(d, _)| Expr::literal(Value::Decimal(d)))
        }
        Literal::Decimal(text) => {
            Decimal::parse(format!("-{text}").as_bytes()).map(|(d, _)| Expr::literal(Value::Decimal(d)))
        }
        Literal::Float(text) => {
            text.parse::<f64>().ok().filter(|v| v.is_finite()).map(|v| Expr::literal(Value::Double(-v)))
        }
        _ => None,
    }
}

/// The collation that CHARACTER SET and COLLATE name together.
///
/// # Errors
/// 1115, 1273, 1253; 1235 for MySQL's other character sets.
pub fn collation_of(charset: Option<&str>, collation: Option<&str>, default: Collation) -> Result<Collation> {
    let of_charset = charset.map(Collation::of_charset).transpose()?;
    let Some(name) = collation else { return Ok(of_charset.unwrap_or(default)) };
    let found = Collation::from_name(name)?;
    match (charset, of_charset) {
        (Some(charset), Some(of_charset)) if of_charset.charset() != found.charset() => {
            Err(Error::collation_charset(name, charset))
        }
        _ => Ok(found),
    }
}

/// The type that a cast asks for.
pub(super) fn cast_type(ty: &DataType, collation: Collation) -> Result<FieldType> {
    let length = ty.length.unwrap_or(UNSPECIFIED);
    Ok(match ty.name.as_str() {
        "signed" if ty.unsigned => FieldType::bigint_unsigned(),
        "signed" => FieldType::bigint(),
        "char" | "varchar" => {
            let collation = collation_of(ty.charset.as_deref(), ty.collation.as_deref(), collation)?;
            if collation == Collation::Binary {
                FieldType::varbinary(length)
            } else {
                FieldType::varchar(length).with_collation(collation)
            }
        }
        // Padded with zero bytes.
        "binary" if ty.length.is_some() => FieldType { length, ..FieldType::new(TypeKind::Binary) },
        "binary" | "varbinary" => FieldType::varbinary(length),
        "date" => FieldType::date(),
        "datetime" | "timestamp" => FieldType::datetime(fsp(ty, "CAST")?),
        "time" => FieldType::time(fsp(ty, "CAST")?),
        "decimal" => decimal(ty, "CAST")?,
        "double" | "float" => FieldType::double(),
        "year" => FieldType { length: basalt_expr::cell::YEAR_OF_CAST, ..FieldType::new(TypeKind::Year) },
        other => return Err(Error::unsupported(format!("CAST AS {}", other.to_uppercase()))),
    })
}

fn fsp(ty: &DataType, column: &str) -> Result<u8> {
    let digits = ty.length.unwrap_or(0);
    if digits > FSP_MAX {
        return Err(Error::precision_too_big(digits, column, FSP_MAX));
    }
    Ok(digits as u8)
}

fn decimal(ty: &DataType, column: &str) -> Result<FieldType> {
    let precision = ty.length.filter(|&p| p > 0).unwrap_or(10);
    let scale = ty.decimals.unwrap_or(0);
    if scale > u32::from(DECIMAL_SCALE_MAX) {
        return Err(Error::scale_too_big(scale, column, DECIMAL_SCALE_MAX));
    }
    if precision > DECIMAL_PRECISION_MAX {
        return Err(Error::precision_too_big(precision, column, DECIMAL_PRECISION_MAX));
    }
    if scale > precision {
        return Err(Error::scale_over_precision(column));
    }
    Ok(FieldType::decimal(precision, scale as u8))
}

/// TEXT or BLOB with a length: the smallest of its kind that has room for so many characters or bytes.
fn sized(plain: FieldType, length: Option<u32>) -> FieldType {
    use TypeKind::*;
    let Some(length) = length else { return plain };
    let bytes = u64::from(length) * u64::from(plain.collation.character_set().char_bytes_max());
    let kinds = if plain.kind == Text {
        [TinyText, Text, MediumText, LongText]
    } else {
        [TinyBlob, Blob, MediumBlob, LongBlob]
    };
    let of = |kind| FieldType { collation: plain.collation, ..FieldType::new(kind) };
    let has_room = |ty: &FieldType| ty.blob_bytes_max().is_some_and(|max| max as u64 >= bytes);
    kinds.into_iter().map(of).find(has_room).unwrap_or_else(|| of(kinds[3]))
}

/// The type of a column.
///
/// # Errors
/// 1425 to 1427, 1439, 1074, 1115, 1273; 1235 for types that are not done.
pub fn column_type(ty: &DataType, column: &str, default: Collation) -> Result<FieldType> {
    use TypeKind::*;
    let integer = |kind| FieldType { unsigned: ty.unsigned, ..FieldType::new(kind) };
    let collation = || -> Result<Collation> {
        let collation = collation_of(ty.charset.as_deref(), ty.collation.as_deref(), default)?;
        // BINARY asks for the bytewise order of the character set.
        Ok(if ty.binary { collation.bin() } else { collation })
    };
    let text = |kind, binary_kind, length: Option<u32>| -> Result<FieldType> {
        let collation = collation()?;
        let kind = if collation == Collation::Binary { binary_kind } else { kind };
        let plain = FieldType::new(kind);
        Ok(FieldType { length: length.unwrap_or(plain.length), collation, ..plain })
    };
    let bytes = |kind, length| FieldType { length, ..FieldType::new(kind) };
    Ok(match ty.name.as_str() {
        // The one display width that MySQL still keeps: clients take TINYINT(1) for a Boolean.
        "tinyint" if ty.length == Some(1) && !ty.unsigned => FieldType { length: 1, ..integer(Tiny) },
        "tinyint" => integer(Tiny),
        "smallint" => integer(Short),
        "mediumint" => integer(Int24),
        "int" => integer(Long),
        "bigint" => integer(LongLong),
        "decimal" => FieldType { unsigned: ty.unsigned, ..decimal(ty, column)? },
        "float" | "double" => real(ty, column)?,
        "bit" => {
            let bits = ty.length.unwrap_or(1).max(1);
            if bits > BIT_DIGITS_MAX {
                return Err(Error::display_width(column, BIT_DIGITS_MAX));
            }
            FieldType { length: bits, unsigned: true, ..FieldType::new(Bit) }
        }
        "char" => text(Char, Binary, Some(limited(ty.length.unwrap_or(1), CHAR_CHARS_MAX, column)?))?,
        "varchar" => {
            let chars_max = VARBINARY_BYTES_MAX / collation()?.character_set().char_bytes_max();
            text(VarChar, VarBinary, Some(limited(required(ty)?, chars_max, column)?))?
        }
        "binary" => bytes(Binary, limited(ty.length.unwrap_or(1), CHAR_CHARS_MAX, column)?),
        "varbinary" => bytes(VarBinary, limited(required(ty)?, VARBINARY_BYTES_MAX, column)?),
        "tinytext" => text(TinyText, TinyBlob, None)?,
        "text" => sized(text(Text, Blob, None)?, ty.length),
        "mediumtext" => text(MediumText, MediumBlob, None)?,
        "longtext" => text(LongText, LongBlob, None)?,
        "tinyblob" => FieldType::new(TinyBlob),
        "blob" => sized(FieldType::new(Blob), ty.length),
        "mediumblob" => FieldType::new(MediumBlob),
        "longblob" => FieldType::new(LongBlob),
        "date" => FieldType::date(),
        "datetime" => FieldType::datetime(fsp(ty, column)?),
        "timestamp" => FieldType { decimals: fsp(ty, column)?, ..FieldType::new(Timestamp) },
        "time" => FieldType::time(fsp(ty, column)?),
        "year" => FieldType::new(Year),
        other => return Err(Error::unsupported(format!("columns of type {}", other.to_uppercase()))),
    })
}

fn real(ty: &DataType, column: &str) -> Result<FieldType> {
    let double = ty.name == "double" || (ty.decimals.is_none() && ty.length.is_some_and(|p| p > 24));
    let mut field = FieldType::new(if double { TypeKind::Double } else { TypeKind::Float });
    field.unsigned = ty.unsigned;
    if let (Some(digits), Some(scale)) = (ty.length, ty.decimals) {
        if scale > digits {
            return Err(Error::scale_over_precision(column));
        }
        field.length = digits;
        field.decimals = u8::try_from(scale).unwrap_or(NOT_FIXED).min(NOT_FIXED - 1);
    }
    Ok(field)
}

fn required(ty: &DataType) -> Result<u32> {
    ty.length.ok_or_else(|| Error::syntax("", 1))
}

fn limited(length: u32, max: u32, column: &str) -> Result<u32> {
    if length > max { Err(Error::column_too_long(column, max)) } else { Ok(length) }
}
