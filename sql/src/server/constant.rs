//! The numbers of the protocol that are bit sets or type codes: capabilities, status flags, column types, column flags.
//!
//! Each set is a newtype over its integer, so that a status cannot be passed where a capability is meant.

/// What one side of a connection can do; both sides use the intersection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Capabilities(pub u32);

impl Capabilities {
    /// Improved password hashing; every client since 4.1 sets it, MariaDB's clients leave it off to mark themselves.
    pub const LONG_PASSWORD: Capabilities = Capabilities(1);
    /// Affected rows counts the rows found, not the rows changed.
    pub const FOUND_ROWS: Capabilities = Capabilities(1 << 1);
    /// Column flags are two bytes wide.
    pub const LONG_FLAG: Capabilities = Capabilities(1 << 2);
    /// The handshake response names a schema.
    pub const CONNECT_WITH_DB: Capabilities = Capabilities(1 << 3);
    /// LOAD DATA LOCAL INFILE may ask the client for a file.
    pub const LOCAL_FILES: Capabilities = Capabilities(1 << 7);
    /// The 4.1 protocol, the only one spoken here.
    pub const PROTOCOL_41: Capabilities = Capabilities(1 << 9);
    /// The client is a person at a terminal: `interactive_timeout` counts instead of `wait_timeout`.
    pub const INTERACTIVE: Capabilities = Capabilities(1 << 10);
    /// The connection is upgraded to TLS after a short request packet.
    pub const SSL: Capabilities = Capabilities(1 << 11);
    /// OK packets carry status flags.
    pub const TRANSACTIONS: Capabilities = Capabilities(1 << 13);
    /// 4.1 authentication with 20-byte nonces.
    pub const SECURE_CONNECTION: Capabilities = Capabilities(1 << 15);
    /// One COM_QUERY may hold several statements.
    pub const MULTI_STATEMENTS: Capabilities = Capabilities(1 << 16);
    /// A COM_QUERY may answer with several results.
    pub const MULTI_RESULTS: Capabilities = Capabilities(1 << 17);
    /// A COM_STMT_EXECUTE may answer with several results.
    pub const PS_MULTI_RESULTS: Capabilities = Capabilities(1 << 18);
    /// Authentication methods are negotiated by name.
    pub const PLUGIN_AUTH: Capabilities = Capabilities(1 << 19);
    /// The handshake response ends in key/value attributes.
    pub const CONNECT_ATTRS: Capabilities = Capabilities(1 << 20);
    /// The authentication response is a length-encoded string.
    pub const PLUGIN_AUTH_LENENC: Capabilities = Capabilities(1 << 21);
    /// OK packets may report changes of the session's state.
    pub const SESSION_TRACK: Capabilities = Capabilities(1 << 23);
    /// Result sets end in an OK packet instead of an EOF packet, and none stands after the column definitions.
    pub const DEPRECATE_EOF: Capabilities = Capabilities(1 << 24);

    /// True when every bit of `other` is set.
    pub const fn has(self, other: Capabilities) -> bool {
        self.0 & other.0 == other.0
    }

    /// The bits of both sets.
    pub const fn with(self, other: Capabilities) -> Capabilities {
        Capabilities(self.0 | other.0)
    }

    /// The bits of this set that are not in `other`.
    pub const fn without(self, other: Capabilities) -> Capabilities {
        Capabilities(self.0 & !other.0)
    }

    /// The bits in both sets: what a connection uses.
    pub const fn common(self, other: Capabilities) -> Capabilities {
        Capabilities(self.0 & other.0)
    }

    /// What every connection is offered; [`SSL`](Self::SSL) and [`LOCAL_FILES`](Self::LOCAL_FILES) depend on the
    /// server's configuration.
    pub const OFFERED: Capabilities = Capabilities::LONG_PASSWORD
        .with(Capabilities::FOUND_ROWS)
        .with(Capabilities::LONG_FLAG)
        .with(Capabilities::CONNECT_WITH_DB)
        .with(Capabilities::PROTOCOL_41)
        .with(Capabilities::INTERACTIVE)
        .with(Capabilities::TRANSACTIONS)
        .with(Capabilities::SECURE_CONNECTION)
        .with(Capabilities::MULTI_STATEMENTS)
        .with(Capabilities::MULTI_RESULTS)
        .with(Capabilities::PS_MULTI_RESULTS)
        .with(Capabilities::PLUGIN_AUTH)
        .with(Capabilities::CONNECT_ATTRS)
        .with(Capabilities::PLUGIN_AUTH_LENENC)
        .with(Capabilities::SESSION_TRACK)
        .with(Capabilities::DEPRECATE_EOF);
}

/// The session's state as told in every OK and EOF packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Status(pub u16);

