//! Which requests are push traffic: prefixes of the path, in any case.

use std::collections::BTreeMap;

/// The services of a push server and the paths below which each is found.
#[derive(Debug, Clone)]
pub struct PushPaths {
    /// `pub`: publishing by the site. Default `/bitrix/pub/`.
    pub publish: Vec<String>,
    /// `sub`: long polls and websockets. Default `/bitrix/sub/`, `/bitrix/subws/`.
    pub subscribe: Vec<String>,
    /// `rest`: publishing by browsers. Default `/bitrix/rest/`, `/bitrix/pubweb/`.
    pub rest: Vec<String>,
    /// `stat`: statistics. Default `/server-stat/`.
    pub stat: Vec<String>,
}

impl Default for PushPaths {
    fn default() -> Self {
        let paths = |paths: &[&str]| paths.iter().map(|&path| path.to_owned()).collect();
        Self {
            publish: paths(&["/bitrix/pub/"]),
            subscribe: paths(&["/bitrix/sub/", "/bitrix/subws/"]),
            rest: paths(&["/bitrix/rest/", "/bitrix/pubweb/"]),
            stat: paths(&["/server-stat/"]),
        }
    }
}

impl PushPaths {
    /// The service that a request target belongs to; `None` if it is none of push.
    pub(crate) fn service(&self, target: &str) -> Option<&'static str> {
        self.split(target).map(|(service, _)| service)
    }

    /// The service, and how many bytes of `target` are its prefix.
    pub(crate) fn split(&self, target: &str) -> Option<(&'static str, usize)> {
        let start = path_start(target);
        let path = target.get(start..)?;
        self.table().into_iter().find_map(|(service, prefixes)| {
            let prefix = prefixes.iter().find(|prefix| {
                path.get(..prefix.len())
                    .is_some_and(|head| head.eq_ignore_ascii_case(prefix))
            })?;
            Some((service, start + prefix.len()))
        })
    }

    /// Each service and its first path, as a recording names them.
    pub(crate) fn routes(&self) -> BTreeMap<String, String> {
        self.table()
            .into_iter()
            .filter_map(|(service, paths)| Some((service.to_owned(), paths.first()?.clone())))
            .collect()
    }

    fn table(&self) -> [(&'static str, &[String]); 4] {
        [
            ("pub", &self.publish),
            ("sub", &self.subscribe),
            ("rest", &self.rest),
            ("stat", &self.stat),
        ]
    }
}

/// Where the path begins: behind the host in `http://host/path`, which proxies are sent.
fn path_start(target: &str) -> usize {
    if target.starts_with('/') {
        return 0;
    }
    let Some((scheme, rest)) = target.split_once("://") else {
        return 0;
    };
    let host = rest.find('/').unwrap_or(rest.len());
    scheme.len() + 3 + host
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_in_any_case_is_push() {
        let paths = PushPaths::default();
        for (target, service) in [
            ("/bitrix/pub/?CHANNEL_ID=1", Some("pub")),
            ("/BITRIX/subws/", Some("sub")),
            ("/bitrix/pubweb/x", Some("rest")),
            ("http://host/server-stat/", Some("stat")),
            ("/bitrix/pub", None),
            ("/", None),
            ("*", None),
            ("http://host", None),
            ("/\u{e9}/bitrix/pub/", None),
        ] {
            assert_eq!(paths.service(target), service, "{target}");
        }
    }
}
