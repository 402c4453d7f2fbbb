//! What must hold whatever comes in, beyond that nothing panics.
//!
//! Each property takes any bytes, and panics where it does not hold. Three kinds of input are tried on
//! it: what proptest makes up (`main.rs`), the recordings (`seeds.rs`), and what the fuzzer makes of
//! these (`compat/fuzz`, of which this file is the library).
//!
//! Signatures are the wall that no made-up input gets past. So the properties that meet one try each
//! input twice, as it is and rightly signed; what is right is computed a second time in [`hmac`].

mod adopt;
mod channel_list;
mod cookie;
#[rustfmt::skip]
#[allow(dead_code, reason = "written by prost")]
pub mod generated;
mod hmac;
mod mid;
pub mod protobuf;
mod proxy_protocol;
mod query;
mod text_frames;
mod websocket;

use std::sync::LazyLock;

use pullgate_compat::signature::{Algorithm, SignatureKey};

pub use adopt::{adopt, adoptable};
pub use channel_list::channel_list;
pub use cookie::{GUESTS, cookie};
pub use mid::mid;
pub use protobuf::protobuf;
pub use proxy_protocol::proxy_protocol;
pub use query::query;
pub use text_frames::text_frames;
pub use websocket::websocket;

/// A property, by the name of its fuzz target.
pub type Property = (&'static str, fn(&[u8]));

/// Every property.
pub const ALL: [Property; 9] = [
    ("adopt", adopt),
    ("channel_list", channel_list),
    ("cookie", cookie),
    ("mid", mid),
    ("protobuf", protobuf),
    ("proxy_protocol", proxy_protocol),
    ("query", query),
    ("text_frames", text_frames),
    ("websocket", websocket),
];

/// The key under which everything was recorded, so that the recorded signatures are right ones.
const SITE_KEY: &str = "89133c4cb836aa3c5c505be2ad09cb6dc3d5695fc300f28ac5409d955146286b\
                        596d3151b4dbd983a7ecedcfde8e9f7e8e14e7ec173a2d8c977f90772fb1ba42";

/// [`SITE_KEY`], as the crate takes it.
pub static KEY: LazyLock<SignatureKey> =
    LazyLock::new(|| SignatureKey::new(Algorithm::Sha1, SITE_KEY));

/// What [`KEY`] must sign `text` with.
fn signature(text: &str) -> Vec<u8> {
    hmac::hmac::<sha1::Sha1>(SITE_KEY.as_bytes(), text.as_bytes())
}
