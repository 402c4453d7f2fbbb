//! Who came, by the header that a proxy sends in front of a connection.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use crate::harness::{Response, Server, connect, free_port, read_response, wait_for};
use crate::hook::Daemon;
use crate::proxy::mirror;

/// In front of `upstream`, with a listener for proxies, which is the second value.
fn behind_proxies(server: &str, upstream: &str, more: &str) -> (Server, String) {
    let address = format!("127.0.0.1:{}", free_port());
    let listener = format!("{more}[[listener]]\naddress = \"{address}\"\nproxy_protocol = true\n");
    let server = Server::start_with_more(server, upstream, &listener);
    wait_for(|| TcpStream::connect(&address).is_ok());
    (server, address)
}

/// A request behind these bytes.
fn ask(address: &str, header: &[u8], lines: &str) -> Response {
    let mut stream = connect(address);
    let request = format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n");
    stream
        .write_all(&[header, request.as_bytes()].concat())
        .unwrap();
    read_response(stream)
}

fn has(response: &Response, lines: &[&str]) {
    for line in lines {
        let line = format!("{line}\r\n");
        assert!(response.body.contains(&line), "{line} in {}", response.body);
    }
}

/// What comes on a connection that begins so: nothing but its end.
fn refused(address: &str, bytes: &[u8]) {
    let mut stream = connect(address);
    // It may be closed before all is written.
    let _ = stream.write_all(bytes);
    let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut all = Vec::new();
    if let Err(error) = stream.read_to_end(&mut all) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    assert!(all.is_empty(), "{}", all.escape_ascii());
}

fn version_2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    let fixed = [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..]].concat();
    [&fixed[..], &length, block].concat()
}

const LINE: &[u8] = b"PROXY TCP4 203.0.113.7 127.0.0.1 5555 80\r\n";
const BLOCK: [u8; 12] = [203, 0, 113, 7, 127, 0, 0, 1, 0x15, 0xb3, 0, 80];

#[test]
fn the_visitor_is_whom_the_proxy_names() {
    let (server, address) = behind_proxies("", &mirror(), "");
    let v4 = [
        "X-Real-Ip: 203.0.113.7",
        "X-Forwarded-For: 203.0.113.7",
        "X-Forwarded-Proto: http",
    ];
    has(&ask(&address, LINE, ""), &v4);
    has(&ask(&address, &version_2(0x21, 0x11, &BLOCK), ""), &v4);
    let line = b"PROXY TCP6 2001:db8::7 ::1 5555 80\r\n";
    let v6 = ["X-Real-Ip: 2001:db8::7", "X-Forwarded-For: 2001:db8::7"];
    has(&ask(&address, line, ""), &v6);
    let tls = [&BLOCK[..], &[0x20, 0, 5, 1, 0, 0, 0, 0]].concat();
    let response = ask(&address, &version_2(0x21, 0x11, &tls), "");
    has(&response, &["X-Forwarded-Proto: https"]);
    wait_for(|| server.log().contains("client=203.0.113.7"));
    wait_for(|| server.log().contains("client=2001:db8::7"));
}

#[test]
fn where_the_header_names_nobody_the_proxy_has_come() {
    let (_server, address) = behind_proxies("", &mirror(), "");
    let unix = version_2(0x21, 0x31, &[b'/'; 216]);
    for header in [
        &b"PROXY UNKNOWN\r\n"[..],
        &version_2(0x20, 0, b""),
        &version_2(0x21, 0, b"nothing of this counts"),
        &unix,
    ] {
        has(&ask(&address, header, ""), &["X-Real-Ip: 127.0.0.1"]);
    }
}

#[test]
fn x_forwarded_for_counts_behind_a_trusted_proxy_alone() {
    let trusted = "trusted_proxies = [\"127.0.0.0/8\", \"198.51.100.0/24\"]\n";
    let (_server, address) = behind_proxies(trusted, &mirror(), "");
    let lines = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n";
    // Of a visitor it is made up.
    let forged = ["X-Real-Ip: 203.0.113.7", "X-Forwarded-For: 203.0.113.7"];
    has(&ask(&address, LINE, lines), &forged);
    // A CDN in front of the proxy writes it.
    let cdn = b"PROXY TCP4 198.51.100.9 127.0.0.1 5555 80\r\n";
    let expected = [
        "X-Real-Ip: 192.0.2.1",
        "X-Forwarded-For: 192.0.2.1, 198.51.100.9",
        "X-Forwarded-Proto: https",
    ];
    has(&ask(&address, cdn, lines), &expected);
}

