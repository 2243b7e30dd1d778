//! `basalt ctl`: asks a SQL server's status port and prints tables, or the JSON as it came.

use crate::cli::{Ctl, CtlVerb};
use anyhow::{Context, Result, bail};
use basalt_common::env::Env;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::io::Write;

/// Runs one verb.
pub fn run(args: Ctl) -> Result<()> {
    let (method, path) = match &args.verb {
        CtlVerb::Stores => ("GET", "/api/stores".to_string()),
        CtlVerb::Regions => ("GET", "/api/regions".to_string()),
        CtlVerb::Gc => ("GET", "/api/gc".to_string()),
        CtlVerb::CheckReplicas => ("GET", "/api/check-replicas".to_string()),
        CtlVerb::Split { key } => ("POST", format!("/api/split/{key}")),
        CtlVerb::TransferLeader { region, store } => ("POST", format!("/api/transfer-leader/{region}/{store}")),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(request(&args.status, method, &path))?;
    let out = &mut std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&answer)?)?;
        return Ok(());
    }
    match &answer {
        Value::Array(rows) => table(out, rows, Env::real().wall_ms()),
        other => writeln!(out, "{}", sentence(other)),
    }?;
    Ok(())
}

/// Asks a status port.
pub async fn request(address: &str, method: &str, path: &str) -> Result<Value> {
    let stream = tokio::net::TcpStream::connect(address).await.with_context(|| {
        format!("nobody answers on {address}: is a SQL server (or `basalt up`) running, and is this its --status?")
    })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::builder().method(method).uri(path).header("host", address).body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let ok = response.status().is_success();
    let body = response.into_body().collect().await?.to_bytes();
    drop(sender);
    connection.abort();
    let answer: Value =
        serde_json::from_slice(&body).with_context(|| format!("{address} does not answer like a status port"))?;
    if !ok {
        bail!("{}", answer["error"].as_str().unwrap_or("the server refused"));
    }
    Ok(answer)
}

/// Columns as wide as they need to be: the id first, sizes last, all for people.
fn table(out: &mut impl Write, rows: &[Value], now_ms: u64) -> std::io::Result<()> {
    let Some(first) = rows.first().and_then(Value::as_object) else { return writeln!(out, "none") };
    let mut names: Vec<&String> = first.keys().collect();
    names.sort_by_key(|n| (n.as_str() != "id", n.as_str().ends_with("_bytes"), n.as_str()));
    let heads: Vec<&str> = names.iter().map(|n| n.trim_end_matches("_bytes").trim_end_matches("_unix_ms")).collect();
    let lines: Vec<Vec<String>> =
        rows.iter().map(|row| names.iter().map(|n| cell(n, &row[n.as_str()], now_ms)).collect()).collect();
    let widths: Vec<usize> = heads
        .iter()
        .enumerate()
        .map(|(i, n)| lines.iter().map(|l| l[i].len()).chain([n.len()]).max().unwrap_or(0))
        .collect();
    let print = |out: &mut dyn Write, cells: Vec<&str>| {
        let line = cells.iter().zip(&widths).map(|(c, w)| format!("{c:<w$}")).collect::<Vec<_>>().join("  ");
        writeln!(out, "{}", line.trim_end())
    };
    print(out, heads)?;
    lines.iter().try_for_each(|line| print(out, line.iter().map(String::as_str).collect()))
}

/// A value as its name wants to be read: sizes with a unit, times as ages.
fn cell(name: &str, value: &Value, now_ms: u64) -> String {
    match value {
        Value::Number(n) if name.ends_with("_bytes") => n.as_u64().map(size).unwrap_or_default(),
        Value::Number(n) if name.ends_with("_unix_ms") => match n.as_u64().unwrap_or(0) {
            0 => "never".into(),
            then => format!("{} ago", age(now_ms.saturating_sub(then))),
        },
        Value::String(text) if text.is_empty() => "-".into(),
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        Value::Array(items) => items.iter().map(short).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

fn size(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}

fn age(ms: u64) -> String {
    match ms / 1000 {
        0 => format!("{ms} ms"),
        s @ 1..120 => format!("{s} s"),
        s @ 120..7200 => format!("{} min", s / 60),
        s @ 7200..172_800 => format!("{} h", s / 3600),
        s => format!("{} days", s / 86_400),
    }
}

/// One line for an answer that is no list.
fn sentence(answer: &Value) -> String {
    let Some(fields) = answer.as_object() else { return answer.to_string() };
    fields
        .iter()
        .map(|(name, value)| format!("{}: {}", name.replace('_', " "), cell(name, value, 0)))
        .collect::<Vec<_>>()
        .join(", ")
}

/// A peer as `id@store`, learners marked.
fn short(value: &Value) -> String {
    let mark = if value["role"] == "learner" { "(learner)" } else { "" };
    format!("{}@{}{mark}", value["id"], value["store"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tables_are_for_people() {
        let rows = [
            json!({"id": 1, "size_bytes": 1_572_864, "last_heartbeat_unix_ms": 1_000, "leader": null, "key": ""}),
            json!({"id": 22, "size_bytes": 7, "last_heartbeat_unix_ms": 0, "leader": 3, "key": "7a"}),
        ];
        let mut out = Vec::new();
        table(&mut out, &rows, 8_000).unwrap();
        let text = String::from_utf8(out).unwrap();
        let expected = "id  key  last_heartbeat  leader  size\n1   -    7 s ago         -       1.5 MiB\n22  7a   never           3       7 B\n";
        assert_eq!(text, expected);
        assert_eq!(sentence(&json!({"region": 4, "to_store": 7})), "region: 4, to store: 7");
        assert_eq!([age(12), age(119_000), age(7_100_000), age(7_200_000)], ["12 ms", "119 s", "118 min", "2 h"]);
    }
}
