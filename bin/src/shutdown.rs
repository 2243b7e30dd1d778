//! Waiting for the signal to stop.

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};

/// Returns at SIGINT (Ctrl-C) or SIGTERM.
pub async fn requested() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// How long a server may take to finish what it has begun.
pub const GRACE: std::time::Duration = std::time::Duration::from_secs(5);
