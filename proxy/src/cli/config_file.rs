//! `--config`: which file, found in the same way by every command.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::Args;

use super::Failure;
use crate::config::{Config, file};

/// See the module.
#[derive(Debug, Args)]
pub(crate) struct ConfigFile {
    /// The config file; default: what the variable PULLGATE_CONFIG names, or pullgate.toml in the current folder
    #[arg(long = "config", id = "config", value_name = "FILE")]
    named: Option<PathBuf>,
}

impl ConfigFile {
    pub(crate) fn path(&self) -> PathBuf {
        self.named().unwrap_or_else(|| "pullgate.toml".into())
    }

    /// Whether one is named, or lies in the current folder.
    pub(crate) fn is_there(&self) -> bool {
        self.named().is_some() || Path::new("pullgate.toml").exists()
    }

    fn named(&self) -> Option<PathBuf> {
        let variable = || std::env::var_os("PULLGATE_CONFIG");
        let named = self.named.clone().or_else(|| variable().map(PathBuf::from));
        named.filter(|path| path.as_os_str() != OsStr::new(""))
    }

    /// The configuration; what is odd about it goes to standard error.
    pub(crate) fn load(&self) -> Result<Config, Failure> {
        let (config, warnings) = file::load(&self.path())?;
        for warning in warnings {
            eprintln!("{warning}");
        }
        Ok(config)
    }
}
