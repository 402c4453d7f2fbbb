//! Checks: who fails them gets no request, and is in again without one.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::{dead, metric, start_with, word};
use crate::harness::{Server, free_port, pullgate, read_head, upstream, wait_for};
use crate::reload::{reload, site};

const LONG: Duration = Duration::from_secs(60);

const CHECKS: &str =
    "[upstream.health]\npath = \"/health?deep\"\ninterval = \"20ms\"\ntimeout = \"60s\"\n";

/// A back end whose health a test decides, and which counts what it is asked.
#[derive(Clone, Default)]
struct Patient {
    is_well: Arc<AtomicBool>,
    checks: Arc<AtomicUsize>,
    pages: Arc<AtomicUsize>,
}

impl Patient {
    fn new(is_well: bool) -> Self {
        let new = Self::default();
        new.set(is_well);
        new
    }

    fn set(&self, is_well: bool) {
        self.is_well.store(is_well, Ordering::SeqCst);
    }

    fn checks(&self) -> usize {
        self.checks.load(Ordering::SeqCst)
    }

    fn pages(&self) -> usize {
        self.pages.load(Ordering::SeqCst)
    }

    /// The answer to a request with this head.
    fn answer(&self, head: &str, word: &str) -> String {
        let status = match head.starts_with("GET /health?deep HTTP/1.1\r\n") {
            true => {
                self.checks.fetch_add(1, Ordering::SeqCst);
                match self.is_well.load(Ordering::SeqCst) {
                    true => "204 No Content\r\n\r\n".to_owned(),
                    false => "503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_owned(),
                }
            }
            false => {
                self.pages.fetch_add(1, Ordering::SeqCst);
                format!(
                    "200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{word}",
                    word.len()
                )
            }
        };
        format!("HTTP/1.1 {status}")
    }

    fn serve(&self, word: &'static str) -> String {
        let patient = self.clone();
        upstream(move |mut stream, head| {
            let _ = stream.write_all(patient.answer(&head, word).as_bytes());
        })
    }
}

#[test]
fn who_fails_its_checks_gets_no_request_until_one_succeeds() {
    let (sick, well) = (Patient::new(false), Patient::new(true));
    let (sick_at, well_at) = (sick.serve("sick"), well.serve("well"));
    let server = start_with(&[&sick_at, &well_at], CHECKS);
    wait_for(|| metric(&server, "up", &sick_at, 0));
    assert!(metric(&server, "check_failing", &sick_at, 1));
    assert!(!metric(&server, "check_failures_total", &sick_at, 0));
    let why = "a back end is out: it fails its checks";
    wait_for(|| server.log().contains(why));
    let told = server.log();
    let line = told.lines().find(|line| line.contains(why)).unwrap();
    assert!(line.contains(&sick_at) && line.contains("503"), "{line}");
    for _ in 0..10 {
        assert_eq!(word(&server), "well");
    }
    assert_eq!(sick.pages(), 0);
    // It is in again while nobody asks for a page.
    sick.set(true);
    wait_for(|| metric(&server, "up", &sick_at, 1));
    assert!(metric(&server, "check_failing", &sick_at, 0));
    assert_eq!((sick.pages(), well.pages()), (0, 10));
    wait_for(|| server.log().contains("a back end is in again"));
    wait_for(|| word(&server) == "sick");
}

#[test]
fn while_all_fail_their_checks_all_are_asked() {
    let (one, other) = (Patient::new(false), Patient::new(false));
    let (one_at, other_at) = (one.serve("one"), other.serve("other"));
    let server = start_with(&[&one_at, &other_at], CHECKS);
    wait_for(|| metric(&server, "up", &one_at, 0) && metric(&server, "up", &other_at, 0));
    for _ in 0..10 {
        word(&server);
    }
    assert!(one.pages() > 0 && other.pages() > 0);
    // Being asked brings nobody in.
    assert!(metric(&server, "up", &one_at, 0) && metric(&server, "up", &other_at, 0));
}

#[test]
fn who_refuses_is_in_again_by_a_check() {
    let port = free_port();
    let (gone, well) = (format!("http://127.0.0.1:{port}"), site("well"));
    let server = start_with(&[&gone, &well], CHECKS);
    wait_for(|| metric(&server, "check_failing", &gone, 1));
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let back = Patient::new(true);
    let served = back.clone();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let head = read_head(&mut stream);
            let _ = stream.write_all(served.answer(&head, "back").as_bytes());
        }
    });
    wait_for(|| metric(&server, "up", &gone, 1));
    assert_eq!(back.pages(), 0);
    wait_for(|| word(&server) == "back");
}

