//! Request path → [`Route`]: a pure function over one table.

use percent_encoding::percent_decode_str;

use crate::config::{Paths, Role};

/// Served on publish listeners alone.
const CONTROL: &str = "/systemctl/";

/// Served on publish listeners alone.
const LOGIN: &str = "/pullgate/login";

/// Served on site listeners, if guests have channels of pullgate's own.
const PULLGATE: &str = "/pullgate/";
const GUEST_SCRIPT: &str = "/pullgate/guest.js";
const EVENTS: &str = "/pullgate/events";

/// Which part of pullgate answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    Publish,
    Subscribe,
    /// Clients publish, on the paths that Bitrix calls `rest`.
    ClientPublish,
    /// Statistics of the server.
    Stat,
    /// Orders to the server, all of which the reference refuses outside its vendor's cloud.
    Control,
    /// The site says that a guest is a user now.
    Login,
    /// A page asks for its guest's number.
    GuestScript,
    /// A page listens to its guest's messages as server-sent events.
    Events,
    /// Nothing that there is, on a path of pullgate's own.
    Pullgate,
    Site,
    Admin,
    NotFound,
}

impl Route {
    /// `path`: as it came, without the query.
    ///
    /// A path counts as a push path in any case, and also when only decoding and tidying it makes it
    /// one (`/bitrix/%70ub/`, `/x/../bitrix/pub/`): such a spelling must not slip through to a back
    /// end that would tidy it too.
    pub(crate) fn of(role: Role, paths: &Paths, path: &str) -> Self {
        if role == Role::Admin {
            return Self::Admin;
        }
        let push = push_route(paths, path).or_else(|| push_route(paths, &tidied(path)?));
        match (push, role) {
            (Some(route), _) => route,
            (None, Role::Publish) if path.starts_with(CONTROL) => Self::Control,
            (None, Role::Publish) if path == LOGIN => Self::Login,
            (None, Role::Publish) => Self::NotFound,
            (None, _) if path == GUEST_SCRIPT => Self::GuestScript,
            (None, _) if path == EVENTS => Self::Events,
            (None, _) if path.starts_with(PULLGATE) => Self::Pullgate,
            (None, _) => Self::Site,
        }
    }
}

impl Route {
    /// Where no site is found, there are no push paths either.
    pub(crate) fn of_no_site(role: Role) -> Self {
        match role {
            Role::Admin => Self::Admin,
            Role::Site | Role::Publish => Self::NotFound,
        }
    }
}

fn push_route(paths: &Paths, path: &str) -> Option<Route> {
    let table = [
        (&paths.publish, Route::Publish),
        (&paths.subscribe, Route::Subscribe),
        (&paths.rest, Route::ClientPublish),
        (&paths.stat, Route::Stat),
    ];
    let under = |prefix: &String| {
        path.as_bytes()
            .get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    table
        .into_iter()
        .find(|(prefixes, _)| prefixes.iter().any(under))
        .map(|(_, route)| route)
}

/// The path as a lenient back end may read it; `None` where it reads as it stands.
fn tidied(path: &str) -> Option<String> {
    if !path.contains(['%', ';', '\\']) && !path.contains("//") && !path.contains("/.") {
        return None;
    }
    let mut decoded = path.to_owned();
    // Twice: some back ends decode behind a front that has decoded already.
    for _ in 0..2 {
        decoded = percent_decode_str(&decoded)
            .decode_utf8_lossy()
            .replace('\\', "/");
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in decoded.split('/') {
        match segment.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            name => segments.push(name),
        }
    }
    Some(format!("/{}/", segments.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(role: Role, path: &str) -> Route {
        let paths = Paths {
            publish: vec!["/bitrix/pub/".into()],
            subscribe: vec!["/bitrix/sub/".into(), "/bitrix/subws/".into()],
            rest: vec!["/bitrix/rest/".into()],
            stat: vec!["/server-stat/".into()],
        };
        Route::of(role, &paths, path)
    }

    #[test]
    fn every_spelling_of_a_push_path_is_ours() {
        for path in [
            "/bitrix/pub/",
            "/BITRIX/PUB/",
            "/bitrix/pub/some/thing",
            "/bitrix//pub/",
            "/bitrix/%70ub/",
            "/bitrix/%2570ub/",
            "/x/../bitrix/pub/",
            "/bitrix/./pub/",
            "/bitrix/pub;x/",
            "//bitrix/pub/",
            "/bitrix%2Fpub/",
            "/bitrix\\pub/",
        ] {
            assert_eq!(route(Role::Site, path), Route::Publish, "{path}");
        }
    }

    #[test]
    fn the_rest_is_the_sites() {
        for path in [
            "/",
            "/bitrix/",
            "/bitrix/pub",
            "/bitrix/publish/",
            "/a%20b",
            "*",
            "/\u{e9}",
            "/%ff",
        ] {
            assert_eq!(route(Role::Site, path), Route::Site, "{path}");
            assert_eq!(route(Role::Publish, path), Route::NotFound, "{path}");
        }
        assert_eq!(route(Role::Publish, "/bitrix/subws/../x"), Route::Subscribe);
        assert_eq!(route(Role::Admin, "/bitrix/pub/"), Route::Admin);
        assert_eq!(route(Role::Publish, "/systemctl/"), Route::Control);
        assert_eq!(route(Role::Site, "/systemctl/"), Route::Site);
        assert_eq!(route(Role::Site, "/pullgate/guest.js"), Route::GuestScript);
        assert_eq!(route(Role::Site, "/pullgate/events"), Route::Events);
        assert_eq!(route(Role::Site, "/pullgate/other"), Route::Pullgate);
    }
}
