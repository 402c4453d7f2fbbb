use super::*;

fn target() -> Target {
    "http://127.0.0.1:7".parse().unwrap()
}

#[test]
fn targets() {
    assert_eq!(target().to_string(), "http://127.0.0.1:7");
    let v6: Target = "http://[::1]:80/".parse().unwrap();
    assert_eq!((v6.host.as_str(), v6.port), ("::1", 80));
    let v6: Target = "http://[::1]".parse().unwrap();
    assert_eq!((v6.host.as_str(), v6.port), ("::1", 80));
    for bad in [
        "https://x",
        "x:80",
        "http://",
        "http://x/path",
        "http://x:y",
    ] {
        assert!(bad.parse::<Target>().is_err(), "{bad}");
    }
}

#[test]
fn only_the_host_of_a_request_changes() {
    let request = Request {
        method: "POST".into(),
        target: "http://old:1/pub/?a=b#c".into(),
        headers: [
            ("hOst", "old:1"),
            ("X", "é"),
            ("Transfer-Encoding", "chunked"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
        version: Some("1.0".into()),
        body: Some(b"seventeen letters".into()),
    };
    assert_eq!(
        encode(&request, &target()),
        b"POST http://127.0.0.1:7/pub/?a=b#c HTTP/1.0\r\nhOst: 127.0.0.1:7\r\nX: \xe9\r\n\
          Transfer-Encoding: chunked\r\n\r\n11\r\nseventeen letters\r\n0\r\n\r\n"
    );
    assert_eq!(
        with_target_host(b"GET / HTTP/1.1\r\nHost: old\r\nX: y\r\n\r\n", &target()),
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1:7\r\nX: y\r\n\r\n"
    );
}
