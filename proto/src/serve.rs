//! Serving gRPC, for every role alike.
//!
//! It stands beside the messages because it is generic code that is large once compiled (HTTP/2 and its server) and changes as
//! rarely as they do: here it is compiled once, and not with each edit of a service.

use std::future::Future;
use std::pin::Pin;
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Error, Server};

/// Bytes of one call that may be under way unread: a page of a scan should not wait for the window.
const STREAM_WINDOW_BYTES: u32 = 8 << 20;
/// The same for all calls of one connection.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// Serves `routes` until `stop` resolves and the calls under way have ended.
pub fn serve(
    routes: Routes,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send>> {
    serve_until(routes, listener, Box::pin(stop))
}

type Stop = Pin<Box<dyn Future<Output = ()> + Send>>;

fn serve_until(
    routes: Routes,
    listener: TcpListener,
    stop: Stop,
) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send>> {
    // A server's own `tcp_nodelay` is for the listener that it makes itself. Without it the end of an answer waits for the
    // acknowledgment of what went before, which the other side holds back for 40 ms.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Box::pin(
        Server::builder()
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .add_routes(routes)
            .serve_with_incoming_shutdown(incoming, stop),
    )
}
