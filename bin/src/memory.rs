//! What the process may hold, and what the kernel and the allocator say that it holds.

use basalt_common::memory::heap;
use basalt_sql::memory::MemoryOptions;
use bytesize::ByteSize;
use std::cell::OnceCell;
use std::ptr;
use tikv_jemalloc_ctl::thread::{ThreadLocal, allocatedp, deallocatedp};

/// Of the machine's memory, unless the settings say otherwise: the rest is for the kernel, its cache, and what comes between
/// two looks.
const DEFAULT_PERCENT: usize = 80;

/// Sets the allocator's counters up and decides on the limit: the settings', else a share of what the machine or the control
/// group has. Zero means none.
pub fn options(setting: Option<ByteSize>) -> MemoryOptions {
    heap::install(balance);
    let limit = match setting {
        Some(ByteSize(0)) => usize::MAX,
        Some(ByteSize(bytes)) => usize::try_from(bytes).unwrap_or(usize::MAX),
        None => available().map_or(usize::MAX, |bytes| bytes / 100 * DEFAULT_PERCENT),
    };
    MemoryOptions { limit, resident, purge }
}

/// Memory of the machine, or of the control group when that is less.
fn available() -> Option<usize> {
    kibibytes("/proc/meminfo", "MemTotal:").into_iter().chain(group_limits()).min()
}

/// The bytes of a line such as `MemTotal:  24605744 kB`.
fn kibibytes(file: &str, name: &str) -> Option<usize> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()?.checked_mul(1024)
}

/// Limits of this process's control group and those above it, in both versions of the interface.
fn group_limits() -> Vec<usize> {
    let text = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut limits = Vec::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            list if list.split(',').any(|c| c == "memory") => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => continue,
        };
        let mut folder = std::path::PathBuf::from(format!("{root}{path}"));
        while folder.starts_with(root) {
            let limit = std::fs::read_to_string(folder.join(file)).ok();
            limits.extend(limit.and_then(|limit| limit.trim().parse::<usize>().ok()));
            folder.pop();
        }
    }
    limits
}

/// Bytes of resident memory.
fn resident() -> Option<usize> {
    kibibytes("/proc/self/status", "VmRSS:")
}

/// Returns the pages that the allocator keeps for whoever asks next.
fn purge() {
    // All arenas, in jemalloc's words.
    const NAME: &std::ffi::CStr = c"arena.4096.purge";
    // SAFETY: the name ends in a zero, and this command neither reads nor writes a value.
    let outcome =
        unsafe { tikv_jemalloc_sys::mallctl(NAME.as_ptr(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), 0) };
    if outcome != 0 {
        tracing::debug!(outcome, "the allocator keeps its pages");
    }
}

/// Bytes that this thread took and did not give back.
fn balance() -> i64 {
    type Counters = (ThreadLocal<u64>, ThreadLocal<u64>);
    thread_local! {
        static COUNTERS: OnceCell<Option<Counters>> = const { OnceCell::new() };
    }
    let read = || Some((allocatedp::read().ok()?, deallocatedp::read().ok()?));
    COUNTERS.with(|counters| match counters.get_or_init(read) {
        Some((taken, given)) => taken.get().wrapping_sub(given.get()) as i64,
        None => 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_thread_takes_shows_in_its_balance() {
        let before = balance();
        let taken = vec![1u8; 3 << 20];
        assert!(balance() - before >= 3 << 20);
        drop(taken);
        assert!(balance() - before < 1 << 20);
    }

    #[test]
    fn the_machine_has_memory_and_the_process_holds_some() {
        let (available, resident) = (available().unwrap_or(0), resident().unwrap_or(0));
        purge();
        assert!(available > 64 << 20 && resident > 1 << 20 && resident < available, "{resident} of {available}");
    }
}
