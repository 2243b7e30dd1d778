//! The commands of the protocol: one enum, read from one payload.
//!
//! What the protocol knows and this server does not is named, so that its error says what is missing; every other byte is
//! error 1047. Bytes after a command's end are ignored, as MySQL does: connectors send them.

use super::payload::{Malformed, Payload};

/// A command and its arguments, borrowed from the packet.
#[derive(Clone, Copy, Debug)]
pub enum Command<'a> {
    /// COM_QUIT.
    Quit,
    /// COM_INIT_DB: the schema's name.
    InitDb(&'a [u8]),
    /// COM_QUERY: statements.
    Query(&'a [u8]),
    /// COM_FIELD_LIST: a table and a pattern for its columns.
    FieldList {
        /// The table.
        table: &'a [u8],
        /// As for LIKE; empty for all.
        wildcard: &'a [u8],
    },
    /// COM_STATISTICS.
    Statistics,
    /// COM_PROCESS_INFO: the process list as a result.
    ProcessInfo,
    /// COM_PROCESS_KILL: the connection's id.
    ProcessKill(u32),
    /// COM_PING.
    Ping,
    /// COM_CHANGE_USER: to be read by the handshake.
    ChangeUser(&'a [u8]),
    /// COM_RESET_CONNECTION.
    ResetConnection,
    /// COM_SET_OPTION: 0 allows several statements in a query, 1 forbids them.
    SetOption(u16),
    /// COM_STMT_PREPARE: a statement.
    Prepare(&'a [u8]),
    /// COM_STMT_EXECUTE.
    Execute {
        /// The statement.
        id: u32,
        /// Null bitmap, types and values.
        params: Payload<'a>,
    },
    /// COM_STMT_SEND_LONG_DATA, which has no answer.
    SendLongData {
        /// The statement.
        id: u32,
        /// The parameter's place.
        parameter: u16,
        /// A piece of its value.
        data: &'a [u8],
    },
    /// COM_STMT_CLOSE, which has no answer.
    CloseStatement(u32),
    /// COM_STMT_RESET.
    ResetStatement(u32),
    /// COM_STMT_FETCH.
    Fetch(u32),
    /// A command of the protocol that this server does not have.
    Unsupported(&'static str),
    /// Not a command.
    Unknown,
}

impl<'a> Command<'a> {
    /// Reads a command.
    ///
    /// # Errors
    /// When the packet is too short for the command it names.
    pub fn parse(packet: &'a [u8]) -> Result<Command<'a>, Malformed> {
        let mut payload = Payload::new(packet);
        let Ok(code) = payload.u8() else { return Ok(Command::Unknown) };
        Ok(match code {
            0x01 => Command::Quit,
            0x02 => Command::InitDb(payload.rest()),
            0x03 => Command::Query(payload.rest()),
            0x04 => Command::FieldList { table: payload.nul_bytes(), wildcard: payload.rest() },
            0x09 => Command::Statistics,
            0x0a => Command::ProcessInfo,
            0x0c => Command::ProcessKill(payload.u32()?),
            0x0e => Command::Ping,
            0x11 => Command::ChangeUser(payload.rest()),
            0x16 => Command::Prepare(payload.rest()),
            0x17 => {
                let id = payload.u32()?;
                // Cursors are not opened: the whole result is sent at once, which the flags permit. The iteration
                // count that follows them is always 1.
                payload.bytes(5)?;
                Command::Execute { id, params: payload }
            }
            0x18 => Command::SendLongData { id: payload.u32()?, parameter: payload.u16()?, data: payload.rest() },
            0x19 => Command::CloseStatement(payload.u32()?),
            0x1a => Command::ResetStatement(payload.u32()?),
            0x1b => Command::SetOption(payload.u16()?),
            0x1c => Command::Fetch(payload.u32()?),
            0x1f => Command::ResetConnection,
            0x07 => Command::Unsupported("COM_REFRESH"),
            0x08 => Command::Unsupported("COM_SHUTDOWN"),
            0x0d => Command::Unsupported("COM_DEBUG"),
            0x12 => Command::Unsupported("COM_BINLOG_DUMP"),
            0x13 => Command::Unsupported("COM_TABLE_DUMP"),
            0x15 => Command::Unsupported("COM_REGISTER_SLAVE"),
            0x1e => Command::Unsupported("COM_BINLOG_DUMP_GTID"),
            0x20 => Command::Unsupported("COM_CLONE"),
            _ => Command::Unknown,
        })
    }

    /// The command's name in the process list.
    pub fn name(&self) -> &'static str {
        match self {
            Command::Quit => "Quit",
            Command::InitDb(_) => "Init DB",
            Command::Query(_) => "Query",
            Command::FieldList { .. } => "Field List",
            Command::Statistics => "Statistics",
            Command::ProcessInfo => "Processlist",
            Command::ProcessKill(_) => "Kill",
            Command::Ping => "Ping",
            Command::ChangeUser(_) => "Change user",
            Command::ResetConnection => "Reset Connection",
            Command::SetOption(_) => "Set option",
            Command::Prepare(_) => "Prepare",
            Command::Execute { .. } => "Execute",
            Command::SendLongData { .. } => "Long Data",
            Command::CloseStatement(_) => "Close stmt",
            Command::ResetStatement(_) => "Reset stmt",
            Command::Fetch(_) => "Fetch",
            Command::Unsupported(_) | Command::Unknown => "Error",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn short_commands_are_malformed() {
        for bytes in [
            &b"\x0c\x01\x02\x03"[..],
            b"\x17\x01\x00\x00\x00\x00\x01\x00\x00",
            b"\x18\x01\x00\x00\x00\x00",
            b"\x19",
            b"\x1a\x01",
            b"\x1b\x00",
            b"\x1c",
        ] {
            assert!(Command::parse(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn no_command_and_unknown_commands() {
        for bytes in [&b""[..], b"\x00", b"\x05db", b"\x06db", b"\x0b", b"\x0f", b"\x77", b"\xff"] {
            assert!(matches!(Command::parse(bytes), Ok(Command::Unknown)), "{bytes:?}");
        }
    }

    #[test]
    fn bytes_after_the_end_are_ignored() {
        assert!(matches!(Command::parse(b"\x0ejunk"), Ok(Command::Ping)));
        assert!(matches!(Command::parse(b"\x01\0"), Ok(Command::Quit)));
        assert!(matches!(Command::parse(b"\x19\x07\0\0\0junk"), Ok(Command::CloseStatement(7))));
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Command::parse(&bytes);
        }
    }
}
