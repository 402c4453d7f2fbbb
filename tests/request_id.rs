//! `X-Request-Id`: one id at the site, in the answer, in the log and on the page of an error.

use crate::harness::{Php, Response, Server, get, wait_for};
use crate::proxy::mirror;

fn id(response: &Response) -> String {
    response.header("x-request-id").unwrap().to_owned()
}

#[test]
fn one_is_made_and_php_the_log_and_the_client_have_it() {
    let folder = tempfile::tempdir().unwrap();
    let script = "<?php header('X-Request-Id: of-the-site'); echo $_SERVER['HTTP_X_REQUEST_ID'];";
    std::fs::write(folder.path().join("index.php"), script).unwrap();
    let folder = format!("{}/", folder.path().display());
    let php = Php::serve(crate::harness::free_port(), &folder, &[]);
    let server = Server::start_with("trusted_proxies = []\n", &php.url);
    let forged = [
        "X-Request-Id: forged",
        "X_Request_Id: forged",
        "X.Request.Id: forged",
    ];
    let page = get(&server.site, "/", &forged);
    let made = id(&page);
    assert_eq!(page.body, made);
    assert_eq!(page.head.matches(&made).count(), 1, "{page:?}");
    assert!(!page.head.contains("of-the-site"), "{page:?}");
    assert!(made.len() == 32 && made.bytes().all(|byte| byte.is_ascii_hexdigit()));
    wait_for(|| server.log().contains(&format!("request={made}")));
    assert_ne!(id(&get(&server.site, "/", &forged)), made);
}

#[test]
fn a_trusted_proxys_is_kept() {
    let server = Server::start(&mirror(), "");
    let page = get(&server.site, "/", &["X-Request-Id: of-the-proxy"]);
    assert_eq!(id(&page), "of-the-proxy");
    assert!(
        page.body.contains("X-Request-Id: of-the-proxy\r\n"),
        "{page:?}"
    );
    let named = ["X-Request-Id: of-the-proxy", "Connection: x-request-id"];
    let page = get(&server.site, "/", &named);
    assert!(
        page.body.contains("X-Request-Id: of-the-proxy\r\n"),
        "{page:?}"
    );
    let page = get(&server.site, "/", &["X-Request-Id: <b>"]);
    assert_eq!(id(&page).len(), 32);
}

#[test]
fn an_error_has_the_same_on_its_page_and_in_both_lines_of_the_log() {
    let server = Server::start("http://127.0.0.1:1", "");
    let page = get(&server.site, "/", &[]);
    assert_eq!(page.status, 502);
    let made = id(&page);
    assert!(
        page.body.contains(&format!("<code>{made}</code>")),
        "{page:?}"
    );
    assert_eq!(page.header("x-robots-tag"), Some("noindex"));
    wait_for(|| server.log().matches(&format!("request={made}")).count() == 2);
}
