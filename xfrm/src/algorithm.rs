//! The kernel's names for ESP algorithms, and the keys that go with them.

use zeroize::Zeroizing;

use crate::message::Writer;

/// Octets of an algorithm name in the kernel's structs.
const NAME_LENGTH: usize = 64;

/// ENCR_AES_GCM_16 (RFC 4106) as the kernel calls it: the key is followed by four octets of salt.
pub(crate) const AES_GCM_16: Aead = Aead { name: "rfc4106(gcm(aes))", icv_bits: 128 };

/// A combined-mode cipher.
#[derive(Clone, Copy)]
pub(crate) struct Aead {
    /// Exactly the kernel's spelling; shorter than 64 octets.
    name: &'static str,
    icv_bits: u32,
}

impl Aead {
    /// Writes `struct xfrm_algo_aead`: name, key length in bits, ICV length in bits, key.
    pub(crate) fn write(&self, w: &mut Writer, key: &Key) {
        w.bytes(self.name.as_bytes());
        w.zeros(NAME_LENGTH.saturating_sub(self.name.len()));
        w.u32(key.bits());
        w.u32(self.icv_bits);
        w.bytes(&key.0);
    }
}

/// Key material on its way to the kernel, salt included. Wiped on drop.
pub(crate) struct Key(Zeroizing<Vec<u8>>);

impl Key {
    pub(crate) fn new(octets: &[u8]) -> Self {
        Self(Zeroizing::new(octets.to_vec()))
    }

    fn bits(&self) -> u32 {
        u32::try_from(self.0.len() * 8).expect("keys are tens of octets long")
    }
}
