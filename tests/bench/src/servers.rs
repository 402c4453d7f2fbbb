//! The servers: each with the configuration of who knows it and means it well, started for one measurement.

use std::fs::{self, File, Permissions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use pullgate_compat::signature::{Algorithm, SignatureKey};
use tempfile::TempDir;

use crate::Result;
use crate::load::{Dialect, Target};
use crate::process::Processes;

/// How long a server may take until it listens.
const PATIENCE: Duration = Duration::from_secs(30);
/// Every channel is signed with it.
const SIGNATURE_KEY: &str = "a signature key for benchmarks";

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    /// As a proxy, with kept connections to the site.
    Nginx {
        workers: u32,
    },
    Haproxy,
    /// nginx with the module nchan, one worker.
    Nchan {
        log: bool,
    },
    Pullgate(Setup),
}

/// Of pullgate, what is not the same in every measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setup {
    pub(crate) threads: u32,
    /// Visitors are guests: cookie checked, both headers added.
    pub(crate) guests: bool,
    /// The access log.
    pub(crate) log: bool,
    pub(crate) history: History,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum History {
    Memory,
    Disk,
    /// On disk, and a publish is answered when it is there.
    Always,
}

/// A server that runs.
pub(crate) struct Running {
    // Dropped first: the server writes into the directory.
    processes: Processes,
    site: SocketAddr,
    tls: SocketAddr,
    publish: SocketAddr,
    dialect: Dialect,
    guests: bool,
    _directory: TempDir,
}

impl Running {
    pub(crate) fn target(&self) -> Target<'_> {
        Target {
            site: self.site,
            tls: self.tls,
            publish: self.publish,
            dialect: &self.dialect,
            guests: self.guests,
            processes: &self.processes,
        }
    }
}

/// The site behind the proxies: nginx with one worker, and files.
pub(crate) struct BackEnd {
    _processes: Processes,
    address: SocketAddr,
    directory: TempDir,
}

impl BackEnd {
    pub(crate) fn start() -> Result<Self> {
        let directory = directory()?;
        let path = directory.path();
        for (name, length) in [("1k", 1 << 10), ("64k", 64 << 10)] {
            fs::write(path.join(name), vec![b'x'; length])?;
        }
        certificate(path)?;
        let [address] = free_addresses()?;
        let http = format!(
            "access_log off;\n server {{\n listen {address} backlog=4096;\n root {};\n }}",
            path.display()
        );
        let mut processes = nginx(path, 1, &http)?;
        wait_for(&mut processes, path, &[address])?;
        Ok(Self {
            _processes: processes,
            address,
            directory,
        })
    }
}

impl Server {
    /// In front of `site`; pullgate is this executable.
    pub(crate) fn start(self, site: &BackEnd, pullgate: &Path) -> Result<Running> {
        let directory = directory()?;
        let path = directory.path();
        let [address, tls, publish] = free_addresses()?;
        let addresses = [address, tls, publish];
        let certificates = site.directory.path();
        let mut processes = match self {
            Self::Nginx { workers } => {
                let http = as_proxy(addresses, site.address, path, certificates);
                nginx(path, workers, &http)?
            }
            Self::Nchan { log } => nginx(path, 1, &as_push_server(addresses, path, log))?,
            Self::Haproxy => haproxy(path, addresses, site.address, certificates)?,
            Self::Pullgate(setup) => {
                let config = setup.config(addresses, site.address, path, certificates);
                let file = path.join("pullgate.toml");
                fs::write(&file, config)?;
                let mut command = Command::new(pullgate);
                command.arg("run").arg("--config").arg(file);
                Processes::start(logging(&mut command, path)?)?
            }
        };
        wait_for(&mut processes, path, &addresses)?;
        Ok(Running {
            processes,
            site: address,
            tls,
            publish,
            dialect: match self {
                Self::Nchan { .. } => Dialect::Nchan,
                Self::Nginx { .. } | Self::Haproxy | Self::Pullgate(_) => {
                    Dialect::Bitrix(SignatureKey::new(Algorithm::Sha1, SIGNATURE_KEY))
                }
            },
            guests: matches!(self, Self::Pullgate(Setup { guests: true, .. })),
            _directory: directory,
        })
    }
}

impl Setup {
    fn config(
        self,
        [site, tls, publish]: [SocketAddr; 3],
        back_end: SocketAddr,
        directory: &Path,
        certificates: &Path,
    ) -> String {
        let Self {
            threads,
            guests,
            log,
            history,
        } = self;
        let history = match history {
            History::Memory => "engine = \"memory\"",
            History::Disk => "engine = \"disk\"",
            History::Always => "engine = \"disk\"\ndurability = \"always\"",
        };
        let (directory, certificates) = (directory.display(), certificates.display());
        format!(
            "[server]\nstate_dir = \"{directory}/state\"\nthreads = {threads}\n\
             [[listener]]\naddress = \"{site}\"\n\
             [[listener]]\naddress = \"{tls}\"\n\
             tls = {{ cert = \"{certificates}/site.crt\", key = \"{certificates}/site.key\" }}\n\
             [[listener]]\naddress = \"{publish}\"\nrole = \"publish\"\n\
             [upstream]\nurl = \"http://{back_end}\"\nmax_idle = 1024\n\
             [guest]\nenabled = {guests}\n\
             [push]\nsignature_key = \"{SIGNATURE_KEY}\"\n\
             [history]\n{history}\n\
             [log]\naccess = {log}\n"
        )
    }
}

