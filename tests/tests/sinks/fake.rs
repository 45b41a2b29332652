//! A small HTTP server that asks a function what to say. What reaches it in a wrong form is kept as a fault.

use std::convert::Infallible;
use std::io::Read as _;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Response, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;

/// A request, unpacked.
pub struct Request {
    pub method: String,
    pub path: String,
    pub query: Vec<(String, String)>,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Request {
    /// A header that must be there.
    pub fn header(&self, name: &str) -> Result<&str, String> {
        self.headers.get(name).and_then(|value| value.to_str().ok()).ok_or_else(|| format!("no header {name}"))
    }

    /// A part of the query that must be there.
    pub fn asked(&self, name: &str) -> Result<&str, String> {
        let found = self.query.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).ok_or_else(|| format!("no {name} in the query"))
    }

    /// Method, path, type, encoding and credential.
    pub fn is(&self, path: &str, content_type: &str, credential: Option<&str>) -> Result<(), String> {
        demand(self.method == "POST" && self.path == path, || format!("{} {}", self.method, self.path))?;
        let said = self.header("content-type")?;
        demand(said == content_type, || format!("content-type {said}"))?;
        match credential {
            None => Ok(()),
            Some(credential) => {
                let said = self.header("authorization")?;
                demand(said == credential, || format!("authorization {said}"))
            }
        }
    }
}

/// A fault when `is` is not so.
pub fn demand(is: bool, fault: impl FnOnce() -> String) -> Result<(), String> {
    if is { Ok(()) } else { Err(fault()) }
}

/// What to say.
pub struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<String>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// The server; it ends with the test.
pub struct Fake {
    address: std::net::SocketAddr,
    faults: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    pub async fn start(answer: impl Fn(&Request) -> Result<Reply, String> + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, faults) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let (answer, kept) = (Arc::new(answer), faults.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, kept) = (answer.clone(), kept.clone());
                let service = service_fn(move |request| {
                    let (answer, kept) = (answer.clone(), kept.clone());
                    async move {
                        let said = match read(request).await {
                            Ok(request) => answer(&request),
                            Err(fault) => Err(fault),
                        };
                        let reply = said.unwrap_or_else(|fault| {
                            kept.lock().unwrap().push(fault);
                            Reply::new(500, "see the faults")
                        });
                        let mut response = Response::builder().status(reply.status);
                        for (name, value) in reply.headers {
                            response = response.header(name, value);
                        }
                        Ok::<_, Infallible>(response.body(Full::new(Bytes::from(reply.body))).unwrap())
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, faults }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What reached it in a wrong form.
    pub fn faults(&self) -> Vec<String> {
        self.faults.lock().unwrap().clone()
    }
}

async fn read(request: hyper::Request<Incoming>) -> Result<Request, String> {
    let (parts, body) = request.into_parts();
    let packed = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
    let encoding = parts.headers.get("content-encoding").map(|encoding| encoding.to_str().unwrap_or("?"));
    let mut body = Vec::new();
    match encoding {
        None => body = packed.to_vec(),
        Some("gzip") => {
            flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut body).map_err(|error| error.to_string())?;
        }
        Some("zstd") => body = zstd::decode_all(&packed[..]).map_err(|error| error.to_string())?,
        Some(other) => return Err(format!("content-encoding {other}")),
    }
    let query = parts.uri.query().unwrap_or_default();
    let query =
        query.split('&').filter_map(|pair| pair.split_once('=')).map(|(key, value)| (decode(key), decode(value)));
    let (method, path) = (parts.method.to_string(), parts.uri.path().to_owned());
    Ok(Request { method, path, query: query.collect(), headers: parts.headers, body })
}

/// A part of a query, decoded (application/x-www-form-urlencoded).
fn decode(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut plain = Vec::new();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'+' => b' ',
            b'%' => {
                let hex: Vec<u8> = bytes.by_ref().take(2).collect();
                u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap()
            }
            other => other,
        });
    }
    String::from_utf8(plain).unwrap()
}
