//! What docs/migration.md tells to do, "Prove it before you switch", is taken from the page and done: with a real nginx in
//! front, and a pullgate in the place of the other push server. Ports stand for those that are free; nothing else differs.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use crate::harness::{Group, SIGNATURE_KEY, Server, free_port, get, root, send, signal, wait_for};
use crate::hook::Daemon;
use crate::push::{A, bodies, mid, signed, start, wait_until_online, websocket_at};

/// The page, with the ports of here.
struct Page {
    text: String,
    /// Where the recorder listens, in front of publishing and of subscribing.
    recorder: [String; 2],
}

impl Page {
    fn read(server: &Server) -> Self {
        let mut text = fs::read_to_string(root().join("docs/migration.md")).unwrap();
        let recorder = [(); 2].map(|()| format!("127.0.0.1:{}", free_port()));
        let replay = format!("127.0.0.1:{}", free_port());
        for (there, here) in [
            ("127.0.0.1:19010", &recorder[0]),
            ("127.0.0.1:18010", &recorder[1]),
            ("127.0.0.1:18895", &replay),
            ("127.0.0.1:9010", &server.publish),
            ("127.0.0.1:8010", &server.site),
        ] {
            assert!(text.contains(there), "{there}");
            text = text.replace(there, here);
        }
        Self { text, recorder }
    }

    /// The blocks of this language below the heading.
    fn blocks(&self, heading: &str, language: &str) -> Vec<&str> {
        let (_, from) = self.text.split_once(&format!("\n### {heading}\n")).unwrap();
        let section = from.split("\n### ").next().unwrap();
        let blocks = section
            .split("\n```")
            .filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n'));
        blocks.collect()
    }
}

/// A shell in which `pullgate` is the built one, `nginx` the one that runs, and Ctrl-D ends what is pasted.
fn shell(folder: &Path, script: &str, pasted: Stdio) -> Group {
    let built = Path::new(env!("CARGO_BIN_EXE_pullgate")).parent().unwrap();
    let paths = format!("{}:{}", built.display(), std::env::var("PATH").unwrap());
    let nginx = format!(
        "command nginx -e {0}/log -c {0}/nginx.conf",
        folder.display()
    );
    let mut command = Command::new("bash");
    command
        .args([
            "-e",
            "-c",
            &format!("nginx() {{ {nginx} \"$@\"; }}\n{script}"),
        ])
        .current_dir(folder)
        .env("PATH", paths)
        .stdin(pasted)
        .stdout(Stdio::from(
            fs::File::create(folder.join("printed")).unwrap(),
        ))
        .stderr(Stdio::from(fs::File::create(folder.join("told")).unwrap()));
    Group::spawn(&mut command)
}

fn run(folder: &Path, script: &str) -> String {
    let success = shell(folder, script, Stdio::null())
        .wait()
        .unwrap()
        .success();
    let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    assert!(success, "{}{}", text("printed"), text("told"));
    text("printed")
}

/// nginx, whose push servers are those of these lines. It tells which its last configuration is.
fn configure(folder: &Path, port: u16, upstreams: &str, name: &str) {
    let here = folder.display();
    let location = "proxy_http_version 1.1;\nproxy_set_header Upgrade $http_upgrade;\n\
                    proxy_set_header Connection $connection_upgrade;\n";
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("{what}_temp_path {here}/temp;\n"))
        .concat();
    let config = format!(
        "daemon off;\nworker_processes 1;\npid {here}/pid;\nerror_log {here}/log;\nevents {{}}\nhttp {{\n\
         access_log off;\n{temporary}map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}\n\
         {upstreams}\nserver {{\nlisten 127.0.0.1:{port};\n{location}\
         location = /configuration {{ return 200 {name}; }}\n\
         location /bitrix/pub/ {{ proxy_pass http://nodejs_pub; }}\n\
         location ~ ^/bitrix/sub(ws)?/ {{ proxy_pass http://nodejs_sub; }}\n}}\n}}\n"
    );
    fs::write(folder.join("nginx.conf"), config).unwrap();
}

