//! Reads one response, as it is recorded.

use super::Failure;
use super::incoming::{Incoming, MOST};
use crate::format::Response;
use crate::wire::head::ResponseHead;
use crate::wire::http::{Messages, Piece};

/// Reads up to the end of the body. `method` is that of the request: what answers a `HEAD` has no body.
pub(super) async fn read(incoming: &mut Incoming, method: &str) -> Result<Response, Failure> {
    let mut messages = Messages::new();
    let mut interim = Vec::new();
    let head = loop {
        let head = match incoming.next(|bytes| messages.next(bytes)).await? {
            Some(Piece::Head(bytes)) => ResponseHead::parse(&bytes)?,
            Some(Piece::End(_)) | None => return Err(Failure::Eof),
        };
        if head.status >= 200 || head.status == 101 {
            break head;
        }
        interim.push(head.status);
        messages.expect_head();
    };
    messages.expect(head.framing(method)?, MOST);
    let (body, by_end) = match incoming.next(|bytes| messages.next(bytes)).await? {
        Some(Piece::End(body)) => (body, false),
        Some(Piece::Head(_)) | None => (messages.finish().ok_or(Failure::Eof)?, true),
    };
    let body = body.whole().ok_or(Failure::Unparsable)?;
    let mut response = head.with_body(Some(body), 0.0);
    response.interim = Some(interim).filter(|interim| !interim.is_empty());
    response.ended_by = by_end.then(|| "close".to_owned());
    Ok(response)
}
