//! What an expression may ask about the statement it belongs to, and where it leaves its warnings.
//!
//! One [`EvalContext`] per statement, shared by all its expressions, in the SQL server and, through
//! [`EvalContext::encode`], in the coprocessors. `now` is fixed for the statement; nothing here reads a clock.

use crate::error::EvalError;
use crate::temporal::zone::TimeZone;
use crate::temporal::{self, DateTime};
use crate::value::Value;
use basalt_common::codec::{CodecError, decode_varint, encode_varint};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Most warnings kept of one statement (`max_error_count`); the rest are counted.
pub const WARNINGS_MAX: usize = 1024;
/// Largest string a function makes (`max_allowed_packet`'s default).
pub const RESULT_BYTES_MAX: usize = 64 << 20;

const MODE_STRICT: u64 = 1;
const MODE_DIVISION: u64 = 2;
const MODE_NO_ZERO_DATE: u64 = 4;
const MODE_NO_ZERO_IN_DATE: u64 = 8;
const MODE_WRITE: u64 = 32;
const MODE_ALLOW_INVALID_DATES: u64 = 64;
const MODE_TIME_TRUNCATE_FRACTIONAL: u64 = 128;

/// The parts of `sql_mode` that expressions obey.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SqlMode {
    /// STRICT_TRANS_TABLES or STRICT_ALL_TABLES: bad values are errors when stored.
    pub strict: bool,
    /// ERROR_FOR_DIVISION_BY_ZERO: a division by zero warns, and in strict mode fails when stored.
    pub error_for_division_by_zero: bool,
    /// NO_ZERO_DATE.
    pub no_zero_date: bool,
    /// NO_ZERO_IN_DATE.
    pub no_zero_in_date: bool,
    /// ALLOW_INVALID_DATES: every month has 31 days.
    pub allow_invalid_dates: bool,
    /// TIME_TRUNCATE_FRACTIONAL: fractions of seconds are cut rather than rounded.
    pub time_truncate_fractional: bool,
    /// NO_AUTO_VALUE_ON_ZERO: 0 in an AUTO_INCREMENT column is 0. Nothing that storage evaluates asks for it: it does not travel.
    pub no_auto_value_on_zero: bool,
}

impl Default for SqlMode {
    /// MySQL 8's default.
    fn default() -> SqlMode {
        SqlMode {
            strict: true,
            error_for_division_by_zero: true,
            no_zero_date: true,
            no_zero_in_date: true,
            allow_invalid_dates: false,
            time_truncate_fractional: false,
            no_auto_value_on_zero: false,
        }
    }
}

/// What `SELECT DATABASE()` and its like tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionInfo {
    /// `DATABASE()`.
    pub database: Option<Arc<str>>,
    /// `CURRENT_USER()`, `user@host` of the account.
    pub current_user: Arc<str>,
    /// `USER()`, `user@host` of the client.
    pub user: Arc<str>,
    /// `CONNECTION_ID()`.
    pub connection_id: u64,
    /// `LAST_INSERT_ID()`.
    pub last_insert_id: u64,
    /// `FOUND_ROWS()`.
    pub found_rows: i64,
    /// `ROW_COUNT()`.
    pub row_count: i64,
    /// `VERSION()`.
    pub version: Arc<str>,
    /// Collation of string literals and of conversions to text.
    pub collation: crate::collation::Collation,
    /// `cte_max_recursion_depth`; `None` = its default.
    pub recursion_depth_max: Option<u64>,
    /// `group_concat_max_len`; `None` = its default.
    pub group_concat_bytes_max: Option<u64>,
}

/// A warning of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// MySQL's error number.
    pub code: u16,
    /// The text.
    pub message: String,
}

#[derive(Debug, Default)]
struct WarningList {
    kept: Vec<Warning>,
    total: u64,
}

/// Collects the warnings of a statement; clones share the list.
#[derive(Clone, Debug, Default)]
pub struct Warnings(Arc<Mutex<WarningList>>);

impl Warnings {
    /// Adds one; beyond [`WARNINGS_MAX`] it is only counted.
    pub fn push(&self, code: u16, message: impl Into<String>) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.total += 1;
        if list.kept.len() < WARNINGS_MAX {
            list.kept.push(Warning { code, message: message.into() });
        }
    }
    /// Adds an error as a warning.
    pub fn push_error(&self, error: &EvalError) {
        self.push(error.code(), error.to_string());
    }
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).total
    }
    /// A list of its own with what this one has, which is empty then.
    pub fn moved(&self) -> Warnings {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Warnings(Arc::new(Mutex::new(std::mem::take(&mut *list))))
    }
    /// Takes those kept, leaving none.
    pub fn take(&self) -> Vec<Warning> {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.total = 0;
        std::mem::take(&mut list.kept)
    }
}

