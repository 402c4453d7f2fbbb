//! The witness: Debian's nginx, in front of the same site.

use std::fs;
use std::net::TcpStream;

use tempfile::TempDir;

use crate::harness::free_port;
use crate::hook::Daemon;

/// A running nginx.
pub(super) struct Nginx {
    pub(super) address: String,
    _daemon: Daemon,
    _directory: TempDir,
}

impl Nginx {
    /// In front of a site, as its manual says for HTTP/1.1 and websockets; for all else by its defaults.
    pub(super) fn start(site: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let address = format!("127.0.0.1:{}", free_port());
        let places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|place| format!("{place}_temp_path {};", path(place)))
            .concat();
        let config = format!(
            "daemon off; master_process off; pid {pid}; error_log {log}; events {{}}\n\
             http {{ access_log off; {places}\n\
             map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}\n\
             server {{ listen {address}; location / {{\n\
             proxy_pass http://{site}; proxy_http_version 1.1; proxy_set_header Host $http_host;\n\
             proxy_set_header Upgrade $http_upgrade;\n\
             proxy_set_header Connection $connection_upgrade; }} }} }}\n",
            pid = path("pid"),
            log = path("log"),
        );
        fs::write(path("nginx.conf"), config).unwrap();
        let mut daemon = Daemon::start("nginx", &["-e", &path("log"), "-c", &path("nginx.conf")]);
        daemon.wait_until(|| TcpStream::connect(&address).is_ok());
        Self {
            address,
            _daemon: daemon,
            _directory: directory,
        }
    }
}
