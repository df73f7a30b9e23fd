//! EAP-PSK (RFC 4764): both ends prove that they have a key of 16 octets, and that they mean it, in four messages.
//!
//! ```text
//! server  Flags=0x00 | RAND_S | ID_S
//! client  Flags=0x40 | RAND_S | RAND_P | MAC_P | ID_P
//! server  Flags=0x80 | RAND_S | MAC_S | PCHANNEL(nonce 0, DONE_SUCCESS)
//! client  Flags=0xc0 | RAND_S | PCHANNEL(nonce 1, DONE_SUCCESS)
//! ```
//!
//! RFC 4764 §4.1 has messages that are not valid discarded in silence, because on a link anybody may have written
//! them. Inside IKE_AUTH only the peer can, and nothing else would follow: the conversation ends.

mod keys;

use self::keys::{Keys, SessionKeys, Told};
use super::packet::{HEADER_LEN, header};
use super::{Context, Reaction, Verdict, identity, printable};
use crate::identity::Identity;
use crate::wire::registry::{EapCode, EapType};

/// The T subfield of Flags (RFC 4764 §5.1), in its place.
const FIRST: u8 = 0x00;
const SECOND: u8 = 0x40;
const THIRD: u8 = 0x80;
const FOURTH: u8 = 0xc0;
const T_MASK: u8 = 0xc0;

/// The longest name (RFC 4764 §5.1).
const LONGEST_NAME: usize = 966;

/// Octets of the protected channel in front of its payload: nonce and tag.
const CHANNEL_LEN: usize = 20;

/// R: what an end thinks of the conversation (RFC 4764 §6.1), in its place.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Indication(u8);

impl Indication {
    const CONT: Self = Self(0x40);
    const DONE_SUCCESS: Self = Self(0x80);
    const DONE_FAILURE: Self = Self(0xc0);
    const MASK: u8 = 0xc0;
}

/// E: an extension follows.
const EXTENDED: u8 = 0x20;

/// The server's part.
pub(super) struct Server {
    rand_s: [u8; 16],
    stage: ServerStage,
}

enum ServerStage {
    /// The first message is out.
    Asked,
    /// The third is, to a client that has proven who it is.
    Proven(Box<(SessionKeys, Identity)>),
}

impl Server {
    pub(super) fn begin(server: &Identity, cx: &Context<'_>) -> (Self, Vec<u8>) {
        let rand_s: [u8; 16] = cx.random();
        let data = [&[FIRST], rand_s.as_slice(), &identity::octets(server)].concat();
        (Self { rand_s, stage: ServerStage::Asked }, data)
    }

    /// `identifier` is that of the next request; `packet` is the whole response.
    pub(super) fn handle(
        self,
        packet: &[u8],
        identifier: u8,
        client: Option<&Identity>,
        server: &Identity,
        cx: &Context<'_>,
    ) -> Result<(Self, Verdict), String> {
        let Some(message) = Message::decode(packet).filter(|message| *message.rand_s == self.rand_s) else {
            return Err("the EAP-PSK response is malformed, or of another session".into());
        };
        match self.stage {
            ServerStage::Asked if message.t == SECOND => {
                let (session, named, data) = answer_second(&message, identifier, client, server, cx)?;
                let stage = ServerStage::Proven(Box::new((session, named)));
                Ok((Self { stage, ..self }, Verdict::Ask(data)))
            }
            ServerStage::Proven(proven) if message.t == FOURTH => {
                let (session, named) = *proven;
                let channel = Channel::open(&message, message.rest, 1, &session)?;
                if channel.result != Indication::DONE_SUCCESS {
                    return Err(format!("'{named}' does not end EAP-PSK with success"));
                }
                let verdict = Verdict::Accepted { msk: Some(session.msk), named: Some(named) };
                Ok((Self { stage: ServerStage::Asked, ..self }, verdict))
            }
            _ => Err("the EAP-PSK response is out of its turn".into()),
        }
    }
}

