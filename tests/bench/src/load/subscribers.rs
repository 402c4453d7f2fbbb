//! Many connections that are opened for one purpose, some at a time, each until its first response.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::connections::Connections;
use super::http::Response;
use crate::Result;

/// How many connections are being opened at a time: as many as wait with any server.
const AT_A_TIME: usize = 200;
/// How long everybody may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Opens `count` connections and sends `request` of each, which must get `status`. Their numbers, in that order.
pub(super) fn open(
    connections: &mut Connections,
    address: SocketAddr,
    count: usize,
    at_a_time: usize,
    status: u16,
    request: impl Fn(usize) -> String,
) -> Result<Vec<usize>> {
    let mut numbers = Vec::with_capacity(count);
    let mut done = 0;
    let until = Instant::now() + PATIENCE;
    while done < count {
        while numbers.len() < count && numbers.len() < done + at_a_time {
            let number = connections.open(address)?;
            connections.send(number, request(numbers.len()).as_bytes())?;
            numbers.push(number);
        }
        let Some(input) = connections.next(until)? else {
            return Err(format!("{done} of {count} connections within {PATIENCE:?}").into());
        };
        if let Some(response) = Response::parse(input.bytes)? {
            if response.status != status {
                return Err(format!("status {} instead of {status}", response.status).into());
            }
            input.bytes.drain(..response.body.end);
            done += 1;
        } else if input.has_ended {
            return Err(format!("connection {done} of {count} was closed").into());
        }
    }
    Ok(numbers)
}

/// The same, gently.
pub(super) fn open_gently(
    connections: &mut Connections,
    address: SocketAddr,
    count: usize,
    status: u16,
    request: impl Fn(usize) -> String,
) -> Result<Vec<usize>> {
    open(connections, address, count, AT_A_TIME, status, request)
}

/// One request over a connection of its own.
pub(super) fn ask(address: SocketAddr, request: &str) -> Result<Response> {
    let mut connections = Connections::new()?;
    let number = connections.open(address)?;
    connections.send(number, request.as_bytes())?;
    let until = Instant::now() + PATIENCE;
    while let Some(input) = connections.next(until)? {
        if let Some(response) = Response::parse(input.bytes)? {
            return Ok(response);
        }
        if input.has_ended {
            break;
        }
    }
    Err("no response".into())
}
