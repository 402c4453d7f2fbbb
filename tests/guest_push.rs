//! Guests' own channels, with no Bitrix behind pullgate.

use std::io::{BufRead, BufReader, Write};
use std::thread;

use serde_json::Value;

use crate::binary::{messages, post, publish as batch};
use crate::engine::{Engine, on_every_engine};
use crate::guests::{PAGE, SECRET};
use crate::harness::{Response, SIGNATURE_KEY, Server, connect, get, send, upstream, wait_for};
use crate::push::{A, bodies, signed, wait_until_online, websocket};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";
const CONFIG: &str = "/rest/pull.config.get.json";

/// A site without Bitrix: every path is a small page, and one says goodbye to the guest.
fn start(engine: &Engine, more: &str) -> Server {
    let site = upstream(|mut stream, head| {
        let release = match head.starts_with("GET /login") {
            true => "Pull-User-Release: 1\r\n",
            false => "",
        };
        let status = match head.contains("/rest/") {
            true => "404 Not Found",
            false => "200 OK",
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\n{release}Content-Length: 4\r\nConnection: close\r\n\r\npage"
        );
        stream.write_all(answer.as_bytes()).unwrap();
    });
    engine.start(
        &site,
        &format!("{SECRET}[guest.push]\n{more}[push]\nsignature_key = \"{SIGNATURE_KEY}\"\n"),
    )
}

struct Guest<'a> {
    server: &'a Server,
    cookie: String,
    number: String,
}

impl<'a> Guest<'a> {
    fn new(server: &'a Server) -> Self {
        let mut cookie = None;
        // With Redis there are numbers as soon as there is a connection.
        wait_for(|| {
            let page = get(&server.site, "/", &PAGE);
            cookie = page.cookie().map(|cookie| format!("Cookie: {cookie}"));
            cookie.is_some()
        });
        let cookie = cookie.unwrap();
        let script = get(&server.site, "/pullgate/guest.js", &[&cookie]).body;
        let number = script.split("\"pull_guest_user_id\":").nth(1).unwrap();
        let number = number.split('}').next().unwrap().to_owned();
        assert!(number.starts_with('-'));
        Self {
            server,
            cookie,
            number,
        }
    }

    fn ask(&self, target: &str, form: &str) -> Response {
        send(
            &self.server.site,
            "POST",
            target,
            &[&self.cookie, FORM],
            form,
        )
    }

    fn channels(&self) -> Value {
        let form = format!("pull_guest_id={}&CACHE=N", self.number);
        self.ask(CONFIG, &form).json()["result"]["channels"].clone()
    }

    /// What its client subscribes to.
    fn channel_id(&self) -> String {
        let channels = self.channels();
        let id = |name: &str| channels[name]["id"].as_str().unwrap().to_owned();
        format!("{}/{}", id("private"), id("shared"))
    }

    fn send(&self, body: &str, expiry: u32) {
        send_to(self.server, &self.number, body, expiry);
    }

    /// All that is stored for it.
    fn stored(&self) -> Vec<String> {
        let target = format!(
            "/bitrix/sub/?CHANNEL_ID={}&mid={}",
            self.channel_id(),
            "0".repeat(26)
        );
        let answer = get(&self.server.site, &target, &[]);
        bodies(&answer.body)
            .into_iter()
            .map(str::to_owned)
            .collect()
    }
}

fn send_to(server: &Server, numbers: &str, body: &str, expiry: u32) {
    let target = format!("/bitrix/pub/?USER_ID={numbers}");
    let expiry = format!("Message-Expiry: {expiry}");
    let answer = send(&server.publish, "POST", &target, &[&expiry], body);
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
}

fn a_guest_gets_its_configuration_and_nobody_elses(engine: &Engine) {
    let server = start(engine, "");
    let (guest, other) = (Guest::new(&server), Guest::new(&server));
    let form = format!("pull_guest_id={}&CACHE=N", guest.number);
    let config = guest.ask(CONFIG, &form);
    assert_eq!(config.status, 200);
    assert_eq!(
        config.header("content-type"),
        Some("application/json; charset=utf-8")
    );
    let server_section = &config.json()["result"]["server"];
    assert_eq!(server_section["version"], 4);
    assert_eq!(
        server_section["websocket"],
        format!("ws://{}/bitrix/subws/", server.site)
    );
    let query = guest.ask(&format!("{CONFIG}?pull_guest_id={}", guest.number), "");
    let id = |config: &Response| config.json()["result"]["channels"]["private"]["id"].clone();
    assert_eq!(id(&query), id(&config));
    assert_ne!(other.channels()["private"], guest.channels()["private"]);

    // A thief has the number, not the cookie.
    for answer in [
        other.ask(CONFIG, &form),
        send(&server.site, "POST", CONFIG, &[FORM], &form),
    ] {
        assert_eq!(answer.status, 403);
        assert_eq!(answer.json()["error"], "AUTHORIZE_ERROR");
    }
    // What is no guest's goes to the site.
    assert_eq!(guest.ask(CONFIG, "sessid=1").status, 404);
    assert_eq!(guest.ask("/rest/user.get.json", &form).status, 404);

    let batch = format!(
        "pull_guest_id={}&cmd[config]=pull.config.get&cmd[time]=server.time",
        guest.number
    );
    let batch = guest.ask("/rest/batch.json", &batch).json();
    assert_eq!(
        batch["result"]["result"]["config"]["channels"]["private"]["id"],
        id(&config)
    );
}

