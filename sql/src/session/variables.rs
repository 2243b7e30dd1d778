//! System variables: which there are, what they may hold, their global and session values.
//!
//! One table, [`DEFINITIONS`], in the order of names, so that look-up is a binary search and SHOW VARIABLES is a walk. A
//! session copies the global values when it starts (as MySQL does) and keeps the few that the statements' hot path asks
//! for in typed fields ([`Typed`]), recomputed whenever one of them is set.
//!
//! Variables that describe a behavior Basalt does not have a choice about (there are no foreign keys to check) take the
//! values that dumps and drivers send and refuse others; none changes what a statement means without doing it.

use super::charset;
use super::sql_mode::Modes;
use super::variable_value::check;
use crate::binder::Settings;
use crate::error::Error;
use crate::memory::QUOTA_BYTES_DEFAULT;
use crate::plan::UseIndexes;
use crate::planner::ShortPath;
use crate::server::charset::ResultCharset;
use crate::transaction::Isolation;
use crate::version::SERVER_VERSION;
use basalt_expr::charset::Charset as CharacterSet;
use basalt_expr::collation::Collation as StringCollation;
use basalt_expr::temporal::zone::TimeZone as Zone;
use basalt_proto::schema::GlobalVariable;
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Where a variable may be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// SET GLOBAL only.
    Global,
    /// SET SESSION only.
    Session,
    /// Both; a session starts with the global value.
    Both,
    /// Not at all (1238).
    ReadOnly,
}

/// What a variable may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// ON or OFF; 1, 0, TRUE, FALSE are taken.
    Bool,
    /// A number, clamped to the bounds with a warning, as MySQL does.
    Int(i64, i64),
    /// A number from 0 to 2^64 - 1.
    UInt,
    /// A number with fraction.
    Float,
    /// Any text.
    Text,
    /// One of these, any case.
    Enum(&'static [&'static str]),
    /// sql_mode: a list of known modes.
    SqlMode,
    /// A character set that Basalt knows.
    Charset,
    /// A collation that Basalt knows.
    Collation,
    /// SYSTEM, an offset, a name of the time zone tables.
    TimeZone,
}

/// One variable.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// Lower-case name.
    pub name: &'static str,
    /// Default value.
    pub default: &'static str,
    /// Where it may be set.
    pub scope: Scope,
    /// What it may hold.
    pub kind: Kind,
}

const fn var(name: &'static str, default: &'static str, scope: Scope, kind: Kind) -> Definition {
    Definition { name, default, scope, kind }
}

const ISOLATION: Kind = Kind::Enum(&["READ-UNCOMMITTED", "READ-COMMITTED", "REPEATABLE-READ", "SERIALIZABLE"]);
/// The level of `transaction_isolation`. READ UNCOMMITTED is READ COMMITTED: what nobody has committed cannot be read.
pub fn isolation(level: &str) -> Isolation {
    match level.to_ascii_uppercase().as_str() {
        "READ-COMMITTED" | "READ-UNCOMMITTED" => Isolation::ReadCommitted,
        "SERIALIZABLE" => Isolation::Serializable,
        _ => Isolation::RepeatableRead,
    }
}

/// The moment that `timestamp` holds, seconds since 1970; `None` for 0, the clock's.
fn micros(timestamp: &str) -> Option<i64> {
    timestamp.parse::<f64>().ok().filter(|fixed| *fixed > 0.0).map(|fixed| (fixed * 1e6).round() as i64)
}

const OFF_ONLY: Kind = Kind::Enum(&["OFF", "0"]);
use Kind::{Bool, Charset, Collation, Enum, Float, Int, SqlMode, Text, TimeZone, UInt};
use Scope::{Both, Global, ReadOnly, Session};

/// Default sql_mode: MySQL 8.0's.
pub const DEFAULT_SQL_MODE: &str = "ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION";

