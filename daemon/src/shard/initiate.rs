//! From where to where an IKE SA is opened.

use std::net::{IpAddr, SocketAddr};

use ferry_ike::Path;
use ferry_ike::config::{AddressPattern, Connection, Ports};
use ferry_ike::redirect::Gateway;

use crate::dataplane::DataPlaneHandle;

/// The addresses a connection is opened between: the first of the peer's that is one, and ours that leads there.
pub(super) async fn path(
    connection: &Connection,
    ports: Ports,
    dataplane: &DataPlaneHandle,
) -> Result<Path, String> {
    let name = &connection.name;
    let configured = first_address(&connection.local_addrs, None).await;
    let remote = first_address(&connection.remote_addrs, configured).await.ok_or_else(|| {
        format!("connections.{name}.remote_addrs has no address to initiate to, expected an address or a name that resolves")
    })?;
    path_to(connection, remote, ports, dataplane).await
}

/// The same with another gateway, to which the peer has sent us.
pub(super) async fn path_to_gateway(
    connection: &Connection,
    gateway: &Gateway,
    ports: Ports,
    dataplane: &DataPlaneHandle,
) -> Result<Path, String> {
    let pattern = match gateway {
        Gateway::Address(address) => AddressPattern::Host(*address),
        Gateway::Name(name) => AddressPattern::Name(name.clone(), Vec::new()),
    };
    let configured = first_address(&connection.local_addrs, None).await;
    let remote = first_address(&[pattern], configured).await.ok_or_else(|| {
        format!("we are redirected to {gateway}, which has no address that can be reached from ours")
    })?;
    path_to(connection, remote, ports, dataplane).await
}

async fn path_to(
    connection: &Connection,
    remote: IpAddr,
    ports: Ports,
    dataplane: &DataPlaneHandle,
) -> Result<Path, String> {
    let name = &connection.name;
    let source = dataplane.source_towards(remote).await;
    let local = match first_address(&connection.local_addrs, Some(remote)).await {
        Some(local) => local,
        None => source?,
    };
    let local_port = if connection.local_port == 0 { ports.ike } else { connection.local_port };
    if local_port != ports.ike && local_port != ports.nat_t {
        return Err(format!(
            "connections.{name}.local_port = {local_port}: ferryd listens on {} and {} only",
            ports.ike, ports.nat_t
        ));
    }
    Ok(Path {
        local: SocketAddr::new(local, local_port),
        remote: SocketAddr::new(remote, connection.remote_port),
    })
}

/// The first single address, of the family of `like` if that is given; names are looked up.
async fn first_address(patterns: &[AddressPattern], like: Option<IpAddr>) -> Option<IpAddr> {
    let fits = |address: &IpAddr| like.is_none_or(|like| like.is_ipv4() == address.is_ipv4());
    for pattern in patterns {
        let found = match pattern {
            AddressPattern::Host(address) => Some(*address).filter(fits),
            AddressPattern::Name(name, _) => {
                let addresses = tokio::net::lookup_host((name.as_str(), 0)).await;
                addresses.ok().into_iter().flatten().map(|address| address.ip()).find(fits)
            }
            AddressPattern::Any
            | AddressPattern::AnyV4
            | AddressPattern::AnyV6
            | AddressPattern::Subnet(..)
            | AddressPattern::Range(..) => None,
        };
        if found.is_some() {
            return found;
        }
    }
    None
}
