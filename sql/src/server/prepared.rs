//! Parameters of prepared statements: types that outlive an execution, long data, and decoding them from a packet.
//!
//! ```text
//! COM_STMT_EXECUTE   17 | statement u32 | cursor flags u8 | 1 u32 | null bitmap | types follow u8
//!                    | (type u8, 80 if unsigned u8) per parameter, when they follow | values of those that are not NULL
//! ```
//!
//! Types are sent with the first execution and may be left out later; a parameter that was filled by
//! COM_STMT_SEND_LONG_DATA has no value in the packet. Bytes come from the client: wrong counts, lengths and types are
//! error 1210 or 1835, and the statement stays usable.

use super::config::{PARAMETERS_MAX, PREPARED_STATEMENTS_MAX};
use super::constant::TypeCode;
use super::error::{ErrorCode, MySqlError, code};
use super::payload::{Malformed, Payload};
use super::temporal::{DateTimeParts, TimeParts};
use crate::error::Error;
use crate::memory::SessionMemory;
use basalt_common::memory::Account;
use std::collections::HashMap;
use std::sync::Arc;

/// A parameter's value, borrowed from the packet.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Param<'a> {
    /// NULL.
    Null,
    /// Any signed integer.
    Int(i64),
    /// Any unsigned integer.
    UInt(u64),
    /// FLOAT.
    Float(f32),
    /// DOUBLE.
    Double(f64),
    /// Characters in the client's character set; not checked.
    Text(&'a [u8]),
    /// Bytes.
    Blob(&'a [u8]),
    /// The text of a DECIMAL; not checked.
    Decimal(&'a [u8]),
    /// DATE; not checked.
    Date(DateTimeParts),
    /// DATETIME or TIMESTAMP; not checked.
    DateTime(DateTimeParts),
    /// TIME; not checked.
    Time(TimeParts),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct ParamType {
    code: TypeCode,
    unsigned: bool,
}

/// What the protocol keeps of a prepared statement; its plan is the session's.
#[derive(Debug)]
pub(super) struct Statement {
    /// The text, for the process list.
    pub text: Arc<[u8]>,
    parameters: usize,
    /// Types of the last execution that sent them; empty before.
    types: Vec<ParamType>,
    long_data: HashMap<u16, Vec<u8>>,
    long_data_bytes: usize,
    /// The same for the connection's memory.
    held: Account,
    /// COM_STMT_SEND_LONG_DATA has no answer: its error is told by the next execution.
    long_data_error: Option<MySqlError>,
}

/// The prepared statements of one connection.
#[derive(Debug, Default)]
pub(super) struct Statements {
    by_id: HashMap<u32, Statement>,
}

impl Statements {
    /// # Errors
    /// 1461 when the connection has too many statements, 1390-like when the statement has too many parameters.
    pub fn check_room(&self) -> Result<(), MySqlError> {
        if self.by_id.len() < PREPARED_STATEMENTS_MAX {
            return Ok(());
        }
        let text = format!(
            "Can't create more than max_prepared_stmt_count statements (current value: {PREPARED_STATEMENTS_MAX})"
        );
        Err(MySqlError::new(code::ER_MAX_PREPARED_STMT_COUNT_REACHED, text))
    }

    pub fn insert(&mut self, id: u32, parameters: usize, text: &[u8], held: Account) -> Result<(), MySqlError> {
        if parameters > PARAMETERS_MAX {
            let text = "Prepared statement contains too many placeholders";
            return Err(MySqlError::new(code::ER_PS_MANY_PARAM, text));
        }
        let statement = Statement {
            text: Arc::from(text),
            parameters,
            types: Vec::new(),
            long_data: HashMap::new(),
            long_data_bytes: 0,
            held,
            long_data_error: None,
        };
        self.by_id.insert(id, statement);
        Ok(())
    }

    /// # Errors
    /// 1243 when there is no such statement; `user` is the command's name in the message.
    pub fn get_mut(&mut self, id: u32, user: &str) -> Result<&mut Statement, MySqlError> {
        self.by_id.get_mut(&id).ok_or_else(|| {
            let text = format!("Unknown prepared statement handler ({id}) given to {user}");
            MySqlError::new(code::ER_UNKNOWN_STMT_HANDLER, text)
        })
    }

    /// True when the statement existed.
    pub fn remove(&mut self, id: u32) -> bool {
        self.by_id.remove(&id).is_some()
    }

    pub fn clear(&mut self) {
        self.by_id.clear();
    }
}

impl Statement {
    /// Adds a piece of a long parameter; all of a statement's are at most `bytes_max`, and all that the session keeps is
    /// within its memory.
    pub fn append_long_data(&mut self, parameter: u16, data: &[u8], bytes_max: usize, memory: &SessionMemory) {
        if usize::from(parameter) >= self.parameters {
            self.long_data_error = Some(wrong_arguments("mysqld_stmt_send_long_data"));
        } else if self.long_data_bytes + data.len() > bytes_max {
            let text = "Parameter of prepared statement which is set through mysql_send_long_data() is longer than \
                        'max_allowed_packet' bytes";
            self.long_data_error = Some(MySqlError::new(code::ER_NET_PACKET_TOO_LARGE, text));
        } else if let Err(exceeded) = memory.check_kept(data.len()) {
            self.reset();
            let (code, _, message) = Error::from(exceeded).to_mysql();
            self.long_data_error = Some(MySqlError::new(ErrorCode { code, sqlstate: *b"HY000" }, message));
        } else {
            self.long_data_bytes += data.len();
            self.held.set(self.long_data_bytes);
            self.long_data.entry(parameter).or_default().extend_from_slice(data);
        }
    }

    /// Forgets long data: after an execution, and for COM_STMT_RESET.
    pub fn reset(&mut self) {
        self.long_data.clear();
        self.long_data_bytes = 0;
        self.held.set(0);
        self.long_data_error = None;
    }

    /// Decodes the parameters of an execution, whose packet goes on with `payload`, into `out`.
    ///
    /// # Errors
    /// 1210 when types are missing or unknown, 1835 when the packet is too short, and what long data ran into.
    pub fn decode<'a>(&'a mut self, payload: Payload<'a>, out: &mut Vec<Param<'a>>) -> Result<(), MySqlError> {
        if let Some(error) = self.long_data_error.take() {
            return Err(error);
        }
        if self.parameters == 0 {
            return Ok(());
        }
        let mut payload = payload;
        let nulls = payload.bytes(self.parameters.div_ceil(8)).map_err(malformed)?;
        match payload.u8().map_err(malformed)? {
            0 => {}
            _ => self.read_types(&mut payload)?,
        }
        if self.types.len() != self.parameters {
            return Err(wrong_arguments("mysqld_stmt_execute"));
        }
        out.reserve(self.parameters);
        for (index, declared) in self.types.iter().enumerate() {
            let is_null = nulls.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1);
            let long_data = if self.long_data.is_empty() { None } else { self.long_data.get(&(index as u16)) };
            out.push(match long_data {
                Some(data) => declared.string(data),
                None if is_null => Param::Null,
                None => declared.read(&mut payload).map_err(malformed)?,
            });
        }
        Ok(())
    }

    fn read_types(&mut self, payload: &mut Payload<'_>) -> Result<(), MySqlError> {
        let bytes = payload.bytes(self.parameters * 2).map_err(malformed)?;
        self.types.clear();
        for pair in bytes.chunks_exact(2) {
            let &[code, flags] = pair else { return Err(malformed(Malformed)) };
            let declared = ParamType { code: TypeCode(code), unsigned: flags & 0x80 != 0 };
            if !declared.is_known() {
                self.types.clear();
                return Err(wrong_arguments("mysqld_stmt_execute"));
            }
            self.types.push(declared);
        }
        Ok(())
    }
}

impl ParamType {
    fn is_known(self) -> bool {
        matches!(self.code.0, 0..=13 | 15 | 16 | 244..=254)
    }

    fn read<'a>(self, payload: &mut Payload<'a>) -> Result<Param<'a>, Malformed> {
        Ok(match self.code {
            TypeCode::NULL => Param::Null,
            TypeCode::TINY | TypeCode::BOOL => {
                let byte = payload.u8()?;
                self.integer(i64::from(byte as i8), u64::from(byte))
            }
            TypeCode::SHORT | TypeCode::YEAR => {
                let short = payload.u16()?;
                self.integer(i64::from(short as i16), u64::from(short))
            }
            TypeCode::LONG | TypeCode::INT24 => {
                let long = payload.u32()?;
                self.integer(i64::from(long as i32), u64::from(long))
            }
            TypeCode::LONGLONG => {
                let long = payload.u64()?;
                self.integer(long as i64, long)
            }
            TypeCode::FLOAT => Param::Float(f32::from_bits(payload.u32()?)),
            TypeCode::DOUBLE => Param::Double(f64::from_bits(payload.u64()?)),
            TypeCode::DATE => Param::Date(DateTimeParts::decode(payload)?),
            TypeCode::DATETIME | TypeCode::TIMESTAMP => Param::DateTime(DateTimeParts::decode(payload)?),
            TypeCode::TIME => Param::Time(TimeParts::decode(payload)?),
            _ => self.string(payload.lenenc_bytes()?),
        })
    }

    fn integer<'a>(self, signed: i64, unsigned: u64) -> Param<'a> {
        if self.unsigned { Param::UInt(unsigned) } else { Param::Int(signed) }
    }

    fn string(self, bytes: &[u8]) -> Param<'_> {
        match self.code {
            TypeCode::DECIMAL | TypeCode::NEWDECIMAL => Param::Decimal(bytes),
            TypeCode::TINY_BLOB | TypeCode::MEDIUM_BLOB | TypeCode::LONG_BLOB | TypeCode::BLOB | TypeCode::BIT => {
                Param::Blob(bytes)
            }
            _ => Param::Text(bytes),
        }
    }
}

