//! System tests: the real binary, real clients, real signals. One module a promise of the README.

mod answers;
mod bad_usage;
mod bank;
mod cluster_life;
mod ctl;
mod deadlocks;
mod disk_full;
mod endless;
mod garbage;
mod idle;
mod large_statements;
mod many_servers;
mod memory;
mod operate;
mod owner_dies;
mod privileges;
mod protocol;
mod queue;
mod regions;
mod roles;
mod schema_changes;
mod session;
mod sysbench;
mod vanish;
