//! A site that keeps what came, byte by byte, and counts who connects.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::wait_for;

/// Answers each whole request with `ok`, on a connection of its own, unless its target has `silent` in it.
pub(crate) struct Witness {
    pub(crate) url: String,
    connections: Arc<Mutex<Vec<Connection>>>,
}

#[derive(Debug, Default, Clone)]
pub(crate) struct Connection {
    /// All that has come on it so far.
    pub(crate) came: String,
    pub(crate) ended: bool,
}

impl Connection {
    /// What has come of the body, with its chunks' sizes.
    pub(crate) fn body(&self) -> &str {
        self.came
            .split_once("\r\n\r\n")
            .map_or("", |(_, body)| body)
    }

    /// Whether this line is in the head, in any case.
    pub(crate) fn has(&self, line: &str) -> bool {
        let head = self.came.split("\r\n\r\n").next().unwrap();
        head.lines().any(|of| of.eq_ignore_ascii_case(line))
    }

    fn is_whole(&self) -> bool {
        let lower = self.came.to_ascii_lowercase();
        let Some((head, body)) = lower.split_once("\r\n\r\n") else {
            return false;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        match length {
            Some(length) => body.len() >= length.parse().unwrap(),
            None if head.contains("transfer-encoding") => body.ends_with("0\r\n\r\n"),
            None => true,
        }
    }
}

impl Witness {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let connections = Arc::<Mutex<Vec<Connection>>>::default();
        let kept = Arc::clone(&connections);
        thread::spawn(move || {
            for (index, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                kept.lock().unwrap().push(Connection::default());
                let kept = Arc::clone(&kept);
                thread::spawn(move || serve(stream, &kept, index));
            }
        });
        Self { url, connections }
    }

    /// How many have connected.
    pub(crate) fn count(&self) -> usize {
        self.connections.lock().unwrap().len()
    }

    /// The one that came last, once it is so.
    pub(crate) fn last(&self, is_so: impl Fn(&Connection) -> bool) -> Connection {
        let last = || self.connections.lock().unwrap().last().cloned();
        wait_for(|| last().is_some_and(|last| is_so(&last)));
        last().unwrap()
    }
}

fn serve(mut stream: TcpStream, connections: &Mutex<Vec<Connection>>, index: usize) {
    let mut piece = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut piece) {
        let whole = {
            let connection = &mut connections.lock().unwrap()[index];
            let text = String::from_utf8_lossy(&piece[..read]);
            connection.came.push_str(&text);
            connection.is_whole() && !connection.came.lines().next().unwrap().contains("silent")
        };
        if whole {
            let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
            let _ = stream.write_all(answer);
            break;
        }
    }
    connections.lock().unwrap()[index].ended = true;
}
