//! The attributes that hold algorithms and keys (`struct xfrm_algo`, `xfrm_algo_auth`,
//! `xfrm_algo_aead`).

use super::{Attribute, Fields, Writer};
use crate::algorithm::{Aead, AlgorithmName, Encryption, Integrity, Key, Protection};
use crate::error::Malformed;
use crate::sa::IpsecProtocol;

const XFRMA_ALG_CRYPT: u16 = 2;
const XFRMA_ALG_AEAD: u16 = 18;
/// The older `XFRMA_ALG_AUTH` tells no length, which then is the kernel's and not the standard's. It
/// comes beside this one in what the kernel sends.
const XFRMA_ALG_AUTH_TRUNC: u16 = 20;

pub(crate) fn write_protection(w: &mut Writer, protection: &Protection) {
    match protection {
        Protection::Aead(Aead { name, icv_bits }, key) => {
            w.attribute(XFRMA_ALG_AEAD, |w| write_algorithm(w, name, key, Some(*icv_bits)));
        }
        Protection::Separate(Encryption { name }, key, integrity) => {
            w.attribute(XFRMA_ALG_CRYPT, |w| write_algorithm(w, name, key, None));
            if let Some((integrity, key)) = integrity {
                write_integrity(w, integrity, key);
            }
        }
        Protection::Integrity(integrity, key) => write_integrity(w, integrity, key),
    }
}

fn write_integrity(w: &mut Writer, integrity: &Integrity, key: &Key) {
    let Integrity { name, truncated_bits } = integrity;
    w.attribute(XFRMA_ALG_AUTH_TRUNC, |w| write_algorithm(w, name, key, Some(*truncated_bits)));
}

/// Name, key length in bits, length of the integrity check value in bits where it has one, key.
fn write_algorithm(w: &mut Writer, name: &AlgorithmName, key: &Key, icv_bits: Option<u32>) {
    w.bytes(&name.0);
    w.u32(key.bits());
    if let Some(bits) = icv_bits {
        w.u32(bits);
    }
    w.bytes(key.octets());
}

/// Gathers an SA's algorithms from its attributes.
#[derive(Default)]
pub(crate) struct ProtectionReader {
    aead: Option<(Aead, Key)>,
    encryption: Option<(Encryption, Key)>,
    integrity: Option<(Integrity, Key)>,
}

impl ProtectionReader {
    /// Takes an attribute if it is one of an algorithm.
    pub(crate) fn take(&mut self, attribute: &Attribute<'_>) -> Result<(), Malformed> {
        let mut fields = Fields(attribute.value);
        match attribute.kind {
            XFRMA_ALG_AEAD => {
                let (name, key_bits, icv_bits) = (name(&mut fields)?, fields.u32()?, fields.u32()?);
                self.aead = Some((Aead { name, icv_bits }, key(&mut fields, key_bits)?));
            }
            XFRMA_ALG_CRYPT => {
                let (name, key_bits) = (name(&mut fields)?, fields.u32()?);
                self.encryption = Some((Encryption { name }, key(&mut fields, key_bits)?));
            }
            XFRMA_ALG_AUTH_TRUNC => {
                let (name, key_bits, truncated_bits) = (name(&mut fields)?, fields.u32()?, fields.u32()?);
                self.integrity = Some((Integrity { name, truncated_bits }, key(&mut fields, key_bits)?));
            }
            _ => {} // no algorithm
        }
        Ok(())
    }

    /// `None`: there was none, or one of those that are not installed here (IPComp).
    pub(crate) fn finish(self, protocol: IpsecProtocol) -> Option<Protection> {
        match (self.aead, self.encryption, self.integrity) {
            (Some((aead, key)), ..) => Some(Protection::Aead(aead, key)),
            (None, Some((encryption, key)), integrity) => {
                Some(Protection::Separate(encryption, key, integrity))
            }
            (None, None, Some((integrity, key))) if protocol == IpsecProtocol::AH => {
                Some(Protection::Integrity(integrity, key))
            }
            _ => None,
        }
    }
}

fn name(fields: &mut Fields<'_>) -> Result<AlgorithmName, Malformed> {
    Ok(AlgorithmName(fields.array()?))
}

fn key(fields: &mut Fields<'_>, bits: u32) -> Result<Key, Malformed> {
    let length = usize::try_from(bits.div_ceil(8)).map_err(|_| Malformed("a key length"))?;
    Key::new(fields.take(length)?).map_err(|_| Malformed("a key of at most 512 octets"))
}
