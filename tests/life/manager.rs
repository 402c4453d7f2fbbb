//! What a service manager gives and hears: sockets, and sd_notify.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use super::{config, directory, upgrade};
use crate::harness::{Server, pullgate, signal, wait_for};
use crate::reload::{reload, site};

/// Hears what the service says, whether somebody asks for it or not: who does not read is not waited for.
struct Manager(mpsc::Receiver<String>);

impl Manager {
    /// A service manager, and a command that tells it.
    fn start(directory: &tempfile::TempDir) -> (Self, Command) {
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let (hears, heard) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read) = socket.recv(&mut buffer) {
                let said = String::from_utf8(buffer[..read].to_vec()).unwrap();
                if hears.send(said).is_err() {
                    return;
                }
            }
        });
        let mut command = pullgate();
        command.env("NOTIFY_SOCKET", &path);
        (Self(heard), command)
    }

    /// The next that begins so.
    fn hears(&self, start: &str) -> String {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let said = self.0.recv_timeout(left);
            let said = said.unwrap_or_else(|error| panic!("no {start}: {error}"));
            if said.starts_with(start) {
                return said;
            }
        }
    }
}

#[test]
fn a_service_manager_hears_how_it_is() {
    let directory = directory();
    let (manager, mut command) = Manager::start(&directory);
    command.env("WATCHDOG_USEC", "300000");
    let text = config(&site("page"), "");
    let server = Server::run_as_configured(command, Arc::clone(&directory), &text);
    manager.hears("EXTEND_TIMEOUT_USEC=");
    let main = |pid: u32| format!("READY=1\nMAINPID={pid}");
    assert_eq!(manager.hears("READY=1"), main(server.pid()));
    manager.hears("WATCHDOG=1");
    assert!(manager.hears("STATUS=").contains("sites: 1, connections: "));
    reload(&server, "[push]", "[push]\nping_interval = \"31s\"");
    let reloading = manager.hears("RELOADING=1");
    let (_, at) = reloading.split_once("MONOTONIC_USEC=").unwrap();
    assert!(at.parse::<u64>().unwrap() > 0);
    assert_eq!(manager.hears("READY=1"), main(server.pid()));
    // The next main process speaks for itself, and the first one does not say that the service stops.
    let next = upgrade(&server, server.pid()).unwrap();
    assert_eq!(manager.hears("READY=1"), main(next));
    wait_for(|| server.log().contains("stopped"));
    manager.hears("WATCHDOG=1");
    signal(next, "TERM");
    manager.hears("STOPPING=1");
    manager.hears("EXTEND_TIMEOUT_USEC=");
    wait_for(|| server.log().matches("stopped").count() == 2);
}

#[test]
fn an_end_is_told_once() {
    let directory = directory();
    let (manager, command) = Manager::start(&directory);
    let server =
        Server::run_as_configured(command, Arc::clone(&directory), &config(&site("page"), ""));
    manager.hears("READY=1");
    let next = upgrade(&server, server.pid()).unwrap();
    wait_for(|| server.log().contains("stopped"));
    for said in manager.0.try_iter() {
        assert!(!said.starts_with("STOPPING"), "the service goes on");
    }
    signal(next, "TERM");
    manager.hears("STOPPING=1");
}

/// Starts it with a socket as the third descriptor, as a service manager does.
fn activated(socket: OwnedFd, directory: &Arc<tempfile::TempDir>, text: &str) -> Server {
    let mut command = Command::new("sh");
    let script = "exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$0\" \"$@\"";
    command
        .args(["-c", script])
        .arg(pullgate().get_program())
        .stdin(socket);
    Server::run_as_configured(command, Arc::clone(directory), text)
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

#[test]
fn who_came_before_it_was_started_is_served() {
    let directory = directory();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let text = config(&site("page"), "");
    let own = text.split('"').nth(1).unwrap();
    let text = text.replacen(own, &address, 1);
    // Several, as both cores accept from the one socket; before and after another process has it.
    let waiting: Vec<TcpStream> = (0..20)
        .map(|_| TcpStream::connect(&address).unwrap())
        .collect();
    let server = activated(socket.into(), &directory, &text);
    let serves = |stream: TcpStream| {
        let mut stream = stream;
        stream.write_all(REQUEST).unwrap();
        assert_eq!(crate::harness::read_response(stream).body, "page");
    };
    waiting.into_iter().for_each(serves);
    upgrade(&server, server.pid()).unwrap();
    for _ in 0..20 {
        serves(TcpStream::connect(&address).unwrap());
    }
}

#[test]
fn a_unix_socket_is_handed_over_too() {
    let directory = directory();
    let path = directory.path().join("site.socket");
    let socket = UnixListener::bind(&path).unwrap();
    let more = format!(
        "[[listener]]\naddress = \"unix:{}\"\nrole = \"site\"\n",
        path.display()
    );
    let text = more + &config(&site("page"), "");
    let server = activated(socket.into(), &directory, &text);
    for _ in 0..2 {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        stream.write_all(REQUEST).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("page"), "{answer}");
        if server.log().contains("taken over") {
            break;
        }
        upgrade(&server, server.pid()).unwrap();
    }
}
