//! Planted mistakes, for nets to prove that they hold.
//!
//! Each mistake of docs/mistakes.md that the code could make stands at the place where it would be made, behind
//! `mutant("M1")`. Builds without the feature `mutants`, all but those of `bench/mutants.py`, have `false` there; with it, the
//! environment variable `BASALT_MUTANT` names the one that is made.

/// Whether the mistake of this number is to be made.
#[cfg(feature = "mutants")]
pub fn mutant(number: &str) -> bool {
    static MADE: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    MADE.get_or_init(|| std::env::var("BASALT_MUTANT").unwrap_or_default()) == number
}

/// Whether the mistake of this number is to be made: never.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn mutant(_number: &str) -> bool {
    false
}
