//! Who came, by what proxies in front say.

use crate::harness::{Server, free_port, get, send_raw, wait_for};
use crate::hook::Daemon;
use crate::proxy::mirror;

const MAY_PUBLISH: &str = "[push]\npublish_allow = [\"127.0.0.0/8\", \"::1\"]\n";

fn request(head: &str, lines: &[&[u8]], body: &str) -> Vec<u8> {
    let mut request = format!("{head} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n").into_bytes();
    for line in lines {
        request.extend_from_slice(line);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(format!("Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
    request
}

#[test]
fn an_unreadable_hop_may_not_publish() {
    let server = Server::start(&mirror(), MAY_PUBLISH);
    let status = |lines: &[&[u8]]| {
        let request = request("POST /bitrix/pub/", lines, "text");
        send_raw(&server.site, &request).status
    };
    assert_eq!(status(&[]), 200, "a trusted proxy's own request");
    for line in [
        b"X-Forwarded-For: \xff".as_slice(),
        b"X-Forwarded-For: \xff, 203.0.113.9",
        b"X-Forwarded-For: 203.0.113.9, \xff",
        b"X-Forwarded-For: unknown",
        b"X-Forwarded-For:",
        b"X-Forwarded-For: 127.0.0.1, ",
    ] {
        assert_eq!(status(&[line]), 403, "{}", line.escape_ascii());
        let behind = b"X-Forwarded-For: 127.0.0.1".as_slice();
        assert_eq!(status(&[line, behind]), 403, "{}", line.escape_ascii());
    }
    wait_for(|| server.log().contains("client=unknown"));
    wait_for(|| server.log().contains("client=203.0.113.9"));
}

#[test]
fn the_site_never_takes_an_unreadable_visitor_for_the_proxy() {
    let server = Server::start(&mirror(), "");
    let head = |lines: &[&[u8]]| send_raw(&server.site, &request("GET /", lines, "")).body;
    let unreadable = head(&[b"X-Forwarded-For: 6.6.6.6", b"X-Forwarded-For: \xe9"]);
    for line in [
        "X-Real-Ip: 0.0.0.0\r\n",
        "X-Forwarded-For: 6.6.6.6, 0.0.0.0, 127.0.0.1\r\n",
        "Forwarded: for=unknown;proto=http\r\n",
    ] {
        assert!(
            unreadable.contains(line),
            "{line} is missing in {unreadable}"
        );
    }
    let two_lines = head(&[
        b"X-Forwarded-For: 6.6.6.6",
        b"X-Forwarded-For: [2001:db8::1]:80",
    ]);
    for line in [
        "X-Real-Ip: 2001:db8::1\r\n",
        "X-Forwarded-For: 6.6.6.6, 2001:db8::1, 127.0.0.1\r\n",
    ] {
        assert!(two_lines.contains(line), "{line} is missing in {two_lines}");
    }
}

#[test]
fn the_nearest_proxys_word_on_the_scheme_and_host_counts() {
    let server = Server::start(&mirror(), "");
    let head = |lines: &[&[u8]]| send_raw(&server.site, &request("GET /", lines, "")).body;
    let forged = head(&[
        b"X-Forwarded-Proto: https",
        b"X-Forwarded-Proto: http",
        b"X-Forwarded-Host: evil, real",
    ]);
    assert!(forged.contains("X-Forwarded-Proto: http\r\n"), "{forged}");
    assert!(forged.contains("X-Forwarded-Host: real\r\n"), "{forged}");
    let secure = head(&[b"X-Forwarded-Proto: http, https"]);
    assert!(secure.contains("X-Forwarded-Proto: https\r\n"), "{secure}");
}

#[test]
fn nobody_gets_rid_of_what_a_proxy_says() {
    let server = Server::start(&mirror(), "");
    let lines: [&[u8]; 3] = [
        b"Connection: X-Forwarded-For, X-Forwarded-Proto",
        b"X-Forwarded-For: 1.2.3.4",
        b"X-Forwarded-Proto: https",
    ];
    let seen = send_raw(&server.site, &request("GET /", &lines, "")).body;
    assert!(
        seen.contains("X-Forwarded-For: 1.2.3.4, 127.0.0.1\r\n"),
        "{seen}"
    );
    assert!(seen.contains("X-Forwarded-Proto: https\r\n"), "{seen}");
}

#[test]
fn unreadable_visitors_share_one_limit_on_new_guests() {
    let server = Server::start(&mirror(), "[guest]\nnew_per_minute = 2\n");
    let given = (0..6).filter(|_| {
        let page = request(
            "GET /",
            &[b"Accept: text/html", b"X-Forwarded-For: \xff"],
            "",
        );
        send_raw(&server.site, &page).cookie().is_some()
    });
    assert_eq!(given.count(), 2);
}

#[test]
fn loopback_is_trusted_in_both_families() {
    let port = free_port();
    let listener = format!("[[listener]]\naddress = \"[::1]:{port}\"\n");
    let server = Server::start(&mirror(), &listener);
    wait_for(|| server.log().contains("ready"));
    let head = get(&format!("[::1]:{port}"), "/", &["X-Forwarded-For: 1.2.3.4"]).body;
    assert!(head.contains("X-Real-Ip: 1.2.3.4\r\n"), "{head}");
    assert!(head.contains("X-Forwarded-For: 1.2.3.4, ::1\r\n"), "{head}");
}

/// nginx joins what a client sends with the address that it sees, which nobody trusts here.
#[test]
fn nobody_publishes_through_nginx_by_a_broken_header() {
    let server = Server::start_with_more(
        "trusted_proxies = [\"127.0.0.1/32\"]\n",
        &mirror(),
        "[push]\npublish_allow = [\"127.0.0.1/32\"]\n",
    );
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let config = format!(
        "daemon off;\nworker_processes 1;\npid {pid};\nerror_log {log};\nevents {{}}\n\
         http {{\naccess_log off;\nclient_body_temp_path {temp};\nproxy_temp_path {temp};\n\
         fastcgi_temp_path {temp};\nuwsgi_temp_path {temp};\nscgi_temp_path {temp};\n\
         server {{\nlisten 127.0.0.2:{port};\nlocation / {{\nproxy_pass http://{site};\n\
         proxy_bind 127.0.0.1;\nproxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n\
         }}\n}}\n}}\n",
        pid = path("pid"),
        log = path("log"),
        temp = path("temp"),
        site = server.site,
    );
    std::fs::write(path("nginx.conf"), config).unwrap();
    let mut nginx = Daemon::start("nginx", &["-e", &path("log"), "-c", &path("nginx.conf")]);
    let front = format!("127.0.0.2:{port}");
    nginx.wait_until(|| std::net::TcpStream::connect(&front).is_ok());
    for line in [
        b"X-Forwarded-For: \xff".as_slice(),
        b"X-Forwarded-For: 127.0.0.1",
        b"X-Any: thing",
    ] {
        let publish = request("POST /bitrix/pub/", &[line], "text");
        let response = send_raw_from("127.0.0.3", &front, &publish);
        assert_eq!(response.status, 403, "{}", line.escape_ascii());
        let seen = send_raw_from("127.0.0.3", &front, &request("GET /", &[line], "")).body;
        assert!(seen.contains("X-Real-Ip: 127.0.0.3\r\n"), "{seen}");
    }
}

fn send_raw_from(from: &str, address: &str, request: &[u8]) -> crate::harness::Response {
    use std::io::Write;
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let from: std::net::SocketAddr = format!("{from}:0").parse().unwrap();
    socket.bind(&from.into()).unwrap();
    let address: std::net::SocketAddr = address.parse().unwrap();
    socket.connect(&address.into()).unwrap();
    let mut stream = std::net::TcpStream::from(socket);
    stream.write_all(request).unwrap();
    crate::harness::read_response(stream)
}
