//! What a site may have under way, whoever asks for it.

use std::io::Write;
use std::net::TcpStream;
use std::sync::{Arc, Barrier};

use super::{BLOG, SHOP, Sites, named, next};
use crate::harness::{SIGNATURE_KEY, connect, read_head, upstream, wait_for};
use crate::push::A;

/// A back end that answers `/later` when the test has come, too.
fn patient(come: &Arc<Barrier>) -> String {
    let come = Arc::clone(come);
    upstream(move |mut stream, head| {
        if head.starts_with("GET /later ") {
            come.wait();
        }
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nshop";
        let _ = stream.write_all(answer);
    })
}

#[test]
fn a_site_has_so_many_requests_under_way_and_others_go_on() {
    let come = Arc::new(Barrier::new(2));
    let limit = "[site.limits]\nconcurrent_requests = 3\n";
    let key = format!("[push]\nsignature_key = \"{SIGNATURE_KEY}\"\n");
    let sites = Sites::shop_and_blog((&patient(&come), limit), (&named("blog"), ""), &key);
    let channel = sites.signed("shop", A);
    let ask = |target: &str| {
        let mut stream = connect(&sites.server.site);
        write!(stream, "GET {target} HTTP/1.1\r\nHost: {SHOP}\r\n\r\n").unwrap();
        stream
    };
    let under_way = |count| {
        wait_for(|| sites.server.metric("pullgate_requests{site=\"shop\"}") == count);
    };
    let status = |stream: &mut TcpStream| read_head(stream)[9..12].to_owned();
    let mut socket = sites.websocket(SHOP, &channel);
    let mut poll = ask(&format!("/bitrix/sub/?CHANNEL_ID={channel}"));
    let mut later = ask("/later");
    under_way(3);
    let mut refused = ask("/");
    let head = read_head(&mut refused);
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(head.contains("Retry-After: 1\r\n"), "{head}");
    assert!(!head.contains("Connection: close"), "{head}");
    let reason = "pullgate_refused_total{reason=\"concurrent_requests\"}";
    assert_eq!(sites.server.metric(reason), 1);
    assert_eq!(sites.get(BLOG, "/", &[]).body, "blog nobody");
    // The site's PHP publishes all the same. An answered poll makes room, and so does each of the others.
    sites.publish("shop", A, "news", 0);
    assert_eq!(next(&mut socket), "news");
    assert_eq!(status(&mut poll), "200");
    under_way(2);
    assert_eq!(status(&mut ask("/")), "200");
    under_way(2);
    come.wait();
    assert_eq!(status(&mut later), "200");
    under_way(1);
    drop(socket);
    under_way(0);
}