impl Status {
    /// A transaction is open.
    pub const IN_TRANSACTION: Status = Status(1);
    /// Statements outside a transaction commit themselves.
    pub const AUTOCOMMIT: Status = Status(1 << 1);
    /// Another result of the same command follows.
    pub const MORE_RESULTS: Status = Status(1 << 3);
    /// The statement used no good index.
    pub const NO_GOOD_INDEX_USED: Status = Status(1 << 4);
    /// The statement used no index.
    pub const NO_INDEX_USED: Status = Status(1 << 5);
    /// The statement dropped a schema.
    pub const SCHEMA_DROPPED: Status = Status(1 << 8);
    /// Backslashes in string literals are plain characters.
    pub const NO_BACKSLASH_ESCAPES: Status = Status(1 << 9);
    /// The open transaction is read-only.
    pub const IN_READ_ONLY_TRANSACTION: Status = Status(1 << 13);
    /// The OK packet reports a change of the session's state.
    pub const SESSION_STATE_CHANGED: Status = Status(1 << 14);

    /// True when every bit of `other` is set.
    pub const fn has(self, other: Status) -> bool {
        self.0 & other.0 == other.0
    }

    /// The bits of both sets.
    pub const fn with(self, other: Status) -> Status {
        Status(self.0 | other.0)
    }

    /// The bits of this set that are not in `other`.
    pub const fn without(self, other: Status) -> Status {
        Status(self.0 & !other.0)
    }
}

/// The wire's name of a value's type. Any byte is representable: a client may send one we do not know.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct TypeCode(pub u8);

#[expect(missing_docs, reason = "the names are MySQL's own, and documented there")]
impl TypeCode {
    pub const DECIMAL: TypeCode = TypeCode(0);
    pub const TINY: TypeCode = TypeCode(1);
    pub const SHORT: TypeCode = TypeCode(2);
    pub const LONG: TypeCode = TypeCode(3);
    pub const FLOAT: TypeCode = TypeCode(4);
    pub const DOUBLE: TypeCode = TypeCode(5);
    pub const NULL: TypeCode = TypeCode(6);
    pub const TIMESTAMP: TypeCode = TypeCode(7);
    pub const LONGLONG: TypeCode = TypeCode(8);
    pub const INT24: TypeCode = TypeCode(9);
    pub const DATE: TypeCode = TypeCode(10);
    pub const TIME: TypeCode = TypeCode(11);
    pub const DATETIME: TypeCode = TypeCode(12);
    pub const YEAR: TypeCode = TypeCode(13);
    pub const VARCHAR: TypeCode = TypeCode(15);
    pub const BIT: TypeCode = TypeCode(16);
    pub const BOOL: TypeCode = TypeCode(244);
    pub const JSON: TypeCode = TypeCode(245);
    pub const NEWDECIMAL: TypeCode = TypeCode(246);
    pub const ENUM: TypeCode = TypeCode(247);
    pub const SET: TypeCode = TypeCode(248);
    pub const TINY_BLOB: TypeCode = TypeCode(249);
    pub const MEDIUM_BLOB: TypeCode = TypeCode(250);
    pub const LONG_BLOB: TypeCode = TypeCode(251);
    pub const BLOB: TypeCode = TypeCode(252);
    pub const VAR_STRING: TypeCode = TypeCode(253);
    pub const STRING: TypeCode = TypeCode(254);
    pub const GEOMETRY: TypeCode = TypeCode(255);
}

/// Properties of a result column.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ColumnFlags(pub u16);

#[expect(missing_docs, reason = "the names are MySQL's own, and documented there")]
impl ColumnFlags {
    pub const NOT_NULL: ColumnFlags = ColumnFlags(1);
    pub const PRIMARY_KEY: ColumnFlags = ColumnFlags(1 << 1);
    pub const UNIQUE_KEY: ColumnFlags = ColumnFlags(1 << 2);
    pub const MULTIPLE_KEY: ColumnFlags = ColumnFlags(1 << 3);
    pub const BLOB: ColumnFlags = ColumnFlags(1 << 4);
    pub const UNSIGNED: ColumnFlags = ColumnFlags(1 << 5);
    pub const ZEROFILL: ColumnFlags = ColumnFlags(1 << 6);
    pub const BINARY: ColumnFlags = ColumnFlags(1 << 7);
    pub const ENUM: ColumnFlags = ColumnFlags(1 << 8);
    pub const AUTO_INCREMENT: ColumnFlags = ColumnFlags(1 << 9);
    pub const TIMESTAMP: ColumnFlags = ColumnFlags(1 << 10);
    pub const SET: ColumnFlags = ColumnFlags(1 << 11);
    pub const NO_DEFAULT_VALUE: ColumnFlags = ColumnFlags(1 << 12);
    pub const ON_UPDATE_NOW: ColumnFlags = ColumnFlags(1 << 13);

    /// True when every bit of `other` is set.
    pub const fn has(self, other: ColumnFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// The bits of both sets.
    pub const fn with(self, other: ColumnFlags) -> ColumnFlags {
        ColumnFlags(self.0 | other.0)
    }
}

/// The collation id of byte strings.
pub const COLLATION_BINARY: u16 = 63;
/// The collation id of `utf8mb4_0900_ai_ci`, the server's default.
pub const COLLATION_DEFAULT: u16 = 255;
