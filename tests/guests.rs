//! Guest numbers from the cookie to PHP.

use std::collections::HashSet;
use std::sync::Arc;

use crate::engine::{Engine, on_every_engine};
use crate::harness::{Php, Response, Server, get, read_response, send, upstream};
use std::io::Write;
use std::net::TcpStream;

pub(crate) const PAGE: [&str; 2] = ["Accept: text/html", "User-Agent: Mozilla/5.0"];
pub(crate) const SECRET: &str =
    "[guest]\nsecrets = [\"0123456789abcdef0123456789abcdef\"]\nnew_per_minute = 1000000\n";

/// A site whose every page is the number of the guest.
pub(crate) fn numbers() -> String {
    upstream(|mut stream, head| {
        let number = head
            .lines()
            .find_map(|line| line.strip_prefix("Pull-User-Id: "))
            .unwrap_or("none");
        let length = number.len();
        let _ = write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{number}"
        );
    })
}

fn page(server: &Server, target: &str, more: &[&str]) -> Response {
    get(&server.site, target, &[&PAGE, more].concat())
}

fn seen_by_php(response: &Response) -> Option<String> {
    response.json()["headers"]["HTTP_PULL_USER_ID"]
        .as_str()
        .map(str::to_owned)
}

/// The hook for the site behind this server.
pub(crate) fn printed_hook(server: &Server) -> String {
    let config = server.directory.path().join("pullgate.toml");
    let output = crate::harness::pullgate()
        .args(["php-hook", "--config", config.to_str().unwrap()])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The keys that PHP verifies tokens with, as the hook has them.
pub(crate) fn token_keys(server: &Server) -> String {
    let hook = printed_hook(server);
    let keys = hook.split("$keys = ['").nth(1).unwrap();
    keys[..64].to_owned()
}

fn a_cookie_that_is_not_utf8_hides_no_guest(engine: &Engine) {
    let site = upstream(|mut stream, head| {
        let number = head
            .lines()
            .find(|line| line.to_lowercase().starts_with("pull-user-id"));
        let body = number.unwrap_or_default();
        let length = body.len();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
        let _ = stream.write_all(answer.as_bytes());
    });
    let server = engine.start(&site, SECRET);
    let first = page(&server, "/", &[]);
    let mut request = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept: text/html\r\nCookie: {}; city=",
        first.cookie().unwrap()
    )
    .into_bytes();
    request.extend_from_slice(b"\xcc\xee\xf1\xea\xe2\xe0\r\n\r\n");
    let mut stream = TcpStream::connect(&server.site).unwrap();
    stream.write_all(&request).unwrap();
    let again = read_response(stream);
    assert_eq!((again.status, again.cookie()), (200, None), "no new number");
    assert_eq!(again.body, first.body);
}

fn a_guest_keeps_the_number_that_php_sees_and_verifies(engine: &Engine) {
    let keys = token_keys(&engine.start("http://127.0.0.1:1", SECRET));
    let php = Php::start(&keys);
    let server = engine.start(&php.url, SECRET);
    let first = page(&server, "/whoami.php", &[]);
    let number = seen_by_php(&first).expect("the first page already has the number");
    assert!(number.parse::<i32>().unwrap() < 0);
    assert_eq!(
        first.json()["guest"].to_string(),
        number,
        "the token verifies"
    );
    let set = first.header("set-cookie").unwrap();
    assert!(
        set.contains("HttpOnly")
            && set.contains("SameSite=Lax")
            && set.contains("Path=/")
            && !set.contains("Secure")
    );
    let cookie = format!("Cookie: other=1; {}", first.cookie().unwrap());
    // The cookie counts on every request, also one that would mint nothing.
    for target in ["/whoami.php", "/whoami.php?x.css"] {
        let again = get(&server.site, target, &[&cookie]);
        assert_eq!(seen_by_php(&again), Some(number.clone()));
        assert_eq!(again.header("set-cookie"), None);
    }
    let other = page(&server, "/whoami.php", &[]);
    assert_ne!(seen_by_php(&other), Some(number.clone()));
    let forged = format!("Cookie: PULL_GUEST=1.5.1800000000.{}", "a".repeat(64));
    let stranger = page(&server, "/whoami.php", &[&forged]);
    assert!(!["-5".to_owned(), number].contains(&seen_by_php(&stranger).unwrap()));
    assert!(
        page(&server, "/whoami.php", &["X-Forwarded-Proto: https"])
            .header("set-cookie")
            .unwrap()
            .contains("Secure")
    );
}

