//! `basalt ctl`: asks a SQL server's status port and prints tables, or the JSON as it came.

use crate::cli::{Ctl, CtlVerb};
use anyhow::{Context, Result, bail};
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
        Value::Array(rows) => table(out, rows),
        other => writeln!(out, "{other}"),
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

/// Columns in the order in which the server sent them, as wide as they need to be.
fn table(out: &mut impl Write, rows: &[Value]) -> std::io::Result<()> {
    let Some(first) = rows.first().and_then(Value::as_object) else { return writeln!(out, "none") };
    let mut names: Vec<&String> = first.keys().collect();
    names.sort_by_key(|n| (n.as_str() != "id", n.as_str().ends_with("_bytes"), n.as_str()));
    let cell = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        Value::Array(items) => items.iter().map(short).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    };
    let lines: Vec<Vec<String>> =
        rows.iter().map(|row| names.iter().map(|n| cell(&row[n.as_str()])).collect()).collect();
    let widths: Vec<usize> = names
        .iter()
        .enumerate()
        .map(|(i, n)| lines.iter().map(|l| l[i].len()).chain([n.len()]).max().unwrap_or(0))
        .collect();
    let print = |out: &mut dyn Write, cells: Vec<&str>| {
        let line = cells.iter().zip(&widths).map(|(c, w)| format!("{c:<w$}")).collect::<Vec<_>>().join("  ");
        writeln!(out, "{}", line.trim_end())
    };
    print(out, names.iter().map(|n| n.as_str()).collect())?;
    lines.iter().try_for_each(|line| print(out, line.iter().map(String::as_str).collect()))
}

/// A peer as `id@store`, learners marked.
fn short(value: &Value) -> String {
    let mark = if value["role"] == "learner" { "(learner)" } else { "" };
    format!("{}@{}{mark}", value["id"], value["store"])
}
