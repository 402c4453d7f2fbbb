//! What the protocol's single steps cost: those that every request of a guest takes, and those that every message does.
//! `cargo bench` runs them; docs/performance.md tells what they add up to.

use std::hint::black_box;

use bytes::Bytes;
use divan::Bencher;
use pullgate_compat::channel::{ChannelId, ChannelList, Role};
use pullgate_compat::guest::{GuestId, GuestKeys};
use pullgate_compat::message::{Body, Message, MessageId, Sender};
use pullgate_compat::query::Query;
use pullgate_compat::signature::{Algorithm, SignatureKey};
use pullgate_compat::text::{self, Now};
use pullgate_compat::wire::{decode_request, encode_messages, encode_response_message};

fn main() {
    divan::main();
}

/// Some second in 2026.
const NOW: u64 = 1_795_486_311;
const CHANNEL: &str = "0123456789abcdef0123456789abcdef";
/// Bytes of a body: a short message, one as pages send them, a long one.
const BODIES: [usize; 3] = [64, 512, 8192];

fn keys() -> GuestKeys {
    GuestKeys::derive(&[[7; GuestKeys::SECRET_LENGTH]], "").expect("a secret of that length")
}

fn guest() -> GuestId {
    GuestId::new(1_234_567).expect("a number in range")
}

fn signature_key() -> SignatureKey {
    SignatureKey::new(Algorithm::Sha1, "a signature key")
}

fn message(body: usize) -> Message {
    Message {
        id: MessageId::new(1_795_000_000, 42),
        body: Body::from(format!("\"{}\"", "x".repeat(body - 2))),
        expiry: 3600,
        created: 1_795_486_311,
        sender: Sender::Backend,
    }
}

mod guests {
    use super::*;

    #[divan::bench]
    fn verify_cookie(bencher: Bencher) {
        let keys = keys();
        let cookie = keys.sign_cookie(guest(), NOW);
        bencher.bench(|| keys.verify_cookie(black_box(&cookie), NOW + 60, 86_400));
    }

    /// Most visitors' cookies are not forged; who forges them must not make us work.
    #[divan::bench]
    fn refuse_cookie(bencher: Bencher) {
        let keys = keys();
        let cookie = keys
            .sign_cookie(guest(), NOW)
            .replace("1.1234567", "1.1234568");
        bencher.bench(|| keys.verify_cookie(black_box(&cookie), NOW + 60, 86_400));
    }

    #[divan::bench]
    fn sign_cookie(bencher: Bencher) {
        let keys = keys();
        bencher.bench(|| keys.sign_cookie(black_box(guest()), NOW));
    }

    #[divan::bench]
    fn token(bencher: Bencher) {
        let keys = keys();
        bencher.bench(|| keys.token(black_box(guest()), NOW));
    }

    #[divan::bench]
    fn channels(bencher: Bencher) {
        let keys = keys();
        bencher.bench(|| keys.channels(black_box(guest()), NOW));
    }
}

mod subscribing {
    use super::*;

    #[divan::bench]
    fn query(bencher: Bencher) {
        let target = format!("/bitrix/subws/?CHANNEL_ID={CHANNEL}&revision=19&format=json&mid=1");
        bencher.bench(|| {
            Query::of_target(black_box(&target))
                .first("CHANNEL_ID")
                .is_some()
        });
    }

    /// One, and as many as a page of a busy user has.
    #[divan::bench(args = [1, 10])]
    fn channel_list(bencher: Bencher, count: usize) {
        let key = signature_key();
        let signed = format!("{CHANNEL}.{}", key.sign(CHANNEL));
        let list = vec![signed; count].join("/");
        bencher.bench(|| ChannelList::parse(black_box(&list), &key, Role::Subscriber));
    }

    #[divan::bench]
    fn channel_id() -> Option<ChannelId> {
        ChannelId::parse(black_box(CHANNEL))
    }
}

mod messages {
    use super::*;

    #[divan::bench(args = BODIES)]
    fn as_text(bencher: Bencher, body: usize) {
        let (message, now) = (message(body), Now::at(NOW * 1000));
        bencher
            .with_inputs(|| Vec::with_capacity(body + 512))
            .bench_local_refs(|out| text::encode(black_box(&message), &now, out));
    }

    #[divan::bench(args = BODIES)]
    fn as_protobuf(bencher: Bencher, body: usize) {
        let message = message(body);
        bencher
            .with_inputs(|| Vec::with_capacity(body + 512))
            .bench_local_refs(|out| encode_response_message(black_box(&message), out));
    }

    /// A catch-up, as far as one goes.
    #[divan::bench]
    fn hundred_as_protobuf(bencher: Bencher) {
        let messages = vec![message(512); 100];
        bencher.bench(|| encode_messages(black_box(&messages)));
    }

    /// What a site publishes, whose body is checked for UTF-8.
    #[divan::bench(args = BODIES)]
    fn body(bencher: Bencher, body: usize) {
        let bytes = Bytes::from(vec![b'x'; body]);
        bencher.bench(|| Body::from_lossy(black_box(&bytes).clone()));
    }

    /// A request of nothing: what decoding costs in any case.
    #[divan::bench]
    fn empty_request() -> bool {
        decode_request(black_box(&[])).is_ok()
    }

    #[divan::bench]
    fn time(bencher: Bencher) {
        let now = Now::at(NOW * 1000);
        bencher.bench(|| black_box(now).moved_to(NOW * 1000 + 7));
    }
}
