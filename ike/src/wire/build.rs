//! Building chains of payloads, and messages of them.

use super::auth::Auth;
use super::cert::{Cert, CertReq};
use super::codec::Writer;
use super::header::{Header, HeaderFields};
use super::ke::KeyExchange;
use super::nonce::Nonce;
use super::notify::Notify;
use super::payloads::{CRITICAL, Payload};
use super::registry::{
    AuthMethod, CertEncoding, CfgAttributeType, CfgType, KeMethod, NotifyType, PayloadType, ProtocolId, Spi,
};
use super::vendor::VendorId;
use super::{cp, delete, id, sa, ts};
use crate::identity::Identity;
use crate::proposal::Proposal;
use crate::selector::TrafficSelector;

/// Writes a chain of payloads, one call for each, in the order of the calls.
///
/// The octets may be the plaintext of an encrypted message, so they are wiped when dropped.
#[derive(Default)]
pub struct PayloadWriter {
    octets: Writer,
    first: Option<PayloadType>,
    /// Where the last payload begins, that is, its Next Payload field.
    last_at: usize,
}

impl PayloadWriter {
    /// A chain without payloads.
    #[must_use]
    pub const fn new() -> Self {
        Self { octets: Writer::new(), first: None, last_at: 0 }
    }

    /// Appends an SA payload.
    pub fn sa(&mut self, proposals: &[Proposal]) -> &mut Self {
        self.push(PayloadType::SA, |w| sa::encode(proposals, w))
    }

    /// Appends a KE payload.
    pub fn ke(&mut self, method: KeMethod, data: &[u8]) -> &mut Self {
        self.push(PayloadType::KE, |w| KeyExchange { method, data }.encode(w))
    }

    /// Appends a nonce.
    pub fn nonce(&mut self, data: &[u8]) -> &mut Self {
        self.push(PayloadType::NONCE, |w| Nonce(data).encode(w))
    }

    /// Appends `IDi`.
    pub fn id_i(&mut self, identity: &Identity) -> &mut Self {
        self.push(PayloadType::ID_I, |w| id::encode(identity, w))
    }

    /// Appends `IDr`.
    pub fn id_r(&mut self, identity: &Identity) -> &mut Self {
        self.push(PayloadType::ID_R, |w| id::encode(identity, w))
    }

    /// Appends a certificate.
    pub fn cert(&mut self, encoding: CertEncoding, data: &[u8]) -> &mut Self {
        self.push(PayloadType::CERT, |w| Cert { encoding, data }.encode(w))
    }

    /// Appends a request for certificates of these authorities.
    pub fn cert_req(&mut self, encoding: CertEncoding, authority: &[u8]) -> &mut Self {
        self.push(PayloadType::CERTREQ, |w| CertReq { encoding, authority }.encode(w))
    }

    /// Appends an AUTH payload.
    pub fn auth(&mut self, method: AuthMethod, data: &[u8]) -> &mut Self {
        self.push(PayloadType::AUTH, |w| Auth { method, data }.encode(w))
    }

    /// Appends a notify that is about no SA, or about the IKE SA it is sent under.
    pub fn notify(&mut self, kind: NotifyType, data: &[u8]) -> &mut Self {
        self.notify_for(ProtocolId::NONE, &[], kind, data)
    }

    /// Appends a notify about the SA of `protocol` with this SPI.
    pub fn notify_for(
        &mut self,
        protocol: ProtocolId,
        spi: &[u8],
        kind: NotifyType,
        data: &[u8],
    ) -> &mut Self {
        self.push(PayloadType::NOTIFY, |w| Notify { protocol, spi, kind, data }.encode(w))
    }

    /// Appends a Delete payload for the IKE SA it is sent under.
    pub fn delete_ike(&mut self) -> &mut Self {
        self.delete(ProtocolId::IKE, &[])
    }

    /// Appends a Delete payload for CHILD_SAs; the SPIs are those of our inbound SAs (RFC 7296 §1.4.1).
    pub fn delete(&mut self, protocol: ProtocolId, spis: &[Spi]) -> &mut Self {
        self.push(PayloadType::DELETE, |w| delete::encode(protocol, spis, w))
    }

    /// Appends a vendor ID.
    pub fn vendor_id(&mut self, octets: &[u8]) -> &mut Self {
        self.push(PayloadType::VENDOR_ID, |w| VendorId(octets).encode(w))
    }

    /// Appends `TSi`.
    pub fn ts_i(&mut self, selectors: &[TrafficSelector]) -> &mut Self {
        self.push(PayloadType::TS_I, |w| ts::encode(selectors, w))
    }

