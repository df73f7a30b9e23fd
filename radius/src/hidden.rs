//! Keys hidden in attributes: MS-MPPE-Send-Key and MS-MPPE-Recv-Key (RFC 2548 §2.4.2, §2.4.3), in which a server hands
//! over what EAP has made.

use zeroize::Zeroizing;

use crate::authenticator::digest;
use crate::packet::Packet;
use crate::registry::{Vendor, microsoft};

const BLOCK: usize = 16;
const SALT_LEN: usize = 2;

/// Octets of each half of a Master Session Key.
const HALF: usize = 32;

/// The Master Session Key that an Access-Accept hands over: what the peer sends with, then what it receives with, each
/// as they were cut from it (RFC 5247 §3.7 has the receiving key first). A shorter one is filled up with zeros to the 64
/// octets that RFC 3748 §7.10 asks for, as the methods that make less do.
///
/// `None` without both keys. Those that cannot be read are none.
#[must_use]
pub fn master_session_key(
    accept: &Packet<'_>,
    request: &[u8; 16],
    secret: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let key = |kind| {
        let mut all = accept.vendor(Vendor::MICROSOFT, kind);
        all.next().and_then(|value| reveal(value, request, secret))
    };
    let (receive, send) = (key(microsoft::MPPE_RECV_KEY)?, key(microsoft::MPPE_SEND_KEY)?);
    let mut msk = Zeroizing::new(Vec::with_capacity(4 * HALF));
    msk.extend_from_slice(&receive);
    msk.extend_from_slice(&send);
    if msk.len() < 2 * HALF {
        msk.resize(2 * HALF, 0);
    }
    Some(msk)
}

/// The values of MS-MPPE-Recv-Key and MS-MPPE-Send-Key that hand over a Master Session Key. The salts are set apart by
/// us.
#[must_use]
pub fn halves(msk: &[u8], salt: [u8; 2], request: &[u8; 16], secret: &[u8]) -> [Vec<u8>; 2] {
    let (receive, send) = msk.split_at(msk.len().min(HALF));
    let send = send.get(..HALF).unwrap_or(send);
    // The most significant bit must be set, and no salt be used twice in a packet.
    let [high, low] = salt;
    let salts = [[high | 0x80, low & 0xfe], [high | 0x80, low | 1]];
    let [first, second] = salts;
    [hide(receive, first, request, secret), hide(send, second, request, secret)]
}

/// Salt and ciphertext of a key of at most 255 octets.
fn hide(key: &[u8], salt: [u8; 2], request: &[u8; 16], secret: &[u8]) -> Vec<u8> {
    let length = u8::try_from(key.len()).unwrap_or(u8::MAX);
    let mut plaintext = Zeroizing::new(Vec::with_capacity(key.len() + BLOCK));
    plaintext.push(length);
    plaintext.extend(key.iter().take(length.into()));
    let padded = plaintext.len().next_multiple_of(BLOCK);
    plaintext.resize(padded, 0);
    let mut hidden = salt.to_vec();
    let mut pad = digest(&[secret, request, &salt]);
    for block in plaintext.chunks(BLOCK) {
        let ciphertext: Vec<u8> = block.iter().zip(pad).map(|(octet, pad)| octet ^ pad).collect();
        pad = digest(&[secret, &ciphertext]);
        hidden.extend(ciphertext);
    }
    hidden
}

/// The key in an attribute's value. `None` if it is no such value, or was made with another secret.
fn reveal(value: &[u8], request: &[u8; 16], secret: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (salt, ciphertext) = value.split_first_chunk::<SALT_LEN>()?;
    if ciphertext.is_empty() || ciphertext.len() % BLOCK != 0 {
        return None;
    }
    let mut plaintext = Zeroizing::new(Vec::with_capacity(ciphertext.len()));
    let mut pad = digest(&[secret, request, salt]);
    for block in ciphertext.chunks(BLOCK) {
        plaintext.extend(block.iter().zip(pad).map(|(octet, pad)| octet ^ pad));
        pad = digest(&[secret, block]);
    }
    let (length, rest) = plaintext.split_first()?;
    rest.get(..usize::from(*length)).filter(|key| !key.is_empty()).map(|key| Zeroizing::new(key.to_vec()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::draft::Draft;
    use crate::registry::Code;

    const REQUEST: &[u8; 16] = &[0x17; 16];

    fn accept(halves: [Vec<u8>; 2]) -> Vec<u8> {
        let mut draft = Draft::new(Code::ACCESS_ACCEPT);
        let [receive, send] = halves;
        draft.add_vendor(Vendor::MICROSOFT, microsoft::MPPE_SEND_KEY, &send);
        draft.add_vendor(Vendor::MICROSOFT, microsoft::MPPE_RECV_KEY, &receive);
        draft.into_request(1, REQUEST, b"secret").unwrap().to_vec()
    }

    #[test]
    fn a_key_comes_back_as_it_was_handed_over() {
        let msk: Vec<u8> = (0..64).collect();
        let packet = accept(halves(&msk, [1, 2], REQUEST, b"secret"));
        let packet = Packet::decode(&packet).unwrap();
        assert_eq!(*master_session_key(&packet, REQUEST, b"secret").unwrap(), msk);
        let other = master_session_key(&packet, REQUEST, b"another");
        assert!(other.is_none_or(|key| *key != msk));
    }

    #[test]
    fn short_keys_are_filled_up_behind_both_halves() {
        let request = REQUEST;
        let short = [hide(&[1; 16], [0x80, 1], request, b"s"), hide(&[2; 16], [0x80, 2], request, b"s")];
        let packet = accept(short);
        let msk = master_session_key(&Packet::decode(&packet).unwrap(), request, b"s").unwrap();
        assert_eq!(*msk, [vec![1; 16], vec![2; 16], vec![0; 32]].concat());
    }

    #[test]
    fn half_a_key_is_none() {
        let mut draft = Draft::new(Code::ACCESS_ACCEPT);
        draft.add_vendor(
            Vendor::MICROSOFT,
            microsoft::MPPE_SEND_KEY,
            &hide(&[1; 32], [0x80, 1], REQUEST, b"s"),
        );
        let packet = draft.into_request(1, REQUEST, b"s").unwrap();
        assert!(master_session_key(&Packet::decode(&packet).unwrap(), REQUEST, b"s").is_none());
    }

    #[test]
    fn what_is_no_hidden_key_is_none() {
        for value in [&[][..], &[0x80], &[0x80, 1], &[0x80, 1, 7], &[0x80; 17], &[0x80; 33]] {
            assert!(reveal(value, REQUEST, b"secret").is_none(), "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn any_value_is_survived(value in proptest::collection::vec(any::<u8>(), 0..253)) {
            drop(reveal(&value, REQUEST, b"secret"));
        }

        #[test]
        fn keys_of_any_length_come_back(key in proptest::collection::vec(any::<u8>(), 1..200)) {
            let hidden = hide(&key, [0x80, 7], REQUEST, b"secret");
            prop_assert_eq!(&*reveal(&hidden, REQUEST, b"secret").unwrap(), &key);
        }
    }
}
