//! The file of a recording: always whole, for nobody's eyes but the owner's.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs();
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("recording-{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}")
}

/// The date of a day after 1970-01-01, counting in years that begin in March, so that the leap day is
/// a year's last.
fn date(days: u64) -> (u64, u64, u64) {
    /// Days of 400 years, after which the calendar repeats.
    const ERA: u64 = 146_097;
    let days = days + 719_468; // since 0000-03-01
    let (era, day_of_era) = (days / ERA, days % ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let months = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * months + 2) / 5 + 1;
    let month = if months < 10 { months + 3 } else { months - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
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
