//! The algorithms two peers agreed on, in types that hold nothing else.

use super::{
    cipher::{Cipher, Encr},
    esp::EspEncr,
    integ::Integ,
    ke::supports_ke,
    prf::Prf,
};
use crate::{
    proposal::{Proposal, Transform},
    wire::registry::{EncrId, EsnId, IntegId, KeMethod, PrfId, ProtocolId, TransformType},
};

/// What protects an IKE SA.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IkeSuite {
    cipher: Cipher,
    prf: Prf,
    ke: KeMethod,
}

impl IkeSuite {
    /// The suite of an accepted proposal: one transform of each kind an IKE SA needs (RFC 7296 §3.3.3).
    ///
    /// # Errors
    ///
    /// Says which transform is missing, twice there, out of place or not one of ours.
    pub fn from_proposal(proposal: &Proposal) -> Result<Self, SuiteError> {
        let chosen = Chosen::of(proposal, ProtocolId::IKE)?;
        let prf = chosen.prf.ok_or(SuiteError::Missing(TransformType::PRF))?;
        let ke = chosen.ke_method()?.ok_or(SuiteError::Missing(TransformType::KE))?;
        if let Some(esn) = chosen.esn {
            return Err(SuiteError::OutOfPlace(esn));
        }
        Ok(Self {
            cipher: chosen.cipher()?,
            prf: Prf::from_id(PrfId(prf.id)).ok_or(SuiteError::Unsupported(prf))?,
            ke,
        })
    }

    /// True if one of these proposals has all of this suite: what was negotiated by them could have been this.
    #[must_use]
    pub fn is_among(&self, proposals: &[Proposal]) -> bool {
        let has = |proposal: &Proposal, kind, id| proposal.of(kind).any(|transform| transform.id == id);
        proposals.iter().any(|proposal| {
            let encr = proposal.of(TransformType::ENCR).any(|transform| {
                transform.id == self.encr_id().0
                    && transform.key_length.is_none_or(|bits| bits == self.key_bits())
            });
            encr && self.integ_id().is_none_or(|id| has(proposal, TransformType::INTEG, id.0))
                && has(proposal, TransformType::PRF, self.prf_id().0)
                && has(proposal, TransformType::KE, self.ke().0)
        })
    }

    /// Encryption algorithm.
    #[must_use]
    pub fn encr_id(&self) -> EncrId {
        self.cipher.encr_id()
    }

    /// Length of the encryption key in bits, the salt not counted.
    #[must_use]
    pub fn key_bits(&self) -> u16 {
        self.cipher.key_bits()
    }

    /// Integrity algorithm; `None` if encryption brings its own.
    #[must_use]
    pub fn integ_id(&self) -> Option<IntegId> {
        self.cipher.integ_id()
    }

    /// Pseudorandom function.
    #[must_use]
    pub fn prf(&self) -> Prf {
        self.prf
    }

    /// Number of the pseudorandom function.
    #[must_use]
    pub fn prf_id(&self) -> PrfId {
        self.prf.id()
    }

    /// Key exchange method.
    #[must_use]
    pub fn ke(&self) -> KeMethod {
        self.ke
    }

    pub(super) fn cipher(&self) -> Cipher {
        self.cipher
    }
}

/// What protects the packets of a CHILD_SA.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EspSuite {
    encr: EspEncr,
    /// `None` where encryption brings its own.
    integ: Option<Integ>,
    ke: Option<KeMethod>,
    esn: bool,
}

impl EspSuite {
    /// The suite of an accepted proposal: one transform of each kind ESP needs, and at most one key
    /// exchange method (RFC 7296 §3.3.3).
    ///
    /// # Errors
    ///
    /// Says which transform is missing, twice there, out of place or not one of ours.
    pub fn from_proposal(proposal: &Proposal) -> Result<Self, SuiteError> {
        let chosen = Chosen::of(proposal, ProtocolId::ESP)?;
        let esn = chosen.esn.ok_or(SuiteError::Missing(TransformType::ESN))?;
        if let Some(prf) = chosen.prf {
            return Err(SuiteError::OutOfPlace(prf));
        }
        let (encr, integ) = chosen.esp_cipher()?;
        Ok(Self {
            encr,
            integ,
            ke: chosen.ke_method()?,
            esn: match EsnId(esn.id) {
                EsnId::NONE => false,
                EsnId::ESN => true,
                _ => return Err(SuiteError::Unsupported(esn)),
            },
        })
    }

