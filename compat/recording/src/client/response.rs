//! Reads one response (RFC 9112), as it is recorded.

use super::Failure;
use super::incoming::Incoming;
use crate::format::Response;
use crate::headers;

/// More headers than any server sends.
const MOST_HEADERS: usize = 128;

/// Reads up to the end of the body. `method` is that of the request: what answers a `HEAD` has no body.
pub(super) async fn read(incoming: &mut Incoming, method: &str) -> Result<Response, Failure> {
    let mut interim = Vec::new();
    let mut response = loop {
        let head = head(incoming).await?;
        if head.status >= 200 || head.status == 101 {
            break head;
        }
        interim.push(head.status);
    };
    response.interim = Some(interim).filter(|interim| !interim.is_empty());
    let length = headers::value(&response.headers, "content-length");
    let body = if method == "HEAD" || matches!(response.status, 101 | 204 | 304) {
        Vec::new()
    } else if headers::chunked(&response.headers) {
        chunks(incoming).await?
    } else if let Some(length) = length {
        let length = length.trim().parse().map_err(|_| Failure::Unparsable)?;
        incoming.take(length).await?
    } else {
        response.ended_by = Some("close".into());
        incoming.rest().await?
    };
    response.body = Some(body);
    Ok(response)
}

async fn head(incoming: &mut Incoming) -> Result<Response, Failure> {
    loop {
        if let Some((head, length)) = parse(incoming.waiting())? {
            incoming.take(length).await?;
            return Ok(head);
        }
        if !incoming.more().await? {
            return Err(Failure::Eof);
        }
    }
}

/// A head and its length, if all of it is there.
fn parse(bytes: &[u8]) -> Result<Option<(Response, usize)>, Failure> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    let length = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(Failure::Unparsable),
    };
    let headers = parsed.headers.iter().map(|header| {
        let value = header.value.iter().map(|&byte| char::from(byte)).collect();
        (header.name.to_owned(), value)
    });
    let head = Response {
        status: parsed.code.unwrap_or_default(),
        reason: parsed.reason.unwrap_or_default().to_owned(),
        version: format!("HTTP/1.{}", parsed.version.unwrap_or_default()),
        headers: headers.collect(),
        ..Response::default()
    };
    Ok(Some((head, length)))
}

async fn chunks(incoming: &mut Incoming) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    loop {
        let line = incoming.line().await?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| Failure::Unparsable)?;
        if size == 0 {
            while !incoming.line().await?.is_empty() {}
            return Ok(body);
        }
        body.extend(incoming.take(size).await?);
        incoming.line().await?;
    }
}
