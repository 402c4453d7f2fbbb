//! An HTTP/1.1 client that sends a request byte by byte as it was recorded: target, order and case of the
//! headers, and whatever is wrong with them. Only the host is the target's.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::{Instant, timeout};

use crate::format::{Ending, Request, Response, ServerClosed};
use crate::headers;
use crate::wire::Unreadable;
use incoming::Incoming;

mod incoming;
mod response;
pub(crate) mod websocket;

/// The server that recordings are played against: `http://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// As it stands in `Host`.
    authority: String,
    host: String,
    port: u16,
}

/// Text that is no [`Target`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not of the form http://host:port")]
pub struct TargetError(String);

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let error = || TargetError(text.to_owned());
        let rest = text.strip_prefix("http://").ok_or_else(error)?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        // An IPv6 address is in brackets: the colons within are not the port's.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| error())?)
            }
            Some(_) | None => (authority, 80),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || host.contains(['/', '?', '#', '@', ' ']) {
            return Err(error());
        }
        Ok(Self {
            authority: authority.to_owned(),
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

impl Target {
    /// A connection to it.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        // What is recorded as sent at one moment leaves at one moment.
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// Why there is no whole answer, in the words of `error` in a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    #[error("timeout")]
    Timeout,
    #[error("eof")]
    Eof,
    #[error("reset")]
    Reset,
    #[error("unparsable")]
    Unparsable,
    #[error("connection refused")]
    Refused,
}

impl Failure {
    /// The answer that says so.
    pub(crate) fn answer(self) -> Response {
        Response {
            error: Some(self.to_string()),
            ..Response::default()
        }
    }
}

impl From<Unreadable> for Failure {
    fn from(_: Unreadable) -> Self {
        Self::Unparsable
    }
}

/// A connection whose server has said that it speaks another protocol now.
pub(crate) struct Upgraded {
    incoming: Incoming,
    outgoing: OwnedWriteHalf,
}

/// Sends `request` on a connection of its own and reads the answer, for at most `within`.
pub(crate) async fn exchange(target: &Target, request: &Request, within: Duration) -> Response {
    upgrade(target, request, within).await.0
}

/// The same for a websocket's handshake.
pub(crate) async fn upgrade(
    target: &Target,
    request: &Request,
    within: Duration,
) -> (Response, Option<Upgraded>) {
    let sent = Instant::now();
    let outcome = timeout(within, answered(target, request)).await;
    let (mut response, connection) = match outcome.unwrap_or(Err(Failure::Timeout)) {
        Ok((response, connection)) => (response, Some(connection)),
        Err(failure) => (failure.answer(), None),
    };
    response.after_ms = sent.elapsed().as_secs_f64() * 1000.0;
    let upgraded = connection.filter(|_| response.status == 101);
    (response, upgraded)
}

async fn answered(target: &Target, request: &Request) -> Result<(Response, Upgraded), Failure> {
    let stream = target.connect().await.map_err(|_| Failure::Refused)?;
    let (read, mut outgoing) = stream.into_split();
    let mut incoming = Incoming::new(read);
    let bytes = encode(request, target);
    // A server may answer, and close, before it has taken the whole request.
    let write = async {
        let _ = outgoing.write_all(&bytes).await;
        std::future::pending::<()>().await;
    };
    let response = tokio::select! {
        response = response::read(&mut incoming, &request.method) => response?,
        () = write => return Err(Failure::Eof),
    };
    Ok((response, Upgraded { incoming, outgoing }))
}

/// Sends `bytes` as they are; returns all that comes until the server closes, or for as long as it is never
/// silent for `silence`.
pub(crate) async fn raw(
    target: &Target,
    bytes: &[u8],
    silence: Duration,
) -> (Vec<u8>, ServerClosed) {
    let mut came = Vec::new();
    let Ok(stream) = target.connect().await else {
        return (came, ServerClosed::How(Ending::Reset));
    };
    let (read, mut outgoing) = stream.into_split();
    let mut incoming = Incoming::new(read);
    let _ = timeout(silence, outgoing.write_all(bytes)).await;
    let closed = loop {
        match timeout(silence, incoming.more()).await {
            Ok(Ok(true)) => came.append(&mut incoming.take_all()),
            Ok(Ok(false)) => break ServerClosed::How(Ending::Eof),
            Ok(Err(_)) => break ServerClosed::How(Ending::Reset),
            Err(_) => break ServerClosed::Not(false),
        }
    };
    (came, closed)
}

fn encode(request: &Request, target: &Target) -> Vec<u8> {
    let recorded_host = headers::value(&request.headers, "host").unwrap_or_default();
    let version = request.version.as_deref().unwrap_or("1.1");
    let version = version.trim_start_matches("HTTP/");
    let request_target = with_host(&request.target, recorded_host, &target.authority);
    let mut head = format!("{} {request_target} HTTP/{version}\r\n", request.method);
    for (name, value) in &request.headers {
        let value = match name.eq_ignore_ascii_case("host") {
            true => &target.authority,
            false => value,
        };
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let mut bytes = latin1(&head);
    let body = request.body.as_deref().unwrap_or_default();
    if headers::chunked(&request.headers) {
        // Recorded without its coding.
        if !body.is_empty() {
            bytes.extend(format!("{:x}\r\n", body.len()).into_bytes());
            bytes.extend(body);
            bytes.extend(b"\r\n");
        }
        bytes.extend(b"0\r\n\r\n");
    } else {
        bytes.extend(body);
    }
    bytes
}

/// The host of a target in absolute form is that of `Host`.
fn with_host(request_target: &str, recorded: &str, authority: &str) -> String {
    let path = request_target
        .strip_prefix("http://")
        .and_then(|rest| rest.strip_prefix(recorded))
        .filter(|_| !recorded.is_empty());
    match path {
        Some(path) => format!("http://{authority}{path}"),
        None => request_target.to_owned(),
    }
}

/// Replaces every `Host` header in the bytes of `raw` requests.
pub(crate) fn with_target_host(bytes: &[u8], target: &Target) -> Vec<u8> {
    const HOST: &[u8] = b"\r\nhost: ";
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, behind)) = rest.split_first() {
        if let Some(start) = rest.get(..HOST.len())
            && start.eq_ignore_ascii_case(HOST)
        {
            out.extend(start);
            out.extend(target.authority.as_bytes());
            let value = rest.get(HOST.len()..).unwrap_or_default();
            let length = value.iter().position(|&byte| byte == b'\r');
            rest = value
                .get(length.unwrap_or(value.len())..)
                .unwrap_or_default();
        } else {
            out.push(first);
            rest = behind;
        }
    }
    out
}

/// Heads are recorded with a character for each byte; what is not of that kind is sent as UTF-8.
fn latin1(text: &str) -> Vec<u8> {
    let bytes: Result<Vec<u8>, _> = text.chars().map(u8::try_from).collect();
    bytes.unwrap_or_else(|_| text.into())
}

#[cfg(test)]
mod tests;
