//! MySQL types: what a column or an expression holds, how Arrow holds it, and how the wire and `SHOW` name it.
//!
//! | MySQL | Arrow | [`crate::Value`] |
//! |---|---|---|
//! | integers, YEAR, BIT | `Int64`, `UInt64` when unsigned (BIT always) | `Int`, `UInt` |
//! | FLOAT, DOUBLE | `Float64` (FLOAT holds values rounded to 32 bits) | `Double` |
//! | DECIMAL(p, s) | `Decimal128(p, s)`, `Decimal256` above 38 digits | `Decimal` |
//! | DATE, DATETIME, TIMESTAMP | `UInt64`, packed ([`crate::temporal::DateTime`]) | `DateTime` |
//! | TIME | `Int64`, microseconds | `Time` |
//! | CHAR, VARCHAR, TEXT | `Utf8` | `String` |
//! | BINARY, VARBINARY, BLOB | `Binary` | `Bytes` |
//! | NULL | `Null` | `Null` |
//!
//! Booleans are MySQL's: a signed integer 0 or 1. A TIMESTAMP is a moment: packed in UTC in storage, in Arrow and
//! in values alike. A conversion to another type makes it a local time of the session's zone, as does whoever shows it.

use crate::collation::{Coercibility, Collation};
use crate::error::ExprError;
use arrow::datatypes::{DataType, Field};
use basalt_proto::coprocessor::ColumnType;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};

/// No length was given.
pub const UNSPECIFIED: u32 = u32::MAX;
/// Most digits of a DECIMAL.
pub const DECIMAL_PRECISION_MAX: u32 = 65;
/// Most digits of a DECIMAL behind the point.
pub const DECIMAL_SCALE_MAX: u8 = 30;
/// `decimals` of a FLOAT or DOUBLE without a fixed number of digits.
pub const NOT_FIXED: u8 = 31;
/// Most bytes of a VARCHAR or VARBINARY.
pub const VARCHAR_BYTES_MAX: u32 = 65_535;

const METADATA_KEY: &str = "basalt.type";

/// The kind of a type; the numbers are durable (`proto coprocessor::ColumnType::kind`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs)] // the names are MySQL's
pub enum TypeKind {
    Null = 0,
    Tiny = 1,
    Short = 2,
    Int24 = 3,
    Long = 4,
    LongLong = 5,
    Float = 6,
    Double = 7,
    Decimal = 8,
    Year = 9,
    Date = 10,
    DateTime = 11,
    Timestamp = 12,
    Time = 13,
    Char = 14,
    VarChar = 15,
    TinyText = 16,
    Text = 17,
    MediumText = 18,
    LongText = 19,
    Binary = 20,
    VarBinary = 21,
    TinyBlob = 22,
    Blob = 23,
    MediumBlob = 24,
    LongBlob = 25,
    Bit = 26,
    Json = 27,
    Enum = 28,
    Set = 29,
}

impl TypeKind {
    const ALL: [TypeKind; 30] = {
        use TypeKind::*;
        [
            Null, Tiny, Short, Int24, Long, LongLong, Float, Double, Decimal, Year, Date, DateTime, Timestamp, Time,
            Char, VarChar, TinyText, Text, MediumText, LongText, Binary, VarBinary, TinyBlob, Blob, MediumBlob,
            LongBlob, Bit, Json, Enum, Set,
        ]
    };

    /// The kind of a durable number.
    pub fn from_number(number: u32) -> Option<TypeKind> {
        TypeKind::ALL.get(usize::try_from(number).ok()?).copied()
    }
}

/// What kind of calculation a type takes part in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
pub enum EvalType {
    Null,
    Int,
    Real,
    Decimal,
    String,
    /// DATE, DATETIME, TIMESTAMP.
    DateTime,
    /// TIME.
    Duration,
}

