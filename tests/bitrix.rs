//! Guests of a site with Bitrix's pull module: a stub that behaves like the module of 24.500, which serves
//! them, or that of 26.250, which drops what is sent to them.

use serde_json::Value;

use crate::guests::{PAGE, SECRET, token_keys};
use crate::harness::{Php, Response, SIGNATURE_KEY, Server, free_port, get, send};

/// pullgate in front of the stub.
struct Site {
    server: Server,
    _php: Php,
}

impl Site {
    /// `push` is what `[guest.push]` says.
    fn new(module: &str, push: &str) -> Self {
        let port = free_port();
        let server = Server::start(
            &format!("http://127.0.0.1:{port}"),
            &format!("{SECRET}[guest.push]\n{push}\n[push]\nsignature_key = \"{SIGNATURE_KEY}\"\n"),
        );
        let channels = server.directory.path().join("channels.json");
        let environment = [
            ("BITRIX_STUB_PULL", module),
            ("BITRIX_STUB_USERS", "42"),
            ("BITRIX_STUB_STATE", channels.to_str().unwrap()),
            ("PULLGATE_TOKEN_KEYS", &token_keys(&server)),
            ("PULLGATE_SIGNATURE_KEY", SIGNATURE_KEY),
            (
                "PULLGATE_PUBLISH_URL",
                &format!("http://{}", server.publish),
            ),
        ];
        Self {
            _php: Php::serve(port, "fixtures/bitrix-stub/site.php", &environment),
            server,
        }
    }

    fn get(&self, target: &str, headers: &[&str]) -> Response {
        get(&self.server.site, target, headers)
    }

    /// What the site's code says to the call of CPullStack.
    fn send(&self, query: &str) -> Value {
        let answer = self.get(&format!("/send?{query}"), &[]);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["sent"].clone()
    }

    /// A visitor's first page makes a guest.
    fn visitor(&self) -> Guest<'_> {
        let page = self.get("/", &PAGE);
        let cookie = format!("Cookie: {}", page.cookie().expect("a guest"));
        let script = "<script>(function(k)";
        assert!(page.body.contains(script), "{page:?}");
        let number = page.body.split("\"pull_guest_user_id\":").nth(1).unwrap();
        let number = number.split('}').next().unwrap().parse().unwrap();
        Guest {
            site: self,
            cookie,
            number,
        }
    }
}

struct Guest<'a> {
    site: &'a Site,
    cookie: String,
    number: i32,
}

impl Guest<'_> {
    /// What the browser's client asks when it starts.
    fn config(&self, number: i32) -> Response {
        send(
            &self.site.server.site,
            "POST",
            "/rest/pull.config.get.json?logTag=client_start",
            &[
                &self.cookie,
                "Content-Type: application/x-www-form-urlencoded",
            ],
            &format!("pull_guest_id={number}&CACHE=N"),
        )
    }

    /// The signed ids of the channels that the config names.
    fn channels(&self) -> Vec<String> {
        let config = self.config(self.number);
        assert_eq!(config.status, 200, "{config:?}");
        let config = config.json();
        let channels = config["result"]["channels"].as_object().unwrap();
        channels
            .values()
            .map(|channel| channel["id"].as_str().unwrap().to_owned())
            .collect()
    }

    /// All that is stored for the guest, as texts; waits for the first where there is none.
    fn messages(&self) -> Vec<String> {
        stored(&self.site.server, &self.channels())
    }
}

/// A long poll from the very first message on.
fn stored(server: &Server, channels: &[String]) -> Vec<String> {
    let target = format!(
        "/bitrix/sub/?CHANNEL_ID={}&mid={:026}",
        channels.join("/"),
        0
    );
    let answer = get(&server.site, &target, &[]);
    let texts = answer.body.split("\"params\":{\"text\":\"").skip(1);
    texts
        .map(|text| text.split('"').next().unwrap().to_owned())
        .collect()
}

#[test]
fn an_old_module_serves_guests_itself() {
    let site = Site::new("24.500", "enabled = false");
    let (guest, other) = (site.visitor(), site.visitor());
    assert_eq!(guest.channels().len(), 2, "shared and private");
    assert_eq!(site.send(&format!("to={}&text=one", guest.number)), true);
    assert_eq!(
        site.send(&format!("to={},{},42&text=two", guest.number, other.number)),
        true
    );
    assert_eq!(guest.messages(), ["one", "two"]);
    assert_eq!(other.messages(), ["two"]);
    assert_eq!(other.config(guest.number).status, 403);
}

#[test]
fn a_current_module_drops_what_is_for_a_guest() {
    let site = Site::new("26.250", "enabled = false");
    let guest = site.visitor();
    assert_eq!(guest.channels().len(), 1, "the shared channel alone");
    assert_eq!(site.send(&format!("to={}&text=lost", guest.number)), true);
    assert_eq!(site.send("text=to+everybody"), true);
    assert_eq!(guest.messages(), ["to everybody"]);
}

#[test]
fn pullgate_serves_guests_whatever_the_module_does() {
    for module in ["24.500", "26.250"] {
        let site = Site::new(module, "enabled = true");
        let (guest, other) = (site.visitor(), site.visitor());
        assert_eq!(guest.channels().len(), 2, "{module}: shared and private");
        let (one, two) = (guest.number, other.number);
        for (to, text) in [
            (format!("{one}"), "one"),
            (format!("{one},{two},42"), "two"),
            (String::new(), "everybody"),
        ] {
            let sent = site.send(&format!("by=pullgate&to={to}&text={text}"));
            assert_eq!(sent, true, "{module}: {to}");
        }
        assert_eq!(guest.messages(), ["one", "two", "everybody"], "{module}");
        assert_eq!(other.messages(), ["two", "everybody"], "{module}");
        assert_eq!(other.config(guest.number).status, 403, "{module}");
    }
}

#[test]
fn a_guest_who_logs_in_takes_the_messages_along() {
    let site = Site::new("26.250", "enabled = true");
    let guest = site.visitor();
    let sent = site.send(&format!("by=pullgate&to={}&text=kept", guest.number));
    assert_eq!(sent, true);
    for _ in 0..2 {
        let answer = site.get("/login?user=42", &[&guest.cookie]);
        assert_eq!(answer.json()["error"], "", "{answer:?}");
        let head = answer.head.to_lowercase();
        assert!(
            head.contains("set-cookie: pull_guest=; path=/; max-age=0"),
            "the number is released: {head}"
        );
        assert!(!head.contains("pull-user-release"), "{head}");
    }
    assert_eq!(site.send("by=pullgate&to=42&text=new"), true);
    let cookie = format!("{}; BITRIX_STUB_USER=42", guest.cookie);
    let config = send(
        &site.server.site,
        "POST",
        "/rest/pull.config.get.json",
        &[&cookie],
        "",
    );
    let channel = config.json()["result"]["channels"]["private"]["id"].clone();
    let channel = channel.as_str().expect("a user has one").to_owned();
    assert_eq!(stored(&site.server, &[channel]), ["kept", "new"], "once");
}
