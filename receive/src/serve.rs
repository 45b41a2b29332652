//! The HTTP server: TLS, limits, and one function per route.
//!
//! | route | |
//! |---|---|
//! | `POST /batches` | a delivery of the agent's HTTP sink |
//! | `POST /add-checkpoint` | C2SP tlog-witness |
//! | `GET /metrics` | text format of Prometheus |
//! | `GET /health` | 200 while deliveries can be stored |

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use rustls::ServerConfig;
use seal::add_checkpoint::{self, AddCheckpoint};
use sha2::{Digest as _, Sha256};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::{JoinSet, spawn_blocking},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    body::{Unreadable, is_digest_of, unpack},
    cosigned::Refusal,
    host::{Refused, origin_of},
    hosts::Hosts,
    metrics::Metrics,
};

/// For the handshake of TLS.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// For the head of a request, the wait for it on an open connection included: longer than the agent keeps one idle.
const HEAD: Duration = Duration::from_secs(100);
/// For a body.
const BODY: Duration = Duration::from_mins(1);
/// For what is under way when the receiver is told to stop.
const DRAIN: Duration = Duration::from_secs(10);
/// Bodies that are in memory at a time.
const BODIES: usize = 8;
/// Streams of one HTTP/2 connection.
const STREAMS: u32 = 8;

/// What all connections share.
#[derive(Debug)]
pub struct Shared {
    /// The logs.
    pub hosts: Hosts,
    /// The counts.
    pub metrics: Metrics,
    /// The most bytes of a body, packed and unpacked.
    pub max_body: usize,
    /// Whether the last delivery found the disk well.
    pub healthy: AtomicBool,
    /// Room for bodies.
    pub room: Semaphore,
}

impl Shared {
    /// Nothing served yet.
    pub fn new(hosts: Hosts, max_body: usize) -> Self {
        let room = Semaphore::new(BODIES);
        Self { hosts, metrics: Metrics::default(), max_body, healthy: AtomicBool::new(true), room }
    }
}

/// Answers on a listener until it is told to stop, then lets what is under way come to its end.
pub async fn serve(
    listener: TcpListener,
    tls: watch::Receiver<Arc<ServerConfig>>,
    shared: Arc<Shared>,
    most: usize,
    mut stop: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(most));
    let mut open = JoinSet::new();
    while !*stop.borrow_and_update() {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = open.join_next() => continue,
            changed = stop.changed() => if changed.is_ok() { continue } else { break },
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // out of descriptors, most likely: the next one may be let in soon
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = room.clone().try_acquire_owned() else {
            tracing::warn!(%from, "too many connections: one is closed");
            continue;
        };
        let (config, shared, stop) = (tls.borrow().clone(), shared.clone(), stop.clone());
        open.spawn(async move {
            shared.metrics.connections.fetch_add(1, Ordering::Relaxed);
            if let Err(error) = connection(stream, config, shared.clone(), stop).await {
                tracing::debug!(%from, %error, "a connection ended");
            }
            shared.metrics.connections.fetch_sub(1, Ordering::Relaxed);
            drop(place);
        });
    }
    drop(listener);
    if timeout(DRAIN, async { while open.join_next().await.is_some() {} }).await.is_err() {
        tracing::warn!(connections = open.len(), "ended before these connections did");
    }
}

async fn connection(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    let stream = timeout(HANDSHAKE, TlsAcceptor::from(config).accept(stream)).await??;
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let certificate: Option<[u8; 32]> = certificate.map(|der| Sha256::digest(der).into());
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(answer(request, &shared, certificate).await) }
    });
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    server.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS).keep_alive_interval(HEAD);
    let connection = server.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        _ = stop.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

type Answer = Response<Full<Bytes>>;

fn say(status: StatusCode, text: impl Into<String>) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(text.into())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    }
    answer
}

async fn answer(request: Request<Incoming>, shared: &Arc<Shared>, certificate: Option<[u8; 32]>) -> Answer {
    let (route, answer) = match (request.method(), request.uri().path()) {
        (&Method::POST, "/batches") => ("batches", batches(request, shared, certificate).await),
        (&Method::POST, "/add-checkpoint") => ("add-checkpoint", add_checkpoint(request, shared).await),
        (&Method::GET, "/metrics") => {
            let shared = shared.clone();
            let text = spawn_blocking(move || shared.metrics.text(&shared.hosts)).await;
            ("metrics", text.map_or_else(|_| broken(), |text| say(StatusCode::OK, text)))
        }
        (&Method::GET, "/health") => ("health", health(shared)),
        (_, "/batches" | "/add-checkpoint" | "/metrics" | "/health") => {
            ("other", say(StatusCode::METHOD_NOT_ALLOWED, "not with this method\n"))
        }
        _ => ("other", say(StatusCode::NOT_FOUND, "nothing here\n")),
    };
    shared.metrics.answer(route, answer.status().as_u16());
    answer
}

fn health(shared: &Shared) -> Answer {
    if shared.healthy.load(Ordering::Relaxed) {
        say(StatusCode::OK, "ok\n")
    } else {
        say(StatusCode::SERVICE_UNAVAILABLE, "the last delivery could not be stored\n")
    }
}

/// A bug: the task of the disk ended by a panic.
fn broken() -> Answer {
    say(StatusCode::INTERNAL_SERVER_ERROR, "the receiver has a bug; its log says more\n")
}

