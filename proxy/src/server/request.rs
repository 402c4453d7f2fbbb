//! One request's way: site and route found, head checked, visitor known, answered, logged.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::FutureExt;
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode, request};
use hyper::body::Incoming;
use tracing::Level;

use super::access::Untold;
use super::admission::admit;
use super::request_id::{RequestId, X_REQUEST_ID};
use super::{Core, for_guests, head, redirect};
use crate::admin;
use crate::body::{Body, Streamed, request::RequestBody};
use crate::config::pages::MAINTENANCE;
use crate::config::{Listener, Role};
use crate::error::{Answer, Error};
use crate::guest::pull_config;
use crate::limits::{Place, Reason, refused};
use crate::net::peer::Peer;
use crate::process::Serving;
use crate::push::{self, websocket::handshake};
use crate::route::Route;
use crate::site::Site;
use crate::upstream::{self, headers, pool::Pool, tunnel, visitor::Visitor};

/// By this header of an answer the site says that the visitor is no guest any more.
const RELEASE: &str = "pull-user-release";

/// A request as it has come: what is served now, and whose it is.
pub(crate) struct Arrival {
    core: Arc<Core>,
    serving: Arc<Serving>,
    /// `None` if no site has its host, or if it came to the administrator.
    site: Option<Arc<Site>>,
    role: Role,
    peer: Peer,
    /// What the listener says of TLS.
    secured: Secured,
    pub(crate) route: Route,
}

/// How a request came, as its listener says.
#[derive(Debug, Clone, Copy)]
struct Secured {
    hsts: Option<Duration>,
    /// It is sent to where it can come by https.
    redirects: bool,
}

impl Arrival {
    /// Finds the site and the route of a request that came to `listener`.
    pub(crate) fn of<B>(
        core: &Arc<Core>,
        listener: &Listener,
        peer: Peer,
        request: &Request<B>,
    ) -> Self {
        let serving = core.process.serving();
        let site = match listener.role {
            Role::Admin => None,
            Role::Site | Role::Publish => {
                let host = head::host(request);
                let name = listener.site.as_deref();
                serving.sites.find(name, host).map(Arc::clone)
            }
        };
        let route = match &site {
            Some(site) => {
                let paths = &site.config.push.paths;
                Route::of(listener.role, paths, request.uri().path())
            }
            None => Route::of_no_site(listener.role),
        };
        Self {
            core: Arc::clone(core),
            serving,
            site,
            role: listener.role,
            peer,
            secured: Secured {
                hsts: listener.tls.as_ref().and_then(|tls| tls.hsts),
                redirects: listener.redirects,
            },
            route,
        }
    }

    /// Answers the request; every error becomes one response and one log line.
    ///
    /// While it waits it costs what this future takes. It is no `async fn`, which would keep every argument twice.
    #[expect(clippy::manual_async_fn, reason = "see above")]
    pub(super) fn answer(
        self,
        mut request: Request<Incoming>,
        untold: Arc<Untold>,
    ) -> impl Future<Output = Response<Body>> + Send {
        async move {
            let started = Instant::now();
            let trusted = &self.serving.server.trusted_proxies;
            let visitor = Visitor::of(self.peer, request.headers(), trusted);
            let id = RequestId::of(request.headers(), visitor.by_proxy);
            // For what we answer by ourselves, too.
            id.put_into(request.headers_mut());
            let line = self.serving.access_log.then(|| {
                let path = request
                    .uri()
                    .path_and_query()
                    .map_or("*", |target| target.as_str());
                (request.method().clone(), path.to_owned())
            });
            let mut tells_of = Some(1);
            let mut response = match surviving(self.dispatch(&visitor, &id, request)).await {
                Ok(response) => response,
                Err(error) => {
                    if let Error::Upload(error) = &error
                        && let Some(limit) = error.limit()
                    {
                        refused(limit, visitor.address);
                    }
                    if let Error::Limited(_) = &error {
                        tells_of = untold.refused(visitor.address);
                    }
                    self.page(&error, &id)
                }
            };
            if let Some(hsts) = self.secured.hsts {
                redirect::add_hsts(response.headers_mut(), hsts);
            }
            if let (Some((method, uri)), Some(tells_of)) = (line, tells_of) {
                let site = self.site.as_ref().map(|site| site.config.name.as_str());
                tracing::info!(
                    target: "access",
                    site = site.filter(|name| !name.is_empty()),
                    client = %visitor.address,
                    %method,
                    uri,
                    status = response.status().as_u16(),
                    ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
                    refused = (tells_of > 1).then_some(tells_of),
                    request = %id,
                );
            }
            response
        }
    }

