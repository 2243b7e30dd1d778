//! Nothing: cargo compiles what is needed to build a crate only where there is something to build.

fn main() {}
