//! The UDP sockets the plane shares with IKE.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;

use super::config::{Path, PlaneConfig};
use super::error::PlaneError;
use super::sys::{self, Received};

/// How long a full socket queue is waited for. Until then the packets wait in the device's queue, which slows the
/// senders down; a longer wait would keep received packets waiting too.
const QUEUE_WAIT: Duration = Duration::from_millis(10);

/// A socket on the NAT-T port.
pub(super) struct EspSocket {
    socket: UdpSocket,
    bound: SocketAddr,
}

impl EspSocket {
    /// Takes a bound socket and sets what the plane needs: the destination address and traffic class of what
    /// arrives, no DF on what is sent, a large receive buffer, and many datagrams at a time.
    pub(super) fn new(socket: UdpSocket, index: usize, config: &PlaneConfig) -> Result<Self, PlaneError> {
        let failed = |step| move |source: io::Error| PlaneError::Socket { socket: index, step, source };
        let bound = socket.local_addr().map_err(failed("read the address of"))?;
        let options = "set options of";
        let fd = socket.as_fd();
        if bound.is_ipv4() {
            sys::set_option(fd, libc::IPPROTO_IP, libc::IP_PKTINFO, 1).map_err(failed(options))?;
            sockopt::set_ip_recvtos(fd, true).map_err(io::Error::from).map_err(failed(options))?;
            // Outer packets may be fragmented on the way: IKE needs it as the last resort and shares the socket.
            sockopt::set_ip_mtu_discover(fd, sockopt::Ipv4PathMtuDiscovery::DONT)
                .map_err(io::Error::from)
                .map_err(failed(options))?;
        } else {
            sys::set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1).map_err(failed(options))?;
            sockopt::set_ipv6_recvtclass(fd, true).map_err(io::Error::from).map_err(failed(options))?;
            sockopt::set_ipv6_mtu_discover(fd, sockopt::Ipv6PathMtuDiscovery::DONT)
                .map_err(io::Error::from)
                .map_err(failed(options))?;
        }
        // Beyond net.core.rmem_max only with CAP_NET_ADMIN; a smaller buffer works too, so failure is no error.
        if sockopt::set_socket_recv_buffer_size_force(fd, config.receive_buffer).is_err() {
            let _ = sockopt::set_socket_recv_buffer_size(fd, config.receive_buffer);
        }
        // A kernel without it gives one datagram at a time.
        if config.offload {
            let _ = sys::set_option(fd, libc::SOL_UDP, libc::UDP_GRO, 1);
        }
        Ok(Self { socket, bound })
    }

    /// Receives one datagram, or several from one peer, without waiting.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Received>> {
        sys::receive(self.socket.as_fd(), buffer)
    }

    /// Sends one datagram, or one for each `segment` octets; waits for a moment if the socket's queue is full.
    pub(super) fn send(
        &self,
        payload: &[u8],
        path: &Path,
        traffic_class: u8,
        segment: Option<u16>,
    ) -> io::Result<()> {
        let fd = self.socket.as_fd();
        let send = || sys::send(fd, payload, path.local, path.remote, traffic_class, segment);
        let sent = send();
        if !sent.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            return sent;
        }
        let timeout = Timespec::try_from(QUEUE_WAIT).map_err(io::Error::other)?;
        poll(&mut [PollFd::new(&fd, PollFlags::OUT)], Some(&timeout))?;
        send()
    }

    pub(super) fn drain_errors(&self) {
        sys::drain_errors(self.socket.as_fd());
    }

    /// Our address and port a datagram came to.
    pub(super) fn local(&self, received: &Received) -> SocketAddr {
        match received.arrival.local {
            None => self.bound,
            Some((IpAddr::V6(address), interface)) if address.is_unicast_link_local() => {
                SocketAddr::V6(SocketAddrV6::new(address, self.bound.port(), 0, interface))
            }
            Some((address, _)) => SocketAddr::new(address, self.bound.port()),
        }
    }

    pub(super) const fn bound(&self) -> SocketAddr {
        self.bound
    }
}

impl AsFd for EspSocket {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The socket that can send along `path`, by the addresses sockets are bound to: of the right family, on any address
/// or just this one, and on the right port if there is such a one.
pub(super) fn choose(bound: &[SocketAddr], path: &Path) -> Option<usize> {
    let candidates = bound.iter().enumerate().filter(|(_, bound)| {
        let one_family = bound.is_ipv4() == path.local.is_ipv4() && bound.is_ipv4() == path.remote.is_ipv4();
        one_family && (bound.ip().is_unspecified() || bound.ip() == path.local.ip())
    });
    candidates
        .min_by_key(|(_, bound)| (bound.port() != path.local.port(), bound.ip() != path.local.ip()))
        .map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_socket_is_chosen() {
        let address = |text: &str| text.parse::<SocketAddr>().expect("address:port");
        let bound = ["0.0.0.0:500", "0.0.0.0:4500", "[::]:4500", "192.0.2.1:4500"].map(address);
        let choose =
            |local, remote| super::choose(&bound, &Path { local: address(local), remote: address(remote) });
        assert_eq!(choose("192.0.2.2:4500", "198.51.100.1:1024"), Some(1));
        assert_eq!(choose("192.0.2.1:4500", "198.51.100.1:1024"), Some(3));
        assert_eq!(choose("192.0.2.2:500", "198.51.100.1:500"), Some(0));
        assert_eq!(choose("192.0.2.1:4501", "198.51.100.1:500"), Some(3));
        assert_eq!(choose("[2001:db8::1]:4500", "[2001:db8::2]:4500"), Some(2));
        assert_eq!(choose("[2001:db8::1]:4500", "198.51.100.1:4500"), None);
        assert_eq!(super::choose(&bound[3..], &Path { local: bound[1], remote: bound[3] }), None);
    }
}
