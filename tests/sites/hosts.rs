//! Which site a request is for.

use std::io::{Read, Write};

use super::{BLOG, SHOP, Sites, ask, named, next, site, websocket};
use crate::harness::{connect, read_response, send_raw, wait_for};
use crate::push::{A, bodies};

/// What the back end of a host says: a site's name; None for 421.
fn whose(sites: &Sites, request: &str) -> Option<String> {
    let answer = send_raw(&sites.server.site, request.as_bytes());
    match answer.status {
        421 => None,
        200 => Some(answer.body.split(' ').next().unwrap().to_owned()),
        status => panic!("{status}: {request}"),
    }
}

fn of_host(sites: &Sites, host: &str) -> Option<String> {
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    whose(sites, &request)
}

fn three(default: &str) -> Sites {
    let shop = format!(
        "[[site]]\nname = \"shop\"\nhosts = [\"shop.example\", \"*.shop.example\"]\nupstream.url = \"{}\"\n",
        named("shop")
    );
    let deep = format!(
        "[[site]]\nname = \"deep\"\nhosts = [\"*.deep.shop.example\", \"Best.Shop.example\"]\nupstream.url = \"{}\"\n",
        named("deep")
    );
    let blog = site("blog", &named("blog"), default);
    Sites::start(&["shop", "blog", "deep"], &(shop + &blog + &deep))
}

#[test]
fn the_host_chooses() {
    let sites = three("");
    for (host, name) in [
        (SHOP, Some("shop")),
        ("SHOP.Example", Some("shop")),
        ("shop.example:8080", Some("shop")),
        ("shop.example.", Some("shop")),
        ("Shop.example.:80", Some("shop")),
        ("www.shop.example", Some("shop")),
        ("a.b.shop.example:81", Some("shop")),
        ("a.deep.shop.example", Some("deep")),
        ("deep.shop.example", Some("shop")),
        ("best.shop.example", Some("deep")),
        (BLOG, Some("blog")),
        ("www.blog.example", None),
        ("myshop.example", None),
        ("example", None),
        ("127.0.0.1", None),
        ("[::1]:80", None),
    ] {
        assert_eq!(of_host(&sites, host).as_deref(), name, "{host}");
    }
    let log = || sites.server.log();
    wait_for(|| log().contains("access: site=\"blog\" client=127.0.0.1"));
    wait_for(|| log().contains("access: site=\"shop\" client=127.0.0.1"));
    // Nobody's: no site is named.
    wait_for(|| log().contains("access: client=127.0.0.1 method=GET uri=\"/\" status=421"));
}

#[test]
fn without_a_default_nobodys_hosts_get_421() {
    let sites = three("");
    for (request, name) in [
        ("GET / HTTP/1.0\r\n\r\n", None),
        ("GET / HTTP/1.0\r\nHost: blog.example\r\n\r\n", Some("blog")),
        ("GET http://blog.example/ HTTP/1.0\r\n\r\n", Some("blog")),
        (
            "GET http://Blog.example:80/ HTTP/1.1\r\nHost: blog.example\r\nConnection: close\r\n\r\n",
            Some("blog"),
        ),
        (
            "GET http://other.example/ HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n",
            None,
        ),
    ] {
        assert_eq!(whose(&sites, request).as_deref(), name, "{request}");
    }
    // Nor is anything pushed there.
    let poll = sites.get("other.example", "/bitrix/sub/?CHANNEL_ID=x", &[]);
    assert_eq!(poll.status, 421);
    let health = ask(
        &sites.server.admin(),
        "GET",
        "other.example",
        "/healthz",
        &[],
        "",
    );
    assert_eq!(health.body, "ok\n", "the administrator is no site's");
}

