//! Errors through DataFusion and back: ours travel inside its own, and come out as they went in.

use crate::error::Error;
use basalt_expr::error::{EvalError, ExprError};
use datafusion_common::DataFusionError;

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        DataFusionError::External(Box::new(error))
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        match error {
            DataFusionError::External(inner) => match inner.downcast::<Error>() {
                Ok(own) => *own,
                Err(inner) => of_root(&DataFusionError::External(inner)),
            },
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => Error::from(*inner),
            other => of_root(&other),
        }
    }
}

/// An error that several partitions share, or that has none of ours at its root.
fn of_root(error: &DataFusionError) -> Error {
    match error.find_root() {
        DataFusionError::External(inner) => {
            if let Some(own) = inner.downcast_ref::<Error>() {
                let (code, sqlstate, message) = own.to_mysql();
                return Error::User { code, sqlstate, message };
            }
            if let Some(eval) = inner.downcast_ref::<EvalError>() {
                return Error::Eval(eval.clone());
            }
            if let Some(expr) = inner.downcast_ref::<ExprError>() {
                return Error::from(expr.clone());
            }
            Error::Internal(inner.to_string())
        }
        DataFusionError::ResourcesExhausted(reason) => {
            tracing::info!(%reason, "a query is over its memory");
            Error::memory_quota(reason)
        }
        DataFusionError::Execution(message) if message.contains("more than one row") => Error::subquery_rows(),
        DataFusionError::NotImplemented(what) => Error::unsupported(what),
        // What the planner refuses is nothing that the binder let through by mistake: decorrelation has limits.
        DataFusionError::Plan(what) => Error::unsupported(what),
        other => Error::Internal(other.to_string()),
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Error::from(DataFusionError::from(error))
    }
}