/// A MySQL type with its attributes.
///
/// Two types are equal whatever their [`FieldType::coercibility`]: it says nothing about values.
#[derive(Clone, Debug)]
pub struct FieldType {
    /// The kind.
    pub kind: TypeKind,
    /// Numbers only.
    pub unsigned: bool,
    /// NULL cannot occur. For expressions a promise, for columns a constraint.
    pub not_null: bool,
    /// Characters of a string, bytes of a binary string, digits of a DECIMAL, bits of a BIT; [`UNSPECIFIED`] otherwise.
    pub length: u32,
    /// Digits behind the point: DECIMAL's scale, fractional seconds, fixed digits of FLOAT and DOUBLE or [`NOT_FIXED`].
    pub decimals: u8,
    /// Of strings; `binary` for everything else.
    pub collation: Collation,
    /// How firmly an expression has the collation. Of numbers and moments it says whether they are a table's column as it
    /// stands, to whose type constants beside it are brought ([`FieldType::is_field`]).
    pub coercibility: Coercibility,
}

impl PartialEq for FieldType {
    fn eq(&self, other: &FieldType) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for FieldType {}

impl Hash for FieldType {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

/// What a column definition packet says of a type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WireType {
    /// `MYSQL_TYPE_*`.
    pub type_code: u8,
    /// Number of the collation.
    pub charset: u16,
    /// `NOT_NULL_FLAG`, `UNSIGNED_FLAG`, `BLOB_FLAG`, `BINARY_FLAG`, `NUM_FLAG`; keys and defaults are the caller's to add.
    pub flags: u16,
    /// Bytes of the longest display.
    pub length: u32,
    /// Digits behind the point; 31 when not fixed.
    pub decimals: u8,
}

impl FieldType {
    /// A nullable type of `kind` with that kind's defaults.
    pub fn new(kind: TypeKind) -> FieldType {
        use TypeKind::*;
        let collation = match kind {
            Json => Collation::Utf8mb4Bin,
            Char | VarChar | TinyText | Text | MediumText | LongText | Enum | Set => Collation::DEFAULT,
            _ => Collation::Binary,
        };
        let (length, decimals) = match kind {
            Float | Double => (UNSPECIFIED, NOT_FIXED),
            Decimal => (10, 0),
            Char | Binary | Bit => (1, 0),
            _ => (UNSPECIFIED, 0),
        };
        let coercibility = match kind {
            Null => Coercibility::Ignorable,
            _ if kind >= Char && kind != Bit => Coercibility::Coercible,
            _ => Coercibility::Numeric,
        };
        FieldType { kind, unsigned: kind == Bit, not_null: false, length, decimals, collation, coercibility }
    }

    /// What equality and hashes look at.
    fn identity(&self) -> (TypeKind, bool, bool, u32, u8, Collation) {
        (self.kind, self.unsigned, self.not_null, self.length, self.decimals, self.collation)
    }

