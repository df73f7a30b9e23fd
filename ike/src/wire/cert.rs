//! Certificate and Certificate Request payloads (RFC 7296 §3.6, §3.7).

use super::codec::{DecodeError, Reader, Writer};
use super::registry::CertEncoding;

/// Certificate payload (RFC 7296 §3.6).
///
/// ```text
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// | Cert Encoding |                                               |
/// +-+-+-+-+-+-+-+-+                                               |
/// ~                       Certificate Data                        ~
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Cert<'a> {
    /// What the data is.
    pub encoding: CertEncoding,
    /// A certificate, a key, a revocation list, or where to find them.
    pub data: &'a [u8],
}

/// Certificate Request payload (RFC 7296 §3.7).
///
/// ```text
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// | Cert Encoding |                                               |
/// +-+-+-+-+-+-+-+-+                                               |
/// ~                    Certification Authority                    ~
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CertReq<'a> {
    /// What kind of certificate is asked for.
    pub encoding: CertEncoding,
    /// Which authorities are trusted, in the form the encoding wants.
    pub authority: &'a [u8],
}

impl<'a> Cert<'a> {
    /// Reads the body of the payload.
    pub fn decode(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self { encoding: CertEncoding(r.u8()?), data: r.rest() })
    }

    /// Writes the body of the payload.
    pub fn encode(&self, w: &mut Writer) {
        w.u8(self.encoding.0);
        w.bytes(self.data);
    }
}

impl<'a> CertReq<'a> {
    /// Reads the body of the payload.
    pub fn decode(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self { encoding: CertEncoding(r.u8()?), authority: r.rest() })
    }

    /// Writes the body of the payload.
    pub fn encode(&self, w: &mut Writer) {
        w.u8(self.encoding.0);
        w.bytes(self.authority);
    }

    /// The trusted authorities, each as the SHA-1 hash of its SubjectPublicKeyInfo; of use for X.509 encodings
    /// only. An incomplete hash at the end is left out: the request is a hint, not worth failing for.
    pub fn hashes(&self) -> impl Iterator<Item = &'a [u8; 20]> + use<'a> {
        let (hashes, _incomplete) = self.authority.as_chunks();
        hashes.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec::Part;
    use crate::wire::registry::PayloadType;

    #[test]
    fn authorities_are_counted_in_whole_hashes() {
        let mut octets = vec![CertEncoding::X509_SIGNATURE.0];
        octets.extend([1; 20]);
        octets.extend([2; 20]);
        octets.extend([3; 19]);
        let request =
            CertReq::decode(&mut Reader::new(Part::Payload(PayloadType::CERTREQ), &octets)).unwrap();
        assert_eq!(request.hashes().collect::<Vec<_>>(), [&[1; 20], &[2; 20]]);
    }

    #[test]
    fn the_encoding_is_not_optional() {
        let mut empty = Reader::new(Part::Payload(PayloadType::CERT), &[]);
        assert!(Cert::decode(&mut empty).is_err());
        assert!(CertReq::decode(&mut empty).is_err());
    }
}
