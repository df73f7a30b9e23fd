//! MD5-Challenge (RFC 3748 §5.4): CHAP (RFC 1994) in EAP. It proves the client alone and makes no key.
//!
//! ```text
//! Value-Size (1) | Value | Name
//! response's value = MD5(identifier | password | request's value)
//! ```

use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

use super::{Context, Reaction, Verdict};
use crate::crypto::Secret;
use crate::identity::Identity;

const VALUE_LEN: u8 = 16;

/// The server's part: the challenge that is out.
pub(super) struct Server {
    challenge: [u8; 16],
}

impl Server {
    pub(super) fn begin(cx: &Context<'_>) -> (Self, Vec<u8>) {
        let challenge = cx.random();
        (Self { challenge }, data(&challenge))
    }

    /// `identifier` is the request's.
    pub(super) fn handle(
        self,
        response: &[u8],
        identifier: u8,
        client: &Identity,
        server: &Identity,
        cx: &Context<'_>,
    ) -> Verdict {
        let Some(value) = value(response).filter(|value| value.len() == usize::from(VALUE_LEN)) else {
            return Verdict::Refused("the EAP-MD5 response has no value of 16 octets".into());
        };
        let Some(password) = cx.passwords.password(client, server) else {
            return Verdict::Refused(format!("no EAP key found for '{client}'"));
        };
        if digest(identifier, password, &self.challenge).ct_eq(value).into() {
            Verdict::Accepted { msk: None, named: None }
        } else {
            Verdict::Refused(format!("EAP-MD5 verification of '{client}' failed"))
        }
    }
}

/// The client's whole part.
pub(super) fn answer(
    request: &[u8],
    identifier: u8,
    client: &Identity,
    server: &Identity,
    cx: &Context<'_>,
) -> Reaction {
    let Some(challenge) = value(request).filter(|value| !value.is_empty()) else {
        return Reaction::Abort("the EAP-MD5 request has no challenge".into());
    };
    match cx.passwords.password(client, server) {
        Some(password) => {
            let data = data(&digest(identifier, password, challenge)).into();
            Reaction::Conclude { data, msk: None }
        }
        None => Reaction::Abort(format!("no EAP key found for '{client}' - '{server}'")),
    }
}

fn data(value: &[u8; 16]) -> Vec<u8> {
    [&[VALUE_LEN], value.as_slice()].concat()
}

/// The value; the name behind it tells nothing that was proven.
fn value(data: &[u8]) -> Option<&[u8]> {
    let (length, rest) = data.split_first()?;
    rest.get(..usize::from(*length))
}

fn digest(identifier: u8, password: &Secret, challenge: &[u8]) -> [u8; 16] {
    let md5 = Md5::new().chain_update([identifier]);
    md5.chain_update(password.octets()).chain_update(challenge).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::tests::hex;

    /// A conversation between eapol_test and hostapd 2.10.
    #[test]
    fn agrees_with_another_implementation() {
        let request = hex("10 9a6e579de216ad610f7e659ba5eb9ade");
        let password = Secret::new(b"carols password".to_vec());
        let response = data(&digest(0xec, &password, value(&request).unwrap()));
        assert_eq!(response, hex("10 59a60f0b7c976f4747c94644ea35b249"));
    }

    #[test]
    fn a_value_must_be_there_completely() {
        assert_eq!(value(&[]), None);
        assert_eq!(value(&[2, 1]), None);
        assert_eq!(value(&[0]), Some(&[][..]));
        assert_eq!(value(&[1, 7, b'n']), Some(&[7][..]));
    }
}
