//! The chain of payloads in a message (RFC 7296 §3.2).

use std::fmt;

use super::auth::Auth;
use super::cert::{Cert, CertReq};
use super::codec::{DecodeError, Fault, Part, Reader};
use super::cp::Configuration;
use super::delete::Delete;
use super::eap::Eap;
use super::id::Identification;
use super::ke::KeyExchange;
use super::nonce::Nonce;
use super::notify::Notify;
use super::registry::{NotifyType, PayloadType};
use super::sa::SecurityAssociation;
use super::sk::Encrypted;
use super::skf::EncryptedFragment;
use super::ts::TrafficSelectors;
use super::vendor::VendorId;
use crate::identity::Identity;
use crate::selector::TrafficSelector;

/// The most payloads a message may have.
///
/// Real messages have about ten, and one with a long certificate chain and many notifies some forty. A datagram of
/// 64 KiB could hold sixteen thousand empty ones, and we would remember each in more octets than it has; with this
/// limit the list stays below eight kilobytes.
pub const MAX_PAYLOADS: usize = 128;

/// The bit of the payload header by which the sender insists on being understood (RFC 7296 §3.2).
pub(super) const CRITICAL: u8 = 0x80;

/// One payload.
#[derive(Clone, PartialEq, Eq)]
pub enum Payload<'a> {
    /// Security Association.
    Sa(SecurityAssociation),
    /// Key Exchange.
    Ke(KeyExchange<'a>),
    /// Identification - Initiator.
    IdI(Identification<'a>),
    /// Identification - Responder.
    IdR(Identification<'a>),
    /// Certificate.
    Cert(Cert<'a>),
    /// Certificate Request.
    CertReq(CertReq<'a>),
    /// Authentication.
    Auth(Auth<'a>),
    /// Nonce.
    Nonce(Nonce<'a>),
    /// Notify.
    Notify(Notify<'a>),
    /// Delete.
    Delete(Delete),
    /// Vendor ID.
    VendorId(VendorId<'a>),
    /// Traffic Selector - Initiator.
    TsI(TrafficSelectors),
    /// Traffic Selector - Responder.
    TsR(TrafficSelectors),
    /// Configuration.
    Configuration(Configuration<'a>),
    /// Extensible Authentication.
    Eap(Eap<'a>),
    /// Encrypted and Authenticated.
    Encrypted(Encrypted<'a>),
    /// Encrypted and Authenticated Fragment.
    EncryptedFragment(EncryptedFragment<'a>),
    /// A payload of a type we do not know, ignored (RFC 7296 §2.5).
    Unknown(Unknown<'a>),
}

/// A payload of a type we do not know, and need not know.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Unknown<'a> {
    /// Its type.
    pub kind: PayloadType,
    /// The critical bit; never set in what was decoded, because then decoding fails.
    pub critical: bool,
    /// Its body.
    pub body: &'a [u8],
}

/// The payloads of a message, in the sender's order.
///
/// The finders for payloads that come once give the first; [`rules::check`](super::rules::check) refuses messages
/// that have a second.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Payloads<'a> {
    list: Vec<Payload<'a>>,
}

/// Decodes a chain of payloads: the plaintext of an SK payload, or what follows the header of a message.
///
/// Fails on the first payload that breaks the format, on unknown ones that are critical, if an encrypted payload is
/// not the last, and beyond [`MAX_PAYLOADS`]. Offsets in errors count from the beginning of `octets`.
pub fn decode_payloads(first: PayloadType, octets: &[u8]) -> Result<Payloads<'_>, DecodeError> {
    walk(first, &mut Reader::new(Part::PayloadHeader(first), octets))
}

/// Walks the chain to the end of `r`.
///
/// ```text
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// | Next Payload  |C|  RESERVED   |         Payload Length        |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
pub(super) fn walk<'a>(first: PayloadType, r: &mut Reader<'a>) -> Result<Payloads<'a>, DecodeError> {
    let mut list = Vec::new();
    let mut kind = first;
    while kind != PayloadType::NONE {
        r.enter(Part::PayloadHeader(kind));
        if list.len() == MAX_PAYLOADS {
            return Err(r.fault(Fault::TooMany { what: "payloads", limit: MAX_PAYLOADS }));
        }
        let next = PayloadType(r.u8()?);
        let critical = r.u8()? & CRITICAL != 0;
        let length = r.u16()?;
        let mut body = r.structure(Part::Payload(kind), length, 4)?;
        r.enter(Part::Payload(kind));
        let payload = Payload::decode(kind, critical, next, &mut body)?;
        body.finish()?;
        // RFC 7296 §3.14: the Next Payload field of an encrypted payload is that of the first payload inside.
        let is_encrypted = matches!(payload, Payload::Encrypted(_) | Payload::EncryptedFragment(_));
        list.push(payload);
        kind = if is_encrypted { PayloadType::NONE } else { next };
    }
    r.finish()?;
    Ok(Payloads { list })
}

impl<'a> Payload<'a> {
    /// Reads the body of a payload.
    fn decode(
        kind: PayloadType,
        critical: bool,
        next: PayloadType,
        r: &mut Reader<'a>,
    ) -> Result<Self, DecodeError> {
        Ok(match kind {
            PayloadType::SA => Self::Sa(SecurityAssociation::decode(r)?),
            PayloadType::KE => Self::Ke(KeyExchange::decode(r)?),
            PayloadType::ID_I => Self::IdI(Identification::decode(r)?),
            PayloadType::ID_R => Self::IdR(Identification::decode(r)?),
            PayloadType::CERT => Self::Cert(Cert::decode(r)?),
            PayloadType::CERTREQ => Self::CertReq(CertReq::decode(r)?),
            PayloadType::AUTH => Self::Auth(Auth::decode(r)?),
            PayloadType::NONCE => Self::Nonce(Nonce::decode(r)?),
            PayloadType::NOTIFY => Self::Notify(Notify::decode(r)?),
            PayloadType::DELETE => Self::Delete(Delete::decode(r)?),
            PayloadType::VENDOR_ID => Self::VendorId(VendorId::decode(r)?),
            PayloadType::TS_I => Self::TsI(TrafficSelectors::decode(r)?),
            PayloadType::TS_R => Self::TsR(TrafficSelectors::decode(r)?),
            PayloadType::CP => Self::Configuration(Configuration::decode(r)?),
            PayloadType::EAP => Self::Eap(Eap::decode(r)?),
            PayloadType::SK => Self::Encrypted(Encrypted::decode(next, r)?),
            PayloadType::SKF => Self::EncryptedFragment(EncryptedFragment::decode(next, r)?),
            // RFC 7296 §2.5: the critical bit matters for payloads that are not understood, and for no others.
            _ if critical => return Err(DecodeError::UnsupportedCriticalPayload(kind)),
            _ => Self::Unknown(Unknown { kind, critical, body: r.rest() }),
        })
    }

    /// The type of the payload.
    #[must_use]
    pub const fn kind(&self) -> PayloadType {
        match self {
            Self::Sa(_) => PayloadType::SA,
            Self::Ke(_) => PayloadType::KE,
            Self::IdI(_) => PayloadType::ID_I,
            Self::IdR(_) => PayloadType::ID_R,
            Self::Cert(_) => PayloadType::CERT,
            Self::CertReq(_) => PayloadType::CERTREQ,
            Self::Auth(_) => PayloadType::AUTH,
            Self::Nonce(_) => PayloadType::NONCE,
            Self::Notify(_) => PayloadType::NOTIFY,
            Self::Delete(_) => PayloadType::DELETE,
            Self::VendorId(_) => PayloadType::VENDOR_ID,
            Self::TsI(_) => PayloadType::TS_I,
            Self::TsR(_) => PayloadType::TS_R,
            Self::Configuration(_) => PayloadType::CP,
            Self::Eap(_) => PayloadType::EAP,
            Self::Encrypted(_) => PayloadType::SK,
            Self::EncryptedFragment(_) => PayloadType::SKF,
            Self::Unknown(unknown) => unknown.kind,
        }
    }
}

/// The first payload of one variant.
macro_rules! first {
    ($payloads:expr, $variant:ident) => {
        $payloads.iter().find_map(|payload| match payload {
            Payload::$variant(payload) => Some(payload),
            _ => None, // another payload
        })
    };
}

/// All payloads of one variant.
macro_rules! all {
    ($payloads:expr, $variant:ident) => {
        $payloads.iter().filter_map(|payload| match payload {
            Payload::$variant(payload) => Some(payload),
            _ => None, // another payload
        })
    };
}

impl<'a> Payloads<'a> {
    /// All payloads, in the sender's order.
    pub fn iter(&self) -> std::slice::Iter<'_, Payload<'a>> {
        self.list.iter()
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.list.len()
    }

    /// True if there are none, as in a check for liveness.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The SA payload.
    #[must_use]
    pub fn sa(&self) -> Option<&SecurityAssociation> {
        first!(self, Sa)
    }

    /// The KE payload.
    #[must_use]
    pub fn ke(&self) -> Option<&KeyExchange<'a>> {
        first!(self, Ke)
    }

    /// The data of the nonce payload.
    #[must_use]
    pub fn nonce(&self) -> Option<&'a [u8]> {
        first!(self, Nonce).map(|nonce| nonce.0)
    }

    /// The identity in the `IDi` payload.
    #[must_use]
    pub fn id_i(&self) -> Option<&Identity> {
        first!(self, IdI).map(|id| &id.identity)
    }

    /// The identity in the `IDr` payload.
    #[must_use]
    pub fn id_r(&self) -> Option<&Identity> {
        first!(self, IdR).map(|id| &id.identity)
    }

    /// The body of the `IDi` payload as it came: what its sender signs (RFC 7296 §2.15).
    #[must_use]
    pub fn id_i_body(&self) -> Option<&'a [u8]> {
        first!(self, IdI).map(|id| id.body)
    }

    /// The body of the `IDr` payload as it came: what its sender signs (RFC 7296 §2.15).
    #[must_use]
    pub fn id_r_body(&self) -> Option<&'a [u8]> {
        first!(self, IdR).map(|id| id.body)
    }

    /// The certificates, the sender's own first (RFC 7296 §3.6).
    pub fn certs(&self) -> impl Iterator<Item = &Cert<'a>> {
        all!(self, Cert)
    }

    /// The requests for certificates.
    pub fn cert_reqs(&self) -> impl Iterator<Item = &CertReq<'a>> {
        all!(self, CertReq)
    }

    /// The AUTH payload.
    #[must_use]
    pub fn auth(&self) -> Option<&Auth<'a>> {
        first!(self, Auth)
    }

    /// The notifies.
    pub fn notifies(&self) -> impl Iterator<Item = &Notify<'a>> {
        all!(self, Notify)
    }

    /// The first notify of a type.
    #[must_use]
    pub fn notify(&self, kind: NotifyType) -> Option<&Notify<'a>> {
        self.notifies().find(|notify| notify.kind == kind)
    }

    /// The first notify that reports an error.
    #[must_use]
    pub fn error(&self) -> Option<&Notify<'a>> {
        self.notifies().find(|notify| notify.kind.is_error())
    }

    /// The Delete payloads.
    pub fn deletes(&self) -> impl Iterator<Item = &Delete> {
        all!(self, Delete)
    }

    /// The vendor IDs.
    pub fn vendor_ids(&self) -> impl Iterator<Item = &'a [u8]> {
        all!(self, VendorId).map(|vendor| vendor.0)
    }

    /// The selectors in the `TSi` payload, of the types we know.
    #[must_use]
    pub fn ts_i(&self) -> Option<&[TrafficSelector]> {
        first!(self, TsI).map(|ts| &*ts.selectors)
    }

    /// The selectors in the `TSr` payload, of the types we know.
    #[must_use]
    pub fn ts_r(&self) -> Option<&[TrafficSelector]> {
        first!(self, TsR).map(|ts| &*ts.selectors)
    }

    /// The CP payload.
    #[must_use]
    pub fn cp(&self) -> Option<&Configuration<'a>> {
        first!(self, Configuration)
    }

    /// The EAP payload.
    #[must_use]
    pub fn eap(&self) -> Option<&Eap<'a>> {
        first!(self, Eap)
    }

    /// The SK payload.
    #[must_use]
    pub fn encrypted(&self) -> Option<&Encrypted<'a>> {
        first!(self, Encrypted)
    }

    /// The SKF payload.
    #[must_use]
    pub fn fragment(&self) -> Option<&EncryptedFragment<'a>> {
        first!(self, EncryptedFragment)
    }
}

