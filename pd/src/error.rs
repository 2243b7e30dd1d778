//! PD's errors, by what the caller does next.

use crate::meta_store::MetaError;
use basalt_proto::pd::{PdError, pd_error::Kind};

/// Why PD refused a request. The request changed nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The cluster has no first region yet: bootstrap it, or wait for who does.
    #[error("the cluster is not bootstrapped")]
    NotBootstrapped,
    /// Somebody else was first: join instead.
    #[error("the cluster is already bootstrapped")]
    AlreadyBootstrapped,
    /// The caller belongs to another cluster: stop.
    #[error("request is for cluster {wanted}, this is cluster {actual}")]
    ClusterMismatch {
        /// Whom the caller meant.
        wanted: u64,
        /// Who we are.
        actual: u64,
    },
    /// PD knows a newer configuration of the region: the sender is behind.
    #[error("epoch of region {region} is stale")]
    StaleEpoch {
        /// The region of the request, or the newer one that overlaps it.
        region: u64,
    },
    /// No such region, store or key.
    #[error("{0} not found")]
    NotFound(String),
    /// Come again later.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// The request makes no sense: do not repeat it.
    #[error("invalid request: {0}")]
    Invalid(String),
}

impl From<MetaError> for Error {
    fn from(e: MetaError) -> Self {
        Error::Unavailable(e.to_string())
    }
}

impl From<&Error> for PdError {
    fn from(e: &Error) -> Self {
        let kind = match e {
            Error::NotBootstrapped => Kind::NotBootstrapped,
            Error::AlreadyBootstrapped => Kind::AlreadyBootstrapped,
            Error::ClusterMismatch { .. } => Kind::ClusterMismatch,
            Error::StaleEpoch { .. } => Kind::StaleEpoch,
            Error::NotFound(_) => Kind::NotFound,
            Error::Unavailable(_) => Kind::Unavailable,
            Error::Invalid(_) => Kind::Invalid,
        };
        PdError { kind: kind as i32, message: e.to_string() }
    }
}
