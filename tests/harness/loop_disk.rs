//! A file system of its own in a file, whose power can be cut.
//!
//! The cut is ext4's shutdown call without a flush of its journal: what was written and not synced is gone when the file system
//! is mounted again, as after a power failure of a disk that keeps what it acknowledged.

use crate::{ballast, cmd};
use anyhow::{Result, ensure};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// EXT4_IOC_SHUTDOWN, and its flag for a journal that is not flushed.
const CUT: &str = "import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";

/// A mounted image; unmounted when dropped.
pub struct LoopDisk {
    folder: tempfile::TempDir,
}

impl LoopDisk {
    /// Makes an image of so many MiB with ext4 on it and mounts it. It needs root.
    ///
    /// # Errors
    /// `mkfs.ext4` or `mount` fails.
    pub fn mount(mib: u64) -> Result<LoopDisk> {
        let disk = LoopDisk { folder: tempfile::tempdir()? };
        File::create(disk.image())?.set_len(mib << 20)?;
        std::fs::create_dir(disk.path())?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(disk.image()))?;
        disk.mount_again()?;
        Ok(disk)
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// From here on nothing reaches the disk and whoever writes gets EIO.
    ///
    /// # Errors
    /// The call fails.
    pub fn cut_power(&self) -> Result<()> {
        run(Command::new("python3").args(["-c", CUT]).arg(self.path()))
    }

    /// After a cut, when nobody uses the file system any more: it comes back with what was synced.
    ///
    /// # Errors
    /// It is in use, or damaged beyond what a journal mends.
    pub fn restore_power(&self) -> Result<()> {
        run(Command::new("umount").arg(self.path()))?;
        self.mount_again()
    }

    /// Leaves `free` bytes; the rest is taken by a file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn fill(&self, free: u64) -> Result<()> {
        Ok(ballast::fill(&self.path(), free)?)
    }

    /// Takes the file away again.
    ///
    /// # Errors
    /// There is none.
    pub fn make_room(&self) -> Result<()> {
        Ok(ballast::make_room(&self.path())?)
    }

    fn mount_again(&self) -> Result<()> {
        run(Command::new("mount").args(["-o", "loop"]).arg(self.image()).arg(self.path()))
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        // Lazily: whoever still has a file open there is about to end.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = cmd::run(command);
    ensure!(output.ok, "{}: {}", Path::new(command.get_program()).display(), output.err.trim());
    Ok(())
}
