//! Recorded push traffic, in the format of `fixtures/FORMAT.md`.
//!
//! | module | what it does |
//! |---|---|
//! | [`format`](mod@format) | a recording as types |
//! | [`payload`] | its bytes |
//! | [`record`] | writes them: `tap` sees what passes, `mask` takes the secrets out |
//! | [`replay`] | plays recordings again and reports what differs |
//! | `play` | one recording, step by step, through [`client`] |
//! | `wire` | HTTP and websocket frames, for `tap` and [`client`] |
//! | `compare` | what is compared, and what may differ; `message`, `mids` and `stats` help |
//! | [`allowed`] | the reviewed list of differences |

pub mod allowed;
pub mod client;
mod compare;
pub mod format;
mod headers;
mod mask;
mod message;
mod mids;
pub mod payload;
mod play;
pub mod record;
pub mod replay;
mod short;
mod stats;
mod tap;
mod wire;