    #[expect(clippy::manual_async_fn, reason = "as above")]
    fn dispatch(
        &self,
        visitor: &Visitor,
        id: &RequestId,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Body>, Error>> + Send {
        async move {
            head::check(&request, self.serving.server.max_target).inspect_err(|error| {
                if matches!(error, Error::TargetTooLong) {
                    refused(Reason::Target, visitor.address);
                }
            })?;
            let path = request.uri().path();
            if self.role == Role::Site
                && let Some(page) = self.core.process.acme.challenges.page(path)
            {
                return Ok(Response::new(Body::from(Bytes::from(page))));
            }
            let Some(site) = &self.site else {
                return match self.role {
                    Role::Admin => Ok(Box::pin(admin::serve(&self.core.process, request)).await),
                    Role::Site | Role::Publish => Err(Error::Misdirected),
                };
            };
            if self.secured.redirects {
                return Ok(redirect::to_https(&request));
            }
            let trusted = self.role == Role::Publish
                || visitor.address.is_in(&site.config.push.publish_allow);
            let place = match trusted {
                true => None,
                false => Some(admit(&site.visitors, visitor, self.route, &request)?),
            };
            let response = self
                .serve(site, visitor, id, trusted, request, place.clone())
                .await?;
            Ok(response.map(|body| body.counted(place)))
        }
    }

    /// What the route leads to. `place` goes on with a websocket.
    ///
    /// Every way is boxed: a request keeps room for the largest of its futures, and most of those that wait are polls.
    #[expect(clippy::manual_async_fn, reason = "as above")]
    fn serve(
        &self,
        site: &Arc<Site>,
        visitor: &Visitor,
        id: &RequestId,
        trusted: bool,
        request: Request<Incoming>,
        place: Option<Place>,
    ) -> impl Future<Output = Result<Response<Body>, Error>> + Send {
        async move {
            let core = self.core.index;
            match self.route {
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
                Route::Publish => Ok(Box::pin(push::publish::serve(site, request)).await),
                Route::ClientPublish => {
                    Ok(Box::pin(push::publish::serve_clients(site, request)).await)
                }
                Route::Subscribe => {
                    Ok(Box::pin(push::subscribe::serve(site, core, request, place)).await)
                }
                Route::Stat => Ok(Box::pin(push::statistics::serve(site, &request)).await),
                Route::Control => Ok(Box::pin(push::publish::refuse_order(site, request)).await),
                Route::Login => Ok(Box::pin(push::login::serve(site, &request)).await),
                Route::GuestScript | Route::Events | Route::Pullgate => match site.guest_push() {
                    Some(guests) => Ok(Box::pin(for_guests::serve(
                        site, core, guests, self.route, request,
                    ))
                    .await),
                    None => Box::pin(self.forward(site, visitor, id, request, place)).await,
                },
                Route::Site => Box::pin(self.forward(site, visitor, id, request, place)).await,
                Route::Admin | Route::NotFound => Ok(push::answer(StatusCode::NOT_FOUND, "")),
            }
        }
    }

    /// On to the site's back end, as the visitor that we know.
    async fn forward(
        &self,
        site: &Site,
        visitor: &Visitor,
        id: &RequestId,
        request: Request<Incoming>,
        place: Option<Place>,
    ) -> Result<Response<Body>, Error> {
        let pages = &site.config.pages;
        let is_closed = pages.is_maintenance() && !visitor.address.is_in(&pages.maintenance_allow);
        let pool = site.pool(self.core.index);
        let (mut parts, body) = request.into_parts();
        let websocket = tunnel::wants_websocket(&parts);
        let config = site.guest_push();
        let config = config.filter(|_| !websocket && pull_config::may_be(&parts));
        // A guest's configuration is made here, and the site only asked for what it adds.
        if is_closed && config.is_none() {
            return Err(Error::Maintenance);
        }
        let terms = &site.config.terms(&site.server, parts.uri.path());
        let body = Streamed::of_client(body, terms).map_err(Error::Upload)?;
        let guest = &site.config.guest;
        headers::remove_hop_by_hop(&mut parts.headers);
        let ours = [&guest.header, &guest.token_header, &X_REQUEST_ID];
        headers::remove_forged(&mut parts.headers, &ours);
        id.put_into(&mut parts.headers);
        parts.headers.remove(header::EXPECT);
        add_host(&mut parts, pool);
        headers::add_forwarded(&mut parts.headers, self.peer, visitor);
        let guests = site.guests.as_ref();
        let cookie = guests.and_then(|guests| guests.identify(&mut parts, visitor));

        let mut response = if websocket {
            let request = Request::from_parts(parts, ());
            let counted = (site.connections.count(), place);
            Box::pin(tunnel::forward(pool, terms, request, counted)).await?
        } else {
            let mut response = match config {
                Some(guests) => {
                    let pool = (!is_closed).then_some(pool);
                    Box::pin(for_guests::config(site, pool, guests, terms, parts, body)).await?
                }
                None => upstream::forward(pool, terms, parts, RequestBody::of(body)).await?,
            };
            headers::remove_hop_by_hop(response.headers_mut());
            response
        };
        *response.version_mut() = http::Version::HTTP_11;
        id.put_into(response.headers_mut());
        if let Some(guests) = guests {
            if response.headers_mut().remove(RELEASE).is_some() {
                guests.let_go(&mut response);
            } else if let Some(cookie) = cookie {
                guests.set_cookie(&mut response, cookie);
            }
        }
        Ok(response)
    }

    /// The page of an error, the site's or our own: what happened, and the id under which the log says why.
    fn page(&self, error: &Error, id: &RequestId) -> Response<Body> {
        let Answer {
            status,
            sentence,
            level,
            closes,
            retry_after,
        } = error.answer();
        match level {
            Level::ERROR => tracing::error!(request = %id, %error, "{}", status.as_u16()),
            Level::DEBUG => tracing::debug!(request = %id, %error, "{}", status.as_u16()),
            _ => tracing::info!(request = %id, %error, "{}", status.as_u16()),
        }
        let own = self.site.as_ref().and_then(|site| {
            let own = matches!(error, Error::Maintenance).then_some(MAINTENANCE);
            let pages = &site.config.pages.error_pages;
            pages.of(own, status, &id.to_string())
        });
        let body = own.unwrap_or_else(|| {
            let title = status.canonical_reason().unwrap_or("Error");
            format!(
                "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\
                 <h1>{} {title}</h1><p>{sentence}</p><p>Request <code>{id}</code></p></html>\n",
                status.as_u16()
            )
        });
        let mut response = Response::new(Body::from(Bytes::from(body)));
        *response.status_mut() = status;
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        );
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert("x-robots-tag", HeaderValue::from_static("noindex"));
        id.put_into(headers);
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if closes {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// A panic ends what was asked for, and nothing else: the client is told, and its connection goes on.
fn surviving<T>(
    answering: impl Future<Output = Result<T, Error>>,
) -> impl Future<Output = Result<T, Error>> {
    // What a request shares with others is behind locks that bear it, or only counted.
    let answering = AssertUnwindSafe(answering).catch_unwind();
    answering.map(|answered| answered.unwrap_or(Err(Error::Panic)))
}

/// HTTP/1.1 to the site needs a Host, which the client may have named in the target, or not at all (HTTP/1.0).
fn add_host(parts: &mut request::Parts, pool: &Pool) {
    if parts.headers.contains_key(header::HOST) {
        return;
    }
    let host = match parts.uri.authority() {
        Some(authority) => HeaderValue::try_from(authority.as_str()),
        None => HeaderValue::try_from(pool.host()),
    };
    if let Ok(host) = host {
        parts.headers.insert(header::HOST, host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_answer_and_the_next_request_is_served() {
        let broken = surviving(async {
            tokio::task::yield_now().await;
            panic!("a bug");
        });
        let error = Result::<(), Error>::unwrap_err(broken.await);
        let answer = error.answer();
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!((answer.level, answer.closes), (Level::ERROR, false));
        assert!(matches!(surviving(async { Ok(1) }).await, Ok(1)));
    }
}
