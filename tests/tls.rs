//! TLS: which certificate a client is shown, when they change, and that everything goes through it.

pub(crate) mod client;
pub(crate) mod http2;
pub(crate) mod roads;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::version::{TLS12, TLS13};
use tungstenite::Message;

use crate::harness::{SIGNATURE_KEY, Server, connect, get, pullgate, upstream, wait_for};
use crate::push::{A, bodies, publish, signed, wait_until_online};
use crate::reload::read_again;
use client::{TlsStream, exchange, handshake, open, shown};

/// Makes `NAME.pem` and `NAME.key` for these hosts, and tells what clients see of it.
pub(crate) fn certificate(directory: &Path, name: &str, hosts: &[&str], days: u32) -> Vec<u8> {
    let hosts: Vec<String> = hosts.iter().map(|host| format!("DNS:{host}")).collect();
    certificate_for(directory, name, &hosts.join(","), days, &[])
}

/// The same for names of any kind, and with more extensions.
pub(crate) fn certificate_for(
    directory: &Path,
    name: &str,
    names: &str,
    days: u32,
    extensions: &[&str],
) -> Vec<u8> {
    let file = |end: &str| directory.join(format!("{name}.{end}"));
    let first = names.split([':', ',']).nth(1).unwrap();
    let more = extensions.iter().flat_map(|text| ["-addext", *text]);
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-nodes"])
        .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-subj", &format!("/CN={first}")])
        .args(["-days", &days.to_string()])
        .args(["-addext", &format!("subjectAltName={names}")])
        .args(more)
        .arg("-keyout")
        .arg(file("key"))
        .arg("-out")
        .arg(file("pem"))
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{made:?}");
    CertificateDer::from_pem_file(file("pem")).unwrap().to_vec()
}

/// A site listener of this `tls`, in front of `upstream`.
pub(crate) fn start(
    directory: tempfile::TempDir,
    tls: &str,
    server: &str,
    upstream: &str,
    more: &str,
) -> Server {
    let text = format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\ntls = {tls}\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"publish\"\n\
         [server]\nstate_dir = \"state\"\nthreads = 2\n{server}\
         [upstream]\nurl = \"{upstream}\"\n\
         [push]\nsignature_key = \"{SIGNATURE_KEY}\"\n{more}"
    );
    Server::run_as_configured(pullgate(), Arc::new(directory), &text)
}

/// One certificate for `site.test`.
pub(crate) fn start_one(server: &str, upstream: &str, more: &str) -> Server {
    let directory = tempfile::tempdir().unwrap();
    certificate(directory.path(), "site", &["site.test"], 90);
    let tls = "{ cert = \"site.pem\", key = \"site.key\" }";
    start(directory, tls, server, upstream, more)
}

const GET: &str =
    "GET / HTTP/1.1\r\nHost: site.test\r\nAccept: text/html\r\nConnection: close\r\n\r\n";

/// A site that answers with the head that it got.
pub(crate) fn echo() -> String {
    upstream(|mut stream, head| {
        let length = head.len();
        let start =
            format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
        let _ = stream.write_all(format!("{start}{head}").as_bytes());
    })
}

/// The body that came in chunks behind this head.
fn chunked_body(stream: &mut std::net::TcpStream, head: &str) -> Vec<u8> {
    assert!(
        head.to_ascii_lowercase()
            .contains("transfer-encoding: chunked"),
        "{head}"
    );
    let mut body = Vec::new();
    loop {
        let mut size = Vec::new();
        while !size.ends_with(b"\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            size.push(byte[0]);
        }
        let size = std::str::from_utf8(&size).unwrap().trim();
        let size = usize::from_str_radix(size, 16).unwrap();
        let mut chunk = vec![0; size + 2];
        stream.read_exact(&mut chunk).unwrap();
        body.extend(&chunk[..size]);
        if size == 0 {
            return body;
        }
    }
}

