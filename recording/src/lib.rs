//! Recorded push traffic, in the format of `fixtures/FORMAT.md`.

pub mod format;
pub mod payload;
