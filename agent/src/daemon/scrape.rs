//! `GET /metrics` over HTTP: at `metrics.sock` in `runtime_dir`, and at an address of this host if the configuration has
//! one. Whoever may connect may read; nothing can be changed.

use std::{convert::Infallible, io, net::SocketAddr, path::PathBuf, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    task::JoinSet,
    time::timeout,
};

use super::{
    control::{self, View},
    metrics,
};

/// Name of the socket in `runtime_dir`.
pub const SOCKET: &str = "metrics.sock";
/// Connections at a time.
const CONNECTIONS: usize = 8;
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most bytes of the head of a request.
const HEAD: usize = 8192;

/// Answers until it is dropped.
pub async fn serve(path: PathBuf, address: Option<SocketAddr>, view: View) -> io::Result<()> {
    let unix = control::listen(&path)?;
    let tcp = match address {
        Some(address) => Some(TcpListener::bind(address).await?),
        None => None,
    };
    let mut open = JoinSet::new();
    loop {
        if open.len() >= CONNECTIONS {
            open.join_next().await;
        }
        let from_tcp = async {
            match &tcp {
                Some(tcp) => tcp.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            stream = unix.accept() => open.spawn(answer(stream?.0, view.clone())),
            stream = from_tcp => open.spawn(answer(stream?.0, view.clone())),
            Some(_) = open.join_next() => continue,
        };
    }
}

/// Answers one request.
async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, view: View) {
    let service = service_fn(|request| {
        let answer = respond(&request, &view);
        async { Ok::<_, Infallible>(answer) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).keep_alive(false).max_buf_size(HEAD);
    match timeout(PATIENCE, http.serve_connection(TokioIo::new(stream), service)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a client of the metrics went away"),
        Err(_) => tracing::debug!("a client of the metrics took too long"),
    }
}

fn respond(request: &Request<Incoming>, view: &View) -> Response<Full<Bytes>> {
    let say = |status, text: String| {
        let mut answer = Response::new(Full::new(Bytes::from(text)));
        *answer.status_mut() = status;
        answer
    };
    if request.uri().path() != "/metrics" {
        return say(StatusCode::NOT_FOUND, "metrics are at /metrics\n".to_owned());
    }
    if request.method() != Method::GET {
        return say(StatusCode::METHOD_NOT_ALLOWED, "metrics are read with GET\n".to_owned());
    }
    match metrics::page(view.now()) {
        Ok(page) => {
            let mut answer = say(StatusCode::OK, page);
            answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(metrics::FORMAT));
            answer
        }
        Err(error) => say(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}
