//! Protobuf requests: of the back end on the `pub` paths, of clients on the `rest` paths and over
//! websockets. One way for all three, with different rights.

use pullgate_compat::channel::Receiver;
use pullgate_compat::status::Status;
use pullgate_compat::wire::{
    ChannelStats, Checked, Limits, Publication, Rights, accept, encode_channel_stats,
};

use super::numbers::Numbers;
use super::statistics;
use crate::history::Draft;
use crate::hub;
use crate::site::Site;
use crate::statistics::Command;

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It was published; nothing is to be said.
    Published,
    /// A `ResponseBatch` for the sender.
    Answer(Vec<u8>),
}

/// Why nothing became of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("{}", .0.reason())]
    Status(Status),
    #[error(transparent)]
    Hub(#[from] hub::Refused),
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

/// Reads, checks and carries out one request; `to` are the guests its messages go to, if they go by
/// number.
pub(crate) async fn carry_out(
    site: &Site,
    data: &[u8],
    rights: Rights,
    to: Option<&Numbers<'_>>,
) -> Result<Outcome, Refused> {
    let limits = &site.config.push.limits;
    let limits = Limits {
        max_messages: limits.max_messages_per_request,
        max_channels: limits.max_channels_per_request,
    };
    match accept(data, rights, &limits, &site.signature)? {
        Checked::Publish(publications) => {
            site.statistics.request(Command::IncomingMessages);
            for publication in &publications {
                site.statistics.message(&publication.label);
            }
            let drafts = publications
                .into_iter()
                .map(|publication| draft(publication, to))
                .filter(|draft| !draft.receivers.is_empty())
                .collect();
            site.hub.publish(drafts).await?;
            Ok(Outcome::Published)
        }
        Checked::ChannelStats(channels) => {
            site.statistics.request(Command::ChannelStats);
            Ok(Outcome::Answer(channel_stats(site, &channels).await))
        }
        Checked::ServerStats => Ok(Outcome::Answer(statistics::binary(site).await)),
    }
}

/// Which of `channels` somebody listens to, as a `ResponseBatch`.
pub(crate) async fn channel_stats(site: &Site, channels: &[Receiver]) -> Vec<u8> {
    let online = site.hub.online(channels).await;
    let stats: Vec<ChannelStats> = channels
        .iter()
        .zip(online)
        .map(|(&channel, is_online)| ChannelStats { channel, is_online })
        .collect();
    let mut batch = Vec::new();
    encode_channel_stats(&stats, &mut batch);
    batch
}

fn draft(publication: Publication, to: Option<&Numbers<'_>>) -> Draft {
    let expiry = publication.expiry.seconds();
    Draft {
        signatures: to.map_or(publication.signatures, |_| Vec::new()),
        receivers: to.map_or(publication.receivers, |to| to.receivers(expiry)),
        body: publication.body,
        expiry,
        sender: publication.sender,
    }
}
