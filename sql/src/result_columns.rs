//! The columns of a result: names and types, and the definitions of them that clients are sent, which are made once for all
//! executions of a plan.

use crate::plan::OutputColumn;
use crate::server::charset::ResultCharset;
use crate::server::column::{ColumnDef, ColumnSet};
use crate::server::constant::ColumnFlags;
use arrow::datatypes::{Schema, SchemaRef};
use basalt_expr::types::FieldType;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

/// Bytes of a column's name that a client is told. An expression without alias is named by its text, which may be megabytes.
const COLUMN_NAME_BYTES_MAX: usize = 256;

/// Columns of a result. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ResultColumns(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    columns: Vec<OutputColumn>,
    types: Vec<FieldType>,
    /// For the character set that was asked for first.
    definitions: OnceLock<(ResultCharset, Arc<ColumnSet>)>,
}

impl From<Vec<OutputColumn>> for ResultColumns {
    fn from(columns: Vec<OutputColumn>) -> ResultColumns {
        let types = columns.iter().map(|column| column.ty.clone()).collect();
        ResultColumns(Arc::new(Inner { columns, types, definitions: OnceLock::new() }))
    }
}

impl Deref for ResultColumns {
    type Target = [OutputColumn];

    fn deref(&self) -> &[OutputColumn] {
        &self.0.columns
    }
}

impl ResultColumns {
    /// The types.
    pub fn types(&self) -> &[FieldType] {
        &self.0.types
    }

    /// What a client is sent that reads text in `charset`.
    pub fn definitions(&self, charset: ResultCharset) -> Arc<ColumnSet> {
        let make = || Arc::new(definitions(&self.0.columns, charset));
        match self.0.definitions.get_or_init(|| (charset, make())) {
            (made_for, made) if *made_for == charset => made.clone(),
            _ => make(),
        }
    }
}

/// Column definitions of a result.
fn definitions(columns: &[OutputColumn], charset: ResultCharset) -> ColumnSet {
    ColumnSet::in_charset(columns.iter().map(definition).collect(), charset)
}

fn definition(column: &OutputColumn) -> ColumnDef {
    let name = &column.name[..column.name.floor_char_boundary(COLUMN_NAME_BYTES_MAX)];
    let mut def = ColumnDef { table: column.table.clone(), ..ColumnDef::of_type(name, &column.ty) };
    if let Some(origin) = &column.origin {
        (def.schema, def.org_table, def.org_name) =
            (origin.database.clone(), origin.table.clone(), origin.column.clone());
        let keys = origin.key_flags;
        for (set, flag) in [
            (keys.primary, ColumnFlags::PRIMARY_KEY),
            (keys.unique, ColumnFlags::UNIQUE_KEY),
            (keys.multiple, ColumnFlags::MULTIPLE_KEY),
            (keys.auto_increment, ColumnFlags::AUTO_INCREMENT),
        ] {
            if set {
                def.flags = def.flags.with(flag);
            }
        }
    }
    def
}

/// The Arrow schema of columns. Every column may be NULL as far as Arrow is concerned.
pub fn arrow_schema(columns: &[OutputColumn]) -> SchemaRef {
    let field = |column: &OutputColumn| column.ty.arrow_field(&column.name).with_nullable(true);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use basalt_expr::collation::Collation;

    #[test]
    fn definitions_are_made_once_for_the_first_character_set() {
        let ty = FieldType::varchar(3);
        let column = OutputColumn { name: "é".repeat(200), table: "t".into(), origin: None, ty };
        let columns = ResultColumns::from(vec![column]);
        let first = columns.definitions(ResultCharset::default());
        assert!(Arc::ptr_eq(&first, &columns.clone().definitions(ResultCharset::default())));
        assert_eq!(first.columns()[0].name.len(), COLUMN_NAME_BYTES_MAX);
        let latin1 = columns.definitions(ResultCharset(Some(Collation::Latin1Bin)));
        assert!(!Arc::ptr_eq(&first, &latin1) && latin1.packets() != first.packets());
        assert_eq!((columns.len(), columns.types().len()), (1, 1));
    }
}