fn workers(folder: &Path) -> usize {
    let master = fs::read_to_string(folder.join("pid")).unwrap();
    let master = master.trim();
    let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children"));
    children.unwrap().split_whitespace().count()
}

/// A chat between two browsers, through nginx.
fn let_people_work(server: &Server, front: &str) {
    let publish = |body: &str| {
        let target = format!("/bitrix/pub/?CHANNEL_ID={A}");
        let answer = send(front, "POST", &target, &["Message-Expiry: 60"], body);
        assert_eq!(answer.status, 200);
    };
    let target = format!("/bitrix/sub/?CHANNEL_ID={}", signed(server, A));
    let polled = thread::scope(|scope| {
        let poll = scope.spawn(|| get(front, &target, &[]));
        wait_until_online(server);
        publish("a poll waits for this");
        poll.join().unwrap()
    });
    let target = format!(
        "{}&mid={}",
        target.replace("/sub/", "/subws/"),
        mid(&polled.body)
    );
    let mut socket = websocket_at(front, &target);
    publish("a websocket waits for this");
    let frame = socket.read().unwrap().into_text().unwrap();
    assert_eq!(bodies(&frame), ["a websocket waits for this"]);
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
}

#[test]
fn what_is_recorded_by_the_page_is_replayed_by_it() {
    let server = start("");
    let page = Page::read(&server);
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path();
    fs::write(folder.join("pasted"), format!("{SIGNATURE_KEY}\n")).unwrap();
    let port = free_port();
    let front = format!("127.0.0.1:{port}");
    let [upstreams] = page.blocks("1. Record", "nginx")[..] else {
        panic!("one block for nginx")
    };
    let before: String = [&page.recorder[0], &page.recorder[1]]
        .iter()
        .zip([&server.publish, &server.site])
        .fold(upstreams.to_owned(), |text, (recorder, was)| {
            text.replace(recorder.as_str(), was)
        });
    configure(folder, port, &before, "before");
    let path = |name: &str| folder.join(name).display().to_string();
    let mut nginx = Daemon::start("nginx", &["-e", &path("log"), "-c", &path("nginx.conf")]);
    nginx.wait_until(|| TcpStream::connect(&front).is_ok());

    let [record, reload] = page.blocks("1. Record", "sh")[..] else {
        panic!("a block that records, and one that reloads")
    };
    let pasted = fs::File::open(folder.join("pasted")).unwrap();
    let record = record.replace("pullgate record", "exec pullgate record");
    let mut recorder = shell(folder, &record, pasted.into());
    let told = || fs::read_to_string(folder.join("told")).unwrap();
    wait_for(|| told().matches("address=").count() == 2);
    let told_so_far = folder.join("recorder");
    fs::rename(folder.join("told"), &told_so_far).unwrap();
    configure(folder, port, upstreams, "recorder");
    run(folder, reload);
    // The worker of the configuration before takes connections for a moment yet.
    let is = |name: &str| get(&front, "/configuration", &[]).body == name && workers(folder) == 1;
    wait_for(|| is("recorder"));
    let_people_work(&server, &front);
    configure(folder, port, &before, "after");
    run(folder, reload);
    wait_for(|| is("after"));
    signal(recorder.id(), "INT");
    assert!(recorder.wait().unwrap().success());
    let last = fs::read_to_string(told_so_far).unwrap();
    assert!(last.contains("stopped requests_recorded="), "{last}");
    assert!(last.contains("file=./monday.json"), "{last}");

    let [replay] = page.blocks("3. Replay", "sh")[..] else {
        panic!("one block that replays")
    };
    let printed = run(&folder.join("pullgate-proof"), replay);
    assert!(printed.contains("1 recordings: 1 equal"), "{printed}");
}