/// A statement's surroundings. See the module.
#[derive(Clone, Debug)]
pub struct EvalContext {
    /// `sql_mode`.
    pub mode: SqlMode,
    /// True in INSERT, UPDATE, REPLACE, DELETE without IGNORE: there strict mode turns warnings of calculations into errors.
    pub in_write: bool,
    /// `time_zone`.
    pub time_zone: TimeZone,
    /// The statement's time, microseconds since 1970.
    pub now_unix_micros: i64,
    /// The clock's time, where SET timestamp gave the statement another one: of SYSDATE, which is never pushed down.
    pub clock_unix_micros: Option<i64>,
    /// Seed of RAND() without arguments.
    pub seed: u64,
    /// Calls of [`EvalContext::next_seed`] so far.
    pub seeds_used: Arc<AtomicU64>,
    /// The connection.
    pub session: Arc<SessionInfo>,
    /// Values of [`crate::Expr::Parameter`]s.
    pub parameters: Arc<[Value]>,
    /// Where warnings go.
    pub warnings: Warnings,
    /// Value of LAST_INSERT_ID(expr), for the session to take over.
    pub set_last_insert_id: Arc<Mutex<Option<u64>>>,
}

impl Default for EvalContext {
    /// Default mode, UTC, the moment 0: for constants and tests.
    fn default() -> EvalContext {
        EvalContext {
            mode: SqlMode::default(),
            in_write: false,
            time_zone: TimeZone::utc(),
            now_unix_micros: 0,
            clock_unix_micros: None,
            seed: 0,
            seeds_used: Arc::default(),
            session: Arc::default(),
            parameters: Arc::from([]),
            warnings: Warnings::default(),
            set_last_insert_id: Arc::default(),
        }
    }
}

impl EvalContext {
    /// Handles a calculation's soft failure: an error in a strict write, a warning otherwise.
    ///
    /// # Errors
    /// `error` itself, in strict writes.
    pub fn soften(&self, error: EvalError) -> Result<(), EvalError> {
        if self.in_write && self.mode.strict {
            return Err(error);
        }
        self.warnings.push_error(&error);
        Ok(())
    }