/// Every variable, by name.
pub const DEFINITIONS: &[Definition] = &[
    var("auto_increment_increment", "1", ReadOnly, Int(1, 1)),
    var("auto_increment_offset", "1", ReadOnly, Int(1, 1)),
    var("autocommit", "ON", Both, Bool),
    var("basalt_memory_limit", "0", ReadOnly, Int(0, i64::MAX)),
    var("basalt_short_path", "ON", Both, Bool),
    var("basalt_txn_bytes_max", "104857600", Both, Int(1 << 20, 10 << 30)),
    var("basalt_txn_mode", "pessimistic", Both, Enum(&["pessimistic", "optimistic"])),
    var("basalt_use_indexes", "auto", Both, Enum(&["auto", "always", "never"])),
    var("basedir", "", ReadOnly, Text),
    var("bulk_insert_buffer_size", "8388608", Both, Int(0, i64::MAX)),
    var("character_set_client", "utf8mb4", Both, Charset),
    var("character_set_connection", "utf8mb4", Both, Charset),
    var("character_set_database", "utf8mb4", Both, Charset),
    var("character_set_filesystem", "binary", Both, Charset),
    var("character_set_results", "utf8mb4", Both, Charset),
    var("character_set_server", "utf8mb4", Both, Charset),
    var("character_set_system", "utf8mb3", ReadOnly, Charset),
    var("collation_connection", "utf8mb4_0900_ai_ci", Both, Collation),
    var("collation_database", "utf8mb4_0900_ai_ci", Both, Collation),
    var("collation_server", "utf8mb4_0900_ai_ci", Both, Collation),
    var("cte_max_recursion_depth", "1000", Both, Int(0, 4_294_967_295)),
    var("datadir", "", ReadOnly, Text),
    var("default_authentication_plugin", "caching_sha2_password", ReadOnly, Text),
    var("default_collation_for_utf8mb4", "utf8mb4_0900_ai_ci", ReadOnly, Text),
    var("default_storage_engine", "InnoDB", Both, Enum(&["InnoDB"])),
    var("default_tmp_storage_engine", "InnoDB", Both, Enum(&["InnoDB"])),
    var("default_week_format", "0", Both, Int(0, 7)),
    var("div_precision_increment", "4", Both, Int(0, 30)),
    var("explicit_defaults_for_timestamp", "ON", ReadOnly, Bool),
    var("foreign_key_checks", "ON", Both, Bool),
    var("group_concat_max_len", "1024", Both, Int(4, i64::MAX)),
    var("gtid_mode", "OFF", ReadOnly, Text),
    var("have_openssl", "DISABLED", ReadOnly, Text),
    var("have_ssl", "DISABLED", ReadOnly, Text),
    var("hostname", "localhost", ReadOnly, Text),
    var("identity", "0", ReadOnly, Int(0, i64::MAX)),
    var("init_connect", "", Global, Enum(&[""])),
    var("innodb_lock_wait_timeout", "50", Both, Int(1, 1_073_741_824)),
    var("innodb_rollback_on_timeout", "OFF", Both, Bool),
    var("interactive_timeout", "28800", Both, Int(1, 31_536_000)),
    var("last_insert_id", "0", ReadOnly, Int(0, i64::MAX)),
    var("lc_time_names", "en_US", Both, Enum(&["en_US"])),
    var("license", "Apache License 2.0", ReadOnly, Text),
    var("local_infile", "OFF", Global, OFF_ONLY),
    var("lock_wait_timeout", "31536000", Both, Int(1, 31_536_000)),
    var("log_bin", "OFF", ReadOnly, Bool),
    var("lower_case_file_system", "OFF", ReadOnly, Bool),
    var("lower_case_table_names", "2", ReadOnly, Int(2, 2)),
    var("max_allowed_packet", "67108864", Both, Int(1024, 1_073_741_824)),
    var("max_connections", "2000", ReadOnly, Int(1, 100_000)),
    var("max_error_count", "1024", Both, Int(0, 65_535)),
    var("max_execution_time", "0", Both, Int(0, 4_294_967_295)),
    var("max_join_size", "18446744073709551615", Both, Text),
    var("max_prepared_stmt_count", "16382", Global, Int(0, 1_048_576)),
    var("max_sort_length", "1024", Both, Int(4, 8_388_608)),
    var("net_buffer_length", "16384", Both, Int(1024, 1_048_576)),
    var("net_read_timeout", "30", Both, Int(1, 31_536_000)),
    var("net_write_timeout", "60", Both, Int(1, 31_536_000)),
    var("old_passwords", "0", ReadOnly, Int(0, 0)),
    var("optimizer_switch", "", Both, Text),
    var("performance_schema", "OFF", ReadOnly, Bool),
    var("port", "4000", ReadOnly, Int(0, 65_535)),
    var("protocol_version", "10", ReadOnly, Int(10, 10)),
    var("pseudo_thread_id", "0", Session, Int(0, i64::MAX)),
    var("query_cache_size", "0", ReadOnly, Int(0, 0)),
    var("query_cache_type", "OFF", ReadOnly, Bool),
    var("read_only", "OFF", ReadOnly, Bool),
    var("server_id", "0", ReadOnly, Int(0, i64::MAX)),
    var("session_track_gtids", "OFF", Both, OFF_ONLY),
    var("session_track_schema", "OFF", Both, OFF_ONLY),
    var("session_track_state_change", "OFF", Both, OFF_ONLY),
    var("session_track_system_variables", "", Both, Text),
    var("session_track_transaction_info", "OFF", Both, OFF_ONLY),
    var("skip_name_resolve", "ON", ReadOnly, Bool),
    var("socket", "", ReadOnly, Text),
    var("sql_auto_is_null", "OFF", Both, OFF_ONLY),
    var("sql_big_selects", "ON", Both, Bool),
    var("sql_buffer_result", "OFF", Both, Bool),
    var("sql_log_bin", "ON", Session, Bool),
    var("sql_mode", DEFAULT_SQL_MODE, Both, SqlMode),
    var("sql_notes", "ON", Both, Bool),
    var("sql_quote_show_create", "ON", Both, Bool),
    var("sql_safe_updates", "OFF", Both, Bool),
    var("sql_select_limit", "18446744073709551615", Both, UInt),
    var("sql_warnings", "OFF", Both, Bool),
    var("storage_engine", "InnoDB", Both, Enum(&["InnoDB"])),
    var("system_time_zone", "UTC", ReadOnly, Text),
    var("tidb_mem_quota_query", "1073741824", Both, Int(-1, i64::MAX)),
    var("time_zone", "SYSTEM", Both, TimeZone),
    var("timestamp", "0", Session, Float),
    var("tls_version", "TLSv1.2,TLSv1.3", ReadOnly, Text),
    var("tmp_table_size", "16777216", Both, Int(1024, i64::MAX)),
    var("transaction_isolation", "REPEATABLE-READ", Both, ISOLATION),
    var("transaction_read_only", "OFF", Both, Bool),
    var("tx_isolation", "REPEATABLE-READ", Both, ISOLATION),
    var("tx_read_only", "OFF", Both, Bool),
    var("unique_checks", "ON", Both, Bool),
    var("updatable_views_with_limit", "YES", Both, Text),
    var("version", SERVER_VERSION, ReadOnly, Text),
    var("version_comment", "Basalt, Apache License 2.0", ReadOnly, Text),
    var("version_compile_machine", std::env::consts::ARCH, ReadOnly, Text),
    var("version_compile_os", "Linux", ReadOnly, Text),
    var("wait_timeout", "28800", Both, Int(1, 31_536_000)),
];