#[test]
fn a_default_takes_all_others() {
    let sites = three("default = true");
    for (request, name) in [
        ("GET / HTTP/1.0\r\n\r\n", "blog"),
        ("GET / HTTP/1.0\r\nHost: other.example\r\n\r\n", "blog"),
        ("GET http://shop.example/ HTTP/1.0\r\n\r\n", "shop"),
    ] {
        assert_eq!(whose(&sites, request).as_deref(), Some(name), "{request}");
    }
    assert_eq!(of_host(&sites, "other.example").as_deref(), Some("blog"));
    assert_eq!(of_host(&sites, "a.shop.example").as_deref(), Some("shop"));
    // What is unclear is nobody's, not the default's.
    for heads in [
        "",
        "Host: shop.example\r\nHost: blog.example\r\n",
        "Host: shop..example\r\n",
    ] {
        let request = format!("GET / HTTP/1.1\r\n{heads}Connection: close\r\n\r\n");
        let answer = send_raw(&sites.server.site, request.as_bytes());
        assert_eq!(answer.status, 400, "{request}");
    }
    let mismatch =
        "GET http://shop.example/ HTTP/1.1\r\nHost: blog.example\r\nConnection: close\r\n\r\n";
    assert_eq!(
        send_raw(&sites.server.site, mismatch.as_bytes()).status,
        400
    );
}

#[test]
fn one_connection_carries_requests_for_both() {
    let sites = three("");
    let mut stream = connect(&sites.server.site);
    for (host, body) in [
        (SHOP, "shop nobody"),
        (BLOG, "blog nobody"),
        (SHOP, "shop nobody"),
    ] {
        write!(stream, "GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
        let head = crate::harness::read_head(&mut stream);
        assert!(head.contains("Content-Length: 11"), "{head}");
        let mut page = [0; 11];
        stream.read_exact(&mut page).unwrap();
        assert_eq!(page, body.as_bytes());
    }
}

#[test]
fn a_listener_that_is_a_sites_serves_it_alone() {
    let (shop, blog) = (named("shop"), named("blog"));
    let sites = Sites::start(
        &["shop", "blog"],
        &format!(
            "{}{}[[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"site\"\nsite = \"blog\"\n",
            site("shop", &shop, ""),
            site("blog", &blog, "")
        ),
    );
    let blogs = sites.server.address("role=site site=blog");
    for host in [SHOP, BLOG, "other.example"] {
        let page = ask(&blogs, "GET", host, "/", &[], "");
        assert_eq!(page.body, "blog nobody", "{host}");
    }
    let bare = send_raw(&blogs, b"GET / HTTP/1.0\r\n\r\n");
    assert_eq!(bare.body, "blog nobody");
}

/// An nginx in front sends websockets with `Host: nodejs_sub`, and long polls in HTTP/1.0.
#[test]
fn a_publish_listener_is_its_sites_whatever_host_says() {
    let nowhere = ("http://127.0.0.1:1", "");
    let sites = Sites::shop_and_blog(nowhere, nowhere, "");
    let (shop, blog) = (
        sites.publish_listener("shop"),
        sites.publish_listener("blog"),
    );
    let (of_shop, of_blog) = (sites.signed("shop", A), sites.signed("blog", A));
    let mut socket = websocket(&shop, "nodejs_sub", &format!("CHANNEL_ID={of_shop}"));
    let poll = |address: &str, host: &str, channel: &str| {
        let mut stream = connect(address);
        write!(
            stream,
            "GET /bitrix/sub/?CHANNEL_ID={channel} HTTP/1.0\r\n{host}\r\n"
        )
        .unwrap();
        stream
    };
    let polls = [
        poll(&blog, "Host: nodejs_sub\r\n", &of_blog),
        poll(&blog, "Host: shop.example\r\n", &of_blog),
        poll(&blog, "", &of_blog),
    ];
    wait_for(|| sites.statistics("blog")["pollings"] == 3);
    wait_for(|| sites.online("shop", A));
    // Each published with the other's host.
    for (address, host, body) in [(&blog, SHOP, "to blog"), (&shop, BLOG, "to shop")] {
        let target = format!("/bitrix/pub/?CHANNEL_ID={A}");
        assert_eq!(ask(address, "POST", host, &target, &[], body).status, 200);
    }
    assert_eq!(next(&mut socket), "to shop");
    for poll in polls {
        let answer = read_response(poll);
        assert_eq!(
            (answer.status, bodies(&answer.body)),
            (200, vec!["to blog"])
        );
    }
}
