//! Rows of the made-up tables.

use super::information_schema::{self, DATABASES, Row, SessionInfo};
use super::key_text::key_text;
use super::lock_rows;
use super::model::{Column, Schema, Table};
use super::privileges;
use super::show_create;
use crate::error::Result;
use basalt_common::TableId;
use basalt_expr::collation::Collation;
use basalt_expr::temporal::zone::TimeZone;
use basalt_expr::types::{FieldType, TypeKind};
use basalt_expr::value::Value;

fn s(text: impl Into<String>) -> Value {
    Value::from(text.into())
}
fn u(number: u64) -> Value {
    Value::UInt(number)
}
const NULL: Value = Value::Null;

/// Rows of `database.table`, lower-cased and upper-cased; none for tables that are always empty.
pub(super) async fn produce(database: &str, table: &str, schema: &Schema, info: &dyn SessionInfo) -> Result<Vec<Row>> {
    let rows = match (database, table) {
        ("mysql", "USER") => privileges::users(info),
        ("mysql", "DB") => privileges::databases(info),
        ("information_schema", "SCHEMATA") => schemata(schema, info),
        ("information_schema", "TABLES") => tables(schema, info).await?,
        ("information_schema", "COLUMNS") => columns(schema, info),
        ("information_schema", "STATISTICS") => statistics(schema),
        ("information_schema", "KEY_COLUMN_USAGE") => key_column_usage(schema),
        ("information_schema", "TABLE_CONSTRAINTS") => table_constraints(schema),
        ("information_schema", "ENGINES") => {
            let comment = "Transactions on Raft-replicated, range-partitioned storage";
            vec![vec![s("InnoDB"), s("DEFAULT"), s(comment), s("YES"), s("NO"), s("YES")]]
        }
        ("information_schema", "CHARACTER_SETS") => vec![
            vec![s("ascii"), s("ascii_general_ci"), s("US ASCII"), u(1)],
            vec![s("binary"), s("binary"), s("Binary pseudo charset"), u(1)],
            vec![s("latin1"), s("latin1_swedish_ci"), s("cp1252 West European"), u(1)],
            vec![s("utf8mb3"), s("utf8mb3_general_ci"), s("UTF-8 Unicode"), u(3)],
            vec![s("utf8mb4"), s(Collation::DEFAULT.name()), s("UTF-8 Unicode"), u(4)],
        ],
        ("information_schema", "COLLATIONS") => collations(),
        ("information_schema", "COLLATION_CHARACTER_SET_APPLICABILITY") => {
            Collation::all().into_iter().map(|c| vec![s(c.name()), s(c.charset())]).collect()
        }
        ("information_schema", "PROCESSLIST") => processes(info).await,
        (_, "BASALT_DEADLOCKS") => lock_rows::deadlocks(schema, info),
        (_, "BASALT_ENGINE_STATUS") => lock_rows::engine_status(schema, info).await?,
        ("sys", "INNODB_LOCK_WAITS") => lock_rows::lock_waits(schema, info).await?,
        ("information_schema", "USER_PRIVILEGES") => privileges::user_privileges(info),
        ("information_schema", "SCHEMA_PRIVILEGES") => privileges::schema_privileges(info),
        ("information_schema", "TABLE_PRIVILEGES") => privileges::table_privileges(info),
        (_, "BASALT_GRANTS") => privileges::grants(info),
        (_, "SESSION_VARIABLES") => pairs(info.variables(false)),
        (_, "GLOBAL_VARIABLES") => pairs(info.variables(true)),
        (_, "SESSION_STATUS") => pairs(info.status(false)),
        (_, "GLOBAL_STATUS") => pairs(info.status(true)),
        (_, "BASALT_WARNINGS") => {
            info.warnings().into_iter().map(|(level, code, text)| vec![s(level), u(code.into()), s(text)]).collect()
        }
        (_, "BASALT_REGIONS") => regions(schema, info).await?,
        (_, "BASALT_STORES") => stores(info).await?,
        (_, "BASALT_DDL_JOBS") => info.ddl_jobs().await?,
        _ => Vec::new(),
    };
    Ok(rows)
}

fn pairs(pairs: Vec<(String, String)>) -> Vec<Row> {
    pairs.into_iter().map(|(name, value)| vec![s(name), s(value)]).collect()
}

