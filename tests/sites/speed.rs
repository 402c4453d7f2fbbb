//! One site's trouble leaves the others at their speed: shown with numbers, quiet and under each trouble in one run.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tungstenite::WebSocket;

use super::{BLOG, SHOP, Sites, ask, named, next, site, websocket};
use crate::guests::PAGE;
use crate::harness::{Silent, connect, wait_for};
use crate::push::{A, B};

/// How often the healthy site is asked, each time.
const TIMES: usize = 150;

/// How long the healthy site takes.
#[derive(Debug, Clone, Copy)]
struct Speed {
    /// Half of its pages came within this time,
    page: Duration,
    /// and half of its messages, from before they were published.
    message: Duration,
    pages_per_second: f64,
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn timed(mut step: impl FnMut()) -> Vec<Duration> {
    let one = |_| {
        let began = Instant::now();
        step();
        began.elapsed()
    };
    (0..TIMES).map(one).collect()
}

/// Asks the blog for pages, of which each is a new guest's, and has messages published to it.
fn speed(sites: &Sites, socket: &mut WebSocket<TcpStream>) -> Speed {
    let began = Instant::now();
    let pages = timed(|| {
        let page = sites.get(BLOG, "/", &PAGE);
        assert!(page.body.starts_with("blog -"), "{page:?}");
    });
    let pages_per_second = TIMES as f64 / began.elapsed().as_secs_f64();
    let messages = timed(|| {
        sites.publish("blog", A, "healthy", 600);
        assert_eq!(next(socket), "healthy");
    });
    Speed {
        page: median(pages),
        message: median(messages),
        pages_per_second,
    }
}

/// Does `trouble` again and again in some threads until the healthy site has been measured.
fn under(
    sites: &Sites,
    socket: &mut WebSocket<TcpStream>,
    threads: usize,
    trouble: impl Fn(usize) + Sync,
) -> Speed {
    let (over, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (over, done, trouble) = (&over, &done, &trouble);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    trouble(thread);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // It is under way.
        wait_for(|| done.load(Ordering::Relaxed) >= threads);
        let before = done.load(Ordering::Relaxed);
        let speed = speed(sites, socket);
        over.store(true, Ordering::Relaxed);
        let times = done.load(Ordering::Relaxed) - before;
        assert!(times > 0, "no trouble");
        speed
    })
}

#[allow(clippy::print_stdout, reason = "the figures, for --nocapture")]
fn print(when: &str, speed: Speed) {
    let Speed {
        page,
        message,
        pages_per_second,
    } = speed;
    println!(
        "{when}: a page {page:.1?}, a message {message:.1?} (medians), {pages_per_second:.0} pages/s"
    );
}

/// Measured no more often than this.
const ROUNDS: usize = 5;

/// No worse than five times as slow as just before, when all was quiet, and 50 ms for a machine that others use, too.
/// They slow down one of several rounds; what one site does to another, it does in each.
fn holds(
    what: &str,
    sites: &Sites,
    socket: &mut WebSocket<TcpStream>,
    troubled: impl Fn(&mut WebSocket<TcpStream>) -> Speed,
) {
    let bound = |quiet: Duration| 5 * quiet + Duration::from_millis(50);
    let mut rounds = Vec::new();
    let holds = (0..ROUNDS).any(|_| {
        let (quiet, now) = (speed(sites, socket), troubled(socket));
        print("quiet", quiet);
        print(what, now);
        rounds.push((quiet, now));
        now.page < bound(quiet.page) && now.message < bound(quiet.message)
    });
    assert!(holds, "{what}: {rounds:#?}");
}

#[test]
fn one_sites_trouble_leaves_the_other_at_its_speed() {
    let dead = Silent::start();
    let gone = format!("hosts = [\"{SHOP}\"]\nupstream.url = \"{}\"\n", dead.url);
    let sites = [
        site("blog", &named("blog"), ""),
        site("crowd", &named("crowd"), ""),
        format!("[[site]]\nname = \"shop\"\n{gone}upstream.connect_timeout = \"1h\"\n"),
    ];
    let tables = "[log]\naccess = false\n[guest]\nnew_per_minute = 1000000\n\
        [push.limits]\nsubscriber_queue = \"1MiB\"\n[history]\nengine = \"disk\"\nmax_memory = \"8MiB\"\nmax_disk = \"64MiB\"\n";
    let sites = Sites::start(
        &["shop", "blog", "crowd"],
        &format!("{tables}{}", sites.concat()),
    );
    let address = &sites.server.site;
    let mut socket = sites.websocket(BLOG, &sites.signed("blog", A));
    wait_for(|| sites.online("blog", A));

    // Three hundred visitors wait for shop's back end all the time.
    let visitor = || {
        let mut stream = connect(address);
        write!(stream, "GET / HTTP/1.1\r\nHost: {SHOP}\r\n\r\n").unwrap();
        stream
    };
    holds("a dead back end", &sites, &mut socket, |socket| {
        let waiting: Vec<TcpStream> = (0..300).map(|_| visitor()).collect();
        let speed = speed(&sites, socket);
        for stream in waiting {
            stream.set_nonblocking(true).unwrap();
            let nothing = stream.peek(&mut [0]).unwrap_err();
            assert_eq!(
                nothing.kind(),
                std::io::ErrorKind::WouldBlock,
                "it waits still"
            );
        }
        speed
    });

    let new_guest = |_| {
        let page = sites.get("crowd.example", "/", &PAGE);
        assert!(page.body.starts_with("crowd -"), "{page:?}");
    };
    holds("a flood of new guests", &sites, &mut socket, |socket| {
        under(&sites, socket, 4, new_guest)
    });

    let publisher = sites.publish_listener("shop");
    let publish = |channel: &str, body: &str, expiry: &str| {
        let target = format!("/bitrix/pub/?CHANNEL_ID={channel}");
        let answer = ask(&publisher, "POST", SHOP, &target, &[expiry], body);
        // Beyond a bound of its own: that is trouble too.
        assert!([200, 503].contains(&answer.status), "{answer:?}");
    };
    let long = "x".repeat(200_000);
    let query = format!("CHANNEL_ID={}", sites.signed("shop", B));
    let listen = || websocket(address, SHOP, &query);
    let slow: std::sync::Mutex<Vec<_>> = std::sync::Mutex::new((0..20).map(|_| listen()).collect());
    let to_slow = |thread| {
        publish(B, &long, "Message-Expiry: 0");
        // Those that are closed for it come back.
        let another = (thread == 0).then(listen);
        let mut slow = slow.lock().unwrap();
        if let Some(another) = another {
            slow.remove(0);
            slow.push(another);
        }
    };
    holds(
        "subscribers that read nothing",
        &sites,
        &mut socket,
        |socket| under(&sites, socket, 2, to_slow),
    );

    let to_history = |thread| publish(&format!("{thread:032x}"), &long, "Message-Expiry: 3600");
    holds(
        "a flood of messages to keep",
        &sites,
        &mut socket,
        |socket| under(&sites, socket, 2, to_history),
    );

    // And what the healthy one keeps was not evicted for it.
    assert_eq!(sites.stored(BLOG, &sites.signed("blog", A)).len(), 100);
}
