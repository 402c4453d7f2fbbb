//! A Redis of the test's own, which it may kill and start again.

use std::process::{Command, Stdio};
use std::time::Duration;

use redis::{Client, Connection};
use tempfile::TempDir;

use crate::harness::{Group, SIGNATURE_KEY, Server, free_port, wait_for};

pub(crate) struct RedisServer {
    child: Option<Group>,
    directory: TempDir,
    pub(crate) port: u16,
    arguments: Vec<String>,
}

impl RedisServer {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// With more arguments.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let mut server = Self {
            child: None,
            directory: tempfile::tempdir().unwrap(),
            port: free_port(),
            arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
        };
        server.begin();
        server
    }

    /// Starts it; empty, unless its arguments say otherwise.
    pub(crate) fn begin(&mut self) {
        let port = self.port.to_string();
        let mut command = Command::new("redis-server");
        command
            .args(["--port", &port, "--bind", "127.0.0.1", "--dir"])
            .arg(self.directory.path())
            .args(["--save", "", "--appendonly", "no"])
            .args(&self.arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.child = Some(Group::spawn(&mut command));
        wait_for(|| self.client().get_connection().is_ok());
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.child = None;
    }

    fn client(&self) -> Client {
        Client::open(self.url()).unwrap()
    }

    pub(crate) fn connection(&self) -> Connection {
        let connection = self.client().get_connection().unwrap();
        connection
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        connection
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// `[history]` for it.
    pub(crate) fn history(&self) -> String {
        format!(
            "[history]\nengine = \"redis\"\nredis_url = \"{}\"\n",
            self.url()
        )
    }

    /// A node on it, which is connected.
    pub(crate) fn node(&self) -> Server {
        self.node_with("")
    }

    /// The same with more lines of `[push]`.
    pub(crate) fn node_with(&self, push: &str) -> Server {
        let server = start_with_history(push, &self.history());
        wait_for(|| server.log().contains("connected to Redis"));
        server
    }
}

/// A pullgate with this `[history]`.
pub(crate) fn start_with_history(push: &str, history: &str) -> Server {
    let push = format!("[push]\nsignature_key = \"{SIGNATURE_KEY}\"\n{push}");
    let admin = "[[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"admin\"\n";
    Server::start("http://127.0.0.1:1", &format!("{push}{history}{admin}"))
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

impl RedisServer {
    /// It holds its connections and does nothing.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(sent.success());
    }
}
