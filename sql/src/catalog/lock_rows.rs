//! Rows that tell who waits for whose locks, and which circles of waits were broken.

use super::information_schema::{Process, Row, SessionInfo};
use super::key_text::key_text;
use super::model::Schema;
use crate::deadlocks::{Deadlock, Member};
use crate::error::{Error, Result};
use basalt_common::Timestamp;
use basalt_common::table_key::{self, TableKeyKind};
use basalt_expr::temporal::DateTime;
use basalt_expr::temporal::zone::TimeZone;
use basalt_expr::value::Value;
use basalt_proto::pd::LockWait;
use std::fmt::Write;

const NULL: Value = Value::Null;

/// What of a key a person wants to know.
struct Place {
    database: String,
    table: String,
    index: String,
    key: String,
}

impl Place {
    fn of(key: &[u8], schema: &Schema) -> Place {
        let mut place =
            Place { database: String::new(), table: String::new(), index: String::new(), key: key_text(key, schema) };
        if let Ok((id, kind, _)) = table_key::decode(key)
            && let Some((database, table)) = schema.table_by_id(id)
        {
            (place.database, place.table) = (database.name.clone(), table.name.clone());
            let index = |id| table.indexes.iter().find(|index| index.id == id).map(|index| index.name.clone());
            place.index = match kind {
                TableKeyKind::Row => "PRIMARY".into(),
                TableKeyKind::Index(id) => index(id).unwrap_or_default(),
            };
        }
        place
    }
}

/// A wait with the connections of both sides, as far as they are there and may be seen.
struct Wait<'a> {
    wait: &'a LockWait,
    waiting: Option<&'a Process>,
    blocking: Option<&'a Process>,
}

fn waits<'a>(waits: &'a [LockWait], processes: &'a [Process], info: &dyn SessionInfo) -> Vec<Wait<'a>> {
    let process = |txn: u64| processes.iter().find(|process| process.transaction == txn);
    let all = waits.iter().map(|wait| Wait { wait, waiting: process(wait.waiter), blocking: process(wait.holder) });
    all.filter(|wait| info.sees_everybody() || wait.waiting.is_some() || wait.blocking.is_some()).collect()
}

/// `sys.innodb_lock_waits`, with the columns that are known here.
pub(super) async fn lock_waits(schema: &Schema, info: &dyn SessionInfo) -> Result<Vec<Row>> {
    let (told, processes) = (info.lock_waits().await?, info.processes().await);
    let now_ms = info.now_unix_ms();
    let row = |found: Wait<'_>| {
        let Wait { wait, waiting, blocking } = found;
        let place = Place::of(&wait.key, schema);
        let began = |txn: u64| moment(Timestamp(txn).physical_ms());
        let pid = |process: Option<&Process>| process.map_or(NULL, |process| Value::UInt(process.id));
        let query = |process: Option<&Process>| process.and_then(|p| p.statement.clone()).map_or(NULL, Value::from);
        let kill = |verb: &str| blocking.map_or(NULL, |process| Value::from(format!("{verb} {}", process.id)));
        vec![
            moment(now_ms.saturating_sub(wait.waited_ms)),
            Value::Int((wait.waited_ms / 1000) as i64),
            Value::from(format!("`{}`.`{}`", place.database, place.table)),
            Value::from(place.database),
            Value::from(place.table),
            Value::from(place.index),
            Value::from(place.key),
            Value::UInt(wait.waiter),
            began(wait.waiter),
            pid(waiting),
            query(waiting),
            Value::UInt(wait.holder),
            began(wait.holder),
            pid(blocking),
            query(blocking),
            kill("KILL QUERY"),
            kill("KILL"),
        ]
    };
    Ok(waits(&told, &processes, info).into_iter().map(row).collect())
}

/// `information_schema.BASALT_DEADLOCKS`: a row for each transaction of a circle, which waits for that of the next row, the last
/// for that of the first.
pub(super) fn deadlocks(schema: &Schema, info: &dyn SessionInfo) -> Vec<Row> {
    let rows = |deadlock: Deadlock| {
        let (number, found) = (deadlock.number, moment(deadlock.found_unix_ms));
        let row = move |(at, member): (usize, Member)| {
            let place = Place::of(&member.key, schema);
            vec![
                Value::UInt(number),
                found.clone(),
                Value::UInt(at as u64 + 1),
                Value::UInt(member.transaction.0),
                Value::Int(member.is_victim.into()),
                member.connection.map_or(NULL, Value::UInt),
                statement_of(&member).map_or(NULL, Value::from),
                Value::from(place.database),
                Value::from(place.table),
                Value::from(place.index),
                Value::from(place.key),
            ]
        };
        deadlock.members.into_iter().enumerate().map(row)
    };
    let seen = if info.sees_everybody() { info.deadlocks() } else { Vec::new() };
    seen.into_iter().flat_map(rows).collect()
}

