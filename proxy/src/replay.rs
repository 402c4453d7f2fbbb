//! `pullgate replay`: recordings are played again, and what differs is printed.

use pullgate_recording::replay::{Options, replay};

use crate::Failure;

/// Plays them all.
///
/// # Errors
/// When a recording cannot be read, or does not come out as recorded or as allowed.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let totals = runtime.block_on(replay(options, |outcome| {
        if !outcome.is_equal() {
            println!("{outcome}");
        }
    }))?;
    println!("{totals}");
    match totals.failed {
        0 => Ok(()),
        _ => Err("what came is not what was recorded".into()),
    }
}
