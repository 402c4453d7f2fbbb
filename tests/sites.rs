//! Several sites in one process, from outside.

mod apart;
mod commands;
mod crowd;
mod guests;
mod hosts;
mod original;
mod page;
mod speed;

use std::io::Write;
use std::net::TcpStream;
use std::process::Output;
use std::sync::Arc;

use tempfile::TempDir;
use tungstenite::{Message, WebSocket};

use crate::harness::{Response, Server, connect, pullgate, read_response, upstream};

const LISTENERS: &str = "[[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"site\"\n\
    [[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"admin\"\n";
const SHOP: &str = "shop.example";
const BLOG: &str = "blog.example";

/// pullgate with several sites.
struct Sites {
    server: Server,
}

/// A `[[site]]` with a host of its own, `NAME.example`.
fn site(name: &str, upstream: &str, more: &str) -> String {
    format!(
        "[[site]]\nname = \"{name}\"\nhosts = [\"{name}.example\"]\nupstream.url = \"{upstream}\"\n{more}\n"
    )
}

impl Sites {
    /// With these tables of the file, and a publish listener for each of `names`.
    fn start(names: &[&str], tables: &str) -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), names, tables)
    }

    /// The same on an existing state directory.
    fn start_in(directory: Arc<TempDir>, names: &[&str], tables: &str) -> Self {
        let publish = |name| {
            format!(
                "[[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"publish\"\nsite = \"{name}\"\n"
            )
        };
        let publish: String = names.iter().map(publish).collect();
        let text =
            format!("{LISTENERS}{publish}[server]\nstate_dir = \"state\"\nthreads = 2\n{tables}");
        Self {
            server: Server::run_as_configured(pullgate(), directory, &text),
        }
    }

    /// Shop and blog in front of these, with more keys of each, and tables for both.
    fn shop_and_blog(shop: (&str, &str), blog: (&str, &str), tables: &str) -> Self {
        let sites = site("shop", shop.0, shop.1) + &site("blog", blog.0, blog.1);
        Self::start(&["shop", "blog"], &format!("{tables}{sites}"))
    }

    fn get(&self, host: &str, target: &str, headers: &[&str]) -> Response {
        ask(&self.server.site, "GET", host, target, headers, "")
    }

    /// Where a site's PHP publishes.
    fn publish_listener(&self, name: &str) -> String {
        self.server.address(&format!("role=publish site={name}"))
    }

    fn publish(&self, name: &str, channel: &str, body: &str, expiry: u32) {
        let (target, expiry) = (
            format!("/bitrix/pub/?CHANNEL_ID={channel}"),
            format!("Message-Expiry: {expiry}"),
        );
        let address = self.publish_listener(name);
        let answer = ask(&address, "POST", "localhost", &target, &[&expiry], body);
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{name}");
    }

    /// Who is online, as a site's PHP asks.
    fn online(&self, name: &str, channel: &str) -> bool {
        let target = format!("/bitrix/pub/?CHANNEL_ID={channel}");
        let address = self.publish_listener(name);
        let answer = ask(&address, "GET", "localhost", &target, &[], "");
        assert_eq!(answer.status, 200);
        answer.body.contains(channel)
    }

    /// This process in a site's `/server-stat/`.
    fn statistics(&self, name: &str) -> serde_json::Value {
        let address = self.publish_listener(name);
        ask(&address, "GET", "localhost", "/server-stat/", &[], "").json()[0].take()
    }

    /// What subscribers of a site say for a channel.
    fn signed(&self, name: &str, channel: &str) -> String {
        let output = self.command(&["sign", "--site", name, channel]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A command of pullgate with this configuration.
    fn command(&self, arguments: &[&str]) -> Output {
        let mut command = pullgate();
        command.args(arguments).env(
            "PULLGATE_CONFIG",
            self.server.directory.path().join("pullgate.toml"),
        );
        command.output().unwrap()
    }

    fn websocket(&self, host: &str, channel: &str) -> WebSocket<TcpStream> {
        websocket(&self.server.site, host, &format!("CHANNEL_ID={channel}"))
    }

    /// All that a site keeps for a channel, by a long poll.
    fn stored(&self, host: &str, channel: &str) -> Vec<String> {
        let target = format!("/bitrix/sub/?CHANNEL_ID={channel}&mid={}", "0".repeat(26));
        let answer = self.get(host, &target, &[]);
        let bodies = crate::push::bodies(&answer.body).into_iter();
        bodies.map(str::to_owned).collect()
    }
}

/// A request with this `Host`.
fn ask(
    address: &str,
    method: &str,
    host: &str,
    target: &str,
    headers: &[&str],
    body: &str,
) -> Response {
    let more: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let mut stream = connect(address);
    write!(
        stream,
        "{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    read_response(stream)
}

fn websocket(address: &str, host: &str, query: &str) -> WebSocket<TcpStream> {
    let url = format!("ws://{host}/bitrix/subws/?{query}");
    tungstenite::client(url, connect(address)).unwrap().0
}

fn next(socket: &mut WebSocket<TcpStream>) -> String {
    let frame = loop {
        // Pings come as well, where a test takes long.
        if let Message::Text(frame) = socket.read().unwrap() {
            break frame;
        }
    };
    let bodies = crate::push::bodies(&frame);
    assert_eq!(bodies.len(), 1, "{frame}");
    bodies[0].to_owned()
}

/// A back end that says its name, and the guest's number behind it.
fn named(name: &'static str) -> String {
    upstream(move |mut stream, head| {
        let number = head.lines().find_map(|line| {
            let (name, number) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("pull-user-id").then_some(number)
        });
        let body = format!("{name} {}", number.unwrap_or("nobody"));
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        let _ = stream.write_all(answer.as_bytes());
    })
}
