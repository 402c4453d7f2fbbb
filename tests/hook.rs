//! The PHP hook under the servers that sites run: nginx with php-fpm, Apache with mod_php.

use std::fs::{self, Permissions};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::guests::{PAGE, SECRET, token_keys};
use crate::harness::{Group, Response, Server, free_port, get, pullgate, root, wait_for};

/// A master process that takes its workers along on SIGTERM, Apache by a signal to its whole group.
pub(crate) struct Daemon(Group);

impl Daemon {
    pub(crate) fn start(name: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(name);
        command.args(arguments).stdin(Stdio::null());
        Self(Group::spawn(command.stdout(Stdio::null())))
    }

    pub(crate) fn wait_until(&mut self, mut ready: impl FnMut() -> bool) {
        wait_for(|| {
            let ended = self.0.try_wait().unwrap();
            assert!(ended.is_none(), "the server ended: {ended:?}");
            ready()
        });
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = self.0.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.0.wait();
    }
}

/// Where the hook has its keys from.
#[derive(Clone, Copy, Debug)]
enum Keys {
    Environment,
    Printed,
}

/// A copy of the site and the hook that www-data may read.
struct Site {
    directory: TempDir,
    keys: String,
}

impl Site {
    fn new(keys: Keys) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        for part in ["fixtures/site", "compat/php"] {
            copy(&root().join(part), &directory.path().join(part));
        }
        let server = Server::start("http://127.0.0.1:1", SECRET);
        let keys = match keys {
            Keys::Environment => token_keys(&server),
            Keys::Printed => {
                let output = pullgate()
                    .args(["php-hook", "--config"])
                    .arg(server.directory.path().join("pullgate.toml"))
                    .output()
                    .unwrap();
                assert!(output.status.success());
                let hook = directory.path().join("compat/php/pull_hit.php");
                fs::write(hook, output.stdout).unwrap();
                String::new()
            }
        };
        Self { directory, keys }
    }

    fn path(&self, name: &str) -> String {
        let path: PathBuf = self.directory.path().join(name);
        path.to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }
}

/// The files of a directory, readable by everybody.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            let file = to.join(entry.file_name());
            fs::copy(entry.path(), &file).unwrap();
            fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        }
    }
}

fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// The environment of the keys, when there are any to give.
fn variable(site: &Site, line: impl Fn(&str) -> String) -> String {
    if site.keys.is_empty() {
        String::new()
    } else {
        line(&site.keys)
    }
}

fn php_fpm(site: &Site, port: u16) -> Vec<Daemon> {
    let socket = site.path("php.sock");
    let environment = variable(site, |keys| format!("env[PULLGATE_TOKEN_KEYS] = {keys}\n"));
    let fpm = site.write(
        "php-fpm.conf",
        &format!(
            "[global]\npid = {pid}\nerror_log = {log}\ndaemonize = no\n\
             [www]\nuser = www-data\ngroup = www-data\nlisten = {socket}\nlisten.mode = 0666\n\
             pm = static\npm.max_children = 2\n{environment}",
            pid = site.path("php-fpm.pid"),
            log = site.path("php-fpm.log"),
        ),
    );
    // Underscores on: what pullgate lets through must not be saved by nginx.
    let nginx = site.write(
        "nginx.conf",
        &format!(
            "daemon off;\nuser root;\nworker_processes 1;\npid {pid};\nerror_log {log};\n\
             events {{}}\n\
             http {{\n\
             access_log off;\nclient_body_temp_path {temp};\nproxy_temp_path {temp};\n\
             fastcgi_temp_path {temp};\nuwsgi_temp_path {temp};\nscgi_temp_path {temp};\n\
             server {{\nlisten 127.0.0.1:{port};\nroot {root};\nunderscores_in_headers on;\n\
             location ~ \\.php$ {{\ninclude /etc/nginx/fastcgi_params;\n\
             fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;\n\
             fastcgi_pass unix:{socket};\n}}\n}}\n}}\n",
            pid = site.path("nginx.pid"),
            log = site.path("nginx.log"),
            temp = site.path("temp"),
            root = site.path("fixtures/site"),
        ),
    );
    let mut fpm = Daemon::start("php-fpm8.2", &["-n", "-R", "-F", "-y", &fpm]);
    fpm.wait_until(|| UnixStream::connect(&socket).is_ok());
    let log = site.path("nginx.log");
    let mut nginx = Daemon::start("nginx", &["-e", &log, "-c", &nginx]);
    nginx.wait_until(|| listens(port));
    vec![nginx, fpm]
}