/// Verifies who the client is, and makes the third message.
fn answer_second(
    message: &Message<'_>,
    identifier: u8,
    client: Option<&Identity>,
    server: &Identity,
    cx: &Context<'_>,
) -> Result<(SessionKeys, Identity, Vec<u8>), String> {
    let fields = message.rest.split_first_chunk::<16>().and_then(|(rand_p, rest)| {
        let (mac, name) = rest.split_first_chunk::<16>()?;
        Some((rand_p, mac, name))
    });
    let (rand_p, mac_p, name) = fields.ok_or("the second message of EAP-PSK is malformed")?;
    let named = identity::parse(name)
        .filter(|_| name.len() <= LONGEST_NAME)
        .ok_or_else(|| format!("'{}' in EAP-PSK is no client's name", printable(name)))?;
    if let Some(client) = client.filter(|client| named.matches(client) != Some(Identity::PERFECT)) {
        return Err(format!("EAP-PSK is for '{named}', the EAP identity is '{client}'"));
    }
    let keys = keys(&named, server, cx)?;
    let own_name = identity::octets(server);
    let told = Told { server: &own_name, client: name, rand_s: message.rand_s, rand_p };
    if !keys.is_client_mac(mac_p, &told) {
        return Err(format!("EAP-PSK verification of '{named}' failed"));
    }
    let session = keys.session(rand_p);
    let mac_s = keys.server_mac(&told);
    let channel = Channel { result: Indication::DONE_SUCCESS, extension: None };
    let data = channel.seal(EapCode::REQUEST, identifier, message.rand_s, &mac_s, 0, &session);
    Ok((session, named, data))
}

/// The client's part.
pub(super) struct Client {
    rand_s: [u8; 16],
    stage: ClientStage,
}

enum ClientStage {
    /// The second message is out.
    Proving(Box<Proving>),
    /// The server wants an extension that there is not, and may give in (RFC 4764 §6.2). The nonce is its next one.
    Extending(Box<SessionKeys>, u32),
    /// It is over.
    Done,
}

/// What the third message is checked with.
struct Proving {
    keys: Keys,
    rand_p: [u8; 16],
    server: Vec<u8>,
    client: Vec<u8>,
}

impl Client {
    /// Answers the first message. `expected` is who the server must be.
    pub(super) fn begin(
        packet: &[u8],
        client: &Identity,
        expected: &Identity,
        cx: &Context<'_>,
    ) -> Result<(Self, Reaction), String> {
        let message = Message::decode(packet).filter(|message| message.t == FIRST);
        let message = message.ok_or("the first message of EAP-PSK is malformed")?;
        let name = message.rest;
        let server = identity::parse(name)
            .filter(|_| name.len() <= LONGEST_NAME)
            .ok_or_else(|| format!("'{}' in EAP-PSK is no server's name", printable(name)))?;
        if server.matches(expected).is_none() {
            return Err(format!("the EAP-PSK server is '{server}', expected '{expected}'"));
        }
        let keys = keys(client, &server, cx)?;
        let proving =
            Proving { keys, rand_p: cx.random(), server: name.to_vec(), client: identity::octets(client) };
        let mac_p = proving.keys.client_mac(&proving.told(message.rand_s));
        let data = [&[SECOND], message.rand_s.as_slice(), &proving.rand_p, &mac_p, &proving.client].concat();
        let client = Self { rand_s: *message.rand_s, stage: ClientStage::Proving(Box::new(proving)) };
        Ok((client, Reaction::Answer(data.into())))
    }

    /// Takes the third message, and those of an extension; `packet` is the whole request.
    pub(super) fn handle(&mut self, packet: &[u8], identifier: u8) -> Result<Reaction, String> {
        let message = Message::decode(packet).filter(|message| *message.rand_s == self.rand_s);
        let message = message.ok_or("the EAP-PSK request is malformed, or of another session")?;
        let (session, channel, nonce) = match std::mem::replace(&mut self.stage, ClientStage::Done) {
            ClientStage::Proving(proving) if message.t == THIRD => {
                let (mac_s, channel) =
                    message.rest.split_first_chunk().ok_or("the third message of EAP-PSK is malformed")?;
                // RFC 4764 §4.1: first the MAC, then keys, then the tag.
                if !proving.keys.is_server_mac(mac_s, &proving.told(message.rand_s)) {
                    return Err("the EAP-PSK server does not know our key".into());
                }
                let session = proving.keys.session(&proving.rand_p);
                let channel = Channel::open(&message, channel, 0, &session)?;
                (Box::new(session), channel, 0)
            }
            ClientStage::Extending(session, nonce) if message.t == FOURTH => {
                let channel = Channel::open(&message, message.rest, nonce, &session)?;
                (session, channel, nonce)
            }
            _ => return Err("the EAP-PSK request is out of its turn".into()),
        };
        // An extension is none that we know: it is named in the answer, without a payload (RFC 4764 §6.2).
        let extension = channel.extension;
        let answer = |result| {
            let answer = Channel { result, extension };
            let code = EapCode::RESPONSE;
            answer.seal(code, identifier, message.rand_s, &[], nonce + 1, &session).into()
        };
        match channel.result {
            Indication::DONE_SUCCESS => {
                let data = answer(Indication::DONE_SUCCESS);
                Ok(Reaction::Conclude { data, msk: Some(session.msk) })
            }
            Indication::CONT if extension.is_some() && nonce == 0 => {
                let data = answer(Indication::CONT);
                self.stage = ClientStage::Extending(session, nonce + 2);
                Ok(Reaction::Answer(data))
            }
            _ => Ok(Reaction::Fail {
                data: answer(Indication::DONE_FAILURE),
                reason: "the EAP-PSK server has authenticated us and refuses us".into(),
            }),
        }
    }
}

