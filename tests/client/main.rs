//! The client's transactions against real stores' transaction layer: one engine in memory, cut into regions that split
//! under way, behind calls that get lost, come twice and come late.
//!
//! What is real: client, PD, the store's service, scheduler and MVCC. What is simulated: replication ([`world::Regions`])
//! and the network ([`world::Net`]).

mod bank;
mod fragments;
mod locks;
mod reads;
mod serializable;
mod world;
