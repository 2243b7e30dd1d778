//! A file system of a few megabytes, which a test can fill or make read-only.

use crate::ballast;
use rustix::process::geteuid;
use std::path::Path;
use std::process::Command;

/// A mounted tmpfs; unmounted when dropped.
pub struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// Mounts one. `None`, and a line that says so, where this user may not mount.
    pub fn mount(mib: u32) -> Option<SmallDisk> {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let size = format!("size={mib}m,mode=700");
        let mounted = geteuid().is_root()
            && Command::new("mount")
                .args(["-t", "tmpfs", "-o", &size, "basalt-test"])
                .arg(folder.path())
                .status()
                .is_ok_and(|status| status.success());
        if !mounted {
            eprintln!("SKIPPED: mounting a small file system needs root");
            return None;
        }
        Some(SmallDisk { folder })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// From now on nothing can be written.
    pub fn make_read_only(&self) {
        let status = Command::new("mount").args(["-o", "remount,ro"]).arg(self.path()).status();
        assert!(status.is_ok_and(|s| s.success()), "remount failed");
    }

    /// Leaves `free` bytes; the rest is taken by a file, which grows when this is called again.
    pub fn fill(&self, free: u64) {
        ballast::fill(self.path(), free).expect("the file system can be written");
    }

    /// Takes the file away again.
    pub fn make_room(&self) {
        ballast::make_room(self.path()).expect("the file is there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whoever still has a file open there is about to end.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