impl Proving {
    fn told<'a>(&'a self, rand_s: &'a [u8; 16]) -> Told<'a> {
        Told { server: &self.server, client: &self.client, rand_s, rand_p: &self.rand_p }
    }
}

/// The keys of a client at a server.
fn keys(client: &Identity, server: &Identity, cx: &Context<'_>) -> Result<Keys, String> {
    let secret = cx.passwords.password(client, server);
    let secret = secret.ok_or_else(|| format!("no EAP key found for '{client}' - '{server}'"))?;
    Keys::derive(secret).ok_or_else(|| {
        format!(
            "EAP-PSK needs a secret of 16 octets, such as 0x and 32 digits; that of '{client}' has {}",
            secret.len()
        )
    })
}

/// What all messages begin with.
struct Message<'a> {
    /// From the EAP code to RAND_S: what the channel protects with its payload.
    header: &'a [u8],
    t: u8,
    rand_s: &'a [u8; 16],
    rest: &'a [u8],
}

impl<'a> Message<'a> {
    fn decode(packet: &'a [u8]) -> Option<Self> {
        let (header, rest) = packet.split_at_checked(HEADER_LEN + 1 + 16)?;
        let (flags, rand_s) = header.get(HEADER_LEN..)?.split_first()?;
        // Reserved bits are ignored (RFC 4764 §5.1).
        Some(Self { header, t: flags & T_MASK, rand_s: rand_s.first_chunk()?, rest })
    }
}

/// The payload of the protected channel (RFC 4764 §5.3).
struct Channel {
    result: Indication,
    /// The type of an extension.
    extension: Option<u8>,
}

impl Channel {
    /// `octets` are nonce, tag and payload.
    fn open(message: &Message<'_>, octets: &[u8], nonce: u32, session: &SessionKeys) -> Result<Self, String> {
        let fields = octets.split_first_chunk::<4>().and_then(|(nonce, rest)| {
            let (tag, payload) = rest.split_first_chunk::<16>()?;
            Some((u32::from_be_bytes(*nonce), tag, payload))
        });
        let (said, tag, payload) = fields.ok_or("the channel of EAP-PSK is malformed")?;
        // RFC 4764 §3.3: the nonce first, against replays.
        if said != nonce {
            return Err(format!("the channel of EAP-PSK has nonce {said}, expected {nonce}"));
        }
        let mut payload = payload.to_vec();
        if !session.tek.open(nonce, message.header, &mut payload, tag) {
            return Err("the channel of EAP-PSK is not authentic".into());
        }
        let (flags, extension) = payload.split_first().ok_or("the channel of EAP-PSK is empty")?;
        let extension = match (flags & EXTENDED != 0, extension) {
            (true, [kind, ..]) => Some(*kind),
            (false, []) => None,
            _ => return Err("the channel of EAP-PSK is malformed".into()),
        };
        Ok(Self { result: Indication(flags & Indication::MASK), extension })
    }