    /// BIGINT.
    pub fn bigint() -> FieldType {
        FieldType::new(TypeKind::LongLong)
    }
    /// BIGINT UNSIGNED.
    pub fn bigint_unsigned() -> FieldType {
        FieldType { unsigned: true, ..FieldType::bigint() }
    }
    /// The type of comparisons and logic: INT holding 0 or 1.
    pub fn boolean() -> FieldType {
        FieldType { length: 1, ..FieldType::new(TypeKind::LongLong) }
    }
    /// DOUBLE.
    pub fn double() -> FieldType {
        FieldType::new(TypeKind::Double)
    }
    /// DOUBLE with so many digits behind the point, fewer than [`NOT_FIXED`], or with as many as a value has.
    pub fn double_of(digits: Option<u32>) -> FieldType {
        let decimals = digits.map_or(NOT_FIXED, |digits| digits.min(NOT_FIXED.into()) as u8);
        FieldType { decimals, ..FieldType::double() }
    }
    /// DECIMAL(precision, scale), both cut to MySQL's limits.
    pub fn decimal(precision: u32, scale: u8) -> FieldType {
        let decimals = scale.min(DECIMAL_SCALE_MAX);
        let length = precision.clamp(u32::from(decimals).max(1), DECIMAL_PRECISION_MAX);
        FieldType { length, decimals, ..FieldType::new(TypeKind::Decimal) }
    }
    /// VARCHAR(length) in the default collation.
    pub fn varchar(length: u32) -> FieldType {
        FieldType { length, ..FieldType::new(TypeKind::VarChar) }
    }
    /// VARBINARY(length).
    pub fn varbinary(length: u32) -> FieldType {
        FieldType { length, ..FieldType::new(TypeKind::VarBinary) }
    }
    /// DATETIME(fsp).
    pub fn datetime(fsp: u8) -> FieldType {
        FieldType { decimals: fsp.min(6), ..FieldType::new(TypeKind::DateTime) }
    }
    /// DATE.
    pub fn date() -> FieldType {
        FieldType::new(TypeKind::Date)
    }
    /// TIME(fsp).
    pub fn time(fsp: u8) -> FieldType {
        FieldType { decimals: fsp.min(6), ..FieldType::new(TypeKind::Time) }
    }
    /// The type of a bare NULL.
    pub fn null() -> FieldType {
        FieldType::new(TypeKind::Null)
    }
    /// The same type, NOT NULL.
    pub fn required(self) -> FieldType {
        FieldType { not_null: true, ..self }
    }
    /// The same type, nullable.
    pub fn nullable(self) -> FieldType {
        FieldType { not_null: false, ..self }
    }
    /// The same type in `collation`.
    pub fn with_collation(self, collation: Collation) -> FieldType {
        FieldType { collation, ..self }
    }
    /// The same type of an expression that has its collation so firmly.
    pub fn with_coercibility(self, coercibility: Coercibility) -> FieldType {
        FieldType { coercibility, ..self }
    }
    /// The same type of something that is no column any more.
    pub fn calculated(self) -> FieldType {
        let coercibility = if self.is_string() { self.coercibility } else { FieldType::new(self.kind).coercibility };
        // What was a hexadecimal literal is bytes.
        let unsigned = self.unsigned && !self.is_hybrid();
        FieldType { coercibility, unsigned, ..self }
    }
    /// True for a table's column as it stands.
    pub fn is_field(&self) -> bool {
        self.coercibility == Coercibility::Implicit
    }

    /// How values of the type are calculated with.
    pub fn eval_type(&self) -> EvalType {
        use TypeKind::*;
        match self.kind {
            Null => EvalType::Null,
            Tiny | Short | Int24 | Long | LongLong | Year | Bit => EvalType::Int,
            Float | Double => EvalType::Real,
            Decimal => EvalType::Decimal,
            Date | DateTime | Timestamp => EvalType::DateTime,
            Time => EvalType::Duration,
            _ => EvalType::String,
        }
    }
    /// True for integers, YEAR and BIT.
    pub fn is_integer(&self) -> bool {
        self.eval_type() == EvalType::Int
    }
    /// True for numbers that calculations take for unsigned: YEAR is one without saying so.
    pub fn is_unsigned(&self) -> bool {
        self.unsigned || self.kind == TypeKind::Year
    }
    /// True for everything `+` adds without a conversion.
    pub fn is_numeric(&self) -> bool {
        matches!(self.eval_type(), EvalType::Int | EvalType::Real | EvalType::Decimal)
    }
    /// True for a hexadecimal literal: a binary string that is a BIGINT UNSIGNED where a number is wanted.
    pub fn is_hybrid(&self) -> bool {
        self.kind == TypeKind::VarBinary && self.unsigned
    }
    /// True for text and binary strings.
    pub fn is_string(&self) -> bool {
        self.eval_type() == EvalType::String
    }
    /// True for strings of bytes rather than characters.
    pub fn is_binary_string(&self) -> bool {
        self.is_string() && self.collation == Collation::Binary
    }
    /// True for DATE, DATETIME, TIMESTAMP and TIME.
    pub fn is_temporal(&self) -> bool {
        matches!(self.eval_type(), EvalType::DateTime | EvalType::Duration)
    }
    /// Fractional digits of a temporal type, scale of a number (0 for integers, [`NOT_FIXED`] possible for DOUBLE).
    pub fn scale(&self) -> u8 {
        if self.is_integer() { 0 } else { self.decimals }
    }
    /// The digits behind the point of a number whose values all have as many; FLOAT and DOUBLE without (M,D) are none.
    pub fn fixed_scale(&self) -> Option<u32> {
        (self.is_numeric() && self.scale() != NOT_FIXED).then(|| self.scale().into())
    }
    /// Digits that a DECIMAL needs to hold every value of this integer, decimal or temporal type.
    pub fn decimal_precision(&self) -> u32 {
        use TypeKind::*;
        match self.kind {
            Null => 1,
            Tiny => 3,
            Short => 5,
            Int24 => 8,
            Long => 10,
            LongLong if self.unsigned => 20,
            LongLong => 19,
            Year => 4,
            Bit => 20,
            Decimal => self.length.min(DECIMAL_PRECISION_MAX),
            Date => 8,
            Time => 7 + u32::from(self.decimals),
            DateTime | Timestamp => 14 + u32::from(self.decimals),
            _ => DECIMAL_PRECISION_MAX,
        }
    }

