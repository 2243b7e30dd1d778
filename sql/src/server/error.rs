//! Errors as a client sees them: number, SQLSTATE and message; and the numbers of the protocol's own errors.
//!
//! ```text
//! ff | code u16 | '#' SQLSTATE[5] | message to the end of the packet
//! ```
//!
//! Before the client has told its capabilities the five bytes of SQLSTATE and their mark are left out.

use super::charset::ResultCharset;
use super::config::ERROR_MESSAGE_BYTES_MAX;
use super::constant::Capabilities;

/// A MySQL error number with the SQLSTATE that belongs to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct ErrorCode {
    /// The number, as `ERROR 1064` shows it.
    pub code: u16,
    /// Five characters of the SQL standard's classes.
    pub sqlstate: [u8; 5],
}

/// What a client is told when a command fails.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("ERROR {} ({}): {message}", .code.code, String::from_utf8_lossy(&.code.sqlstate))]
pub struct MySqlError {
    /// Number and SQLSTATE.
    pub code: ErrorCode,
    /// The text, without number or SQLSTATE.
    pub message: String,
}

impl MySqlError {
    /// An error of a known number.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> MySqlError {
        MySqlError { code, message: message.into() }
    }

    /// An error of any number. An SQLSTATE that is not five characters becomes HY000.
    pub fn from_parts(code: u16, sqlstate: &str, message: impl Into<String>) -> MySqlError {
        let sqlstate = sqlstate.as_bytes().try_into().unwrap_or(*b"HY000");
        MySqlError { code: ErrorCode { code, sqlstate }, message: message.into() }
    }

    /// An error that can only come from a defect of the server.
    pub fn internal(message: impl Into<String>) -> MySqlError {
        MySqlError::new(code::ER_UNKNOWN_ERROR, message)
    }

    /// The statement was killed.
    pub fn interrupted() -> MySqlError {
        MySqlError::new(code::ER_QUERY_INTERRUPTED, "Query execution was interrupted")
    }

    /// The feature is known and missing.
    pub fn not_supported(feature: &str) -> MySqlError {
        MySqlError::new(code::ER_NOT_SUPPORTED_YET, format!("This version of Basalt doesn't yet support '{feature}'"))
    }

    /// Appends the payload of the error packet. `capabilities` is none before the client has told its own.
    pub(super) fn encode(&self, out: &mut Vec<u8>, capabilities: Option<Capabilities>, charset: ResultCharset) {
        out.push(0xff);
        out.extend_from_slice(&self.code.code.to_le_bytes());
        if capabilities.is_some() {
            out.push(b'#');
            out.extend_from_slice(&self.code.sqlstate);
        }
        let end = self.message.floor_char_boundary(ERROR_MESSAGE_BYTES_MAX);
        out.extend_from_slice(&charset.name(self.message.get(..end).unwrap_or_default()));
    }
}

/// The numbers of the protocol's own errors, by MySQL's names. Those of statements are the session's.
#[expect(missing_docs, reason = "the names are MySQL's own, and documented there")]
pub mod code {
    use super::ErrorCode;

    macro_rules! codes {
        ($($name:ident = $code:literal $state:literal;)*) => {
            $(pub const $name: ErrorCode = ErrorCode { code: $code, sqlstate: *$state };)*

            /// Every code of the table.
            pub const ALL: &[ErrorCode] = &[$($name),*];
        };
    }

    codes! {
        ER_CON_COUNT_ERROR = 1040 b"08004";
        ER_HANDSHAKE_ERROR = 1043 b"08S01";
        ER_ACCESS_DENIED_ERROR = 1045 b"28000";
        ER_UNKNOWN_COM_ERROR = 1047 b"08S01";
        ER_SERVER_SHUTDOWN = 1053 b"08S01";
        ER_UNKNOWN_ERROR = 1105 b"HY000";
        ER_NET_PACKET_TOO_LARGE = 1153 b"08S01";
        ER_NET_PACKETS_OUT_OF_ORDER = 1156 b"08S01";
        ER_NET_ERROR_ON_WRITE = 1160 b"08S01";
        ER_WRONG_ARGUMENTS = 1210 b"HY000";
        ER_NOT_SUPPORTED_YET = 1235 b"42000";
        ER_UNKNOWN_STMT_HANDLER = 1243 b"HY000";
        ER_NOT_SUPPORTED_AUTH_MODE = 1251 b"08004";
        ER_INVALID_CHARACTER_STRING = 1300 b"HY000";
        ER_QUERY_INTERRUPTED = 1317 b"70100";
        ER_PS_MANY_PARAM = 1390 b"HY000";
        ER_STMT_HAS_NO_OPEN_CURSOR = 1421 b"HY000";
        ER_MAX_PREPARED_STMT_COUNT_REACHED = 1461 b"42000";
        ER_MALFORMED_PACKET = 1835 b"HY000";
        ER_ACCOUNT_HAS_BEEN_LOCKED = 3118 b"HY000";
        ER_SECURE_TRANSPORT_REQUIRED = 3159 b"HY000";
        ER_CLIENT_INTERACTION_TIMEOUT = 4031 b"HY000";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packet_with_and_without_sqlstate() {
        let error = MySqlError::new(code::ER_CON_COUNT_ERROR, "Too many connections");
        let mut out = Vec::new();
        error.encode(&mut out, None, ResultCharset::default());
        assert_eq!(out, b"\xff\x10\x04Too many connections");
        out.clear();
        error.encode(&mut out, Some(Capabilities::OFFERED), ResultCharset::default());
        assert_eq!(out, b"\xff\x10\x04#08004Too many connections");
    }

    #[test]
    fn long_message_is_cut_between_characters() {
        let mut out = Vec::new();
        MySqlError::internal("é".repeat(5000) + "x").encode(&mut out, None, ResultCharset::default());
        assert!(out.len() <= ERROR_MESSAGE_BYTES_MAX + 3);
        assert!(std::str::from_utf8(&out[3..]).is_ok());
    }

    #[test]
    fn numbers_are_unique() {
        let mut numbers: Vec<u16> = code::ALL.iter().map(|code| code.code).collect();
        numbers.sort_unstable();
        let count = numbers.len();
        numbers.dedup();
        assert_eq!(numbers.len(), count);
    }
}
