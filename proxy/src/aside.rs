//! Damaged files are put aside, so that they can be looked at.

use std::io;
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
            std::fs::rename(path, &aside)?;
            return Ok(aside);
        }
        time += 1;
    }
}