    /// The Arrow type that holds columns of this type.
    pub fn arrow_type(&self) -> DataType {
        match self.eval_type() {
            EvalType::Null => DataType::Null,
            EvalType::Int if self.unsigned => DataType::UInt64,
            EvalType::Int | EvalType::Duration => DataType::Int64,
            EvalType::Real => DataType::Float64,
            EvalType::Decimal if self.length <= 38 => DataType::Decimal128(self.length as u8, self.decimals as i8),
            EvalType::Decimal => DataType::Decimal256(self.length.min(76) as u8, self.decimals as i8),
            EvalType::DateTime => DataType::UInt64,
            EvalType::String if self.is_binary_string() => DataType::Binary,
            EvalType::String => DataType::Utf8,
        }
    }

    /// An Arrow field of this type; the MySQL type travels in the metadata. Not whether NULL occurs: DataFusion changes that
    /// of a field, and compares metadata.
    pub fn arrow_field(&self, name: &str) -> Field {
        let packed = format!(
            "{},{},{},{},{},{}",
            self.kind as u8,
            u8::from(self.unsigned),
            0,
            self.length,
            self.decimals,
            self.collation.id()
        );
        Field::new(name, self.arrow_type(), !self.not_null)
            .with_metadata(HashMap::from([(METADATA_KEY.to_string(), packed)]))
    }

    /// The MySQL type of an Arrow field: from its metadata, or the nearest of its Arrow type.
    pub fn of_arrow_field(field: &Field) -> FieldType {
        let read = |packed: &String| -> Option<FieldType> {
            let mut parts = packed.split(',').map(|part| part.parse::<u32>().ok());
            let mut next = || parts.next().flatten();
            Some(FieldType {
                kind: TypeKind::from_number(next()?)?,
                unsigned: next()? != 0,
                not_null: next().map(|_| !field.is_nullable())?,
                length: next()?,
                decimals: u8::try_from(next()?).ok()?,
                collation: Collation::from_id(next()?)?,
                coercibility: Coercibility::Implicit,
            })
        };
        match field.metadata().get(METADATA_KEY).and_then(read) {
            Some(ty) if ty.arrow_type() == *field.data_type() => ty,
            _ => FieldType { not_null: !field.is_nullable(), ..FieldType::of_arrow_type(field.data_type()) },
        }
    }

    /// The nearest MySQL type of an Arrow type.
    pub fn of_arrow_type(data_type: &DataType) -> FieldType {
        match data_type {
            DataType::Null => FieldType::null(),
            DataType::Boolean => FieldType::boolean(),
            DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => FieldType::bigint_unsigned(),
            DataType::Float16 | DataType::Float32 | DataType::Float64 => FieldType::double(),
            DataType::Decimal128(p, s) | DataType::Decimal256(p, s) => FieldType::decimal(u32::from(*p), *s as u8),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => FieldType::new(TypeKind::LongText),
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => FieldType::new(TypeKind::LongBlob),
            _ => FieldType::bigint(),
        }
    }

