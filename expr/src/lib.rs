//! Stub.
pub mod fragment;