fn schemata(schema: &Schema, info: &dyn SessionInfo) -> Vec<Row> {
    let shown = DATABASES.iter().filter(|database| info.sees_database(database));
    let made_up = shown.map(|d| (d.to_string(), "utf8mb4".to_string(), "utf8mb4_bin".to_string()));
    let stored = schema.databases.values().map(|d| (d.name.clone(), d.charset.clone(), d.collation.clone()));
    stored
        .chain(made_up)
        .map(|(name, charset, collation)| vec![s("def"), s(name), s(charset), s(collation), NULL, s("NO")])
        .collect()
}

async fn tables(schema: &Schema, info: &dyn SessionInfo) -> Result<Vec<Row>> {
    let ids: Vec<TableId> = stored(schema).map(|(_, table)| table.id).collect();
    let sizes = info.table_sizes(&ids).await?;
    let mut rows = Vec::new();
    for ((database, table), size) in stored(schema).zip(sizes) {
        let created = TimeZone::utc().local_of_unix(table.created_unix_ms as i64 * 1000);
        rows.push(vec![
            s("def"),
            s(database),
            s(&table.name),
            s("BASE TABLE"),
            s("InnoDB"),
            u(10),
            s("Dynamic"),
            u(size.rows),
            u(size.data_bytes.checked_div(size.rows).unwrap_or(0)),
            u(size.data_bytes),
            u(0),
            u(size.index_bytes),
            u(0),
            NULL,
            created.map_or(NULL, Value::DateTime),
            NULL,
            NULL,
            s(&table.collation),
            NULL,
            s(""),
            s(&table.comment),
            u(table.id.0),
        ]);
    }
    for (database, table) in information_schema::tables().filter(|(database, _)| info.sees_database(database)) {
        let kind = if database == "information_schema" { "SYSTEM VIEW" } else { "BASE TABLE" };
        let mut row = vec![s("def"), s(database), s(made_up_name(database, table)), s(kind)];
        row.extend(std::iter::repeat_n(NULL, 16));
        row.extend([s(""), u(0)]);
        rows.push(row);
    }
    Ok(rows)
}

/// Tables of `mysql` and `performance_schema` are lower-case, those of `information_schema` upper-case.
fn made_up_name(database: &str, table: &str) -> String {
    if database == "information_schema" { table.to_string() } else { table.to_lowercase() }
}

fn stored(schema: &Schema) -> impl Iterator<Item = (&str, &Table)> {
    schema.databases.values().flat_map(|d| d.tables.values().map(move |t| (d.name.as_str(), t.as_ref())))
}

fn columns(schema: &Schema, info: &dyn SessionInfo) -> Vec<Row> {
    let mut rows = Vec::new();
    for (database, table) in stored(schema) {
        let privileges = info.column_privileges(database, &table.name);
        for (position, (offset, column)) in table.public_columns().enumerate() {
            rows.push(column_row(database, table, offset, column, position as u64 + 1, &privileges));
        }
    }
    for (database, table) in information_schema::tables().filter(|(database, _)| info.sees_database(database)) {
        for (position, (name, ty)) in information_schema::columns(database, table).into_iter().flatten().enumerate() {
            let head = [s("def"), s(database), s(made_up_name(database, table)), s(name), u(position as u64 + 1), NULL];
            let mut row = head.to_vec();
            row.extend(type_cells(&ty));
            row.extend([s(""), s(""), s("select"), s(""), s(""), NULL]);
            rows.push(row);
        }
    }
    rows
}

fn column_row(database: &str, table: &Table, offset: usize, column: &Column, position: u64, rights: &str) -> Row {
    let mut row = vec![s("def"), s(database), s(&table.name), s(&column.name), u(position)];
    row.push(show_create::default_text(column).map_or(NULL, s));
    row.extend(type_cells(&column.ty));
    row.extend([s(column_key(table, offset)), s(extra(column)), s(rights), s(&column.comment), s(""), NULL]);
    row
}