fn messages_go_by_number(engine: &Engine) {
    let server = start(engine, "");
    let (guest, other) = (Guest::new(&server), Guest::new(&server));
    let mut socket = websocket(&server, &format!("CHANNEL_ID={}", guest.channel_id()));
    guest.send("live", 0);
    guest.send("kept", 60);
    send_to(
        &server,
        &format!("{}/{}/{}", other.number, guest.number, guest.number),
        "both",
        60,
    );
    send_to(&server, "0", "all", 60);
    let mut got = Vec::new();
    while got.len() < 4 {
        let frames = socket.read().unwrap().into_text().unwrap();
        got.extend(bodies(&frames).into_iter().map(str::to_owned));
    }
    assert_eq!(got, ["live", "kept", "both", "all"]);
    assert_eq!(guest.stored(), ["kept", "both", "all"]);
    assert_eq!(other.stored(), ["both", "all"]);

    for bad in ["17", "-0", "-17,-18", "x", "", "-2147483648", "0/17"] {
        let target = format!("/bitrix/pub/?USER_ID={bad}");
        let answer = send(&server.publish, "POST", &target, &[], "nobody");
        assert_eq!(answer.status, 400, "{bad}");
        assert!(answer.body.contains("USER_ID"), "{answer:?}");
    }
    assert_eq!(guest.stored().len(), 3);
}

fn protobuf_goes_by_number_too(engine: &Engine) {
    let server = start(engine, "");
    let guest = Guest::new(&server);
    let query = format!("CHANNEL_ID={}&binaryMode=true", guest.channel_id());
    let mut socket = websocket(&server, &query);
    let target = format!("/bitrix/pub/?binaryMode=true&USER_ID={}", guest.number);
    assert_eq!(
        post(&server.publish, &target, &batch(&[], "binary")).status,
        200
    );
    let got = messages(&socket.read().unwrap().into_data());
    assert_eq!(got[0].body.as_bytes(), b"binary");
    let stats = post(&server.publish, &target, b"\x0a\x02\x1a\x00");
    assert_eq!(stats.body, "4014: Request command is not allowed.");
}

fn a_guest_writes_to_whom_the_page_lets_it(engine: &Engine) {
    let server = start(engine, "");
    let guest = Guest::new(&server);
    let operator = "0123456789abcdef0123456789abcdef:fedcba9876543210fedcba9876543210";
    let mut socket = websocket(
        &server,
        &format!("CHANNEL_ID={}&binaryMode=true", signed(&server, operator)),
    );
    wait_until_online(&server);
    let receiver = crate::binary::public_receiver(&server);
    let target = format!("/bitrix/rest/?CHANNEL_ID={}", guest.channel_id());
    assert_eq!(
        post(&server.site, &target, &batch(&[receiver], "help")).status,
        200
    );
    let got = messages(&socket.read().unwrap().into_data());
    assert_eq!(got[0].body.as_bytes(), b"help");
    let public = guest.channels()["private"]["public_id"].clone();
    let pullgate_compat::message::Sender::Client(sender) = got[0].sender else {
        panic!("not a client's");
    };
    assert!(public.as_str().unwrap().starts_with(&sender.to_string()));
}

fn pages_without_bitrix_get_events(engine: &Engine) {
    let server = start(engine, "");
    let guest = Guest::new(&server);
    let open = |last: &str| {
        let mut stream = connect(&server.site);
        write!(
            stream,
            "GET /pullgate/events HTTP/1.1\r\nHost: {}\r\n{}\r\n{last}\r\n",
            server.site, guest.cookie
        )
        .unwrap();
        BufReader::new(stream).lines().map(Result::unwrap)
    };
    let mut events = open("");
    assert!(events.by_ref().any(|line| line == "retry: 3000"));
    // Where the page begins: enough to come back with, before there was any message.
    let begin = events.by_ref().find(|line| line.starts_with("id: "));
    let begin = begin.unwrap().replace("id: ", "Last-Event-ID: ");
    guest.send("{\"n\":1}", 60);
    let missed = open(&format!("{begin}\r\n")).find(|line| line.starts_with("data: "));
    assert_eq!(missed.unwrap(), "data: {\"n\":1}");
    let mut id = String::new();
    for line in events.by_ref() {
        if let Some(number) = line.strip_prefix("id: ") {
            number.clone_into(&mut id);
        }
        if line == "data: {\"n\":1}" {
            break;
        }
    }
    drop(events);
    guest.send("{\"n\":2}", 60);
    let mut events = open(&format!("Last-Event-ID: {id}\r\n"));
    let data = events.find(|line| line.starts_with("data: ")).unwrap();
    assert_eq!(data, "data: {\"n\":2}");

    let stranger = get(&server.site, "/pullgate/events", &[]);
    assert_eq!(stranger.status, 403);
    for foreign in [
        "Sec-Fetch-Site: cross-site",
        "Referer: http://evil.example/",
    ] {
        for path in ["/pullgate/events", "/pullgate/guest.js"] {
            assert_eq!(
                get(&server.site, path, &[&guest.cookie, foreign]).status,
                403
            );
        }
    }
    let script = get(&server.site, "/pullgate/guest.js", &[&guest.cookie]);
    assert_eq!(script.header("cache-control"), Some("no-store"));
    let nobody = get(&server.site, "/pullgate/guest.js", &[]).body;
    assert!(nobody.contains("\"pull_guest_mode\":\"N\",\"pull_guest_user_id\":0}"));
}

