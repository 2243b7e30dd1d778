//! Logs go to standard error, one line an event, so that standard output is for people and programs.

use anyhow::Result;
use tracing_subscriber::EnvFilter;

/// Sets up the process's log. `filter` is a level or an `EnvFilter` expression.
pub fn init(filter: Option<&str>) -> Result<()> {
    let filter = EnvFilter::try_new(filter.unwrap_or("info"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
    Ok(())
}
