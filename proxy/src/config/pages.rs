//! `[pages]`: what visitors see while the site does not answer.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use http::StatusCode;
use ipnet::IpNet;

/// `[pages]`: what visitors see while the site does not answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Pages {
    /// Read at the start and at each reload. Default none: pullgate's own pages.
    pub(crate) error_pages: ErrorPages,
    /// The site is not asked: visitors get 503, and push goes on. Default false.
    pub(crate) maintenance: bool,
    /// The same while there is such a file. Default none.
    pub(crate) maintenance_file: Option<PathBuf>,
    /// Who sees the site all the same. Default nobody.
    pub(crate) maintenance_allow: Vec<IpNet>,
}

/// `pages.error_pages`: the files of a folder by their names without `.html`: `502`, `50x`, `maintenance`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ErrorPages(pub(crate) Arc<BTreeMap<String, String>>);

/// Stands in a page for the id of the request.
const REQUEST_ID: &str = "{request_id}";

/// The page of maintenance.
pub(crate) const MAINTENANCE: &str = "maintenance";

impl Pages {
    /// Whether the site is not to be asked now. Looks whether there is the file.
    pub(crate) fn is_maintenance(&self) -> bool {
        let file = self.maintenance_file.as_ref();
        self.maintenance || file.is_some_and(|file| file.exists())
    }
}

impl ErrorPages {
    /// Whether a file of this name, without `.html`, is a page: those of errors by number, those of ten of them by
    /// an `x`, and that of maintenance.
    pub(crate) fn is_page(name: &str) -> bool {
        match name.as_bytes() {
            [b'4' | b'5', b'0'..=b'9', b'0'..=b'9' | b'x'] => true,
            _ => name == MAINTENANCE,
        }
    }

    /// The site's page for an error, if it has one: its own first, then the one of its status, then that of ten.
    pub(crate) fn of(&self, own: Option<&str>, status: StatusCode, id: &str) -> Option<String> {
        let status = status.as_str();
        let ten = status.get(..2).map(|ten| format!("{ten}x"));
        let names = [own, Some(status), ten.as_deref()];
        let page = names
            .into_iter()
            .flatten()
            .find_map(|name| self.0.get(name));
        page.map(|page| page.replace(REQUEST_ID, id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_page_is_taken() {
        let pages = ["502", "50x", "maintenance"].map(|name| {
            let text = format!("{name}: {{request_id}}, {{request_id}}");
            (name.to_owned(), text)
        });
        let pages = ErrorPages(Arc::new(pages.into()));
        for (own, status, page) in [
            (None, StatusCode::BAD_GATEWAY, Some("502: i, i")),
            (None, StatusCode::GATEWAY_TIMEOUT, Some("50x: i, i")),
            (None, StatusCode::NOT_FOUND, None),
            (
                Some(MAINTENANCE),
                StatusCode::SERVICE_UNAVAILABLE,
                Some("maintenance: i, i"),
            ),
        ] {
            assert_eq!(pages.of(own, status, "i").as_deref(), page);
        }
    }

    #[test]
    fn other_files_are_no_pages() {
        for name in ["404", "50x", "599", MAINTENANCE] {
            assert!(ErrorPages::is_page(name), "{name}");
        }
        for name in ["", "200", "5xx", "5020", "502 ", "index", "x"] {
            assert!(!ErrorPages::is_page(name), "{name}");
        }
    }
}
