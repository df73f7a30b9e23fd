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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        crypto::{suite::tests::proposal, tests::hex},
        wire::registry::{ProtocolId, TransformType as T},
    };

    const AES_CBC_128: (T, u16, u16) = (T::ENCR, 12, 128);
    const AES_GCM_128: (T, u16, u16) = (T::ENCR, 20, 128);
    const AES_GCM_256: (T, u16, u16) = (T::ENCR, 20, 256);
    const HMAC_SHA1_96: (T, u16, u16) = (T::INTEG, 2, 0);
    const HMAC_SHA2_256_128: (T, u16, u16) = (T::INTEG, 12, 0);
    const CURVE_25519: (T, u16, u16) = (T::KE, 31, 0);

    fn ike_suite(prf: u16, transforms: &[(T, u16, u16)]) -> IkeSuite {
        let transforms = [transforms, &[(T::PRF, prf, 0), CURVE_25519]].concat();
        IkeSuite::from_proposal(&proposal(ProtocolId::IKE, &transforms)).unwrap()
    }

    fn esp_suite(transforms: &[(T, u16, u16)]) -> EspSuite {
        let transforms = [transforms, &[(T::ESN, 0, 0)]].concat();
        EspSuite::from_proposal(&proposal(ProtocolId::ESP, &transforms)).unwrap()
    }

    fn shared(octets: Vec<u8>) -> SharedKey {
        SharedKey::new(Secret::new(octets))
    }

    /// All keys in the order they are derived in.
    fn all(keys: IkeKeys) -> [Secret; 7] {
        let IkeKeys { sk_d, sk_pi, sk_pr, protection } = keys;
        let ProtectionKeys { suite: _, sk_ai, sk_ar, sk_ei, sk_er } = protection;
        let copy = |octets: &[u8]| Secret::new(octets.to_vec());
        [
            copy(sk_d.octets()),
            sk_ai.into(),
            sk_ar.into(),
            sk_ei.into(),
            sk_er.into(),
            copy(sk_pi.octets()),
            copy(sk_pr.octets()),
        ]
    }

    /// KEYMAT put together again.
    fn keymat(keys: &ChildKeys) -> Vec<u8> {
        let (i_encr, i_integ) = keys.initiator_to_responder.octets();
        let (r_encr, r_integ) = keys.responder_to_initiator.octets();
        [i_encr, i_integ, r_encr, r_integ].concat()
    }

    /// A sample of NIST's validation tests for SP 800-135, IKEv2 with SHA-1. Its 132 octets are what
    /// AES-CBC-128 and HMAC-SHA1-96 need.
    #[test]
    fn nist_sample_with_sha1() {
        let suite = ike_suite(2, &[AES_CBC_128, HMAC_SHA1_96]);
        let g_ir = shared(hex("4b2c1f971981a8ad8d0abeafabf38cf75fc8349c148142465ed9c8b516b8be52"));
        let ni = hex("32b50d5f4a3763f3");
        let nr = hex("9206a04b26564cb1");
        let spi_i = IkeSpi(hex("34c9e7c188868785").try_into().unwrap());
        let spi_r = IkeSpi(hex("3ff77d760d2b2199").try_into().unwrap());
        let derive = || IkeKeys::derive(&suite, &g_ir, &ni, &nr, spi_i, spi_r);
        let dkm: Vec<u8> = all(derive()).iter().flat_map(Secret::octets).copied().collect();
        assert_eq!(
            dkm,
            hex("a14293677cc80ff8f9cc0eee30d895da9d8f405666e30ef0dfcb63c634a46002a2a63080e514a062
                 768b76606f9fa5e992204fc5a670bde3f10d6b027113936a5c55b648a194ae587b0088d52204b702
                 c979fa280870d2ed41efa9c549fd11198af1670b143d384bd275c5f594cf266b05ebadca855e4249
                 520a441a81157435a7a56cc4")
        );

        // The sample has 132 octets of KEYMAT; a CHILD_SA uses the first of them.
        let sk_d = derive().sk_d;
        let child = esp_suite(&[AES_CBC_128, HMAC_SHA2_256_128]);
        let keys = ChildKeys::derive(Prf::HmacSha1, &sk_d, &child, None, &ni, &nr);
        assert_eq!(
            keymat(&keys),
            hex("8059e3ee8810e6c3a91bc8bcd2a7a41151b8d0e6ae239c7b38093ad85ef4c5811a8e7b5d1cdabd95
                 60b2d5e092d1f24e2d4b85eccdf0ad0dc9abd94b51ee71814ca6dbc8bb51b6309f5b9545c7eb35cf
                 5580b1e521a8fe20754a2d883ba0c2cf")
        );
        let g_ir_new = shared(hex("863f3c9d06efd39d2b907b97f8699e5dd5251ef64a2a176f36ee40c87d4f9330"));
        let keys = ChildKeys::derive(Prf::HmacSha1, &sk_d, &child, Some(&g_ir_new), &ni, &nr);
        assert_eq!(
            keymat(&keys),
            hex("bb43244c1860ad65ee1e211ffe8bb3661750c8f89cb9f547df7f4fa61d37301628190e38c66232ea
                 b4b3ab14c400a5197dd3730ed4820a8a10394d51e1c0400052f63ebd36b0e7ef53aaed31eba4a508
                 0d7d4b5666023a8bbb5ffb7857240f9a")
        );

        // SKEYSEED of a successor.
        let skeyseed = Secret::new(hex("63e81194946ebd05df7df5ebf5d8750056bf1f1d"));
        let expected = all(IkeKeys::expand(&suite, &skeyseed, &ni, &nr, spi_r, spi_i));
        let rekeyed = IkeKeys::rekey(Prf::HmacSha1, &sk_d, &suite, &g_ir_new, &ni, &nr, spi_r, spi_i);
        for (found, expected) in all(rekeyed).iter().zip(&expected) {
            assert!(found.ct_eq(expected.octets()));
        }
    }

    /// Against values computed with Python's hmac module, for suites with and without an integrity key.
    #[test]
    fn agrees_with_another_implementation() {
        let g_ir = shared((0..32).collect());
        let (ni, nr): (Vec<u8>, Vec<u8>) = ((0x20..0x40).collect(), (0x60..0x78).collect());
        let (spi_i, spi_r) = (IkeSpi([1, 2, 3, 4, 5, 6, 7, 8]), IkeSpi([11, 12, 13, 14, 15, 16, 17, 18]));
        let new_suite = ike_suite(7, &[AES_GCM_256]);
        for (suite, keys, successor, child, child_with_ke) in [
            (
                ike_suite(5, &[(T::ENCR, 12, 256), HMAC_SHA2_256_128]),
                [
                    "21c27b6c59e3b4b04405342914ff4fb7635e70a537334e3e7a8f724e7d5ce4bb",
                    "db0e3ddd1095ea3207b90467add223ae24c4939118937ddca961348e9fce6879",
                    "76f67b4a7862f857baaa22cb1bc8e912f79ed1f228cb73e6f587029236237d9c",
                    "f81f554a9c8c8fa877a78ac027bd3225363e5db956fb5792951ac1e4b32b0d2e",
                    "6778a67cbd95b6906c3acc23b0e61b88c57a87733e8aad215ec3f2e0bd8e1b7e",
                    "6478777ab47dfecbbc0f08b0a5846fd87044496e96985d2f488d7f4c0a7519e5",
                    "b52f96c773b94d8ead3131f1f02335a539512657f65b535b8b15551a94f752c9",
                ],
                [
                    "1db92690b694235023c6532de1bdfb523f16cc3cd8767fa466eee6bd8205e8fe434ed7eff2de50\
                     2e4081f8592bfe89102206cdebaa8dd2877146a6d9fd8b258b",
                    "247ae3e7fbca38b4b4b812a23aa16dc5c54ec0878acb28c53a2083f1b6344f3ab46928aeb7c0fe\
                     58b0cee2de3101a610d70503db6311958cda54fad00f7eea2f",
                ],
                "6668c3d2c42e6361b8df3cb4945988d8ffb9eff5e27ac258d136a4b1e113312554926708fedbd18d",
                "4222c63d373cbca65ed5b25f643aac057017ead476bd3fbfcf76bc5766b10317e2e8aa12869d3e34c4\
                 7278d39b4d01d18fe734e0b7d2ed52e0c777429fd8d03f51a8d22014e264beaa7e3a6ed9e586c02138\
                 9d011dc47a312e7d886a8367a98a",
            ),
            (
                ike_suite(6, &[AES_GCM_256]),
                [
                    "b3832def63f04e31d4b2dc979d8671cf84e82d3395003455a4bba7d650c0aba3b7535f09e6dda9\
                     f983237a5771adff80",
                    "",
                    "",
                    "625742d667bf2245faf39d4397a6837a9964397f09eca760ef382bc30e0e9e37621345ec",
                    "1424c40c71cfdb72632113e4336dfc6eb08b898647176bddd09e968d8ed7344e3c11f05a",
                    "e50c63c96527726b1f9faf2d68b78895c88ea1950cad0534de47d8a5803c20ebd3576967705344\
                     b3eab6f091c6e916f5",
                    "15a98d1d7f389bcad28fe24e3ec0d7889833df987feef31771bef41469d431f264b29e964cfc58\
                     d96514673ed707d58d",
                ],
                [
                    "fcc2fad970cb156d9aeb0360b13d57483b12f4b921ebb6d356dc82bc907116c4b1261108bb5125\
                     62518c8e3a1c579238721ce1c09c4449d3605586a85dc38ef0",
                    "4eaddb04be231d9d348c4554f9c03e8f2a35b9ba542f565251789c0c4aebf3f1f48c1c0ed87868\
                     87db2fec52d6af8defc6f18d6383d83f230f4787e20a8b5e57",
                ],
                "fbd61a22ee9abdc56cd915c67aed699573b10049daee14b24161b5acd0169586144a10e7e8849376",
                "6b28509f3dffeba0be7de376c3f8bc3c7084b5667af607779a6887f2e7e8934cf3fd1667f255ecd6c0\
                 db4ef4dd81ace57dc8de05472acc77cbaa21b97af37902e06a0a5b3ded2e2b2cc61d2524205b064ba8\
                 064be00c47ce67ecc3a5faa9c2c2",
            ),
        ] {
            let prf = suite.prf();
            let derive = || IkeKeys::derive(&suite, &g_ir, &ni, &nr, spi_i, spi_r);
            for (found, expected) in all(derive()).iter().zip(keys) {
                assert_eq!(found.octets(), hex(expected));
            }

            // A successor with another PRF: SKEYSEED is still the old one's (RFC 7296 §2.18).
            let sk_d = derive().sk_d;
            let rekeyed = IkeKeys::rekey(prf, &sk_d, &new_suite, &g_ir, &ni, &nr, spi_i, spi_r);
            assert_eq!(rekeyed.sk_d.octets(), hex(successor[0]));
            assert_eq!(rekeyed.sk_pr.octets(), hex(successor[1]));

            let gcm = esp_suite(&[AES_GCM_128]);
            let keys = ChildKeys::derive(prf, &sk_d, &gcm, None, &ni, &nr);
            assert_eq!(keymat(&keys), hex(child));
            assert_eq!(keys.initiator_to_responder.encr.len(), 20);
            assert!(keys.initiator_to_responder.integ.is_empty());
            let cbc = esp_suite(&[AES_CBC_128, HMAC_SHA2_256_128]);
            let keys = ChildKeys::derive(prf, &sk_d, &cbc, Some(&g_ir), &ni, &nr);
            assert_eq!(keymat(&keys), hex(child_with_ke));
            assert_eq!(keys.responder_to_initiator.encr.len(), 16);
            assert_eq!(keys.responder_to_initiator.integ.len(), 32);
        }
    }

    /// RFC 7296 §2.14: of long nonces, SKEYSEED of an AES PRF sees 64 bits each, prf+ sees all.
    #[test]
    fn prfs_of_aes_take_half_their_key_from_each_nonce() {
        let g_ir = shared((0..32).collect());
        let (ni, nr) = ([1; 32], [2; 24]);
        let (spi_i, spi_r) = (IkeSpi([3; 8]), IkeSpi([4; 8]));
        for prf in [Prf::Aes128Xcbc, Prf::Aes128Cmac] {
            let suite = ike_suite(prf.id().0, &[AES_GCM_128]);
            let skeyseed = prf.compute(&[[1; 8], [2; 8]].concat(), &[g_ir.octets()]);
            let stream = prf.plus(skeyseed.octets(), &[&ni, &nr, &spi_i.0, &spi_r.0], 16);
            let keys = IkeKeys::derive(&suite, &g_ir, &ni, &nr, spi_i, spi_r);
            assert!(stream.ct_eq(keys.sk_d.octets()));
        }
    }
}
