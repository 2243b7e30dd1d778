//! Errors of the crate, each with its MySQL code, SQLSTATE and text.
//!
//! [`ExprError`] comes while an expression is built (the statement is wrong), [`EvalError`] while it runs (the data are, or
//! the statement with these data). Both reach the client as they are. Broken bytes from a disk or a network are
//! `basalt_common::codec::CodecError`, which [`EvalError::Corrupt`] carries to a caller that has no other channel.

use crate::collation::Side;
use crate::memory_pool::Size;
use basalt_common::codec::CodecError;
use basalt_common::memory::Exceeded;

/// An expression that cannot be built.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ExprError {
    /// 1305: no function of this name.
    #[error("FUNCTION {0} does not exist")]
    UnknownFunction(String),
    /// 1582: the function does not take this number of arguments.
    #[error("Incorrect parameter count in the call to native function '{0}'")]
    ParameterCount(String),
    /// 1210: an argument that the function does not take.
    #[error("Incorrect arguments to {0}")]
    BadArguments(String),
    /// 1273: no such collation, or one that is not implemented.
    #[error("Unknown collation: '{0}'")]
    UnknownCollation(String),
    /// 1115: no such character set, or one that is not implemented.
    #[error("Unknown character set: '{0}'")]
    UnknownCharset(String),
    /// 1267, 1270, 1271: two, three or more collations that no rule reconciles.
    #[error("Illegal mix of collations {shown}for operation '{operation}'", shown = mixed(.sides))]
    CollationMix {
        /// The collations, and how firm each is.
        sides: Vec<Side>,
        /// What was to be done with them.
        operation: String,
    },
    /// 1253: COLLATE with a collation of another character set.
    #[error("COLLATION '{0}' is not valid for CHARACTER SET '{1}'")]
    CollationOfOther(String, String),
    /// 3995: a pattern of bytes for text, or of text for bytes.
    #[error("Character set '{0}' cannot be used in conjunction with '{1}' in call to {2}.")]
    RegexCharsets(String, String, String),
    /// 1235: valid in MySQL, not done here.
    #[error("This version of Basalt doesn't yet support '{0}'")]
    Unsupported(String),
    /// 1436: parts that MySQL evaluates once stand for so many here that there is no room.
    #[error("Thread stack overrun: an expression is too large")]
    TooLarge,
    /// A constant part failed while it was folded.
    #[error(transparent)]
    Eval(#[from] EvalError),
}

impl ExprError {
    /// MySQL's error number.
    pub fn code(&self) -> u16 {
        match self {
            ExprError::UnknownFunction(_) => 1305,
            ExprError::ParameterCount(_) => 1582,
            ExprError::BadArguments(_) => 1210,
            ExprError::UnknownCollation(_) => 1273,
            ExprError::UnknownCharset(_) => 1115,
            ExprError::CollationMix { sides, .. } => match sides.len() {
                2 => 1267,
                3 => 1270,
                _ => 1271,
            },
            ExprError::CollationOfOther(..) => 1253,
            ExprError::RegexCharsets(..) => 3995,
            ExprError::Unsupported(_) => 1235,
            ExprError::TooLarge => 1436,
            ExprError::Eval(error) => error.code(),
        }
    }

    /// The SQLSTATE that goes with [`ExprError::code`].
    pub fn sqlstate(&self) -> &'static str {
        sqlstate(self.code())
    }

    /// The same error; where collations do not mix, it names this operation.
    pub(crate) fn of_operation(self, name: &str) -> ExprError {
        match self {
            ExprError::CollationMix { sides, .. } => ExprError::CollationMix { sides, operation: name.to_string() },
            other => other,
        }
    }
}

/// Two or three collations as error messages show them; of more nothing.
fn mixed(sides: &[Side]) -> String {
    let shown: Vec<String> = sides.iter().map(Side::to_string).collect();
    match shown.len() {
        2 => format!("{} ", shown.join(" and ")),
        3 => format!("{} ", shown.join(", ")),
        _ => String::new(),
    }
}

