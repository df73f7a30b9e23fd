//! Options of the IKE sockets: around the IPsec policies, ESP out of UDP, and the mark.
//!
//! The one file of this crate with `unsafe`: the standard library and rustix have no call for
//! these options.
#![expect(unsafe_code, reason = "setsockopt of options that no safe library offers")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use crate::error::{Error, Failure, Refusal};
use crate::message::policy::allow_all;
use crate::message::{AF_INET, AF_INET6};
use crate::policy::PolicyDirection;

/// `IPV6_XFRM_POLICY`; its sister for IPv4 is in libc.
const IPV6_XFRM_POLICY: libc::c_int = 35;
/// `UDP_ENCAP_ESPINUDP` (RFC 3948): what does not begin with four zero octets is ESP.
const UDP_ENCAP_ESPINUDP: u32 = 2;

/// An address family of packets on a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Whether the kernel took an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Applied {
    /// It is set.
    Yes,
    /// The kernel has no XFRM, or nothing that could configure it: there is no policy to bypass, no
    /// ESP to take out.
    NoXfrm,
}

/// Lets a socket's packets of one family pass around all IPsec policies, in and out: without it a
/// policy for everything would catch the IKE messages that are to set it up. A dual-stack IPv6
/// socket needs it for both families.
///
/// # Errors
/// When the kernel refuses, e.g. without CAP_NET_ADMIN.
pub fn bypass(socket: &impl AsFd, family: Family) -> Result<Applied, Error> {
    let (level, option, number) = match family {
        Family::V4 => (libc::IPPROTO_IP, libc::IP_XFRM_POLICY, AF_INET),
        Family::V6 => (libc::IPPROTO_IPV6, IPV6_XFRM_POLICY, AF_INET6),
    };
    for direction in [PolicyDirection::In, PolicyDirection::Out] {
        let policy = allow_all(number, direction);
        match set_option(socket, level, option, &policy) {
            Ok(()) => {}
            Err(error) if is_without_xfrm(&error) => return Ok(Applied::NoXfrm),
            Err(error) => return Err(refused(error, "let a socket bypass the IPsec policies")),
        }
    }
    Ok(Applied::Yes)
}

/// Hands ESP packets that arrive on a UDP socket to the kernel's ESP; only IKE messages reach the
/// program. For the kernel's data plane: the userspace one wants to see ESP itself.
///
/// # Errors
/// When the kernel refuses, e.g. a socket that is no UDP socket.
pub fn decapsulate_esp(socket: &impl AsFd) -> Result<Applied, Error> {
    match set_option(socket, libc::IPPROTO_UDP, libc::UDP_ENCAP, &UDP_ENCAP_ESPINUDP.to_ne_bytes()) {
        Ok(()) => Ok(Applied::Yes),
        Err(error) if is_without_xfrm(&error) => Ok(Applied::NoXfrm),
        Err(error) => Err(refused(error, "hand ESP packets of a UDP socket to the kernel")),
    }
}

/// Marks what a socket sends (SO_MARK), for the rule that keeps the daemon's own packets out of the
/// tunnels' routing table.
///
/// # Errors
/// When the kernel refuses, e.g. without CAP_NET_ADMIN.
pub fn set_mark(socket: &impl AsFd, mark: u32) -> Result<(), Error> {
    set_option(socket, libc::SOL_SOCKET, libc::SO_MARK, &mark.to_ne_bytes())
        .map_err(|error| refused(error, "mark a socket's packets"))
}

/// Without XFRM the options do not exist. With it but without a netlink to configure it nobody
/// understands the policy, which is said with EINVAL; ours is well formed, so it means just that.
fn is_without_xfrm(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOPROTOOPT | libc::EOPNOTSUPP | libc::EINVAL))
}

fn refused(error: io::Error, attempt: &str) -> Error {
    match error.raw_os_error() {
        Some(errno) => Failure::Refused(Refusal { errno, text: None }),
        None => Failure::Socket(error),
    }
    .during(attempt)
}

fn set_option(socket: &impl AsFd, level: libc::c_int, option: libc::c_int, value: &[u8]) -> io::Result<()> {
    let length = libc::socklen_t::try_from(value.len()).map_err(io::Error::other)?;
    // SAFETY: the descriptor is borrowed, so open for the length of the call; the kernel reads
    // `length` octets from `value`, which are there and initialised, and keeps no pointer to them.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            value.as_ptr().cast::<libc::c_void>(),
            length,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
