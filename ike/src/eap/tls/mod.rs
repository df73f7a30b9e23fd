//! EAP-TLS (RFC 5216, with TLS 1.3 RFC 9190): both ends prove themselves by certificates in a TLS handshake.
//!
//! ```text
//! server  Start
//! client  ClientHello
//! server  ServerHello … CertificateRequest …                     client  Certificate … Finished
//! server  TLS 1.2: ChangeCipherSpec, Finished                    client  (nothing)
//!         TLS 1.3: application data 0x00 (RFC 9190 §2.5)
//! ```
//!
//! [`fragments`] cuts flights into packets, [`session`] is rustls, [`verify`] looks at the peer's certificate, and
//! [`channel`] is all of it, which TTLS and PEAP build on.
//!
//! Whether anybody vouches for a peer is judged outside, and what we say next waits for it. That it is not believed, the
//! peer learns by EAP-Failure and no alert (RFC 5216 §2.1.3 would have one): what is wrong with it is for the log.

mod channel;
mod fragments;
mod schemes;
mod session;
mod settings;
mod verify;

use std::sync::Arc;

use tracing::info;
use zeroize::Zeroizing;

pub(super) use self::channel::{Channel, Step};
pub(super) use self::fragments::Fragments;
pub use self::session::OwnCertificate;
pub(super) use self::session::Session;
pub use self::settings::{Packets, TlsSettings, TlsVersion, Tunnel};
pub use self::verify::PeerChain;
use super::{Reaction, Verdict};
use crate::identity::Identity;
use crate::wire::registry::EapType;

/// RFC 9190 §2.5: with this the server says that it has nothing more to say, and that the client is in.
const COMMITMENT: &[u8] = &[0];

/// What an end has for methods with TLS.
#[derive(Debug)]
pub struct Tls {
    /// How it is spoken.
    pub settings: Arc<TlsSettings>,
    /// What we prove ourselves with. A client of TTLS or PEAP needs nothing.
    pub own: Option<Arc<OwnCertificate>>,
    /// The authorities that a server names to its clients: X.501 names in DER.
    pub authorities: Vec<Vec<u8>>,
    /// Who a client's server must be. Not a pattern.
    pub server: Identity,
}

/// The server's part.
pub(super) struct Server {
    channel: Channel,
    /// The last of our handshake is out.
    is_finished: bool,
}

impl Server {
    /// `client` is who the certificate must be for.
    pub(super) fn begin(tls: &Tls, client: &Identity) -> Result<(Self, Vec<u8>), String> {
        let own = tls.own.as_ref().ok_or("there is no certificate of ours")?;
        let session = Session::server(tls, own, Some(client))?;
        let channel = Channel::new(EapType::TLS, tls.settings.tls, session);
        Ok((Self { channel, is_finished: false }, Fragments::start()))
    }

    /// What the client has shown of itself, once.
    pub(super) fn take_peer(&mut self) -> Option<PeerChain> {
        self.channel.take_peer()
    }

    pub(super) fn handle(&mut self, response: &[u8]) -> Verdict {
        match self.channel.receive(response) {
            Step::Say(data) => Verdict::Ask(data),
            Step::Failed { alert, reason } => refuse(alert, reason),
            Step::Turn(_) if !std::mem::replace(&mut self.is_finished, true) => {
                let said = if self.channel.is_tls_1_3() {
                    self.channel.say(COMMITMENT)
                } else {
                    Ok(self.channel.finish())
                };
                said.map_or_else(Verdict::Refused, Verdict::Ask)
            }
            // RFC 5216 §2.1.1: the client has nothing to say but that it has heard.
            Step::Turn(plaintext) if plaintext.is_empty() => match self.channel.msk() {
                Ok(msk) => Verdict::Accepted { msk: Some(msk), named: None },
                Err(reason) => Verdict::Refused(reason),
            },
            Step::Turn(_) => Verdict::Refused("the client sends application data in EAP-TLS".into()),
        }
    }
}

/// The client's part.
pub(super) struct Client {
    channel: Channel,
}

impl Client {
    /// Answers the start.
    pub(super) fn begin(request: &[u8], tls: &Tls) -> Result<(Self, Reaction), String> {
        if !Fragments::is_start(request) {
            return Err("the server does not start EAP-TLS".into());
        }
        let own = tls.own.as_ref().ok_or("there is no certificate of ours for EAP-TLS")?;
        let session = Session::client(tls, Some(own), &tls.server)?;
        let mut channel = Channel::new(EapType::TLS, tls.settings.tls, session);
        let hello = channel.hello();
        Ok((Self { channel }, Reaction::Answer(hello.into())))
    }

    /// What the server has shown of itself, once.
    pub(super) fn take_peer(&mut self) -> Option<PeerChain> {
        self.channel.take_peer()
    }

    pub(super) fn handle(&mut self, request: &[u8]) -> Reaction {
        let plaintext = match self.channel.receive(request) {
            Step::Say(data) => return Reaction::Answer(data.into()),
            Step::Failed { alert, reason } => return give_up(alert, reason),
            Step::Turn(plaintext) => plaintext,
        };
        // RFC 9190 §2.5: in TLS 1.3, the server may still refuse us after its handshake is complete.
        let concludes =
            if self.channel.is_tls_1_3() { *plaintext == COMMITMENT } else { plaintext.is_empty() };
        if !concludes && !plaintext.is_empty() {
            return Reaction::Abort("the server sends application data in EAP-TLS".into());
        }
        let data: Zeroizing<Vec<u8>> = self.channel.finish().into();
        if !concludes {
            return Reaction::Answer(data);
        }
        match self.channel.msk() {
            Ok(msk) => Reaction::Conclude { data, msk: Some(msk) },
            Err(reason) => Reaction::Abort(reason),
        }
    }
}

/// A server's end of a session that has failed: EAP-Failure follows the alert, once the client has heard it.
pub(super) fn refuse(alert: Option<Vec<u8>>, reason: String) -> Verdict {
    match alert {
        Some(alert) => {
            info!(target: "tls", "{reason}"); // the client may be gone before EAP-Failure says so
            Verdict::Ask(alert)
        }
        None => Verdict::Refused(reason),
    }
}

/// A client's end of a session that has failed: EAP-Failure follows once the server has heard of it (RFC 5216 §2.1.3).
pub(super) fn give_up(alert: Option<Vec<u8>>, reason: String) -> Reaction {
    let data = alert.unwrap_or_else(Fragments::acknowledgement);
    Reaction::Fail { data: data.into(), reason }
}