    /// Encryption algorithm.
    #[must_use]
    pub fn encr_id(&self) -> EncrId {
        self.encr.id()
    }

    /// Length of the encryption key in bits, the salt not counted.
    #[must_use]
    pub fn key_bits(&self) -> u16 {
        self.encr.key_bits()
    }

    /// Integrity algorithm; `None` if encryption brings its own.
    #[must_use]
    pub fn integ_id(&self) -> Option<IntegId> {
        self.integ.map(Integ::id)
    }

    /// True if sequence numbers have 64 bits (RFC 4303 §2.2.1).
    #[must_use]
    pub fn esn(&self) -> bool {
        self.esn
    }

    /// Method of the CHILD_SA's own key exchange; `None` if its keys come from SK_d and the nonces alone.
    #[must_use]
    pub fn ke(&self) -> Option<KeMethod> {
        self.ke
    }

    /// Octets of keying material for the encryption of one direction: key and salt.
    #[must_use]
    pub fn encr_key_len(&self) -> usize {
        self.encr.key_len()
    }

    /// Octets of keying material for the integrity of one direction; zero if encryption brings its own.
    #[must_use]
    pub fn integ_key_len(&self) -> usize {
        self.integ.map_or(0, Integ::key_len)
    }
}

/// Why a proposal is no suite.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SuiteError {
    /// The proposal is for something else.
    #[error("a proposal for {found} where one for {expected} was expected")]
    Protocol {
        /// What the suite is for.
        expected: ProtocolId,
        /// What the proposal is for.
        found: ProtocolId,
    },
    /// Nothing was chosen for a purpose that needs something.
    #[error("no {0} transform was chosen")]
    Missing(TransformType),
    /// More than one transform for one purpose.
    #[error("more than one {0} transform was chosen")]
    Repeated(TransformType),
    /// A transform that does not belong with the others.
    #[error("{} transform {} does not belong with the others", .0.kind, .0.id)]
    OutOfPlace(Transform),
    /// An algorithm, or a key length of it, that we do not have.
    #[error("{} transform {}{} is not supported", .0.kind, .0.id, KeyLength(.0.key_length))]
    Unsupported(Transform),
}

/// Prints a Key Length attribute behind the transform's number.
struct KeyLength(Option<u16>);

impl std::fmt::Display for KeyLength {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(bits) => write!(f, " with a key of {bits} bits"),
            None => Ok(()),
        }
    }
}

/// The transforms of a proposal by kind, at most one of each.
#[derive(Default)]
struct Chosen {
    encr: Option<Transform>,
    prf: Option<Transform>,
    integ: Option<Transform>,
    ke: Option<Transform>,
    esn: Option<Transform>,
}

impl Chosen {
    fn of(proposal: &Proposal, expected: ProtocolId) -> Result<Self, SuiteError> {
        if proposal.protocol != expected {
            return Err(SuiteError::Protocol { expected, found: proposal.protocol });
        }
        let mut chosen = Self::default();
        for transform in &proposal.transforms {
            let place = match transform.kind {
                TransformType::ENCR => &mut chosen.encr,
                TransformType::PRF => &mut chosen.prf,
                TransformType::INTEG => &mut chosen.integ,
                TransformType::KE => &mut chosen.ke,
                TransformType::ESN => &mut chosen.esn,
                _ => return Err(SuiteError::Unsupported(*transform)),
            };
            if place.replace(*transform).is_some() {
                return Err(SuiteError::Repeated(transform.kind));
            }
        }
        Ok(chosen)
    }

    fn cipher(&self) -> Result<Cipher, SuiteError> {
        let encr = self.encr.ok_or(SuiteError::Missing(TransformType::ENCR))?;
        // INTEG with NONE is the same as no INTEG (RFC 7296 §3.3.3, RFC 5282 §8).
        let integ = self.integ.filter(|integ| IntegId(integ.id) != IntegId::NONE);
        let algorithm =
            Encr::from_id(EncrId(encr.id), encr.key_length).ok_or(SuiteError::Unsupported(encr))?;
        match (algorithm, integ) {
            (Encr::Aead(aead), None) => Ok(Cipher::Aead(aead)),
            (Encr::Aead(_), Some(integ)) => Err(SuiteError::OutOfPlace(integ)),
            (Encr::AesCbc(aes), Some(integ)) => Integ::from_id(IntegId(integ.id))
                .map(|known| Cipher::Cbc(aes, known))
                .ok_or(SuiteError::Unsupported(integ)),
            (Encr::AesCbc(_), None) => Err(SuiteError::Missing(TransformType::INTEG)),
        }
    }

