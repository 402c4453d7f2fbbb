//! Starts what a test needs and stops it when the test ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

mod group;
mod silent;
mod witness;

pub(crate) use group::Group;
pub(crate) use silent::Silent;
pub(crate) use witness::Witness;

pub(crate) const SIGNATURE_KEY: &str = "a signature key for tests";

/// How long a test waits for what must come, on a machine that may be very busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// The repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// The executable; PULLGATE names another one than that of the tests.
pub(crate) fn pullgate() -> Command {
    let named = std::env::var_os("PULLGATE");
    Command::new(named.unwrap_or_else(|| env!("CARGO_BIN_EXE_pullgate").into()))
}

/// A running pullgate and its log.
pub(crate) struct Server {
    child: Group,
    pub(crate) directory: Arc<TempDir>,
    pub(crate) site: String,
    pub(crate) publish: String,
    log: Arc<Mutex<String>>,
}

impl Server {
    /// In front of `upstream` (a URL), with more lines of configuration.
    pub(crate) fn start(upstream: &str, more: &str) -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), upstream, more)
    }

    /// The same with more lines of `[server]`.
    pub(crate) fn start_with(server: &str, upstream: &str) -> Self {
        Self::launch(Arc::new(tempfile::tempdir().unwrap()), server, upstream, "")
    }

    /// The same in front of nothing, with more lines of both.
    pub(crate) fn start_with_push(server: &str, more: &str) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        Self::launch(directory, server, "http://127.0.0.1:1", more)
    }

    /// The same on an existing state directory.
    pub(crate) fn start_in(directory: Arc<TempDir>, upstream: &str, more: &str) -> Self {
        Self::launch(directory, "", upstream, more)
    }

    /// The same where this file has the authorities that TLS believes.
    pub(crate) fn start_believing(authorities: &Path, upstream: &str, more: &str) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let mut command = pullgate();
        command.env("SSL_CERT_FILE", authorities);
        Self::run(command, directory, "", upstream, more)
    }

    /// The same with more lines of both.
    pub(crate) fn start_with_more(server: &str, upstream: &str, more: &str) -> Self {
        Self::launch(
            Arc::new(tempfile::tempdir().unwrap()),
            server,
            upstream,
            more,
        )
    }

    /// The same with so many file descriptors.
    pub(crate) fn start_within(files: u32, server: &str, upstream: &str, more: &str) -> Self {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\"")])
            .arg(env!("CARGO_BIN_EXE_pullgate"));
        let directory = Arc::new(tempfile::tempdir().unwrap());
        Self::run(command, directory, server, upstream, more)
    }

    /// Where the listener of role `admin` is, if the configuration has one.
    pub(crate) fn admin(&self) -> String {
        self.address("role=admin")
    }

    /// A number of the admin listener.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let metrics = get(&self.admin(), "/metrics", &[]).body;
        let value = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(' ')?.to_owned());
        metrics.lines().find_map(value).unwrap().parse().unwrap()
    }

    /// How much was refused for this reason, by the same.
    pub(crate) fn refused(&self, reason: &str) -> u64 {
        self.metric(&format!("pullgate_refused_total{{reason=\"{reason}\"}}"))
    }

    /// Where a listener is that the log names so: `role=publish site=shop`.
    pub(crate) fn address(&self, listener: &str) -> String {
        let listener = format!("listening {listener} address=");
        let after = |log: String| Some(log.split_once(&listener)?.1.to_owned());
        wait_for(|| after(self.log()).is_some());
        let after = after(self.log()).unwrap();
        after.lines().next().unwrap().trim().to_owned()
    }

    fn launch(directory: Arc<TempDir>, server: &str, upstream: &str, more: &str) -> Self {
        Self::run(pullgate(), directory, server, upstream, more)
    }

    /// The same by another command than [`pullgate`], or with something set in it.
    pub(crate) fn run(
        command: Command,
        directory: Arc<TempDir>,
        server: &str,
        upstream: &str,
        more: &str,
    ) -> Self {
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"site\"\n\
             [[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"publish\"\n\
             [server]\nstate_dir = \"state\"\nthreads = 2\n{server}\
             [upstream]\nurl = \"{upstream}\"\n{more}"
        );
        Self::run_as_configured(command, directory, &text)
    }

    /// By the whole of a configuration, which has a listener of role `site` and one of role `publish`.
    pub(crate) fn run_as_configured(
        mut command: Command,
        directory: Arc<TempDir>,
        text: &str,
    ) -> Self {
        let config = directory.path().join("pullgate.toml");
        std::fs::write(&config, text).unwrap();
        command.arg("run").arg("--config").arg(&config);
        let mut child = Group::spawn(command.stderr(Stdio::piped()));
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::new(Mutex::new(String::new()));
        let (mut site, mut publish) = (None, None);
        while site.is_none() || publish.is_none() {
            let mut line = String::new();
            assert!(
                lines.read_line(&mut line).unwrap() > 0,
                "pullgate ended: {}",
                log.lock().unwrap()
            );
            let address = line
                .split("address=")
                .nth(1)
                .map(|address| address.trim().to_owned());
            if line.contains("role=site") {
                site = address;
            } else if line.contains("role=publish") {
                publish = address;
            }
            log.lock().unwrap().push_str(&line);
        }
        let kept = Arc::clone(&log);
        thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let mut log = kept.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self {
            child,
            directory,
            site: site.unwrap(),
            publish: publish.unwrap(),
            log,
        }
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// kill -9; the state directory stays.
    pub(crate) fn kill(mut self) -> Arc<TempDir> {
        self.child.end();
        Arc::clone(&self.directory)
    }

    /// SIGTERM, and how it ended.
    pub(crate) fn terminate(mut self) -> (bool, Duration) {
        let began = Instant::now();
        signal(self.child.id(), "TERM");
        let status = self.child.wait().unwrap();
        (status.success(), began.elapsed())
    }
}

