//! Certificates from a real ACME server (Pebble), which checks that the hosts are ours as any authority does, at the
//! ports that it is told.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use tempfile::TempDir;

use crate::harness::{Group, Server, connect, free_port, get, pullgate, signal, wait_for};
use crate::tls::client::{open, shown};
use crate::tls::{certificate_for, echo};

/// The authority, and the name server that it asks: every host is this machine.
struct Authority {
    directory: TempDir,
    port: u16,
    /// Where it asks for proofs.
    http: u16,
    tls: u16,
    running: Vec<Group>,
}

impl Authority {
    /// `life` of its certificates, in seconds.
    fn new(life: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let extension = ["basicConstraints=critical,CA:FALSE"];
        certificate_for(
            directory.path(),
            "authority",
            "IP:127.0.0.1",
            30,
            &extension,
        );
        let (port, management) = (free_port(), free_port());
        let (http, tls) = (free_port(), free_port());
        let file = |name: &str| directory.path().join(name);
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": file("authority.pem"),
            "privateKey": file("authority.key"),
            "httpPort": http,
            "tlsPort": tls,
            "certificateValidityPeriod": life,
        }});
        fs::write(file("config"), config.to_string()).unwrap();
        Self {
            directory,
            port,
            http,
            tls,
            running: Vec::new(),
        }
    }

    fn begin(&mut self) {
        let names = format!("127.0.0.1:{}", free_port());
        let management = format!("127.0.0.1:{}", free_port());
        let mut name_server = Command::new("pebble-challtestsrv");
        name_server
            .args([
                "-defaultIPv6",
                "",
                "-dns01",
                &names,
                "-management",
                &management,
            ])
            .args(["-http01", "", "-https01", "", "-tlsalpn01", ""]);
        let mut authority = Command::new("pebble");
        authority
            .arg("-config")
            .arg(self.directory.path().join("config"))
            .args(["-dnsserver", &names])
            .env("PEBBLE_VA_NOSLEEP", "1")
            // By itself it refuses one nonce in twenty, so that now and then a client's three attempts are not enough.
            .env("PEBBLE_WFE_NONCEREJECT", "0");
        for command in [&mut name_server, &mut authority] {
            command.stdout(Stdio::null()).stderr(Stdio::null());
            self.running.push(Group::spawn(command));
        }
        let address = format!("127.0.0.1:{}", self.port);
        wait_for(|| std::net::TcpStream::connect(&address).is_ok());
    }

    fn end(&mut self) {
        self.running.clear();
    }

    /// A site whose certificates are from here.
    fn site(&self, challenge: &str) -> Server {
        self.site_in(Arc::new(tempfile::tempdir().unwrap()), challenge)
    }

    fn site_in(&self, directory: Arc<TempDir>, challenge: &str) -> Server {
        let (http, tls, port) = (self.http, self.tls, self.port);
        let authorities = self.directory.path().join("authority.pem");
        let text = format!(
            "[server]\nstate_dir = \"state\"\nthreads = 2\n\
             [[listener]]\naddress = \"127.0.0.1:{http}\"\nredirect = \"https\"\n\
             [[listener]]\naddress = \"127.0.0.1:{tls}\"\n\
             tls = {{ acme = [\"shop.test\", \"www.shop.test\"] }}\n\
             [[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"publish\"\n\
             [[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"admin\"\n\
             [acme]\ndirectory = \"https://127.0.0.1:{port}/dir\"\nchallenge = \"{challenge}\"\n\
             contact = \"mailto:admin@shop.test\"\nauthorities = \"{}\"\n[upstream]\nurl = \"{}\"\n",
            authorities.display(),
            echo()
        );
        Server::run_as_configured(pullgate(), directory, &text)
    }

    fn shown(&self) -> Vec<u8> {
        shown(&open(&format!("127.0.0.1:{}", self.tls), "www.shop.test"))
    }
}

fn is_from_the_authority(certificate: &[u8]) -> bool {
    let issuer = b"Pebble Intermediate CA";
    certificate.windows(issuer.len()).any(|part| part == issuer)
}

fn files(server: &Server) -> Vec<std::path::PathBuf> {
    let folder = server.directory.path().join("state/acme");
    let files = fs::read_dir(folder).unwrap();
    files.map(|file| file.unwrap().path()).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_certificate_is_got_by_http_and_kept() {
    let mut authority = Authority::new(90 * 24 * 60 * 60);
    authority.begin();
    let server = authority.site("http-01");
    wait_for(|| is_from_the_authority(&authority.shown()));
    wait_for(|| files(&server).len() == 2);
    for file in files(&server) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    let metrics = get(&server.admin(), "/metrics", &[]).body;
    assert!(metrics.contains("pullgate_acme_failures_total 0\n"));
    let ends = "pullgate_acme_certificate_ends_seconds{host=\"shop.test\"} 1";
    assert!(metrics.contains(ends), "{metrics}");
    // Pages that nobody was told of are the site's, here behind a redirect.
    let plain = format!("127.0.0.1:{}", authority.http);
    let page = get(&plain, "/.well-known/acme-challenge/of-another", &[]);
    assert_eq!(page.status, 301);

    // Another start needs no authority.
    let before = authority.shown();
    authority.end();
    let directory = server.kill();
    let server = authority.site_in(directory, "http-01");
    assert!(authority.shown() == before);
    assert!(!server.log().contains("no new certificate"));
}

#[test]
fn a_certificate_is_got_within_tls_and_renewed() {
    let mut authority = Authority::new(12);
    authority.begin();
    let server = authority.site("tls-alpn-01");
    wait_for(|| is_from_the_authority(&authority.shown()));
    let first = authority.shown();
    let address = format!("127.0.0.1:{}", authority.tls);
    let stays = connect(&address);
    wait_for(|| authority.shown() != first);
    assert!(is_from_the_authority(&authority.shown()));
    drop(stays);
    assert!(
        !server.log().contains("no new certificate"),
        "{}",
        server.log()
    );
}

#[test]
fn why_there_is_none_is_said_and_a_reload_tries_again() {
    let mut authority = Authority::new(90 * 24 * 60 * 60);
    let server = authority.site("http-01");
    let failed = || server.log().matches("there is no new certificate").count();
    wait_for(|| failed() == 1);
    // What stands in is good enough to open the listener.
    assert!(!is_from_the_authority(&authority.shown()));
    // Where it asks for the proof, nobody is.
    let asked = std::mem::replace(&mut authority.http, free_port());
    let config = authority.directory.path().join("config");
    let text = fs::read_to_string(&config).unwrap();
    let wrong = text.replace(&asked.to_string(), &authority.http.to_string());
    fs::write(&config, &wrong).unwrap();
    authority.begin();
    signal(server.pid(), "HUP");
    wait_for(|| failed() == 2);
    let log = server.log();
    assert!(
        log.contains("shop.test: ") && log.contains("refused"),
        "{log}"
    );
    // Another begins, which does not know the account.
    authority.end();
    fs::write(&config, &text).unwrap();
    authority.begin();
    signal(server.pid(), "HUP");
    wait_for(|| is_from_the_authority(&authority.shown()));
}