    fn esp_cipher(&self) -> Result<(EspEncr, Option<Integ>), SuiteError> {
        let encr = self.encr.ok_or(SuiteError::Missing(TransformType::ENCR))?;
        let integ = self.integ.filter(|integ| IntegId(integ.id) != IntegId::NONE);
        let algorithm =
            EspEncr::from_id(EncrId(encr.id), encr.key_length).ok_or(SuiteError::Unsupported(encr))?;
        match (algorithm.id().is_aead(), integ) {
            (true, None) => Ok((algorithm, None)),
            (true, Some(integ)) => Err(SuiteError::OutOfPlace(integ)),
            (false, Some(integ)) => Integ::from_id(IntegId(integ.id))
                .map(|known| (algorithm, Some(known)))
                .ok_or(SuiteError::Unsupported(integ)),
            // RFC 8221 §4: never without integrity, whatever ESP's own grammar allows.
            (false, None) => Err(SuiteError::Missing(TransformType::INTEG)),
        }
    }

    fn ke_method(&self) -> Result<Option<KeMethod>, SuiteError> {
        match self.ke {
            Some(ke) if KeMethod(ke.id) == KeMethod::NONE => Ok(None),
            Some(ke) if supports_ke(KeMethod(ke.id)) => Ok(Some(KeMethod(ke.id))),
            Some(ke) => Err(SuiteError::Unsupported(ke)),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A proposal of `(kind, id, key length or zero)`.
    pub(in crate::crypto) fn proposal(
        protocol: ProtocolId,
        transforms: &[(TransformType, u16, u16)],
    ) -> Proposal {
        let transforms = transforms
            .iter()
            .map(|&(kind, id, bits)| Transform { kind, id, key_length: (bits > 0).then_some(bits) })
            .collect();
        Proposal { number: 1, protocol, spi: Vec::new(), transforms }
    }

    use TransformType as T;

    fn ike(transforms: &[(T, u16, u16)]) -> Result<IkeSuite, SuiteError> {
        IkeSuite::from_proposal(&proposal(ProtocolId::IKE, transforms))
    }

    fn esp(transforms: &[(T, u16, u16)]) -> Result<EspSuite, SuiteError> {
        EspSuite::from_proposal(&proposal(ProtocolId::ESP, transforms))
    }

    #[test]
    fn an_aead_suite() {
        let suite = ike(&[(T::ENCR, 20, 128), (T::PRF, 5, 0), (T::KE, 31, 0)]).unwrap();
        assert_eq!(suite.encr_id(), EncrId::AES_GCM_16);
        assert_eq!(suite.key_bits(), 128);
        assert_eq!(suite.integ_id(), None);
        assert_eq!(suite.prf_id(), PrfId::HMAC_SHA2_256);
        assert_eq!(suite.ke(), KeMethod::CURVE_25519);

        let suite = esp(&[(T::ENCR, 28, 0), (T::INTEG, 0, 0), (T::ESN, 1, 0), (T::KE, 0, 0)]).unwrap();
        assert_eq!((suite.encr_id(), suite.key_bits()), (EncrId::CHACHA20_POLY1305, 256));
        assert_eq!((suite.encr_key_len(), suite.integ_key_len()), (36, 0));
        assert!(suite.esn());
        assert_eq!(suite.ke(), None);
    }

    #[test]
    fn a_cbc_suite() {
        let suite = ike(&[(T::ENCR, 12, 256), (T::INTEG, 14, 0), (T::PRF, 7, 0), (T::KE, 14, 0)]).unwrap();
        assert_eq!((suite.encr_id(), suite.key_bits()), (EncrId::AES_CBC, 256));
        assert_eq!(suite.integ_id(), Some(IntegId::HMAC_SHA2_512_256));

        let suite = esp(&[(T::ENCR, 12, 192), (T::INTEG, 2, 0), (T::ESN, 0, 0), (T::KE, 19, 0)]).unwrap();
        assert_eq!((suite.encr_key_len(), suite.integ_key_len()), (24, 20));
        assert!(!suite.esn());
        assert_eq!(suite.ke(), Some(KeMethod::ECP_256));
    }

    #[test]
    fn suites_that_only_data_planes_have() {
        let suite = esp(&[(T::ENCR, 13, 128), (T::INTEG, 12, 0), (T::ESN, 0, 0)]).unwrap();
        assert_eq!((suite.encr_id(), suite.encr_key_len(), suite.integ_key_len()), (EncrId::AES_CTR, 20, 32));
        let suite = esp(&[(T::ENCR, 11, 0), (T::INTEG, 2, 0), (T::ESN, 0, 0)]).unwrap();
        assert_eq!((suite.encr_id(), suite.key_bits(), suite.encr_key_len()), (EncrId::NULL, 0, 0));
        assert_eq!(esp(&[(T::ENCR, 11, 0), (T::ESN, 0, 0)]), Err(SuiteError::Missing(T::INTEG)));
        let ctr = Transform { kind: T::ENCR, id: 13, key_length: Some(128) };
        let with_ctr = [(T::ENCR, 13, 128), (T::INTEG, 12, 0), (T::PRF, 5, 0), (T::KE, 31, 0)];
        assert_eq!(ike(&with_ctr), Err(SuiteError::Unsupported(ctr)), "IKE itself has none");
    }

    #[test]
    fn nonsense_is_named() {
        let (encr, prf, ke, esn) = ((T::ENCR, 20, 128), (T::PRF, 5, 0), (T::KE, 31, 0), (T::ESN, 0, 0));
        let cbc = (T::ENCR, 12, 128);
        let integ = (T::INTEG, 12, 0);
        let transform =
            |(kind, id, bits): (T, u16, u16)| Transform { kind, id, key_length: (bits > 0).then_some(bits) };
        let unsupported = |t| SuiteError::Unsupported(transform(t));
        let out_of_place = |t| SuiteError::OutOfPlace(transform(t));
        for (transforms, error) in [
            (&[prf, ke][..], SuiteError::Missing(T::ENCR)),
            (&[encr, ke], SuiteError::Missing(T::PRF)),
            (&[encr, prf], SuiteError::Missing(T::KE)),
            (&[encr, prf, (T::KE, 0, 0)], SuiteError::Missing(T::KE)),
            (&[cbc, prf, ke], SuiteError::Missing(T::INTEG)),
            (&[cbc, (T::INTEG, 0, 0), prf, ke], SuiteError::Missing(T::INTEG)),
            (&[encr, encr, prf, ke], SuiteError::Repeated(T::ENCR)),
            (&[encr, prf, prf, ke], SuiteError::Repeated(T::PRF)),
            (&[encr, integ, prf, ke], out_of_place(integ)),
            (&[encr, prf, ke, esn], out_of_place(esn)),
            (&[(T::ENCR, 20, 0), prf, ke], unsupported((T::ENCR, 20, 0))),
            (&[(T::ENCR, 20, 64), prf, ke], unsupported((T::ENCR, 20, 64))),
            (&[(T::ENCR, 3, 0), prf, ke], unsupported((T::ENCR, 3, 0))),
            (&[encr, (T::PRF, 1, 0), ke], unsupported((T::PRF, 1, 0))),
            (&[cbc, (T::INTEG, 1, 0), prf, ke], unsupported((T::INTEG, 1, 0))),
            (&[encr, prf, (T::KE, 2, 0)], unsupported((T::KE, 2, 0))),
            (&[encr, prf, ke, (T(6), 36, 0)], unsupported((T(6), 36, 0))),
        ] {
            assert_eq!(ike(transforms), Err(error));
        }
        for (transforms, error) in [
            (&[encr][..], SuiteError::Missing(T::ESN)),
            (&[esn], SuiteError::Missing(T::ENCR)),
            (&[encr, esn, esn], SuiteError::Repeated(T::ESN)),
            (&[encr, prf, esn], out_of_place(prf)),
            (&[encr, (T::ESN, 2, 0)], unsupported((T::ESN, 2, 0))),
        ] {
            assert_eq!(esp(transforms), Err(error));
        }
        assert_eq!(
            IkeSuite::from_proposal(&proposal(ProtocolId::ESP, &[encr, prf, ke])),
            Err(SuiteError::Protocol { expected: ProtocolId::IKE, found: ProtocolId::ESP })
        );
    }

    #[test]
    fn errors_are_sentences() {
        assert_eq!(
            ike(&[(T::ENCR, 20, 64), (T::PRF, 5, 0), (T::KE, 31, 0)]).unwrap_err().to_string(),
            "ENCR transform 20 with a key of 64 bits is not supported"
        );
        assert_eq!(ike(&[(T::ENCR, 20, 128)]).unwrap_err().to_string(), "no PRF transform was chosen");
    }
}
