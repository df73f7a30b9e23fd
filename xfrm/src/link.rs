//! Interfaces: finding them by name, bringing them up, their MTU; and xfrm interfaces, which send
//! their packets to the policies and SAs of a number.

use std::num::NonZeroU32;

use crate::error::{Error, Failure};
use crate::handle::{Handle, Protocol};
use crate::message::Request;
use crate::message::interface::{
    LinkEntry, RTM_NEWLINK, add_xfrm_interface, dump_links, link_by_index, link_by_name, remove_link,
    set_link_alias_and_up, set_link_mtu, set_link_up,
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
    /// A remark of whoever made it.
    pub alias: Option<String>,
    /// What it is, if it is an xfrm interface.
    pub xfrm: Option<XfrmInterface>,
}

/// An interface for route-based tunnels: what is routed to it takes the policies and SAs of its
/// number, and what comes out of those comes in by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct XfrmInterface {
    /// The number; the interface ID of policies and SAs.
    pub interface_id: NonZeroU32,
    /// Index of the interface beneath; of no concern to most kernels' packets.
    pub device: Option<u32>,
}

impl From<LinkEntry> for Link {
    fn from(entry: LinkEntry) -> Self {
        let LinkEntry { index, name, is_up, mtu, alias, xfrm } = entry;
        let xfrm = xfrm.map(|xfrm| XfrmInterface { interface_id: xfrm.interface_id, device: xfrm.device });
        Self { index, name, is_up, mtu, alias, xfrm }
    }
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

    /// Adds an xfrm interface, which is down and has no addresses.
    ///
    /// # Errors
    /// [`Error::NoInterface`] for a name no interface can have; when the name or the number is taken;
    /// when the kernel was built without.
    pub async fn add_xfrm(&self, name: &str, xfrm: XfrmInterface) -> Result<Link, Error> {
        if !is_name(name) {
            return Err(Error::NoInterface(name.to_owned()));
        }
        let XfrmInterface { interface_id, device } = xfrm;
        let attempt = || format!("add xfrm interface '{name}' with interface ID {interface_id}");
        self.change(add_xfrm_interface(name, interface_id, device), attempt).await?;
        self.by_name(name).await
    }

    /// Removes an interface.
    ///
    /// # Errors
    /// When there is none, or when the kernel refuses.
    pub async fn remove(&self, index: u32) -> Result<(), Error> {
        self.change(remove_link(index), || format!("remove interface {index}")).await
    }

    /// All interfaces.
    ///
    /// # Errors
    /// When the netlink socket fails.
    pub async fn all(&self) -> Result<Vec<Link>, Error> {
        const ATTEMPT: &str = "list the interfaces";
        let replies = self.handle.dump(dump_links).await.map_err(|failure| failure.during(ATTEMPT))?;
        replies
            .iter()
            .filter(|reply| reply.kind == RTM_NEWLINK)
            .map(|reply| LinkEntry::read(&reply.payload).map(Link::from))
            .collect::<Result<_, _>>()
            .map_err(|malformed| Failure::from(malformed).during(ATTEMPT))
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

    /// Brings an interface up and sets its alias, a remark for whoever looks at it, in one step.
    ///
    /// # Errors
    /// When the kernel refuses, e.g. without CAP_NET_ADMIN.
    pub async fn set_up_with_alias(&self, index: u32, alias: &str) -> Result<(), Error> {
        let attempt = || format!("bring interface {index} up with the alias '{alias}'");
        self.change(set_link_alias_and_up(index, alias), attempt).await
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
        if !is_name(name) {
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
        let entry = LinkEntry::read(&reply.payload);
        entry.map(|entry| Some(entry.into())).map_err(|malformed| Failure::from(malformed).during(attempt()))
    }
}

/// Whether an interface can have this name.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= LONGEST_NAME && !name.contains('\0')
}