/// IS_NULLABLE to COLUMN_TYPE.
fn type_cells(ty: &FieldType) -> Vec<Value> {
    let name = ty.sql_name();
    let base: String = name.split(['(', ' ']).next().unwrap_or_default().to_string();
    let text = ty.is_string();
    let chars = text.then(|| ty.blob_bytes_max().map_or(u64::from(ty.length), |max| max as u64));
    let is_blob = ty.blob_bytes_max().is_some();
    let bytes_per_char = if is_blob { 1 } else { u64::from(ty.collation.character_set().char_bytes_max()) };
    let octets = chars.map(|c| c.saturating_mul(bytes_per_char));
    let fractional = matches!(ty.kind, TypeKind::DateTime | TypeKind::Timestamp | TypeKind::Time);
    let scale = match ty.kind {
        TypeKind::Decimal => u(ty.decimals.into()),
        _ if ty.is_integer() && ty.kind != TypeKind::Bit && ty.kind != TypeKind::Year => u(0),
        _ => NULL,
    };
    let precision = match ty.kind {
        TypeKind::Float => u(12),
        TypeKind::Double => u(22),
        TypeKind::Bit => u(ty.length.into()),
        TypeKind::Year => NULL,
        _ if ty.is_numeric() => u(ty.decimal_precision().into()),
        _ => NULL,
    };
    let collated = text && ty.collation != Collation::Binary;
    vec![
        s(if ty.not_null { "NO" } else { "YES" }),
        s(base),
        chars.map_or(NULL, u),
        octets.map_or(NULL, u),
        precision,
        scale,
        if fractional { u(ty.decimals.into()) } else { NULL },
        if collated { s(ty.collation.charset()) } else { NULL },
        if collated { s(ty.collation.name()) } else { NULL },
        s(name),
    ]
}

fn column_key(table: &Table, offset: usize) -> &'static str {
    let mut key = "";
    let of_rows = table.key_of_rows().map(|i| i.id);
    for index in table.listed_indexes() {
        let position = index.columns.iter().position(|c| c.column == offset);
        match position {
            Some(_) if Some(index.id) == of_rows || index.primary => return "PRI",
            Some(0) if index.unique && index.columns.len() == 1 => key = "UNI",
            Some(0) if key.is_empty() => key = "MUL",
            _ => {}
        }
    }
    key
}

fn extra(column: &Column) -> String {
    let mut parts = Vec::new();
    if column.auto_increment {
        parts.push("auto_increment".to_string());
    }
    if matches!(column.default, super::model::ColumnDefault::CurrentTimestamp(_)) {
        parts.push("DEFAULT_GENERATED".to_string());
    }
    if column.on_update_now {
        let digits = column.ty.decimals;
        let digits = if digits == 0 { String::new() } else { format!("({digits})") };
        parts.push(format!("on update CURRENT_TIMESTAMP{digits}"));
    }
    parts.join(" ")
}

fn statistics(schema: &Schema) -> Vec<Row> {
    let mut rows = Vec::new();
    for (database, table) in stored(schema) {
        for index in table.listed_indexes() {
            for (position, part) in index.columns.iter().enumerate() {
                let column = &table.columns[part.column];
                rows.push(vec![
                    s("def"),
                    s(database),
                    s(&table.name),
                    Value::Int(i64::from(!index.unique && !index.primary)),
                    s(database),
                    s(&index.name),
                    u(position as u64 + 1),
                    s(&column.name),
                    s("A"),
                    Value::Int(0),
                    part.prefix_length.map_or(NULL, |n| u(n.into())),
                    NULL,
                    s(if column.ty.not_null { "" } else { "YES" }),
                    s("BTREE"),
                    s(""),
                    s(&index.comment),
                    s("YES"),
                    NULL,
                ]);
            }
        }
    }
    rows
}

fn key_column_usage(schema: &Schema) -> Vec<Row> {
    let mut rows = Vec::new();
    for (database, table) in stored(schema) {
        for index in table.listed_indexes().filter(|i| i.unique || i.primary) {
            for (position, part) in index.columns.iter().enumerate() {
                let column = &table.columns[part.column].name;
                rows.push(vec![
                    s("def"),
                    s(database),
                    s(&index.name),
                    s("def"),
                    s(database),
                    s(&table.name),
                    s(column),
                    u(position as u64 + 1),
                    NULL,
                    NULL,
                    NULL,
                    NULL,
                ]);
            }
        }
    }
    rows
}

fn table_constraints(schema: &Schema) -> Vec<Row> {
    let mut rows = Vec::new();
    for (database, table) in stored(schema) {
        for index in table.listed_indexes().filter(|i| i.unique || i.primary) {
            let kind = if index.primary { "PRIMARY KEY" } else { "UNIQUE" };
            rows.push(vec![s("def"), s(database), s(&index.name), s(database), s(&table.name), s(kind), s("YES")]);
        }
    }
    rows
}

