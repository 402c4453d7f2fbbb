//! What holds by path: times and largest bodies, however the path is spelt.

use std::io::Write;
use std::net::TcpStream;
use std::sync::{Mutex, mpsc};

use crate::harness::{Server, Witness, connect, get, read_response, send, send_raw, upstream};
use crate::reload::reload;

const ADMIN: &str = "[[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"admin\"\n";

/// The head of a POST, of which nothing else comes.
fn begin(server: &Server, target: &str, headers: &str) -> TcpStream {
    let mut stream = connect(&server.site);
    let head =
        format!("POST {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

#[test]
fn the_site_may_take_as_long_as_the_path_says() {
    const HANDSHAKE: &str = "Connection: Upgrade, close\r\nUpgrade: websocket";
    let (all_else_has_ended, ended) = mpsc::channel::<()>();
    let ended = Mutex::new(ended);
    let site = upstream(move |mut stream, head| {
        let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nwhole";
        // Some fall silent within the answer.
        let (first, second) = answer.split_at(match head.contains("half") {
            true => answer.len() - 3,
            false => 0,
        });
        let _ = stream.write_all(first);
        let _ = ended.lock().unwrap().recv();
        let _ = stream.write_all(second);
    });
    let server = Server::start(
        &site,
        "response_timeout = \"1s\"\n[[path]]\nprefix = \"/export/\"\nresponse_timeout = \"10m\"\n",
    );
    let ask = |(target, headers): (&str, &str)| {
        let mut stream = connect(&server.site);
        let request = format!("GET {target} HTTP/1.1\r\nHost: h\r\n{headers}\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        (target.to_owned(), stream)
    };
    let close = "Connection: close";
    let patient = [
        ("/export/", close),
        ("/export/half", close),
        ("/export/websocket", HANDSHAKE),
        ("//export//a?b", close),
        ("/x/../%65xport/a", close),
        ("/export%2fa", close),
    ]
    .map(ask);
    let hasty = [
        ("/", close),
        ("/websocket", HANDSHAKE),
        ("/export", close),
        ("/EXPORT/", close),
        ("/export;x/", close),
        ("/export/../page", close),
        ("/export/%2e%2E/page", close),
        ("/x?/export/", close),
    ]
    .map(ask);
    for (target, stream) in hasty {
        assert_eq!(read_response(stream).status, 504, "{target}");
    }
    let half = get(&server.site, "/half", &[]);
    assert_eq!((half.status, half.body.as_str()), (200, "wh"));
    drop(all_else_has_ended);
    for (target, stream) in patient {
        let response = read_response(stream);
        let answer = (response.status, response.body.as_str());
        assert_eq!(answer, (200, "whole"), "{target}");
    }
}

#[test]
fn a_body_that_says_it_is_too_large_never_reaches_the_site() {
    let site = Witness::start();
    let more = format!(
        "max_body = \"100B\"\n[[path]]\nprefix = \"/upload/\"\nmax_body = \"1000B\"\n\
         [[path]]\nprefix = \"/upload/any/\"\nmax_body = \"0B\"\n{ADMIN}"
    );
    let server = Server::start(&site.url, &more);
    let too_large = [
        ("/", 101),
        ("/UPLOAD/", 101),
        ("/upload", 101),
        ("/upload;x/", 101),
        ("/upload/../x", 101),
        ("/upload/%2e%2E/x", 101),
        ("/%2575pload/", 101),
        ("/rest/pull.config.get.json", 101),
        ("/upload/", 1001),
        ("/x/..//%75pload/./x", 1001),
        ("/upload/any/../x", usize::MAX >> 2),
    ];
    for (target, length) in too_large {
        let headers = format!(
            "Content-Type: application/x-www-form-urlencoded\r\nExpect: 100-continue\r\nContent-Length: {length}"
        );
        let response = read_response(begin(&server, target, &headers));
        assert_eq!(response.status, 413, "{target}");
        assert_eq!(response.header("connection"), Some("close"));
    }
    assert_eq!(site.count(), 0);
    assert_eq!(server.refused("body"), too_large.len() as u64);
    let fits = [
        ("/", 100),
        ("/upload/x", 1000),
        ("/x/..//%75pload/./x", 1000),
        ("/upload/any/x", 100_000),
    ];
    for (target, length) in fits {
        let response = send(&server.site, "POST", target, &[], &"x".repeat(length));
        assert_eq!(response.status, 200, "{target}");
        assert_eq!(site.last(|_| true).body().len(), length);
    }
    assert_eq!(site.count(), fits.len());
}

#[test]
fn chunks_that_become_too_large_are_cut() {
    let site = Witness::start();
    let more = format!("[[path]]\nprefix = \"/form/\"\nmax_body = \"100B\"\n{ADMIN}");
    let server = Server::start(&site.url, &more);
    let chunk = format!("3C\r\n{}\r\n", "x".repeat(60));
    let mut stream = begin(&server, "/form/", "Transfer-Encoding: chunked");
    stream.write_all(chunk.as_bytes()).unwrap();
    site.last(|site| site.body() == chunk);
    stream.write_all(chunk.as_bytes()).unwrap();
    assert_eq!(read_response(stream).status, 413);
    let cut = site.last(|site| site.ended);
    assert_eq!(cut.body(), chunk, "not a byte more, and no end");
    assert_eq!(server.refused("body"), 1);
    assert!(!server.log().contains("ERROR"), "{}", server.log());

    // As much as may be, and elsewhere more.
    for (target, chunks) in [("/form/", 1), ("/", 3)] {
        let body = format!(
            "{}28\r\n{}\r\n0\r\n\r\n",
            chunk.repeat(chunks),
            "y".repeat(40)
        );
        let request = format!(
            "POST {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{body}"
        );
        assert_eq!(send_raw(&server.site, request.as_bytes()).status, 200);
        assert_eq!(site.last(|_| true).body().matches('x').count(), 60 * chunks);
    }
}

#[test]
fn a_client_may_be_silent_as_long_as_the_path_says() {
    let site = Witness::start();
    let more = "[[path]]\nprefix = \"/upload/\"\nbody_timeout = \"10m\"\n";
    let server = Server::start_with_more("body_timeout = \"1s\"\n", &site.url, more);
    let [mut patient, hasty] = ["/upload/", "/upload/../"].map(|target| {
        let mut stream = begin(&server, target, "Content-Length: 8");
        stream.write_all(b"half").unwrap();
        stream
    });
    assert_eq!(read_response(hasty).status, 408);
    patient.write_all(b"half").unwrap();
    assert_eq!(read_response(patient).status, 200);
}

#[test]
fn a_reload_changes_every_key() {
    let site = Witness::start();
    let server = Server::start(&site.url, "max_body = \"10B\"\n# paths\n");
    let post = |target: &str, length: usize| {
        let body = "x".repeat(length);
        send(&server.site, "POST", target, &[], &body).status
    };
    assert_eq!((post("/a/", 10), post("/a/", 11)), (200, 413));
    let told = reload(&server, "\"10B\"", "\"20B\"");
    assert!(told.contains("changes=\"upstream\""), "{told}");
    assert_eq!((post("/a/", 11), post("/a/", 21)), (200, 413));
    let path = "[[path]]\nprefix = \"/a/\"\nmax_body = \"5B\"\n# more\n";
    let told = reload(&server, "# paths\n", path);
    assert!(told.contains("changes=\"paths\""), "{told}");
    assert_eq!((post("/a/", 6), post("/b/", 6)), (413, 200));
    reload(&server, "\"/a/\"", "\"/b/\"");
    assert_eq!((post("/a/", 6), post("/b/", 6)), (200, 413));
    reload(&server, "\"5B\"", "\"7B\"");
    assert_eq!((post("/b/", 7), post("/b/", 8)), (200, 413));
    reload(&server, "# more", "response_timeout = \"1s\"\n# more");
    assert_eq!(post("/b/silent", 1), 504);
    reload(&server, "# more", "body_timeout = \"1s\"");
    let unfinished = begin(&server, "/b/", "Content-Length: 2");
    assert_eq!(read_response(unfinished).status, 408);
}
