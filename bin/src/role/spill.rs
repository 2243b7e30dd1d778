//! Where a SQL server without a data folder spills: `basalt-spill-PID` among the system's temporary files, for the owner
//! only.
//!
//! A server that ends takes its folder away. One that is killed cannot; the next one that starts on the machine does it: a
//! folder whose lock nobody holds has no owner any more. (A process id would not do: it may be somebody else's by now, or
//! be counted in another container.)

use anyhow::{Context, Result};
use std::fs::{DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

const PREFIX: &str = "basalt-spill-";
const LOCK: &str = ".lock";

/// The folder, taken away when it is dropped.
pub struct SpillFolder {
    path: PathBuf,
    _lock: File,
}

impl SpillFolder {
    /// Makes the folder of this process, and takes away those that nobody owns any more.
    pub fn create() -> Result<SpillFolder> {
        let among = std::env::temp_dir();
        sweep(&among);
        let path = among.join(format!("{PREFIX}{}", std::process::id()));
        let create = || -> std::io::Result<File> {
            DirBuilder::new().mode(0o700).create(&path)?;
            // It has its name only once it is held: others may be looking for folders without an owner.
            let new = path.join(".lock-new");
            let lock = File::create(&new)?;
            lock.lock()?;
            std::fs::rename(new, path.join(LOCK))?;
            Ok(lock)
        };
        let lock = create().with_context(|| format!("cannot make the folder {} to spill into", path.display()))?;
        Ok(SpillFolder { path, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SpillFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Takes away the folders of servers that are no more. What cannot be looked at or removed is left to its owner.
fn sweep(among: &Path) {
    let Ok(entries) = std::fs::read_dir(among) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let is_spill = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(PREFIX));
        if is_spill && is_left(&path) {
            match std::fs::remove_dir_all(&path) {
                Ok(()) => tracing::info!(folder = %path.display(), "took away what a killed server had spilled"),
                Err(error) => tracing::warn!(folder = %path.display(), %error, "cannot take away a spill folder"),
            }
        }
    }
}

fn is_left(folder: &Path) -> bool {
    let Ok(lock) = File::open(folder.join(LOCK)) else { return false };
    match lock.try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_without_an_owner_are_taken_away() {
        let among = tempfile::tempdir().expect("a folder can be made");
        let folder = |name: &str| {
            let path = among.path().join(name);
            std::fs::create_dir(&path).expect("a folder can be made");
            let lock = File::create(path.join(LOCK)).expect("a file can be made");
            std::fs::write(path.join("rows"), b"x").expect("a file can be written");
            (path, lock)
        };
        let (left, lock) = folder("basalt-spill-1");
        drop(lock);
        let (owned, lock) = folder("basalt-spill-2");
        lock.lock().expect("nobody else holds it");
        let (other, _) = folder("somebody-else");
        sweep(among.path());
        assert!(!left.exists() && owned.join("rows").exists() && other.exists());
    }
}