    /// Appends `TSr`.
    pub fn ts_r(&mut self, selectors: &[TrafficSelector]) -> &mut Self {
        self.push(PayloadType::TS_R, |w| ts::encode(selectors, w))
    }

    /// Appends a CP payload.
    pub fn cp(&mut self, cfg_type: CfgType, attributes: &[(CfgAttributeType, Vec<u8>)]) -> &mut Self {
        let attributes = attributes.iter().map(|(kind, value)| (*kind, value.as_slice()));
        self.push(PayloadType::CP, |w| cp::encode(cfg_type, attributes, w))
    }

    /// Appends an EAP packet.
    pub fn eap(&mut self, packet: &[u8]) -> &mut Self {
        self.push(PayloadType::EAP, |w| w.bytes(packet))
    }

    /// Appends a payload of any type.
    pub fn raw(&mut self, kind: PayloadType, critical: bool, body: &[u8]) -> &mut Self {
        self.push_flagged(kind, if critical { CRITICAL } else { 0 }, |w| w.bytes(body))
    }

    /// Appends a payload that was decoded. Traffic selectors of unknown types and proposals that nobody can accept
    /// are no longer in it.
    ///
    /// An encrypted payload is appended with its body as it came; nothing may follow it.
    pub fn payload(&mut self, payload: &Payload<'_>) -> &mut Self {
        let kind = payload.kind();
        match payload {
            Payload::Sa(sa) => self.push(kind, |w| sa.encode(w)),
            Payload::Ke(ke) => self.push(kind, |w| ke.encode(w)),
            Payload::IdI(id) | Payload::IdR(id) => self.push(kind, |w| w.bytes(id.body)),
            Payload::Cert(cert) => self.push(kind, |w| cert.encode(w)),
            Payload::CertReq(request) => self.push(kind, |w| request.encode(w)),
            Payload::Auth(auth) => self.push(kind, |w| auth.encode(w)),
            Payload::Nonce(nonce) => self.push(kind, |w| nonce.encode(w)),
            Payload::Notify(notify) => self.push(kind, |w| notify.encode(w)),
            Payload::Delete(delete) => self.push(kind, |w| delete.encode(w)),
            Payload::VendorId(vendor) => self.push(kind, |w| vendor.encode(w)),
            Payload::TsI(selectors) | Payload::TsR(selectors) => self.push(kind, |w| selectors.encode(w)),
            Payload::Configuration(configuration) => self.push(kind, |w| configuration.encode(w)),
            Payload::Eap(eap) => self.push(kind, |w| eap.encode(w)),
            Payload::Encrypted(encrypted) => {
                self.push(kind, |w| w.bytes(encrypted.body)).next(encrypted.first)
            }
            Payload::EncryptedFragment(fragment) => self
                .push(kind, |w| {
                    w.u16(fragment.number);
                    w.u16(fragment.total);
                    w.bytes(fragment.body);
                })
                .next(fragment.first),
            Payload::Unknown(unknown) => self.raw(kind, unknown.critical, unknown.body),
        }
    }

    /// Type of the first payload; `NONE` without payloads.
    #[must_use]
    pub fn first(&self) -> PayloadType {
        self.first.unwrap_or(PayloadType::NONE)
    }

    /// The chain so far.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        self.octets.octets()
    }

    /// True without payloads.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    fn push(&mut self, kind: PayloadType, body: impl FnOnce(&mut Writer)) -> &mut Self {
        // RFC 7296 §3.2: the critical bit MUST be zero for payload types defined in that document.
        self.push_flagged(kind, 0, body)
    }

    fn push_flagged(&mut self, kind: PayloadType, flags: u8, body: impl FnOnce(&mut Writer)) -> &mut Self {
        if self.first.is_some() {
            self.next(kind);
        } else {
            self.first = Some(kind);
        }
        self.last_at = self.octets.len();
        self.octets.structure(2, |w| {
            w.u8(PayloadType::NONE.0); // until another payload follows
            w.u8(flags);
            w.u16(0); // room for the length
            body(w);
        });
        self
    }

    /// Says what follows the last payload.
    fn next(&mut self, kind: PayloadType) -> &mut Self {
        self.octets.replace(self.last_at, kind.0);
        self
    }
}

/// A message that is not encrypted: the header and the payloads.
#[must_use]
pub fn build(fields: HeaderFields, payloads: &PayloadWriter) -> Vec<u8> {
    let length = Header::LEN + payloads.octets().len();
    let mut w = Writer::with_capacity(length);
    fields.header(payloads.first(), length).encode(&mut w);
    w.bytes(payloads.octets());
    w.into_octets()
}
