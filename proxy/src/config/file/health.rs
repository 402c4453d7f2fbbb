//! `[upstream.health]`.

use http::StatusCode;
use http::uri::{Authority, PathAndQuery};

use super::MANY;
use super::report::{Mismatch, expected};
use super::section::Section;
use super::units::seconds;
use super::value::Value;
use crate::config::{Check, Health};

const PATH: &str = "a path that begins with \"/\", such as \"/health\"";

const HOST: &str = "a host, such as \"shop.example\" or \"shop.example:8080\"";

pub(super) fn health(s: &mut Section<'_>) -> Health {
    let (max_failures, pause) = (
        s.number("max_failures", 1, 1..=MANY),
        s.duration("pause", seconds(10)),
    );
    let path = s.read("path", None, |value| path(value).map(Some));
    let (interval, timeout) = (
        s.duration("interval", seconds(5)),
        s.duration("timeout", seconds(5)),
    );
    let expect = s.read("expect", None, |value| status(value).map(Some));
    let host = s.read("host", None, |value| host(value).map(Some));
    Health {
        max_failures,
        pause,
        check: path.map(|path| Check {
            path,
            interval,
            timeout,
            expect,
            host,
        }),
    }
}

fn path(value: &Value<'_>) -> Result<PathAndQuery, Mismatch> {
    let text = value.text(PATH)?;
    let path = text.parse().ok().filter(|_| text.starts_with('/'));
    path.ok_or_else(|| expected(PATH))
}

fn status(value: &Value<'_>) -> Result<StatusCode, Mismatch> {
    let status: u16 = value.number(200..=599)?;
    StatusCode::from_u16(status).map_err(|_| expected("a status, such as 200"))
}

fn host(value: &Value<'_>) -> Result<Authority, Mismatch> {
    let text = value.text(HOST)?;
    let host = text.parse().ok().filter(|_| !text.contains('@'));
    host.ok_or_else(|| expected(HOST))
}
