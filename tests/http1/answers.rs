//! The same for what the site answers: its bytes, and what the client gets through pullgate, and through nginx.

/// One answer of the site. The client asks for `/`, and then for `/end`, to which the site answers as usual.
pub(super) struct Answer {
    /// In `docs/security.md` too, where nginx does otherwise.
    pub(super) name: &'static str,
    pub(super) method: &'static str,
    pub(super) sent: &'static [u8],
    /// The statuses that the client gets. The last answer is whole, and the one to `/end`.
    pub(super) pullgate: &'static str,
    /// `None`: the same.
    pub(super) nginx: Option<&'static str>,
}

const fn answer(
    name: &'static str,
    method: &'static str,
    sent: &'static [u8],
    pullgate: &'static str,
    nginx: Option<&'static str>,
) -> Answer {
    Answer {
        name,
        method,
        sent,
        pullgate,
        nginx,
    }
}

#[rustfmt::skip]
pub(super) const ANSWERS: &[Answer] = &[
    answer("an answer", "GET", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "200 200", None),
    answer("an answer to HEAD", "HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "200 200", None),
    answer("an answer in chunks", "GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "200 200", None),
    answer("an answer with trailers", "GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n", "200 200", None),
    answer("an answer of HTTP/1.0", "GET", b"HTTP/1.0 200 OK\r\n\r\nok", "200 200", None),
    answer("an answer without a reason", "GET", b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", "200 200", None),
    answer("an answer in bare LF", "GET", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", "200 200", None),
    answer("204", "GET", b"HTTP/1.1 204 No Content\r\n\r\n", "204 200", None),
    answer("204 with a body", "GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok", "204 200", None),
    answer("204 with chunks", "GET", b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "204 200", None),
    answer("304 with a body", "GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\nok", "304 200", None),
    answer("a body behind an answer to HEAD", "HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "200 200", None),
    answer("an answer to HEAD in chunks", "HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "200 200", None),
    answer("417", "GET", b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno", "417 200", None),
    answer("304 with a length", "GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", "304 200", None),
    answer("100 before the answer", "GET", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "200 200", Some("100 200 200")),
    answer("103 before the answer", "GET", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "200 200", Some("103 200 200")),
    answer("102 twice before the answer", "GET", b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "200 200", Some("102 102 200 200")),
    answer("101 that nobody asked for", "GET", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nGET /", "502 200", Some("101 200")),
    answer("two lengths that agree", "GET", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", "502 200", Some("200 200")),
    answer("two lengths that do not agree", "GET", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 4\r\n\r\nok", "502 200", Some("200")),
    answer("a length and chunks", "GET", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "502 200", Some("200 200")),
    answer("an answer in gzip, chunked", "GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "502 200", Some("200 200")),
    answer("a length with a minus in the answer", "GET", b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok", "502 200", Some("200 200")),
    answer("a folded field in the answer", "GET", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: a\r\n b\r\n\r\nok", "502 200", None),
    answer("a space before a colon in the answer", "GET", b"HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 2\r\n\r\nok", "502 200", None),
    answer("a NUL in the answer's head", "GET", b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 2\r\n\r\nok", "502 200", None),
    answer("high bytes in the answer's head", "GET", b"HTTP/1.1 200 OK\r\nX: \xcf\xf0\r\nContent-Length: 2\r\n\r\nok", "200 200", None),
    answer("a bare CR in the answer's head", "GET", b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 2\r\n\r\nok", "502 200", None),
    answer("a status of two digits", "GET", b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok", "502 200", Some("20  200")),
    answer("a status of its own", "GET", b"HTTP/1.1 799 Own\r\nContent-Length: 2\r\n\r\nok", "799 200", None),
    answer("no HTTP", "GET", b"nonsense\r\n\r\n", "502 200", Some("200")),
    answer("a body in gzip", "GET", b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b", "200 200", None),
];
