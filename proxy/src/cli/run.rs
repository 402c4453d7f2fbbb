//! `pullgate run`: by which configuration.

use std::path::PathBuf;

use clap::Args;

use super::{ConfigFile, Failure};
use crate::config::{Address, Config, Origin, Role, file};
use crate::log;

/// What is served.
#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    config: ConfigFile,
    /// Where the site is, http://host:port or unix:/path: to serve it, and nothing else, without a config file
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    upstream: Option<Origin>,
    /// Address of the only listener, with --upstream; default: 0.0.0.0:80
    #[arg(long, value_name = "ADDRESS", requires = "upstream")]
    listen: Option<Address>,
    /// State directory, with --upstream; default: /var/lib/pullgate
    #[arg(long, value_name = "FOLDER", requires = "upstream")]
    state_dir: Option<PathBuf>,
}

impl Run {
    /// The configuration, and the file that it is from, if it is from one. The log is started: what is odd or wrong
    /// goes there.
    pub(crate) fn config(self) -> Result<(Option<PathBuf>, Config), Failure> {
        match self.upstream {
            None => {
                let file = self.config.path();
                Ok((Some(file.clone()), of_file(&file)?))
            }
            Some(upstream) => {
                let config = without_file(&upstream, self.listen, self.state_dir);
                log::start(&config.log);
                tracing::info!(
                    "without a config file the site alone is served: no publishing, no metrics"
                );
                Ok((None, config))
            }
        }
    }
}

fn of_file(path: &std::path::Path) -> Result<Config, Failure> {
    match file::load(path) {
        Ok((config, warnings)) => {
            log::start(&config.log);
            for warning in warnings {
                tracing::warn!("{warning:#}");
            }
            Ok(config)
        }
        Err(errors) => {
            log::start(&errors.log);
            for error in &errors.found {
                tracing::error!("{error:#}");
            }
            Err("the configuration cannot be used; pullgate check shows where".into())
        }
    }
}

/// No port is opened that nobody asked for.
fn without_file(upstream: &Origin, listen: Option<Address>, state_dir: Option<PathBuf>) -> Config {
    let mut config = file::defaults(upstream);
    config
        .listeners
        .retain(|listener| listener.role == Role::Site);
    if let (Some(listen), Some(site)) = (listen, config.listeners.first_mut()) {
        site.address = listen;
    }
    if let Some(state_dir) = state_dir {
        config.server.state_dir = state_dir;
    }
    config
}
