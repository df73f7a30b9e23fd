//! EAP-MSCHAPv2 (draft-kamath-pppext-eap-mschapv2): MS-CHAP-V2 (RFC 2759) in EAP.
//!
//! ```text
//! server  1 | ID | MS-Length | 16 | challenge | server's name
//! client  2 | ID | MS-Length | 49 | challenge, 8 zeros, NT-Response, flags | user's name
//! server  3 | ID | MS-Length | "S=<40 hexadecimal digits> M=<text>"          client 3
//!    or   4 | ID | MS-Length | "E=691 R=0 C=<32 hexadecimal digits> V=3 M=…" client 4
//! ```
//!
//! There is one try: a server that offers another after a failure (`R=1`) is answered with the end of the
//! conversation, as nobody is there to be asked for another password.

mod keys;

use tracing::info;

use self::keys::{Exchange, NtHash, is_equal};
use super::identity::{self, is_same_user};
use super::{Context, Reaction, Verdict, printable};
use crate::crypto::Secret;
use crate::identity::Identity;

const CHALLENGE: u8 = 1;
const RESPONSE: u8 = 2;
const SUCCESS: u8 = 3;
const FAILURE: u8 = 4;

/// Octets of a response's value: peer's challenge, reserved, NT-Response, flags.
const RESPONSE_LEN: u8 = 49;
/// RFC 2759 §6: ERROR_AUTHENTICATION_FAILURE.
const AUTHENTICATION_FAILURE: &str = "E=691";

/// The server's part.
pub(super) struct Server {
    challenge: [u8; 16],
    /// MS-CHAPv2-ID of our challenge.
    id: u8,
    stage: ServerStage,
}

enum ServerStage {
    Challenged,
    /// The client was right: it is told, and shown that we know its password too.
    Succeeded {
        msk: Secret,
        user: Identity,
    },
    /// It was not.
    Failed(String),
}

impl Server {
    pub(super) fn begin(id: u8, server: &Identity, cx: &Context<'_>) -> (Self, Vec<u8>) {
        let challenge: [u8; 16] = cx.random();
        let value = [&[16], challenge.as_slice(), &identity::octets(server)].concat();
        (Self { challenge, id, stage: ServerStage::Challenged }, message(CHALLENGE, id, &value))
    }

    pub(super) fn handle(
        &mut self,
        response: &[u8],
        client: Option<&Identity>,
        server: &Identity,
        cx: &Context<'_>,
    ) -> Verdict {
        let code = response.first().copied();
        match std::mem::replace(&mut self.stage, ServerStage::Challenged) {
            ServerStage::Challenged if code == Some(RESPONSE) => self.judge(response, client, server, cx),
            ServerStage::Succeeded { msk, user } if code == Some(SUCCESS) => {
                Verdict::Accepted { msk: Some(msk), named: Some(user) }
            }
            ServerStage::Failed(reason) => Verdict::Refused(reason),
            ServerStage::Challenged => Verdict::Refused("the EAP-MSCHAPv2 response is malformed".into()),
            ServerStage::Succeeded { .. } => {
                Verdict::Refused("the client does not believe that we know its password".into())
            }
        }
    }

    fn judge(
        &mut self,
        response: &[u8],
        client: Option<&Identity>,
        server: &Identity,
        cx: &Context<'_>,
    ) -> Verdict {
        let Some(response) = Response::decode(response).filter(|response| response.id == self.id) else {
            return Verdict::Refused("the EAP-MSCHAPv2 response is malformed".into());
        };
        let result = self.verify(&response, client, server, cx);
        let (code, text) = match result {
            Ok((msk, user, proof)) => {
                self.stage = ServerStage::Succeeded { msk, user };
                (SUCCESS, format!("S={} M=Welcome", hexadecimal(&proof)))
            }
            Err(reason) => {
                info!(target: "ike", "{reason}"); // the client may be gone before EAP-Failure says so
                self.stage = ServerStage::Failed(reason);
                let challenge = hexadecimal(&cx.random::<16>());
                (FAILURE, format!("{AUTHENTICATION_FAILURE} R=0 C={challenge} V=3 M=Authentication failed"))
            }
        };
        Verdict::Ask(message(code, self.id, text.as_bytes()))
    }