/// Sends a signal by its name to a process.
pub(crate) fn signal(pid: u32, name: &str) {
    let mut kill = Command::new("kill");
    let sent = kill.args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(sent.unwrap().success());
}

/// A port on which nobody listens; below those that the kernel gives to connections, which would be in the way of
/// a server that starts again, or even be connected to themselves while it is down.
pub(crate) fn free_port() -> u16 {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(97);
    loop {
        let number = first.wrapping_add(ASKED.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + u16::try_from(number % 20_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// PHP's own server on `fixtures/site`.
pub(crate) struct Php {
    child: Group,
    pub(crate) url: String,
}

impl Php {
    pub(crate) fn start(token_keys: &str) -> Self {
        let environment = [("PULLGATE_TOKEN_KEYS", token_keys)];
        Self::serve(free_port(), "fixtures/site/", &environment)
    }

    /// The same with another site: a directory (with the slash), or a script that answers everything.
    pub(crate) fn serve(port: u16, site: &str, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new("php");
        command.args(["-S", &format!("127.0.0.1:{port}")]);
        if site.ends_with('/') {
            command.arg("-t");
        }
        command
            .arg(root().join(site))
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let php = Self {
            child: Group::spawn(&mut command),
            url: format!("http://127.0.0.1:{port}"),
        };
        wait_for(|| TcpStream::connect(("127.0.0.1", port)).is_ok());
        php
    }

    /// The process, and its group.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

/// An upstream of our own: answers every connection by `answer`, given the head.
pub(crate) fn upstream(answer: impl Fn(TcpStream, String) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let answer = Arc::clone(&answer);
            thread::spawn(move || {
                let mut stream = stream;
                let head = read_head(&mut stream);
                if !head.is_empty() {
                    answer(stream, head);
                }
            });
        }
    });
    url
}

/// Reads up to the blank line, byte by byte, so that the body stays in the socket.
pub(crate) fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            Ok(_) | Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// A response read to its end.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Response {
    /// All that came on a connection. None where it ended too early for a response.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let lower = head.to_ascii_lowercase();
        let body = match lower.contains("transfer-encoding: chunked") {
            true => unchunk(body)?,
            false => body.to_owned(),
        };
        Some(Self {
            status,
            head: head.to_owned(),
            body,
        })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// The guest cookie that was set, as `name=value`.
    pub(crate) fn cookie(&self) -> Option<&str> {
        self.header("set-cookie")?.split(';').next()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Sends a request on a connection of its own and reads all that comes.
pub(crate) fn send(
    address: &str,
    method: &str,
    target: &str,
    headers: &[&str],
    body: &str,
) -> Response {
    let mut head =
        format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    if !body.is_empty() {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    send_raw(address, format!("{head}\r\n{body}").as_bytes())
}

pub(crate) fn get(address: &str, target: &str, headers: &[&str]) -> Response {
    send(address, "GET", target, headers, "")
}

/// Sends these bytes as they are, and reads all that comes.
pub(crate) fn send_raw(address: &str, request: &[u8]) -> Response {
    let mut stream = connect(address);
    // Who refuses may have closed before all is written; the answer is there all the same.
    let _ = stream.write_all(request);
    read_response(stream)
}

/// A connection on which nothing is waited for in vain.
pub(crate) fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

pub(crate) fn read_response(mut stream: TcpStream) -> Response {
    let mut bytes = Vec::new();
    // A reset behind a whole answer is the server's way of refusing what else we had to say.
    let _ = stream.read_to_end(&mut bytes);
    let text = || String::from_utf8_lossy(&bytes).into_owned();
    Response::parse(&bytes).unwrap_or_else(|| panic!("no response: {:?}", text()))
}

/// None where it was cut off.
fn unchunk(mut body: &str) -> Option<String> {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).ok()?;
        whole.push_str(rest.get(..size)?);
        body = rest[size..].trim_start_matches("\r\n");
    }
    Some(whole)
}

pub(crate) fn wait_for(mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "waited in vain");
        thread::sleep(Duration::from_millis(10));
    }
}
