//! Sends back what websocket clients send, by the codec alone: something to try test suites on, as
//! `scripts/autobahn` does.
//!
//! ```sh
//! cargo run -p pullgate-compat --example websocket_echo -- 127.0.0.1:9001
//! ```

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use pullgate_compat::websocket::{
    CloseFrame, Decoder, Event, Opcode, Peer, accept_key, encode_close, encode_frame,
};

const MAX_MESSAGE: usize = 32 << 20;

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:9001"))?;
    for stream in listener.incoming() {
        let stream = stream?;
        // How a connection ends is its client's business.
        thread::spawn(move || echo(stream));
    }
    Ok(())
}

fn echo(stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    let key = read_key(&mut reader)?;
    write!(
        writer,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        accept_key(&key)
    )?;
    let mut decoder = Decoder::new(Peer::Client, MAX_MESSAGE);
    while let Some(goes_on) = answer(&mut decoder, reader.fill_buf()?, &mut writer)? {
        let read = reader.buffer().len();
        reader.consume(read);
        if !goes_on {
            writer.shutdown(Shutdown::Write)?;
            // Else the kernel would reset the connection, and the client might miss the close frame.
            io::copy(&mut reader, &mut io::sink())?;
            break;
        }
    }
    Ok(())
}

/// Answers what comes, and says whether more may; `None` at the end of the stream.
fn answer(
    decoder: &mut Decoder,
    mut bytes: &[u8],
    writer: &mut impl Write,
) -> io::Result<Option<bool>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    loop {
        let (opcode, payload) = match decoder.next(&mut bytes) {
            Ok(None) => return Ok(Some(true)),
            Ok(Some(Event::Text(text))) => (Opcode::Text, text),
            Ok(Some(Event::Binary(data))) => (Opcode::Binary, data),
            Ok(Some(Event::Ping(data))) => (Opcode::Pong, data),
            Ok(Some(Event::Pong(_))) => continue,
            Ok(Some(Event::Close(frame))) => (Opcode::Close, encode_close(frame.as_ref())),
            Err(violation) => {
                let (code, reason) = (violation.code(), violation.to_string());
                let frame = CloseFrame { code, reason };
                (Opcode::Close, encode_close(Some(&frame)))
            }
        };
        let mut frame = Vec::new();
        encode_frame(opcode, None, &payload, &mut frame);
        writer.write_all(&frame)?;
        if opcode == Opcode::Close {
            return Ok(Some(false));
        }
    }
}

/// The client's key; its handshake is taken for right.
fn read_key(reader: &mut impl BufRead) -> io::Result<String> {
    let mut key = String::new();
    for line in reader.take(64 << 10).lines() {
        let line = line?;
        match line.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("sec-websocket-key") => {
                value.trim().clone_into(&mut key);
            }
            Some(_) => {}
            None if line.is_empty() => break,
            None => {}
        }
    }
    Ok(key)
}