impl<'p, 'a> IntoIterator for &'p Payloads<'a> {
    type Item = &'p Payload<'a>;
    type IntoIter = std::slice::Iter<'p, Payload<'a>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The RFC's notation, without the contents: `N(COOKIE)`, `CP(CFG_REQUEST)`, `SA`.
impl fmt::Display for Payload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Notify(notify) => write!(f, "N({})", notify.kind),
            Self::Configuration(configuration) => write!(f, "CP({})", configuration.cfg_type),
            Self::EncryptedFragment(fragment) => write!(f, "SKF({}/{})", fragment.number, fragment.total),
            other => write!(f, "{}", other.kind()),
        }
    }
}

/// As `Display`: payloads hold what must not get into logs.
impl fmt::Debug for Payload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The RFC's notation, without the contents: `SA, KE, No, N(COOKIE)`.
impl fmt::Display for Payloads<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, payload) in self.iter().enumerate() {
            if n > 0 {
                f.write_str(", ")?;
            }
            fmt::Display::fmt(payload, f)?;
        }
        Ok(())
    }
}

/// As `Display`: payloads hold what must not get into logs.
impl fmt::Debug for Payloads<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proposal::{Proposal, Transform};
    use crate::wire::build::PayloadWriter;
    use crate::wire::codec::Expected;
    use crate::wire::registry::{
        AuthMethod, CertEncoding, CfgAttributeType, CfgType, IdType, KeMethod, ProtocolId, Spi, TransformType,
    };
    use proptest::prelude::*;

    /// One payload of each kind, but for the encrypted ones.
    fn everything() -> PayloadWriter {
        let identity = Identity { id_type: IdType::FQDN, data: b"moon.example".to_vec() };
        let selector = TrafficSelector {
            protocol: 6,
            start_port: 80,
            end_port: 90,
            start_addr: [10, 0, 0, 0].into(),
            end_addr: [10, 0, 0, 255].into(),
        };
        let transform = |kind, id, key_length| Transform { kind, id, key_length };
        let proposal = Proposal {
            number: 1,
            protocol: ProtocolId::ESP,
            spi: vec![1, 2, 3, 4],
            transforms: vec![
                transform(TransformType::ENCR, 12, Some(128)),
                transform(TransformType::INTEG, 12, None),
            ],
        };
        let mut w = PayloadWriter::new();
        w.id_i(&identity)
            .cert(CertEncoding::X509_SIGNATURE, b"certificate")
            .cert(CertEncoding::X509_SIGNATURE, b"issuer")
            .cert_req(CertEncoding::X509_SIGNATURE, &[9; 40])
            .id_r(&identity)
            .auth(AuthMethod::SHARED_KEY, &[5; 32])
            .cp(
                CfgType::REQUEST,
                &[
                    (CfgAttributeType::INTERNAL_IP4_ADDRESS, vec![]),
                    (CfgAttributeType::INTERNAL_IP4_DNS, vec![192, 0, 2, 53]),
                    (CfgAttributeType::INTERNAL_IP4_DNS, vec![192, 0, 2, 54]),
                ],
            )
            .sa(&[proposal])
            .ke(KeMethod::CURVE_25519, &[8; 32])
            .nonce(&[7; 32])
            .ts_i(&[selector])
            .ts_r(&[selector, selector])
            .notify(NotifyType::INITIAL_CONTACT, &[])
            .notify_for(ProtocolId::ESP, &[1, 2, 3, 4], NotifyType::REKEY_SA, b"data")
            .delete_ike()
            .delete(ProtocolId::ESP, &[Spi(1), Spi(2)])
            .eap(&[1, 1, 0, 5, 1])
            .vendor_id(b"vendor")
            .raw(PayloadType(200), false, b"future");
        w
    }

    fn decode(w: &PayloadWriter) -> Result<Payloads<'_>, DecodeError> {
        decode_payloads(w.first(), w.octets())
    }

    #[test]
    fn every_payload_is_found_by_its_finder() {
        let w = everything();
        let payloads = decode(&w).unwrap();
        assert_eq!(
            payloads.to_string(),
            "IDi, CERT, CERT, CERTREQ, IDr, AUTH, CP(CFG_REQUEST), SA, KE, No, TSi, TSr, N(INITIAL_CONTACT), \
             N(REKEY_SA), D, D, EAP, V, (200)"
        );
        assert_eq!(payloads.id_i().unwrap().data, b"moon.example");
        assert_eq!(payloads.id_r_body().unwrap(), b"\x02\0\0\0moon.example");
        let certs: Vec<_> = payloads.certs().map(|cert| cert.data).collect();
        assert_eq!(certs, [&b"certificate"[..], b"issuer"]);
        assert_eq!(payloads.cert_reqs().next().unwrap().hashes().count(), 2);
        assert_eq!(payloads.auth().unwrap().method, AuthMethod::SHARED_KEY);
        let dns = payloads.cp().unwrap().values(CfgAttributeType::INTERNAL_IP4_DNS);
        assert_eq!(dns.collect::<Vec<_>>(), [[192, 0, 2, 53], [192, 0, 2, 54]]);
        assert_eq!(payloads.sa().unwrap().proposals[0].spi, [1, 2, 3, 4]);
        assert_eq!(payloads.ke().unwrap().method, KeMethod::CURVE_25519);
        assert_eq!(payloads.nonce().unwrap(), [7; 32]);
        assert_eq!((payloads.ts_i().unwrap().len(), payloads.ts_r().unwrap().len()), (1, 2));
        assert_eq!(payloads.notify(NotifyType::REKEY_SA).unwrap().spi, [1, 2, 3, 4]);
        assert!(payloads.error().is_none() && payloads.notify(NotifyType::COOKIE).is_none());
        let deleted: Vec<_> = payloads.deletes().flat_map(|delete| &delete.spis).collect();
        assert_eq!(deleted, [&Spi(1), &Spi(2)]);
        assert_eq!(payloads.eap().unwrap().identifier(), 1);
        assert_eq!(payloads.vendor_ids().collect::<Vec<_>>(), [b"vendor"]);
        assert!(payloads.encrypted().is_none() && payloads.fragment().is_none());
    }

    #[test]
    fn what_was_decoded_is_written_again_octet_by_octet() {
        let w = everything();
        let mut again = PayloadWriter::new();
        for payload in &decode(&w).unwrap() {
            again.payload(payload);
        }
        assert_eq!(again.first(), w.first());
        assert_eq!(again.octets(), w.octets());
    }

    #[test]
    fn a_chain_cut_off_anywhere_is_refused() {
        let w = everything();
        for length in 0..w.octets().len() {
            let cut = decode_payloads(w.first(), &w.octets()[..length]);
            assert!(matches!(cut, Err(DecodeError::Malformed { .. })), "{length} octets");
        }
    }

    #[test]
    fn an_octet_changed_anywhere_is_survived() {
        let w = everything();
        let mut octets = w.octets().to_vec();
        let mut refused = 0;
        for position in 0..octets.len() {
            let honest = octets[position];
            for value in [0, 1, honest ^ 1, honest.wrapping_add(1), honest ^ 0x80, 255] {
                octets[position] = value;
                refused += u32::from(decode_payloads(w.first(), &octets).is_err());
            }
            octets[position] = honest;
        }
        assert!(refused > 100, "only {refused} changes were noticed");
    }

    #[test]
    fn no_payload_and_octets_do_not_go_together() {
        assert!(decode_payloads(PayloadType::NONE, &[]).unwrap().is_empty());
        assert!(decode_payloads(PayloadType::NONE, &[0]).is_err());
        assert!(decode_payloads(PayloadType::NOTIFY, &[]).is_err());
    }

    #[test]
    fn unknown_payloads_are_ignored_unless_they_are_critical() {
        let mut w = PayloadWriter::new();
        w.raw(PayloadType(200), false, b"hint").nonce(&[7; 16]);
        assert_eq!(decode(&w).unwrap().nonce(), Some(&[7; 16][..]));
        w.raw(PayloadType(201), true, b"demand");
        assert_eq!(decode(&w).err(), Some(DecodeError::UnsupportedCriticalPayload(PayloadType(201))));
    }

    #[test]
    fn the_critical_bit_of_a_known_payload_is_ignored() {
        let mut w = PayloadWriter::new();
        w.raw(PayloadType::NONCE, true, &[7; 16]);
        assert!(decode(&w).is_ok());
    }

    #[test]
    fn nothing_may_follow_an_encrypted_payload() {
        for kind in [PayloadType::SK, PayloadType::SKF] {
            let mut w = PayloadWriter::new();
            w.raw(kind, false, &[0, 1, 0, 1]);
            assert!(decode(&w).is_ok());
            w.nonce(&[7; 16]);
            let trailing = decode(&w).err();
            assert!(
                matches!(
                    trailing,
                    Some(DecodeError::Malformed { fault: Fault::Trailing { octets: 20 }, .. })
                ),
                "{trailing:?}"
            );
        }
    }

    #[test]
    fn a_payload_shorter_than_its_own_header_does_not_loop() {
        for length in 0..4 {
            let error = decode_payloads(PayloadType(200), &[200, 0, 0, length, 200, 0, 0, 4]).err();
            assert_eq!(
                error,
                Some(DecodeError::Malformed {
                    part: Part::PayloadHeader(PayloadType(200)),
                    offset: 4,
                    fault: Fault::Value {
                        field: "length",
                        value: length.into(),
                        expected: Expected::AtLeast(4)
                    }
                })
            );
        }
    }

    #[test]
    fn more_payloads_than_anybody_needs_are_refused() {
        let chain = |count: usize| {
            let mut w = PayloadWriter::new();
            for _ in 0..count {
                w.vendor_id(&[]);
            }
            w
        };
        assert_eq!(decode(&chain(MAX_PAYLOADS)).unwrap().len(), MAX_PAYLOADS);
        assert!(matches!(
            decode(&chain(16_000)),
            Err(DecodeError::Malformed { fault: Fault::TooMany { limit: MAX_PAYLOADS, .. }, .. })
        ));
    }

    /// Octets that are held on behalf of the sender.
    fn held(payloads: &Payloads<'_>) -> usize {
        let inner = payloads.iter().map(|payload| match payload {
            Payload::Sa(sa) => {
                let transforms: usize = sa
                    .proposals
                    .iter()
                    .map(|p| p.spi.capacity() + p.transforms.capacity() * size_of::<Transform>())
                    .sum();
                sa.proposals.capacity() * size_of::<Proposal>() + transforms
            }
            Payload::Configuration(cp) => {
                cp.attributes.capacity() * size_of::<crate::wire::CfgAttribute<'_>>()
            }
            Payload::Delete(delete) => delete.spis.capacity() * size_of::<Spi>(),
            Payload::TsI(ts) | Payload::TsR(ts) => ts.selectors.capacity() * size_of::<TrafficSelector>(),
            Payload::IdI(id) | Payload::IdR(id) => id.identity.data.capacity(),
            _ => 0, // borrows
        });
        payloads.list.capacity() * size_of::<Payload<'_>>() + inner.sum::<usize>()
    }

    #[test]
    fn what_is_held_is_bounded_by_what_was_sent() {
        let proposal = |more: u8| [more, 0, 0, 8, 1, 1, 0, 0];
        let mut proposals = proposal(2).repeat(254);
        proposals.extend(proposal(0));
        let transforms = [3, 0, 0, 8, 1, 0, 0, 12].repeat(255);
        let mut transforms = [&[0, 0, 0x08, 0, 1, 1, 0, 255][..], &transforms].concat();
        let last = transforms.len() - 8;
        transforms[last] = 0;
        let attributes = [&[1, 0, 0, 0][..], &[0, 1, 0, 0].repeat(16_000)].concat();
        let spis = [&[3, 4, 0x3e, 0x80][..], &[1; 64_000]].concat();
        let mut selectors = vec![255, 0, 0, 0];
        for _ in 0..255 {
            selectors.extend([7, 0, 0, 16, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1]);
        }
        for (kind, body) in [
            (PayloadType::SA, proposals),
            (PayloadType::SA, transforms),
            (PayloadType::CP, attributes),
            (PayloadType::DELETE, spis),
            (PayloadType::TS_I, selectors),
        ] {
            let mut w = PayloadWriter::new();
            w.raw(kind, false, &body);
            let payloads = decode(&w).unwrap();
            let (held, sent) = (held(&payloads), w.octets().len());
            assert!(held < 16 * sent, "{kind}: {held} octets for {sent}");
        }
        assert!(size_of::<Payload<'_>>() * MAX_PAYLOADS <= 8192);
    }

    proptest! {
        #[test]
        fn any_octets_decode_or_fail(first: u8, octets in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(payloads) = decode_payloads(PayloadType(first), &octets) {
                prop_assert!(payloads.len() <= MAX_PAYLOADS);
            }
        }

        /// Octets that get past the payload header: the length is right, the type is one of ours.
        #[test]
        fn any_body_decodes_or_fails(kind in 33u8..=54, body in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut w = PayloadWriter::new();
            w.raw(PayloadType(kind), false, &body);
            if let Ok(payloads) = decode(&w) {
                let mut again = PayloadWriter::new();
                again.payload(payloads.iter().next().unwrap());
                prop_assert!(decode(&again).is_ok());
            }
        }

        #[test]
        fn plain_payloads_round_trip(
            number: u16,
            octet: u8,
            spi in prop::collection::vec(any::<u8>(), 0..=255),
            data in prop::collection::vec(any::<u8>(), 16..=256),
        ) {
            let mut w = PayloadWriter::new();
            w.ke(KeMethod(number), &data)
                .nonce(&data)
                .cert(CertEncoding(octet), &data)
                .cert_req(CertEncoding(octet), &data)
                .auth(AuthMethod(octet), &data)
                .notify_for(ProtocolId(octet), &spi, NotifyType(number), &data)
                .delete(ProtocolId::AH, &[Spi(number.into()), Spi(octet.into())])
                .cp(CfgType(octet), &[(CfgAttributeType(number & 0x7fff), data.clone())])
                .vendor_id(&data)
                .raw(PayloadType(33), false, &[]);
            let payloads = decode(&w).unwrap();
            let ke = KeyExchange { method: KeMethod(number), data: &data };
            prop_assert!(payloads.ke() == Some(&ke));
            prop_assert_eq!(payloads.nonce(), Some(&data[..]));
            let cert = Cert { encoding: CertEncoding(octet), data: &data };
            prop_assert!(payloads.certs().next() == Some(&cert));
            let request = CertReq { encoding: CertEncoding(octet), authority: &data };
            prop_assert!(payloads.cert_reqs().next() == Some(&request));
            let auth = Auth { method: AuthMethod(octet), data: &data };
            prop_assert!(payloads.auth() == Some(&auth));
            let notify = Notify {
                protocol: ProtocolId(octet),
                spi: &spi,
                kind: NotifyType(number),
                data: &data,
            };
            prop_assert!(payloads.notify(NotifyType(number)) == Some(&notify));
            let delete =
                Delete { protocol: ProtocolId::AH, spis: vec![Spi(number.into()), Spi(octet.into())] };
            prop_assert!(payloads.deletes().next() == Some(&delete));
            let cp = payloads.cp().unwrap();
            prop_assert_eq!(cp.cfg_type, CfgType(octet));
            prop_assert_eq!(
                cp.values(CfgAttributeType(number & 0x7fff)).collect::<Vec<_>>(), [&data[..]]
            );
            prop_assert_eq!(payloads.vendor_ids().collect::<Vec<_>>(), [&data[..]]);
        }

        #[test]
        fn identities_round_trip(
            id_type in (2u8..).prop_filter("ID_NULL has no data", |number| IdType(*number) != IdType::NULL),
            data in prop::collection::vec(any::<u8>(), 16),
        ) {
            let identity = Identity { id_type: IdType(id_type), data };
            let mut w = PayloadWriter::new();
            w.id_i(&identity).id_r(&identity);
            let payloads = decode(&w).unwrap();
            prop_assert!(payloads.id_i() == Some(&identity));
            prop_assert!(payloads.id_r() == Some(&identity));
            prop_assert_eq!(payloads.id_i_body(), Some(&crate::wire::id::body(&identity)[..]));
        }
    }
}