/// Empties a vector of parameters and keeps its memory for parameters of another packet.
pub(super) fn recycle<'b>(mut params: Vec<Param<'_>>) -> Vec<Param<'b>> {
    params.clear();
    // Collecting in place: nothing is moved, the allocation is kept.
    params.into_iter().map(|_| Param::Null).collect()
}

fn wrong_arguments(function: &str) -> MySqlError {
    MySqlError::new(code::ER_WRONG_ARGUMENTS, format!("Incorrect arguments to {function}"))
}

/// The error of a packet that is too short for its content.
pub(super) fn malformed(_: Malformed) -> MySqlError {
    MySqlError::new(code::ER_MALFORMED_PACKET, "Malformed communication packet.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn statement(parameters: usize) -> Statement {
        let mut statements = Statements::default();
        statements.insert(1, parameters, b"x", SessionMemory::new(1).account_of_kept()).unwrap();
        statements.by_id.remove(&1).unwrap()
    }

    fn decode<'a>(statement: &'a mut Statement, bytes: &'a [u8]) -> Result<Vec<Param<'a>>, u16> {
        let mut out = Vec::new();
        statement.decode(Payload::new(bytes), &mut out).map_err(|error| error.code.code)?;
        Ok(out)
    }

    #[test]
    fn every_type() {
        let types: &[(u8, u8, &[u8], Param<'_>)] = &[
            (1, 0, &[0xff], Param::Int(-1)),
            (1, 0x80, &[0xff], Param::UInt(255)),
            (2, 0, &[0xfe, 0xff], Param::Int(-2)),
            (13, 0x80, &[0xe8, 0x07], Param::UInt(2024)),
            (3, 0, &[0xfd, 0xff, 0xff, 0xff], Param::Int(-3)),
            (9, 0, &[1, 0, 0, 0], Param::Int(1)),
            (8, 0x80, &[0xff; 8], Param::UInt(u64::MAX)),
            (8, 0, &[0xff; 8], Param::Int(-1)),
            (4, 0, &[0, 0, 0xc0, 0x3f], Param::Float(1.5)),
            (5, 0, &[0, 0, 0, 0, 0, 0, 0xf8, 0x3f], Param::Double(1.5)),
            (6, 0, &[], Param::Null),
            (246, 0, b"\x041.50", Param::Decimal(b"1.50")),
            (253, 0, b"\x02\xff\xfe", Param::Text(b"\xff\xfe")),
            (252, 0, b"\x01z", Param::Blob(b"z")),
            (245, 0, b"\x02{}", Param::Text(b"{}")),
            (
                10,
                0,
                &[4, 0xe8, 7, 2, 29],
                Param::Date(DateTimeParts { year: 2024, month: 2, day: 29, ..Default::default() }),
            ),
            (12, 0, &[0], Param::DateTime(DateTimeParts::default())),
            (
                11,
                0,
                &[8, 1, 1, 0, 0, 0, 2, 3, 4],
                Param::Time(TimeParts { negative: true, days: 1, hour: 2, minute: 3, second: 4, micros: 0 }),
            ),
        ];
        let mut bytes = vec![0; types.len().div_ceil(8)];
        bytes.push(1);
        bytes.extend(types.iter().flat_map(|(code, flags, _, _)| [*code, *flags]));
        bytes.extend(types.iter().flat_map(|(_, _, value, _)| value.to_vec()));
        let expected: Vec<_> = types.iter().map(|(_, _, _, param)| *param).collect();
        let mut statement = statement(types.len());
        assert_eq!(decode(&mut statement, &bytes), Ok(expected));
        for length in 0..bytes.len() {
            assert_eq!(decode(&mut statement, &bytes[..length]), Err(1835), "cut at {length}");
        }
    }

    #[test]
    fn types_are_kept_for_later_executions() {
        let mut statement = statement(1);
        assert_eq!(decode(&mut statement, &[0, 0, 5]), Err(1210), "types were never sent");
        assert_eq!(decode(&mut statement, &[0, 1, 1, 0, 5]), Ok(vec![Param::Int(5)]));
        assert_eq!(decode(&mut statement, &[0, 0, 6]), Ok(vec![Param::Int(6)]));
        assert_eq!(decode(&mut statement, &[1, 0]), Ok(vec![Param::Null]));
        assert_eq!(decode(&mut statement, &[0, 1, 200, 0, 6]), Err(1210), "no such type");
        assert_eq!(decode(&mut statement, &[0, 0, 6]), Err(1210), "and it is not kept");
    }

    #[test]
    fn long_data_takes_the_place_of_a_value() {
        let memory = SessionMemory::new(1);
        let mut statement = statement(2);
        statement.append_long_data(0, b"ab", 10, &memory);
        statement.append_long_data(0, b"cd", 10, &memory);
        let bytes = [0b01, 1, 252, 0, 1, 0, 9];
        assert_eq!(decode(&mut statement, &bytes), Ok(vec![Param::Blob(b"abcd"), Param::Int(9)]));
        statement.reset();
        assert_eq!(decode(&mut statement, &bytes), Ok(vec![Param::Null, Param::Int(9)]));
        statement.append_long_data(1, &[0; 11], 10, &memory);
        assert_eq!(decode(&mut statement, &bytes), Err(1153));
        statement.reset();
        statement.append_long_data(2, b"x", 10, &memory);
        assert_eq!(decode(&mut statement, &bytes), Err(1210));
    }

    #[test]
    fn long_data_is_counted_and_bounded_by_what_a_session_may_keep() {
        let memory = SessionMemory::new(1);
        memory.begin(1 << 20);
        let mut statements = Statements::default();
        statements.insert(1, 1, b"x", memory.account_of_kept()).unwrap();
        let statement = statements.get_mut(1, "").unwrap();
        (0..9).for_each(|_| statement.append_long_data(0, &[0; 100_000], usize::MAX, &memory));
        assert!(memory.used() > 800_000, "{}", memory.used());
        (0..2).for_each(|_| statement.append_long_data(0, &[0; 200_000], usize::MAX, &memory));
        assert_eq!(decode(statement, &[0, 1, 252, 0]), Err(8175));
        statements.clear();
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn unknown_statement() {
        let error = Statements::default().get_mut(9, "mysqld_stmt_execute").unwrap_err();
        assert_eq!(error.code.code, 1243);
        assert_eq!(error.message, "Unknown prepared statement handler (9) given to mysqld_stmt_execute");
    }

    #[test]
    fn recycled_memory_is_kept() {
        let params = vec![Param::Null; 100];
        let (place, capacity) = (params.as_ptr() as usize, params.capacity());
        let again: Vec<Param<'static>> = recycle(params);
        assert_eq!((again.as_ptr() as usize, again.capacity(), again.len()), (place, capacity, 0));
    }

    proptest! {
        #[test]
        fn any_packet_is_parameters_or_an_error(count in 0_usize..20, bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut statement = statement(count);
            if let Ok(params) = decode(&mut statement, &bytes) {
                prop_assert_eq!(params.len(), count);
            }
        }

        #[test]
        fn any_values_of_known_types(types in proptest::collection::vec(0_u8..=16, 1..12), values in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut bytes = vec![0; types.len().div_ceil(8)];
            bytes.push(1);
            bytes.extend(types.iter().flat_map(|code| [*code, 0]));
            bytes.extend(values);
            let _ = decode(&mut statement(types.len()), &bytes);
        }
    }
}
