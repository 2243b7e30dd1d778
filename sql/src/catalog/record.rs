//! Catalog records: domain types from and to `basalt_proto::schema`.

use super::claims::{Claim, Wanted};
use super::model::{Column, ColumnDefault, Handle, Index, IndexColumn, SchemaState, Table, sort_indexes};
use super::text::{text_value, value_text};
use crate::error::{Error, Result};
use basalt_common::{IndexId, TableId};
use basalt_expr::types::FieldType;
use basalt_expr::value::Value;
use basalt_proto::schema as pb;
use bytes::Bytes;

fn corrupt(what: impl std::fmt::Display) -> Error {
    Error::Internal(format!("the catalog is damaged: {what}"))
}

/// What a claim's record says of its tables.
pub fn claim_from_proto(claim: &pb::TableClaim) -> Claim {
    let ids = |tables: &[u64]| tables.iter().map(|&table| TableId(table)).collect();
    let wanted = Wanted { all: ids(&claim.tables), writes: ids(&claim.read_tables) };
    Claim { id: claim.id, since: claim.schema_version, wanted }
}

/// State to number.
pub fn state_to_proto(state: SchemaState) -> pb::SchemaState {
    match state {
        SchemaState::None => pb::SchemaState::None,
        SchemaState::DeleteOnly => pb::SchemaState::DeleteOnly,
        SchemaState::WriteOnly => pb::SchemaState::WriteOnly,
        SchemaState::WriteReorganization => pb::SchemaState::WriteReorganization,
        SchemaState::Public => pb::SchemaState::Public,
    }
}

/// Number to state.
pub fn state_from_proto(state: i32) -> Result<SchemaState> {
    Ok(match pb::SchemaState::try_from(state).map_err(corrupt)? {
        pb::SchemaState::None => SchemaState::None,
        pb::SchemaState::DeleteOnly => SchemaState::DeleteOnly,
        pb::SchemaState::WriteOnly => SchemaState::WriteOnly,
        pb::SchemaState::WriteReorganization => SchemaState::WriteReorganization,
        pb::SchemaState::Public => SchemaState::Public,
    })
}

fn default_to_proto(column: &Column) -> Result<Option<pb::Default>> {
    use pb::default::Kind;
    let kind = match &column.default {
        ColumnDefault::None => return Ok(None),
        ColumnDefault::Value(Value::Null) => Kind::Null(true),
        ColumnDefault::Value(value) => Kind::Value(value_text(value, &column.ty).into()),
        ColumnDefault::CurrentTimestamp(fsp) => Kind::CurrentTimestampFsp(u32::from(*fsp)),
    };
    Ok(Some(pb::Default { kind: Some(kind) }))
}

fn default_from_proto(default: Option<&pb::Default>, ty: &FieldType) -> Result<ColumnDefault> {
    use pb::default::Kind;
    Ok(match default.and_then(|d| d.kind.as_ref()) {
        None => ColumnDefault::None,
        Some(Kind::Null(_)) => ColumnDefault::Value(Value::Null),
        Some(Kind::Value(bytes)) => ColumnDefault::Value(text_value(bytes, ty)?),
        Some(Kind::CurrentTimestampFsp(fsp)) => ColumnDefault::CurrentTimestamp(u8::try_from(*fsp).map_err(corrupt)?),
    })
}

fn column_to_proto(column: &Column) -> Result<pb::Column> {
    let original = column.original_default.as_ref().map(|v| Bytes::from(value_text(v, &column.ty)));
    Ok(pb::Column {
        id: column.id,
        name: column.name.clone(),
        r#type: Some(column.ty.to_proto()),
        default: default_to_proto(column)?,
        auto_increment: column.auto_increment,
        comment: column.comment.clone(),
        state: state_to_proto(column.state) as i32,
        on_update_now: column.on_update_now,
        has_original_default: original.is_some(),
        original_default: original.unwrap_or_default(),
        elements: Vec::new(),
    })
}