    /// The data of a message: Flags, RAND_S, a MAC in the third, and the channel.
    fn seal(
        &self,
        code: EapCode,
        identifier: u8,
        rand_s: &[u8; 16],
        mac: &[u8],
        nonce: u32,
        session: &SessionKeys,
    ) -> Vec<u8> {
        let t = if mac.is_empty() { FOURTH } else { THIRD };
        let mut payload = match self.extension {
            Some(kind) => vec![self.result.0 | EXTENDED, kind],
            None => vec![self.result.0],
        };
        let length = 1 + rand_s.len() + mac.len() + CHANNEL_LEN + payload.len();
        let protected =
            [&header(code, identifier, EapType::PSK, length), [t].as_slice(), rand_s.as_slice()].concat();
        let tag = session.tek.seal(nonce, &protected, &mut payload);
        [&[t], rand_s.as_slice(), mac, &nonce.to_be_bytes(), &tag, &payload].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::tests::Seeded;
    use crate::crypto::{CryptoProvider, Secret};
    use crate::eap::Passwords;
    use crate::eap::packet::with_data;

    struct Key(Secret);

    impl Passwords for Key {
        fn password(&self, _: &Identity, _: &Identity) -> Option<&Secret> {
            Some(&self.0)
        }

        fn nt_hash(&self, _: &Identity, _: &Identity) -> Option<&Secret> {
            None
        }
    }

    /// A client that has sent the second message, and what a server has to answer it with.
    fn proving() -> (Client, SessionKeys, [u8; 16]) {
        let (key, crypto): (_, CryptoProvider) = (Key(Secret::new(vec![7; 16])), Seeded::provider(1));
        let cx = Context { passwords: &key, crypto: &crypto, tls: None };
        let first = [&[FIRST; 17], b"gw".as_slice()].concat();
        let first = with_data(EapCode::REQUEST, 1, EapType::PSK, &first);
        let id = |text| Identity::parse(text).unwrap();
        let (client, _) = Client::begin(&first, &id("alice"), &id("gw"), &cx).unwrap();
        let ClientStage::Proving(proving) = &client.stage else { panic!("it does not prove") };
        let (session, mac) =
            (proving.keys.session(&proving.rand_p), proving.keys.server_mac(&proving.told(&[FIRST; 16])));
        (client, session, mac)
    }

    /// The server's `nth` message over the channel, and the client's to it.
    fn say(
        client: &mut Client,
        session: &SessionKeys,
        mac: &[u8],
        nonce: u32,
        channel: &Channel,
    ) -> Reaction {
        let id = 2 + u8::try_from(nonce).unwrap();
        let data = channel.seal(EapCode::REQUEST, id, &[FIRST; 16], mac, nonce, session);
        client.handle(&with_data(EapCode::REQUEST, id, EapType::PSK, &data), id).unwrap()
    }

    /// What the client said over the channel.
    fn said(data: &[u8], session: &SessionKeys, nonce: u32) -> Channel {
        let id = 1 + u8::try_from(nonce).unwrap();
        let packet = with_data(EapCode::RESPONSE, id, EapType::PSK, data);
        let message = Message::decode(&packet).unwrap();
        Channel::open(&message, message.rest, nonce, session).unwrap()
    }

    #[test]
    fn a_refusal_by_the_server_is_agreed_with() {
        let (mut client, session, mac) = proving();
        let refusal = Channel { result: Indication::DONE_FAILURE, extension: None };
        let Reaction::Fail { data, .. } = say(&mut client, &session, &mac, 0, &refusal) else { panic!() };
        assert!(said(&data, &session, 1).result == Indication::DONE_FAILURE);
    }

    /// RFC 4764 §6.2.
    #[test]
    fn an_extension_is_declined_and_the_rest_goes_on() {
        let (mut client, session, mac) = proving();
        let extended = |result| Channel { result, extension: Some(99) };
        let reaction = say(&mut client, &session, &mac, 0, &extended(Indication::CONT));
        let Reaction::Answer(data) = reaction else { panic!() };
        let answer = said(&data, &session, 1);
        assert!(answer.result == Indication::CONT && answer.extension == Some(99));
        let reaction = say(&mut client, &session, &[], 2, &extended(Indication::DONE_SUCCESS));
        let Reaction::Conclude { data, msk: Some(msk) } = reaction else { panic!() };
        let answer = said(&data, &session, 3);
        assert!(answer.result == Indication::DONE_SUCCESS && answer.extension == Some(99));
        assert!(msk.ct_eq(session.msk.octets()));
    }

    #[test]
    fn an_extension_that_goes_on_for_ever_fails() {
        let (mut client, session, mac) = proving();
        let cont = Channel { result: Indication::CONT, extension: Some(99) };
        assert!(matches!(say(&mut client, &session, &mac, 0, &cont), Reaction::Answer(_)));
        assert!(matches!(say(&mut client, &session, &[], 2, &cont), Reaction::Fail { .. }));
        let (mut client, session, mac) = proving();
        let cont = Channel { result: Indication::CONT, extension: None };
        assert!(matches!(say(&mut client, &session, &mac, 0, &cont), Reaction::Fail { .. }));
    }

    #[test]
    fn what_is_replayed_or_of_another_session_is_refused() {
        let (mut client, session, mac) = proving();
        let done = Channel { result: Indication::DONE_SUCCESS, extension: None };
        let mut packet = |rand_s: &[u8; 16], mac: &[u8], nonce| {
            let data = done.seal(EapCode::REQUEST, 2, rand_s, mac, nonce, &session);
            client.handle(&with_data(EapCode::REQUEST, 2, EapType::PSK, &data), 2).map(drop)
        };
        assert!(packet(&[9; 16], &mac, 0).is_err_and(|why| why.ends_with("of another session")));
        assert!(packet(&[FIRST; 16], &mac, 1).is_err_and(|why| why.contains("nonce 1, expected 0")));
        assert!(packet(&[FIRST; 16], &mac, 0).is_err_and(|why| why.ends_with("out of its turn")));
    }
}
