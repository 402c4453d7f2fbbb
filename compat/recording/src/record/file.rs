//! The file of a recording: always whole, for nobody's eyes but the owner's.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;

use super::RecordError;
use crate::format::Recording;

/// Where a recording is written.
#[derive(Debug, Clone)]
pub(crate) struct RecordingFile {
    /// The file.
    pub(crate) path: PathBuf,
    /// Beside it, until it is whole.
    part: PathBuf,
}

impl RecordingFile {
    /// `directory/name.json`, which must not be there yet.
    pub(crate) fn create(directory: &Path, name: &str) -> Result<Self, RecordError> {
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0']) {
            return Err(RecordError::Name(name.to_owned()));
        }
        let path = directory.join(format!("{name}.json"));
        let part = directory.join(format!("{name}.json.part"));
        fs::create_dir_all(directory).map_err(|source| RecordError::write(directory, source))?;
        if path.exists() {
            let source = io::ErrorKind::AlreadyExists.into();
            return Err(RecordError::write(&path, source));
        }
        Ok(Self { path, part })
    }

    /// Replaces the file by this recording, or leaves it as it was.
    pub(crate) fn write(&self, recording: &Recording) -> Result<(), RecordError> {
        self.write_beside(recording)
            .and_then(|()| fs::rename(&self.part, &self.path))
            .map_err(|source| RecordError::write(&self.path, source))
    }

    fn write_beside(&self, recording: &Recording) -> io::Result<()> {
        // What a crash left may have other rights.
        match fs::remove_file(&self.part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.part)?;
        let mut writer = BufWriter::new(file);
        serde_json::to_writer_pretty(&mut writer, recording)?;
        writer.write_all(b"\n")?;
        let file: File = writer
            .into_inner()
            .map_err(|error| io::Error::from(error.error().kind()))?;
        file.sync_all()
    }
}

/// `recording-20261124-065703`, in UTC.
pub(crate) fn name_at(time: SystemTime) -> String {
    let time = Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH);
    time.strftime("recording-%Y%m%d-%H%M%S").to_string()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn names_tell_the_time() {
        let name = |seconds| name_at(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(name(0), "recording-19700101-000000");
        assert_eq!(name(951_782_400), "recording-20000229-000000");
        assert_eq!(name(1_795_503_423), "recording-20261124-065703");
        assert_eq!(name(4_107_542_399), "recording-21000228-235959");
        assert_eq!(name(4_107_542_400), "recording-21000301-000000");
    }
}
