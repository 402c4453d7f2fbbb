//! What is measured: a case has entries, which take turns.

use crate::Result;
use crate::load::{By, Idle, Load, Pace, Push};
use crate::servers::{History, Server, Setup};

/// Works that are compared with each other, in turn.
pub(crate) struct Case {
    /// As on the command line.
    pub(crate) name: &'static str,
    /// As a heading.
    pub(crate) title: &'static str,
    pub(crate) entries: Vec<Entry>,
}

/// A server at a work.
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) server: Server,
    pub(crate) load: Load,
}

const NGINX: Server = Server::Nginx { workers: 1 };
const NGINX_2: Server = Server::Nginx { workers: 2 };
const NCHAN: Server = Server::Nchan { log: true };

/// As the goals have it: guests identified, the access log on, one thread.
const SETUP: Setup = Setup {
    threads: 1,
    guests: true,
    log: true,
    history: History::Memory,
};
const PULLGATE: Server = Server::Pullgate(SETUP);
const TWO_THREADS: Server = Server::Pullgate(Setup {
    threads: 2,
    ..SETUP
});
const NO_GUESTS: Server = Server::Pullgate(Setup {
    guests: false,
    ..SETUP
});
const NO_LOG: Server = Server::Pullgate(Setup {
    log: false,
    ..SETUP
});
const DISK: Server = Server::Pullgate(Setup {
    history: History::Disk,
    ..SETUP
});
const ALWAYS: Server = Server::Pullgate(Setup {
    history: History::Always,
    ..SETUP
});

/// 64 connections that are kept, a page of 1 KiB.
const PAGES: Load = Load::Pages {
    path: "/1k",
    connections: 64,
    fresh: false,
};
const MANY: Load = Load::Pages {
    path: "/1k",
    connections: 512,
    fresh: false,
};
const LARGE: Load = Load::Pages {
    path: "/64k",
    connections: 64,
    fresh: false,
};
const FRESH: Load = Load::Pages {
    path: "/1k",
    connections: 64,
    fresh: true,
};

const fn tls(http2: bool) -> Load {
    Load::TlsPages {
        http2,
        connections: 64,
    }
}

const fn publish(publishers: usize, channels: usize, stored: bool) -> Load {
    Load::Publish {
        publishers,
        channels,
        stored,
    }
}

/// Each subscriber has a channel of its own, and messages are stored.
const fn unicast(subscribers: usize, by: By) -> Load {
    Load::Push(Push {
        subscribers,
        channels: subscribers,
        by,
        pace: Pace::Window(64),
        publishers: 8,
        stored: true,
    })
}

/// A thousand subscribers of one channel, and nothing is stored.
const fn fan_out(by: By, pace: Pace) -> Load {
    Load::Push(Push {
        subscribers: 1000,
        channels: 1,
        by,
        pace,
        publishers: 1,
        stored: false,
    })
}

const HUNDRED_A_SECOND: Pace = Pace::Rate(100);
/// Few enough that waiting is not what is measured.
const ALL_IT_CAN: Pace = Pace::Window(8);

const fn idle(what: Idle) -> Load {
    Load::Idle {
        what,
        connections: 10_000,
    }
}

const STORM: Load = Load::Storm {
    subscribers: 15_000,
};

/// Every case there is, or those that are named.
pub(crate) fn cases(names: &[String]) -> Result<Vec<Case>> {
    let mut cases = all();
    if let Some(unknown) = names
        .iter()
        .find(|name| cases.iter().all(|case| case.name != **name))
    {
        let known: Vec<&str> = cases.iter().map(|case| case.name).collect();
        return Err(format!("no case {unknown}; there are {}", known.join(", ")).into());
    }
    if !names.is_empty() {
        cases.retain(|case| names.iter().any(|name| name == case.name));
    }
    Ok(cases)
}