fn who_opens_no_page_gets_no_number(engine: &Engine) {
    let php = Php::start("");
    let server = engine.start(&php.url, SECRET);
    let none = |method: &str, target: &str, headers: &[&str]| {
        let response = send(&server.site, method, target, headers, "");
        assert_eq!(
            (response.status, response.header("set-cookie")),
            (200, None),
            "{method} {target} {headers:?}"
        );
        assert_eq!(seen_by_php(&response), None);
    };
    none("POST", "/whoami.php", &PAGE);
    none("GET", "/whoami.php", &["Accept: */*"]);
    none(
        "GET",
        "/whoami.php",
        &["Accept: text/html", "Sec-Fetch-Dest: image"],
    );
    none(
        "GET",
        "/whoami.php",
        &["Accept: text/html", "User-Agent: Googlebot/2.1"],
    );
    let limited = engine.start(&php.url, "[guest]\nnew_per_minute = 2\n");
    let minted = (0..5)
        .filter(|_| page(&limited, "/whoami.php", &[]).cookie().is_some())
        .count();
    assert_eq!(minted, 2);
}

fn no_spelling_of_a_forged_header_reaches_php(engine: &Engine) {
    let php = Php::start("");
    let server = engine.start(&php.url, SECRET);
    let mut names = Vec::new();
    for name in ["pull-user-id", "pull-user-token"] {
        for separators in [
            "--", "-_", "_-", "__", "..", ".-", "-.", "._", "_.", "~-", "-!", "+-", "'_",
        ] {
            let (first, second) = separators.split_at(1);
            let spelt = name
                .replacen('-', "\0", 1)
                .replacen('-', second, 1)
                .replace('\0', first);
            names.push(spelt.to_uppercase());
            names.push(spelt);
        }
    }
    assert!(names.len() >= 40);
    for name in names {
        let forged = format!("{name}: -99");
        let twice = [forged.as_str(), forged.as_str(), "Accept: */*"];
        let response = get(&server.site, "/headers.php", &twice);
        assert_eq!(response.status, 200);
        assert!(!response.body.contains("-99"), "{name}: {}", response.body);
    }
    // Naming ours in Connection takes nothing away from what we add.
    let named = page(
        &server,
        "/whoami.php",
        &["Connection: Pull-User-Id, Pull-User-Token"],
    );
    assert!(seen_by_php(&named).is_some());
}

fn a_page_with_our_cookie_is_kept_by_nobody_else(engine: &Engine) {
    let shared = upstream(|mut stream, _| {
        let _ = stream.write_all(
            b"HTTP/1.1 200 OK\r\nCache-Control: public, s-maxage=60\r\nExpires: Thu, 01 Jan 2099 00:00:00 GMT\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        );
    });
    let server = engine.start(&shared, "");
    let response = page(&server, "/", &[]);
    assert!(response.cookie().is_some());
    assert_eq!(
        (response.header("cache-control"), response.header("expires")),
        (Some("private"), None)
    );
    let deferring = engine.start(&shared, "[guest]\nshared_cache = \"defer\"\n");
    let response = page(&deferring, "/", &[]);
    assert_eq!(
        (response.cookie(), response.header("cache-control")),
        (None, Some("public, s-maxage=60"))
    );
}

fn ten_thousand_guests_over_three_crashes_are_ten_thousand(engine: &Engine) {
    let site = numbers();
    let mut directory = Arc::new(tempfile::tempdir().unwrap());
    let mut numbers = HashSet::new();
    for _ in 0..4 {
        let server = engine.start_in(
            Arc::clone(&directory),
            &site,
            "[log]\naccess = false\n[guest]\nnew_per_minute = 1000000\n",
        );
        let minted: Vec<String> = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        (0..625)
                            .map(|_| page(&server, "/", &[]).body)
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            clients
                .into_iter()
                .flat_map(|client| client.join().unwrap())
                .collect()
        });
        for number in minted {
            assert!(number.starts_with('-'), "{number}");
            assert!(numbers.insert(number.clone()), "{number} was given twice");
        }
        directory = server.kill();
    }
    assert_eq!(numbers.len(), 10_000);
}

fn metrics_count_new_guests(engine: &Engine) {
    let php = Php::start("");
    let admin = format!("{SECRET}[[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"admin\"\n");
    let server = engine.start(&php.url, &admin);
    crate::harness::wait_for(|| server.log().contains("role=admin"));
    let log = server.log();
    let address = log
        .split("role=admin address=")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap();
    for _ in 0..3 {
        page(&server, "/whoami.php", &[]);
    }
    let metrics = get(address, "/metrics", &[]);
    // For no page of any site.
    assert_eq!(metrics.header("access-control-allow-origin"), None);
    assert!(metrics.header("x-request-id").is_some());
    let metrics = metrics.body;
    assert!(
        metrics.contains("\npullgate_guests_new_total 3\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("\npullgate_guest_ids_exhausted 0\n"),
        "{metrics}"
    );
    assert_eq!(get(address, "/healthz", &[]).body, "ok\n");
    assert_eq!(get(address, "/index.php", &[]).status, 404);
}

on_every_engine!(
    a_cookie_that_is_not_utf8_hides_no_guest,
    a_guest_keeps_the_number_that_php_sees_and_verifies,
    who_opens_no_page_gets_no_number,
    no_spelling_of_a_forged_header_reaches_php,
    a_page_with_our_cookie_is_kept_by_nobody_else,
    ten_thousand_guests_over_three_crashes_are_ten_thousand,
    metrics_count_new_guests,
);
