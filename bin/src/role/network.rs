//! Addresses: resolved, bound, and refused where nobody would guard them.
//!
//! The ports between processes (gRPC) have neither passwords nor encryption. Whoever reaches one reads and writes every
//! row, so they leave loopback only when whoever starts the process says that the network can be trusted.

use anyhow::{Context, Result, bail};
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// An address, resolved.
pub async fn resolve(address: &str, flag: &str) -> Result<SocketAddr> {
    tokio::net::lookup_host(address)
        .await
        .ok()
        .and_then(|mut found| found.next())
        .with_context(|| format!("--{flag} {address}: not an address such as 127.0.0.1:4000"))
}

/// Binds a port for gRPC.
pub async fn bind(address: &str, trusted_network: bool) -> Result<TcpListener> {
    let resolved = resolve(address, "listen").await?;
    if !resolved.ip().is_loopback() && !trusted_network {
        bail!(
            "--listen {address}: this port has no password and no encryption; whoever reaches it reads and writes all data. \
             Listen on loopback or, where a firewall lets only the cluster's machines in, say so with --trusted-network \
             (BASALT_TRUSTED_NETWORK=true, trusted_network = true)"
        );
    }
    TcpListener::bind(resolved).await.with_context(|| format!("cannot listen on {address}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_loopback_only_by_request() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let refused = bind("0.0.0.0:0", false).await.unwrap_err().to_string();
            assert!(refused.contains("--trusted-network"), "{refused}");
            bind("0.0.0.0:0", true).await.unwrap();
            bind("127.0.0.1:0", false).await.unwrap();
        });
    }
}
