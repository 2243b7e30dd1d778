//! ANALYZE, CHECK, OPTIMIZE and REPAIR TABLE: the table of messages that clients expect, saying that nothing was done.

use super::session::SqlSession;
use crate::context::RowStream;
use crate::error::{Error, Result};
use crate::parser::ast::ObjectName;
use crate::plan::OutputColumn;
use arrow::record_batch::RecordBatch;
use basalt_expr::types::FieldType;
use basalt_expr::value::Value;

impl SqlSession {
    /// One line a table. Statistics are not collected, and storage keeps itself in order, so every line is a note.
    pub(super) async fn maintain(&mut self, verb: &'static str, tables: &[ObjectName]) -> Result<RowStream> {
        let note = match verb {
            "analyze" => "Statistics are not collected: plans do not depend on them",
            "optimize" => "Table does not support optimize",
            "check" => "The storage engine for the table doesn't support check",
            "repair" => "The storage engine for the table doesn't support repair",
            other => return Err(Error::unsupported(format!("{} TABLE", other.to_uppercase()))),
        };
        // MySQL's implicit commit.
        self.commit_transaction().await?;
        let mut lines = Vec::with_capacity(tables.len());
        for name in tables {
            let database = name.database.as_deref().or(self.database.as_deref()).unwrap_or_default();
            let shown = format!("{database}.{}", name.name);
            let writes = matches!(verb, "optimize" | "repair");
            match self.check_locked_for(name, writes).and_then(|()| self.table(name)) {
                Ok((database, table)) => {
                    lines.push([format!("{database}.{}", table.name), verb.into(), "note".into(), note.into()]);
                }
                Err(error) => {
                    let (_, _, message) = error.to_mysql();
                    lines.push([shown.clone(), verb.into(), "Error".into(), message]);
                    lines.push([shown, verb.into(), "status".into(), "Operation failed".into()]);
                }
            }
        }
        rows(&lines)
    }
}

fn rows(lines: &[[String; 4]]) -> Result<RowStream> {
    let names = [("Table", 128), ("Op", 10), ("Msg_type", 10), ("Msg_text", 1024)];
    let (mut columns, mut arrays) = (Vec::new(), Vec::new());
    for (position, (name, length)) in names.into_iter().enumerate() {
        let ty = FieldType::varchar(length);
        let values: Vec<Value> = lines.iter().map(|line| Value::from(line[position].clone())).collect();
        arrays.push((name, basalt_expr::convert::array_of(&ty, &values)?));
        columns.push(OutputColumn { name: name.into(), table: String::new(), origin: None, ty });
    }
    Ok(RowStream::from_batches(columns, vec![RecordBatch::try_from_iter(arrays)?]))
}
