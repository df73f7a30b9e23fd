//! The key schedule: from a shared secret to every key of an IKE SA and its CHILD_SAs (RFC 7296 §2.13,
//! §2.14, §2.17, §2.18).

use super::{
    prf::Prf,
    protect::{Opener, Sealer},
    secret::{Secret, SharedKey, SkAi, SkAr, SkD, SkEi, SkEr, SkPi, SkPr},
    suite::{EspSuite, IkeSuite},
};
use crate::wire::registry::IkeSpi;

/// Which end of an IKE SA: who started the exchange that made it, IKE_SA_INIT or the rekeying of its
/// predecessor. It decides the keys of each direction and never changes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// Who sent the request.
    Initiator,
    /// Who answered.
    Responder,
}

/// The keys of one IKE SA. Take it apart: each key goes where it is used.
pub struct IkeKeys {
    /// For CHILD_SAs, and for the IKE SA that succeeds this one.
    pub sk_d: SkD,
    /// For the initiator's AUTH payload.
    pub sk_pi: SkPi,
    /// For the responder's AUTH payload.
    pub sk_pr: SkPr,
    /// For the messages.
    pub protection: ProtectionKeys,
}

impl IkeKeys {
    /// Keys of an IKE SA made by IKE_SA_INIT (RFC 7296 §2.14). `ni` and `nr` are the initiator's and the
    /// responder's nonce, without payload headers.
    #[must_use]
    pub fn derive(
        suite: &IkeSuite,
        shared: &SharedKey,
        ni: &[u8],
        nr: &[u8],
        spi_i: IkeSpi,
        spi_r: IkeSpi,
    ) -> Self {
        let prf = suite.prf();
        // RFC 7296 §2.14: for the two PRFs of AES only the first 64 bits of each nonce, for
        // compatibility with RFC 4306. Nonces are longer than that (RFC 7296 §2.10).
        let key = match prf {
            Prf::Aes128Xcbc | Prf::Aes128Cmac => [first_64_bits(ni), first_64_bits(nr)].concat(),
            Prf::HmacSha1 | Prf::HmacSha256 | Prf::HmacSha384 | Prf::HmacSha512 => [ni, nr].concat(),
        };
        let skeyseed = prf.compute(&key, &[shared.octets()]);
        Self::expand(suite, &skeyseed, ni, nr, spi_i, spi_r)
    }

    /// Keys of an IKE SA that succeeds another (RFC 7296 §2.18): `old_prf` and `old_sk_d` are the old
    /// one's, everything else is of the CREATE_CHILD_SA exchange and of the new one.
    #[must_use]
    #[expect(clippy::too_many_arguments, reason = "they are the inputs the RFC lists")]
    pub fn rekey(
        old_prf: Prf,
        old_sk_d: &SkD,
        suite: &IkeSuite,
        shared: &SharedKey,
        ni: &[u8],
        nr: &[u8],
        spi_i: IkeSpi,
        spi_r: IkeSpi,
    ) -> Self {
        let skeyseed = old_prf.compute(old_sk_d.octets(), &[shared.octets(), ni, nr]);
        Self::expand(suite, &skeyseed, ni, nr, spi_i, spi_r)
    }

    /// ```text
    /// {SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr} = prf+ (SKEYSEED, Ni | Nr | SPIi | SPIr)
    /// ```
    fn expand(
        suite: &IkeSuite,
        skeyseed: &Secret,
        ni: &[u8],
        nr: &[u8],
        spi_i: IkeSpi,
        spi_r: IkeSpi,
    ) -> Self {
        let (prf, cipher) = (suite.prf(), suite.cipher());
        let (sk_len, encr_len, integ_len) = (prf.key_len(), cipher.encr_key_len(), cipher.integ_key_len());
        let stream = prf.plus(
            skeyseed.octets(),
            &[ni, nr, &spi_i.0, &spi_r.0],
            3 * sk_len + 2 * integ_len + 2 * encr_len,
        );
        let mut keys = Keymat(stream.octets());
        let sk_d = SkD::new(keys.take(sk_len));
        let sk_ai = SkAi::new(keys.take(integ_len));
        let sk_ar = SkAr::new(keys.take(integ_len));
        let sk_ei = SkEi::new(keys.take(encr_len));
        let sk_er = SkEr::new(keys.take(encr_len));
        let sk_pi = SkPi::new(keys.take(sk_len));
        let sk_pr = SkPr::new(keys.take(sk_len));
        Self { sk_d, sk_pi, sk_pr, protection: ProtectionKeys { suite: *suite, sk_ai, sk_ar, sk_ei, sk_er } }
    }
}

