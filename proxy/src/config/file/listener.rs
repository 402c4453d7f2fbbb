//! `[[listener]]`, or the listeners that there are without one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::section::Section;
use super::{address, checks, tls};
use crate::config::{Address, Listener, Role};

pub(super) fn listeners(file: &mut Section<'_>) -> Vec<Listener> {
    let mut taken = Vec::new();
    let written = file.sections("listener", |s| listener(s, &mut taken));
    match written {
        Some(listeners) => listeners.into_iter().flatten().collect(),
        None => default_listeners(),
    }
}

fn default_listeners() -> Vec<Listener> {
    let tcp = |ip, port, role| Listener {
        address: Address::Tcp(SocketAddr::new(IpAddr::V4(ip), port)),
        role,
        site: None,
        tls: None,
        redirects: false,
        proxy_protocol: false,
    };
    vec![
        tcp(Ipv4Addr::UNSPECIFIED, 80, Role::Site),
        tcp(Ipv4Addr::LOCALHOST, 8895, Role::Publish),
        tcp(Ipv4Addr::LOCALHOST, 8899, Role::Admin),
    ]
}

/// `None` after an error.
fn listener(s: &mut Section<'_>, taken: &mut Vec<(Address, String)>) -> Option<Listener> {
    let address = s.required("address", address::ADDRESS, address::address);
    let role = s.one_of("role", Role::Site, &ROLES);
    let site = s.read("site", None, |value| {
        value
            .text("the name of a [[site]]")
            .map(|name| Some(name.to_owned()))
    });
    let tls = tls::tls(s);
    let redirects = s.read("redirect", false, |value| value.word(&[("https", true)]));
    checks::redirects_to_another(s, role, redirects);
    let proxy_protocol = s.flag("proxy_protocol", false);
    let address = address?;
    checks::own_address(s, &address, taken);
    checks::exposure(s, &address, role);
    Some(Listener {
        address,
        role,
        site,
        tls,
        redirects,
        proxy_protocol,
    })
}

const ROLES: [(&str, Role); 3] = [
    ("site", Role::Site),
    ("publish", Role::Publish),
    ("admin", Role::Admin),
];
