//! Time that moves only when every task waits, without tokio's `test-util`: that feature would compile everything above
//! tokio a second time, DataFusion included, because the binary must not have it.
//!
//! Rust's and tokio's clocks end in `clock_gettime`. This test program brings its own, which answers simulated time on a
//! thread that runs a simulation and the machine's on every other. The root future of the simulation's runtime is polled
//! when no task is ready, and moves the clock by a millisecond, which is as fine as tokio's timers are.

use std::cell::Cell;
use std::ffi::{c_int, c_long};
use std::future::Future;
use std::time::Duration;

/// Where simulated clocks start, in nanoseconds since 1970; zero means that the thread is not simulated.
const START_NS: u64 = 1_700_000_000_000_000_000;
/// As fine as tokio's timers.
const STEP_NS: u64 = 1_000_000;
/// A run that takes longer hangs.
const LONGEST: Duration = Duration::from_secs(600);

#[cfg(target_arch = "x86_64")]
const SYS_CLOCK_GETTIME: c_long = 228;
#[cfg(target_arch = "aarch64")]
const SYS_CLOCK_GETTIME: c_long = 113;

thread_local! {
    static NOW_NS: Cell<u64> = const { Cell::new(0) };
    static PANICKED: Cell<bool> = const { Cell::new(false) };
}

#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: c_long,
}

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
}

/// In place of libc's.
#[unsafe(no_mangle)]
extern "C" fn clock_gettime(clock: c_int, out: *mut Timespec) -> c_int {
    let now = NOW_NS.get();
    if now == 0 {
        // SAFETY: the arguments are those that libc's function hands to the same system call.
        return unsafe { syscall(SYS_CLOCK_GETTIME, c_long::from(clock), out) } as c_int;
    }
    let simulated = Timespec { seconds: (now / 1_000_000_000) as i64, nanoseconds: (now % 1_000_000_000) as c_long };
    // SAFETY: the caller hands a place for the result, as the function's contract says.
    unsafe { out.write(simulated) };
    0
}

/// Simulated time since the run began.
pub fn elapsed() -> Duration {
    Duration::from_nanos(NOW_NS.get().saturating_sub(START_NS))
}

/// Milliseconds since 1970 on the simulated machines.
pub fn wall_ms() -> u64 {
    NOW_NS.get() / 1_000_000
}

/// Runs a future and all it spawns on a thread of its own, in simulated time. A panic in any task ends the run.
pub fn run<T, F>(main: impl FnOnce() -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    note_panics();
    let thread = std::thread::Builder::new().name("simulation".into()).spawn(move || {
        NOW_NS.set(START_NS);
        // The root is polled when the queue of tasks is empty, not after a number of them.
        let builder = &mut tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().event_interval(u32::MAX).build().expect("a runtime is built");
        runtime.block_on(async move {
            let main = tokio::spawn(main());
            while !main.is_finished() {
                tokio::task::yield_now().await;
                assert!(!PANICKED.get(), "a task panicked");
                assert!(elapsed() < LONGEST, "the simulation does not end");
                NOW_NS.set(NOW_NS.get() + STEP_NS);
            }
            main.await
        })
    });
    let outcome = thread.expect("a thread starts").join();
    match outcome {
        Ok(Ok(value)) => value,
        Ok(Err(error)) => panic!("{error}"),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// tokio keeps a task's panic to itself; a simulation ends at the first.
fn note_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICKED.set(true);
            usual(info);
        }));
    });
}