#[test]
fn what_is_allowed_by_address_is_allowed_to_the_visitor() {
    let more = "[push]\npublish_allow = [\"127.0.0.0/8\"]\n[guest]\nnew_per_minute = 1\n";
    let (_server, address) = behind_proxies("", &mirror(), more);
    let publish = |header: &[u8]| {
        let mut stream = connect(&address);
        let request = "POST /bitrix/pub/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\ntext";
        stream
            .write_all(&[header, request.as_bytes()].concat())
            .unwrap();
        read_response(stream).status
    };
    assert_eq!(publish(LINE), 403);
    assert_eq!(publish(b"PROXY UNKNOWN\r\n"), 200);
    let page = "Accept: text/html\r\nUser-Agent: Mozilla\r\n";
    let is_new = |header: &[u8]| ask(&address, header, page).cookie().is_some();
    let other = b"PROXY TCP4 203.0.113.8 127.0.0.1 5555 80\r\n";
    assert_eq!((is_new(LINE), is_new(LINE)), (true, false));
    assert_eq!((is_new(other), is_new(other)), (true, false));
}

#[test]
fn a_header_may_come_in_pieces() {
    let (_server, address) = behind_proxies("", &mirror(), "");
    let long = [&BLOCK[..], &[0xe0, 0x0c, 0x00], &[0; 0xc00]].concat();
    for (header, step) in [
        (LINE.to_vec(), 1),
        (version_2(0x21, 0x11, &BLOCK), 1),
        (version_2(0x21, 0x11, &long), 700),
    ] {
        let mut stream = connect(&address);
        stream.set_nodelay(true).unwrap();
        for piece in header.chunks(step) {
            stream.write_all(piece).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .unwrap();
        has(&read_response(stream), &["X-Real-Ip: 203.0.113.7"]);
    }
}

#[test]
fn without_a_good_header_there_is_no_answer() {
    let (server, address) = behind_proxies("header_timeout = \"1s\"\n", &mirror(), "");
    for bytes in [
        &b""[..],
        b"PROXY TCP4 203.0.113.7 127.0.0.1 5555 80 \r\n",
        b"PROXY TCP4 203.0.113.7\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c",
        &version_2(0x21, 0x11, &[0; 0xffff]),
        &[b"PROXY UNKNOWN ", &[b'x'; 4096][..]].concat(),
    ] {
        refused(&address, bytes);
    }
    wait_for(|| server.log().contains("this is no PROXY header"));
    // Half of one is not waited for.
    let mut half = connect(&address);
    half.write_all(b"PROXY TCP4 203.").unwrap();
    assert_eq!(half.read(&mut [0]).unwrap(), 0);
    wait_for(|| server.log().contains("did not come within"));
    has(&ask(&address, LINE, ""), &["X-Real-Ip: 203.0.113.7"]);
}

#[test]
fn nobody_else_is_believed() {
    let trusted = "trusted_proxies = [\"127.0.0.9\"]\n";
    let (server, address) = behind_proxies(trusted, &mirror(), "");
    refused(&address, LINE);
    refused(&address, b"");
    wait_for(|| {
        server
            .log()
            .contains("not from one of server.trusted_proxies")
    });
    // A listener that does not ask for the header takes it for what it is: no request.
    let response = ask(&server.site, LINE, "");
    assert_eq!(response.status, 400);
}

/// haproxy in front, over TCP of both families and a unix socket, with either version, while it also looks whether we
/// are there.
#[test]
fn haproxy_says_who_came() {
    let (_server, address) = behind_proxies("", &mirror(), "");
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (one, two, six) = (free_port(), free_port(), free_port());
    let config = format!(
        "defaults\nmode tcp\ntimeout connect 30s\ntimeout client 60s\ntimeout server 60s\n\
         frontend one\nbind 127.0.0.2:{one}\nbind unix@{socket}\nuse_backend one\n\
         backend one\nserver site {address} send-proxy check\n\
         frontend two\nbind 127.0.0.2:{two}\nbind [::1]:{six}\nuse_backend two\n\
         backend two\nserver site {address} send-proxy-v2 check\n",
        socket = path("socket"),
    );
    std::fs::write(path("haproxy.cfg"), config).unwrap();
    let mut haproxy = Daemon::start(
        "/usr/sbin/haproxy",
        &["-db", "-q", "-f", &path("haproxy.cfg")],
    );
    let fronts = [
        (format!("127.0.0.2:{one}"), "127.0.0.1"),
        (format!("127.0.0.2:{two}"), "127.0.0.1"),
        (format!("[::1]:{six}"), "::1"),
    ];
    for (front, visitor) in fronts {
        haproxy.wait_until(|| TcpStream::connect(&front).is_ok());
        let response = ask(&front, b"", "");
        let chain = format!("X-Forwarded-For: {visitor}");
        has(&response, &[&format!("X-Real-Ip: {visitor}"), &chain]);
    }
    let mut local = UnixStream::connect(path("socket")).unwrap();
    local
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut all = String::new();
    local.read_to_string(&mut all).unwrap();
    assert!(all.contains("X-Real-Ip: 127.0.0.1\r\n"), "{all}");
}
