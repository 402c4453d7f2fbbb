//! Everybody is cut off at once and comes back at once, while somebody looks at the site.

use std::time::{Duration, Instant};

use super::connections::Connections;
use super::http::{Response, upgrade};
use super::subscribers::{PATIENCE, open_gently};
use super::{Target, page};
use crate::Result;
use crate::figures::{Figure, Figures, Latencies, to_f64};
use crate::process;

/// How many begin to come back before we look what has come.
const AT_A_TIME: usize = 50;
/// Between two looks at the site.
const PAUSE: Duration = Duration::from_millis(5);

pub(super) fn measure(target: &Target<'_>, wanted: usize) -> Result<Figures> {
    let count = process::connections(wanted);
    let ask = |number: usize| upgrade(&target.dialect.websocket(number, false));
    let page = page(target, "/1k", false)?;
    let mut connections = Connections::new()?;
    let visitor = open_gently(&mut connections, target.site, 1, 200, |_| page.clone())?;
    let visitor = *visitor.first().ok_or("no visitor")?;
    for number in open_gently(&mut connections, target.site, count, 101, ask)? {
        connections.close(number);
    }

    let cpu = target.processes.cpu();
    let began = Instant::now();
    let mut latencies = Latencies::default();
    let (mut begun, mut back) = (0, 0);
    // When the visitor has asked, or will ask.
    let (mut asked, mut next) = (None, began);
    while back < count {
        let now = Instant::now();
        if now - began > PATIENCE {
            return Err(format!("{back} of {count} are back after {PATIENCE:?}").into());
        }
        if asked.is_none() && now >= next {
            connections.send(visitor, page.as_bytes())?;
            asked = Some(now);
        }
        for _ in 0..AT_A_TIME.min(count - begun) {
            let number = connections.open(target.site)?;
            connections.send(number, ask(begun).as_bytes())?;
            begun += 1;
        }
        let until = if begun < count { now } else { now + PAUSE };
        while let Some(input) = connections.next(until)? {
            let Some(response) = Response::parse(input.bytes)? else {
                if input.has_ended {
                    return Err("a connection was closed".into());
                }
                continue;
            };
            let wanted = if input.number == visitor { 200 } else { 101 };
            if response.status != wanted {
                return Err(format!("status {} instead of {wanted}", response.status).into());
            }
            input.bytes.drain(..response.body.end);
            if input.number != visitor {
                back += 1;
            } else if let Some(asked) = asked.take() {
                let now = Instant::now();
                latencies.add(now - asked);
                next = now + PAUSE;
            }
        }
    }
    let took = began.elapsed();
    let cpu = target.processes.cpu().saturating_sub(cpu);
    let all = to_f64(u64::try_from(count)?);
    Ok(Figures::from([
        (Figure::Connections, all),
        (Figure::Back, took.as_secs_f64()),
        (Figure::Rate, all / took.as_secs_f64()),
        (Figure::Cpu, cpu.as_secs_f64() * 1e6 / all),
        (Figure::Median, latencies.quantile(0.5)),
        (Figure::P99, latencies.quantile(0.99)),
    ]))
}
