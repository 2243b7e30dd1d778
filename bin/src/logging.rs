//! The log: to standard error, one line an event, so that standard output is for people and programs; or to a file.

use crate::cli::Common;
use crate::config::File;
use anyhow::{Context, Result, bail};
use std::sync::Arc;
use tracing_subscriber::EnvFilter;

const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];
const DEFAULT: &str = "info";

/// Sets up the process's log as flags and file say.
pub fn init(args: &Common, file: &File) -> Result<()> {
    let filter = parse(args.log.as_deref().or(file.log.as_deref()).unwrap_or(DEFAULT))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter);
    match args.log_file.as_ref().or(file.log_file.as_ref()) {
        None => {
            log.with_writer(std::io::stderr).with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init();
        }
        Some(path) => {
            let file = std::fs::File::options()
                .create(true)
                .append(true)
                .open(path)
                .with_context(|| format!("--log-file: cannot write {}", path.display()))?;
            log.with_writer(Arc::new(file)).with_ansi(false).init();
        }
    }
    tracing::info!(version = env!("BASALT_VERSION"), pid = std::process::id(), "basalt starts");
    Ok(())
}

/// A word alone is a level: taken for a module's name, `verbose` would silence everything.
fn parse(filter: &str) -> Result<EnvFilter> {
    let advice = "a level (off, error, warn, info, debug, trace) or a filter such as info,basalt_storage=debug";
    for part in filter.split(',').map(str::trim) {
        let word = !part.contains(['=', '[', ':']);
        if word && !LEVELS.iter().any(|level| part.eq_ignore_ascii_case(level)) {
            bail!("--log {filter:?}: {part:?} is not {advice}");
        }
    }
    match EnvFilter::try_new(filter) {
        Ok(filter) => Ok(filter),
        // The parser's own text says the same thing twice.
        Err(_) => bail!("--log {filter:?}: not {advice}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_level_or_a_filter() {
        for good in ["info", "WARN", "info,basalt_storage=debug", "basalt_sql::session=trace", "off"] {
            parse(good).unwrap();
        }
        for bad in ["verbose", "", "info,loud", "nosuch=level=x"] {
            let error = parse(bad).unwrap_err().to_string();
            assert!(error.starts_with("--log ") && !error.contains('\n'), "{error}");
        }
    }
}
