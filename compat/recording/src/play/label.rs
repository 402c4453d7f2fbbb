//! Steps as a report names them.

use crate::format::Step;

/// Kind, connection and note: `ws-recv w1 // after the pong`.
pub(super) fn of(step: &Step) -> String {
    let parts = step.action.parts();
    let mut label = parts.kind.to_owned();
    let method = parts.request.map(|request| request.method.as_str());
    if let Some(name) = parts.conn.or(method) {
        label.push(' ');
        label.push_str(name);
    }
    if let Some(note) = &step.note {
        label.push_str(" // ");
        label.push_str(note);
    }
    label
}
