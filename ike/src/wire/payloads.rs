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
