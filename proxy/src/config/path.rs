//! `[[path]]`: what holds for requests whose path begins so, and by that for each request to the site.

use std::borrow::Cow;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::{Server, Site};

/// One `[[path]]`. `None`: as for the whole site.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SitePath {
    /// How the paths begin for which it holds, [normalised]. The longest that fits a request holds, alone.
    pub(crate) prefix: Vec<u8>,
    /// Default `upstream.response_timeout`.
    pub(crate) response_timeout: Option<Duration>,
    /// Default `upstream.max_body`.
    pub(crate) max_body: Option<usize>,
    /// Default `upstream.buffer_requests`.
    pub(crate) buffer_requests: Option<usize>,
    /// Default `server.body_timeout`.
    pub(crate) body_timeout: Option<Duration>,
}

/// What holds for one request that goes to the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Longest silence of the site: before its response head, and within a body.
    pub(crate) response_timeout: Duration,
    /// Largest body of the request, bytes; 0: any.
    pub(crate) max_body: usize,
    /// So many bytes of the body may be read before the site is asked; 0: none.
    pub(crate) buffer_requests: usize,
    /// Longest silence of the client within the body.
    pub(crate) body_timeout: Duration,
    /// See [`Server::min_body_rate`].
    pub(crate) min_body_rate: usize,
    /// See [`Server::buffer_memory`].
    pub(crate) buffer_memory: usize,
}

impl Site {
    /// The terms of a request by its path, as it came.
    pub(crate) fn terms(&self, server: &Server, path: &str) -> Terms {
        let (upstream, own) = (&self.upstream, self.path(path));
        Terms {
            response_timeout: own
                .and_then(|own| own.response_timeout)
                .unwrap_or(upstream.response_timeout),
            max_body: own
                .and_then(|own| own.max_body)
                .unwrap_or(upstream.max_body),
            buffer_requests: own
                .and_then(|own| own.buffer_requests)
                .unwrap_or(upstream.buffer_requests),
            body_timeout: own
                .and_then(|own| own.body_timeout)
                .unwrap_or(server.body_timeout),
            min_body_rate: server.min_body_rate,
            buffer_memory: server.buffer_memory,
        }
    }

    fn path(&self, path: &str) -> Option<&SitePath> {
        if self.paths.is_empty() {
            return None;
        }
        let path = normalised(path);
        let holds = |own: &&SitePath| path.starts_with(&own.prefix);
        self.paths
            .iter()
            .filter(holds)
            .max_by_key(|own| own.prefix.len())
    }
}

/// A path as nginx and Apache look for it: decoded once, slashes merged, dots resolved. All else counts as it stands, case and
/// `;` too. Only limits and times hang on it, nobody's rights; the site gets the path as it came.
pub(crate) fn normalised(path: &str) -> Cow<'_, [u8]> {
    if !path.contains('%') && !path.contains("//") && !path.contains("/.") {
        return Cow::Borrowed(path.as_bytes());
    }
    let decoded: Cow<'_, [u8]> = percent_decode_str(path).into();
    // Ends with a slash behind each step.
    let mut normal = vec![b'/'];
    let mut is_folder = true;
    for segment in decoded.split(|byte| *byte == b'/') {
        is_folder = matches!(segment, b"" | b"." | b"..");
        match segment {
            b"" | b"." => {}
            b".." => {
                normal.pop();
                let parent = normal.iter().rposition(|byte| *byte == b'/');
                normal.truncate(parent.map_or(0, |slash| slash));
                normal.push(b'/');
            }
            name => {
                normal.extend_from_slice(name);
                normal.push(b'/');
            }
        }
    }
    if !is_folder {
        normal.pop();
    }
    Cow::Owned(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_path_however_it_is_spelt() {
        for path in [
            "/upload/a",
            "//upload/a",
            "/%75pload/a",
            "/upload//a",
            "/upload/./a",
            "/x/../upload/a",
            "/x/%2e%2E/upload/a",
            "/upload%2Fa",
            "/../upload/a",
            "/x/y/../../upload/a",
            "/%2Fupload%2f/a",
        ] {
            assert_eq!(normalised(path), b"/upload/a".as_slice(), "{path}");
        }
    }

    #[test]
    fn other_paths_stay_others() {
        for (path, normal) in [
            ("/Upload/a", "/Upload/a"),
            ("/upload;x/a", "/upload;x/a"),
            ("/%2575pload/a", "/%75pload/a"),
            ("/upload\\a", "/upload\\a"),
            ("/upload/../a", "/a"),
            ("/upload/%2e%2e/a", "/a"),
            ("/upload/..", "/"),
            ("/x/upload/.", "/x/upload/"),
            ("/upload/...", "/upload/..."),
            ("/.upload", "/.upload"),
            ("/", "/"),
            ("//", "/"),
            ("/upload//", "/upload/"),
            ("/%", "/%"),
            ("*", "*"),
        ] {
            assert_eq!(normalised(path), normal.as_bytes(), "{path}");
        }
        assert_eq!(normalised("/%ff%00"), b"/\xff\0".as_slice());
    }
}
