//! `POST /pullgate/login?guest=-17&channel=…` of the site: a guest is a user now.
//!
//! What is stored for the guest and has not expired goes to the user's private channel, each message
//! once, however often the site says it.

use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use pullgate_compat::channel::{ChannelId, Receiver};
use pullgate_compat::guest::GuestId;
use pullgate_compat::message::{Message, MessageId};
use tokio::task::spawn_blocking;

use super::{answer, query};
use crate::body::Body;
use crate::clock::unix_time;
use crate::history::{Archive, Draft};
use crate::hub;
use crate::site::Site;

/// Longest life of a message, seconds: behind it lie no channels with anything in them.
const DAY: u32 = 86_400;

/// Why nothing was moved. Shown to the site.
#[derive(Debug, thiserror::Error)]
enum Bad {
    #[error("guest: expected a guest's number such as -17")]
    Guest,
    #[error("channel: expected the 32 hex digits of a user's private channel")]
    Channel,
    #[error("guests are not served here, see guest.enabled and guest.push.enabled")]
    NotServed,
}

/// Serves the path.
pub(crate) async fn serve<B>(site: &Site, request: &Request<B>) -> Response<Body> {
    if request.method() != Method::POST {
        return answer(StatusCode::NOT_FOUND, "");
    }
    let (guest, to) = match parameters(request) {
        Ok(parameters) => parameters,
        Err(bad) => return answer(StatusCode::BAD_REQUEST, bad.to_string()),
    };
    let Some(guests) = site.guest_push() else {
        return answer(StatusCode::BAD_REQUEST, Bad::NotServed.to_string());
    };
    let now = unix_time().as_secs();
    let Some(to) = to else {
        return answer(StatusCode::OK, moved(0));
    };
    // Stored for a day at most, in the channels of the epochs from then on.
    let from = guests
        .keys()
        .receivers(Some(guest), now - u64::from(DAY), 2 * DAY);
    match forward(site, guest, &from, Receiver::Private(to), now).await {
        Ok(messages) => answer(StatusCode::OK, moved(messages)),
        Err(why) => {
            tracing::error!(%why, %guest, "what a guest had could not be moved to the user");
            answer(StatusCode::SERVICE_UNAVAILABLE, "Try again later.")
        }
    }
}

fn moved(messages: usize) -> String {
    format!("{{\"moved\":{messages}}}")
}

/// The guest, and the user's channel if the site names it.
fn parameters<B>(request: &Request<B>) -> Result<(GuestId, Option<ChannelId>), Bad> {
    let query = query(request);
    let guest = query.first("guest").ok_or(Bad::Guest)?;
    let guest = guest
        .strip_prefix('-')
        .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))
        .and_then(|digits| GuestId::new(digits.parse().ok()?))
        .ok_or(Bad::Guest)?;
    let channel = query.first("channel");
    let channel = channel.map(|channel| ChannelId::parse(&channel).ok_or(Bad::Channel));
    Ok((guest, channel.transpose()?))
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn forward(
    site: &Site,
    guest: GuestId,
    from: &[Receiver],
    to: Receiver,
    now: u64,
) -> Result<usize, Failure> {
    let marks = Marks { site, guest };
    loop {
        let before = marks.read().await?;
        let after = before.unwrap_or(MessageId::MIN);
        let stored = site.hub.stored(from, after).await?;
        let Some(last) = stored.last().map(|message| message.id) else {
            return Ok(0);
        };
        // Marked first: a message that is lost by a crash in between is better than one that comes twice
        // with every login.
        if !marks.exchange(before, last).await? {
            // Another login has moved them: this one moves what is left.
            continue;
        }
        let drafts: Vec<Draft> = stored
            .iter()
            .filter_map(|message| draft(message, to, now))
            .collect();
        let moved = drafts.len();
        let published = site.hub.publish(drafts).await;
        if let Err(hub::Refused::Overloaded(_)) = &published {
            // Nothing was accepted, and the site is told to try again.
            marks.exchange(Some(last), after).await?;
        }
        published?;
        return Ok(moved);
    }
}

/// The message for the user, for what is left of its life.
fn draft(message: &Message, to: Receiver, now: u64) -> Option<Draft> {
    let age = u32::try_from(now.saturating_sub(message.created.into())).ok()?;
    Some(Draft {
        receivers: vec![to],
        signatures: Vec::new(),
        body: message.body.clone(),
        expiry: message.expiry.checked_sub(age).filter(|left| *left > 0)?,
        sender: message.sender,
    })
}

/// The last of a guest's messages that was moved: in Redis if there is one, so that it holds for all nodes.
struct Marks<'a> {
    site: &'a Site,
    guest: GuestId,
}

impl Marks<'_> {
    async fn read(&self) -> Result<Option<MessageId>, Failure> {
        if let Archive::Redis(redis) = self.site.hub.archive() {
            return Ok(redis.moved(self.guest).await?);
        }
        let (state, guest) = (Arc::clone(&self.site.state), self.guest);
        // Here and below: a core does not wait for the disk.
        Ok(spawn_blocking(move || state.moved(guest)).await??)
    }

    /// Sets the mark; false if it is not `from` any more.
    async fn exchange(&self, from: Option<MessageId>, to: MessageId) -> Result<bool, Failure> {
        if let Archive::Redis(redis) = self.site.hub.archive() {
            // What is not behind the mark has expired when the mark does.
            return Ok(redis.set_moved(self.guest, from, to, DAY).await?);
        }
        let (state, guest) = (Arc::clone(&self.site.state), self.guest);
        Ok(spawn_blocking(move || state.set_moved(guest, from, to)).await??)
    }
}
