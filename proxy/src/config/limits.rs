//! `[limits]`: what one visitor may have of a site, and all together.

/// `[limits]`. An address is a visitor's, of IPv6 a /64; 0 is no limit, and trusted proxies have none of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SiteLimits {
    /// Requests of one address, on an average. Default 200.
    pub(crate) requests_per_second: u32,
    /// So many of them may come at once. Default 2000.
    pub(crate) request_burst: u32,
    /// Websockets of one address, the site's own among them. Default 10,000.
    pub(crate) websockets_per_address: usize,
    /// Long polls and streams of events of one address. Default 10,000.
    pub(crate) polls_per_address: usize,
    /// Requests of all addresses under way at a time, polls and websockets among them. Default 0.
    pub(crate) concurrent_requests: usize,
}
