//! EAP (RFC 3748): the conversation inside IKE_AUTH in which a peer proves who it is to a server, sans-IO and in both
//! roles.
//!
//! [`Server`] asks and [`Client`] answers; both take whole EAP packets and give whole EAP packets, and whoever carries
//! them (IKE_AUTH, RFC 7296 §2.16) sees to loss and order. The methods are one file each; what a method concludes is
//! the only thing that counts as success, never a packet that merely says so (RFC 3748 §4.2).
//!
//! ```
//! use ferry_ike::crypto::{CryptoProvider, Secret};
//! use ferry_ike::eap::{Client, ClientStep, Method, Passwords, Server, ServerStep};
//! use ferry_ike::identity::Identity;
//! use ferry_ike::wire::Eap;
//!
//! struct One(Secret);
//!
//! impl Passwords for One {
//!     fn password(&self, _client: &Identity, _server: &Identity) -> Option<&Secret> {
//!         Some(&self.0)
//!     }
//!
//!     fn nt_hash(&self, _client: &Identity, _server: &Identity) -> Option<&Secret> {
//!         None
//!     }
//! }
//!
//! let (alice, gw) = (Identity::parse("alice").unwrap(), Identity::parse("gw.example.org").unwrap());
//! let (passwords, crypto) = (One(Secret::new(b"clientPass".to_vec())), CryptoProvider::system());
//! let mut server = Server::new(gw.clone(), alice.clone(), &crypto);
//! let mut client = Client::new(alice, gw, vec![Method::Md5, Method::MsChapV2]);
//! let mut packet = server.offer(vec![Method::MsChapV2], &crypto);
//! let msk = loop {
//!     let answer = match client.handle(&Eap::of(&packet).unwrap(), &passwords, &crypto) {
//!         ClientStep::Respond(answer) => answer,
//!         ClientStep::Concluded(conclusion) => break conclusion.msk,
//!         ClientStep::Judge { .. } => unreachable!("there are no certificates here"),
//!         ClientStep::Failed(why) | ClientStep::Ignored(why) => panic!("{why}"),
//!     };
//!     packet = match server.handle(&Eap::of(&answer).unwrap(), &passwords, &crypto) {
//!         ServerStep::Request(packet) | ServerStep::Succeeded { packet, .. } => packet,
//!         ServerStep::Identified(_) => server.offer(vec![Method::MsChapV2], &crypto),
//!         ServerStep::Judge { .. } => unreachable!("there are no certificates here"),
//!         ServerStep::Failed { reason, .. } | ServerStep::Ignored(reason) => panic!("{reason}"),
//!     };
//! };
//! assert_eq!(msk.unwrap().len(), 64);
//! ```

mod client;
mod gtc;
mod identity;
mod md5;
mod mschapv2;
mod packet;
mod peap;
mod psk;
mod relay;
mod server;
#[cfg(test)]
mod tests;
mod tls;
mod ttls;
mod tunnel;

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

pub use self::client::{Client, ClientStep};
pub use self::relay::{Grant, Relayed, group, with_prefix};
pub(crate) use self::relay::{Relay, RelayStep};
pub use self::server::{Server, ServerStep};
pub use self::tls::{OwnCertificate, Packets, PeerChain, Tls, TlsSettings, TlsVersion, Tunnel};
use crate::crypto::{CryptoProvider, Secret};
use crate::identity::Identity;
use crate::wire::registry::EapType;

/// What is read of what comes through tunnels, for whoever wants to throw octets at it.
#[cfg(feature = "sim")]
pub mod inside {
    use super::{peap, ttls};
    use crate::wire::registry::EapCode;

    /// The EAP packet among the AVPs of TTLS (RFC 5281 §10).
    ///
    /// # Errors
    /// If they are malformed, or one is mandatory and not known.
    pub fn find_eap_message(octets: &[u8]) -> Result<Option<&[u8]>, String> {
        ttls::avp::find_eap_message(octets)
    }

    /// True if a packet inside of PEAP says that it has succeeded.
    #[must_use]
    pub fn is_peap_success(octets: &[u8]) -> bool {
        peap::tlv::is_extension(octets)
            && peap::tlv::outcome(octets, EapCode::REQUEST) == Some(peap::tlv::Outcome::SUCCESS)
    }
}

/// A method we can authenticate with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// MD5-Challenge (RFC 3748 §5.4).
    Md5,
    /// Generic Token Card (RFC 3748 §5.6): the password itself.
    Gtc,
    /// EAP-MSCHAPv2 (draft-kamath-pppext-eap-mschapv2, RFC 2759).
    MsChapV2,
    /// EAP-PSK (RFC 4764).
    Psk,
    /// EAP-TLS (RFC 5216, RFC 9190).
    Tls,
    /// EAP-TTLS (RFC 5281).
    Ttls,
    /// PEAP, version 0 (draft-kamath-pppext-peapv0).
    Peap,
}