/// Names that mean the same variable.
const ALIASES: &[(&str, &str)] =
    &[("tx_isolation", "transaction_isolation"), ("tx_read_only", "transaction_read_only")];

/// A variable by name, any case.
pub fn definition(name: &str) -> Option<&'static Definition> {
    let name = name.to_ascii_lowercase();
    DEFINITIONS.binary_search_by(|d| d.name.cmp(name.as_str())).ok().map(|i| &DEFINITIONS[i])
}

/// The global values as one SQL server knows them: those that were set, which the catalog keeps, and what only this server knows.
#[derive(Debug, Default)]
pub struct Globals {
    values: RwLock<BTreeMap<&'static str, Arc<str>>>,
    /// What the catalog held last.
    records: Mutex<Vec<GlobalVariable>>,
}

impl Globals {
    /// The value of a variable.
    pub fn get(&self, definition: &Definition) -> Arc<str> {
        self.values.read().get(canonical(definition.name)).cloned().unwrap_or_else(|| definition.default.into())
    }

    /// Replaces the values that were set by those that the catalog holds now. What this server does not take, of a newer one
    /// perhaps, is left out.
    pub fn take_over(&self, records: Vec<GlobalVariable>) {
        let mut before = self.records.lock();
        if *before == records {
            return;
        }
        let mut values = self.values.write();
        values.retain(|name, _| definition(name).is_some_and(|d| d.scope == ReadOnly));
        for GlobalVariable { name, value } in &records {
            let taken = definition(name).ok_or_else(|| Error::unknown_variable(name)).and_then(|definition| {
                may_be_global(definition)?;
                check(definition, value).map(|value| (canonical(definition.name), value))
            });
            match taken {
                Ok((name, value)) => drop(values.insert(name, value)),
                Err(error) => tracing::warn!(variable = name, value, %error, "a global value is not taken"),
            }
        }
        *before = records;
    }