fn column_from_proto(p: &pb::Column) -> Result<Column> {
    let ty = FieldType::from_proto(p.r#type.as_ref().ok_or_else(|| corrupt("a column without type"))?)?;
    Ok(Column {
        id: p.id,
        name: p.name.clone(),
        default: default_from_proto(p.default.as_ref(), &ty)?,
        auto_increment: p.auto_increment,
        on_update_now: p.on_update_now,
        comment: p.comment.clone(),
        state: state_from_proto(p.state)?,
        original_default: p.has_original_default.then(|| text_value(&p.original_default, &ty)).transpose()?,
        ty,
    })
}

/// An index; columns by id, so that the record does not depend on offsets.
pub fn index_to_proto(index: &Index, columns: &[Column]) -> pb::Index {
    pb::Index {
        id: index.id.0,
        name: index.name.clone(),
        columns: index
            .columns
            .iter()
            .map(|c| pb::IndexColumn {
                column_id: columns[c.column].id,
                prefix_length: c.prefix_length.unwrap_or(0),
                descending: false,
                collation_version: c.collation_version,
            })
            .collect(),
        unique: index.unique,
        primary: index.primary,
        state: state_to_proto(index.state) as i32,
        comment: index.comment.clone(),
    }
}

/// Reads what [`index_to_proto`] made.
pub fn index_from_proto(p: &pb::Index, columns: &[Column]) -> Result<Index> {
    let part = |c: &pb::IndexColumn| {
        let column = columns
            .iter()
            .position(|column| column.id == c.column_id)
            .ok_or_else(|| corrupt("an index of a column that is gone"))?;
        Ok(IndexColumn {
            column,
            prefix_length: (c.prefix_length != 0).then_some(c.prefix_length),
            collation_version: c.collation_version,
        })
    };
    Ok(Index {
        id: IndexId(p.id),
        name: p.name.clone(),
        columns: p.columns.iter().map(part).collect::<Result<_>>()?,
        unique: p.unique,
        primary: p.primary,
        state: state_from_proto(p.state)?,
        comment: p.comment.clone(),
    })
}

/// A table as it is stored.
pub fn table_to_proto(table: &Table) -> Result<pb::Table> {
    Ok(pb::Table {
        id: table.id.0,
        name: table.name.clone(),
        database_id: table.database_id,
        columns: table.columns.iter().map(column_to_proto).collect::<Result<_>>()?,
        indexes: table.indexes.iter().map(|i| index_to_proto(i, &table.columns)).collect(),
        clustered: table.handle != Handle::Hidden,
        next_column_id: table.next_column_id,
        next_index_id: table.next_index_id,
        auto_increment_base: 0,
        charset: table.charset.clone(),
        collation: table.collation.clone(),
        comment: table.comment.clone(),
        state: pb::SchemaState::Public as i32,
        create_unix_ms: table.created_unix_ms,
        version: table.version,
    })
}

/// Reads what [`table_to_proto`] made.
///
/// # Errors
/// [`Error::Internal`] when the record does not fit together.
pub fn table_from_proto(p: &pb::Table) -> Result<Table> {
    let columns = p.columns.iter().map(column_from_proto).collect::<Result<Vec<_>>>()?;
    let mut indexes = p.indexes.iter().map(|i| index_from_proto(i, &columns)).collect::<Result<Vec<_>>>()?;
    sort_indexes(&mut indexes, &columns);
    let primary = indexes.iter().find(|i| i.primary);
    let handle = match (p.clustered, primary) {
        (false, _) => Handle::Hidden,
        (true, Some(primary)) => handle_of(primary, &columns),
        (true, None) => return Err(corrupt("a clustered table without primary key")),
    };
    Ok(Table {
        id: TableId(p.id),
        name: p.name.clone(),
        database_id: p.database_id,
        columns,
        indexes,
        handle,
        charset: p.charset.clone(),
        collation: p.collation.clone(),
        comment: p.comment.clone(),
        created_unix_ms: p.create_unix_ms,
        version: p.version,
        next_index_id: p.next_index_id,
        next_column_id: p.next_column_id,
    })
}

/// How rows with this clustered primary key are keyed.
pub fn handle_of(primary: &Index, columns: &[Column]) -> Handle {
    match primary.columns.as_slice() {
        [only] if columns[only.column].ty.is_integer() => Handle::Integer(only.column),
        parts => Handle::Common(parts.iter().map(|p| p.column).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ddl::{TableDefaults, build_table};
    use crate::parser::statement::Ddl;
    use crate::parser::{ParseOptions, Statement, parse_one};
    use basalt_expr::EvalContext;

    fn table(sql: &str) -> Table {
        let parsed = parse_one(sql.as_bytes(), ParseOptions::default()).expect("it parses").expect("a statement");
        let Statement::Ddl(ddl) = parsed.statement else { panic!("{sql}") };
        let Ddl::CreateTable(create) = *ddl else { panic!("{sql}") };
        let defaults = TableDefaults {
            id: TableId(1),
            database_id: 1,
            charset: "utf8mb4".into(),
            collation: "utf8mb4_0900_ai_ci".into(),
            now_unix_ms: 0,
        };
        build_table(&create, defaults, &EvalContext::default()).expect("it can be made")
    }

    /// Keys of other weights find nothing where they should: the version stands beside them.
    #[test]
    fn a_key_knows_the_weights_it_was_made_with() {
        let made =
            table("CREATE TABLE t (id INT PRIMARY KEY, s VARCHAR(10), b VARBINARY(10), KEY kb (b), KEY ks (b, s))");
        let mut record = table_to_proto(&made).expect("it fits");
        assert!(table_from_proto(&record).expect("it is whole").stale_index().is_none());
        let versions: Vec<u32> = record.indexes.iter().flat_map(|i| &i.columns).map(|c| c.collation_version).collect();
        assert_eq!(versions, [0, 0, 0, 1], "id, b, b, s");
        record.indexes[2].columns[1].collation_version += 1;
        let read = table_from_proto(&record).expect("it is whole");
        assert_eq!(read.stale_index().map(|i| i.name.as_str()), Some("ks"));
    }
}