impl Method {
    /// All of them, those that make a key and prove both ends first: the order they are offered in where nothing else
    /// is configured.
    pub const ALL: [Self; 7] =
        [Self::Psk, Self::Tls, Self::Ttls, Self::Peap, Self::MsChapV2, Self::Md5, Self::Gtc];

    /// Those by which a client proves itself with a password or a key that the server has too.
    pub const BY_PASSWORD: [Self; 4] = [Self::Psk, Self::MsChapV2, Self::Md5, Self::Gtc];

    /// Its number.
    #[must_use]
    pub const fn eap_type(self) -> EapType {
        match self {
            Self::Md5 => EapType::MD5,
            Self::Gtc => EapType::GTC,
            Self::MsChapV2 => EapType::MSCHAPV2,
            Self::Psk => EapType::PSK,
            Self::Tls => EapType::TLS,
            Self::Ttls => EapType::TTLS,
            Self::Peap => EapType::PEAP,
        }
    }

    /// Its name behind `eap-` in swanctl.conf.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Gtc => "gtc",
            Self::MsChapV2 => "mschapv2",
            Self::Psk => "psk",
            Self::Tls => "tls",
            Self::Ttls => "ttls",
            Self::Peap => "peap",
        }
    }

    /// The method of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }

    /// True if it proves the server to the client with a key of its own, so that the server needs no other proof:
    /// RFC 5998 §4 has EAP-PSK, -TLS and -TTLS in its list, and PEAP is like the last. EAP-MSCHAPv2 answers to whoever
    /// asks, and can be guessed from its answer.
    #[must_use]
    pub const fn is_mutual(self) -> bool {
        self.has_tls() || matches!(self, Self::Psk)
    }

    /// True if it needs [`Tls`].
    #[must_use]
    pub const fn has_tls(self) -> bool {
        matches!(self, Self::Tls) || self.is_tunnel()
    }

    /// True if another method is inside of it.
    #[must_use]
    pub const fn is_tunnel(self) -> bool {
        matches!(self, Self::Ttls | Self::Peap)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.eap_type().fmt(f)
    }
}

/// Where a conversation finds what a client and a server share.
pub trait Passwords {
    /// The password of a client, at a server of that name.
    fn password(&self, client: &Identity, server: &Identity) -> Option<&Secret>;

    /// The NT hash of the client's password, where that alone is known.
    fn nt_hash(&self, client: &Identity, server: &Identity) -> Option<&Secret>;
}

/// What a method has concluded when it succeeded.
pub struct Conclusion {
    /// The method.
    pub method: Method,
    /// Its Master Session Key, 64 octets (RFC 3748 §7.10); `None` if it makes none.
    pub msk: Option<Secret>,
    /// The client's name that the method has proven.
    pub client: Identity,
}

impl Conclusion {
    /// The octets of the Master Session Key, for a server that hands it to whoever lets the client in (RFC 3748 §2.2,
    /// RFC 2548 §2.4.2). Inside IKE it is never seen.
    #[must_use]
    pub fn dangerous_msk(&self) -> Option<&[u8]> {
        self.msk.as_ref().map(Secret::octets)
    }
}

/// What methods work with.
struct Context<'a> {
    passwords: &'a dyn Passwords,
    crypto: &'a CryptoProvider,
    tls: Option<&'a Arc<Tls>>,
}

impl Context<'_> {
    fn random<const N: usize>(&self) -> [u8; N] {
        let mut octets = [0; N];
        self.crypto.random(&mut octets);
        octets
    }
}

/// What a method of the server makes of a response.
enum Verdict {
    /// It has another request, under the next identifier.
    Ask(Vec<u8>),
    /// The client has proven who it is: with the name it has proven, where the method has names.
    Accepted {
        /// The key, if the method makes one.
        msk: Option<Secret>,
        /// The name.
        named: Option<Identity>,
    },
    /// It has not. The sentence is for the log.
    Refused(String),
}

/// What a method of the client makes of a request.
enum Reaction {
    /// It answers, and there is more to come before it can conclude.
    Answer(Zeroizing<Vec<u8>>),
    /// It answers and has concluded: EAP-Success may come now.
    Conclude {
        /// The response.
        data: Zeroizing<Vec<u8>>,
        /// The key, if the method makes one.
        msk: Option<Secret>,
    },
    /// It answers, and whatever comes now it has failed.
    Fail {
        /// The response.
        data: Zeroizing<Vec<u8>>,
        /// Why, for the log.
        reason: String,
    },
    /// It does not answer: the conversation is over.
    Abort(String),
}

/// Text of a peer for a log: printable, and not too long.
fn printable(octets: &[u8]) -> String {
    const LONGEST: usize = 128;
    let shown = |octet: &u8| if matches!(octet, b' '..=b'~') { char::from(*octet) } else { '?' };
    octets.iter().take(LONGEST).map(shown).collect()
}
