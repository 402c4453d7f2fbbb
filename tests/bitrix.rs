//! Guests of a site with Bitrix's pull module: a stub that behaves like the module of 24.500, which serves
//! them, or that of 26.250, which drops what is sent to them.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::engine::{Engine, on_every_engine};
use crate::guests::{PAGE, SECRET, printed_hook};
use crate::harness::{Php, Response, SIGNATURE_KEY, Server, free_port, get, send};

/// pullgate in front of the stub.
pub(crate) struct Site {
    pub(crate) server: Server,
    environment: Vec<(String, String)>,
    _php: Php,
}

impl Site {
    /// `push` is what `[guest.push]` says. The hook is the one that pullgate prints for it.
    pub(crate) fn new(engine: &Engine, module: &str, push: &str) -> Self {
        Self::start(engine, push, &[], |_, hook| {
            vec![
                ("BITRIX_STUB_PULL".into(), module.into()),
                ("PULLGATE_HOOK".into(), hook.into()),
            ]
        })
    }

    /// A site of 26.250 with files of its own: paths from the root, and what is in them. The files of
    /// `compat/php` are in `/local/php_interface/`, the hook as it is printed.
    pub(crate) fn of(
        engine: &Engine,
        files: &[(&str, &str)],
        environment: &[(&str, &str)],
    ) -> Self {
        Self::start(engine, "", environment, |directory, hook| {
            let root = directory.join("root");
            let write = |path: &str, text: &str| {
                let path = root.join(path.trim_start_matches('/'));
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            };
            let read = |path: &Path| fs::read_to_string(path).unwrap();
            let (folder, source) = ("/local/php_interface", crate::harness::root());
            write(&format!("{folder}/pull_hit.php"), &read(hook.as_ref()));
            for file in ["Guest.php", "Stack.php"] {
                let text = read(&source.join("compat/php").join(file));
                write(&format!("{folder}/{file}"), &text);
            }
            for (path, text) in files {
                // What the hook is copied to, a site may choose.
                write(path, &text.replace("{pull_hit.php}", &read(hook.as_ref())));
            }
            vec![("BITRIX_STUB_ROOT".into(), root.to_str().unwrap().into())]
        })
    }

    /// `more` makes what the site needs in a directory, given the printed hook, and returns its settings.
    fn start(
        engine: &Engine,
        push: &str,
        environment: &[(&str, &str)],
        more: impl Fn(&Path, &str) -> Vec<(String, String)>,
    ) -> Self {
        let port = free_port();
        let server = engine.start(
            &format!("http://127.0.0.1:{port}"),
            &format!("{SECRET}[guest.push]\n{push}\n[push]\nsignature_key = \"{SIGNATURE_KEY}\"\n"),
        );
        let directory = server.directory.path();
        let hook = directory.join("pull_hit.php");
        fs::write(&hook, printed_hook(&server)).unwrap();
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut all = more(directory, hook.to_str().unwrap());
        all.extend(environment.iter().map(own));
        let channels = directory.join("channels.json");
        all.extend(
            [
                ("BITRIX_STUB_USERS", "42"),
                ("BITRIX_STUB_STATE", channels.to_str().unwrap()),
                ("PULLGATE_SIGNATURE_KEY", SIGNATURE_KEY),
                (
                    "PULLGATE_PUBLISH_URL",
                    &format!("http://{}", server.publish),
                ),
            ]
            .iter()
            .map(own),
        );
        let borrowed: Vec<(&str, &str)> = all.iter().map(|(a, b)| (&**a, &**b)).collect();
        Self {
            _php: Php::serve(port, "fixtures/bitrix-stub/site.php", &borrowed),
            environment: all,
            server,
        }
    }

    /// The admin's PHP command line: runs some lines once.
    pub(crate) fn run_php(&self, lines: &str) {
        let stub = crate::harness::root().join("fixtures/bitrix-stub/bitrix.php");
        let output = Command::new("php")
            .args(["-r", &format!("require '{}';\n{lines}", stub.display())])
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.is_empty(), "{said}");
    }

    pub(crate) fn get(&self, target: &str, headers: &[&str]) -> Response {
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

    fn own_config(&self) -> Value {
        let config = self.config(self.number);
        assert_eq!(config.status, 200, "{config:?}");
        config.json()["result"].take()
    }

    /// The signed ids of the channels that the config names.
    fn channels(&self) -> Vec<String> {
        let config = self.own_config();
        let channels = config["channels"].as_object().unwrap();
        channels
            .values()
            .map(|channel| channel["id"].as_str().unwrap().to_owned())
            .collect()
    }

    /// All that is stored for the guest, as texts; waits for the first where there is none.
    fn messages(&self) -> Vec<String> {
        stored(&self.site.server, &self.channels(), &[&self.cookie])
    }
}