    /// The names of the variables that were set.
    pub fn set_names(&self) -> Vec<String> {
        self.records.lock().iter().map(|record| record.name.clone()).collect()
    }

    /// Sets what the server itself knows: port, folder, TLS.
    pub fn set_fact(&self, name: &'static str, value: &str) {
        debug_assert!(definition(name).is_some(), "{name} is not a variable");
        self.values.write().insert(name, value.into());
    }
}

/// What SET GLOBAL changes: names, and the values that they get; `None` is the default.
///
/// # Errors
/// 1238 for read-only and 1228 for session variables, 1231 and 1232 for values that do not fit.
pub fn global_changes(
    definition: &'static Definition,
    value: Option<&str>,
) -> Result<Vec<(&'static str, Option<Arc<str>>)>, Error> {
    may_be_global(definition)?;
    let text = check(definition, value.unwrap_or(definition.default))?;
    let companion = charset::companion(definition.name, &text);
    let all = companion.into_iter().chain([(canonical(definition.name), text)]);
    Ok(all.map(|(name, text)| (name, value.is_some().then_some(text))).collect())
}

fn may_be_of_a_session(definition: &Definition) -> Result<(), Error> {
    match definition.scope {
        ReadOnly => Err(read_only(definition.name)),
        Global => {
            let name = definition.name;
            let message = format!("Variable '{name}' is a GLOBAL variable and should be set with SET GLOBAL");
            Err(user(1229, "HY000", message))
        }
        Session | Both => Ok(()),
    }
}

fn may_be_global(definition: &Definition) -> Result<(), Error> {
    match definition.scope {
        ReadOnly => Err(read_only(definition.name)),
        Session => {
            let name = definition.name;
            Err(user(
                1228,
                "HY000",
                format!("Variable '{name}' is a SESSION variable and can't be used with SET GLOBAL"),
            ))
        }
        Global | Both => Ok(()),
    }
}

/// The one name of a variable that has several.
pub(super) fn canonical(name: &'static str) -> &'static str {
    ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, real)| real)
}

fn read_only(name: &str) -> Error {
    user(1238, "HY000", format!("Variable '{name}' is a read only variable"))
}

/// What statements ask for all the time, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typed {
    /// autocommit.
    pub autocommit: bool,
    /// transaction_isolation.
    pub isolation: Isolation,
    /// basalt_txn_bytes_max.
    pub txn_bytes_max: usize,
    /// basalt_txn_mode is optimistic.
    pub optimistic: bool,
    /// basalt_short_path: what the planner may choose.
    pub short_path: ShortPath,
    /// basalt_use_indexes: of statements without index hints.
    pub use_indexes: UseIndexes,
    /// sql_mode.
    pub sql_mode: Modes,
    /// SET timestamp: the time of statements, microseconds since 1970.
    pub now_unix_micros: Option<i64>,
    /// time_zone.
    pub time_zone: Zone,
    /// innodb_lock_wait_timeout, milliseconds.
    pub lock_wait_timeout_ms: u64,
    /// innodb_rollback_on_timeout.
    pub rolls_back_on_timeout: bool,
    /// lock_wait_timeout.
    pub metadata_lock_timeout: Duration,
    /// max_execution_time, milliseconds; 0 = none.
    pub max_execution_time_ms: u64,
    /// cte_max_recursion_depth.
    pub recursion_depth_max: u64,
    /// `group_concat_max_len`
    pub group_concat_bytes_max: u64,
    /// tidb_mem_quota_query, bytes; `usize::MAX` = no limit.
    pub memory_quota: usize,
    /// What statements are bound by.
    pub settings: Settings,
    /// sql_safe_updates.
    pub safe_updates: bool,
    /// max_allowed_packet, bytes.
    pub max_allowed_packet: usize,
    /// character_set_client: what statements are written in.
    pub client: CharacterSet,
    /// collation_connection: of string literals, which are in its character set.
    pub collation: StringCollation,
    /// character_set_results.
    pub results: ResultCharset,
}

