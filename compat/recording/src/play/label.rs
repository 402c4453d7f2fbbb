//! Steps as a report names them.

use crate::format::{Action, Side, Step};

/// Kind, connection and note: `ws-recv w1 // after the pong`.
pub(super) fn of(step: &Step) -> String {
    let (kind, conn) = name(&step.action);
    let mut label = kind.to_owned();
    if let Some(conn) = conn {
        label.push(' ');
        label.push_str(conn);
    }
    if let Some(note) = &step.note {
        label.push_str(" // ");
        label.push_str(note);
    }
    label
}

fn name(action: &Action) -> (&'static str, Option<&str>) {
    match action {
        Action::Http { request, .. } => ("http", Some(&request.method)),
        Action::PollStart { conn, .. } => ("poll-start", Some(conn)),
        Action::PollEnd { conn, .. } => ("poll-end", Some(conn)),
        Action::PollPending { conn, .. } => ("poll-pending", Some(conn)),
        Action::PollAbort { conn } => ("poll-abort", Some(conn)),
        Action::WsOpen { conn, .. } => ("ws-open", Some(conn)),
        Action::WsSend { conn, .. } => ("ws-send", Some(conn)),
        Action::WsRecv { conn, .. } => ("ws-recv", Some(conn)),
        Action::WsQuiet { conn, .. } => ("ws-quiet", Some(conn)),
        Action::WsClose {
            conn,
            by: Side::Client,
            ..
        } => ("ws-close by client", Some(conn)),
        Action::WsClose {
            conn,
            by: Side::Server,
            ..
        } => ("ws-close by server", Some(conn)),
        Action::WsEnd { conn, .. } => ("ws-end", Some(conn)),
        Action::Sleep { .. } => ("sleep", None),
        Action::Raw { .. } => ("raw", None),
        Action::RedisDump { .. } => ("redis-dump", None),
        Action::RedisPubsub { .. } => ("redis-pubsub", None),
    }
}