    fn verify(
        &self,
        response: &Response<'_>,
        client: Option<&Identity>,
        server: &Identity,
        cx: &Context<'_>,
    ) -> Result<(Secret, Identity, [u8; 20]), String> {
        let user = identity::parse(response.user)
            .ok_or_else(|| format!("'{}' in EAP-MSCHAPv2 is no user's name", printable(response.user)))?;
        // What is proven is the name in here: it must not be another's than the one connections were chosen by.
        if let Some(client) = client.filter(|client| !is_same_user(client, &user)) {
            return Err(format!("EAP-MSCHAPv2 is for '{user}', the EAP identity is '{client}'"));
        }
        let client = client.unwrap_or(&user);
        let hash = nt_hash(client, server, cx).ok_or_else(|| format!("no EAP key found for '{client}'"))?;
        let exchange = Exchange {
            authenticator_challenge: &self.challenge,
            peer_challenge: response.peer_challenge,
            user: response.user,
        };
        if !is_equal(&hash.nt_response(&exchange), response.nt_response) {
            return Err(format!("EAP-MSCHAPv2 verification of '{user}' failed"));
        }
        let proof = hash.authenticator_response(response.nt_response, &exchange);
        Ok((hash.msk(response.nt_response), user, proof))
    }
}

/// The client's part, once it has answered the challenge.
pub(super) struct Client {
    hash: NtHash,
    nt_response: [u8; 24],
    /// What the server must answer.
    proof: [u8; 20],
}

impl Client {
    /// Answers the challenge.
    pub(super) fn begin(
        request: &[u8],
        client: &Identity,
        server: &Identity,
        cx: &Context<'_>,
    ) -> Result<(Self, Reaction), String> {
        let (id, challenge) = challenge(request).ok_or("the EAP-MSCHAPv2 challenge is malformed")?;
        let hash = nt_hash(client, server, cx)
            .ok_or_else(|| format!("no EAP key found for '{client}' - '{server}'"))?;
        let peer_challenge: [u8; 16] = cx.random();
        let user = identity::octets(client);
        let exchange =
            Exchange { authenticator_challenge: challenge, peer_challenge: &peer_challenge, user: &user };
        let nt_response = hash.nt_response(&exchange);
        let proof = hash.authenticator_response(&nt_response, &exchange);
        let value = [&[RESPONSE_LEN], peer_challenge.as_slice(), &[0; 8], &nt_response, &[0], &user].concat();
        let reaction = Reaction::Answer(message(RESPONSE, id, &value).into());
        Ok((Self { hash, nt_response, proof }, reaction))
    }

    /// Takes what the server says of the answer.
    pub(super) fn handle(&self, request: &[u8]) -> Reaction {
        match (request.first().copied(), body(request)) {
            (Some(SUCCESS), Some(text)) => {
                // RFC 2759 §5: the server must know the password too.
                if !proof(text).is_some_and(|proof| is_equal(&proof, &self.proof)) {
                    return Reaction::Abort("the server does not know our EAP-MSCHAPv2 password".into());
                }
                let msk = Some(self.hash.msk(&self.nt_response));
                Reaction::Conclude { data: vec![SUCCESS].into(), msk }
            }
            (Some(FAILURE), Some(text)) => Reaction::Fail {
                data: vec![FAILURE].into(),
                reason: format!("EAP-MSCHAPv2 failed, the server says '{}'", printable(text)),
            },
            _ => Reaction::Abort("the EAP-MSCHAPv2 request is malformed".into()),
        }
    }
}

/// The NT hash of a user: of its password, or known as such.
fn nt_hash(client: &Identity, server: &Identity, cx: &Context<'_>) -> Option<NtHash> {
    let find = |client: &Identity| {
        let password = cx.passwords.password(client, server).map(NtHash::of_password);
        password.or_else(|| NtHash::of_hash(cx.passwords.nt_hash(client, server)?))
    };
    // Windows puts its domain in front, and secrets are for users.
    let user = identity::octets(client);
    let bare = identity::without_domain(&user);
    find(client).or_else(|| find(&identity::parse(bare).filter(|_| bare.len() < user.len())?))
}

