//! `proxy_protocol = true`: a trusted proxy says in front of each connection who came to it.
//!
//! Such a listener believes nobody else: whoever is not one of `server.trusted_proxies`, or does not begin with a whole
//! header, gets no answer. What comes behind the header, be it TLS or HTTP, stays in the socket.

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use pullgate_compat::proxy_protocol::{Malformed, parse};
use tokio::io::Interest;

use crate::net::Stream;
use crate::net::peer::Peer;

/// What is looked at in one go. A header seldom has a tenth of it.
const PIECE: usize = 1024;

/// Why a connection is not served.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("it is not from one of server.trusted_proxies")]
    Untrusted,
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Also what asks whether the port is open.
    #[error("it ended before the header did")]
    Closed,
    #[error("it broke off: {0}")]
    Broken(#[from] io::Error),
    #[error("the header did not come within server.header_timeout")]
    TimedOut,
}

/// Takes the header off a connection. Where it names nobody, the proxy itself has come: to see whether we are well,
/// or for somebody on its own machine.
pub(super) async fn take_header(
    stream: &Stream,
    proxy: IpAddr,
    trusted: &[IpNet],
) -> Result<Peer, Refused> {
    let proxy = Peer::at(proxy);
    if !trusted
        .iter()
        .any(|network| network.contains(&proxy.address))
    {
        return Err(Refused::Untrusted);
    }
    let mut header = Vec::new();
    loop {
        stream.ready(Interest::READABLE).await?;
        let mut piece = [0; PIECE];
        let seen = match stream.try_peek(&mut piece) {
            Ok(0) => return Err(Refused::Closed),
            Ok(seen) => piece.get_mut(..seen).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error.into()),
        };
        let before = header.len();
        header.extend_from_slice(seen);
        let parsed = parse(&header)?;
        let own = parsed.map_or(seen.len(), |header| header.length.saturating_sub(before));
        // It is there, so this takes all of it.
        stream.try_read(seen.get_mut(..own).unwrap_or_default())?;
        if let Some(header) = parsed {
            let address = header.source.map_or(proxy.address, |source| source.ip());
            let tls = header.tls;
            return Ok(Peer {
                tls,
                ..Peer::at(address)
            });
        }
    }
}