/// The body, if it comes in time and is not too long.
async fn collect(body: Incoming, limit: usize) -> Result<Bytes, Answer> {
    match timeout(BODY, Limited::new(body, limit).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(say(StatusCode::PAYLOAD_TOO_LARGE, format!("at most {limit} bytes\n")))
        }
        Ok(Err(_)) => Err(say(StatusCode::BAD_REQUEST, "the body ends before its end\n")),
        Err(_) => Err(say(StatusCode::REQUEST_TIMEOUT, "the body took too long\n")),
    }
}

fn header(headers: &HeaderMap, name: impl hyper::header::AsHeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// A delivery: unpacked, verified, stored, acknowledged.
async fn batches(request: Request<Incoming>, shared: &Arc<Shared>, certificate: Option<[u8; 32]>) -> Answer {
    let Ok(Ok(room)) = timeout(HANDSHAKE, shared.room.acquire()).await else {
        return say(StatusCode::SERVICE_UNAVAILABLE, "busy\n");
    };
    let (head, body) = request.into_parts();
    let body = match collect(body, shared.max_body).await {
        Ok(body) => body,
        Err(answer) => return answer,
    };
    let task = shared.clone();
    let done = spawn_blocking(move || deliver(&head.headers, &body, &task, certificate.as_ref())).await;
    drop(room);
    done.unwrap_or_else(|_| broken())
}

fn deliver(headers: &HeaderMap, body: &[u8], shared: &Shared, certificate: Option<&[u8; 32]>) -> Answer {
    if header(headers, "content-digest").is_some_and(|digest| !is_digest_of(digest, body)) {
        return say(StatusCode::BAD_REQUEST, "the digest is not that of the body\n");
    }
    let body = match unpack(body, header(headers, CONTENT_ENCODING), shared.max_body) {
        Ok(body) => body,
        Err(Unreadable::Encoding) => return say(StatusCode::UNSUPPORTED_MEDIA_TYPE, "zstd, gzip or identity\n"),
        Err(Unreadable::Broken(why)) => return say(StatusCode::BAD_REQUEST, format!("{why}\n")),
        Err(Unreadable::TooLong) => {
            return say(StatusCode::PAYLOAD_TOO_LARGE, format!("at most {} bytes unpacked\n", shared.max_body));
        }
    };
    let Some(origin) = origin_of(&body) else {
        return say(StatusCode::BAD_REQUEST, "no seal in the body, or its first one is broken\n");
    };
    if header(headers, "x-sigtrail-origin").is_some_and(|told| told != origin) {
        return say(StatusCode::BAD_REQUEST, "X-Sigtrail-Origin is not the origin of the batches\n");
    }
    match shared.hosts.take(&origin, &body, certificate) {
        Ok(taken) => {
            let (metrics, count) = (&shared.metrics, Ordering::Relaxed);
            metrics.batches.fetch_add(taken.batches, count);
            metrics.duplicates.fetch_add(taken.duplicates, count);
            metrics.bytes.fetch_add(if taken.batches > 0 { body.len() as u64 } else { 0 }, count);
            shared.healthy.store(true, count);
            match taken.receipt {
                Some(note) => say(StatusCode::OK, note.to_string()),
                None => say(StatusCode::ACCEPTED, "stored, and not cosigned\n"),
            }
        }
        Err(Refused::Untrusted(why)) => say(StatusCode::FORBIDDEN, format!("{why}\n")),
        Err(Refused::Fork(why)) => say(StatusCode::CONFLICT, format!("{why}\n")),
        Err(Refused::Wrong(why)) => say(StatusCode::UNPROCESSABLE_ENTITY, format!("{why}\n")),
        Err(Refused::Disk(error)) => {
            shared.healthy.store(false, Ordering::Relaxed);
            unstored(&error)
        }
    }
}

fn unstored(error: &io::Error) -> Answer {
    tracing::error!(%error, "a delivery cannot be stored");
    say(StatusCode::SERVICE_UNAVAILABLE, "cannot be stored now\n")
}

/// The witness: answers and bodies are those of tlog-witness.
async fn add_checkpoint(request: Request<Incoming>, shared: &Arc<Shared>) -> Answer {
    let body = match collect(request.into_body(), add_checkpoint::MAX_BODY).await {
        Ok(body) => body,
        Err(answer) => return answer,
    };
    let asked = match AddCheckpoint::parse(&body) {
        Ok(asked) => asked,
        Err(error) => return say(StatusCode::BAD_REQUEST, format!("{error}\n")),
    };
    let task = shared.clone();
    let Ok(answer) = spawn_blocking(move || task.hosts.add_checkpoint(&asked)).await else { return broken() };
    match answer {
        None => say(StatusCode::NOT_FOUND, "no key is known for this log\n"),
        Some(Ok(note)) => {
            let lines: Vec<_> = note.signatures.iter().map(|line| format!("{line}\n")).collect();
            say(StatusCode::OK, lines.concat())
        }
        Some(Err(Refusal::Key)) => say(StatusCode::FORBIDDEN, "no signature by a trusted key of this log\n"),
        Some(Err(Refusal::Size(size))) => {
            let mut answer = say(StatusCode::CONFLICT, format!("{size}\n"));
            answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/x.tlog.size"));
            answer
        }
        Some(Err(Refusal::Root)) => say(StatusCode::CONFLICT, "another tree of this size is known\n"),
        Some(Err(Refusal::Proof)) => say(StatusCode::UNPROCESSABLE_ENTITY, "the consistency proof shows nothing\n"),
        Some(Err(Refusal::Disk(error))) => unstored(&error),
    }
}
