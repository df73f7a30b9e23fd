//! Pools of virtual IPs and what else clients are told (RFC 7296 §3.15).
use crate::identity::Identity;
use crate::wire::registry::CfgAttributeType;
use std::net::IpAddr;

/// What the Configuration payload carries beside addresses: type and value as on the wire.
pub type Attribute = (CfgAttributeType, Vec<u8>);

/// Why a pool cannot be had or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// Placeholder.
    #[error("invalid pool")]
    Invalid,
}

/// One attribute of a pool's configuration: `dns = 192.0.2.53` gives `parse_attribute("dns", "192.0.2.53")`.
pub fn parse_attribute(_name: &str, _text: &str) -> Result<Attribute, PoolError> {
    todo!()
}

/// One lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease<'a> {
    /// The address.
    pub address: IpAddr,
    /// Whose it is, or was last.
    pub identity: &'a Identity,
    /// In use now.
    pub is_online: bool,
}

/// A range of addresses and who has which.
pub struct Pool {
    name: String,
    attributes: Vec<Attribute>,
}
impl Pool {
    /// Parses `addrs`: a prefix or `from-to`.
    pub fn parse(_name: &str, _addrs: &str) -> Result<Self, PoolError> {
        todo!()
    }
    /// The same with attributes.
    #[must_use]
    pub fn with_attributes(mut self, attributes: Vec<Attribute>) -> Self {
        self.attributes = attributes;
        self
    }
    /// An address for `identity`; `requested` is what the client asked for, if it named one.
    pub fn acquire(&mut self, _identity: &Identity, _requested: Option<IpAddr>) -> Option<IpAddr> {
        todo!()
    }
    /// Ends the use of an address; it stays the identity's until somebody needs it. False if it was not online.
    pub fn release(&mut self, _address: IpAddr) -> bool {
        todo!()
    }
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
    /// What clients with an address of this pool are told.
    #[must_use]
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }
    /// First address that can be leased.
    #[must_use]
    pub fn base(&self) -> IpAddr {
        todo!()
    }
    /// Number of addresses.
    #[must_use]
    pub fn size(&self) -> u32 {
        todo!()
    }
    /// Leases in use.
    #[must_use]
    pub fn online(&self) -> usize {
        todo!()
    }
    /// Leases kept for their identities.
    #[must_use]
    pub fn offline(&self) -> usize {
        todo!()
    }
    /// True if the address is one of this pool.
    #[must_use]
    pub fn contains(&self, _address: IpAddr) -> bool {
        todo!()
    }
    /// All leases, by address.
    pub fn leases(&self) -> impl Iterator<Item = Lease<'_>> {
        std::iter::empty()
    }
}

/// All pools, by name.
#[derive(Default)]
pub struct Pools {
    _pools: Vec<Pool>,
}
impl Pools {
    /// Adds a pool or replaces that of the same name: with the same addresses its leases stay, with others it must
    /// have no lease online. Pools must not overlap.
    pub fn load(&mut self, _pool: Pool) -> Result<(), PoolError> {
        todo!()
    }
    /// Removes a pool that has no lease online.
    pub fn unload(&mut self, _name: &str) -> Result<(), PoolError> {
        todo!()
    }
    /// An address of the first of `names` that has one: the identity's last one, else a new one, else one that was
    /// another's. `requested` tells the family; unspecified (`0.0.0.0`, `::`) means any address of it.
    pub fn acquire(
        &mut self,
        _names: &[impl AsRef<str>],
        _identity: &Identity,
        _requested: IpAddr,
    ) -> Option<IpAddr> {
        todo!()
    }
    /// Ends the use of an address. False if no pool had it online.
    pub fn release(&mut self, _address: IpAddr) -> bool {
        todo!()
    }
    /// What a client with these addresses is told: the attributes of the pools among `names` they are from.
    #[must_use]
    pub fn attributes(&self, _names: &[impl AsRef<str>], _addresses: &[IpAddr]) -> Vec<Attribute> {
        todo!()
    }
    /// The pool of that name.
    #[must_use]
    pub fn pool(&self, _name: &str) -> Option<&Pool> {
        todo!()
    }
    /// All pools in the order of loading.
    pub fn iter(&self) -> impl Iterator<Item = &Pool> {
        std::iter::empty()
    }
}
