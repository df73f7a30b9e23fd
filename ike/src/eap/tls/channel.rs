//! A TLS session whose flights travel in fragments: the part that EAP-TLS, TTLS and PEAP have in common.

use tracing::info;
use zeroize::Zeroizing;

use super::fragments::{Fragments, Received};
use super::session::Session;
use super::settings::Packets;
use super::verify::PeerChain;
use crate::crypto::Secret;
use crate::wire::registry::EapType;

/// One end of a session, and what is under way of it.
pub(in crate::eap) struct Channel {
    method: EapType,
    fragments: Fragments,
    session: Session,
    /// The session has failed, and the peer is told so by an alert.
    failed: Option<String>,
    is_open: bool,
}

/// What a packet leads to.
pub(in crate::eap) enum Step {
    /// This is to be sent, and nothing is decided.
    Say(Vec<u8>),
    /// The handshake is complete and it is our turn, after these octets of the peer; none if it has only acknowledged
    /// what we said. What is left of our handshake goes with what is said now.
    Turn(Zeroizing<Vec<u8>>),
    /// The session has failed: with an alert to be sent, or without.
    Failed { alert: Option<Vec<u8>>, reason: String },
}

impl Channel {
    pub(in crate::eap) const fn new(method: EapType, packets: Packets, session: Session) -> Self {
        Self { method, fragments: Fragments::new(packets), session, failed: None, is_open: false }
    }

    /// The client's first flight.
    pub(in crate::eap) fn hello(&mut self) -> Vec<u8> {
        let flight = self.session.flight();
        self.fragments.send(flight)
    }

    /// Takes the data of a packet.
    pub(in crate::eap) fn receive(&mut self, data: &[u8]) -> Step {
        if let Some(reason) = self.failed.take() {
            return Step::Failed { alert: None, reason };
        }
        match self.fragments.receive(data) {
            Ok(Received::Fragment) => Step::Say(self.fragments.next()),
            Ok(Received::Acknowledgement) if self.fragments.has_more() => Step::Say(self.fragments.next()),
            Ok(Received::Acknowledgement) if self.session.is_handshaking() => {
                self.failed("the peer says nothing in the middle of the TLS handshake".into())
            }
            Ok(Received::Acknowledgement) => Step::Turn(Zeroizing::default()),
            Ok(Received::Flight(flight)) => match self.session.take(&flight) {
                Err(reason) => self.failed(reason),
                Ok(_) if self.session.is_handshaking() => {
                    let flight = self.session.flight();
                    if flight.is_empty() {
                        return self.failed("the peer's TLS flight is not complete".into());
                    }
                    Step::Say(self.fragments.send(flight))
                }
                Ok(plaintext) => {
                    if !std::mem::replace(&mut self.is_open, true) {
                        info!(target: "tls", "negotiated {} in {}", self.session.outline(), self.method);
                    }
                    Step::Turn(plaintext)
                }
            },
            Err(reason) => self.failed(format!("malformed {}: {reason}", self.method)),
        }
    }

    fn failed(&mut self, reason: String) -> Step {
        let alert = self.session.flight();
        if alert.is_empty() {
            return Step::Failed { alert: None, reason };
        }
        self.failed = Some(reason.clone());
        Step::Failed { alert: Some(self.fragments.send(alert)), reason }
    }

    /// Says something in our turn.
    pub(in crate::eap) fn say(&mut self, plaintext: &[u8]) -> Result<Vec<u8>, String> {
        self.session.protect(plaintext)?;
        Ok(self.finish())
    }

    /// Says what is left of our handshake, or no more than that we have heard.
    pub(in crate::eap) fn finish(&mut self) -> Vec<u8> {
        let flight = self.session.flight();
        self.fragments.send(flight)
    }

    /// What the peer has shown of itself, once.
    pub(in crate::eap) fn take_peer(&mut self) -> Option<PeerChain> {
        self.session.take_peer()
    }

    pub(in crate::eap) fn is_tls_1_3(&self) -> bool {
        self.session.is_tls_1_3()
    }

    pub(in crate::eap) fn msk(&self) -> Result<Secret, String> {
        self.session.msk(self.method)
    }
}
