//! The site behind it: a page takes it as long as a quick page of PHP, a file no time.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::time::sleep;

/// What a page takes.
const WORK: Duration = Duration::from_millis(20);

const PAGE: &str = "/page";

/// Starts it, to the end of the process; its URL.
pub(super) fn start() -> String {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    socket.set_nonblocking(true).unwrap();
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let listener = TcpListener::from_std(socket).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let connection = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service_fn(answer));
                tokio::spawn(async { connection.await.ok() });
            }
        });
    });
    url
}

async fn answer(request: Request<Incoming>) -> hyper::Result<Response<Full<Bytes>>> {
    if request.uri().path() == PAGE {
        sleep(WORK).await;
    }
    // Whoever sends something is waited for.
    request.into_body().collect().await?;
    let body = Bytes::from_static(&[b'x'; 4096]);
    let response = Response::builder().header("Content-Type", "text/html");
    Ok(response.body(Full::new(body)).unwrap())
}