fn all() -> Vec<Case> {
    vec![
        case(
            "proxy",
            "Pages of 1 KiB, 64 connections",
            &as_proxies(PAGES),
        ),
        case(
            "proxy-512",
            "Pages of 1 KiB, 512 connections",
            &as_proxies(MANY),
        ),
        case(
            "proxy-64k",
            "Pages of 64 KiB, 64 connections",
            &as_proxies(LARGE),
        ),
        case(
            "proxy-new",
            "Pages of 1 KiB, a new connection for each",
            &as_proxies(FRESH),
        ),
        case(
            "tls",
            "Pages of 1 KiB by TLS, 64 connections",
            &as_proxies(tls(false)),
        ),
        case("h2", "The same by HTTP/2", &as_proxies(tls(true))),
        case(
            "publish",
            "Messages to nobody, 8 publishers",
            &[
                ("nchan", NCHAN, publish(8, 1, false)),
                (
                    "nchan, no log",
                    Server::Nchan { log: false },
                    publish(8, 1, false),
                ),
                ("pullgate", PULLGATE, publish(8, 1, false)),
                ("pullgate, no log", NO_LOG, publish(8, 1, false)),
                ("pullgate, two threads", TWO_THREADS, publish(8, 1, false)),
                ("pullgate, stored in memory", PULLGATE, publish(8, 1, true)),
                ("pullgate, stored on disk", DISK, publish(8, 1, true)),
                (
                    "pullgate, always, 64 publishers",
                    ALWAYS,
                    publish(64, 1, true),
                ),
            ],
        ),
        case(
            "unicast",
            "A message each to 1,000 subscribers, 64 under way",
            &[
                ("nchan", NCHAN, unicast(1000, By::Text)),
                ("pullgate", PULLGATE, unicast(1000, By::Text)),
                (
                    "pullgate, two threads",
                    TWO_THREADS,
                    unicast(1000, By::Text),
                ),
                ("pullgate, on disk", DISK, unicast(1000, By::Text)),
            ],
        ),
        case(
            "poll",
            "The same by long polling",
            &[
                ("nchan", NCHAN, unicast(1000, By::Poll)),
                ("pullgate", PULLGATE, unicast(1000, By::Poll)),
                (
                    "pullgate, two threads",
                    TWO_THREADS,
                    unicast(1000, By::Poll),
                ),
            ],
        ),
        case(
            "fanout-100",
            "A hundred messages a second to 1,000 subscribers",
            &[
                ("nchan", NCHAN, fan_out(By::Text, HUNDRED_A_SECOND)),
                ("pullgate", PULLGATE, fan_out(By::Text, HUNDRED_A_SECOND)),
            ],
        ),
        case(
            "fanout",
            "Messages to 1,000 subscribers, as fast as it goes",
            &[
                ("nchan", NCHAN, fan_out(By::Text, ALL_IT_CAN)),
                ("pullgate", PULLGATE, fan_out(By::Text, ALL_IT_CAN)),
                (
                    "pullgate, binary",
                    PULLGATE,
                    fan_out(By::Binary, ALL_IT_CAN),
                ),
                (
                    "pullgate, two threads",
                    TWO_THREADS,
                    fan_out(By::Text, ALL_IT_CAN),
                ),
            ],
        ),
        case(
            "idle",
            "10,000 connections on which nothing happens",
            &[
                ("nchan, websocket", NCHAN, idle(Idle::Websocket)),
                ("pullgate, websocket", PULLGATE, idle(Idle::Websocket)),
                ("nginx, kept alive", NGINX, idle(Idle::KeptAlive)),
                ("pullgate, kept alive", PULLGATE, idle(Idle::KeptAlive)),
                ("nginx, silent", NGINX, idle(Idle::Silent)),
                ("HAProxy, silent", Server::Haproxy, idle(Idle::Silent)),
                ("pullgate, silent", PULLGATE, idle(Idle::Silent)),
                ("nchan, long poll", NCHAN, idle(Idle::Poll)),
                ("pullgate, long poll", PULLGATE, idle(Idle::Poll)),
            ],
        ),
        case(
            "scale",
            "From few to many",
            &[
                ("100 subscribers", PULLGATE, unicast(100, By::Text)),
                ("10,000 subscribers", PULLGATE, unicast(10_000, By::Text)),
                ("1 channel", PULLGATE, publish(8, 1, true)),
                ("10,000 channels", PULLGATE, publish(8, 10_000, true)),
            ],
        ),
        case(
            "storm",
            "15,000 subscribers come back at once",
            &[("nchan", NCHAN, STORM), ("pullgate", PULLGATE, STORM)],
        ),
    ]
}

/// The proxies, and pullgate as the goals name it.
fn as_proxies(load: Load) -> [(&'static str, Server, Load); 7] {
    [
        ("nginx", NGINX, load),
        ("nginx, two workers", NGINX_2, load),
        ("HAProxy", Server::Haproxy, load),
        ("pullgate, no guests", NO_GUESTS, load),
        ("pullgate", PULLGATE, load),
        ("pullgate, no log", NO_LOG, load),
        ("pullgate, two threads", TWO_THREADS, load),
    ]
}

fn case(name: &'static str, title: &'static str, entries: &[(&'static str, Server, Load)]) -> Case {
    let entry = |&(name, server, load): &_| Entry { name, server, load };
    Case {
        name,
        title,
        entries: entries.iter().map(entry).collect(),
    }
}
