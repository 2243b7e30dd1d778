//! How accounts come into a cluster, or are mended, before anybody can log in.
//!
//! `BASALT_ROOT_PASSWORD` (or `BASALT_ROOT_PASSWORD_FILE`) is for containers: root gets it while it has none, which lets a
//! fresh folder listen beyond loopback. `--init-file` is the way back in for who has lost root's password: whoever can
//! start the process can read its data anyway.

use crate::cli;
use crate::config::File;
use anyhow::{Context, Result, bail};
use basalt_sql::session::{InitFile, StartAccounts};
use std::path::PathBuf;

const PASSWORD: &str = "BASALT_ROOT_PASSWORD";
const PASSWORD_FILE: &str = "BASALT_ROOT_PASSWORD_FILE";

/// What flags, file and environment say.
pub fn read(args: &cli::Accounts, file: &File) -> Result<StartAccounts> {
    let init_file = match args.init_file.as_ref().or(file.init_file.as_ref()) {
        None => None,
        Some(path) => {
            let text = std::fs::read(path).with_context(|| format!("--init-file: cannot read {}", path.display()))?;
            Some(InitFile { name: path.display().to_string(), text })
        }
    };
    let variable = |name: &str| std::env::var_os(name);
    let root_password = match (variable(PASSWORD), variable(PASSWORD_FILE).map(PathBuf::from)) {
        (Some(_), Some(_)) => bail!("{PASSWORD} and {PASSWORD_FILE} are both set: give one"),
        (Some(password), None) => Some(password.into_encoded_bytes()),
        (None, Some(path)) => {
            let mut text =
                std::fs::read(&path).with_context(|| format!("{PASSWORD_FILE}: cannot read {}", path.display()))?;
            // Editors and `echo` end a file with a line's end.
            while text.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
                text.pop();
            }
            Some(text)
        }
        (None, None) => None,
    };
    if root_password.as_ref().is_some_and(Vec::is_empty) {
        bail!("{PASSWORD} is empty: a root without password listens on loopback only, and then needs no variable");
    }
    Ok(StartAccounts { root_password, init_file })
}