    /// A seed for RAND(): different for every use within the statement, the same again for the same statement's seed.
    pub fn next_seed(&self) -> u64 {
        let uses = self.seeds_used.fetch_add(1, Ordering::Relaxed);
        self.seed.wrapping_add(uses.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Handles a division by zero, whose result is NULL.
    ///
    /// # Errors
    /// 1365 in strict writes when the mode asks for it.
    pub fn division_by_zero(&self) -> Result<(), EvalError> {
        if self.mode.error_for_division_by_zero { self.soften(EvalError::DivisionByZero) } else { Ok(()) }
    }

    /// A date and time with `fsp` digits of fraction: rounded, or cut where the mode says so.
    pub fn fit_datetime(&self, value: DateTime, fsp: u8) -> DateTime {
        if self.mode.time_truncate_fractional { value.truncate(fsp) } else { value.round(fsp) }
    }
    /// Whether rounding goes beyond the last second of the calendar.
    pub fn leaves_calendar(&self, value: DateTime, fsp: u8) -> bool {
        let unit = temporal::fraction_unit(fsp);
        let rest = i64::from(value.fields().micro) % unit;
        rest * 2 >= unit
            && rest > 0
            && value.year() == 9999
            && self.fit_datetime(value, fsp) < value
            && !self.mode.time_truncate_fractional
    }
    /// A TIME with `fsp` digits of fraction, in the same way.
    pub fn fit_time(&self, micros: i64, fsp: u8) -> i64 {
        let unit = temporal::fraction_unit(fsp);
        if self.mode.time_truncate_fractional { micros - micros % unit } else { temporal::round_time(micros, fsp) }
    }

    /// The context for a coprocessor: mode, zone, time, database; warnings and parameters stay behind.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![1];
        let bits = [
            (self.mode.strict, MODE_STRICT),
            (self.mode.error_for_division_by_zero, MODE_DIVISION),
            (self.mode.no_zero_date, MODE_NO_ZERO_DATE),
            (self.mode.no_zero_in_date, MODE_NO_ZERO_IN_DATE),
            (self.mode.allow_invalid_dates, MODE_ALLOW_INVALID_DATES),
            (self.mode.time_truncate_fractional, MODE_TIME_TRUNCATE_FRACTIONAL),
            (self.in_write, MODE_WRITE),
        ];
        encode_varint(&mut out, bits.iter().filter(|(on, _)| *on).map(|(_, bit)| bit).sum());
        encode_varint(&mut out, self.now_unix_micros as u64);
        encode_varint(&mut out, self.seed);
        encode_varint(&mut out, u64::from(self.session.collation.id()));
        let info = &self.session;
        encode_varint(&mut out, info.connection_id);
        encode_varint(&mut out, info.last_insert_id);
        encode_varint(&mut out, info.found_rows as u64);
        encode_varint(&mut out, info.row_count as u64);
        let database = info.database.as_deref();
        encode_varint(&mut out, u64::from(database.is_some()));
        for text in [self.time_zone.name(), database.unwrap_or(""), &info.current_user, &info.user, &info.version] {
            encode_varint(&mut out, text.len() as u64);
            out.extend_from_slice(text.as_bytes());
        }
        out
    }

    /// Reads what [`EvalContext::encode`] wrote.
    ///
    /// # Errors
    /// [`CodecError`] when it did not, or knows a zone that this process does not.
    pub fn decode(bytes: &[u8]) -> Result<EvalContext, CodecError> {
        let (&version, mut input) = bytes.split_first().ok_or(CodecError::Truncated)?;
        if version != 1 {
            return Err(CodecError::Malformed("version of an evaluation context"));
        }
        let mut numbers = [0u64; 9];
        for number in &mut numbers {
            *number = decode_varint(&mut input)?;
        }
        let [mode, now, seed, collation, connection_id, last_insert_id, found_rows, row_count, has_database] = numbers;
        let mut texts = Vec::with_capacity(5);
        for _ in 0..5 {
            let len = decode_varint(&mut input)? as usize;
            let (text, rest) = input.split_at_checked(len).ok_or(CodecError::Truncated)?;
            input = rest;
            texts.push(std::str::from_utf8(text).map_err(|_| CodecError::Malformed("text"))?.into());
        }
        let [zone, database, current_user, user, version] =
            <[Arc<str>; 5]>::try_from(texts).map_err(|_| CodecError::Malformed("texts"))?;
        let collation = crate::collation::Collation::from_id(collation as u32);
        Ok(EvalContext {
            mode: SqlMode {
                strict: mode & MODE_STRICT != 0,
                error_for_division_by_zero: mode & MODE_DIVISION != 0,
                no_zero_date: mode & MODE_NO_ZERO_DATE != 0,
                no_zero_in_date: mode & MODE_NO_ZERO_IN_DATE != 0,
                allow_invalid_dates: mode & MODE_ALLOW_INVALID_DATES != 0,
                time_truncate_fractional: mode & MODE_TIME_TRUNCATE_FRACTIONAL != 0,
                no_auto_value_on_zero: false,
            },
            in_write: mode & MODE_WRITE != 0,
            time_zone: TimeZone::parse(&zone).ok_or(CodecError::Malformed("time zone"))?,
            now_unix_micros: now as i64,
            clock_unix_micros: None,
            seed,
            session: Arc::new(SessionInfo {
                database: (has_database != 0).then_some(database),
                current_user,
                user,
                connection_id,
                last_insert_id,
                found_rows: found_rows as i64,
                row_count: row_count as i64,
                version,
                collation: collation.ok_or(CodecError::Malformed("collation"))?,
                recursion_depth_max: None,
                group_concat_bytes_max: None,
            }),
            ..EvalContext::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_travels() {
        let session = SessionInfo { database: Some("d".into()), connection_id: 7, row_count: -1, ..Default::default() };
        let ctx = EvalContext {
            now_unix_micros: -5,
            time_zone: TimeZone::parse("+02:00").unwrap(),
            session: Arc::new(session),
            in_write: true,
            ..EvalContext::default()
        };
        let back = EvalContext::decode(&ctx.encode()).unwrap();
        assert_eq!((back.mode, &back.session, back.now_unix_micros), (ctx.mode, &ctx.session, -5));
        assert!(back.in_write && back.time_zone == ctx.time_zone);
        assert!(EvalContext::decode(&ctx.encode()[..9]).is_err());
    }

    #[test]
    fn warnings_are_bounded() {
        let warnings = Warnings::default();
        (0..WARNINGS_MAX + 5).for_each(|_| warnings.push(1365, "Division by 0"));
        assert_eq!(warnings.count(), WARNINGS_MAX as u64 + 5);
        assert_eq!(warnings.take().len(), WARNINGS_MAX);
    }
}