fn as_proxy(
    [site, tls, publish]: [SocketAddr; 3],
    back_end: SocketAddr,
    directory: &Path,
    certificates: &Path,
) -> String {
    let (directory, certificates) = (directory.display(), certificates.display());
    format!(
        "access_log {directory}/access.log;
         upstream site {{ server {back_end}; keepalive 1024; keepalive_requests 100000000; }}
         server {{
             listen {site} backlog=4096;
             listen {publish};
             listen {tls} ssl http2;
             ssl_certificate {certificates}/site.crt;
             ssl_certificate_key {certificates}/site.key;
             location / {{
                 proxy_pass http://site;
                 proxy_http_version 1.1;
                 proxy_set_header Connection '';
                 proxy_set_header Host $host;
                 proxy_set_header X-Real-IP $remote_addr;
                 proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                 proxy_set_header X-Forwarded-Proto $scheme;
             }}
         }}"
    )
}

/// Messages in memory, a hundred of a channel, as with pullgate.
fn as_push_server([site, tls, publish]: [SocketAddr; 3], directory: &Path, log: bool) -> String {
    let log = if log {
        format!("access_log {}/access.log", directory.display())
    } else {
        "access_log off".to_owned()
    };
    format!(
        "{log};
         nchan_shared_memory_size 1024M;
         nchan_message_buffer_length 100;
         nchan_message_timeout 1h;
         client_body_in_single_buffer on;
         server {{
             listen {site} backlog=4096;
             listen {tls};
             listen {publish};
             location ~ ^/pub/(\\w+)$ {{ nchan_publisher http; nchan_channel_id $1; }}
             location ~ ^/sub/(\\w+)$ {{ nchan_subscriber websocket; nchan_channel_id $1; nchan_subscriber_first_message newest; }}
             location ~ ^/poll/(\\w+)$ {{ nchan_subscriber longpoll; nchan_channel_id $1; nchan_subscriber_first_message newest; }}
             location / {{ return 200 'a page'; }}
         }}"
    )
}

/// nginx with what it needs in any case, and `http`.
fn nginx(directory: &Path, workers: u32, http: &str) -> Result<Processes> {
    let at = directory.display();
    let nchan = if http.contains("nchan_") {
        "load_module /usr/lib/nginx/modules/ngx_nchan_module.so;"
    } else {
        ""
    };
    let config = format!(
        "{nchan}
         daemon off;
         worker_processes {workers};
         pid {at}/nginx.pid;
         error_log {at}/log;
         events {{ worker_connections 19000; }}
         http {{
             client_body_temp_path {at}/body;
             proxy_temp_path {at}/proxy;
             fastcgi_temp_path {at}/fastcgi;
             uwsgi_temp_path {at}/uwsgi;
             scgi_temp_path {at}/scgi;
             sendfile on;
             tcp_nopush on;
             open_file_cache max=16;
             keepalive_requests 100000000;
             {http}
         }}\n"
    );
    let file = directory.join("nginx.conf");
    fs::write(&file, config)?;
    let mut command = Command::new("nginx");
    command.arg("-c").arg(file).arg("-e");
    command.arg(directory.join("log"));
    Processes::start(logging(&mut command, directory)?)
}

fn haproxy(
    directory: &Path,
    [site, tls, publish]: [SocketAddr; 3],
    back_end: SocketAddr,
    certificates: &Path,
) -> Result<Processes> {
    let certificates = certificates.display();
    let config = format!(
        "global\n nbthread 1\n maxconn 9900\n log stderr format raw local0\n\
         defaults\n mode http\n log global\n option httplog\n option http-keep-alive\n option forwardfor\n\
         \x20http-reuse always\n timeout connect 5s\n timeout client 75s\n timeout server 75s\n\
         frontend site\n bind {site} backlog 4096\n bind {publish}\n\
         \x20bind {tls} ssl crt {certificates}/site.pem alpn h2,http/1.1\n default_backend site\n\
         backend site\n server site {back_end}\n"
    );
    let file = directory.join("haproxy.cfg");
    fs::write(&file, config)?;
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(file);
    Processes::start(logging(&mut command, directory)?)
}

/// What a server says goes into a file, as it does where it is at work.
fn logging<'a>(command: &'a mut Command, directory: &Path) -> Result<&'a mut Command> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(directory.join("log"))?;
    let command = command.stdin(Stdio::null()).stdout(log.try_clone()?);
    Ok(command.stderr(log))
}

/// A directory that the workers of a server may look into, too.
fn directory() -> Result<TempDir> {
    let directory = tempfile::tempdir()?;
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
    Ok(directory)
}

fn certificate(directory: &Path) -> Result<()> {
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt"])
        .args(["ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=site.test", "-addext"])
        .args(["subjectAltName=DNS:site.test,IP:127.0.0.1", "-keyout"])
        .arg(directory.join("site.key"))
        .arg("-out")
        .arg(directory.join("site.crt"))
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    // For HAProxy, both in one.
    let both = [
        fs::read(directory.join("site.crt"))?,
        fs::read(directory.join("site.key"))?,
    ];
    Ok(fs::write(directory.join("site.pem"), both.concat())?)
}

/// Addresses that nobody has, until somebody takes them.
fn free_addresses<const N: usize>() -> Result<[SocketAddr; N]> {
    let mut listeners = Vec::new();
    let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    for address in &mut addresses {
        let listener = TcpListener::bind(*address)?;
        *address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(addresses)
}

/// Until it listens everywhere.
fn wait_for(processes: &mut Processes, directory: &Path, addresses: &[SocketAddr]) -> Result<()> {
    let began = Instant::now();
    for address in addresses {
        while TcpStream::connect(address).is_err() {
            if processes.has_ended()? || began.elapsed() > PATIENCE {
                let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
                let last = log.lines().last().unwrap_or_default();
                return Err(format!("the server does not listen: {last}").into());
            }
            sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}
