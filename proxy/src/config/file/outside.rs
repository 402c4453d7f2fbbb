//! What the file alone does not tell: whether what it names is there and can be used. Looked at by
//! `pullgate check` only: it may take as long as a name server does, and at the start the server finds
//! out by itself.

use std::io::ErrorKind;
use std::net::ToSocketAddrs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{Access, access};

use super::report::Mismatch;
use super::section::Section;
use super::value::Value;
use crate::config::Origin;

/// The bit of a file's mode that lets everybody read it.
const OTHERS_READ: u32 = 0o004;

/// The folder, or the next one above it, in which it would be made.
pub(super) fn state_dir(s: &Section<'_>, folder: &Path) {
    if !s.looks_outside() {
        return;
    }
    let form = "a folder in which this user may write, or which it may make";
    let missing = |path: &&Path| {
        let found = std::fs::metadata(path);
        found.is_err_and(|error| error.kind() == ErrorKind::NotFound)
    };
    // Above a relative path there is the current folder, which is called "" here.
    let existing = folder.ancestors().find(|path| !missing(path));
    let existing = existing.filter(|path| *path != Path::new(""));
    let existing = existing.unwrap_or(Path::new("."));
    let usable = match existing.is_dir() {
        true => access(existing, Access::WRITE_OK | Access::EXEC_OK).map_err(Into::into),
        false => Err(std::io::Error::from(ErrorKind::NotADirectory)),
    };
    if let Err(error) = usable {
        let found = format!("{}: {error}", existing.display());
        s.error("state_dir", Mismatch::new(found, form));
    }
}

/// The site need not be up, but its name should have an address.
pub(super) fn origin(s: &Section<'_>, key: &str, origin: &Origin) {
    if !s.looks_outside() {
        return;
    }
    match origin {
        Origin::Tcp { host, port } => {
            if let Err(error) = (host.as_str(), *port).to_socket_addrs() {
                s.warn(key, format!("no address of {host} can be found: {error}"));
            }
        }
        Origin::Unix(path) if !path.exists() => {
            s.warn(key, format!("there is no {} yet", path.display()));
        }
        Origin::Unix(_) => {}
    }
}

/// A secret that everybody may read is none.
pub(super) fn secret_file(value: &Value<'_>, path: &Path) {
    let readable = |path: &Path| {
        let mode = std::fs::metadata(path).ok()?.permissions().mode();
        Some(mode & OTHERS_READ != 0)
    };
    if value.reading().looks_outside() && readable(path) == Some(true) {
        value.warn("every user of this machine can read the file: chmod 600 or 640");
    }
}
