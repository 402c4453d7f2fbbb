//! Checks of back ends, apart from requests: each is asked for a page again and again, and is out while that fails.
//!
//! One task for each site asks ([`keep_checking`]), on the first core. It ends with the site, and begins anew at each reload.

use std::time::Duration;

use futures_util::future::join_all;
use http::header::{self, HeaderValue};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use tokio::time::{Instant, sleep, timeout_at};

use super::back_ends::{BackEnd, BackEnds};
use super::connect::connect;
use crate::body::request::RequestBody;
use crate::config::{Check, Health};
use crate::error::Error;

/// So much of a page is read before the connection is closed, bytes: only its status is looked at.
const MAX_BODY: usize = 16 << 10;

/// Why a check failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    NoAnswer(#[from] Error),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("it did not answer within {0:?}")]
    Late(Duration),
}

impl Failure {
    /// Whether not even a connection was made or refused.
    pub(super) fn is_silence(&self) -> bool {
        matches!(self, Self::NoAnswer(Error::ConnectTimeout(_)))
    }
}

/// Checks every back end of a site, if they are to be checked, for as long as it is polled. `host` is the site's.
pub(crate) async fn keep_checking(back_ends: &BackEnds, host: Option<&str>) {
    let health = back_ends.health();
    let Some(check) = &health.check else {
        // Here, where those from before a reload have ended.
        back_ends.forget_checks();
        return;
    };
    let all = back_ends.all().iter();
    join_all(all.map(|back_end| keep_asking(back_end, check, health, host))).await;
}

/// At once, and then `interval` after each answer.
async fn keep_asking(back_end: &BackEnd, check: &Check, health: &Health, host: Option<&str>) {
    loop {
        match ask(back_end, check, host).await {
            Ok(()) => back_end.is_well(),
            // It is pullgate that lacks them.
            Err(Failure::NoAnswer(Error::Descriptors)) => {}
            Err(why) => back_end.is_unwell(&why, health),
        }
        sleep(check.interval).await;
    }
}

async fn ask(back_end: &BackEnd, check: &Check, host: Option<&str>) -> Result<(), Failure> {
    let until = Instant::now() + check.timeout;
    let mut sender = connect(&back_end.origin, check.timeout).await?;
    let response = timeout_at(until, sender.send_request(request(back_end, check, host))).await;
    let response = response
        .map_err(|_| Failure::Late(check.timeout))?
        .map_err(Error::Upstream)?;
    let status = response.status();
    // Who is cut off within its page would log it.
    let body = Limited::new(response.into_body(), MAX_BODY).collect();
    let _ = timeout_at(until, body).await;
    match check.expect {
        Some(expected) if status == expected => Ok(()),
        None if status.is_success() || status.is_redirection() => Ok(()),
        Some(_) | None => Err(Failure::Status(status)),
    }
}

fn request(back_end: &BackEnd, check: &Check, host: Option<&str>) -> Request<RequestBody> {
    let mut request = Request::new(RequestBody::Empty);
    *request.uri_mut() = check.path.clone().into();
    let host = match (&check.host, host) {
        (Some(host), _) => host.as_str().to_owned(),
        (None, Some(host)) => host.to_owned(),
        (None, None) => back_end.origin.host(),
    };
    let headers = request.headers_mut();
    if let Ok(host) = HeaderValue::try_from(host) {
        headers.insert(header::HOST, host);
    }
    headers.insert(header::USER_AGENT, HeaderValue::from_static("pullgate"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    request
}
