//! The site of these tests: it notes what really came, and answers what it is told to.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::harness::wait_for;

/// A site whose answer can be changed.
pub(super) struct Site {
    pub(super) address: String,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    /// What is answered to all but `/end`; empty: as to that, 200 with the request line's first two words.
    answer: Vec<u8>,
    /// The connection stays open behind that answer.
    stays: bool,
    /// Requests that came, each as [`summary`] tells it.
    came: Vec<String>,
    /// Requests of which the head has come, and not all.
    unfinished: usize,
}

impl Site {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Mutex::new(Shared::default()));
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&of_thread);
                thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { address, shared }
    }

    /// From now on this is answered, and the connection ends behind it, or stays.
    pub(super) fn answers(&self, answer: &[u8], stays: bool) {
        let mut shared = self.shared.lock().unwrap();
        shared.answer = answer.to_vec();
        shared.stays = stays;
    }

    /// What came since the last time, once none of it is half there.
    pub(super) fn came(&self) -> Vec<String> {
        wait_for(|| self.shared.lock().unwrap().unfinished == 0);
        std::mem::take(&mut self.shared.lock().unwrap().came)
    }
}

/// One connection. Whatever comes behind a request is the next one, be it what it may.
fn serve(mut stream: TcpStream, shared: &Mutex<Shared>) {
    let mut bytes = Bytes::default();
    while let Some(head) = bytes.until(&mut stream, b"\r\n\r\n") {
        shared.lock().unwrap().unfinished += 1;
        let body = body(&mut bytes, &mut stream, &head);
        let told = summary(&head, &body);
        let (answer, stays) = {
            let mut shared = shared.lock().unwrap();
            shared.came.push(told.clone());
            shared.unfinished -= 1;
            (shared.answer.clone(), shared.stays)
        };
        let text = told.split(' ').take(2).collect::<Vec<_>>().join(" ");
        let mut usual = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", text.len());
        if !head.starts_with(b"HEAD ") {
            usual.push_str(&text);
        }
        let scripted = !answer.is_empty() && !text.ends_with(" /end");
        let answer = match scripted {
            true => answer,
            false => usual.into_bytes(),
        };
        if stream.write_all(&answer).is_err() {
            return;
        }
        // Some answers have no other end than that of the connection.
        if scripted && !stays {
            return;
        }
    }
    let rest = bytes.read.escape_ascii().to_string();
    if !rest.is_empty() {
        shared
            .lock()
            .unwrap()
            .came
            .push(format!("NO REQUEST {rest}"));
    }
}

/// What was read of a connection and not used.
#[derive(Default)]
struct Bytes {
    read: Vec<u8>,
}

impl Bytes {
    fn more(&mut self, stream: &mut TcpStream) -> bool {
        let mut piece = [0; 4096];
        loop {
            match stream.read(&mut piece) {
                Ok(0) => return false,
                Ok(length) => {
                    self.read.extend_from_slice(&piece[..length]);
                    return true;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
    }

    /// All up to and with `end`.
    fn until(&mut self, stream: &mut TcpStream, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            let at = self.read.windows(end.len()).position(|part| part == end);
            if let Some(at) = at {
                return Some(self.read.drain(..at + end.len()).collect());
            }
            if !self.more(stream) {
                return None;
            }
        }
    }

    fn exactly(&mut self, stream: &mut TcpStream, length: usize) -> Option<Vec<u8>> {
        while self.read.len() < length {
            if !self.more(stream) {
                return None;
            }
        }
        Some(self.read.drain(..length).collect())
    }
}

/// The body of a request, by the one length that it has; `None` if it broke off.
fn body(bytes: &mut Bytes, stream: &mut TcpStream, head: &[u8]) -> Option<Vec<u8>> {
    let fields = fields(head);
    let named = |name: &str| {
        let mut found = fields.iter().filter(|(key, _)| key == name);
        let first = found.next().map(|(_, value)| value.clone());
        assert!(
            found.next().is_none(),
            "two lengths: {}",
            head.escape_ascii()
        );
        first
    };
    match (named("content-length"), named("transfer-encoding")) {
        (None, None) => Some(Vec::new()),
        (Some(length), None) => bytes.exactly(stream, length.parse().unwrap()),
        (None, Some(coding)) => {
            assert_eq!(coding, "chunked");
            let mut body = Vec::new();
            loop {
                let line = bytes.until(stream, b"\r\n")?;
                let size = std::str::from_utf8(&line).unwrap().trim_end();
                let size = usize::from_str_radix(size, 16).unwrap();
                let piece = bytes.exactly(stream, size + 2)?;
                assert!(piece.ends_with(b"\r\n"));
                body.extend_from_slice(&piece[..size]);
                if size == 0 {
                    return Some(body);
                }
            }
        }
        (Some(_), Some(_)) => panic!("two lengths: {}", head.escape_ascii()),
    }
}

/// Names in lower case, and values, as they came.
fn fields(head: &[u8]) -> Vec<(String, String)> {
    let text = head.escape_ascii().to_string();
    let lines = text.split("\\r\\n").skip(1).filter(|line| !line.is_empty());
    lines
        .map(|line| match line.split_once(':') {
            Some((name, value)) => (name.to_ascii_lowercase(), value.trim().to_owned()),
            None => (line.to_owned(), "NO FIELD".to_owned()),
        })
        .collect()
}

/// What every request has, or what says in which way the same body is sent.
const USUAL: [&str; 10] = [
    "connection",
    "content-length",
    "transfer-encoding",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
    "user-agent",
];

/// `METHOD target name=value … =body`, without what every request has.
fn summary(head: &[u8], body: &Option<Vec<u8>>) -> String {
    let line = head.escape_ascii().to_string();
    let line = line.split("\\r\\n").next().unwrap().to_owned();
    let mut told = match line.strip_suffix(" HTTP/1.1") {
        Some(line) => line.to_owned(),
        None => line,
    };
    for (name, value) in fields(head) {
        let usual =
            USUAL.contains(&name.as_str()) || (name.as_str(), value.as_str()) == ("host", "h");
        if !usual {
            told.push_str(&format!(" {name}={value}"));
        }
    }
    match body {
        None => told.push_str(" =broken off"),
        Some(body) if body.is_empty() => {}
        Some(body) => told.push_str(&format!(" ={}", body.escape_ascii())),
    }
    told
}
