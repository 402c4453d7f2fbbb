//! The properties hold for what was recorded. The fuzzer starts from the same:
//!
//! ```sh
//! SEEDS=$PWD/compat/fuzz/corpus cargo test -p pullgate-compat --test properties seeds
//! ```

#[allow(dead_code, reason = "the rest is for the recordings' own tests")]
#[path = "../recordings/fixture.rs"]
mod fixture;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::{env, fs};

use data_encoding::HEXLOWER;
use fixture::{Recording, payload};
use pullgate_compat::guest::GuestId;
use pullgate_compat::query::Query;
use pullgate_compat::text::{self, MARK_START};
use pullgate_compat::websocket::{Opcode, encode_frame};
use serde_json::Value;
use sha1::{Digest, Sha1};

use crate::properties::{self, GUESTS, KEY, adoptable};

/// Longer ones say no more, and make the fuzzer slow.
const LONGEST: usize = 4096;

/// Inputs for each property, none of them twice.
#[derive(Default)]
struct Seeds(BTreeMap<&'static str, BTreeSet<Vec<u8>>>);

impl Seeds {
    fn add(&mut self, property: &'static str, seed: impl Into<Vec<u8>>) {
        let seed = seed.into();
        if seed.len() <= LONGEST {
            self.0.entry(property).or_default().insert(seed);
        }
    }

    /// Looks everywhere in `value`.
    fn look_in(&mut self, value: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(target) = members.get("target") {
                    self.add_target(target.as_str().unwrap());
                }
                if let Some(unix_ms) = members.get("recorded_at_unix_ms") {
                    self.add_guest(unix_ms.as_u64().unwrap() / 1000);
                    self.add_proxy_header(unix_ms.as_u64().unwrap() / 1000);
                }
                for name in ["body", "data", "value"] {
                    if let Some(data) = payload(value, name) {
                        self.add_payload(data);
                    }
                }
                if let Some(opcode) = members.get("opcode") {
                    self.add_frame(opcode, &payload(value, "data").unwrap_or_default());
                }
                members.values().for_each(|member| self.look_in(member));
            }
            Value::Array(values) => values.iter().for_each(|value| self.look_in(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn add_target(&mut self, target: &str) {
        self.add("query", target);
        let query = Query::of_target(target);
        for (property, name) in [("channel_list", "CHANNEL_ID"), ("mid", "mid")] {
            if let Some(value) = query.first(name) {
                self.add(property, value.into_owned());
            }
        }
    }

    fn add_payload(&mut self, data: Vec<u8>) {
        if data.starts_with(MARK_START.as_bytes()) {
            for frame in text::frames(&data).flatten() {
                self.add("mid", frame.mid.to_string());
            }
            self.add("text_frames", data);
        } else {
            self.add("protobuf", data);
        }
    }

    /// As a client sends it, and a ping behind it.
    fn add_frame(&mut self, opcode: &Value, data: &[u8]) {
        let opcode = match opcode.as_str() {
            Some("text") => Opcode::Text,
            Some("binary") => Opcode::Binary,
            Some(_) | None => Opcode::Pong,
        };
        let mut seed = vec![7];
        encode_frame(opcode, Some([1, 2, 3, 4]), data, &mut seed);
        encode_frame(Opcode::Ping, Some([5, 6, 7, 8]), b"ws ping", &mut seed);
        self.add("websocket", seed);
    }

    /// Nobody recorded a proxy: what it says, in every form, of a time that the recordings give.
    fn add_proxy_header(&mut self, now: u64) {
        let [.., a, b, c, d] = now.to_be_bytes();
        let (v4, port) = (std::net::Ipv4Addr::new(a, b, c, d), [c, d]);
        let v6 = v4.to_ipv6_mapped();
        let (fixed, number) = (b"\r\n\r\n\0\r\nQUIT\n", u16::from_be_bytes(port));
        self.add(
            "proxy_protocol",
            format!("PROXY TCP4 {v4} {v4} {number} 80\r\n"),
        );
        self.add(
            "proxy_protocol",
            format!("PROXY TCP6 {v6} {v6} {number} 443\r\n"),
        );
        let block = [&v4.octets(), &v4.octets(), &[0, 1, 0, 80][..]].concat();
        let tls = [0x20, 0, 5, 1, 0, 0, 0, 0];
        for (fixed_part, block) in [
            ([0x21, 0x11, 0, 12], block.clone()),
            ([0x21, 0x11, 0, 20], [&block[..], &tls].concat()),
            ([0x20, 0, 0, 0], Vec::new()),
        ] {
            let header = [&fixed[..], &fixed_part, &block, b"GET / HTTP/1.1\r\n"].concat();
            self.add("proxy_protocol", header);
        }
    }

    /// Nobody recorded a guest of ours, so the times are all that the recordings give.
    fn add_guest(&mut self, now: u64) {
        let id = GuestId::new(17).unwrap();
        self.add("cookie", GUESTS.sign_cookie(id, now));
        self.add("cookie", GUESTS.token(id, now));
        for cookie in adoptable("17", &now.to_string()) {
            self.add("adopt", cookie);
        }
        self.add("adopt", format!("{{id}}.{{hmac}}.{now}"));
    }
}

#[test]
fn seeds() {
    let mut seeds = Seeds::default();
    for recording in Recording::all() {
        assert_eq!(recording.key().sign(""), KEY.sign(""), "one key for all");
        seeds.look_in(&recording.content);
    }
    let corpus = env::var_os("SEEDS").map(PathBuf::from);
    for (property, holds) in properties::ALL {
        let seeds = seeds.0.remove(property).unwrap_or_default();
        assert!(seeds.len() >= 10, "{property} has {} seeds", seeds.len());
        for seed in seeds {
            holds(&seed);
            if let Some(corpus) = &corpus {
                let directory = corpus.join(property);
                fs::create_dir_all(&directory).unwrap();
                let name = HEXLOWER.encode(&Sha1::digest(&seed));
                fs::write(directory.join(name), seed).unwrap();
            }
        }
    }
}
