//! Questions to Basalt alone whose answers must agree.

use mysql_async::Opts;

/// Nothing yet.
pub async fn run(_basalt: Opts, _first_seed: u64, _wanted: usize) -> String {
    String::new()
}