fn what_a_guest_had_goes_to_the_user_once(engine: &Engine) {
    let server = start(engine, "");
    let guest = Guest::new(&server);
    guest.send("one", 60);
    guest.send("two", 60);
    let login = |guest: &str| {
        let target = format!("/pullgate/login?guest={guest}&channel={A}");
        send(&server.publish, "POST", &target, &[], "")
    };
    assert_eq!(login(&guest.number).json()["moved"], 2);
    assert_eq!(login(&guest.number).json()["moved"], 0);
    guest.send("three", 60);
    assert_eq!(login(&guest.number).json()["moved"], 1);
    let target = format!(
        "/bitrix/sub/?CHANNEL_ID={}&mid={}",
        signed(&server, A),
        "0".repeat(26)
    );
    let user = get(&server.site, &target, &[]);
    assert_eq!(bodies(&user.body), ["one", "two", "three"]);
    for bad in ["17", "", "-x"] {
        assert_eq!(login(bad).status, 400, "{bad}");
    }
    // The site listener does not have it.
    let target = format!("/pullgate/login?guest={}", guest.number);
    assert_eq!(send(&server.site, "POST", &target, &[], "").status, 404);

    // The site lets go of the number: the browser's next page makes another guest.
    let page = get(
        &server.site,
        "/login",
        &[&PAGE[..], &[&guest.cookie]].concat(),
    );
    assert!(page.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(page.header("pull-user-release"), None);
}

#[test]
fn logins_at_once_move_each_message_once() {
    let redis = Engine::redis();
    for engine in [&Engine::Disk, &redis] {
        let servers = [start(engine, ""), start(engine, "")];
        let guest = Guest::new(&servers[0]);
        let sent: Vec<String> = (0..10).map(|number| number.to_string()).collect();
        for round in 1..=5 {
            for body in &sent {
                guest.send(body, 60);
            }
            let moved: u64 = thread::scope(|scope| {
                let logins: Vec<_> = (0..8)
                    .map(|login| {
                        // Nodes of one Redis share what was moved.
                        let server = match engine {
                            Engine::Redis(_) => &servers[login % 2],
                            Engine::Memory | Engine::Disk => &servers[0],
                        };
                        let target = format!("/pullgate/login?guest={}&channel={A}", guest.number);
                        scope.spawn(move || {
                            let answer = send(&server.publish, "POST", &target, &[], "");
                            answer.json()["moved"].as_u64().unwrap()
                        })
                    })
                    .collect();
                logins.into_iter().map(|login| login.join().unwrap()).sum()
            });
            assert_eq!(moved, 10);
            let channel = signed(&servers[0], A);
            let target = format!("/bitrix/sub/?CHANNEL_ID={channel}&mid={}", "0".repeat(26));
            let user = get(&servers[0].site, &target, &[]);
            assert_eq!(
                bodies(&user.body).join(" "),
                vec![sent.join(" "); round].join(" ")
            );
        }
    }
}

fn switched_off_it_is_all_the_sites(engine: &Engine) {
    let server = start(engine, "enabled = false\n");
    let page = get(&server.site, "/", &PAGE);
    let cookie = format!("Cookie: {}", page.cookie().unwrap());
    assert_eq!(
        get(&server.site, "/pullgate/guest.js", &[&cookie]).body,
        "page"
    );
    let form = "pull_guest_id=-1";
    let answer = send(&server.site, "POST", CONFIG, &[&cookie, FORM], form);
    assert_eq!((answer.status, answer.body.as_str()), (404, "page"));
    let target = "/bitrix/pub/?USER_ID=-1";
    assert_eq!(send(&server.publish, "POST", target, &[], "x").status, 400);
}

on_every_engine!(
    a_guest_gets_its_configuration_and_nobody_elses,
    messages_go_by_number,
    protobuf_goes_by_number_too,
    a_guest_writes_to_whom_the_page_lets_it,
    pages_without_bitrix_get_events,
    what_a_guest_had_goes_to_the_user_once,
    switched_off_it_is_all_the_sites,
);