fn collations() -> Vec<Row> {
    let row = |c: Collation| {
        let pad = if c.pads_space() { "PAD SPACE" } else { "NO PAD" };
        let default = if c.is_default() { "Yes" } else { "" };
        vec![s(c.name()), s(c.charset()), u(c.id().into()), s(default), s("Yes"), u(1), s(pad)]
    };
    Collation::all().into_iter().map(row).collect()
}

async fn processes(info: &dyn SessionInfo) -> Vec<Row> {
    let row = |p: information_schema::Process| {
        vec![
            u(p.id),
            s(p.user),
            s(p.host),
            p.database.map_or(NULL, s),
            s(p.command),
            Value::Int(p.seconds as i64),
            s(p.state),
            p.statement.map_or(NULL, s),
            u(p.memory_bytes),
        ]
    };
    info.processes().await.into_iter().map(row).collect()
}

async fn regions(schema: &Schema, info: &dyn SessionInfo) -> Result<Vec<Row>> {
    let row = |r: information_schema::RegionInfo| {
        let peers: Vec<String> = r.peers.iter().map(u64::to_string).collect();
        vec![
            u(r.id),
            s(key_text(&r.start_key, schema)),
            s(key_text(&r.end_key, schema)),
            u(r.leader_peer),
            u(r.leader_store),
            s(peers.join(", ")),
            u(r.size_bytes),
            u(r.keys),
            Value::from(r.start_key),
            Value::from(r.end_key),
        ]
    };
    Ok(info.regions(&[], &[]).await?.into_iter().map(row).collect())
}

