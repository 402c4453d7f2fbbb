//! `pullgate sign`: channels as subscribers need them.

use clap::Args;
use pullgate_compat::channel::{ChannelId, PublicId};

use super::{ConfigFile, Failure};
use crate::secrets::{self, Missing};

/// Whose key signs what.
#[derive(Debug, Args)]
pub(crate) struct Sign {
    #[command(flatten)]
    config: ConfigFile,
    /// Name of the site; required where there are several
    #[arg(long, value_name = "NAME")]
    site: Option<String>,
    /// A private id of 32 lower-case hex digits, private:public, or the word public: and a public id
    #[arg(required = true, value_parser = channel)]
    channels: Vec<String>,
}

/// Prints the signed channels.
pub(crate) fn run(arguments: &Sign) -> Result<(), Failure> {
    let config = arguments.config.load()?;
    let (site, directory) = config.site(arguments.site.as_deref())?;
    let key = secrets::signature_key(&site, &directory, Missing::Refuse)?;
    for channel in &arguments.channels {
        println!("{channel}.{}", key.sign(channel));
    }
    Ok(())
}

/// What sites sign: channels, and for protobuf a public id alone.
fn channel(text: &str) -> Result<String, String> {
    let is_public = |id| PublicId::parse(id).is_some();
    let is_private = |id| ChannelId::parse(id).is_some();
    let is_channel = match text.split_once(':') {
        Some(("public", public)) => is_public(public),
        Some((private, public)) => is_private(private) && is_public(public),
        None => is_private(text),
    };
    let form = "expected an id of 32 lower-case hex digits, two joined by \":\", or one behind \"public:\"";
    is_channel
        .then(|| text.to_owned())
        .ok_or_else(|| form.to_owned())
}
