//! Substitutes for what is private in a recording, each as long as what it stands for.
//!
//! The same always becomes the same, so what was published and what was delivered still agree. Ids
//! become other ids by a secret that is forgotten; right signatures become right ones under a fresh
//! key, wrong ones other wrong ones. Of bodies only lengths and punctuation stay.
//!
//! Headers and parameters are masked unless they are known to be harmless.

mod body;
mod fragments;
mod headers;
mod ids;
mod json;
mod protobuf;
mod target;
mod text;

use pullgate_compat::signature::Algorithm;

use crate::format::{Action, Request, Response, Step};
use crate::payload::Payload;
use crate::tap::paths::PushPaths;
use body::{is_refusal, received, sent};
use fragments::Fragments;
use ids::Ids;

/// The system gave no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("no random numbers for masking: {0}")]
pub struct MaskError(getrandom::Error);

/// See the module.
#[derive(Debug)]
pub(crate) struct Mask {
    ids: Ids,
    paths: PushPaths,
    /// Whom requests are for.
    host: String,
    /// The key of the new signatures.
    key: String,
    fragments: Fragments,
}

impl Mask {
    /// For signatures by `key`. `host` takes the place of the one in requests.
    pub(crate) fn new(
        algorithm: Algorithm,
        key: &str,
        paths: PushPaths,
        host: String,
    ) -> Result<Self, MaskError> {
        let fresh = ids::secret()?;
        Ok(Self {
            ids: Ids::new(algorithm, key, &fresh, &ids::secret()?),
            paths,
            host,
            key: fresh,
            fragments: Fragments::default(),
        })
    }

    /// The key of the signatures in what was masked.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Masks all of a step. A fragment of a message comes back when the message has ended.
    pub(crate) fn masked(&mut self, mut step: Step) -> Vec<Step> {
        if matches!(step.action, Action::WsSend { .. }) {
            return self.fragments.add(step, &self.ids);
        }
        self.mask(&mut step.action);
        vec![step]
    }

    /// What is left of messages that have not ended.
    pub(crate) fn rest(&mut self) -> Vec<Step> {
        self.fragments.rest(&self.ids)
    }

    fn mask(&self, action: &mut Action) {
        match action {
            Action::Http {
                request, response, ..
            } => {
                self.request(request);
                self.response(response);
            }
            Action::WsOpen {
                target,
                request,
                response,
                ..
            } => {
                self.request(request);
                target.clone_from(&request.target);
                self.response(response);
            }
            Action::PollStart { request, .. } => self.request(request),
            Action::PollEnd { response, .. } => self.response(response),
            Action::WsRecv { frame, .. } => {
                if let Some(data) = &mut frame.data {
                    received(data, frame.opcode == "binary", &self.ids);
                }
            }
            Action::WsClose { reason, .. } => {
                if let Some(reason) = reason
                    && !is_refusal(reason.as_bytes())
                {
                    *reason = text::masked(reason);
                }
            }
            // Fragments do that.
            Action::WsSend { .. }
            | Action::PollPending { .. }
            | Action::PollAbort { .. }
            | Action::WsQuiet { .. }
            | Action::WsEnd { .. }
            | Action::Sleep { .. } => {}
            // Not what a tap records; whatever is in it goes.
            Action::Raw {
                request, response, ..
            } => {
                blank(request);
                blank(response);
            }
            Action::RedisDump { keys } => keys.clear(),
            Action::RedisPubsub { data, .. } => blank(data),
        }
    }

    fn request(&self, request: &mut Request) {
        let binary = self.paths.service(&request.target) == Some("rest")
            || target::is_binary(&request.target);
        request.target = target::masked(&request.target, &self.paths, &self.host, &self.ids);
        let coded = headers::mask(&mut request.headers, &self.host);
        if let Some(body) = &mut request.body {
            if coded {
                body.fill(0);
            } else {
                sent(body, binary, &self.ids);
            }
        }
    }

    fn response(&self, response: &mut Response) {
        let binary = headers::is_protobuf(&response.headers);
        let coded = headers::mask(&mut response.headers, &self.host);
        if let Some(body) = &mut response.body {
            if coded {
                body.fill(0);
            } else {
                received(body, binary, &self.ids);
            }
        }
    }
}

fn blank(payload: &mut Payload) {
    if let Some(bytes) = payload {
        bytes.fill(0);
    }
}

#[cfg(test)]
mod tests;
