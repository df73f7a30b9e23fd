//! What an operator configures, typed: connections, children, secrets and the endpoint's own settings.
//!
//! Values here cannot hold nonsense; whoever makes them (the daemon, from VICI messages) has already said no
//! to what does not fit. They are shared as immutable snapshots: an SA keeps the [`Connection`] it was made
//! from, whatever is loaded later.

mod auth;
mod child;
mod connection;
mod credentials;
mod endpoint;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use self::auth::{AuthClass, EapMethods, LocalAuth, RemoteAuth};
pub use self::child::{
    Child, ChildAction, CopyDscp, Interfaces, Label, Labels, Mark, Mode, Offload, PolicySettings, Processing,
    Volume,
};
pub use self::connection::{
    AddressPattern, Childless, Connection, Fragmentation, InBandOcsp, SendCert, Unique, Version,
};
pub use self::credentials::{Configuration, OwnResponse, SecretKind, SharedSecret};
pub use self::endpoint::{
    DynamicEap, EndpointConfig, IkeSaTotal, Ports, Retransmission, Settings, SpiPrefix, UniqueIds,
};
use crate::wire::registry::CfgAttributeType;

/// Addresses and attributes that a peer got from our pools, or that we got from a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    /// Virtual IPs, at most one of each family.
    pub addresses: Vec<IpAddr>,
    /// Further attributes of the configuration payload (RFC 7296 §3.15.1), DNS servers and the like.
    pub attributes: Vec<(CfgAttributeType, Vec<u8>)>,
}

impl Lease {
    /// The DNS servers among its attributes, in their order. What is no address is passed over.
    pub(crate) fn dns(&self) -> Vec<IpAddr> {
        let address = |(kind, value): &(CfgAttributeType, Vec<u8>)| match *kind {
            CfgAttributeType::INTERNAL_IP4_DNS => {
                <[u8; 4]>::try_from(value.as_slice()).ok().map(IpAddr::from)
            }
            CfgAttributeType::INTERNAL_IP6_DNS => {
                <[u8; 16]>::try_from(value.as_slice()).ok().map(IpAddr::from)
            }
            _ => None,
        };
        self.attributes.iter().filter_map(address).collect()
    }
}

/// The address that asks for any of a family.
#[must_use]
pub fn any_address(v6: bool) -> IpAddr {
    if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() }
}