/// A response's fields.
struct Response<'a> {
    id: u8,
    peer_challenge: &'a [u8; 16],
    nt_response: &'a [u8; 24],
    user: &'a [u8],
}

impl<'a> Response<'a> {
    fn decode(data: &'a [u8]) -> Option<Self> {
        let (&length, rest) = body(data)?.split_first()?;
        if length != RESPONSE_LEN {
            return None;
        }
        let (peer_challenge, rest) = rest.split_first_chunk()?;
        let (_reserved, rest) = rest.split_first_chunk::<8>()?;
        let (nt_response, rest) = rest.split_first_chunk()?;
        let (_flags, user) = rest.split_first()?;
        Some(Self { id: *data.get(1)?, peer_challenge, nt_response, user })
    }
}

/// ID and value of a challenge.
fn challenge(data: &[u8]) -> Option<(u8, &[u8; 16])> {
    if data.first() != Some(&CHALLENGE) {
        return None;
    }
    let (&length, rest) = body(data)?.split_first()?;
    (length == 16).then_some(())?;
    Some((*data.get(1)?, rest.first_chunk()?))
}

/// What is behind code, ID and MS-Length. The EAP packet's length counts, as MS-Length is wrong with some.
fn body(data: &[u8]) -> Option<&[u8]> {
    data.get(4..)
}

fn message(code: u8, id: u8, body: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(body.len() + 4).unwrap_or(u16::MAX).to_be_bytes();
    [&[code, id, high, low], body].concat()
}

fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02X}")).collect()
}

/// The authenticator's response in the text of a success.
fn proof(text: &[u8]) -> Option<[u8; 20]> {
    let digits = text.strip_prefix(b"S=")?.first_chunk::<40>()?;
    let mut proof = [0; 20];
    for (octet, pair) in proof.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        *octet = u8::from_str_radix(pair, 16).ok().filter(|_| !pair.starts_with('+'))?;
    }
    Some(proof)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::tests::hex;

    /// A conversation between eapol_test and hostapd 2.10.
    #[test]
    fn reads_what_others_write() {
        let request = hex("01 95 001c 10 f4532b0eb05e5827392a6a804837d228 686f7374617064");
        let (id, value) = challenge(&request).unwrap();
        assert_eq!((id, value.to_vec()), (0x95, hex("f4532b0eb05e5827392a6a804837d228")));
        let response = hex("02 95 0039 31 8ea4b7596c3c69b835f53f45c921e909 0000000000000000 \
             806ae247eb7bd163e59afee36e9ed9912d4b4a724ddea195 00 626f62");
        let response = Response::decode(&response).unwrap();
        assert_eq!((response.id, response.user), (0x95, b"bob".as_slice()));
        assert_eq!(response.nt_response.to_vec(), hex("806ae247eb7bd163e59afee36e9ed9912d4b4a724ddea195"));
        let text = b"S=0836A9F3E1641F48E238AA53D63922D4A7EFD4E5 M=OK";
        assert_eq!(proof(text).unwrap().to_vec(), hex("0836a9f3e1641f48e238aa53d63922d4a7efd4e5"));
    }

    #[test]
    fn what_is_too_short_is_nothing() {
        let full = message(RESPONSE, 1, &[[RESPONSE_LEN].as_slice(), &[0; 49]].concat());
        assert!(Response::decode(&full).is_some_and(|response| response.user.is_empty()));
        for length in 0..full.len() {
            assert!(Response::decode(&full[..length]).is_none());
        }
        let full = message(CHALLENGE, 1, &[[16].as_slice(), &[0; 16]].concat());
        assert!(challenge(&full).is_some());
        for length in 0..full.len() {
            assert!(challenge(&full[..length]).is_none());
        }
        assert_eq!(proof(b"S=+836A9F3E1641F48E238AA53D63922D4A7EFD4E5"), None);
        assert_eq!(proof(b"S=0836"), None);
    }
}
