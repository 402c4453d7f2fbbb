//! Spellings of a push path: whatever nginx or Apache would take for one is one here, and from outside nobody
//! publishes by it.

use std::fs;
use std::net::TcpStream;

use tempfile::TempDir;

use crate::harness::{Server, free_port, send_raw};
use crate::hook::Daemon;
use crate::proxy::mirror;
use crate::push::A;

/// After `POST `, without the query.
const SPELLINGS: [&str; 34] = [
    "/bitrix/pub/",
    "/bitrix/pub/some/thing",
    "//bitrix/pub/",
    "/bitrix//pub/",
    "/bitrix///pub//",
    "/bitrix/%70ub/",
    "/%62itrix/p%75b/",
    "/bitrix/%70%75%62/",
    "/bitrix%2fpub/",
    "/bitrix%2Fpub%2F",
    "/bitrix/%2fpub/",
    "/bitrix/pub%2f",
    "/x/../bitrix/pub/",
    "/x/%2e%2e/bitrix/pub/",
    "/x/.%2E/bitrix/pub/",
    "/x%2f../bitrix/pub/",
    "/bitrix/x/../pub/",
    "/bitrix/x/y/../../pub/",
    "/bitrix/./pub/",
    "/bitrix/%2e/pub/",
    "/./bitrix/pub/",
    "/bitrix/x/..//pub/",
    "/bitrix/pub/../pub/",
    "/bitrix/pub/./",
    "/bitrix/pub/x/..",
    "http://h/bitrix/pub/",
    "http://h/bitrix//%70ub/",
    // Neither takes these for it, but what stands behind might.
    "/BITRIX/PUB/",
    "/bitrix/%2570ub/",
    "/bitrix/pub;x/",
    "/bitrix;x/pub/",
    "/bitrix/pub%3bx/",
    "/bitrix\\pub/",
    "/../bitrix/pub/",
];

/// The site's.
const OTHERS: [&str; 5] = [
    "/bitrix/pub",
    "/bitrix/publish/",
    "/bitrix/x/pub/",
    "/x/bitrix/pub/",
    "/bitrix/pu%62lic/",
];

/// A server that answers 410 below `/bitrix/pub/`, and 404 else.
struct Front {
    address: String,
    _daemon: Daemon,
    _directory: TempDir,
}

impl Front {
    fn start(
        program: &str,
        arguments: fn(&str) -> Vec<String>,
        config: fn(&str, &str) -> String,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().display().to_string();
        let address = format!("127.0.0.1:{}", free_port());
        fs::write(directory.path().join("conf"), config(&folder, &address)).unwrap();
        let arguments = arguments(&folder);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut daemon = Daemon::start(program, &arguments);
        daemon.wait_until(|| TcpStream::connect(&address).is_ok());
        Self {
            address,
            _daemon: daemon,
            _directory: directory,
        }
    }

    fn nginx() -> Self {
        Self::start(
            "nginx",
            |folder| {
                [
                    "-e",
                    &format!("{folder}/log"),
                    "-c",
                    &format!("{folder}/conf"),
                ]
                .map(str::to_owned)
                .to_vec()
            },
            |folder, address| {
                let places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                    .map(|place| format!("{place}_temp_path {folder}/{place};"))
                    .concat();
                format!(
                    "daemon off; master_process off; pid {folder}/pid; error_log {folder}/log; events {{}}\n\
                     http {{ access_log off; {places} server {{ listen {address};\n\
                     location /bitrix/pub/ {{ return 410; }} location / {{ return 404; }} }} }}\n"
                )
            },
        )
    }

    fn apache() -> Self {
        Self::start(
            "apache2",
            |folder| {
                ["-f", &format!("{folder}/conf"), "-DFOREGROUND"]
                    .map(str::to_owned)
                    .to_vec()
            },
            |folder, address| {
                let load = ["mpm_prefork", "authz_core", "alias"]
                    .map(|name| {
                        format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n")
                    })
                    .concat();
                format!(
                    "{load}ServerRoot {folder}\nServerName localhost\nListen {address}\nDefaultRuntimeDir {folder}\n\
                     PidFile {folder}/pid\nErrorLog {folder}/log\nMutex file:{folder} default\nStartServers 1\n\
                     User www-data\nGroup www-data\nDocumentRoot {folder}\nRedirect 410 /bitrix/pub/\n"
                )
            },
        )
    }

    fn takes(&self, path: &str) -> bool {
        post(&self.address, path) == 410
    }
}

fn post(address: &str, path: &str) -> u16 {
    let request = format!(
        "POST {path}?CHANNEL_ID={A} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 4\r\n\r\ntext"
    );
    send_raw(address, request.as_bytes()).status
}

#[test]
fn what_nginx_or_apache_would_take_for_a_push_path_is_one() {
    let server = Server::start(&mirror(), "");
    let fronts = [Front::nginx(), Front::apache()];
    let mut taken = [0; 2];
    for path in SPELLINGS {
        assert_eq!(post(&server.site, path), 403, "{path}");
        for (front, taken) in fronts.iter().zip(&mut taken) {
            *taken += u32::from(front.takes(path));
        }
    }
    // They do take many of them.
    assert!(taken.iter().all(|taken| *taken >= 15), "{taken:?}");
    for path in OTHERS {
        assert_eq!(post(&server.site, path), 200, "{path}");
        assert!(!fronts.iter().any(|front| front.takes(path)), "{path}");
    }
}