fn apache(site: &Site, port: u16) -> Vec<Daemon> {
    let modules = "/usr/lib/apache2/modules";
    let mut load = String::new();
    for (name, file, package) in [
        ("mpm_prefork_module", "mod_mpm_prefork.so", "apache2"),
        ("authz_core_module", "mod_authz_core.so", "apache2"),
        ("env_module", "mod_env.so", "apache2"),
        ("mime_module", "mod_mime.so", "apache2"),
        ("php_module", "libphp8.2.so", "libapache2-mod-php8.2"),
    ] {
        let file = format!("{modules}/{file}");
        assert!(
            Path::new(&file).exists(),
            "{file} is missing; install {package}"
        );
        load.push_str(&format!("LoadModule {name} {file}\n"));
    }
    let environment = variable(site, |keys| format!("SetEnv PULLGATE_TOKEN_KEYS {keys}\n"));
    let config = site.write(
        "apache.conf",
        &format!(
            "{load}ServerRoot {directory}\nServerName localhost\nListen 127.0.0.1:{port}\n\
             DefaultRuntimeDir {directory}\nPidFile {directory}/apache.pid\n\
             ErrorLog {directory}/apache.log\nMutex file:{directory} default\n\
             User www-data\nGroup www-data\nTypesConfig /etc/mime.types\n\
             StartServers 2\nDocumentRoot {directory}/fixtures/site\n\
             <Directory {directory}/fixtures/site>\nRequire all granted\n</Directory>\n\
             <FilesMatch \\.php$>\nSetHandler application/x-httpd-php\n</FilesMatch>\n\
             {environment}",
            directory = site.directory.path().display(),
        ),
    );
    let mut apache = Daemon::start("apache2", &["-f", &config, "-DFOREGROUND"]);
    apache.wait_until(|| listens(port));
    vec![apache]
}

fn seen(page: &Response) -> &str {
    assert_eq!(page.status, 200, "{page:?}");
    page.body.as_str()
}

fn php_sees_only_verified_guests(start: fn(&Site, u16) -> Vec<Daemon>) {
    for keys in [Keys::Environment, Keys::Printed] {
        let site = Site::new(keys);
        let port = free_port();
        let _daemons = start(&site, port);
        let server = Server::start(&format!("http://127.0.0.1:{port}"), SECRET);

        let page = get(&server.site, "/whoami.php", &PAGE);
        seen(&page);
        let answer = page.json();
        let number = answer["headers"]["HTTP_PULL_USER_ID"].as_str();
        let number = number.expect("a page gets a number");
        assert!(number.parse::<i32>().unwrap() < 0, "{keys:?}: {answer}");
        assert_eq!(answer["guest"].to_string(), number, "{keys:?}: {answer}");

        for forged in ["Pull-User-Id: -99", "Pull_User_Id: -99"] {
            let page = get(&server.site, "/whoami.php", &["Accept: */*", forged]);
            assert!(!seen(&page).contains("-99"), "{keys:?}, {forged}: {page:?}");
            let answer = page.json();
            assert!(answer["guest"].is_null(), "{keys:?}, {forged}: {answer}");
            let header = &answer["headers"]["HTTP_PULL_USER_ID"];
            assert!(header.is_null(), "{keys:?}, {forged}: {answer}");
        }
    }
}

#[test]
fn php_fpm_behind_nginx_sees_only_verified_guests() {
    php_sees_only_verified_guests(php_fpm);
}

#[test]
fn mod_php_in_apache_sees_only_verified_guests() {
    php_sees_only_verified_guests(apache);
}
