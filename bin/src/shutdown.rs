//! Waiting for the signal to stop.

use anyhow::Result;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Returns at SIGINT (Ctrl-C) or SIGTERM.
pub async fn requested() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let signal = tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    };
    tracing::info!(signal, "stopping");
    Ok(())
}

/// How long a store may take to hand its regions to others.
pub const HAND_OVER: Duration = Duration::from_millis(600);
/// How long a server may take to finish what it has begun.
pub const GRACE: Duration = Duration::from_secs(5);
/// How long its last answers may take to leave.
pub const FLUSH: Duration = Duration::from_millis(50);
