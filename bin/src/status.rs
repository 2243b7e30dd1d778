//! The status port: metrics for Prometheus, a page for people, JSON for `basalt ctl`.
//!
//! | path | |
//! |---|---|
//! | `GET /` | what this process is and where to look |
//! | `GET /metrics` | Prometheus text format |
//! | `GET /api/stores`, `/api/regions`, `/api/gc`, `/api/check-replicas` | JSON, on SQL servers and `basalt up` |
//! | `POST /api/split/{hex key}`, `/api/transfer-leader/{region}/{store}` | the same |
//!
//! It has no authentication and therefore binds loopback only.

use crate::admin::{Admin, unhex};
use anyhow::{Context, Result, bail};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use prometheus::Encoder;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// What a status server tells about its process.
#[derive(Clone)]
pub struct Status {
    /// `up`, `pd`, `storage`, `sql`.
    pub role: &'static str,
    /// The address it serves its clients on.
    pub listen: String,
    /// Present where the process can speak to the whole cluster.
    pub admin: Option<Admin>,
}

/// Binds the port; refuses anything but loopback.
pub async fn bind(address: &str) -> Result<TcpListener> {
    let resolved: SocketAddr = tokio::net::lookup_host(address)
        .await
        .with_context(|| format!("{address} is not an address"))?
        .next()
        .with_context(|| format!("{address} is not an address"))?;
    if !resolved.ip().is_loopback() {
        bail!("--status {address}: the status port has no authentication and listens on loopback only");
    }
    TcpListener::bind(resolved).await.with_context(|| format!("cannot listen on {address} (status)"))
}

/// Serves until the returned task is aborted.
pub fn serve(listener: TcpListener, status: Status) -> tokio::task::JoinHandle<()> {
    let router = Router::new()
        .route("/", get(page))
        .route("/metrics", get(metrics))
        .route("/api/gc", get(|State(s): State<Status>| async move { answer(admin(&s)?.gc().await) }))
        .route("/api/stores", get(|State(s): State<Status>| async move { answer(admin(&s)?.stores().await) }))
        .route("/api/regions", get(|State(s): State<Status>| async move { answer(admin(&s)?.regions().await) }))
        .route(
            "/api/check-replicas",
            get(|State(s): State<Status>| async move { answer(admin(&s)?.check_replicas().await) }),
        )
        .route(
            "/api/split/{key}",
            post(|State(s): State<Status>, Path(key): Path<String>| async move {
                let key = unhex(&key).map_err(Failure)?;
                answer(admin(&s)?.split(key).await)
            }),
        )
        .route(
            "/api/transfer-leader/{region}/{store}",
            post(|State(s): State<Status>, Path((region, store)): Path<(u64, u64)>| async move {
                answer(admin(&s)?.transfer_leader(region, store).await)
            }),
        )
        .with_state(status);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the status port failed");
        }
    })
}

struct Failure(anyhow::Error);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (StatusCode::BAD_REQUEST, Json(serde_json::json!({"error": format!("{:#}", self.0)}))).into_response()
    }
}

fn admin(status: &Status) -> Result<&Admin, Failure> {
    status
        .admin
        .as_ref()
        .ok_or_else(|| Failure(anyhow::anyhow!("a {} process does not answer this: ask a SQL server", status.role)))
}

fn answer(result: Result<serde_json::Value>) -> Result<Json<serde_json::Value>, Failure> {
    result.map(Json).map_err(Failure)
}

async fn page(State(status): State<Status>) -> String {
    format!(
        "basalt {} ({})\nserves on {}\n\n/metrics\n/api/stores\n/api/regions\n/api/gc\n/api/check-replicas\n",
        env!("CARGO_PKG_VERSION"),
        status.role,
        status.listen
    )
}

async fn metrics() -> Response {
    let mut text = Vec::new();
    match prometheus::TextEncoder::new().encode(&prometheus::gather(), &mut text) {
        Ok(()) => ([("content-type", "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
