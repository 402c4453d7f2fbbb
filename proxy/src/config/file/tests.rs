//! Every file of `fixtures/config`: what is expected of it stands in its first lines,
//! `# expect: line:column: key: …`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::config::{Address, Certificate, Challenge, Listener, Role, SameSite, Secret, Sticky};

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn environment(name: &str) -> Option<OsString> {
    (name == "PULLGATE_SECRET").then(|| KEY.into())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read_text(text: &str, file: &Path) -> Outcome {
    read(Reading::new(text, file, &environment))
}

/// Where relative paths of [`full`] lead somewhere.
fn beside_the_certificates() -> PathBuf {
    root().join("fixtures/config/valid/pullgate.toml")
}

fn config_of(text: &str) -> Config {
    read_text(text, &beside_the_certificates()).unwrap().0
}

fn report_of(text: &str) -> String {
    let errors = read_text(text, Path::new("pullgate.toml")).unwrap_err();
    errors.to_string()
}

/// The `.toml` files of a folder with their texts.
fn fixtures(folder: &str) -> Vec<(PathBuf, String)> {
    let folder = root().join("fixtures/config").join(folder);
    let paths = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let files = paths.filter(|path| path.extension().is_some_and(|end| end == "toml"));
    files
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect()
}

fn full() -> String {
    let folder = root().join("fixtures/config/valid");
    let text = fs::read_to_string(folder.join("full.toml")).unwrap();
    // From wherever it is read.
    text.replace("\"pages\"", &format!("{:?}", folder.join("pages")))
}

/// What a file's comments say will be reported.
fn promised(text: &str) -> Vec<String> {
    let promises = text
        .lines()
        .filter_map(|line| line.strip_prefix("# expect: "));
    promises.map(str::to_owned).collect()
}

/// A finding's first line without its file, nor any other trace of where the sources lie.
fn first_line(finding: impl std::fmt::Display, path: &Path) -> String {
    let line = format!("{finding:#}");
    let line = line.strip_prefix(&format!("{}:", path.display())).unwrap();
    let folder = format!("{}/", path.parent().unwrap().display());
    line.replace(&folder, "")
}

#[test]
fn invalid_files_are_reported_as_promised() {
    let files = fixtures("invalid");
    assert!(files.len() >= 30, "found {} files", files.len());
    for (path, text) in files {
        let errors = read_text(&text, &path).unwrap_err();
        let lines: Vec<_> = errors
            .found
            .iter()
            .map(|error| first_line(error, &path))
            .collect();
        assert_eq!(lines, promised(&text), "{}", path.display());
        assert!(!lines.is_empty(), "{}", path.display());
    }
}

#[test]
fn valid_files_are_accepted_with_the_warnings_promised() {
    let files = fixtures("valid");
    assert!(files.len() >= 5, "found {} files", files.len());
    for (path, text) in files {
        let (_, warnings) = read_text(&text, &path).unwrap();
        let lines: Vec<_> = warnings
            .iter()
            .map(|warning| first_line(warning, &path))
            .collect();
        assert_eq!(lines, promised(&text), "{}", path.display());
    }
}

#[test]
fn all_at_once() {
    let path = root().join("fixtures/config/invalid/all_at_once.toml");
    let errors = load(&path).unwrap_err();
    let lines: Vec<_> = errors
        .found
        .iter()
        .map(|error| error.position().unwrap().0)
        .collect();
    assert!(lines.len() >= 6, "{lines:?}");
    assert!(lines.is_sorted(), "{lines:?}");
}

#[test]
fn no_report_shows_a_secret() {
    let inline = "listener = [{ role = 'site', secret = 'hush' }]\nupstream = { user = 'hush' }";
    let files = fixtures("invalid").into_iter();
    for (path, text) in files.chain([(PathBuf::new(), inline.to_owned())]) {
        let report = read_text(&text, &path).unwrap_err().to_string();
        assert!(!report.contains("hush"), "{report}");
    }
}

#[test]
fn a_report_shows_the_line() {
    let report = report_of("[upstream]\nurl = \"http://a\"\n[push]\nping_interval = \"40\"\n");
    assert_eq!(
        report,
        "pullgate.toml:4:17: push.ping_interval: found \"40\", expected a duration with a unit, \
         such as \"40s\"\n | ping_interval = \"40\"\n |                 ^^^^"
    );
}

#[test]
fn places_count_characters() {
    let report = report_of(
        "\u{feff}upstream.url = \"http://a\"\r\nlog = { level = \"жё\", access = 1 }\r\n",
    );
    let places: Vec<_> = report
        .lines()
        .filter(|line| line.starts_with("pullgate"))
        .collect();
    assert!(
        places[0].starts_with("pullgate.toml:2:17: log.level: "),
        "{report}"
    );
    assert!(
        places[1].starts_with("pullgate.toml:2:32: log.access: "),
        "{report}"
    );
}

#[test]
fn files_that_cannot_be_read() {
    let report = load(Path::new("/nonexistent/pullgate.toml"))
        .unwrap_err()
        .to_string();
    assert_eq!(
        report,
        "/nonexistent/pullgate.toml: cannot be read: No such file or directory (os error 2)"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("latin1.toml");
    fs::write(
        &path,
        b"upstream.url = 'http://a'\n# caf\xe9 \xe9\n[log]\nformat = 'xml'\n",
    )
    .unwrap();
    let errors = load(&path).unwrap_err();
    let lines: Vec<_> = errors
        .found
        .iter()
        .map(|error| first_line(error, &path))
        .collect();
    assert_eq!(lines[0], "2:6: not TOML: bytes that are not UTF-8");
    assert!(lines[1].starts_with("4:10: log.format: "), "{lines:?}");
}

#[test]
fn defaults_are_those_of_a_minimal_file() {
    let written = config_of("upstream.url = 'http://127.0.0.1:8080'");
    let origin = "http://127.0.0.1:8080".parse().unwrap();
    assert_eq!(format!("{:?}", defaults(&origin)), format!("{written:?}"));
}

#[test]
fn websockets_are_pinged_every_40_seconds_by_default() {
    let config = config_of("upstream.url = 'http://127.0.0.1:8080'");
    assert_eq!(config.sites[0].push.ping_interval, seconds(40));
}

#[test]
fn values_arrive() {
    let config = config_of(&full());
    let listener = |address: &str, role, site: Option<&str>| Listener {
        address: address.parse().unwrap(),
        role,
        site: site.map(str::to_owned),
        proxy_protocol: address.ends_with(":8080"),
        tls: None,
        redirects: false,
    };
    let redirecting = Listener {
        redirects: true,
        ..listener("0.0.0.0:80", Role::Site, None)
    };
    let (encrypted, others): (Vec<_>, Vec<_>) = config
        .listeners
        .clone()
        .into_iter()
        .partition(|listener| listener.tls.is_some());
    assert_eq!(
        others,
        [
            listener("0.0.0.0:8080", Role::Site, None),
            redirecting,
            listener("127.0.0.1:8895", Role::Publish, Some("shop")),
            listener("unix:/run/pullgate/admin.sock", Role::Admin, None),
        ]
    );
    let tls = encrypted[0].tls.as_ref().unwrap();
    assert_eq!(tls.hsts.unwrap().as_secs(), 180 * 24 * 60 * 60);
    let Certificate::File(first) = &tls.certificates[0] else {
        panic!("a file")
    };
    assert_eq!(first.names, ["shop.example", "*.shop.example"]);
    assert!(first.certified.ocsp.is_some());
    assert_eq!(encrypted[1].tls.as_ref().unwrap().hsts, None);
    let [_, _, Certificate::Acme(hosts)] = &encrypted[1].tls.as_ref().unwrap().certificates[..]
    else {
        panic!("the third is got by itself")
    };
    assert_eq!(hosts, &["blog.example"]);
    assert_eq!(config.acme.challenge, Challenge::TlsAlpn);
    assert_eq!(config.acme.directory, "https://ca.example/directory");
    assert_eq!(config.server.max_connections, 20_000);
    assert_eq!(config.sites[0].upstream.connect_timeout.as_millis(), 500);
    let health = &config.sites[0].upstream.health;
    assert_eq!((health.max_failures, health.pause.as_secs()), (3, 30));
    let check = health.check.as_ref().unwrap();
    assert_eq!(
        (check.path.as_str(), check.interval.as_secs()),
        ("/health?deep", 2)
    );
    assert_eq!(check.timeout.as_secs(), 1);
    assert_eq!(check.expect.unwrap().as_u16(), 204);
    assert_eq!(check.host.as_ref().unwrap().as_str(), "shop.example:8080");
    assert_eq!(config.sites[0].upstream.sticky, Sticky::Guest);
    assert_eq!(config.sites[0].guest.secrets, [Secret(KEY.to_owned())]);
    assert_eq!(config.sites[0].guest.cookie_same_site, SameSite::Strict);
    assert_eq!(config.sites[0].guest.header, "x-guest-id");
    assert_eq!(config.sites[0].guest.first_id, 1_000_000);
    assert_eq!(config.sites[0].guest.adopt[0].cookie, "SITE_GUEST");
    assert_eq!(
        config.sites[0].push.signature_key,
        Some(Secret(KEY.to_owned()))
    );
    assert_eq!(
        config.sites[0].push.publish_allow,
        ["10.0.0.5/32".parse().unwrap()]
    );
    assert_eq!(
        config.sites[0].push.paths.subscribe,
        ["/push/sub/", "/push/subws/"]
    );
    assert_eq!(config.sites[0].push.limits.subscriber_queue, 1_000_000);
    assert_eq!(config.history.max_memory, 1 << 30);
    assert_eq!(config.sites[0].name, "shop");
    assert_eq!(config.listeners[4].site.as_deref(), Some("shop"));
    assert_eq!(config.log.format, LogFormat::Json);
}

#[test]
fn the_files_tables_are_the_defaults_of_every_site() {
    let text = fs::read_to_string(root().join("fixtures/config/valid/sites.toml")).unwrap();
    let config = config_of(&text);
    let sites = &config.sites;
    let [shop, blog] = sites.as_slice() else {
        panic!("{sites:?}");
    };
    let hosts: Vec<String> = shop.hosts.iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["shop.example", "*.shop.example"]);
    assert!(shop.is_original && !shop.is_default && blog.is_default && !blog.is_original);
    let of = |value: fn(&super::super::Site) -> u64| (value(shop), value(blog));
    assert_eq!(of(|s| s.upstream.response_timeout.as_secs()), (600, 60));
    assert_eq!(of(|s| s.upstream.connect_timeout.as_secs()), (5, 5));
    let check = |s: &super::super::Site| s.upstream.health.check.clone().unwrap();
    assert_eq!(check(shop).path, check(blog).path);
    assert_eq!(
        (check(shop).interval, check(blog).interval),
        (seconds(5), seconds(1))
    );
    // A list is a key: that of a site stands instead of the file's.
    let server = &config.server;
    let max_body = |path| {
        (
            shop.terms(server, path).max_body,
            blog.terms(server, path).max_body,
        )
    };
    assert_eq!(max_body("/upload/"), (1 << 30, 0));
    assert_eq!(max_body("/bitrix/admin"), (0, 1 << 20));
    // The longest alone holds, wherever it stands; what it does not say is as for the whole site.
    assert_eq!(max_body("/bitrix/admin/"), (0, 0));
    let silence = |path| blog.terms(server, path).response_timeout.as_secs();
    assert_eq!((silence("/bitrix/admin/"), silence("/bitrix/")), (3600, 60));
    assert_eq!(of(|s| s.guest.new_per_minute.into()), (10, 30));
    assert_eq!(of(|s| s.guest.secrets.len() as u64), (1, 1));
    assert_eq!(of(|s| s.push.publish_allow.len() as u64), (0, 1));
    assert_eq!(
        of(|s| s.push.limits.max_payload as u64),
        (64 << 10, 1 << 20)
    );
    assert_eq!(
        of(|s| s.push.limits.message_ttl.as_secs()),
        (43_200, 43_200)
    );
    assert_eq!(shop.redis.names, RedisNames::new("", 0, true));
    assert_eq!(blog.redis.names, RedisNames::new("blog:", 0, false));
}

#[test]
fn a_site_may_be_without_the_files_paths() {
    let text = fs::read_to_string(root().join("fixtures/config/valid/sites.toml")).unwrap();
    let largest = |text: &str| {
        let config = config_of(text);
        let terms = config.sites[0].terms(&config.server, "/upload/");
        terms.max_body
    };
    assert_eq!(largest(&text), 1 << 30);
    let without = text.replace("original = true", "original = true\npath = []");
    assert_eq!(largest(&without), 0, "any");
}

#[test]
fn relative_paths_start_at_the_folder_of_the_file() {
    let text = "server.state_dir = 'state'\nupstream.url = 'unix:site.sock'\n\
                listener = [{ address = 'unix:l.sock' }]";
    let (config, _) = read_text(text, Path::new("/etc/pullgate/pullgate.toml")).unwrap();
    assert_eq!(config.server.state_dir, Path::new("/etc/pullgate/state"));
    let origin = Origin::Unix("/etc/pullgate/site.sock".into());
    assert_eq!(config.sites[0].upstream.origins, [origin]);
    let address = Address::Unix("/etc/pullgate/l.sock".into());
    assert_eq!(config.listeners[0].address, address);
}

#[test]
fn a_secret_in_a_file_loses_one_newline() {
    let folder = tempfile::tempdir().unwrap();
    let key_in = |contents: &str| {
        fs::write(folder.path().join("key"), contents).unwrap();
        let text = "upstream.url = 'http://a'\npush.signature_key = 'file:key'";
        let (config, _) = read_text(text, &folder.path().join("pullgate.toml")).unwrap();
        config.sites[0].push.signature_key.clone().unwrap().0
    };
    assert_eq!(key_in("k"), "k");
    assert_eq!(key_in("k\n"), "k");
    assert_eq!(key_in("k\r\n"), "k");
    assert_eq!(key_in(" k\n\n"), " k\n");
}

/// Every key that is ever asked for, as the reports of unknown keys list them.
fn all_keys() -> BTreeSet<&'static str> {
    let probe = "zzzzzzzz = 0";
    let probed = |line: &str| match line.starts_with('[') {
        true => format!("{line}\n{probe}\n"),
        false => format!("{line}\n"),
    };
    let lines: String = full().lines().map(probed).collect();
    let text = format!("{probe}\n{lines}");
    let errors = read_text(&text, &beside_the_certificates()).unwrap_err();
    let keys = errors.found.into_iter().flat_map(|error| {
        let Problem::Unknown { known, .. } = error.problem else {
            panic!("{error}");
        };
        known
    });
    keys.collect()
}

