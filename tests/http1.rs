//! HTTP/1.1 as bytes: what clients and sites send, what gets through, and what nginx makes of the same.

mod answers;
mod cases;
mod nginx;
mod parked;
mod site;
mod spelling;
mod turns;

use std::io::{Read, Write};

use crate::harness::{Server, connect, root};
use answers::{ANSWERS, Answer};
use cases::{CASES, Case, Seen};
use nginx::Nginx;
use site::Site;

/// Goes behind every case, so that the connection ends. What of a case runs over swallows it, or shows before it.
const END: &[u8] = b"GET /end HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

/// The two servers in front of one site.
struct Fronts {
    site: Site,
    pullgate: Server,
    nginx: Nginx,
}

impl Fronts {
    fn start() -> Self {
        let site = Site::start();
        Self {
            pullgate: Server::start(&format!("http://{}", site.address), ""),
            nginx: Nginx::start(&site.address),
            site,
        }
    }
}

/// Sends bytes and the end behind them; all that comes.
fn exchange(front: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(front);
    // Who refuses early may have closed already.
    let _ = stream.write_all(&[bytes, END].concat());
    let mut answers = Vec::new();
    let _ = stream.read_to_end(&mut answers);
    answers
}

/// The status of every answer: nothing else here looks like a status line.
fn statuses(answers: &[u8]) -> String {
    let text = String::from_utf8_lossy(answers);
    let lines = text.split("HTTP/1.").skip(1);
    let statuses: Vec<&str> = lines.filter_map(|line| line.get(2..5)).collect();
    statuses.join(" ")
}

/// Sends a case, and looks at both ends. A request that broke off is none.
fn run(front: &str, site: &Site, case: &Case) -> (String, Vec<String>) {
    let answers = statuses(&exchange(front, case.sent));
    let mut came = site.came();
    came.retain(|request| !request.ends_with(" =broken off"));
    (answers, came)
}

/// Lets the site answer so, and gives what came.
fn ask(front: &str, site: &Site, answer: &Answer) -> Vec<u8> {
    site.answers(answer.sent, false);
    let request = format!("{} / HTTP/1.1\r\nHost: h\r\n\r\n", answer.method);
    let answers = exchange(front, request.as_bytes());
    site.came();
    answers
}

/// Through both, what is said of each.
#[test]
fn requests_come_to_the_site_as_the_table_says() {
    let Fronts {
        site,
        pullgate,
        nginx,
    } = &Fronts::start();
    for case in CASES {
        let Seen(answers, came) = case.pullgate;
        let wanted = (answers.to_owned(), owned(came));
        assert_eq!(run(&pullgate.site, site, case), wanted, "{}", case.name);
        let Seen(answers, came) = case.nginx.as_ref().unwrap_or(&case.pullgate);
        let wanted = (answers.to_string(), owned(came));
        assert_eq!(
            run(&nginx.address, site, case),
            wanted,
            "nginx: {}",
            case.name
        );
    }
}

/// Whatever the table says: the site gets one request for each that was answered, and none that was refused.
#[test]
fn no_request_becomes_two() {
    for case in CASES {
        let Seen(answers, came) = case.pullgate;
        let answered = answers.split(' ').filter(|status| *status == "200").count();
        assert_eq!(came.len(), answered, "{}", case.name);
    }
}

#[test]
fn answers_come_to_the_client_as_the_table_says() {
    let Fronts {
        site,
        pullgate,
        nginx,
    } = &Fronts::start();
    for answer in ANSWERS {
        let seen = ask(&pullgate.site, site, answer);
        assert_eq!(statuses(&seen), answer.pullgate, "{}", answer.name);
        // Whatever was before.
        assert!(seen.ends_with(b"GET /end"), "{}", answer.name);
        let wanted = answer.nginx.unwrap_or(answer.pullgate);
        let seen = ask(&nginx.address, site, answer);
        assert_eq!(statuses(&seen), wanted, "nginx: {}", answer.name);
    }
}

/// A site that says more than its answer has said it to nobody.
#[test]
fn an_answer_behind_the_answer_is_nobodys() {
    let site = Site::start();
    let server = Server::start(&format!("http://{}", site.address), "");
    let evil = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\
                 HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    site.answers(evil, true);
    for _ in 0..10 {
        let answers = exchange(&server.site, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(statuses(&answers), "200 200");
        assert!(answers.ends_with(b"GET /end"), "{}", answers.escape_ascii());
    }
}

/// `docs/security.md` has a line with a reason for each difference, and for nothing else.
#[test]
fn where_nginx_does_otherwise_the_page_says_why() {
    let page = std::fs::read_to_string(root().join("docs/security.md")).unwrap();
    let (_, section) = page.split_once("where nginx answers otherwise\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| "));
    let mut rows: Vec<&str> = rows.filter(|row| !row.starts_with("| ---")).collect();
    let requests = CASES.iter().filter_map(|case| {
        let Seen(other, _) = case.nginx.as_ref()?;
        Some((case.name, case.pullgate.0, *other))
    });
    let answers = ANSWERS
        .iter()
        .filter_map(|answer| Some((answer.name, answer.pullgate, answer.nginx?)));
    let first = |statuses: &str| match statuses.split(' ').next() {
        None | Some("") => "none".to_owned(),
        Some(status) => status.to_owned(),
    };
    for (name, ours, nginx) in requests.chain(answers) {
        let row = format!("| {name} | {} | {} | ", first(ours), first(nginx));
        let found = rows.iter().position(|line| line.starts_with(&row));
        let found = found.unwrap_or_else(|| panic!("no line {row:?}"));
        let why = rows.remove(found).strip_prefix(&row).unwrap();
        assert!(why.trim_end_matches([' ', '|']).len() > 10, "{name}: {why}");
    }
    rows.retain(|row| !row.starts_with("| what "));
    assert!(rows.is_empty(), "no differences: {rows:#?}");
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}
