//! The coprocessor's errors, by what the client does next.

use basalt_expr::error::EvalError;
use basalt_expr::memory_pool::Size;
use basalt_proto::coprocessor::{CodedError, CoprocessorResponse};
use basalt_proto::errors;
use datafusion_common::DataFusionError;

/// Why a request has no (more) answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The region must be looked up again, or the store asked later.
    #[error("{}", .0.message)]
    Region(Box<errors::RegionError>),
    /// An expression failed, or a limit was hit: tell the user.
    #[error("{message}")]
    Sql {
        /// MySQL's number.
        code: u16,
        /// The SQLSTATE.
        sqlstate: String,
        /// The text.
        message: String,
    },
    /// The request cannot be understood by this version; the client may ask for plain rows instead.
    #[error("{0}")]
    Invalid(String),
    /// Stored data do not decode. Nothing else is wrong with the store, but this answer would be.
    #[error("corrupt data: {0}")]
    Corrupt(String),
    /// A fault of the coprocessor.
    #[error("coprocessor: {0}")]
    Internal(String),
}

/// What functions of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        DataFusionError::External(Box::new(error))
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        if let DataFusionError::Shared(inner) = &error {
            return classify(inner.as_ref());
        }
        classify(&error)
    }
}

fn out_of_memory(how: &str) -> Error {
    let message = format!("Out Of Memory Quota in storage: {how}");
    Error::Sql { code: 8175, sqlstate: "HY000".to_string(), message }
}

fn classify(error: &DataFusionError) -> Error {
    let root = error.find_root();
    if let DataFusionError::External(inner) = root {
        if let Some(own) = inner.downcast_ref::<Error>() {
            return own.clone();
        }
        if let Some(EvalError::Memory(exceeded)) = inner.downcast_ref::<EvalError>() {
            let (used, limit) = (Size(exceeded.used), Size(exceeded.limit));
            return out_of_memory(&format!("a fragment holds {used}; the coprocessor allows {limit}"));
        }
        if let Some(eval) = inner.downcast_ref::<EvalError>() {
            return Error::Sql { code: eval.code(), sqlstate: eval.sqlstate().to_string(), message: eval.to_string() };
        }
    }
    match root {
        DataFusionError::ResourcesExhausted(message) => out_of_memory(message),
        DataFusionError::Plan(message) | DataFusionError::NotImplemented(message) => Error::Invalid(message.clone()),
        other => Error::Internal(other.to_string()),
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Error::from(DataFusionError::from(error))
    }
}

impl From<Error> for CoprocessorResponse {
    fn from(error: Error) -> Self {
        let mut response = CoprocessorResponse::default();
        match error {
            Error::Region(error) => response.region_error = Some(*error),
            Error::Sql { code, sqlstate, message } => {
                response.sql_error = Some(CodedError { code: code.into(), sql_state: sqlstate, message });
            }
            other => response.other_error = other.to_string(),
        }
        response
    }
}