    /// The type as the catalog and the coprocessor's messages keep it.
    pub fn to_proto(&self) -> ColumnType {
        ColumnType {
            kind: self.kind as u32,
            unsigned: self.unsigned,
            not_null: self.not_null,
            length: self.length,
            decimals: u32::from(self.decimals),
            collation: u32::from(self.collation.id()),
        }
    }

    /// Reads what [`FieldType::to_proto`] wrote.
    ///
    /// # Errors
    /// [`ExprError::Unsupported`] for kinds and collations of a newer version.
    pub fn from_proto(proto: &ColumnType) -> Result<FieldType, ExprError> {
        let kind = TypeKind::from_number(proto.kind)
            .ok_or_else(|| ExprError::Unsupported(format!("column type {}", proto.kind)))?;
        let collation = Collation::from_id(proto.collation)
            .ok_or_else(|| ExprError::UnknownCollation(proto.collation.to_string()))?;
        let decimals =
            u8::try_from(proto.decimals).map_err(|_| ExprError::Unsupported(format!("{} decimals", proto.decimals)))?;
        let ty = FieldType {
            kind,
            unsigned: proto.unsigned,
            not_null: proto.not_null,
            length: proto.length,
            decimals,
            collation,
            coercibility: Coercibility::Implicit,
        };
        if kind == TypeKind::Decimal && (ty.length > DECIMAL_PRECISION_MAX || ty.decimals > DECIMAL_SCALE_MAX) {
            return Err(ExprError::Unsupported(format!("DECIMAL({},{})", ty.length, ty.decimals)));
        }
        Ok(ty)
    }

    /// Least and greatest value of an integer type.
    pub fn integer_range(&self) -> (i128, i128) {
        let bits = match self.kind {
            TypeKind::Tiny => 8,
            TypeKind::Short => 16,
            TypeKind::Int24 => 24,
            TypeKind::Long => 32,
            TypeKind::Bit => return (0, (1i128 << self.length.min(64)) - 1),
            TypeKind::Year => return (0, 2155),
            _ => 64,
        };
        if self.unsigned { (0, (1 << bits) - 1) } else { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) }
    }

    /// Most bytes of a TEXT or BLOB type; `None` for other types.
    pub fn blob_bytes_max(&self) -> Option<usize> {
        use TypeKind::*;
        match self.kind {
            TinyText | TinyBlob => Some(255),
            Text | Blob => Some(65_535),
            MediumText | MediumBlob => Some(16_777_215),
            LongText | LongBlob => Some(u32::MAX as usize),
            _ => None,
        }
    }

    /// Characters (bytes for binary strings) that displays of this type take at most.
    pub fn display_width(&self) -> u32 {
        use TypeKind::*;
        let fraction = |digits: u8| if digits == 0 || digits == NOT_FIXED { 0 } else { u32::from(digits) + 1 };
        match self.kind {
            Null => 0,
            _ if self.is_integer() && self.length == 1 && self.kind != Bit => 1,
            Tiny => 4 - u32::from(self.unsigned),
            Short => 6 - u32::from(self.unsigned),
            Int24 => 9 - u32::from(self.unsigned),
            Long => 11 - u32::from(self.unsigned),
            LongLong => 20,
            Float => 12,
            Double => 22,
            Decimal => self.length + u32::from(self.decimals > 0) + u32::from(!self.unsigned),
            Year => 4,
            Date => 10,
            DateTime | Timestamp => 19 + fraction(self.decimals),
            Time => 10 + fraction(self.decimals),
            Bit => self.length,
            _ => match self.blob_bytes_max() {
                Some(bytes) => u32::try_from(bytes).unwrap_or(u32::MAX),
                None => self.length,
            },
        }
    }

