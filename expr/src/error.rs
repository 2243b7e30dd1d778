//! Errors of the crate, each with its MySQL code, SQLSTATE and text.
//!
//! [`ExprError`] comes while an expression is built (the statement is wrong), [`EvalError`] while it runs (the data are, or
//! the statement with these data). Both reach the client as they are. Broken bytes from a disk or a network are
//! `basalt_common::codec::CodecError`, which [`EvalError::Corrupt`] carries to a caller that has no other channel.

use crate::collation::Side;
use basalt_common::codec::CodecError;

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
    /// 1235: valid in MySQL, not done here.
    #[error("This version of Basalt doesn't yet support '{0}'")]
    Unsupported(String),
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
            ExprError::Unsupported(_) => 1235,
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
    let shown: Vec<String> = sides.iter().map(|(name, rank)| format!("({},{})", name.name(), rank.name())).collect();
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
    /// 3685 and its neighbors: a regular expression that does not compile.
    #[error("Illegal argument to a regular expression: {0}")]
    BadRegex(String),
    /// 1235: valid in MySQL, not done here.
    #[error("This version of Basalt doesn't yet support '{0}'")]
    Unsupported(String),
    /// 1301: a result beyond `max_allowed_packet`.
    #[error("Result of {function}() was larger than max_allowed_packet ({limit}) - truncated")]
    ResultTooLong {
        /// The function, lower case.
        function: &'static str,
        /// The limit in bytes.
        limit: usize,
    },
    /// Encoded rows, keys or plans that make no sense: stop, the data are damaged.
    #[error("damaged data: {0}")]
    Corrupt(#[from] CodecError),
    /// A fault of ours (an expression and a batch that do not fit together).
    #[error("internal error: {0}")]
    Internal(String),
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
            EvalError::WrongValueForFunction { .. } => 1411,
            EvalError::DivisionByZero => 1365,
            EvalError::DatetimeOverflow(_) => 1441,
            EvalError::BitOperandLengths => 3513,
            EvalError::CutByGroupConcat(_) => 1260,
            EvalError::BadRegex(_) => 3685,
            EvalError::Unsupported(_) => 1235,
            EvalError::ResultTooLong { .. } => 1301,
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
        1235 | 1305 | 1582 | 1115 => "42000",
        _ => "HY000",
    }
}
