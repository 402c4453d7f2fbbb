//! What there was, and whether it was as it must be.

use std::cell::Cell;

use super::Soak;
use super::memory::Memory;

/// How many there were of something.
#[derive(Default)]
pub(super) struct Count(Cell<usize>);

impl Count {
    pub(super) fn add(&self, more: usize) {
        self.0.set(self.0.get() + more);
    }
}

#[derive(Default)]
pub(super) struct Counts {
    pub(super) stored: Count,
    pub(super) not_stored: Count,
    pub(super) received: Count,
    /// Times that the server ended a websocket that wanted to stay.
    pub(super) cut_off: Count,
    /// Websockets of those who come and go.
    pub(super) visits: Count,
    pub(super) polls: Count,
    pub(super) pages: Count,
    pub(super) pages_while_down: Count,
    pub(super) uploads: Count,
    pub(super) uploads_while_down: Count,
    pub(super) pings: Count,
    /// Connections whose peer took nothing, or at a crawl.
    pub(super) unread: Count,
    /// With a renewed certificate each.
    pub(super) reloads: Count,
    pub(super) upgrades: Count,
}

/// Prints the report; panics with what was wrong.
#[allow(clippy::print_stdout, reason = "what scripts/soak is run for")]
pub(super) fn conclude(soak: &Soak, memory: &Memory) {
    let counts = &soak.counts;
    let lacking = soak.lacking();
    let wrong = soak.wrong.borrow();
    let table = [
        ("messages stored", &counts.stored),
        ("messages not stored", &counts.not_stored),
        ("received, by all", &counts.received),
        ("websockets come and gone", &counts.visits),
        ("websockets ended by the server", &counts.cut_off),
        ("polls", &counts.polls),
        ("guests' pages", &counts.pages),
        (
            "pages refused while the site was down",
            &counts.pages_while_down,
        ),
        ("slow uploads", &counts.uploads),
        ("uploads cut off by a kill", &counts.uploads_while_down),
        ("pings whose pongs nobody read", &counts.pings),
        ("slow readers", &counts.unread),
        ("reloads", &counts.reloads),
        ("upgrades", &counts.upgrades),
    ];
    for (name, count) in table {
        println!("{name:40}{:>9}", count.0.get());
    }
    println!("{:40}{:>9}", "guests' numbers", soak.numbers.borrow().len());
    println!("{:40}{:>9}", "kills of the site", soak.back_end.kills());
    println!("{:40}{:>9}", "kills of Redis", soak.redis.kills());
    println!("{:40}{:>9}", "messages lost", lacking.len());
    println!("{:40}{:>9}", "other errors", wrong.len());
    print!("{memory}");

    let first: Vec<_> = wrong.iter().take(10).collect();
    assert!(
        wrong.is_empty(),
        "{first:#?}\nlost: {lacking:#?}\n{}",
        soak.server.log()
    );
    let log = || soak.server.log();
    assert!(lacking.is_empty(), "lost: {lacking:#?}\n{}", log());
    assert!(memory.is_flat(), "memory is not flat: {memory}");
}