#[test]
fn the_certificate_is_the_one_for_the_name() {
    let directory = tempfile::tempdir().unwrap();
    let first = certificate(directory.path(), "first", &["a.test"], 90);
    let second = certificate(directory.path(), "second", &["*.b.test", "c.test"], 90);
    let third = certificate(directory.path(), "third", &["x.b.test"], 90);
    let entry = |name| format!("{{ cert = \"{name}.pem\", key = \"{name}.key\" }}");
    let tls = format!(
        "{{ certificates = [{}, {}, {}] }}",
        entry("first"),
        entry("second"),
        entry("third")
    );
    let server = start(directory, &tls, "", "http://127.0.0.1:1", "");
    for versions in [&[&TLS12][..], &[&TLS13]] {
        for (name, wanted) in [
            ("a.test", &first),
            ("A.TEST", &first),
            ("c.test", &second),
            ("y.b.test", &second),
            ("x.b.test", &third),
            // A wildcard is for one label.
            ("z.y.b.test", &first),
            ("b.test", &first),
            ("unknown.test", &first),
            // No name is sent for an address.
            ("127.0.0.1", &first),
        ] {
            let (stream, _) = handshake(&server.site, name, versions, &["http/1.1"]);
            assert_eq!(&shown(&stream), wanted, "{name}");
        }
    }
}

#[test]
fn the_site_and_the_browser_learn_that_it_is_https() {
    let directory = tempfile::tempdir().unwrap();
    certificate(directory.path(), "site", &["site.test"], 90);
    let tls = "{ cert = \"site.pem\", key = \"site.key\", hsts = \"180d\" }";
    let server = start(directory, tls, "", &echo(), "");
    let response = exchange(open(&server.site, "site.test"), GET);
    let body = response.body.to_ascii_lowercase();
    assert!(body.contains("x-forwarded-proto: https\r\n"), "{body}");
    assert!(body.contains("proto=https\r\n"), "{body}");
    let cookie = response.header("set-cookie").unwrap();
    assert!(cookie.contains("; Secure"), "{cookie}");
    let hsts = response.header("strict-transport-security");
    assert_eq!(hsts, Some("max-age=15552000"));
    // A proxy in front that took it in the clear says so.
    let forwarded = GET.replace("\r\n\r\n", "\r\nX-Forwarded-Proto: http\r\n\r\n");
    let response = exchange(open(&server.site, "site.test"), &forwarded);
    assert!(
        response
            .body
            .to_ascii_lowercase()
            .contains("x-forwarded-proto: http\r\n")
    );
}

#[test]
fn hsts_is_not_sent_unasked_and_what_the_site_says_stays() {
    let site = upstream(|mut stream, _| {
        let _ = stream.write_all(
            b"HTTP/1.1 200 OK\r\nStrict-Transport-Security: max-age=1\r\n\
              Connection: close\r\nContent-Length: 0\r\n\r\n",
        );
    });
    let directory = tempfile::tempdir().unwrap();
    certificate(directory.path(), "site", &["site.test"], 90);
    let tls = "{ cert = \"site.pem\", key = \"site.key\", hsts = \"180d\" }";
    let server = start(directory, tls, "", &site, "");
    let response = exchange(open(&server.site, "site.test"), GET);
    assert_eq!(response.head.matches("max-age=").count(), 1, "{response:?}");
    assert_eq!(
        response.header("strict-transport-security"),
        Some("max-age=1")
    );

    let server = start_one("", &echo(), "");
    let response = exchange(open(&server.site, "site.test"), GET);
    assert_eq!(response.header("strict-transport-security"), None);
}

#[test]
fn an_ocsp_response_is_stapled_from_beside_the_certificate() {
    let directory = tempfile::tempdir().unwrap();
    certificate(directory.path(), "site", &["site.test"], 90);
    fs::write(directory.path().join("site.pem.ocsp"), b"stapled").unwrap();
    let tls = "{ cert = \"site.pem\", key = \"site.key\" }";
    let server = start(directory, tls, "", "http://127.0.0.1:1", "");
    let (_, witness) = handshake(&server.site, "site.test", &[&TLS13], &[]);
    assert_eq!(*witness.stapled.lock().unwrap(), b"stapled");
}

