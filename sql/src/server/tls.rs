//! TLS: the server's certificate, and the upgrade of a connection in its handshake.
//!
//! The handshake reads packet by packet, so when a client asks for TLS nothing past its request has been read: whatever
//! an attacker put there in plain text is the first thing the TLS layer sees, and refuses.

use super::packet::{Reading, Writing};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// The server's certificate, ready to accept with.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The text is not PEM, or has no certificate or no key.
    #[error("cannot read the certificate or its key: {0}")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// The key does not belong to the certificate, or is of a kind that is not supported.
    #[error("cannot use the certificate: {0}")]
    Certificate(#[from] rustls::Error),
}

impl Tls {
    /// From a certificate chain and a private key as PEM.
    ///
    /// # Errors
    /// When they cannot be read or do not belong together.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Tls, TlsError> {
        let certificates = CertificateDer::pem_slice_iter(certificates).collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(certificates, key)?;
        Ok(Tls { acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    /// Does the TLS handshake over the two halves of a connection.
    pub(super) async fn accept(&self, reading: Reading, writing: Writing) -> io::Result<(Reading, Writing)> {
        let stream = self.acceptor.accept(tokio::io::join(reading, writing)).await?;
        let (reading, writing) = tokio::io::split(stream);
        Ok((Box::new(reading), Box::new(writing)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_pem_is_an_error() {
        assert!(Tls::from_pem(b"", b"").is_err());
        assert!(Tls::from_pem(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"x").is_err());
    }
}
