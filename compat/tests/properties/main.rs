//! The properties of [`properties`], tried on what proptest makes up and on the recordings.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a panic is a failed test"
)]

#[allow(unreachable_pub, reason = "also the library of the fuzz targets")]
#[path = "lib.rs"]
mod properties;

mod made_up;
mod seeds;
