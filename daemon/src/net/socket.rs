//! One UDP socket for IKE: it knows at which of our addresses a datagram arrived, and sends from the one it is
//! told to.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};

use ferry_ike::Path;
use ferry_xfrm::socket_policy::{self, Applied};
use nix::sys::socket::{self, ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;
use tokio::io::Interest;

/// Room the kernel is asked for, so that a burst of new peers waits instead of being dropped: two thousand
/// first messages of usual size.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Why a port could not be taken: one sentence for the operator.
#[derive(Debug, Error)]
pub(crate) enum BindError {
    /// Somebody else has it.
    #[error(
        "UDP port {port} of {family} is occupied: another IKE daemon is running, or it must be set otherwise in strongswan.conf (charon.port, charon.port_nat_t)"
    )]
    Occupied { port: u16, family: &'static str },
    /// We may not.
    #[error(
        "binding UDP port {port} of {family} is not permitted: ferryd needs CAP_NET_BIND_SERVICE (run it as root)"
    )]
    NotPermitted { port: u16, family: &'static str },
    /// We may not set what an IKE socket needs.
    #[error("preparing the socket of UDP port {port} failed: {source}")]
    Options { port: u16, source: ferry_xfrm::Error },
    /// Anything else.
    #[error("binding UDP port {port} of {family} failed: {source}")]
    Other { port: u16, family: &'static str, source: io::Error },
}

/// A non-blocking UDP socket of one family, bound to all our addresses.
pub(crate) struct IkeSocket {
    socket: tokio::net::UdpSocket,
    port: u16,
    is_ipv6: bool,
}

impl IkeSocket {
    /// Takes a port of one family; port zero takes any. Called inside a runtime.
    pub(crate) fn bind(is_ipv6: bool, port: u16) -> Result<Self, BindError> {
        let family = if is_ipv6 { "IPv6" } else { "IPv4" };
        let explain = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::Occupied { port, family },
            io::ErrorKind::PermissionDenied => BindError::NotPermitted { port, family },
            _ => BindError::Other { port, family, source },
        };
        let socket = Self::open(is_ipv6, port).map_err(explain)?;
        let policies = if is_ipv6 { socket_policy::Family::V6 } else { socket_policy::Family::V4 };
        // A policy for everything must not catch the messages that set it up.
        let _without_xfrm_there_is_nothing_to_bypass =
            socket_policy::bypass(&socket, policies).map_err(|source| BindError::Options { port, source })?;
        let socket = tokio::net::UdpSocket::from_std(socket).map_err(explain)?;
        let port = socket.local_addr().map_err(explain)?.port();
        Ok(Self { socket, port, is_ipv6 })
    }

    fn open(is_ipv6: bool, port: u16) -> io::Result<UdpSocket> {
        let (domain, any) = if is_ipv6 {
            (Domain::IPV6, IpAddr::V6(Ipv6Addr::UNSPECIFIED))
        } else {
            (Domain::IPV4, IpAddr::V4(Ipv4Addr::UNSPECIFIED))
        };
        let socket = Socket::new(domain, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
        if is_ipv6 {
            socket.set_only_v6(true)?;
            socket::setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        } else {
            socket::setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        }
        // What exceeds net.core.rmem_max, usually a hundred messages, takes CAP_NET_ADMIN.
        if socket::setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        }
        socket.bind(&SocketAddr::new(any, port).into())?;
        Ok(socket.into())
    }

    /// The port as it was bound.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The family.
    pub(crate) fn is_ipv6(&self) -> bool {
        self.is_ipv6
    }

    /// Another handle to the same socket, for the data plane.
    pub(crate) fn duplicate(&self) -> io::Result<UdpSocket> {
        Ok(self.socket.as_fd().try_clone_to_owned()?.into())
    }

    /// Hands ESP that arrives here to the kernel.
    pub(crate) fn decapsulate_esp(&self) -> Result<(), ferry_xfrm::Error> {
        match socket_policy::decapsulate_esp(&self.socket)? {
            Applied::Yes => Ok(()),
            Applied::NoXfrm => Err(ferry_xfrm::Error::Unknown {
                attempt: format!("take ESP out of UDP port {}", self.port),
                what: "ESP in UDP",
            }),
        }
    }

    /// Waits until a datagram may be there.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Takes one datagram, if one waits: its octets in `buffer`, and its way.
    pub(crate) fn receive<'b>(&self, buffer: &'b mut [u8]) -> io::Result<(&'b [u8], Path)> {
        self.socket.try_io(Interest::READABLE, || self.receive_now(buffer))
    }

    fn receive_now<'b>(&self, buffer: &'b mut [u8]) -> io::Result<(&'b [u8], Path)> {
        let mut control = nix::cmsg_space!(nix::libc::in_pktinfo, nix::libc::in6_pktinfo);
        let (length, remote, local) = {
            let mut iov = [IoSliceMut::new(buffer)];
            let message = socket::recvmsg::<SockaddrStorage>(
                self.socket.as_raw_fd(),
                &mut iov,
                Some(&mut control),
                MsgFlags::empty(),
            )?;
            let local = message.cmsgs()?.find_map(|cmsg| match cmsg {
                ControlMessageOwned::Ipv4PacketInfo(info) => {
                    Some(IpAddr::V4(Ipv4Addr::from_bits(u32::from_be(info.ipi_addr.s_addr))))
                }
                ControlMessageOwned::Ipv6PacketInfo(info) => {
                    Some(IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr)))
                }
                _ => None,
            });
            (message.bytes, message.address.as_ref().and_then(socket_addr), local)
        };
        let (Some(remote), Some(local)) = (remote, local) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a datagram without addresses"));
        };
        let datagram = buffer.get(..length).unwrap_or_default();
        Ok((datagram, Path { local: SocketAddr::new(local, self.port), remote }))
    }

    /// Sends one datagram from the path's local address. A full queue loses it, as the network might.
    pub(crate) fn send(&self, datagram: &[u8], path: Path, dscp: u8) -> io::Result<()> {
        let field = dscp << 2; // RFC 2474 §3: the two bits below are those of ECN
        let iov = [IoSlice::new(datagram)];
        let to = SockaddrStorage::from(path.remote);
        let fd = self.socket.as_raw_fd();
        match path.local.ip() {
            IpAddr::V4(local) => {
                let info = nix::libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: nix::libc::in_addr { s_addr: local.to_bits().to_be() },
                    ipi_addr: nix::libc::in_addr { s_addr: 0 },
                };
                let control = [ControlMessage::Ipv4PacketInfo(&info), ControlMessage::Ipv4Tos(&field)];
                socket::sendmsg(fd, &iov, &control, MsgFlags::empty(), Some(&to))?;
            }
            IpAddr::V6(local) => {
                let info = nix::libc::in6_pktinfo {
                    ipi6_addr: nix::libc::in6_addr { s6_addr: local.octets() },
                    ipi6_ifindex: 0,
                };
                let class = i32::from(field);
                let control = [ControlMessage::Ipv6PacketInfo(&info), ControlMessage::Ipv6TClass(&class)];
                socket::sendmsg(fd, &iov, &control, MsgFlags::empty(), Some(&to))?;
            }
        }
        Ok(())
    }
}

