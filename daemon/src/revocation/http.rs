//! Fetching over HTTP, within limits of time and size. Nothing is followed: neither redirects nor links.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// What to fetch.
pub(super) struct Fetch<'a> {
    /// Where.
    pub(super) uri: &'a str,
    /// What to send there, with POST; without, it is GET.
    pub(super) body: Option<Body>,
    /// What is expected.
    pub(super) accept: &'static str,
    /// The most octets.
    pub(super) limit: usize,
    /// The most time for all of it.
    pub(super) timeout: Duration,
}

/// What a request brings.
pub(super) struct Body {
    /// The octets.
    pub(super) octets: Vec<u8>,
    /// What they are.
    pub(super) kind: &'static str,
}

impl Fetch<'_> {
    /// Fetches it. The sentence says what went wrong.
    pub(super) async fn run(self) -> Result<Vec<u8>, String> {
        let uri = self.uri.to_owned();
        let seconds = self.timeout.as_secs();
        match tokio::time::timeout(self.timeout, self.fetch()).await {
            Ok(Ok(octets)) => Ok(octets),
            Ok(Err(why)) => Err(format!("{uri}: {why}")),
            Err(_elapsed) => Err(format!("{uri}: nothing came within {seconds} seconds")),
        }
    }

    async fn fetch(self) -> Result<Vec<u8>, String> {
        let uri: Uri = self.uri.parse().map_err(|_| "this is no URI".to_owned())?;
        if uri.scheme_str() != Some("http") {
            return Err("only http and file are fetched".to_owned());
        }
        let authority = uri.authority().ok_or("it names no host")?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let port = authority.port_u16().unwrap_or(80);
        let stream = TcpStream::connect((host, port)).await.map_err(|error| error.to_string())?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        // It ends when the answer is read or the sender dropped.
        let driving = tokio::spawn(connection);
        let host_and_port = match authority.port_u16() {
            Some(port) => format!("{}:{port}", authority.host()),
            None => authority.host().to_owned(),
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::builder().uri(path);
        let mut octets = Bytes::new();
        if let Some(body) = self.body {
            request = request.method(Method::POST).header(CONTENT_TYPE, body.kind);
            octets = body.octets.into();
        }
        let request = request
            .header(HOST, host_and_port)
            .header(ACCEPT, self.accept)
            .header(CONNECTION, "close")
            .body(Full::new(octets))
            .map_err(|error| error.to_string())?;
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        if answer.status() != StatusCode::OK {
            return Err(format!("the server answers {}", answer.status()));
        }
        let octets = Limited::new(answer.into_body(), self.limit).collect().await;
        driving.abort();
        let octets = octets.map_err(|error| format!("{error} (at most {} octets are read)", self.limit))?;
        Ok(octets.to_bytes().to_vec())
    }
}
