//! Files: written as a whole or not at all, and put aside when damaged, so that they can be looked at.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::clock::unix_time;

/// Renames `path` to `….damaged-<unix seconds>`, and returns the new name.
pub(crate) fn put_aside(path: &Path) -> io::Result<PathBuf> {
    let mut time = unix_time().as_secs();
    loop {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".damaged-{time}"));
        let aside = PathBuf::from(name);
        if !aside.exists() {
            fs::rename(path, &aside)?;
            return Ok(aside);
        }
        time += 1;
    }
}

/// Writes a file beside `path` and renames it, so that a crash leaves the old one or the new one. `mode` is that of a new
/// file, as far as the umask lets it be.
pub(crate) fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode);
    let mut file = options.open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(fresh, path)
}