async fn stores(info: &dyn SessionInfo) -> Result<Vec<Row>> {
    let row = |t: information_schema::StoreInfo| {
        vec![u(t.id), s(t.address), s(t.state), u(t.regions), u(t.leaders), u(t.used_bytes), u(t.capacity_bytes)]
    };
    Ok(info.stores().await?.into_iter().map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::information_schema::{Process, RegionInfo, StoreInfo};
    use crate::catalog::model::Database;
    use crate::catalog::size::TableSize;
    use crate::ddl::{TableDefaults, build_table};
    use crate::deadlocks::{Deadlock, Member};
    use crate::parser::statement::{Ddl, Statement};
    use crate::parser::{ParseOptions, parse_one};
    use async_trait::async_trait;
    use basalt_common::Timestamp;
    use basalt_expr::EvalContext;
    use basalt_proto::pd::LockWait;
    use bytes::Bytes;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    struct Info;

    #[async_trait]
    impl SessionInfo for Info {
        fn variables(&self, _: bool) -> Vec<(String, String)> {
            vec![("version".into(), "8".into())]
        }
        fn status(&self, _: bool) -> Vec<(String, String)> {
            vec![("Uptime".into(), "1".into())]
        }
        async fn processes(&self) -> Vec<Process> {
            vec![Process { id: 1, ..Process::default() }]
        }
        fn now_unix_ms(&self) -> u64 {
            1_700_000_001_000
        }
        fn sees_everybody(&self) -> bool {
            true
        }
        async fn lock_waits(&self) -> Result<Vec<LockWait>> {
            Ok(vec![LockWait { waiter: 5, holder: 6, ..LockWait::default() }])
        }
        fn deadlocks(&self) -> Vec<Deadlock> {
            let member = |at: u64| Member {
                transaction: Timestamp(at),
                key: Bytes::from("k"),
                is_victim: at == 7,
                connection: None,
                statement: Some(b"UPDATE t".to_vec()),
            };
            vec![Deadlock { number: 1, found_unix_ms: 1_700_000_000_000, members: vec![member(7), member(8)] }]
        }
        fn warnings(&self) -> Vec<(&'static str, u16, String)> {
            vec![("Warning", 1365, "Division by 0".into())]
        }
        fn sees_database(&self, _: &str) -> bool {
            true
        }
        fn column_privileges(&self, _: &str, _: &str) -> String {
            "select".into()
        }
        fn accounts(&self) -> Vec<information_schema::AccountInfo> {
            let grant = information_schema::GrantInfo { privileges: vec!["SELECT"], ..Default::default() };
            let finer = |table: &str| information_schema::GrantInfo {
                database: "d".into(),
                table: table.into(),
                ..grant.clone()
            };
            let grants = vec![grant.clone(), finer(""), finer("t")];
            vec![information_schema::AccountInfo {
                user: "root".into(),
                host: "%".into(),
                grants,
                ..Default::default()
            }]
        }
        async fn regions(&self, _: &[u8], _: &[u8]) -> Result<Vec<RegionInfo>> {
            Ok(vec![RegionInfo { id: 2, peers: vec![3, 4], ..RegionInfo::default() }])
        }
        async fn stores(&self) -> Result<Vec<StoreInfo>> {
            Ok(vec![StoreInfo { id: 1, ..StoreInfo::default() }])
        }
        async fn ddl_jobs(&self) -> Result<Vec<Row>> {
            Ok(Vec::new())
        }
        async fn table_sizes(&self, tables: &[TableId]) -> Result<Vec<TableSize>> {
            Ok(vec![TableSize { rows: 3, data_bytes: 90, index_bytes: 0 }; tables.len()])
        }
    }

    fn schema() -> Schema {
        let sql = b"CREATE TABLE t (a INT AUTO_INCREMENT, b VARCHAR(5) DEFAULT 'x', c DECIMAL(5,2) NOT NULL, d TIMESTAMP(3) NOT \
            NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3), e BLOB, PRIMARY KEY (a), UNIQUE KEY u (b, c), \
            KEY p (e(3))) COMMENT='it''s'";
        let parsed = parse_one(sql, ParseOptions::default()).unwrap().unwrap();
        let Statement::Ddl(ddl) = parsed.statement else { panic!("not a schema change") };
        let Ddl::CreateTable(create) = *ddl else { panic!("not a table") };
        let names = ("utf8mb4".to_string(), "utf8mb4_bin".to_string());
        let defaults = TableDefaults {
            id: basalt_common::TableId(5),
            database_id: 1,
            charset: names.0.clone(),
            collation: names.1.clone(),
            now_unix_ms: 1_700_000_000_000,
        };
        let table = build_table(&create, defaults, &EvalContext::default()).unwrap();
        let tables = BTreeMap::from([("t".to_string(), Arc::new(table))]);
        let database = Database { id: 1, name: "test".into(), charset: names.0, collation: names.1, tables };
        Schema {
            version: 1,
            databases: BTreeMap::from([("test".to_string(), Arc::new(database))]),
            claims: Default::default(),
        }
    }

    #[tokio::test]
    async fn every_row_has_a_value_of_the_right_type_for_every_column() {
        let schema = schema();
        for (database, table) in information_schema::tables() {
            let columns = information_schema::columns(database, table).unwrap();
            for row in information_schema::rows(database, table, &schema, &Info).await.unwrap() {
                assert_eq!(row.len(), columns.len(), "{database}.{table}");
                for (value, (name, ty)) in row.iter().zip(&columns) {
                    let fits = match value {
                        Value::Null => true,
                        Value::String(_) => ty.is_string() && !ty.is_binary_string(),
                        Value::Bytes(_) => ty.is_binary_string(),
                        Value::UInt(_) => ty.is_integer() && ty.unsigned,
                        Value::Int(_) => ty.is_integer() && !ty.unsigned,
                        Value::DateTime(_) => ty.is_temporal(),
                        _ => false,
                    };
                    assert!(fits, "{database}.{table}.{name}: {value:?}");
                }
            }
        }
    }

    #[test]
    fn what_show_create_prints_makes_the_same_table() {
        let schema = schema();
        let table = &schema.databases["test"].tables["t"];
        let text = show_create::create_table(table);
        let parsed = parse_one(text.as_bytes(), ParseOptions::default()).unwrap().unwrap();
        let Statement::Ddl(ddl) = parsed.statement else { panic!("not a schema change") };
        let Ddl::CreateTable(create) = *ddl else { panic!("not a table") };
        let defaults = TableDefaults {
            id: table.id,
            database_id: 1,
            charset: "utf8mb4".into(),
            collation: "utf8mb4_bin".into(),
            now_unix_ms: 1_700_000_000_000,
        };
        let again = build_table(&create, defaults, &EvalContext::default()).unwrap();
        assert_eq!(show_create::create_table(&again), text);
        assert_eq!(format!("{again:?}"), format!("{table:?}"));
    }
}
