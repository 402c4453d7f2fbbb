//! What `pullgate record` can be told, and what not.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixListener;
use std::thread;

use super::recorder::Recorder;
use crate::harness::{Response, pullgate, read_response, upstream};

#[test]
fn what_is_asked_for_must_make_sense() {
    let refused = |arguments: &[&str]| {
        let output = pullgate().arg("record").args(arguments).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().to_str().unwrap();
    let listen = ["--listen", "127.0.0.1:0", "--out", out];
    let with = |more: &[&'static str]| refused(&[&listen[..], more].concat());
    assert!(with(&["--upstream", "https://x"]).contains("only http and unix:"));
    let error = with(&["--upstream", "http://x", "--mask"]);
    assert!(error.contains("--signature-key-file"), "{error}");
    let error = with(&["--upstream", "http://x", "--name", "../x"]);
    assert!(error.contains("is no name"), "{error}");
    std::fs::write(directory.path().join("x.json"), "").unwrap();
    let error = with(&["--upstream", "http://x", "--name", "x"]);
    assert!(error.contains("x.json"), "{error}");
    let error = with(&["--upstream", "http://x", "--listen", "127.0.0.1:0"]);
    assert!(error.contains("needs its --upstream"), "{error}");
    let answer = read_after(&listen);
    assert_eq!(answer.status, 404);
}

/// A recorder that stops by itself, in front of a server that says 404.
fn read_after(listen: &[&str]) -> Response {
    let url = upstream(|mut stream, _| {
        write!(
            stream,
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
    });
    let recorder = Recorder::start(
        &url,
        &["--for", "5s", "--listen", listen[1], "--upstream", &url],
    );
    let mut stream = TcpStream::connect(&recorder.address).unwrap();
    write!(stream, "GET /bitrix/sub/ HTTP/1.1\r\n\r\n").unwrap();
    let answer = read_response(stream);
    let mut recorder = recorder;
    assert!(recorder.child.wait().unwrap().success());
    answer
}

#[test]
fn a_server_on_a_unix_socket_is_recorded_below_its_own_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 32];
        stream.read_exact(&mut head).unwrap();
        stream
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            .unwrap();
    });
    let url = format!("unix:{}", path.display());
    let recorder = Recorder::start(&url, &["--pub", "/publish/", "--max-size", "1MiB"]);
    let mut stream = TcpStream::connect(&recorder.address).unwrap();
    stream
        .write_all(b"GET /PUBLISH/abcdef HTTP/1.1\r\n\r\n")
        .unwrap();
    assert_eq!(read_response(stream).status, 204);
    let (_, recording, _) = recorder.stop();
    assert_eq!(
        (recording.steps.len(), &*recording.routes["pub"]),
        (1, "/publish/")
    );
    assert_eq!(recording.recorded_from, url);
}