/// The values of one session.
#[derive(Debug)]
pub struct SessionVariables {
    globals: Arc<Globals>,
    pub(super) values: BTreeMap<&'static str, Arc<str>>,
    /// What results' column definitions name for their character set, where it is not its default collation.
    pub(super) names_collation: Option<StringCollation>,
    typed: Typed,
}

impl SessionVariables {
    /// As a new connection finds them.
    pub fn new(globals: Arc<Globals>) -> Self {
        let values = globals.values.read().iter().map(|(k, v)| (*k, v.clone())).collect();
        let mut variables = SessionVariables { globals, values, names_collation: None, typed: Typed::default() };
        variables.retype();
        variables
    }

    /// The decoded values.
    pub fn typed(&self) -> &Typed {
        &self.typed
    }

    /// The global values behind this session's.
    pub fn globals(&self) -> &Arc<Globals> {
        &self.globals
    }

    /// The session's value of a variable.
    pub fn get(&self, definition: &Definition) -> Arc<str> {
        self.values.get(canonical(definition.name)).cloned().unwrap_or_else(|| definition.default.into())
    }

    /// SET SESSION; `None` = DEFAULT, the global value.
    ///
    /// # Errors
    /// 1238 for read-only variables, 1229 for global ones, 1231 and 1232 for values that do not fit.
    pub fn set(&mut self, definition: &'static Definition, value: Option<&str>) -> Result<(), Error> {
        may_be_of_a_session(definition)?;
        let value = match value {
            Some(value) => check(definition, value)?,
            None => self.globals.get(definition),
        };
        if definition.name == "character_set_results" {
            self.names_collation = None;
        }
        if let Some((name, value)) = charset::companion(definition.name, &value) {
            self.values.insert(name, value);
        }
        self.values.insert(canonical(definition.name), value);
        self.retype();
        Ok(())
    }

    /// A value as it would be kept.
    ///
    /// # Errors
    /// As [`SessionVariables::set`].
    pub fn check(&self, definition: &'static Definition, value: &str) -> Result<Arc<str>, Error> {
        may_be_of_a_session(definition)?;
        check(definition, value)
    }

    pub(super) fn retype(&mut self) {
        let text = |name: &'static str| self.get(definition(name).expect("a variable of the table"));
        let number = |name: &'static str| text(name).parse::<u64>().unwrap_or(0);
        self.typed = Typed {
            autocommit: &*text("autocommit") == "ON",
            isolation: isolation(&text("transaction_isolation")),
            txn_bytes_max: number("basalt_txn_bytes_max") as usize,
            optimistic: &*text("basalt_txn_mode") == "optimistic",
            short_path: if &*text("basalt_short_path") == "ON" { ShortPath::Allowed } else { ShortPath::Forbidden },
            use_indexes: match &*text("basalt_use_indexes") {
                "always" => UseIndexes::Always,
                "never" => UseIndexes::Never,
                _ => UseIndexes::Auto,
            },
            time_zone: Zone::parse(&text("time_zone")).unwrap_or_else(Zone::utc),
            lock_wait_timeout_ms: number("innodb_lock_wait_timeout").saturating_mul(1000),
            rolls_back_on_timeout: &*text("innodb_rollback_on_timeout") == "ON",
            metadata_lock_timeout: Duration::from_secs(number("lock_wait_timeout")),
            max_execution_time_ms: number("max_execution_time"),
            recursion_depth_max: number("cte_max_recursion_depth"),
            group_concat_bytes_max: number("group_concat_max_len"),
            // Zero and less mean no limit.
            memory_quota: match number("tidb_mem_quota_query") {
                0 => usize::MAX,
                bytes => usize::try_from(bytes).unwrap_or(usize::MAX),
            },
            settings: Settings {
                division_digits: number("div_precision_increment") as u8,
                week_format: number("default_week_format") as u8,
                select_limit: Some(number("sql_select_limit")).filter(|rows| *rows < u64::MAX),
            },
            safe_updates: &*text("sql_safe_updates") == "ON",
            max_allowed_packet: number("max_allowed_packet") as usize,
            client: CharacterSet::from_name(&text("character_set_client")).unwrap_or_default(),
            collation: StringCollation::from_name(&text("collation_connection")).unwrap_or_default(),
            results: self.result_charset(&text("character_set_results")),
            sql_mode: Modes::parse(&text("sql_mode")).unwrap_or_default(),
            now_unix_micros: micros(&text("timestamp")),
        };
    }
}

