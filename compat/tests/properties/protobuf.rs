//! Protobuf: what we read, we write so that we and prost read the same; a request gets past the checks
//! if it may, and as it was sent.

mod request;
mod response;
mod witness;

use super::generated as pb;
pub use request::{read_as_prost_wrote, requests};
pub use response::{nodes, notifications_come_back, responses, responses_come_back};

/// `data` is a request, a response, and what is kept in Redis.
pub fn protobuf(data: &[u8]) {
    requests(data);
    responses(data);
    nodes(data);
}
