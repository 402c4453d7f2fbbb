//! `[[path]]`.

use super::names;
use super::report::{Mismatch, expected};
use super::section::Section;
use super::units::seconds;
use super::value::Value;
use crate::config::SitePath;
use crate::config::path::normalised;

/// Those of a site, or of the file, which hold for each site that says nothing of its own. `path = []` is something.
pub(super) fn paths(s: &mut Section<'_>) -> Vec<SitePath> {
    if s.says_none("path") {
        return Vec::new();
    }
    let mut taken = Vec::new();
    let paths = s.sections("path", |s| path(s, &mut taken));
    paths.into_iter().flatten().flatten().collect()
}

/// `None` after an error.
fn path(s: &mut Section<'_>, taken: &mut Vec<Vec<u8>>) -> Option<SitePath> {
    let prefix = s.required("prefix", names::PATH_PREFIX, prefix);
    let path = SitePath {
        response_timeout: s.optional("response_timeout", |s, key| s.duration(key, seconds(300))),
        max_body: s.optional("max_body", |s, key| s.size_or_zero(key, 0)),
        buffer_requests: s.optional("buffer_requests", |s, key| s.size_or_zero(key, 0)),
        body_timeout: s.optional("body_timeout", |s, key| s.duration(key, seconds(60))),
        prefix: prefix?,
    };
    if taken.contains(&path.prefix) {
        s.error("prefix", expected("each path once"));
    }
    taken.push(path.prefix.clone());
    Some(path)
}

fn prefix(value: &Value<'_>) -> Result<Vec<u8>, Mismatch> {
    let prefix = names::path_prefix(value)?;
    Ok(normalised(&prefix).into_owned())
}
