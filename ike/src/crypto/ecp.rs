//! ECP groups over the NIST curves (RFC 5903).

pub(super) use p256::NistP256 as P256;
pub(super) use p384::NistP384 as P384;
pub(super) use p521::NistP521 as P521;

use p256::elliptic_curve::{
    CurveArithmetic, PublicKey, SecretKey,
    sec1::{FromSec1Point, ModulusSize, ToSec1Point},
};
use zeroize::Zeroizing;

use super::{CryptoProvider, secret::Secret};

/// A curve of RFC 5903.
pub(super) trait EcpCurve:
    CurveArithmetic<AffinePoint: FromSec1Point<Self> + ToSec1Point<Self>, FieldBytesSize: ModulusSize>
{
    /// Octets of a coordinate, and of a scalar.
    const LEN: usize;
    /// Which bits of a scalar's first octet its order has.
    const TOP: u8;
}

impl EcpCurve for P256 {
    const LEN: usize = 32;
    const TOP: u8 = 0xff;
}

impl EcpCurve for P384 {
    const LEN: usize = 48;
    const TOP: u8 = 0xff;
}

impl EcpCurve for P521 {
    const LEN: usize = 66;
    const TOP: u8 = 0x01;
}

/// SEC 1's mark of a point that is written as x and y, which IKE leaves out.
const UNCOMPRESSED: u8 = 0x04;

pub(super) struct EcpPrivate<C: EcpCurve>(SecretKey<C>);

impl<C: EcpCurve> EcpPrivate<C> {
    /// Draws scalars until one is in range. Few are not: one in 2^32 for P-256, fewer for the others.
    pub(super) fn generate(provider: &CryptoProvider) -> Self {
        let mut scalar = Zeroizing::new(vec![0; C::LEN]);
        loop {
            provider.random(&mut scalar);
            if let Some(first) = scalar.first_mut() {
                *first &= C::TOP;
            }
            if let Ok(key) = SecretKey::from_slice(&scalar) {
                return Self(key);
            }
        }
    }

    /// x and y (RFC 5903 §7).
    pub(super) fn public(&self) -> Vec<u8> {
        let point = self.0.public_key().to_sec1_point(false);
        point.as_bytes().iter().skip(1).copied().collect()
    }