    /// Characters that the text of any of its values takes at most. What clients are told may be less: TINYINT(1) is one
    /// wide to them, and a DECIMAL without whole digits does not count the zero in front of its point.
    pub fn text_width(&self) -> u32 {
        match self.kind {
            _ if self.is_integer() && self.kind != TypeKind::Bit => {
                FieldType { length: UNSPECIFIED, ..self.clone() }.display_width()
            }
            TypeKind::Decimal if self.length <= u32::from(self.decimals) => self.display_width() + 1,
            // Six digits, fourteen zeros in front of them.
            TypeKind::Float => 23,
            _ => self.display_width(),
        }
    }

    /// What column definitions tell clients of the type.
    pub fn wire(&self) -> WireType {
        use TypeKind::*;
        let (type_code, mut flags) = match self.kind {
            Null => (6, 128),
            Tiny => (1, 0x8000),
            Short => (2, 0x8000),
            Int24 => (9, 0x8000),
            Long => (3, 0x8000),
            LongLong => (8, 0x8000),
            Float => (4, 0x8000),
            Double => (5, 0x8000),
            Decimal => (246, 0x8000),
            Year => (13, 0x8000 | 64),
            Date => (10, 128),
            DateTime => (12, 128),
            Timestamp => (7, 128),
            Time => (11, 128),
            Char | Binary => (254, 0),
            VarChar | VarBinary => (253, 0),
            TinyText | Text | MediumText | LongText | TinyBlob | Blob | MediumBlob | LongBlob => (252, 16),
            Bit => (16, 0),
            Json => (245, 16),
            Enum => (254, 256),
            Set => (254, 2048),
        };
        if self.is_string() && self.collation.is_bin() || self.is_numeric() && self.kind != Bit {
            flags |= 128;
        }
        if self.not_null {
            flags |= 1;
        }
        if self.unsigned {
            flags |= 32;
        }
        let text = self.is_string() && self.collation != Collation::Binary;
        let width = self.display_width();
        WireType {
            type_code,
            charset: if text { self.collation.id() } else { Collation::Binary.id() },
            flags,
            length: if text { width.saturating_mul(4) } else { width },
            decimals: if self.is_string() { 0 } else { self.decimals },
        }
    }

    /// The type as `SHOW COLUMNS` and `information_schema.columns.column_type` spell it.
    pub fn sql_name(&self) -> String {
        use TypeKind::*;
        let mut name = self.base_name().to_string();
        match self.kind {
            Decimal => name += &format!("({},{})", self.length, self.decimals),
            Char | VarChar | Binary | VarBinary | Bit if self.length != UNSPECIFIED => {
                name += &format!("({})", self.length);
            }
            DateTime | Timestamp | Time if self.decimals > 0 => name += &format!("({})", self.decimals),
            Float | Double if self.decimals != NOT_FIXED && self.length != UNSPECIFIED => {
                name += &format!("({},{})", self.length, self.decimals);
            }
            Tiny if self.length == 1 && !self.unsigned => name += "(1)",
            _ => {}
        }
        if self.unsigned && self.is_numeric() && !matches!(self.kind, Bit | Year) {
            name += " unsigned";
        }
        name
    }

    /// The type's name alone: `information_schema.columns.data_type`.
    pub fn base_name(&self) -> &'static str {
        use TypeKind::*;
        match self.kind {
            Null => "null",
            Tiny => "tinyint",
            Short => "smallint",
            Int24 => "mediumint",
            Long => "int",
            LongLong => "bigint",
            Float => "float",
            Double => "double",
            Decimal => "decimal",
            Year => "year",
            Date => "date",
            DateTime => "datetime",
            Timestamp => "timestamp",
            Time => "time",
            Char => "char",
            VarChar => "varchar",
            TinyText => "tinytext",
            Text => "text",
            MediumText => "mediumtext",
            LongText => "longtext",
            Binary => "binary",
            VarBinary => "varbinary",
            TinyBlob => "tinyblob",
            Blob => "blob",
            MediumBlob => "mediumblob",
            LongBlob => "longblob",
            Bit => "bit",
            Json => "json",
            Enum => "enum",
            Set => "set",
        }
    }
}
