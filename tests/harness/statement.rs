//! One statement in one of the forms in which a client can send it: text, PREPARE by name, the binary protocol.

use crate::cell::cell;
use crate::lift::{Literal, lift};
use mysql_async::prelude::Queryable;
use mysql_async::{BinaryProtocol, Column, Conn, Error, QueryResult, TextProtocol, Value};

/// What a server said.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Done, and so many rows were affected.
    Done(u64),
    /// A result.
    Rows {
        /// Its columns.
        columns: Vec<Column>,
        /// Its rows, in cells.
        rows: Vec<Vec<String>>,
    },
}

/// By COM_QUERY, as it stands.
pub async fn text(conn: &mut Conn, sql: &str) -> Result<Answer, Error> {
    text_answer(conn.query_iter(sql).await?).await
}

/// By PREPARE and EXECUTE, the literals in user variables.
pub async fn named(conn: &mut Conn, sql: &str) -> Result<Answer, Error> {
    let Some((lifted, literals)) = lift(sql, |_| true) else { return text(conn, sql).await };
    let quoted = lifted.replace('\\', "\\\\").replace('\'', "''");
    text(conn, &format!("PREPARE slt FROM '{quoted}'")).await?;
    for (at, literal) in literals.iter().enumerate() {
        text(conn, &format!("SET @slt{at} = {}", literal.sql())).await?;
    }
    let names: Vec<String> = (0..literals.len()).map(|at| format!("@slt{at}")).collect();
    text(conn, &format!("EXECUTE slt USING {}", names.join(", "))).await
}

/// By COM_STMT_PREPARE and COM_STMT_EXECUTE, twice where that shows nothing, so that the second has the kept plan.
pub async fn binary(conn: &mut Conn, sql: &str) -> Result<Answer, Error> {
    let is_sent = |literal: &Literal| match literal {
        Literal::Integer(digits) => digits.parse::<i64>().is_ok(),
        Literal::Text(text) => !text.contains('\\'),
        Literal::Number(_) => false,
    };
    let Some((lifted, literals)) = lift(sql, is_sent) else { return text(conn, sql).await };
    let params: Vec<Value> = literals.iter().map(parameter).collect();
    let statement = conn.prep(lifted.as_str()).await?;
    if sql.trim_start().to_ascii_uppercase().starts_with("SELECT") {
        let first = binary_answer(conn.exec_iter(&statement, params.clone()).await?).await;
        first?;
    }
    let answer = binary_answer(conn.exec_iter(&statement, params).await?).await;
    conn.close(statement).await?;
    answer
}

fn parameter(literal: &Literal) -> Value {
    match literal {
        Literal::Integer(digits) => digits.parse().map_or(Value::NULL, Value::Int),
        Literal::Number(text) => Value::Bytes(text.clone().into_bytes()),
        Literal::Text(quoted) => {
            let quote = &quoted[..1];
            Value::Bytes(quoted[1..quoted.len() - 1].replace(&quote.repeat(2), quote).into_bytes())
        }
    }
}

macro_rules! answer {
    ($name:ident, $protocol:ty) => {
        /// The first result, in cells; what follows is read past.
        async fn $name(mut result: QueryResult<'_, 'static, $protocol>) -> Result<Answer, Error> {
            let columns = result.columns();
            let Some(columns) = columns.filter(|columns| !columns.is_empty()) else {
                let affected = result.affected_rows();
                result.drop_result().await?;
                return Ok(Answer::Done(affected));
            };
            let mut rows = Vec::new();
            for row in result.collect::<mysql_async::Row>().await? {
                let cells =
                    row.unwrap().iter().zip(columns.iter()).map(|(value, column)| cell(value, column)).collect();
                rows.push(cells);
            }
            result.drop_result().await?;
            Ok(Answer::Rows { columns: columns.to_vec(), rows })
        }
    };
}
answer!(text_answer, TextProtocol);
answer!(binary_answer, BinaryProtocol);
