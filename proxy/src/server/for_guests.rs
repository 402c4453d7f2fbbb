//! What pullgate answers for guests beside the push endpoints: their configuration, their number, their
//! events.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode, request};
use http_body::Body as HttpBody;
use http_body_util::{BodyExt, Limited};
use jiff::Timestamp;
use pullgate_compat::guest::GuestId;

use crate::body::request::RequestBody;
use crate::body::{Body, BodyError, Streamed};
use crate::clock::unix_time;
use crate::config::Terms;
use crate::error::Error;
use crate::guest::Guests;
use crate::guest::channels::Signed;
use crate::guest::page;
use crate::guest::pull_config::{self, Facts, Module, Place};
use crate::layers;
use crate::push;
use crate::route::Route;
use crate::site::Site;
use crate::upstream::{self, pool::Pool};

/// Serves what lies under `/pullgate/` to a guest's browser.
pub(super) async fn serve<B: HttpBody>(
    site: &Arc<Site>,
    core: usize,
    guests: &Guests,
    route: Route,
    request: Request<B>,
) -> Response<Body> {
    let mut response = layers::around(request, async |request| {
        if request.method() != Method::GET {
            return push::answer(StatusCode::NOT_FOUND, "");
        }
        if !page::is_same_origin(request.headers()) {
            return push::answer(StatusCode::FORBIDDEN, "For pages of this site alone.");
        }
        match (route, guests.proven(request.headers())) {
            (Route::GuestScript, guest) => script(guest),
            (Route::Events, Some(guest)) => {
                let signed = signed(site, guests, guest, false);
                let channels = format!("{}/{}", signed.private, signed.shared);
                let good_for = site.config.guest.push.config_ttl;
                push::events::serve(site, core, &request, &channels, good_for).await
            }
            (Route::Events, None) => push::answer(
                StatusCode::FORBIDDEN,
                "No guest: open a page of the site first.",
            ),
            _ => push::answer(StatusCode::NOT_FOUND, ""),
        }
    })
    .await;
    let headers = response.headers_mut();
    headers.insert("x-robots-tag", HeaderValue::from_static("noindex"));
    response
}

fn script(guest: Option<GuestId>) -> Response<Body> {
    let mut response = Response::new(Body::from(Bytes::from(page::script(guest))));
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "Cookie"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(
        "cross-origin-resource-policy",
        HeaderValue::from_static("same-origin"),
    );
    response
}

fn signed(site: &Site, guests: &Guests, guest: GuestId, with_public: bool) -> Signed {
    let now = unix_time().as_secs();
    Signed::of(guest, guests.keys(), &site.signature, now, with_public)
}

/// A request for the site that may be a guest's for its configuration: either it is answered here, or
/// it goes on to the site whole. Without a pool the site is under maintenance, and is not asked.
pub(super) async fn config(
    site: &Site,
    pool: Option<&Pool>,
    guests: &Guests,
    terms: &Terms,
    parts: request::Parts,
    body: Streamed,
) -> Result<Response<Body>, Error> {
    let form = match Limited::new(body, pull_config::MAX_FORM).collect().await {
        Ok(form) => form.to_bytes(),
        Err(error) => {
            return match error.downcast::<BodyError>() {
                Ok(cut) => Err(Error::Upload(*cut)),
                Err(_) => Ok(push::answer(StatusCode::BAD_REQUEST, "")),
            };
        }
    };
    let Some(asked) = pull_config::asked(&parts, &form) else {
        let pool = pool.ok_or(Error::Maintenance)?;
        return upstream::forward(pool, terms, parts, RequestBody::whole(form)).await;
    };
    let guest = guests.proven(&parts.headers);
    let Some(guest) = guest.filter(|guest| guest.to_string() == asked.guest) else {
        return Ok(json(StatusCode::FORBIDDEN, pull_config::REFUSAL.to_owned()));
    };
    let host = parts
        .headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let module = match pool {
        Some(pool) => ask_module(pool, terms, parts, guest).await,
        None => None,
    };
    let config = &site.config;
    let paths = &config.push.paths;
    let version = config.guest.push.version;
    let first = |paths: &[String]| paths.first().cloned().unwrap_or_default();
    let facts = Facts {
        version,
        place: Place {
            host: &host,
            subscribe: &first(&paths.subscribe),
            websocket: paths.subscribe.last().map_or("", |path| path),
            rest: &first(&paths.rest),
        },
        channels: signed(site, guests, guest, version > 3),
        module: module.unwrap_or(Module::NONE),
        ttl: config
            .guest
            .push
            .config_ttl
            .as_secs()
            .try_into()
            .unwrap_or(i64::MAX),
        now: Timestamp::now(),
    };
    Ok(json(StatusCode::OK, pull_config::answer(&asked, &facts)))
}

/// What the module answers to guests, who get its shared channel at least; `None` for a site without it.
async fn ask_module(
    pool: &Pool,
    terms: &Terms,
    mut parts: request::Parts,
    guest: GuestId,
) -> Option<Module> {
    parts.uri = http::Uri::from_static("/rest/pull.config.get.json");
    for name in [header::ACCEPT_ENCODING, header::CONTENT_LENGTH] {
        parts.headers.remove(name);
    }
    parts.headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-www-form-urlencoded"),
    );
    let form = format!("pull_guest_id={guest}&CACHE=N");
    let response = upstream::forward(pool, terms, parts, RequestBody::whole(form.into()))
        .await
        .ok()
        .filter(|response| response.status() == StatusCode::OK)?;
    let body = Limited::new(response.into_body(), pull_config::MAX_FORM);
    Some(Module::of(&body.collect().await.ok()?.to_bytes()))
}

fn json(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=utf-8"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