#[test]
fn the_full_file_has_every_key() {
    let text = full();
    let has = |key: &str| {
        text.lines().any(|line| {
            let table = line.trim_matches(['[', ']']).rsplit('.').next();
            line.starts_with(&format!("{key} = ")) || line.starts_with('[') && table == Some(key)
        })
    };
    let missing: Vec<_> = all_keys().into_iter().filter(|key| !has(key)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_key_is_documented() {
    let docs = fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let tables = [
        "listener", "path", "paths", "limits", "server", "upstream", "health", "pages", "guest",
        "adopt", "push", "history", "log", "site",
    ];
    let documented = |key: &&str| docs.contains(&format!("| `{key}` |")) || tables.contains(key);
    let missing: Vec<_> = all_keys()
        .into_iter()
        .filter(|key| !documented(key))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn reports_of_broken_text_do_not_panic() {
    let text = full();
    for at in (0..text.len()).step_by(5) {
        let cut = read_text(&text[..at], &beside_the_certificates());
        cut.map_or_else(|errors| drop(errors.to_string()), drop);
        for junk in ["\"", "[", "é=", "\n", "\0"] {
            let broken = format!("{}{junk}{}", &text[..at], &text[at..]);
            let outcome = read_text(&broken, &beside_the_certificates());
            outcome.map_or_else(|errors| drop(errors.to_string()), drop);
        }
    }
}
