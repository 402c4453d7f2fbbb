//! Who is at the other end of a connection.

use std::net::IpAddr;

/// Who is at the other end of a connection: as the kernel says, or a trusted proxy by the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    /// It came by TLS.
    pub(crate) tls: bool,
}

impl Peer {
    /// One that came in the clear, as far as is known. An IPv4 address is one in whatever form it comes.
    pub(crate) fn at(address: IpAddr) -> Self {
        Self {
            address: address.to_canonical(),
            tls: false,
        }
    }
}