fn socket_addr(storage: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = storage.as_sockaddr_in() {
        return Some(SocketAddr::from((v4.ip(), v4.port())));
    }
    storage.as_sockaddr_in6().map(|v6| SocketAddr::from((v6.ip(), v6.port())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ports and privileges are the lab's business; loopback and any port are everybody's. Without
    /// CAP_NET_ADMIN the bypass policy is refused, which is a sentence of its own.
    #[tokio::test]
    async fn a_datagram_tells_where_it_arrived_and_is_answered_from_there() {
        for (is_ipv6, address) in [(false, "127.0.0.2"), (true, "::1")] {
            let (ours, peer) = match (IkeSocket::bind(is_ipv6, 0), IkeSocket::bind(is_ipv6, 0)) {
                (Ok(ours), Ok(peer)) => (ours, peer),
                (Err(error), _) | (_, Err(error)) => {
                    assert!(matches!(error, BindError::Options { .. } | BindError::Other { .. }), "{error}");
                    println!("SKIPPED: {error}");
                    continue;
                }
            };
            let address: IpAddr = address.parse().unwrap();
            let from = Path {
                local: SocketAddr::new(address, peer.port()),
                remote: SocketAddr::new(address, ours.port()),
            };
            peer.send(b"hello", from, 0).unwrap();
            let mut buffer = [0; 100];
            ours.readable().await.unwrap();
            let (datagram, path) = ours.receive(&mut buffer).unwrap();
            assert_eq!(datagram, b"hello");
            assert_eq!(path, Path { local: from.remote, remote: from.local });
            ours.send(b"again", path, 0).unwrap();
            peer.readable().await.unwrap();
            assert_eq!(peer.receive(&mut buffer).unwrap().0, b"again");
            assert_eq!(peer.receive(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        }
    }

    #[tokio::test]
    async fn a_datagram_is_sent_with_its_dscp() {
        const EXPEDITED: u8 = 0b10_1110; // RFC 3246
        for address in ["127.0.0.1", "::1"] {
            let address: IpAddr = address.parse().unwrap();
            let ours = match IkeSocket::bind(address.is_ipv6(), 0) {
                Ok(ours) => ours,
                Err(error) => {
                    assert!(matches!(error, BindError::Options { .. } | BindError::Other { .. }), "{error}");
                    println!("SKIPPED: {error}");
                    continue;
                }
            };
            let peer = std::net::UdpSocket::bind((address, 0)).unwrap();
            if address.is_ipv6() {
                socket::setsockopt(&peer, sockopt::Ipv6RecvTClass, &true).unwrap();
            } else {
                socket::setsockopt(&peer, sockopt::IpRecvTos, &true).unwrap();
            }
            let local = SocketAddr::new(address, ours.port());
            let path = Path { local, remote: peer.local_addr().unwrap() };
            ours.send(b"hello", path, EXPEDITED).unwrap();
            let mut buffer = [0; 100];
            let mut iov = [io::IoSliceMut::new(&mut buffer)];
            let mut control = nix::cmsg_space!(i32);
            let message = socket::recvmsg::<SockaddrStorage>(
                peer.as_raw_fd(),
                &mut iov,
                Some(&mut control),
                MsgFlags::empty(),
            )
            .unwrap();
            let field = message.cmsgs().unwrap().find_map(|cmsg| match cmsg {
                ControlMessageOwned::Ipv4Tos(field) => Some(i32::from(field)),
                ControlMessageOwned::Ipv6TClass(field) => Some(field),
                _ => None,
            });
            assert_eq!(field, Some(i32::from(EXPEDITED) << 2), "{address}");
        }
    }
}
