//! The real executable on free loopback ports, with a real PHP behind it.
//!
//! | module | what |
//! |---|---|
//! | [`harness`] | starts and stops pullgate and PHP; a small HTTP client |
//! | [`engine`] | memory, disk and Redis, and tests on each |
//! | [`proxy`] | forwarding, errors, large bodies, the site's own websockets |
//! | [`pages`] | error pages of the site's own, and maintenance |
//! | [`request_id`] | one id at the site, in the answer, in the log and on the page of an error |
//! | [`ipv6`] | listeners, sites, proxies, publishers and limits in IPv6 |
//! | [`forwarded`] | who came, by what proxies in front say |
//! | [`proxy_protocol`] | the same by the PROXY protocol, of haproxy and byte by byte |
//! | [`heads`] | request and response heads: large, unclear, refused |
//! | [`http1`] | HTTP/1.1 as bytes: what the site gets, and what nginx makes of the same |
//! | [`targets`] | odd bytes of a request target |
//! | [`uploads`] | request bodies that are slow, broken or broken off |
//! | [`request_buffering`] | request bodies that are read before the site is asked |
//! | [`paths`] | times and largest bodies by path, however it is spelt |
//! | [`life`] | under a service manager, and upgrades: another process takes over, under load |
//! | [`limits`] | slow readers, too many connections, no file descriptors left |
//! | [`tls`] | certificates by name, renewed, stapled; everything through TLS; HTTP/2 and its floods |
//! | [`back_ends`] | several back ends of one site: shared out, out, in again, checked, sticky, removed |
//! | [`tunnels`] | the site's own websockets: counted, idle, and at a stop |
//! | [`acme`] | certificates from a real ACME server, renewed and refused |
//! | [`guests`] | cookie, header, token, forged headers, numbers over crashes |
//! | [`guest_push`] | guests' own channels: configuration, messages by number, events, login |
//! | [`adopt`] | guests of the site's own from before, by its signed cookies |
//! | [`hook`] | the PHP hook under nginx with php-fpm and under Apache with mod_php |
//! | [`bitrix`] | guests of a site with Bitrix's pull module (a stub of it), old and current |
//! | [`lesson`] | the official lesson for guests, its three steps, and the recipes of docs/guests.md |
//! | [`push`] | publishing, long polling, websockets, who may publish |
//! | [`site_checker`] | Bitrix's site checker, which reads once |
//! | [`spellings`] | odd spellings of push paths, and what nginx and Apache take for one |
//! | [`websocket`] | websocket clients that do not read, or break the protocol |
//! | [`binary`] | the same in protobuf, and clients that publish |
//! | [`history`] | what is published survives crashes |
//! | [`bounds`] | what clients that read nothing cost |
//! | [`degraded`] | damaged files, full disks, lost counters: the site is served |
//! | [`isolation`] | a dead or silent site or Redis takes nothing else with it |
//! | [`cluster`] | several nodes on one Redis, push server's among them, and Redis unreachable |
//! | [`ledger`] | finds what was lost, came twice or out of order |
//! | [`sites`] | several sites: whose a request is, what is apart, and that nobody's trouble is another's |
//! | [`attack`] | attacks, each beside a steady crowd of visitors: how much longer they wait (`scripts/attack`) |
//! | [`soak`] | minutes of mixed traffic, polite and rude, with kills and an upgrade: flat memory, nothing lost (`scripts/soak`) |
//! | [`stress`] | thousands of messages to a thousand subscribers that come and go |
//! | [`improvements`] | what is better than the reference on purpose |
//! | [`browser`] | Bitrix's own client in a browser |
//! | [`replay`] | the reference's recordings played against pullgate |
//! | [`reload`] | SIGHUP: what changes, what stays, who is closed; under load |
//! | [`record`] | what passes a recorder is written down, masked or not, and nothing of it changes |
//! | [`command_line`] | check, sign, php-hook, and how they and `run` find the configuration |
//! | [`log`] | its forms, and who does not read it |
//! | [`migration`] | what docs/migration.md says to do before a switch, taken from the page and done |
//! | [`readme`] | README's commands, taken from the page and run |

#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a panic is a failed test"
)]

mod acme;
mod adopt;
mod attack;
mod back_ends;
mod binary;
mod bitrix;
mod bounds;
mod browser;
mod cluster;
mod command_line;
mod degraded;
mod engine;
mod forwarded;
mod guest_push;
mod guests;
mod harness;
mod heads;
mod history;
mod hook;
mod http1;
mod improvements;
mod ipv6;
mod isolation;
mod ledger;
mod lesson;
mod life;
mod limits;
mod log;
mod migration;
mod pages;
mod paths;
mod proxy;
mod proxy_protocol;
mod push;
mod readme;
mod record;
mod reload;
mod replay;
mod request_buffering;
mod request_id;
mod site_checker;
mod sites;
mod soak;
mod spellings;
mod stress;
mod targets;
mod tls;
mod tunnels;
mod uploads;
mod websocket;
