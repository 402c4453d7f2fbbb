//! Every way in which a request fails, and the one table of what the client is told.

use std::io;
use std::time::Duration;

use http::StatusCode;
use tracing::Level;

use crate::body::BodyError;
use crate::hub;
use crate::limits::Reason;

/// Why a request was not answered by the site or by a push endpoint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the request has no Host, more than one, or one that is no host")]
    Host,
    #[error("the request target names another host than the Host header")]
    HostMismatch,
    #[error("no site has the host of the request")]
    Misdirected,
    #[error("the request target is neither a path nor a URL")]
    Target,
    #[error("the request's body has a transfer coding other than chunked")]
    Coding,
    #[error("the method {0} is not served")]
    Method(http::Method),
    #[error("the request target is longer than server.max_target")]
    TargetTooLong,
    #[error("the request's body: {0}")]
    Upload(BodyError),
    #[error("the site is under maintenance")]
    Maintenance,
    #[error("publishing is not open to this address")]
    PublishForbidden,
    #[error("a publish was refused: {0}")]
    NotPublished(hub::Refused),
    #[error("{0}")]
    Limited(Reason),
    #[error("there are as many connections as may be")]
    NoRoom,
    #[error("no file descriptor is left for a connection to the site")]
    Descriptors,
    #[error("no back end of the site answers; one request at a time asks again")]
    NoBackEnd,
    #[error("the site could not be reached: {0}")]
    Connect(io::Error),
    #[error("the site could not be reached within {0:?}")]
    ConnectTimeout(Duration),
    #[error("the site did not answer within {0:?}")]
    ResponseTimeout(Duration),
    #[error("the site broke off the connection or answered nonsense: {0}")]
    Upstream(hyper::Error),
    #[error("the site's response does not say clearly how long it is")]
    Framing,
    #[error("the site switched protocols without being asked to")]
    UnaskedUpgrade,
    #[error("a bug in pullgate; the line before says where")]
    Panic,
}

/// What follows from an error.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// For the visitor.
    pub(crate) sentence: &'static str,
    pub(crate) level: Level,
    /// Whether the client's connection ends: what comes behind such a request may not be what it seems.
    pub(crate) closes: bool,
    /// Seconds after which it may be better.
    pub(crate) retry_after: Option<u32>,
}

impl Answer {
    /// The client's request is wrong, or cannot be understood.
    const fn to_the_client(status: StatusCode, sentence: &'static str) -> Self {
        Self {
            status,
            sentence,
            level: Level::INFO,
            closes: true,
            retry_after: None,
        }
    }

    /// The request is understood, and refused.
    const fn refused(status: StatusCode, sentence: &'static str) -> Self {
        Self {
            closes: false,
            ..Self::to_the_client(status, sentence)
        }
    }

    /// It would be served at another time. There may be thousands of these in one second.
    const fn later(sentence: &'static str) -> Self {
        Self {
            level: Level::WARN,
            retry_after: Some(1),
            ..Self::refused(StatusCode::SERVICE_UNAVAILABLE, sentence)
        }
    }

    /// The administrator is to look at it.
    const fn alarming(status: StatusCode, sentence: &'static str) -> Self {
        Self {
            level: Level::ERROR,
            ..Self::refused(status, sentence)
        }
    }
}

impl Error {
    /// The table.
    pub(crate) fn answer(&self) -> Answer {
        match self {
            Self::Host | Self::HostMismatch => Answer::to_the_client(
                StatusCode::BAD_REQUEST,
                "The request does not say clearly which site it is for.",
            ),
            Self::Target => {
                Answer::to_the_client(StatusCode::BAD_REQUEST, "This is not an address.")
            }
            Self::Coding => Answer::to_the_client(
                StatusCode::NOT_IMPLEMENTED,
                "The request is coded in a way that is not known here.",
            ),
            Self::Method(_) => Answer::to_the_client(
                StatusCode::METHOD_NOT_ALLOWED,
                "This method is not served here.",
            ),
            Self::TargetTooLong => {
                Answer::to_the_client(StatusCode::URI_TOO_LONG, "The address is too long.")
            }
            Self::Upload(BodyError::Silent(_) | BodyError::Slow(_)) => Answer::to_the_client(
                StatusCode::REQUEST_TIMEOUT,
                "The rest of the request did not come in time.",
            ),
            Self::Upload(BodyError::TooLarge(_)) => Answer::to_the_client(
                StatusCode::PAYLOAD_TOO_LARGE,
                "The request is larger than may be sent to this address.",
            ),
            Self::Upload(BodyError::Broken(_) | BodyError::Aborted(_)) => {
                Answer::to_the_client(StatusCode::BAD_REQUEST, "The request did not come whole.")
            }
            Self::Misdirected => Answer::refused(
                StatusCode::MISDIRECTED_REQUEST,
                "There is no such site here.",
            ),
            Self::PublishForbidden => Answer::refused(
                StatusCode::FORBIDDEN,
                "Publishing is not open to this address.",
            ),
            Self::Maintenance => Answer {
                retry_after: Some(60),
                ..Answer::refused(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "The site is under maintenance. Please come back in a while.",
                )
            },
            Self::NotPublished(_) => Answer::later("Try again later."),
            Self::NoBackEnd => {
                Answer::later("The site behind this address cannot be reached at the moment.")
            }
            // Counted and told where it was refused, as below.
            Self::Limited(Reason::ConcurrentRequests) => Answer {
                level: Level::DEBUG,
                ..Answer::later("Too many visitors at the moment. Please try again a little later.")
            },
            Self::Limited(_) => Answer {
                level: Level::DEBUG,
                retry_after: Some(1),
                ..Answer::refused(
                    StatusCode::TOO_MANY_REQUESTS,
                    "Too many requests from this address. Please try again a little later.",
                )
            },
            Self::NoRoom => Answer {
                closes: true,
                ..Answer::later("Too many connections.")
            },
            Self::Descriptors => Answer {
                retry_after: Some(1),
                ..Answer::alarming(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "Too many visitors at the moment. Please try again.",
                )
            },
            Self::Connect(_) | Self::Upstream(_) | Self::Framing | Self::UnaskedUpgrade => {
                Answer::alarming(
                    StatusCode::BAD_GATEWAY,
                    "The site behind this address cannot be reached.",
                )
            }
            Self::ConnectTimeout(_) | Self::ResponseTimeout(_) => Answer::alarming(
                StatusCode::GATEWAY_TIMEOUT,
                "The site behind this address takes too long to answer.",
            ),
            Self::Panic => Answer::alarming(
                StatusCode::INTERNAL_SERVER_ERROR,
                "Something went wrong on this server.",
            ),
        }
    }
}
