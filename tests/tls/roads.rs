//! How many clients at a time come to a site: in the clear, by TLS, and by HTTP/2 over TLS. As browsers do, they open another
//! connection when they are sent away.

use std::cell::Cell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::client::believing;
use crate::harness::Response;

/// A connection, secured or not.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// Connects from an address of this machine's own.
pub(crate) async fn connect(own: Ipv4Addr, address: &str) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(own.into(), 0))?;
    socket.connect(address.parse().unwrap()).await
}

/// Shakes hands for `site.test`, with this protocol above TLS.
pub(crate) async fn secure(stream: TcpStream, protocol: &str) -> io::Result<TlsStream<TcpStream>> {
    let (config, _) = believing(rustls::ALL_VERSIONS, &[protocol]);
    let name = ServerName::try_from("site.test").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await
}

/// One connection of HTTP/2 at a time, for any number of requests; another when the server has said goodbye.
pub(crate) struct Http2 {
    address: String,
    /// Where it comes from.
    own: Ipv4Addr,
    connection: Mutex<Option<SendRequest<Empty<Bytes>>>>,
    /// Connections so far.
    opened: Cell<usize>,
}

/// Why there is no response.
#[derive(Debug)]
pub(crate) enum NoResponse {
    /// No connection was to be had.
    Unconnected(#[allow(dead_code, reason = "shown by a test that fails")] io::Error),
    /// The request had gone, or was not taken.
    Failed(#[allow(dead_code, reason = "shown by a test that fails")] hyper::Error),
}

impl Http2 {
    pub(crate) fn to(address: &str) -> Self {
        Self::from(Ipv4Addr::LOCALHOST, address)
    }

    pub(crate) fn from(own: Ipv4Addr, address: &str) -> Self {
        Self {
            address: address.to_owned(),
            own,
            connection: Mutex::default(),
            opened: Cell::new(0),
        }
    }

    pub(crate) fn opened(&self) -> usize {
        self.opened.get()
    }

    /// What cannot be sent, because the server wants no more requests on the connection, goes on another; what was sent is
    /// never sent again.
    pub(crate) async fn get(&self, target: &str, headers: &[&str]) -> Result<Response, NoResponse> {
        let mut request = request(target, headers);
        loop {
            let mut sender = self.sender().await.map_err(NoResponse::Unconnected)?;
            match sender.try_send_request(request).await {
                Ok(response) => return read(response).await.map_err(NoResponse::Failed),
                Err(mut unsent) => match unsent.take_message() {
                    Some(again) => request = again,
                    None => return Err(NoResponse::Failed(unsent.into_error())),
                },
            }
        }
    }

    async fn sender(&self) -> io::Result<SendRequest<Empty<Bytes>>> {
        let mut connection = self.connection.lock().await;
        if let Some(sender) = connection.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let stream = connect(self.own, &self.address).await?;
        let stream = TokioIo::new(secure(stream, "h2").await?);
        let shaken = handshake(TokioExecutor::new(), stream).await;
        let (sender, driver) = shaken.map_err(io::Error::other)?;
        // How it ends is told to each request.
        tokio::spawn(async { driver.await.ok() });
        self.opened.set(self.opened.get() + 1);
        *connection = Some(sender.clone());
        Ok(sender)
    }
}

fn request(target: &str, headers: &[&str]) -> Request<Empty<Bytes>> {
    let mut request = Request::get(format!("https://site.test{target}"));
    for line in headers {
        let (name, value) = line.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    request.body(Empty::new()).unwrap()
}

async fn read(response: http::Response<hyper::body::Incoming>) -> hyper::Result<Response> {
    let (head, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        format!("{name}: {}\r\n", String::from_utf8_lossy(value.as_bytes()))
    };
    Ok(Response {
        status: head.status.as_u16(),
        head: head.headers.iter().map(line).collect(),
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}
