//! Probes and metrics by HTTP: `/livez`, `/readyz`, `/metrics`.
//!
//! For the kubelet and for Prometheus, by default on the loopback only. It changes nothing and tells no secret. An address
//! that is taken never stops the agent: that is a finding, and it is tried again. Reference: Kubernetes, "Configure
//! Liveness, Readiness and Startup Probes"; OpenMetrics 1.0.

use crate::vitals::Vitals;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use model::status::Finding;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tracing::{debug, info};

/// Where it listens if nobody says otherwise: a port that no common program of a node has.
pub(crate) const ADDRESS: &str = "127.0.0.1:10112";

/// Connections at a time; further ones from the node itself wait.
pub(crate) const CONNECTIONS: usize = 16;

/// So many of them from elsewhere, where the address is one that others reach: whoever holds them all shuts no probe out.
/// Further ones are closed at once.
pub(crate) const STRANGERS: usize = 12;

/// Longest life of a connection, from its first byte to its last.
pub(crate) const LONGEST: Duration = Duration::from_secs(5);

/// Largest head of a request.
const HEAD: usize = 16 << 10;

/// How long until a taken address is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// How long until the next connection is taken after one could not be.
const REST: Duration = Duration::from_millis(100);

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Listens for ever. The first attempt is over when this returns; the rest goes on by itself.
pub(crate) async fn listen(address: SocketAddr, vitals: Arc<Vitals>) {
    let first = bind(address, &vitals).await;
    tokio::spawn(async move {
        let mut listener = first;
        loop {
            match listener {
                Some(listener) => serve(&listener, &vitals).await,
                None => sleep(RETRY).await,
            }
            listener = bind(address, &vitals).await;
        }
    });
}

async fn bind(address: SocketAddr, vitals: &Vitals) -> Option<TcpListener> {
    match TcpListener::bind(address).await {
        Ok(listener) => {
            vitals.listening(None);
            info!("probes and metrics: http://{address}");
            Some(listener)
        }
        Err(error) => {
            vitals.listening(Some(Finding {
                what: format!("no probes and no metrics on {address}: {error}"),
                hint: "podwired goes on trying; give it another address by --listen, or --listen none; \
                       see who has it: ss -ltnp"
                    .into(),
            }));
            None
        }
    }
}

/// Answers until the listener fails.
async fn serve(listener: &TcpListener, vitals: &Arc<Vitals>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let strangers = Arc::new(Semaphore::new(STRANGERS));
    loop {
        // Only who has been let in shows where he comes from.
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                debug!("accept: {error}");
                // A connection that broke at once, or no descriptor left: neither goes away by asking again at once.
                sleep(REST).await;
                continue;
            }
        };
        let at = stream.local_addr();
        let guest = if at.is_ok_and(|at| is_own(from.ip(), at.ip())) {
            None
        } else {
            match Arc::clone(&strangers).try_acquire_owned() {
                Ok(guest) => Some(guest),
                Err(_) => continue,
            }
        };
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let vitals = Arc::clone(vitals);
        tokio::spawn(async move {
            let counted = vitals.metrics.connection();
            if timeout(LONGEST, converse(stream, &vitals)).await.is_err() {
                vitals.metrics.cut_off();
            }
            drop((counted, place, guest));
        });
    }
}

/// Whether somebody on this node asks: the kubelet does from the address that it asks at.
fn is_own(from: IpAddr, at: IpAddr) -> bool {
    from == at || from.to_canonical().is_loopback()
}

/// One request, one answer.
async fn converse(stream: TcpStream, vitals: &Vitals) {
    let service = service_fn(|request: Request<Incoming>| async move {
        Ok::<_, Infallible>(answer(request.method(), request.uri().path(), vitals))
    });
    let served = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        debug!("a request: {error}");
    }
}

fn answer(method: &Method, path: &str, vitals: &Vitals) -> Response<Full<Bytes>> {
    if *method != Method::GET && *method != Method::HEAD {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
    }
    match path {
        "/livez" => probe(vitals.alive()),
        "/readyz" => probe(vitals.ready()),
        "/metrics" => with(StatusCode::OK, METRICS, vitals.text()),
        _ => plain(StatusCode::NOT_FOUND, "/livez /readyz /metrics\n"),
    }
}

fn probe(is_so: Result<(), String>) -> Response<Full<Bytes>> {
    match is_so {
        Ok(()) => plain(StatusCode::OK, "ok\n"),
        Err(why) => with(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n")),
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    with(status, TEXT, text)
}

fn with(status: StatusCode, kind: HeaderValue, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
