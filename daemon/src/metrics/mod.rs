//! Metrics as OpenMetrics has them, over HTTP, for those who ask at `ferryd.metrics.listen`.
//!
//! [`snapshot`] gathers what there is to tell when somebody asks, [`families`] writes it. Nothing is counted for metrics
//! alone, and what they cost does not depend on how often packets come.

mod families;
mod snapshot;
mod xfrm_stat;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;

use self::snapshot::Snapshot;
use crate::control::Tunnels;
use crate::net::{Bound, Stream};
use crate::pools::Leases;
use crate::store::Store;

/// Those who may ask at the same time; others wait.
const CLIENTS: usize = 8;

/// How long one may take to ask, and how long a connection may last in all.
const PATIENCE: Duration = Duration::from_secs(30);

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is told of.
#[derive(Clone)]
pub(crate) struct Source<T> {
    /// Connections and certificates.
    pub(crate) store: Store<T>,
    /// SAs.
    pub(crate) tunnels: T,
    /// Pools.
    pub(crate) leases: Leases,
}

/// Serves whoever asks. Dropping the future ends that.
pub(crate) async fn serve<T: Tunnels>(bound: Bound, source: Source<T>) {
    let listener = match bound.listen() {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(target: "cfg", "cannot serve metrics: {error}");
            return;
        }
    };
    let clients = Arc::new(Semaphore::new(CLIENTS));
    loop {
        let Ok(client) = Arc::clone(&clients).acquire_owned().await else { return };
        match listener.accept().await {
            Ok(stream) => {
                let source = source.clone();
                tokio::spawn(async move {
                    // Who takes too long is cut off; what else goes wrong is the client's to find out.
                    let _ = tokio::time::timeout(PATIENCE, converse(stream, &source)).await;
                    drop(client);
                });
            }
            Err(error) => {
                tracing::warn!(target: "cfg", "accepting a client of metrics failed: {error}");
                // Out of file descriptors, most likely: trying again at once would only spin.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse<T: Tunnels>(stream: Box<dyn Stream>, source: &Source<T>) -> Result<(), hyper::Error> {
    let service = service_fn(|request| async move { Ok::<_, Infallible>(answer(&request, source).await) });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

async fn answer<T: Tunnels>(request: &Request<Incoming>, source: &Source<T>) -> Response<Full<Bytes>> {
    let plain = |status, text: &'static str| {
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = status;
        response
    };
    if request.uri().path() != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "there is only /metrics\n");
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "metrics can only be read\n");
        response.headers_mut().insert(ALLOW, const { hyper::header::HeaderValue::from_static("GET, HEAD") });
        return response;
    }
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Snapshot::take(source).await));
    let mut text = String::new();
    if encode(&mut text, &registry).is_err() {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written\n");
    }
    let mut response = Response::new(Full::from(text));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, const { hyper::header::HeaderValue::from_static(OPEN_METRICS) });
    response
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::time::Instant;

    use ferry_ike::status::{ChildSaStatus, Counters, Handshakes};
    use ferry_vici::Section;

    use super::*;
    use crate::control::ChildUse;
    use crate::control::tests::{Fake, child_sa, ike_sa};
    use crate::net::SocketUri;
    use crate::revocation::Revocations;
    use crate::store::tests::{DEFAULTS, connection};

    /// Sends a request to a server of metrics and gives all of the answer.
    fn ask(fake: Fake, leases: Leases, request: &str) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metrics");
        let bound = Bound::open(&SocketUri::Unix(path.clone()), None).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let store = Store::new(fake.clone(), DEFAULTS, Revocations::default());
        runtime.block_on(async {
            let child = Section::new().with("start_action", "trap");
            store.load_connection("home", &connection(&[("net", child)])).await.unwrap();
        });
        runtime.spawn(serve(bound, Source { store, tunnels: fake, leases }));
        let mut stream = UnixStream::connect(path).unwrap();
        stream
            .write_all(format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        runtime.shutdown_background();
        answer
    }

    #[test]
    fn what_there_is_is_told() {
        let fake = Fake::default();
        let child = ChildSaStatus { installed: Some(Instant::now()), ..child_sa(7, "net") };
        fake.set_sas(vec![ike_sa(1, "home", vec![child])]);
        fake.set_use(
            7,
            ChildUse {
                bytes_in: 1000,
                packets_in: 10,
                bytes_out: 2000,
                packets_out: 20,
                ..ChildUse::default()
            },
        );
        fake.set_counters(Counters {
            retransmits: 3,
            handshakes: Handshakes { established: 4, no_proposal: 5, ..Handshakes::default() },
            ..Counters::default()
        });
        let leases = Leases::default();
        leases.load("road", &Section::new().with("addrs", "10.0.0.0/29")).unwrap();
        let answer = ask(fake, leases, "GET /metrics");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
        assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
        for line in [
            "ferry_ike_sas{state=\"ESTABLISHED\"} 1",
            "ferry_child_sas{state=\"INSTALLED\"} 1",
            "ferry_handshakes_total{outcome=\"established\"} 4",
            "ferry_handshakes_total{outcome=\"no-proposal\"} 5",
            "ferry_ike_retransmits_total 3",
            "ferry_child_bytes{connection=\"home\",child=\"net\",direction=\"in\"} 1000",
            "ferry_child_packets{connection=\"home\",child=\"net\",direction=\"out\"} 20",
            "ferry_child_up{connection=\"home\",child=\"net\"} 1",
            "ferry_pool_addresses{pool=\"road\",state=\"free\"} 6",
            "ferry_children_left_out 0",
            "# EOF",
        ] {
            assert!(body.lines().any(|other| other == line), "no {line} in\n{body}");
        }
    }

    /// The dashboard and the alert rules ask for what there is.
    #[test]
    fn whoever_reads_metrics_finds_them() {
        let answer = ask(Fake::default(), Leases::default(), "GET /metrics");
        let help = answer.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let names: Vec<String> = help
            .map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() })
            .collect();
        for text in [
            include_str!("../../../contrib/ferry.rules.yml"),
            include_str!("../../../contrib/ferry.dashboard.json"),
        ] {
            let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let asked: Vec<&str> = words.filter(|word| word.starts_with("ferry_")).collect();
            assert!(asked.len() > 5);
            for name in asked {
                assert!(names.iter().any(|other| other == name), "{name} is not among {names:?}");
            }
        }
    }

    #[test]
    fn nothing_else_is_answered() {
        let answer = ask(Fake::default(), Leases::default(), "GET /");
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        let answer = ask(Fake::default(), Leases::default(), "POST /metrics");
        assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("allow: GET, HEAD"), "{answer}");
        let answer = ask(Fake::default(), Leases::default(), "nonsense");
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
}
