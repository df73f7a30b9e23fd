//! The UDP sockets of IKE, on ports 500 and 4500, IPv4 and IPv6; and those that clients of the daemon connect to.

mod listening;
mod socket;
mod steering;
mod watch;

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;

use ferry_ike::config::Ports;
use ferry_ike::{Path, Transmit};
use tracing::{debug, warn};

pub(crate) use self::listening::{Bound, SocketUri, Stream};
pub(crate) use self::socket::BindError;
use self::socket::IkeSocket;
pub(crate) use self::steering::Steering;
pub(crate) use self::watch::Watch;

/// The sockets, by port and family.
pub(crate) struct Sockets {
    ike: Vec<IkeSocket>,
    nat_t: Vec<IkeSocket>,
    ports: Ports,
}

impl Sockets {
    /// Takes both ports of the families that are wanted. IPv6 may be missing from the kernel; that is said.
    pub(crate) fn bind(ports: Ports, v4: bool, v6: bool) -> Result<Self, BindError> {
        let (ike, ike_port) = bind_port(ports.ike, v4, v6)?;
        let (nat_t, nat_t_port) = bind_port(ports.nat_t, v4, v6)?;
        Ok(Self { ike, nat_t, ports: Ports { ike: ike_port, nat_t: nat_t_port } })
    }

    /// The ports as they were bound.
    pub(crate) fn ports(&self) -> Ports {
        self.ports
    }

    /// Handles to the sockets of the NAT-T port, for a data plane that reads them.
    pub(crate) fn nat_t_duplicates(&self) -> io::Result<Vec<UdpSocket>> {
        self.nat_t.iter().map(IkeSocket::duplicate).collect()
    }

    /// Sends a datagram by the socket of its local port. What cannot be sent is lost; IKE sends again.
    pub(crate) fn send(&self, transmit: &Transmit) {
        let Path { local, remote } = transmit.path;
        let sockets = if local.port() == self.ports.nat_t { &self.nat_t } else { &self.ike };
        let socket = sockets.iter().find(|socket| socket.is_ipv6() == local.is_ipv6());
        match socket.map(|socket| socket.send(&transmit.datagram, transmit.path, transmit.dscp)) {
            Some(Ok(())) => {}
            Some(Err(error)) => warn!(target: "net", "sending to {remote} from {local} failed: {error}"),
            None => warn!(target: "net", "no socket to send to {remote} from {local}"),
        }
    }

    /// Lets the kernel take ESP out of what arrives on the NAT-T port; IKE messages are left to be read. Who does that
    /// must read the port.
    pub(crate) fn decapsulate_esp(&self) -> Result<(), ferry_xfrm::Error> {
        self.nat_t.iter().try_for_each(IkeSocket::decapsulate_esp)
    }

    /// Reads the IKE port, and the NAT-T port if nobody else does, until the daemon ends, and gives every datagram away
    /// with its way.
    ///
    /// Dropping the future loses nothing but what the kernel holds.
    pub(crate) async fn read(
        self: Arc<Self>,
        is_nat_t_read: bool,
        deliver: impl Fn(&[u8], Path) + Send + Sync + Clone,
    ) {
        let nat_t = if is_nat_t_read { [].as_slice() } else { self.nat_t.as_slice() };
        let reads = self.ike.iter().chain(nat_t).map(|socket| read(socket, deliver.clone()));
        futures_util::future::join_all(reads).await;
    }
}

fn bind_port(port: u16, v4: bool, v6: bool) -> Result<(Vec<IkeSocket>, u16), BindError> {
    let mut sockets = Vec::new();
    let mut bound = port;
    if v4 {
        let socket = IkeSocket::bind(false, port)?;
        bound = socket.port(); // the same number for both families, where any would do
        sockets.push(socket);
    }
    if v6 {
        match IkeSocket::bind(true, bound) {
            Ok(socket) => {
                bound = socket.port();
                sockets.push(socket);
            }
            Err(BindError::Other { source, .. })
                if source.raw_os_error() == Some(nix::libc::EAFNOSUPPORT) && v4 =>
            {
                warn!(target: "net", "this kernel has no IPv6: IKE listens on IPv4 alone");
            }
            Err(error) => return Err(error),
        }
    }
    Ok((sockets, bound))
}

async fn read(socket: &IkeSocket, deliver: impl Fn(&[u8], Path)) {
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        if let Err(error) = socket.readable().await {
            warn!(target: "net", "cannot wait for datagrams: {error}");
            return;
        }
        match socket.receive(&mut buffer) {
            Ok((datagram, path)) => deliver(datagram, path),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // An ICMP error of some peer shows up here; it means nothing to the others.
            Err(error) => debug!(target: "net", "receiving failed: {error}"),
        }
    }
}
