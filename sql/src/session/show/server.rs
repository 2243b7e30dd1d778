//! SHOW VARIABLES, STATUS, WARNINGS, PROCESSLIST and the lists that never change.

use crate::session::rows::{Rows, number, text, text_or_null, varchar};
use crate::session::variables::{DEFINITIONS, Globals, SERVER_VERSION, Scope, SessionVariables};
use basalt_expr::types::FieldType;
use basalt_expr::value::Value;

/// SHOW [GLOBAL] VARIABLES.
pub fn variables(session: &SessionVariables, global: bool) -> Rows {
    let mut rows = Rows::new(&[("Variable_name", varchar()), ("Value", varchar())]);
    let globals: &Globals = session.globals();
    for definition in DEFINITIONS {
        if global && definition.scope == Scope::Session {
            continue;
        }
        let value = if global { globals.get(definition) } else { session.get(definition) };
        rows.push(vec![text(definition.name), text(&*value)]);
    }
    rows
}

/// SHOW STATUS: names and values that the server counts.
pub fn status(counters: &[(&'static str, String)]) -> Rows {
    let mut rows = Rows::new(&[("Variable_name", varchar()), ("Value", varchar())]);
    counters.iter().for_each(|(name, value)| rows.push(vec![text(name), text(value)]));
    rows
}

/// A warning, note or error of the last statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// `Note`, `Warning`, `Error`.
    pub level: &'static str,
    /// MySQL's number.
    pub code: u16,
    /// The text.
    pub message: String,
}

/// SHOW WARNINGS, SHOW ERRORS.
pub fn warnings(diagnostics: &[Diagnostic], errors: bool) -> Rows {
    let mut rows = Rows::new(&[("Level", varchar()), ("Code", FieldType::bigint()), ("Message", FieldType::varchar(512))]);
    for d in diagnostics.iter().filter(|d| !errors || d.level == "Error") {
        rows.push(vec![text(d.level), Value::Int(i64::from(d.code)), text(&d.message)]);
    }
    rows
}

/// One connection, as SHOW PROCESSLIST lists it.
#[derive(Debug, Clone)]
pub struct Process {
    /// Connection id.
    pub id: u64,
    /// Who.
    pub user: String,
    /// From where.
    pub host: String,
    /// Current database.
    pub database: Option<String>,
    /// `Query`, `Sleep`, …
    pub command: &'static str,
    /// Seconds in this state.
    pub time_s: u64,
    /// What it is doing.
    pub state: String,
    /// The statement.
    pub info: Option<String>,
}

/// Characters of a statement that SHOW PROCESSLIST without FULL shows.
const INFO_CHARS: usize = 100;

/// SHOW [FULL] PROCESSLIST.
pub fn process_list(processes: &[Process], full: bool) -> Rows {
    let mut rows = Rows::new(&[
        ("Id", FieldType::bigint_unsigned()),
        ("User", varchar()),
        ("Host", varchar()),
        ("db", varchar()),
        ("Command", varchar()),
        ("Time", FieldType::bigint()),
        ("State", varchar()),
        ("Info", FieldType::varchar(1024)),
    ]);
    for p in processes {
        let info = p.info.as_ref().map(|i| if full { i.clone() } else { i.chars().take(INFO_CHARS).collect() });
        rows.push(vec![
            number(p.id),
            text(&p.user),
            text(&p.host),
            text_or_null(p.database.as_ref()),
            text(p.command),
            Value::Int(p.time_s as i64),
            text(&p.state),
            text_or_null(info),
        ]);
    }
    rows
}

/// SHOW ENGINES: one, under the name that every schema asks for.
pub fn engines() -> Rows {
    let mut rows = Rows::new(&[
        ("Engine", varchar()),
        ("Support", varchar()),
        ("Comment", varchar()),
        ("Transactions", varchar()),
        ("XA", varchar()),
        ("Savepoints", varchar()),
    ]);
    rows.push(["InnoDB", "DEFAULT", "Basalt: replicated regions on RocksDB, under the name that MySQL schemas use", "YES", "NO", "YES"].map(text).to_vec());
    rows
}

/// SHOW CHARACTER SET.
pub fn charsets() -> Rows {
    let mut rows = Rows::new(&[
        ("Charset", varchar()),
        ("Description", varchar()),
        ("Default collation", varchar()),
        ("Maxlen", FieldType::bigint()),
    ]);
    for (name, description, collation, length) in
        [("binary", "Binary pseudo charset", "binary", 1), ("utf8mb4", "UTF-8 Unicode", "utf8mb4_bin", 4)]
    {
        rows.push(vec![text(name), text(description), text(collation), Value::Int(length)]);
    }
    rows
}

/// SHOW COLLATION.
pub fn collations() -> Rows {
    let mut rows = Rows::new(&[
        ("Collation", varchar()),
        ("Charset", varchar()),
        ("Id", FieldType::bigint_unsigned()),
        ("Default", varchar()),
        ("Compiled", varchar()),
        ("Sortlen", FieldType::bigint()),
        ("Pad_attribute", varchar()),
    ]);
    for (name, charset, id, default) in [("binary", "binary", 63, "Yes"), ("utf8mb4_bin", "utf8mb4", 46, "Yes"), ("utf8mb4_general_ci", "utf8mb4", 45, "")]
    {
        let pad = if name == "binary" { "NO PAD" } else { "PAD SPACE" };
        rows.push(vec![text(name), text(charset), number(id), text(default), text("Yes"), Value::Int(1), text(pad)]);
    }
    rows
}

/// SHOW PLUGINS.
pub fn plugins() -> Rows {
    let mut rows = Rows::new(&[("Name", varchar()), ("Status", varchar()), ("Type", varchar()), ("Library", varchar()), ("License", varchar())]);
    for name in ["caching_sha2_password", "mysql_native_password"] {
        rows.push(vec![text(name), text("ACTIVE"), text("AUTHENTICATION"), Value::Null, text("Apache-2.0")]);
    }
    rows.push(vec![text("InnoDB"), text("ACTIVE"), text("STORAGE ENGINE"), Value::Null, text("Apache-2.0")]);
    rows
}

/// SHOW GRANTS.
pub fn grants(user: &str, host: &str, all: bool) -> Rows {
    let name = format!("Grants for {user}@{host}");
    let mut rows = Rows::new(&[(&name, FieldType::varchar(1024))]);
    let what = if all { "ALL PRIVILEGES ON *.* TO" } else { "USAGE ON *.* TO" };
    let option = if all { " WITH GRANT OPTION" } else { "" };
    rows.push(vec![text(format!("GRANT {what} `{user}`@`{host}`{option}"))]);
    rows
}

/// SHOW CREATE USER; never shows the credential.
pub fn create_user(user: &str, host: &str, plugin: &str) -> Rows {
    let name = format!("CREATE USER for {user}@{host}");
    let mut rows = Rows::new(&[(&name, FieldType::varchar(1024))]);
    rows.push(vec![text(format!("CREATE USER `{user}`@`{host}` IDENTIFIED WITH '{plugin}' AS '<secret>'"))]);
    rows
}

/// SHOW TRIGGERS: there are none, and none can be made.
pub fn empty_triggers() -> Rows {
    empty(&["Trigger", "Event", "Table", "Statement", "Timing", "Created", "sql_mode", "Definer", "character_set_client", "collation_connection", "Database Collation"])
}

/// SHOW EVENTS: there are none, and none can be made.
pub fn empty_events() -> Rows {
    empty(&["Db", "Name", "Definer", "Time zone", "Type", "Execute at", "Interval value", "Interval field", "Starts", "Ends", "Status", "Originator", "character_set_client", "collation_connection", "Database Collation"])
}

/// SHOW PROCEDURE STATUS, SHOW FUNCTION STATUS: there are none, and none can be made.
pub fn empty_routines() -> Rows {
    empty(&["Db", "Name", "Type", "Definer", "Modified", "Created", "Security_type", "Comment", "character_set_client", "collation_connection", "Database Collation"])
}

fn empty(names: &[&str]) -> Rows {
    Rows::new(&names.iter().map(|name| (*name, varchar())).collect::<Vec<_>>())
}

/// The text of COM_STATISTICS, which `status` in the client prints.
pub fn statistics(uptime_s: u64, threads: usize, questions: u64) -> String {
    let per_second = questions as f64 / uptime_s.max(1) as f64;
    format!(
        "Uptime: {uptime_s}  Threads: {threads}  Questions: {questions}  Slow queries: 0  Opens: 0  Flush tables: 0  Open tables: 0  Queries per second avg: {per_second:.3}  Version: {SERVER_VERSION}"
    )
}
