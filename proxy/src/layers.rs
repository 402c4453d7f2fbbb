//! The layers around what pullgate answers by itself: the admin listener, and `/pullgate/` of the site.
//!
//! What is proxied and what is pushed goes without: it is the hot path, bodies stream there and
//! connections wait, and push answers are those of the reference server to the byte.

use std::convert::Infallible;
use std::time::Duration;

use http::header::{AUTHORIZATION, COOKIE};
use http::{Request, Response, StatusCode};
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tower::{ServiceBuilder, service_fn};
use tower_http::body::Limited;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::request_id::{
    MakeRequestUuid, PropagateRequestIdLayer, RequestId, SetRequestIdLayer,
};
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

use crate::body::Body;

/// Time for a response's head; events go on behind it.
const TIMEOUT: Duration = match cfg!(test) {
    true => Duration::from_millis(50),
    false => Duration::from_secs(10),
};

/// Bytes of a request's body: nothing here needs one.
const MAX_BODY: usize = 1 << 10;

/// Answers a request, layer by layer from outside to inside:
///
/// 1. no log line shows who proves what to us,
/// 2. the request has an id, `X-Request-Id`, of the client's or of ours; with it go log lines, those of
/// 3. a trace (level debug) and of a panic, and the response,
/// 4. a panic is 500,
/// 5. who takes gzip gets it, but for events,
/// 6. a long body is 413,
/// 7. no head in time is 503.
pub(crate) async fn around<B, F>(
    request: Request<B>,
    answer: impl Fn(Request<Limited<B>>) -> F + Clone,
) -> Response<Body>
where
    B: HttpBody,
    F: Future<Output = Response<Body>>,
{
    let service = ServiceBuilder::new()
        .layer(SetSensitiveRequestHeadersLayer::new([
            AUTHORIZATION,
            COOKIE,
        ]))
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(span)
                // 503 is what /readyz is for.
                .on_failure(()),
        )
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(CatchPanicLayer::new())
        .layer(CompressionLayer::new())
        .layer(RequestBodyLimitLayer::new(MAX_BODY))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::SERVICE_UNAVAILABLE,
            TIMEOUT,
        ))
        .service(service_fn(move |request| {
            let answer = answer(request);
            async move { Ok::<_, Infallible>(answer.await) }
        }));
    let Ok(response) = TowerToHyperService::new(service).call(request).await;
    response.map(|body| Body::layered(body.boxed_unsync()))
}

/// Always on, so that a panic's line has it too.
fn span<B>(request: &Request<B>) -> tracing::Span {
    let id = request
        .extensions()
        .get::<RequestId>()
        .and_then(|id| id.header_value().to_str().ok())
        .unwrap_or_default();
    tracing::error_span!("request", id, method = %request.method(), uri = %request.uri())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::stream;
    use http_body_util::Full;

    use super::*;

    fn request(headers: &[(&str, &str)], body: &'static str) -> Request<Full<Bytes>> {
        let mut request = Request::builder().uri("/metrics");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Full::from(body)).unwrap()
    }

    async fn bytes(response: Response<Body>) -> Bytes {
        response.into_body().collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn a_panic_is_an_answer_with_the_requests_id() {
        let request = request(&[("x-request-id", "mine")], "");
        let response = around::<_, std::future::Ready<_>>(request, |_| panic!("a bug")).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers()["x-request-id"], "mine");
    }

    #[tokio::test]
    async fn who_does_not_answer_is_not_waited_for() {
        let response = around(request(&[], ""), |_| std::future::pending()).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.headers().contains_key("x-request-id"));
    }

    #[tokio::test]
    async fn long_bodies_are_refused() {
        let body = "x".repeat(MAX_BODY + 1).leak();
        let length = body.len().to_string();
        let request = request(&[("content-length", &length)], body);
        let response = around(request, |_| async { Response::new(Body::empty()) }).await;
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test]
    async fn text_is_compressed_and_events_are_not() {
        let text = "pullgate_connections 1\n".repeat(100);
        let of = |kind: &'static str, body: fn(String) -> Body| {
            let text = text.clone();
            around(request(&[("accept-encoding", "gzip")], ""), move |_| {
                let response = Response::builder().header("content-type", kind);
                let response = response.body(body(text.clone())).unwrap();
                async { response }
            })
        };
        let compressed = of("text/plain", |text| Body::from(Bytes::from(text))).await;
        assert_eq!(compressed.headers()["content-encoding"], "gzip");
        let compressed = bytes(compressed).await;
        assert!(compressed.len() < text.len() / 10);

        let events = of("text/event-stream", |text| {
            Body::pieces(stream::iter([Bytes::from(text)]))
        })
        .await;
        assert_eq!(bytes(events).await, text);
    }
}
