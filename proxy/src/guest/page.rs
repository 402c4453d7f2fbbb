//! `GET /pullgate/guest.js`: tells a page its guest's number, where no PHP does.

use http::header::{self, HeaderMap};
use pullgate_compat::guest::GuestId;

/// Tells a guest's number to `BX.message`, where the client of Bitrix looks for it, and to `pullgate` for pages without.
///
/// It may come before Bitrix's core script, which takes over what it finds in `BX.message`. A page that says who
/// is logged in keeps its own keys, and so does one of nobody's.
const SCRIPT: &str = r#"(function (keys) {
  window.pullgate = keys;
  var bx = window.BX = window.BX || {};
  bx.message = bx.message || function (more) { for (var key in more) bx.message[key] = more[key]; };
  if (keys.pull_guest_user_id && !(Number(bx.message.USER_ID) > 0)) bx.message(keys);
})"#;

/// The script for this guest.
pub(crate) fn script(guest: Option<GuestId>) -> String {
    let (mode, number) = match guest {
        Some(guest) => ("Y", guest.to_string()),
        None => ("N", "0".to_owned()),
    };
    format!(
        "{SCRIPT}({{\"pull_server_enabled\":\"{mode}\",\"pull_guest_mode\":\"{mode}\",\"pull_guest_user_id\":{number}}});\n"
    )
}

/// Whether the request comes from a page of this site: what it is answered with is that guest's alone.
pub(crate) fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name)?.to_str().ok();
    if let Some(site) = text(header::HeaderName::from_static("sec-fetch-site")) {
        return matches!(site, "same-origin" | "none");
    }
    let Some(from) = text(header::ORIGIN).or_else(|| text(header::REFERER)) else {
        // Older browsers say nothing of a script of the same site.
        return true;
    };
    let host = from
        .split_once("://")
        .map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default());
    host.is_some() && host == text(header::HOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_sites_learn_nothing() {
        let asked = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            headers.insert("host", "site.ru".parse().unwrap());
            for (name, value) in pairs {
                headers.insert(*name, value.parse().unwrap());
            }
            is_same_origin(&headers)
        };
        assert!(asked(&[]));
        assert!(asked(&[("sec-fetch-site", "same-origin")]));
        assert!(asked(&[("referer", "https://site.ru/page?x")]));
        assert!(!asked(&[("sec-fetch-site", "cross-site")]));
        assert!(!asked(&[("sec-fetch-site", "same-site")]));
        assert!(!asked(&[("referer", "https://evil.example/site.ru")]));
        assert!(!asked(&[("origin", "null")]));
        assert!(!asked(&[("referer", "https://site.ru.evil.example/")]));
    }
}