/// An expression or a conversion that fails for these values.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EvalError {
    /// 1690: the result of a calculation has no place in its type.
    #[error("{kind} value is out of range in '{expression}'")]
    ResultOutOfRange {
        /// `BIGINT`, `BIGINT UNSIGNED`, `DOUBLE`, `DECIMAL`.
        kind: &'static str,
        /// The calculation as far as it can be shown.
        expression: String,
    },
    /// 1264: the value does not fit the column.
    #[error("Out of range value for column '{column}' at row {row}")]
    ColumnOutOfRange {
        /// The column stored into.
        column: String,
        /// Counted from 1.
        row: u64,
    },
    /// 1406: the string is longer than the column.
    #[error("Data too long for column '{column}' at row {row}")]
    DataTooLong {
        /// The column stored into.
        column: String,
        /// Counted from 1.
        row: u64,
    },
    /// 1265: the value loses something when it is stored.
    #[error("Data truncated for column '{column}' at row {row}")]
    DataTruncated {
        /// The column stored into.
        column: String,
        /// Counted from 1.
        row: u64,
    },
    /// 1366: a string that is not a number (or not text in the column's character set).
    #[error("Incorrect {kind} value: '{value}' for column '{column}' at row {row}")]
    IncorrectColumnValue {
        /// `integer`, `decimal`, `string`.
        kind: &'static str,
        /// What was to be stored.
        value: String,
        /// The column stored into.
        column: String,
        /// Counted from 1.
        row: u64,
    },
    /// 1292: a string that is not a date or time, for a column.
    #[error("Incorrect {kind} value: '{value}' for column '{column}' at row {row}")]
    IncorrectTemporalColumn {
        /// `date`, `datetime`, `time`.
        kind: &'static str,
        /// What was to be stored.
        value: String,
        /// The column stored into.
        column: String,
        /// Counted from 1.
        row: u64,
    },
    /// 1299: a local time that the zone skips.
    #[error("Invalid TIMESTAMP value in column '{column}' at row {row}")]
    InvalidTimestamp {
        /// The column stored into.
        column: String,
        /// Counted from 1.
        row: u64,
    },
    /// 1292 outside of a column.
    #[error("Incorrect {kind} value: '{value}'")]
    IncorrectTemporal {
        /// `date`, `datetime`, `time`.
        kind: &'static str,
        /// The text that was read.
        value: String,
    },
    /// 1525: a constant beside a date that is none.
    #[error("Incorrect {kind} value: '{value}'")]
    WrongConstant {
        /// `DATE`, `DATETIME`, `TIMESTAMP`.
        kind: String,
        /// The text that was read.
        value: String,
    },
    /// 1411: a string that a format does not fit.
    #[error("Incorrect {kind} value: '{value}' for function {function}")]
    WrongValueForFunction {
        /// `datetime`.
        kind: &'static str,
        /// The text that was read.
        value: String,
        /// Lower case.
        function: &'static str,
    },
    /// 1292: only the front of the string is a number.
    #[error("Truncated incorrect {kind} value: '{value}'")]
    TruncatedWrongValue {
        /// `INTEGER`, `DOUBLE`, `DECIMAL`.
        kind: &'static str,
        /// The text that was read.
        value: String,
    },
    /// 1365: a division by zero where the mode makes it an error.
    #[error("Division by 0")]
    DivisionByZero,
    /// 1441: a calculation with dates left the calendar.
    #[error("Datetime function: {0} field overflow")]
    DatetimeOverflow(&'static str),
    /// 3513
    #[error("Binary operands of bitwise operators must be of equal length")]
    BitOperandLengths,
    /// 1260: a result is longer than `group_concat_max_len`; the row, counted from 1, did not fit whole.
    #[error("Row {0} was cut by GROUP_CONCAT()")]
    CutByGroupConcat(u64),
    /// 3685 and its neighbors: a regular expression that does not compile, or does not end.
    #[error(transparent)]
    BadRegex(RegexFault),
    /// 1210: an argument whose value a function does not take.
    #[error("Incorrect arguments to {0}")]
    WrongArguments(String),
    /// 1583
    #[error("Incorrect parameters in the call to native function '{0}'")]
    WrongParameters(String),
    /// 3854: a constant beside text of a character set that it has no place in.
    #[error("Cannot convert string '{text}' from {from} to {to}")]
    CannotConvertString {
        /// Its bytes, those that are not ASCII in hexadecimal digits.
        text: String,
        /// The constant's character set.
        from: &'static str,
        /// The other one.
        to: &'static str,
    },
    /// 1235: valid in MySQL, not done here.
    #[error("This version of Basalt doesn't yet support '{0}'")]
    Unsupported(String),
    /// 1242: the value of a subquery that has several is asked for.
    #[error("Subquery returns more than 1 row")]
    SubqueryRows,
    /// 1301: a result beyond `max_allowed_packet`.
    #[error("Result of {function}() was larger than max_allowed_packet ({limit}) - truncated")]
    ResultTooLong {
        /// The function, lower case.
        function: &'static str,
        /// The limit in bytes.
        limit: usize,
    },
    /// 8175: what it makes is more than the statement may hold.
    #[error("Out Of Memory Quota! {} holds {} and asks for {} more; {} are allowed", .0.label, Size(.0.used), Size(.0.wanted), Size(.0.limit))]
    Memory(#[from] Exceeded),
    /// Encoded rows, keys or plans that make no sense: stop, the data are damaged.
    #[error("damaged data: {0}")]
    Corrupt(#[from] CodecError),
    /// A fault of ours (an expression and a batch that do not fit together).
    #[error("internal error: {0}")]
    Internal(String),
}

/// What is wrong with a regular expression, in ICU's classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum RegexFault {
    #[error("Illegal argument to a regular expression.")]
    IllegalArgument,
    #[error("Index out of bounds in regular expression search.")]
    IndexOutOfBounds,
    #[error("Syntax error in regular expression on line {line}, character {character}.")]
    Syntax { line: usize, character: usize },
    #[error("Unrecognized escape sequence in regular expression.")]
    Escape,
    #[error("Mismatched parenthesis in regular expression.")]
    Parenthesis,
    #[error("Incorrect description of a {{min,max}} interval.")]
    Interval,
    #[error("The maximum is less than the minumum in a {{min,max}} interval.")]
    IntervalOrder,
    #[error("Invalid back-reference in regular expression.")]
    BackReference,
    #[error("The look-behind assertion exceeds the limit in regular expression.")]
    LookBehind,
    #[error("The regular expression contains an unclosed bracket expression.")]
    Bracket,
    #[error("The regular expression contains an [x-y] character range where x comes after y.")]
    Range,
    #[error("Timeout exceeded in regular expression match.")]
    TimeOut,
    #[error("The regular expression pattern exceeds limits on size or complexity.")]
    TooBig,
    #[error("A capture group has an invalid name.")]
    GroupName,
    #[error("Decimal number in regular expression is too large.")]
    Number,
    #[error("Internal error in the regular expression library.")]
    Internal,
}

impl RegexFault {
    /// MySQL's error number.
    pub fn code(self) -> u16 {
        match self {
            RegexFault::IllegalArgument => 3685,
            RegexFault::IndexOutOfBounds => 3686,
            RegexFault::Internal => 3687,
            RegexFault::Syntax { .. } => 3688,
            RegexFault::Escape => 3689,
            RegexFault::Parenthesis => 3691,
            RegexFault::Interval => 3692,
            RegexFault::IntervalOrder => 3693,
            RegexFault::BackReference => 3694,
            RegexFault::LookBehind => 3695,
            RegexFault::Bracket => 3696,
            RegexFault::Range => 3697,
            RegexFault::TimeOut => 3699,
            RegexFault::TooBig => 3700,
            RegexFault::GroupName => 3887,
            RegexFault::Number => 4007,
        }
    }
}

impl EvalError {
    /// MySQL's error number.
    pub fn code(&self) -> u16 {
        match self {
            EvalError::ResultOutOfRange { .. } => 1690,
            EvalError::ColumnOutOfRange { .. } => 1264,
            EvalError::DataTooLong { .. } => 1406,
            EvalError::DataTruncated { .. } => 1265,
            EvalError::IncorrectColumnValue { .. } => 1366,
            EvalError::IncorrectTemporalColumn { .. }
            | EvalError::IncorrectTemporal { .. }
            | EvalError::TruncatedWrongValue { .. } => 1292,
            EvalError::WrongConstant { .. } => 1525,
            EvalError::InvalidTimestamp { .. } => 1299,
            EvalError::WrongValueForFunction { .. } => 1411,
            EvalError::DivisionByZero => 1365,
            EvalError::DatetimeOverflow(_) => 1441,
            EvalError::BitOperandLengths => 3513,
            EvalError::CutByGroupConcat(_) => 1260,
            EvalError::BadRegex(fault) => fault.code(),
            EvalError::WrongArguments(_) => 1210,
            EvalError::WrongParameters(_) => 1583,
            EvalError::CannotConvertString { .. } => 3854,
            EvalError::Unsupported(_) => 1235,
            EvalError::SubqueryRows => 1242,
            EvalError::ResultTooLong { .. } => 1301,
            EvalError::Memory(_) => 8175,
            EvalError::Corrupt(_) | EvalError::Internal(_) => 1105,
        }
    }

    /// The SQLSTATE that goes with [`EvalError::code`].
    pub fn sqlstate(&self) -> &'static str {
        sqlstate(self.code())
    }
}

impl From<arrow::error::ArrowError> for EvalError {
    fn from(error: arrow::error::ArrowError) -> EvalError {
        EvalError::Internal(error.to_string())
    }
}

/// The SQLSTATE of the error numbers that expressions give.
pub fn sqlstate(code: u16) -> &'static str {
    match code {
        1690 | 1264 => "22003",
        1406 => "22001",
        1292 => "22007",
        1365 => "22012",
        1441 => "22008",
        1265 => "01000",
        1242 => "21000",
        1235 | 1253 | 1305 | 1582 | 1115 => "42000",
        _ => "HY000",
    }
}