impl Default for Typed {
    fn default() -> Self {
        Typed {
            autocommit: true,
            isolation: Isolation::default(),
            txn_bytes_max: 100 << 20,
            optimistic: false,
            short_path: ShortPath::Allowed,
            use_indexes: UseIndexes::Auto,
            sql_mode: Modes::default(),
            now_unix_micros: None,
            time_zone: Zone::utc(),
            lock_wait_timeout_ms: 50_000,
            rolls_back_on_timeout: false,
            metadata_lock_timeout: Duration::from_secs(31_536_000),
            max_execution_time_ms: 0,
            recursion_depth_max: 1_000,
            group_concat_bytes_max: 1_024,
            memory_quota: QUOTA_BYTES_DEFAULT,
            settings: Settings::default(),
            safe_updates: false,
            max_allowed_packet: 64 << 20,
            client: CharacterSet::default(),
            collation: StringCollation::default(),
            results: ResultCharset::default(),
        }
    }
}

pub(super) fn user(code: u16, sqlstate: &'static str, message: String) -> Error {
    Error::User { code, sqlstate, message }
}

/// A variable's text as the value that `SELECT @@name` gives: numbers and switches are numbers.
pub fn typed_value(definition: &Definition, text: &str) -> basalt_expr::value::Value {
    use basalt_expr::value::Value;
    match definition.kind {
        Bool => Value::Int(i64::from(text == "ON")),
        // Switches that stay off are numbers like the others: Django takes any string for true.
        Enum(["OFF", "0"]) => Value::Int(0),
        UInt => text.parse().map_or_else(|_| Value::String(text.into()), Value::UInt),
        Int(..) => text.parse().map_or_else(|_| Value::String(text.into()), Value::Int),
        Float => text.parse().map_or_else(|_| Value::String(text.into()), Value::Double),
        Charset if text == charset::NULL => Value::Null,
        _ => Value::String(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_its_defaults_are_allowed() {
        assert!(DEFINITIONS.windows(2).all(|w| w[0].name < w[1].name));
        for definition in DEFINITIONS {
            check(definition, definition.default).unwrap_or_else(|e| panic!("{}: {e}", definition.name));
        }
    }

    #[test]
    fn sessions_start_with_the_global_values() {
        let globals = Arc::new(Globals::default());
        let changes = global_changes(definition("TX_isolation").unwrap(), Some("read-committed")).unwrap();
        assert_eq!(changes, [("transaction_isolation", Some("READ-COMMITTED".into()))]);
        let record = |name: &str, value: &str| GlobalVariable { name: name.into(), value: value.into() };
        globals.set_fact("port", "4000");
        globals.take_over(vec![record("autocommit", "OFF")]);
        // What a server does not take keeps it from nothing.
        let foreign = [("autocommit", "maybe"), ("no_such_variable", "1"), ("version", "9")].map(|(n, v)| record(n, v));
        globals.take_over([record("transaction_isolation", "READ-COMMITTED")].into_iter().chain(foreign).collect());
        let value = |name: &str| globals.get(definition(name).unwrap());
        assert_eq!((&*value("autocommit"), &*value("port"), &*value("version")), ("ON", "4000", SERVER_VERSION));
        let mut session = SessionVariables::new(globals);
        assert_eq!(session.typed().isolation, Isolation::ReadCommitted);
        session.set(definition("transaction_isolation").unwrap(), Some("REPEATABLE-READ")).unwrap();
        assert_eq!(session.typed().isolation, Isolation::RepeatableRead);
        assert!(session.set(definition("version").unwrap(), Some("9")).is_err());
        assert!(session.set(definition("autocommit").unwrap(), Some("maybe")).is_err());
        session.set(definition("sql_mode").unwrap(), Some("ansi_quotes")).unwrap();
        assert_eq!(session.typed().sql_mode, Modes::ANSI_QUOTES);
    }

    #[test]
    fn switches_are_numbers() {
        for (name, text, value) in [("autocommit", "ON", 1), ("sql_auto_is_null", "OFF", 0)] {
            let found = typed_value(definition(name).unwrap(), text);
            assert_eq!(found, basalt_expr::value::Value::Int(value), "{name}");
        }
    }
}
