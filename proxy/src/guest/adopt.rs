//! `[[guest.adopt]]`: guests whom the site knew before, by signed cookies of its own.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use http::header::HeaderMap;
use pullgate_compat::guest::GuestId;

use super::cookies;
use super::ids::Ids;
use crate::config;

/// The site's cookies, and how many guests they brought.
#[derive(Debug)]
pub(crate) struct Adoption {
    cookies: Vec<config::Adopt>,
    adopted: AtomicU64,
    warned: AtomicBool,
}

impl Adoption {
    pub(crate) fn new(cookies: Vec<config::Adopt>) -> Self {
        Self {
            cookies,
            adopted: AtomicU64::new(0),
            warned: AtomicBool::new(false),
        }
    }

    /// The guest whom a cookie of the site's proves, if the id is one of the site's: what pullgate may
    /// have given to somebody else is nobody's to bring along.
    pub(crate) fn find(&self, headers: &HeaderMap, ids: &Ids) -> Option<GuestId> {
        let id = self.cookies.iter().find_map(|cookie| {
            let id = cookie.form.verify(&only(headers, &cookie.cookie)?)?;
            if !ids.is_of_the_site(id) {
                self.refuse(&cookie.cookie, id);
                return None;
            }
            Some(id)
        })?;
        self.adopted.fetch_add(1, Ordering::Relaxed);
        Some(id)
    }

    /// How often a cookie of the site's proved a guest since the start.
    pub(crate) fn adopted(&self) -> u64 {
        self.adopted.load(Ordering::Relaxed)
    }

    /// The first is a warning; a guest who keeps asking must not fill the log.
    fn refuse(&self, cookie: &str, id: GuestId) {
        let text =
            "an id of the site's was not adopted, for it is one of pullgate's: see guest.first_id";
        if self.warned.swap(true, Ordering::Relaxed) {
            tracing::debug!(cookie, %id, "{text}");
        } else {
            tracing::warn!(cookie, %id, "{text}");
        }
    }
}

/// The value of a cookie that was sent once. Of several nobody knows which one the site would take.
fn only(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut values = cookies::named(headers, name);
    let value = values.pop()?;
    values.is_empty().then_some(value)
}
