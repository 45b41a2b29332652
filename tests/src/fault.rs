//! A proxy between a sink and its receiver that plays what goes wrong on the way, and what receivers do.
//!
//! The fault can be changed at any time: the connections under the old one end then. A connection that passes is copied
//! byte by byte; whoever needs to know requests ([`Fault::Answer`]) speaks plain HTTP/1.1, one request for each connection.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Most of a head, and of a body.
const REQUEST_MAX: usize = 16 << 20;

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Nothing: bytes pass.
    None,
    /// Nobody reads: the connection is there, and the window fills.
    Deaf,
    /// The request is read, and nothing is said.
    Mute,
    /// The connection is reset when so many bytes of the request have passed.
    Reset(usize),
    /// A byte of the request passes each second. An answer passes.
    Drip,
    /// The request passes; so many bytes of the answer pass, and then the connection is closed.
    CutAnswer(usize),
    /// Only this is said, at once, and then nothing.
    Say(&'static str),
    /// Requests for which this is true get this answer in full, others pass.
    Answer(fn(&Request) -> bool, &'static str),
    /// The connection leads to another server.
    Elsewhere(SocketAddr),
}

/// A request as it came.
#[derive(Debug)]
pub struct Request {
    /// Request line and fields, in small letters.
    pub head: String,
    /// Bytes of the body.
    pub body: usize,
    bytes: Vec<u8>,
}

/// The proxy; it ends when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// A proxy on a free port before `receiver`, without a fault. Runs on the runtime of the caller.
    pub async fn start(receiver: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let fault = watch::Sender::new(Fault::None);
        let now = fault.subscribe();
        let task = tokio::spawn(async move {
            // a client that is gone again is no reason to end
            loop {
                if let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(serve(client, receiver, now.clone()));
                }
            }
        });
        Ok(Self { address, fault, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on this goes wrong; all connections end.
    pub fn play(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection, until it or its fault ends. How it ends is what the sink has to cope with, and nobody else's matter.
async fn serve(mut client: TcpStream, receiver: SocketAddr, mut now: watch::Receiver<Fault>) {
    let fault = *now.borrow_and_update();
    tokio::select! {
        ended = play(fault, &mut client, receiver) => drop(ended),
        changed = now.changed() => drop(changed),
    }
}

async fn play(fault: Fault, client: &mut TcpStream, receiver: SocketAddr) -> io::Result<()> {
    match fault {
        Fault::None => pass(client, receiver).await,
        Fault::Elsewhere(other) => pass(client, other).await,
        Fault::Deaf => std::future::pending().await,
        Fault::Mute => {
            let mut buffer = vec![0; 64 << 10];
            while client.read(&mut buffer).await? > 0 {}
            std::future::pending().await
        }
        Fault::Say(text) => {
            client.write_all(text.as_bytes()).await?;
            std::future::pending().await
        }
        Fault::Reset(after) => {
            let mut server = TcpStream::connect(receiver).await?;
            let mut buffer = vec![0; after];
            client.read_exact(&mut buffer).await?;
            server.write_all(&buffer).await?;
            // an RST in place of a FIN, to both
            client.set_zero_linger()?;
            server.set_zero_linger()
        }
        Fault::Drip => {
            let mut server = TcpStream::connect(receiver).await?;
            let (mut up, mut down) = client.split();
            let (mut answers, mut requests) = server.split();
            tokio::select! {
                dripped = drip(&mut up, &mut requests) => dripped,
                copied = tokio::io::copy(&mut answers, &mut down) => copied.map(drop),
            }
        }
        Fault::CutAnswer(after) => {
            let mut server = TcpStream::connect(receiver).await?;
            let (mut up, mut down) = client.split();
            let (mut answers, mut requests) = server.split();
            // an answer that has begun is one that the receiver meant
            let mut answer = vec![0; after.max(1)];
            tokio::select! {
                copied = tokio::io::copy(&mut up, &mut requests) => copied.map(drop)?,
                read = answers.read_exact(&mut answer) => read.map(drop)?,
            }
            down.write_all(&answer[..after]).await?;
            down.shutdown().await
        }
        Fault::Answer(wrong, text) => {
            let request = Request::read(client).await?;
            if wrong(&request) {
                client.write_all(text.as_bytes()).await?;
                return client.shutdown().await;
            }
            let mut server = TcpStream::connect(receiver).await?;
            server.write_all(&request.bytes).await?;
            tokio::io::copy(&mut server, client).await.map(drop)
        }
    }
}

async fn drip(from: &mut ReadHalf<'_>, to: &mut WriteHalf<'_>) -> io::Result<()> {
    loop {
        to.write_u8(from.read_u8().await?).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn pass(client: &mut TcpStream, receiver: SocketAddr) -> io::Result<()> {
    let mut server = TcpStream::connect(receiver).await?;
    copy_bidirectional(client, &mut server).await.map(drop)
}

impl Request {
    /// Reads a whole request, and asks for the end of the connection after it.
    async fn read(client: &mut TcpStream) -> io::Result<Self> {
        let broken = |why| io::Error::new(io::ErrorKind::InvalidData, why);
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            if bytes.len() > REQUEST_MAX || client.read_buf(&mut bytes).await? == 0 {
                return Err(broken("no head"));
            }
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
        let body = length.filter(|length| *length <= REQUEST_MAX).ok_or_else(|| broken("no length"))?;
        while bytes.len() < end + 4 + body {
            if client.read_buf(&mut bytes).await? == 0 {
                return Err(broken("half a body"));
            }
        }
        bytes.splice(end..end, *b"\r\nconnection: close");
        Ok(Self { head, body, bytes })
    }
}
