//! Names and lines of headers, both ways: those of one name keep their order and stay apart, as with nginx. nginx leaves a
//! name as it was written; pullgate writes each as `Title-Case`, for names have no case (RFC 9110 5.1).

use std::io::Write;

use super::nginx::Nginx;
use crate::harness::{Server, get, upstream};

/// Answers with the head that it got, and lines of its own.
fn site() -> String {
    upstream(|mut stream, head| {
        let length = head.len();
        let _ = write!(
            stream,
            "HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nX-ONE: 1\r\nSet-Cookie: b=2\r\nx-one: 2, 3\r\n\
             ETag: \"e\"\r\nSET-COOKIE: a=3\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{head}"
        );
    })
}

/// The lines of a head: names as they are written, and values.
fn lines(head: &str) -> Vec<(&str, &str)> {
    let lines = head.lines().skip(1);
    lines.filter_map(|line| line.split_once(": ")).collect()
}

fn values<'a>(lines: &[(&str, &'a str)], name: &str) -> Vec<&'a str> {
    let of = lines.iter().filter(|(of, _)| of.eq_ignore_ascii_case(name));
    of.map(|(_, value)| *value).collect()
}

fn names<'a>(lines: &[(&'a str, &str)], among: &[&str]) -> Vec<&'a str> {
    let of = lines
        .iter()
        .filter(|(name, _)| among.iter().any(|of| of.eq_ignore_ascii_case(name)));
    of.map(|(name, _)| *name).collect()
}

#[test]
fn lines_of_one_name_keep_their_order() {
    let url = site();
    let pullgate = Server::start(&url, "");
    let nginx = Nginx::start(url.strip_prefix("http://").unwrap());
    let asked = [
        "X-B: 1",
        "x-a: Case Of Values",
        "X-b: 2, 3",
        "Cookie: z=1",
        "x-B: ",
        "cookie: a=2",
    ];
    for (front, address) in [("pullgate", &pullgate.site), ("nginx", &nginx.address)] {
        let response = get(address, "/", &asked);
        let (asked, answered) = (lines(&response.body), lines(&response.head));
        assert_eq!(values(&asked, "x-b"), ["1", "2, 3", ""], "{front}");
        assert_eq!(values(&asked, "x-a"), ["Case Of Values"], "{front}");
        assert_eq!(values(&asked, "cookie"), ["z=1", "a=2"], "{front}");
        let cookies = ["a=1", "b=2", "a=3"];
        assert_eq!(values(&answered, "set-cookie"), cookies, "{front}");
        assert_eq!(values(&answered, "x-one"), ["1", "2, 3"], "{front}");
        let mut asked = names(&asked, &["x-a", "x-b"]);
        let mut answered = names(&answered, &["x-one", "etag"]);
        asked.sort_unstable();
        answered.sort_unstable();
        let (to_the_site, to_the_client) = match front {
            "nginx" => (["X-B", "X-b", "x-B", "x-a"], ["ETag", "X-ONE", "x-one"]),
            _ => (["X-A", "X-B", "X-B", "X-B"], ["Etag", "X-One", "X-One"]),
        };
        assert_eq!(asked, to_the_site, "{front}");
        assert_eq!(answered, to_the_client, "{front}");
    }
}