/// SHOW ENGINE INNODB STATUS: the latest deadlock, and the transactions with their waits, as people know the places.
pub(super) async fn engine_status(schema: &Schema, info: &dyn SessionInfo) -> Result<Vec<Row>> {
    if !info.sees_everybody() {
        return Err(Error::privilege_needed("PROCESS"));
    }
    let mut text = String::new();
    head(&mut text, '=', &format!("{} INNODB MONITOR OUTPUT", moment_text(info.now_unix_ms())));
    if let Some(deadlock) = info.deadlocks().first() {
        head(&mut text, '-', "LATEST DETECTED DEADLOCK");
        write_deadlock(&mut text, deadlock, schema);
    }
    head(&mut text, '-', "TRANSACTIONS");
    let (told, mut processes) = (info.lock_waits().await?, info.processes().await);
    processes.retain(|process| process.transaction != 0);
    processes.sort_by_key(|process| process.transaction);
    let waits = waits(&told, &processes, info);
    for process in &processes {
        let began = Timestamp(process.transaction).physical_ms();
        let seconds = info.now_unix_ms().saturating_sub(began) / 1000;
        let _ = writeln!(text, "---TRANSACTION {}, ACTIVE {seconds} sec", process.transaction);
        let user = format!("{} {} {}", process.user, process.host, process.state);
        let _ = writeln!(text, "MySQL thread id {}, {}", process.id, user.trim_end());
        if let Some(statement) = &process.statement {
            let _ = writeln!(text, "{statement}");
        }
        for found in waits.iter().filter(|found| found.wait.waiter == process.transaction) {
            let wait = found.wait;
            let _ = writeln!(text, "------- TRX HAS BEEN WAITING {:.1} SEC FOR:", wait.waited_ms as f64 / 1000.0);
            let thread = found.blocking.map_or(String::new(), |process| format!(", thread id {}", process.id));
            let place = place_text(&Place::of(&wait.key, schema));
            let _ = writeln!(text, "{place}, held by TRANSACTION {}{thread}", wait.holder);
        }
    }
    head(&mut text, '=', "END OF INNODB MONITOR OUTPUT");
    Ok(vec![vec![Value::from("InnoDB"), Value::from(""), Value::from(text)]])
}

fn head(text: &mut String, line: char, title: &str) {
    let line: String = std::iter::repeat_n(line, title.len()).collect();
    let _ = writeln!(text, "{line}\n{title}\n{line}");
}

fn write_deadlock(text: &mut String, deadlock: &Deadlock, schema: &Schema) {
    let _ = writeln!(text, "{}", moment_text(deadlock.found_unix_ms));
    for (number, member) in (1..).zip(&deadlock.members) {
        let _ = writeln!(text, "*** ({number}) TRANSACTION {}", member.transaction.0);
        if let Some(connection) = member.connection {
            let _ = writeln!(text, "MySQL thread id {connection}");
        }
        if let Some(statement) = statement_of(member) {
            let _ = writeln!(text, "{statement}");
        }
        let _ = writeln!(text, "*** ({number}) WAITING FOR THIS LOCK TO BE GRANTED:");
        let _ = writeln!(text, "{}", place_text(&Place::of(&member.key, schema)));
    }
    if let Some(victim) = deadlock.members.iter().position(|member| member.is_victim) {
        let _ = writeln!(text, "*** WE ROLL BACK TRANSACTION ({})", victim + 1);
    }
}

fn place_text(place: &Place) -> String {
    format!("index {} of table `{}`.`{}`, key {}", place.index, place.database, place.table, place.key)
}

fn statement_of(member: &Member) -> Option<String> {
    member.statement.as_ref().map(|text| String::from_utf8_lossy(text).into_owned())
}

/// A moment in UTC, to the second.
fn local(unix_ms: u64) -> Option<DateTime> {
    TimeZone::utc().local_of_unix(unix_ms as i64 / 1000 * 1_000_000)
}

fn moment(unix_ms: u64) -> Value {
    local(unix_ms).map_or(NULL, Value::DateTime)
}

fn moment_text(unix_ms: u64) -> String {
    let mut text = Vec::new();
    if let Some(moment) = local(unix_ms) {
        moment.format(0, &mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}
