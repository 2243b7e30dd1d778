//! A result writer for statements that no client sent: what it is given goes nowhere.

use super::constant::Capabilities;
use super::packet::PacketWriter;
use super::result::{Protocol, ResultWriter};
use std::time::Duration;
use tokio::sync::mpsc;

/// Takes the results of any number of statements in one text, and drops them.
pub fn writer() -> ResultWriter {
    let packets = PacketWriter::new(Box::new(tokio::io::sink()), Duration::MAX);
    let mut out = ResultWriter::new(packets, mpsc::channel(1).0);
    out.set_capabilities(Capabilities::OFFERED.with(Capabilities::MULTI_STATEMENTS));
    out.start(Protocol::Text, 0, usize::MAX);
    out
}
