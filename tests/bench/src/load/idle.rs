//! Connections on which nothing happens: what each costs, and what is left of them when they have gone.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::connections::Connections;
use super::http::upgrade;
use super::subscribers::open_gently;
use super::{After, Idle, Target, page};
use crate::Result;
use crate::figures::{Figure, Figures, to_f64};
use crate::process;

/// Until a server has put away what it needs no longer, and its allocator has given it back.
const SETTLING: Duration = Duration::from_secs(5);
/// Before the first measurement: the server has had some connections of the kind, and has what it needs for any.
const FIRST: usize = 50;

pub(super) fn measure(target: &Target<'_>, what: Idle, wanted: usize) -> Result<Figures> {
    let count = process::connections(wanted);
    drop(open(target, what, FIRST)?);
    sleep(SETTLING);
    let memory = || to_f64(target.processes.memory());
    let before = memory();
    let connections = open(target, what, count)?;
    sleep(SETTLING);
    let with = memory();
    drop(connections);
    sleep(SETTLING);
    let after = memory();
    let all = to_f64(u64::try_from(count)?);
    Ok(Figures::from([
        (Figure::Memory, before / 1e6),
        (Figure::Each, (with - before) / all),
        (Figure::Left, (after - before) / all),
        (Figure::Connections, all),
    ]))
}

fn open(target: &Target<'_>, what: Idle, count: usize) -> Result<Connections> {
    let mut connections = Connections::new()?;
    match what {
        Idle::Websocket => {
            let ask = |number| upgrade(&target.dialect.websocket(number, false));
            open_gently(&mut connections, target.site, count, 101, ask)?;
        }
        Idle::KeptAlive => {
            let ask = page(target, "/1k", false)?;
            open_gently(&mut connections, target.site, count, 200, |_| ask.clone())?;
        }
        Idle::Silent => one_by_one(&mut connections, target, count, |_| String::new())?,
        Idle::Poll => one_by_one(&mut connections, target, count, |number| {
            target.dialect.poll(number, &After::Nothing)
        })?,
    }
    Ok(connections)
}

/// For who gets no response: the server has time to accept them, some at a time.
fn one_by_one(
    connections: &mut Connections,
    target: &Target<'_>,
    count: usize,
    ask: impl Fn(usize) -> String,
) -> Result<()> {
    const AT_A_TIME: usize = 50;
    for number in 0..count {
        let connection = connections.open(target.site)?;
        connections.send(connection, ask(number).as_bytes())?;
        if number % AT_A_TIME == 0 {
            let until = Instant::now() + Duration::from_millis(10);
            if connections.next(until)?.is_some() {
                return Err("a response to who should wait".into());
            }
        }
    }
    Ok(())
}
