//! What happened, in order: the proof that a seed replays.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Events of one run. Clones are the same trace.
#[derive(Clone, Default)]
pub struct Trace(Arc<Mutex<Vec<String>>>);

impl Trace {
    /// The events, also after a panic: a failed seed still writes its trace.
    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event.
    pub fn note(&self, event: impl fmt::Display) {
        let at = crate::clock::elapsed();
        self.lines().push(format!("{:>9.3} {event}", at.as_secs_f64()));
    }

    /// The first event in which two traces differ.
    pub fn difference(&self, other: &Trace) -> Option<(usize, String, String)> {
        let (a, b) = (self.lines(), other.lines());
        let longer = a.len().max(b.len());
        let at = (0..longer).find(|&i| a.get(i) != b.get(i))?;
        let line = |lines: &[String]| lines.get(at).cloned().unwrap_or_else(|| "(ended)".into());
        Some((at, line(&a), line(&b)))
    }

    /// Writes the events to a file.
    pub fn write(&self, path: &Path) {
        std::fs::write(path, self.lines().join("\n")).expect("the trace's folder is writable");
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.lines();
        let all = lines.iter().fold(hash(&[]), |so_far, line| so_far.rotate_left(5) ^ hash(line.as_bytes()));
        write!(f, "{} events, trace {all:016x}", lines.len())
    }
}

/// FNV-1a, the same in every process.
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}
