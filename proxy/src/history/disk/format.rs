//! The file `FORMAT`, which names the version of the store beside it.

use std::io::ErrorKind;
use std::path::Path;

use super::store::OpenError;
use crate::files::write_whole;

/// How the tables of the store are named in the file `FORMAT`; a version that changes them reads this first.
const FORMAT: &str = "pullgate history 1\n";
/// What the name of every version begins with.
const FORMATS: &str = "pullgate history ";

/// A new folder gets the format's name; an old one must have it.
pub(super) fn check(path: &Path) -> Result<(), OpenError> {
    let unusable = |source| OpenError::Io {
        path: path.to_owned(),
        source,
    };
    let file = path.join("FORMAT");
    std::fs::create_dir_all(path).map_err(unusable)?;
    let found = match std::fs::read(&file) {
        Ok(found) => String::from_utf8_lossy(&found).into_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return write_whole(&file, FORMAT.as_bytes(), 0o666).map_err(unusable);
        }
        Err(error) => return Err(unusable(error)),
    };
    let version = found.strip_prefix(FORMATS).and_then(|version| {
        let version = version.strip_suffix('\n')?;
        version.parse::<u32>().ok()
    });
    match version {
        Some(_) if found == FORMAT => Ok(()),
        Some(_) => Err(OpenError::Format {
            path: path.to_owned(),
            found: found.trim_end().to_owned(),
        }),
        None => Err(OpenError::Damaged {
            path: path.to_owned(),
            what: "FORMAT says nothing that any version writes".to_owned(),
        }),
    }
}
