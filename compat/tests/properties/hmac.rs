//! HMAC as RFC 2104 tells it, beside the one that the crate uses.

use sha2::Digest;

/// HMAC over a hash with blocks of 64 bytes: MD5, SHA-1 and SHA-256.
pub(super) fn hmac<H: Digest>(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = if key.len() > 64 {
        H::digest(key).to_vec()
    } else {
        key.to_vec()
    };
    block.resize(64, 0);
    let pad = |byte: u8| block.iter().map(|key| key ^ byte).collect::<Vec<_>>();
    let inner = H::digest([&pad(0x36), text].concat());
    H::digest([&pad(0x5c), &inner[..]].concat()).to_vec()
}
