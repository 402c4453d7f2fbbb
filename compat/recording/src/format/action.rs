//! The kinds of steps, and one table of what each of them has.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Ending, Frame, Request, Response, ServerClosed, Side};
use crate::payload::Payload;

/// The kinds of steps.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "FORMAT.md has every member")]
pub enum Action {
    Http {
        service: String,
        request: Request,
        response: Response,
    },
    PollStart {
        service: String,
        conn: String,
        request: Request,
    },
    PollEnd {
        conn: String,
        response: Response,
    },
    PollPending {
        conn: String,
        for_ms: u64,
        pending: bool,
    },
    PollAbort {
        conn: String,
    },
    WsOpen {
        service: String,
        conn: String,
        target: String,
        request: Request,
        response: Response,
    },
    WsSend {
        conn: String,
        #[serde(flatten)]
        frame: Frame,
    },
    WsRecv {
        conn: String,
        #[serde(flatten)]
        frame: Frame,
    },
    WsQuiet {
        conn: String,
        for_ms: u64,
        quiet: bool,
    },
    WsClose {
        conn: String,
        by: Side,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        code: Option<u16>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        reason: Option<String>,
    },
    WsEnd {
        conn: String,
        how: Ending,
        close_frame_seen: bool,
    },
    Sleep {
        ms: u64,
    },
    Raw {
        service: String,
        #[serde(flatten, with = "super::request_bytes")]
        request: Payload,
        #[serde(flatten, with = "super::response_bytes")]
        response: Payload,
        server_closed: ServerClosed,
        waited_ms: u64,
        after_ms: f64,
    },
    RedisDump {
        keys: Vec<Value>,
    },
    RedisPubsub {
        channel: String,
        #[serde(flatten, with = "super::data_bytes")]
        data: Payload,
    },
}

/// What a step has, whatever its kind is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts<'a> {
    /// As reports name it.
    pub(crate) kind: &'static str,
    /// Who does it. What the server does is waited for.
    pub(crate) by: Side,
    /// The name of the long poll or websocket.
    pub(crate) conn: Option<&'a str>,
    pub(crate) request: Option<&'a Request>,
    pub(crate) response: Option<&'a Response>,
    /// Whether something of it came from the server, so that there is something to compare.
    pub(crate) came: bool,
    pub(crate) frame: Option<&'a Frame>,
    /// How long it takes, in milliseconds.
    pub(crate) lasts_ms: f64,
}

impl Action {
    /// What it has.
    pub(crate) fn parts(&self) -> Parts<'_> {
        use Side::{Client, Server};
        match self {
            Self::Http {
                request, response, ..
            } => Parts::new("http", Client).exchange(request, response),
            Self::PollStart { conn, request, .. } => {
                Parts::new("poll-start", Client).conn(conn).request(request)
            }
            Self::PollEnd { conn, response } => {
                Parts::new("poll-end", Server).conn(conn).response(response)
            }
            Self::PollPending { conn, for_ms, .. } => {
                Parts::new("poll-pending", Server).conn(conn).lasts(*for_ms)
            }
            Self::PollAbort { conn } => Parts::new("poll-abort", Client).conn(conn),
            Self::WsOpen {
                conn,
                request,
                response,
                ..
            } => Parts::new("ws-open", Client)
                .conn(conn)
                .exchange(request, response),
            Self::WsSend { conn, frame } => Parts::new("ws-send", Client).conn(conn).frame(frame),
            Self::WsRecv { conn, frame } => Parts::new("ws-recv", Server).conn(conn).frame(frame),
            Self::WsQuiet { conn, for_ms, .. } => {
                Parts::new("ws-quiet", Server).conn(conn).lasts(*for_ms)
            }
            Self::WsClose { conn, by, .. } => {
                let kind = match by {
                    Client => "ws-close by client",
                    Server => "ws-close by server",
                };
                Parts::new(kind, *by).conn(conn)
            }
            Self::WsEnd { conn, .. } => Parts::new("ws-end", Server).conn(conn),
            Self::Sleep { ms } => Parts::new("sleep", Client).lasts(*ms),
            Self::Raw {
                waited_ms,
                after_ms,
                ..
            } => {
                let waited = Parts::new("raw", Client).lasts(*waited_ms);
                Parts {
                    came: true,
                    lasts_ms: waited.lasts_ms + after_ms,
                    ..waited
                }
            }
            Self::RedisDump { .. } => Parts::new("redis-dump", Server),
            Self::RedisPubsub { .. } => Parts::new("redis-pubsub", Server),
        }
    }
}

impl<'a> Parts<'a> {
    fn new(kind: &'static str, by: Side) -> Self {
        Self {
            kind,
            by,
            conn: None,
            request: None,
            response: None,
            came: by == Side::Server,
            frame: None,
            lasts_ms: 0.0,
        }
    }

    fn conn(self, conn: &'a str) -> Self {
        let conn = Some(conn);
        Self { conn, ..self }
    }

    fn request(self, request: &'a Request) -> Self {
        let request = Some(request);
        Self { request, ..self }
    }

    fn response(self, response: &'a Response) -> Self {
        Self {
            response: Some(response),
            came: true,
            ..self
        }
    }

    fn exchange(self, request: &'a Request, response: &'a Response) -> Self {
        let lasts_ms = response.after_ms;
        let both = self.request(request).response(response);
        Self { lasts_ms, ..both }
    }

    fn frame(self, frame: &'a Frame) -> Self {
        let frame = Some(frame);
        Self { frame, ..self }
    }

    fn lasts(self, ms: u64) -> Self {
        let lasts_ms = u32::try_from(ms).unwrap_or(u32::MAX).into();
        Self { lasts_ms, ..self }
    }
}