#[test]
fn a_reload_takes_renewed_certificates_and_keeps_connections() {
    let server = start_one("", &echo(), "");
    let mut kept = open(&server.site, "site.test");
    let old = shown(&kept);
    let new = certificate(server.directory.path(), "site", &["site.test"], 90);
    assert_ne!(old, new);
    assert_eq!(
        shown(&open(&server.site, "site.test")),
        old,
        "nothing was said yet"
    );
    assert!(read_again(&server).contains("was read again"));
    assert_eq!(shown(&open(&server.site, "site.test")), new);

    // One that cannot be used changes nothing.
    fs::write(server.directory.path().join("site.pem"), "nonsense").unwrap();
    assert!(read_again(&server).contains("nothing was changed"));
    let log = server.log();
    assert!(
        log.contains("pullgate.toml:3:16: listener[0].tls.cert: found"),
        "{log}"
    );
    assert_eq!(shown(&open(&server.site, "site.test")), new);

    // Whoever came with the first goes on with it.
    kept.write_all(GET.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = kept.read_to_end(&mut answer);
    assert!(answer.starts_with(b"HTTP/1.1 200 OK"), "{answer:?}");
}

#[test]
fn a_certificate_of_another_key_stops_the_start_and_one_that_ends_is_warned_of() {
    let directory = tempfile::tempdir().unwrap();
    certificate(directory.path(), "site", &["site.test"], 5);
    let config = directory.path().join("pullgate.toml");
    let text = "[[listener]]\naddress = \"127.0.0.1:1\"\n\
                tls = { cert = \"site.pem\", key = \"site.key\" }\n\
                [upstream]\nurl = \"http://127.0.0.1:8080\"\n[server]\nstate_dir = \"state\"\n";
    fs::write(&config, text).unwrap();
    let check = || {
        let output = pullgate()
            .arg("check")
            .arg("--config")
            .arg(&config)
            .output();
        let output = output.unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (succeeded, told) = check();
    assert!(succeeded, "{told}");
    assert!(
        told.contains(":3:16: warning: listener[0].tls.cert: this certificate ends at 20"),
        "{told}"
    );

    fs::copy(
        directory.path().join("site.pem"),
        directory.path().join("kept.pem"),
    )
    .unwrap();
    certificate(directory.path(), "site", &["site.test"], 90);
    let (succeeded, told) = check();
    assert!(succeeded && !told.contains("this certificate"), "{told}");
    fs::copy(
        directory.path().join("kept.pem"),
        directory.path().join("site.pem"),
    )
    .unwrap();
    let (succeeded, told) = check();
    assert!(
        !succeeded && told.contains("a key of another certificate"),
        "{told}"
    );
}

/// What came before the server ended the connection, which it must.
fn ended(stream: &mut impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    let waited = stream.read_to_end(&mut all);
    let waited = waited.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
    assert!(!waited, "the connection is still open");
    all
}

#[test]
fn who_says_nothing_or_half_of_it_is_let_go() {
    let server = start_one("header_timeout = \"1s\"\n", "http://127.0.0.1:1", "");
    // Nothing, the start of a handshake, and one that is none.
    for said in [
        &b""[..],
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        let mut stream = connect(&server.site);
        stream.write_all(said).unwrap();
        assert!(!ended(&mut stream).starts_with(b"HTTP"), "{said:?}");
    }
    wait_for(|| server.log().contains("a TLS handshake failed"));
    // So is who has shaken hands, and then says nothing.
    let mut stream = open(&server.site, "site.test");
    assert_eq!(ended(&mut stream), b"");
}

#[test]
fn large_bodies_go_both_ways() {
    const SIZE: usize = 20 << 20;
    let site = upstream(|mut stream, _| {
        let mut body = vec![0; SIZE];
        stream.read_exact(&mut body).unwrap();
        let head =
            format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {SIZE}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body).unwrap();
    });
    let server = start_one("", &site, "");
    let mut stream = open(&server.site, "site.test");
    let head = format!(
        "POST / HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\nContent-Length: {SIZE}\r\n\r\n"
    );
    let body = "0123456789abcdef".repeat(SIZE / 16).into_bytes();
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.starts_with(b"HTTP/1.1 200 OK"));
    assert!(answer.ends_with(&body));
}

