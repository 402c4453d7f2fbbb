//! Every way in which a request fails, and the one table of what the client is told.

use http::StatusCode;

/// Why a request was not answered by the site or by a push endpoint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the request has no Host, or more than one")]
    Host,
    #[error("the request target names another host than the Host header")]
    HostMismatch,
    #[error("the method {0} is not served")]
    Method(http::Method),
    #[error("the request target is longer than 16 KiB")]
    TargetTooLong,
    #[error("the site could not be reached: {0}")]
    Connect(std::io::Error),
    #[error("the site could not be reached within {0:?}")]
    ConnectTimeout(std::time::Duration),
    #[error("the site did not answer within {0:?}")]
    ResponseTimeout(std::time::Duration),
    #[error("the site broke off the connection or answered nonsense: {0}")]
    Upstream(hyper::Error),
    #[error("publishing is not open to this address")]
    PublishForbidden,
}

impl Error {
    /// Whether the head alone was reason enough to refuse the request.
    pub(crate) fn is_about_the_head(&self) -> bool {
        match self {
            Self::Host | Self::HostMismatch | Self::Method(_) | Self::TargetTooLong => true,
            Self::Connect(_)
            | Self::ConnectTimeout(_)
            | Self::ResponseTimeout(_)
            | Self::Upstream(_)
            | Self::PublishForbidden => false,
        }
    }

    /// The status and the sentence for the visitor.
    pub(crate) fn answer(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Host | Self::HostMismatch => (
                StatusCode::BAD_REQUEST,
                "The request does not say clearly which site it is for.",
            ),
            Self::Method(_) => (
                StatusCode::METHOD_NOT_ALLOWED,
                "This method is not served here.",
            ),
            Self::TargetTooLong => (StatusCode::URI_TOO_LONG, "The address is too long."),
            Self::Connect(_) | Self::Upstream(_) => (
                StatusCode::BAD_GATEWAY,
                "The site behind this address cannot be reached.",
            ),
            Self::ConnectTimeout(_) | Self::ResponseTimeout(_) => (
                StatusCode::GATEWAY_TIMEOUT,
                "The site behind this address takes too long to answer.",
            ),
            Self::PublishForbidden => (
                StatusCode::FORBIDDEN,
                "Publishing is not open to this address.",
            ),
        }
    }
}
