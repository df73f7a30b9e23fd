//! Interfaces: finding them by name, bringing them up, their MTU.

use crate::error::{Error, Failure};
use crate::handle::{Handle, Protocol};
use crate::message::Request;
use crate::message::interface::{
    LinkEntry, RTM_NEWLINK, link_by_index, link_by_name, set_link_mtu, set_link_up,
};

/// Octets of an interface name, without the terminating zero (`IFNAMSIZ`).
const LONGEST_NAME: usize = 15;

/// An interface as it was when asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The number the kernel knows it by.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whether it is administratively up.
    pub is_up: bool,
    /// Its MTU in octets.
    pub mtu: u32,
}

/// Looks up and changes interfaces.
pub struct Links {
    handle: Handle,
}

impl Links {
    /// Opens a netlink socket in the calling thread's network namespace. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the kernel gives no such socket.
    pub async fn open() -> Result<Self, Error> {
        Ok(Self { handle: Handle::open(Protocol::Route)? })
    }

    /// Brings an interface up.
    ///
    /// # Errors
    /// When the kernel refuses, e.g. without CAP_NET_ADMIN.
    pub async fn set_up(&self, index: u32) -> Result<(), Error> {
        self.change(set_link_up(index, None), || format!("bring interface {index} up")).await
    }

    /// Brings an interface up with an MTU in octets, in one step.
    ///
    /// # Errors
    /// When the kernel refuses, e.g. without CAP_NET_ADMIN or an MTU the driver does not take.
    pub async fn set_up_with_mtu(&self, index: u32, mtu: u32) -> Result<(), Error> {
        let attempt = || format!("bring interface {index} up with an MTU of {mtu}");
        self.change(set_link_up(index, Some(mtu)), attempt).await
    }

    /// Sets an interface's MTU in octets.
    ///
    /// # Errors
    /// When the kernel refuses, e.g. without CAP_NET_ADMIN or an MTU the driver does not take.
    pub async fn set_mtu(&self, index: u32, mtu: u32) -> Result<(), Error> {
        self.change(set_link_mtu(index, mtu), || format!("set the MTU of interface {index} to {mtu}")).await
    }

    /// The interface of this name.
    ///
    /// # Errors
    /// [`Error::NoInterface`], or when the netlink socket fails.
    pub async fn by_name(&self, name: &str) -> Result<Link, Error> {
        let no_interface = || Error::NoInterface(name.to_owned());
        if name.is_empty() || name.len() > LONGEST_NAME || name.contains('\0') {
            return Err(no_interface());
        }
        let attempt = || format!("look up interface '{name}'");
        self.find(link_by_name(name), attempt).await?.ok_or_else(no_interface)
    }

    /// The interface of this index.
    ///
    /// # Errors
    /// [`Error::NoInterface`], or when the netlink socket fails.
    pub async fn by_index(&self, index: u32) -> Result<Link, Error> {
        let attempt = || format!("look up interface {index}");
        let found = self.find(link_by_index(index), attempt).await?;
        found.ok_or_else(|| Error::NoInterface(format!("#{index}")))
    }

    async fn change(&self, request: Request, attempt: impl FnOnce() -> String) -> Result<(), Error> {
        match self.handle.request(request).await {
            Ok(_) => Ok(()),
            Err(failure) => Err(failure.during(attempt())),
        }
    }

    async fn find(&self, request: Request, attempt: impl Fn() -> String) -> Result<Option<Link>, Error> {
        let replies = match self.handle.request(request).await {
            Ok(replies) => replies,
            Err(failure) if failure.errno() == Some(libc::ENODEV) => return Ok(None),
            Err(failure) => return Err(failure.during(attempt())),
        };
        let Some(reply) = replies.iter().find(|reply| reply.kind == RTM_NEWLINK) else {
            return Ok(None);
        };
        let LinkEntry { index, name, is_up, mtu } = LinkEntry::read(&reply.payload)
            .map_err(|malformed| Failure::from(malformed).during(attempt()))?;
        Ok(Some(Link { index, name, is_up, mtu }))
    }
}