/// A long poll from the very first message on.
fn stored(server: &Server, channels: &[String], headers: &[&str]) -> Vec<String> {
    let target = format!(
        "/bitrix/sub/?CHANNEL_ID={}&mid={:026}",
        channels.join("/"),
        0
    );
    let answer = get(&server.site, &target, headers);
    let texts = answer.body.split("\"params\":{\"text\":\"").skip(1);
    texts
        .map(|text| text.split('"').next().unwrap().to_owned())
        .collect()
}

fn an_old_module_serves_guests_itself(engine: &Engine) {
    let site = Site::new(engine, "24.500", "enabled = false");
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

fn a_current_module_drops_what_is_for_a_guest(engine: &Engine) {
    let site = Site::new(engine, "26.250", "enabled = false");
    let guest = site.visitor();
    assert_eq!(guest.channels().len(), 1, "the shared channel alone");
    assert_eq!(site.send(&format!("to={}&text=lost", guest.number)), true);
    assert_eq!(site.send("text=to+everybody"), true);
    assert_eq!(guest.messages(), ["to everybody"]);
}

fn pullgate_serves_guests_whatever_the_module_does(engine: &Engine) {
    for module in ["24.500", "26.250"] {
        let site = Site::new(engine, module, "enabled = true");
        let (guest, other) = (site.visitor(), site.visitor());
        assert_eq!(guest.channels().len(), 2, "{module}: shared and private");
        let (one, two) = (guest.number, other.number);
        for (to, text) in [
            (format!("{one}"), "one"),
            (format!("{one},{two},42"), "two"),
            (String::new(), "everybody"),
        ] {
            let sent = site.send(&format!("to={to}&text={module}+{text}"));
            assert_eq!(sent, true, "{module}: {to}");
        }
        // All guests of a secret share a channel, which has what was sent before.
        let received = |guest: &Guest<'_>| -> Vec<String> {
            let of_now = |text: String| text.strip_prefix(&format!("{module} ")).map(str::to_owned);
            guest.messages().into_iter().filter_map(of_now).collect()
        };
        assert_eq!(received(&guest), ["one", "two", "everybody"], "{module}");
        assert_eq!(received(&other), ["two", "everybody"], "{module}");
        assert_eq!(other.config(guest.number).status, 403, "{module}");
    }
}

fn send_to_all_reaches_a_guest_of_the_modules_shared_channel(engine: &Engine) {
    let site = Site::new(engine, "26.250", "");
    let guest = site.visitor();
    let channels = guest.channels();
    assert_eq!(site.send("by=all&text=to+all"), true);
    assert_eq!(guest.messages(), ["to all"]);
    // By the cookie, and by nothing else: these are the channels of a configuration alone.
    assert_eq!(site.send("to=42&text=wakes+nobody"), true);
    let poll = |more: &[&str]| {
        let list = channels.join("/");
        let target = format!("/bitrix/sub/?CHANNEL_ID={list}&mid={:026}", 0);
        get(&site.server.site, &target, more)
    };
    assert_eq!(site.send("text=shared"), true);
    assert!(!poll(&[]).body.contains("to all"));
    assert_eq!(guest.messages(), ["to all", "shared"], "one copy of each");
    // A list that is not rightly signed stays refused.
    let refused = get(
        &site.server.site,
        &format!("/bitrix/sub/?CHANNEL_ID={}", "a".repeat(32)),
        &[&guest.cookie],
    );
    assert_eq!(refused.status, 400, "{refused:?}");
}

fn a_guests_configuration_has_the_modules_timestamp_and_revisions(engine: &Engine) {
    let site = Site::start(engine, "", &[("BITRIX_STUB_REVISION", "31")], |_, hook| {
        vec![("PULLGATE_HOOK".into(), hook.into())]
    });
    let config = site.visitor().own_config();
    assert_eq!(config["server"]["config_timestamp"], 1_795_000_000);
    assert_eq!(config["api"]["revision_web"], 31);
}

fn a_guest_who_logs_in_takes_the_messages_along(engine: &Engine) {
    let site = Site::new(engine, "26.250", "enabled = true");
    let guest = site.visitor();
    let sent = site.send(&format!("to={}&text=kept", guest.number));
    assert_eq!(sent, true);
    for _ in 0..2 {
        let answer = site.get("/login?user=42", &[&guest.cookie]);
        assert_eq!(answer.json()["error"], "", "{answer:?}");
        let head = answer.head.to_lowercase();
        assert!(
            head.contains("set-cookie: pull_guest=; httponly; samesite=lax; path=/; max-age=0"),
            "the number is released: {head}"
        );
        assert!(!head.contains("pull-user-release"), "{head}");
    }
    assert_eq!(site.send("to=42&text=new"), true);
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
    assert_eq!(
        stored(&site.server, &[channel], &[]),
        ["kept", "new"],
        "once"
    );
}

on_every_engine!(
    an_old_module_serves_guests_itself,
    a_current_module_drops_what_is_for_a_guest,
    pullgate_serves_guests_whatever_the_module_does,
    send_to_all_reaches_a_guest_of_the_modules_shared_channel,
    a_guests_configuration_has_the_modules_timestamp_and_revisions,
    a_guest_who_logs_in_takes_the_messages_along,
);