#[test]
fn a_check_goes_over_a_unix_socket_and_names_the_host() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("site.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let (told, heads) = channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read > 0)
            {
                head.push(byte[0]);
            }
            // Without an end, and more than anybody wants.
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            while stream.write_all(&[b'.'; 4096]).is_ok() {}
            let _ = told.send(String::from_utf8(head).unwrap());
        }
    });
    let url = format!("unix:{}", path.display());
    let server = start_with(&[&url], &format!("{CHECKS}host = \"shop.example:81\"\n"));
    // Only when the connection has been closed is the next one taken.
    for _ in 0..3 {
        let head = heads.recv_timeout(LONG).unwrap();
        let lower = head.to_ascii_lowercase();
        assert!(head.starts_with("GET /health?deep HTTP/1.1\r\n"), "{head}");
        assert!(lower.contains("\r\nhost: shop.example:81\r\n"), "{head}");
    }
    assert!(metric(&server, "up", &url, 1));
    assert!(metric(&server, "check_failures_total", &url, 0));
}

/// The site `shop` with these lines more, and `others`.
fn start_sites(shop: &str, others: &str) -> Server {
    let text = format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"site\"\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"publish\"\nsite = \"shop\"\n\
         [server]\nstate_dir = \"state\"\nthreads = 2\n{CHECKS}\
         [[site]]\nname = \"shop\"\n{shop}{others}"
    );
    let directory = Arc::new(tempfile::tempdir().unwrap());
    Server::run_as_configured(pullgate(), directory, &text)
}

#[test]
fn the_host_is_the_sites_first_name_where_no_other_is_given() {
    let (told, heads) = channel();
    let told = Mutex::new(told);
    let shop = upstream(move |mut stream, head| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        let _ = told.lock().unwrap().send(head);
    });
    let hosts = "hosts = [\"*.shop.example\", \"shop.example\"]\n";
    let _server = start_sites(&format!("{hosts}upstream.url = {shop:?}\n"), "");
    let head = heads.recv_timeout(LONG).unwrap().to_ascii_lowercase();
    assert!(head.contains("\r\nhost: shop.example\r\n"), "{head}");
}

#[test]
fn checks_end_with_their_site() {
    let (shop, blog) = (Patient::new(true), Patient::new(true));
    let of_shop = format!("default = true\nupstream.url = {:?}\n", shop.serve("shop"));
    let of_blog = format!(
        "[[site]]\nname = \"blog\"\nhosts = [\"blog.example\"]\nupstream.url = {:?}\n",
        blog.serve("blog")
    );
    let server = start_sites(&of_shop, &of_blog);
    wait_for(|| shop.checks() > 0 && blog.checks() > 0);
    reload(&server, &of_blog, "");
    wait_for(|| is_left_alone(&blog, &shop));
}

/// Whether one is not checked while another one is. The last checks may still be on their way: it is so at some time.
fn is_left_alone(one: &Patient, other: &Patient) -> bool {
    let before = (one.checks(), other.checks());
    wait_for(|| other.checks() >= before.1 + 20);
    one.checks() == before.0
}

#[test]
fn a_status_is_expected_and_so_many_checks_must_fail() {
    let (page, dead) = (site("page"), dead());
    // The page answers 200.
    let more = format!("{CHECKS}expect = 204\nmax_failures = 3\n");
    let server = start_with(&[&page, &dead], &more);
    for back_end in [&page, &dead] {
        wait_for(|| metric(&server, "up", back_end, 0));
        for too_few in 0..3 {
            assert!(!metric(&server, "check_failures_total", back_end, too_few));
        }
    }
    reload(&server, "expect = 204", "expect = 200");
    wait_for(|| metric(&server, "up", &page, 1));
    assert!(metric(&server, "up", &dead, 0));
}

#[test]
fn a_check_that_is_not_answered_in_time_fails() {
    let hanging = upstream(|mut stream, _| {
        let _ = stream.read(&mut [0]);
    });
    let more = CHECKS.replace("60s", "100ms");
    let server = start_with(&[&hanging], &more);
    wait_for(|| metric(&server, "check_failing", &hanging, 1));
    wait_for(|| server.log().contains("it did not answer within 100ms"));
}

#[test]
fn checks_end_with_a_reload_that_takes_them_or_the_back_end_out() {
    let (one, other) = (Patient::new(false), Patient::new(true));
    let (one_at, other_at) = (one.serve("one"), other.serve("other"));
    let server = start_with(&[&one_at, &other_at], CHECKS);
    wait_for(|| metric(&server, "up", &one_at, 0));
    reload(&server, &format!("{one_at:?}, "), "");
    wait_for(|| is_left_alone(&one, &other));
    // There again: what is known of it is new.
    reload(&server, "urls = [", &format!("urls = [{one_at:?}, "));
    wait_for(|| metric(&server, "up", &one_at, 0));
    reload(&server, "path = \"/health?deep\"\n", "");
    // Nothing else would bring it in.
    wait_for(|| metric(&server, "up", &one_at, 1));
    wait_for(|| word(&server) == "one");
}