    /// x of the common point (RFC 5903 §7, §9); `None` if `peer` is no point of the curve.
    pub(super) fn agree(&self, peer: &[u8]) -> Option<Secret> {
        let mut point = Vec::with_capacity(1 + peer.len());
        point.push(UNCOMPRESSED);
        point.extend_from_slice(peer);
        let peer = PublicKey::from_sec1_bytes(&point).ok()?;
        Some(Secret::new(self.0.diffie_hellman(&peer).raw_secret_bytes().to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::tests::hex;

    /// One example of RFC 5903 section 8.
    fn check<C: EcpCurve>(i: &str, g_i: [&str; 2], r: &str, g_r: [&str; 2], girx: &str) {
        let private = |scalar| EcpPrivate::<C>(SecretKey::from_slice(&hex(scalar)).unwrap());
        let (i, r) = (private(i), private(r));
        assert_eq!(i.public(), hex(&g_i.concat()));
        assert_eq!(r.public(), hex(&g_r.concat()));
        assert_eq!(i.agree(&r.public()).unwrap().octets(), hex(girx));
        assert_eq!(r.agree(&i.public()).unwrap().octets(), hex(girx));
    }

    #[test]
    fn rfc_5903_section_8_1() {
        check::<P256>(
            "c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433",
            [
                "dad0b65394221cf9b051e1feca5787d098dfe637fc90b9ef945d0c3772581180",
                "5271a0461cdb8252d61f1c456fa3e59ab1f45b33accf5f58389e0577b8990bb3",
            ],
            "c6ef9c5d78ae012a011164acb397ce2088685d8f06bf9be0b283ab46476bee53",
            [
                "d12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf63",
                "56fbf3ca366cc23e8157854c13c58d6aac23f046ada30f8353e74f33039872ab",
            ],
            "d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de",
        );
    }

    #[test]
    fn rfc_5903_section_8_2() {
        check::<P384>(
            "099f3c7034d4a2c699884d73a375a67f7624ef7c6b3c0f160647b67414dce655e35b538041e649ee3faef896783ab194",
            [
                "667842d7d180ac2cde6f74f37551f55755c7645c20ef73e31634fe72b4c55ee6de3ac808acb4bdb4c88732aee95f41aa",
                "9482ed1fc0eeb9cafc4984625ccfc23f65032149e0e144ada024181535a0f38eeb9fcff3c2c947dae69b4c634573a81c",
            ],
            "41cb0779b4bdb85d47846725fbec3c9430fab46cc8dc5060855cc9bda0aa2942e0308312916b8ed2960e4bd55a7448fc",
            [
                "e558dbef53eecde3d3fccfc1aea08a89a987475d12fd950d83cfa41732bc509d0d1ac43a0336def96fda41d0774a3571",
                "dcfbec7aacf3196472169e838430367f66eebe3c6e70c416dd5f0c68759dd1fff83fa40142209dff5eaad96db9e6386c",
            ],
            "11187331c279962d93d604243fd592cb9d0a926f422e47187521287e7156c5c4d603135569b9e9d09cf5d4a270f59746",
        );
    }

    #[test]
    fn rfc_5903_section_8_3() {
        check::<P521>(
            "0037ade9319a89f4dabdb3ef411aaccca5123c61acab57b5393dce47608172a095aa85a30fe1c2952c6771d9\
                37ba9777f5957b2639bab072462f68c27a57382d4a52",
            [
                "0015417e84dbf28c0ad3c278713349dc7df153c897a1891bd98bab4357c9ecbee1e3bf42e00b8e380aeae57c\
                2d107564941885942af5a7f4601723c4195d176ced3e",
                "017cae20b6641d2eeb695786d8c946146239d099e18e1d5a514c739d7cb4a10ad8a788015ac405d7799dc75e\
                7b7d5b6cf2261a6a7f1507438bf01beb6ca3926f9582",
            ],
            "0145ba99a847af43793fdd0e872e7cdfa16be30fdc780f97bccc3f078380201e9c677d600b343757a3bdbf2a\
                3163e4c2f869cca7458aa4a4effc311f5cb151685eb9",
            [
                "00d0b3975ac4b799f5bea16d5e13e9af971d5e9b984c9f39728b5e5739735a219b97c356436adc6e95bb0352\
                f6be64a6c2912d4ef2d0433ced2b6171640012d9460f",
                "015c68226383956e3bd066e797b623c27ce0eac2f551a10c2c724d9852077b87220b6536c5c408a1d2aebb8e\
                86d678ae49cb57091f4732296579ab44fcd17f0fc56a",
            ],
            "01144c7d79ae6956bc8edb8e7c787c4521cb086fa64407f97894e5e6b2d79b04d1427e73ca4baa240a347868\
                59810c06b3c715a3a8cc3151f2bee417996d19f3ddea",
        );
    }

    fn refuses_what_is_not_on_the_curve<C: EcpCurve>() {
        let ours = EcpPrivate::<C>::generate(&crate::crypto::tests::Seeded::provider(6));
        let good = ours.public();
        assert!(ours.agree(&good).is_some());
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(ours.agree(&bad).is_none(), "octet {at}");
        }
        assert!(ours.agree(&vec![0; 2 * C::LEN]).is_none());
        assert!(ours.agree(&vec![0xff; 2 * C::LEN]).is_none());
        assert!(ours.agree(&good[..C::LEN]).is_none(), "x alone");
        assert!(ours.agree(&[]).is_none());
    }

    #[test]
    fn points_off_the_curve_are_refused() {
        refuses_what_is_not_on_the_curve::<P256>();
        refuses_what_is_not_on_the_curve::<P384>();
        refuses_what_is_not_on_the_curve::<P521>();
    }
}
