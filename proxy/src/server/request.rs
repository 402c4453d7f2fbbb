//! One request's way: head checked, visitor known, route chosen, answered, logged.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use data_encoding::HEXLOWER;
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode, request};
use hyper::body::Incoming;
use tracing::Level;

use super::{Core, Counted, head, rest};
use crate::admin;
use crate::body::Body;
use crate::config::Role;
use crate::error::{Answer, Error};
use crate::guest;
use crate::push::{self, websocket::handshake};
use crate::route::Route;
use crate::upstream::{self, headers, tunnel, upload::RequestBody, visitor::Visitor};

/// By this header of an answer the site says that the visitor is no guest any more.
const RELEASE: &str = "pull-user-release";

/// Answers one request; every error becomes one response and one log line.
pub(crate) async fn answer(
    core: Arc<Core>,
    role: Role,
    route: Route,
    peer: IpAddr,
    request: Request<Incoming>,
) -> Response<Body> {
    let started = Instant::now();
    let visitor = Visitor::of(
        peer,
        request.headers(),
        &core.app.config.server.trusted_proxies,
    );
    let line = core.app.config.log.access.then(|| {
        let path = request
            .uri()
            .path_and_query()
            .map_or("*", |target| target.as_str());
        (request.method().clone(), path.to_owned())
    });
    let response = match dispatch(&core, role, route, peer, &visitor, request).await {
        Ok(response) => response,
        Err(error) => page(&error),
    };
    if let Some((method, uri)) = line {
        tracing::info!(
            target: "access",
            client = %visitor.address,
            %method,
            uri,
            status = response.status().as_u16(),
            ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        );
    }
    response
}

async fn dispatch(
    core: &Arc<Core>,
    role: Role,
    route: Route,
    peer: IpAddr,
    visitor: &Visitor,
    request: Request<Incoming>,
) -> Result<Response<Body>, Error> {
    head::check(&request)?;
    let push = &core.app.config.push;
    let trusted = role == Role::Publish || visitor.address.is_in(&push.publish_allow);
    match route {
        Route::Publish | Route::Stat if !trusted => Err(Error::PublishForbidden),
        Route::Publish
        | Route::Stat
        | Route::ClientPublish
        | Route::Control
        | Route::Login
        | Route::NotFound
            if handshake::is_handshake(request.headers()) =>
        {
            Ok(handshake::Refused::Path.into())
        }
        Route::Publish => Ok(push::publish::serve(&core.app, request).await),
        Route::ClientPublish => Ok(push::publish::serve_clients(&core.app, request).await),
        Route::Subscribe => Ok(push::subscribe::serve(core, request).await),
        Route::Stat => Ok(push::statistics::serve(&core.app, &request).await),
        Route::Control => Ok(push::publish::refuse_order(&core.app, request).await),
        Route::Login => Ok(push::login::serve(&core.app, &request).await),
        Route::Pullgate => match core.app.guest_push() {
            Some(guests) => Ok(rest::pullgate(core, guests, request).await),
            None => site(core, peer, visitor, request).await,
        },
        Route::Site => site(core, peer, visitor, request).await,
        Route::Admin => Ok(admin::serve(&core.app, request).await),
        Route::NotFound => Ok(push::answer(StatusCode::NOT_FOUND, "")),
    }
}

/// On to the site, as the visitor that we know.
async fn site(
    core: &Core,
    peer: IpAddr,
    visitor: &Visitor,
    request: Request<Incoming>,
) -> Result<Response<Body>, Error> {
    let (mut parts, body) = request.into_parts();
    let websocket = tunnel::wants_websocket(&parts);
    let guest = &core.app.config.guest;
    headers::remove_hop_by_hop(&mut parts.headers);
    headers::remove_forged(&mut parts.headers, &[&guest.header, &guest.token_header]);
    parts.headers.remove(header::EXPECT);
    add_host(&mut parts, core);
    headers::add_forwarded(&mut parts.headers, peer, visitor);
    let cookie = core
        .app
        .guests
        .as_ref()
        .and_then(|guests| guests.identify(&mut parts, visitor));

    let mut response = if websocket {
        {
            let request = Request::from_parts(parts, body);
            tunnel::forward(&core.pool, request, Counted::new(&core.app)).await?
        }
    } else {
        let mut response = match core.app.guest_push() {
            Some(guests) if guest::rest::may_be(&parts) => {
                rest::config(core, guests, parts, body).await?
            }
            Some(_) | None => {
                let body = RequestBody::of(body, core.app.config.server.body_timeout);
                upstream::forward(&core.pool, parts, body).await?
            }
        };
        headers::remove_hop_by_hop(response.headers_mut());
        response
    };
    *response.version_mut() = http::Version::HTTP_11;
    if let Some(guests) = &core.app.guests {
        if response.headers_mut().remove(RELEASE).is_some() {
            guests.let_go(&mut response);
        } else if let Some(cookie) = cookie {
            guests.set_cookie(&mut response, cookie);
        }
    }
    Ok(response)
}

/// HTTP/1.1 to the site needs a Host, which the client may have named in the target, or not at all (HTTP/1.0).
fn add_host(parts: &mut request::Parts, core: &Core) {
    if parts.headers.contains_key(header::HOST) {
        return;
    }
    let host = match parts.uri.authority() {
        Some(authority) => HeaderValue::try_from(authority.as_str()),
        None => HeaderValue::try_from(core.pool.host()),
    };
    if let Ok(host) = host {
        parts.headers.insert(header::HOST, host);
    }
}

/// The page of an error: what happened, and the id under which the log says why.
fn page(error: &Error) -> Response<Body> {
    let Answer {
        status,
        sentence,
        level,
        closes,
    } = error.answer();
    let mut id = [0; 8];
    // Without randomness the page still says what happened.
    let _ = getrandom::fill(&mut id);
    let id = HEXLOWER.encode(&id);
    match level {
        Level::ERROR => tracing::error!(request = id, %error, "{}", status.as_u16()),
        _ => tracing::info!(request = id, %error, "{}", status.as_u16()),
    }
    let title = status.canonical_reason().unwrap_or("Error");
    let body = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\
         <h1>{} {title}</h1><p>{sentence}</p><p>Request <code>{id}</code></p></html>\n",
        status.as_u16()
    );
    let mut response = Response::new(Body::from(bytes::Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if closes {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
