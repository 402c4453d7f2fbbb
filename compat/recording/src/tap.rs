//! Stands between clients and a server and passes bytes both ways, unchanged. On the way they are
//! shown to a [`connection`] reader, which makes steps of what it understands; what it does not
//! understand passes all the same.
//!
//! A read of up to 16 KiB is shown, then written. Nothing waits for the recording, and no buffer is held
//! for a connection that is silent.

mod connection;
mod exchange;
pub(crate) mod paths;
mod websocket;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::time::{sleep, timeout};

use crate::format::Ending;
use crate::record::journal::Journal;
use connection::Connection;
use paths::PushPaths;

/// Of a longer body or frame nothing is kept, bytes.
const MOST_BODY: usize = 4 * 1024 * 1024;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The server that is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upstream {
    /// `host:port`; a name is looked up at every connection.
    Tcp(String),
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "http://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Accepts for ever, and records what is said.
pub(crate) async fn run(
    listener: TcpListener,
    upstream: Upstream,
    paths: Arc<PushPaths>,
    journal: Journal,
) {
    let upstream = Arc::new(upstream);
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                let connection = Connection::new(journal.clone(), Arc::clone(&paths));
                tokio::spawn(pass(client, Arc::clone(&upstream), connection));
            }
            Err(error) => {
                // Most likely too many open files: some will be closed.
                tracing::warn!(%error, "cannot accept");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn pass(mut client: TcpStream, upstream: Arc<Upstream>, connection: Connection) {
    let reader = Reader::new(connection);
    match &*upstream {
        Upstream::Tcp(address) => {
            let mut server = match connect(TcpStream::connect(address.as_str())).await {
                Ok(server) => server,
                Err(error) => return refuse(&client, address, &error),
            };
            // What is sent in small pieces arrives in small pieces, as without us.
            let _ = client.set_nodelay(true);
            let _ = server.set_nodelay(true);
            match both_ways(client.split(), server.split(), &reader).await {
                Ok(()) => {}
                Err(Reset::Client) => reset(&server),
                Err(Reset::Server) => reset(&client),
            }
        }
        Upstream::Unix(path) => {
            let mut server = match connect(UnixStream::connect(path)).await {
                Ok(server) => server,
                Err(error) => return refuse(&client, &path.display().to_string(), &error),
            };
            let _ = client.set_nodelay(true);
            if let Err(Reset::Server) = both_ways(client.split(), server.split(), &reader).await {
                reset(&client);
            }
        }
    }
}

async fn connect<S>(connecting: impl Future<Output = io::Result<S>>) -> io::Result<S> {
    timeout(CONNECT_TIMEOUT, connecting)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn refuse(client: &TcpStream, address: &str, error: &io::Error) {
    tracing::warn!("cannot connect to {address}: {error}");
    reset(client);
}

/// Makes the end of this connection a reset, as that of the other side was.
fn reset(stream: &TcpStream) {
    // Without it the connection ends as usual.
    let _ = stream.set_zero_linger();
}

/// Which side's connection was reset.
#[derive(Debug)]
enum Reset {
    Client,
    Server,
}

async fn both_ways(
    (mut from_client, mut to_client): (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
    (mut from_server, mut to_server): (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
    reader: &Reader,
) -> Result<(), Reset> {
    let upwards = async {
        loop {
            let Ok(data) = read(&mut from_client).await else {
                reader.show(|connection, now| {
                    connection.client_left(now);
                    connection.server_left(Ending::Reset, now);
                });
                return Err(Reset::Client);
            };
            if data.is_empty() {
                reader.show(Connection::client_left);
                // A side that is gone has seen its end.
                let _ = to_server.shutdown().await;
                return Ok(());
            }
            reader.show(|connection, now| connection.sent(&data, now));
            // A server that takes no more may still answer; its own end will come.
            if to_server.write_all(&data).await.is_err() {
                return Ok(());
            }
        }
    };
    let downwards = async {
        loop {
            let Ok(data) = read(&mut from_server).await else {
                reader.show(|connection, now| connection.server_left(Ending::Reset, now));
                return Err(Reset::Server);
            };
            if data.is_empty() {
                reader.show(|connection, now| connection.server_left(Ending::Eof, now));
                let _ = to_client.shutdown().await;
                return Ok(());
            }
            reader.show(|connection, now| connection.received(&data, now));
            if to_client.write_all(&data).await.is_err() {
                return Ok(());
            }
        }
    };
    tokio::try_join!(upwards, downwards).map(|((), ())| ())
}

/// What has come; nothing at the end. The space for it is there only while something comes.
async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    poll_fn(|context| {
        let mut space = [0; 16 * 1024];
        let mut buffer = ReadBuf::new(&mut space);
        ready!(Pin::new(&mut *from).poll_read(context, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().to_vec()))
    })
    .await
}

/// The connection's reader, for both directions. `None` once it has failed.
struct Reader(Mutex<Option<Connection>>);

impl Reader {
    fn new(connection: Connection) -> Self {
        Self(Mutex::new(Some(connection)))
    }

    /// A bug in the reader must not end what it looks at.
    fn show(&self, what: impl FnOnce(&mut Connection, Instant)) {
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let shown = catch_unwind(AssertUnwindSafe(|| {
            if let Some(connection) = connection.as_mut() {
                what(connection, now);
            }
        }));
        if shown.is_err() {
            *connection = None;
        }
    }
}