fn first_64_bits(nonce: &[u8]) -> &[u8] {
    nonce.get(..8).unwrap_or(nonce)
}

/// The keys that protect an IKE SA's messages, before it is settled which are ours.
pub struct ProtectionKeys {
    suite: IkeSuite,
    sk_ai: SkAi,
    sk_ar: SkAr,
    sk_ei: SkEi,
    sk_er: SkEr,
}

impl ProtectionKeys {
    /// Fixes the directions: what we send is sealed with the keys of our `role`, what we get is opened
    /// with the other's.
    #[must_use]
    pub fn into_directions(self, role: Role) -> (Sealer, Opener) {
        let Self { suite, sk_ai, sk_ar, sk_ei, sk_er } = self;
        let cipher = suite.cipher();
        match role {
            Role::Initiator => (
                Sealer::new(cipher, sk_ei.into(), sk_ai.into()),
                Opener::new(cipher, sk_er.into(), sk_ar.into()),
            ),
            Role::Responder => (
                Sealer::new(cipher, sk_er.into(), sk_ar.into()),
                Opener::new(cipher, sk_ei.into(), sk_ai.into()),
            ),
        }
    }
}

/// The keys of one CHILD_SA, named by the roles in the exchange that made it.
pub struct ChildKeys {
    /// For packets from the exchange's initiator to its responder.
    pub initiator_to_responder: ChildKeyMaterial,
    /// For packets from the exchange's responder to its initiator.
    pub responder_to_initiator: ChildKeyMaterial,
}

impl ChildKeys {
    /// Keys of a CHILD_SA (RFC 7296 §2.17). `prf` and `sk_d` are the IKE SA's, `shared` is from the
    /// CHILD_SA's own key exchange if there was one, `ni` and `nr` are the nonces of the exchange that
    /// creates it (of IKE_SA_INIT for the first one).
    ///
    /// ```text
    /// KEYMAT = prf+(SK_d, [g^ir (new) |] Ni | Nr)
    /// ```
    #[must_use]
    pub fn derive(
        prf: Prf,
        sk_d: &SkD,
        suite: &EspSuite,
        shared: Option<&SharedKey>,
        ni: &[u8],
        nr: &[u8],
    ) -> Self {
        let shared = shared.map_or(&[][..], SharedKey::octets);
        let (encr_len, integ_len) = (suite.encr_key_len(), suite.integ_key_len());
        let keymat = prf.plus(sk_d.octets(), &[shared, ni, nr], 2 * (encr_len + integ_len));
        let mut keys = Keymat(keymat.octets());
        // Initiator's direction first; in each, encryption first.
        let mut direction = || ChildKeyMaterial { encr: keys.take(encr_len), integ: keys.take(integ_len) };
        let initiator_to_responder = direction();
        let responder_to_initiator = direction();
        Self { initiator_to_responder, responder_to_initiator }
    }
}

/// The keys of one direction of a CHILD_SA.
pub struct ChildKeyMaterial {
    /// Encryption key, followed by the salt where the algorithm has one.
    pub encr: Secret,
    /// Integrity key; empty if encryption brings its own integrity.
    pub integ: Secret,
}

impl ChildKeyMaterial {
    /// Lends the encryption key (with its salt) and the integrity key to a data plane.
    #[must_use]
    pub fn octets(&self) -> (&[u8], &[u8]) {
        (self.encr.octets(), self.integ.octets())
    }
}

/// Keying material not given out yet.
struct Keymat<'a>(&'a [u8]);

impl Keymat<'_> {
    fn take(&mut self, len: usize) -> Secret {
        let (key, rest) = self.0.split_at(len);
        self.0 = rest;
        Secret::new(key.to_vec())
    }
}