pub(crate) fn websocket(server: &Server) -> tungstenite::WebSocket<TlsStream> {
    let channel = signed(server, A);
    let url = format!("ws://site.test/bitrix/subws/?CHANNEL_ID={channel}");
    let (socket, _) = tungstenite::client(url, open(&server.site, "site.test")).unwrap();
    socket
}

#[test]
fn a_websocket_gets_small_messages_and_large_ones() {
    let server = start_one("", "http://127.0.0.1:1", "");
    let mut socket = websocket(&server);
    wait_until_online(&server);
    // Larger than what a session takes at once, than a record, and than the kernel's buffer.
    for size in [10, 20_000, 900_000] {
        let body = format!("\"{}\"", "m".repeat(size));
        publish(&server, A, &body, 60);
        let Message::Text(text) = socket.read().unwrap() else {
            panic!("no text")
        };
        assert_eq!(bodies(&text), [body]);
    }
    socket.send(Message::Ping(vec![1, 2, 3].into())).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Pong(vec![1, 2, 3].into()));
    socket.close(None).unwrap();
    assert!(matches!(socket.read().unwrap(), Message::Close(_)));
}

#[test]
fn a_websocket_stays_over_a_renewal_and_is_sent_away_at_a_stop() {
    let server = start_one("", "http://127.0.0.1:1", "");
    let mut socket = websocket(&server);
    wait_until_online(&server);
    let old = shown(socket.get_ref());
    let new = certificate(server.directory.path(), "site", &["site.test"], 90);
    assert!(read_again(&server).contains("was read again"));
    assert_eq!(shown(&open(&server.site, "site.test")), new);
    publish(&server, A, "1", 60);
    let Message::Text(text) = socket.read().unwrap() else {
        panic!("no text")
    };
    assert_eq!(bodies(&text), ["1"]);
    assert_ne!(old, new);
    let ended = std::thread::spawn(|| server.terminate());
    let Message::Close(Some(close)) = socket.read().unwrap() else {
        panic!("no close")
    };
    assert_eq!(u16::from(close.code), 1001);
    let _ = socket.read();
    drop(socket);
    assert!(ended.join().unwrap().0);
}

#[test]
fn the_sites_own_websocket_goes_through() {
    let site = upstream(|mut stream, head| {
        assert!(
            head.to_ascii_lowercase().contains("upgrade: websocket"),
            "{head}"
        );
        let _ = stream.write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        );
        let mut bytes = [0; 5];
        stream.read_exact(&mut bytes).unwrap();
        stream.write_all(&bytes).unwrap();
    });
    let server = start_one("", &site, "");
    let mut stream = open(&server.site, "site.test");
    stream
        .write_all(b"GET /ws HTTP/1.1\r\nHost: site.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101"));
    stream.write_all(b"bytes").unwrap();
    let mut bytes = [0; 5];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"bytes");
}

#[test]
fn a_listener_in_the_clear_can_send_everybody_to_https() {
    let asked = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&asked);
    let site = upstream(move |_, _| *counted.lock().unwrap() += 1);
    let more = "[[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"admin\"\n\
                [[listener]]\naddress = \"127.0.0.1:0\"\nredirect = \"https\"\n";
    let server = start_one("", &site, more);
    wait_for(|| server.log().matches("role=site").count() == 2);
    let log = server.log();
    let address = log.rsplit("role=site address=").next().unwrap();
    let address = address.lines().next().unwrap().trim();
    let host = "Host: Shop.example:8080";
    let request = |method: &str, target: &str| {
        let mut stream = connect(address);
        write!(
            stream,
            "{method} {target} HTTP/1.1\r\n{host}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        crate::harness::read_response(stream)
    };
    let response = request("GET", "/a/?b=c%20d");
    assert_eq!(response.status, 301);
    assert_eq!(
        response.header("location"),
        Some("https://Shop.example/a/?b=c%20d")
    );
    assert_eq!(
        response.header("strict-transport-security"),
        None,
        "RFC 6797 7.2"
    );
    assert_eq!(request("POST", "/bitrix/pub/").status, 308);
    assert_eq!(request("GET", "/bitrix/sub/").status, 301);
    let ours = get(address, "/", &["Host: another"]);
    assert_eq!(ours.status, 400, "two hosts are none");
    assert_eq!(*asked.lock().unwrap(), 0);
}
