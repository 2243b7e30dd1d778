//! A file that takes the room of a file system, so that a test can fill it and make room again.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Leaves `free` bytes in a mounted folder; the rest is taken by a file, which grows when this is called again.
///
/// # Errors
/// The file cannot be written.
pub fn fill(folder: &Path, free: u64) -> io::Result<()> {
    let found = rustix::fs::statvfs(folder)?;
    let take = (found.f_bavail * found.f_frsize).saturating_sub(free);
    let file = File::options().create(true).append(true).open(ballast(folder))?;
    let taken = file.metadata()?.len();
    Ok(rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), taken, take)?)
}

/// Takes the file away again.
///
/// # Errors
/// There is none.
pub fn make_room(folder: &Path) -> io::Result<()> {
    std::fs::remove_file(ballast(folder))
}

fn ballast(folder: &Path) -> PathBuf {
    folder.join("ballast")
}
