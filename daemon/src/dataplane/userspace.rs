//! The userspace plane: `esp`'s worker on a TUN device.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::time::Instant;

use ferry_esp::plane::{self, Acquired, ChildId, IkeDatagram, Plane, PolicyAction, SpiPrefix};
use ferry_esp::{
    AddressRange, CopyDscp, Ecn, Flow, InboundParams, KeyMaterial, Limit, Limits, OutboundParams, Ports,
    Selector, Selectors, SequenceNumbers, TunnelOptions,
};
use ferry_ike::config::{self, Child};
use ferry_ike::crypto::ChildKeyMaterial;
use ferry_ike::output::{ChildInstall, ChildSaId, Outbound, Path};
use ferry_ike::selector::{self, TrafficSelector};
use ferry_ike::wire::registry::Spi;
use ferry_xfrm::Links;
use tokio::sync::mpsc;
use tracing::warn;

use super::{DataPlane, PlaneError, PlaneEvent, Policy, PolicyId, PolicyKind, algorithms, limits};
use crate::control::ChildUse;
use crate::net::Sockets;

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// Draws of an SPI before the configured range is believed to be full.
const DRAWS: usize = 4096;

/// The plane, and what must be known to give SPIs back.
pub(super) struct Userspace {
    plane: Plane,
    interface: u32,
    spis: RangeInclusive<u32>,
    prefix: SpiPrefix,
    /// Set aside and not installed yet.
    reserved: HashMap<ChildSaId, ferry_esp::Spi>,
    installed: HashSet<ChildSaId>,
    /// Outbound SAs whose time has not come.
    held: HashMap<ChildSaId, HeldOutbound>,
}

/// An outbound SA that is not sent with yet.
struct HeldOutbound {
    params: OutboundParams,
    path: plane::Path,
    limits: Limits,
}

impl Userspace {
    pub(super) async fn start(
        config: &plane::PlaneConfig,
        spis: RangeInclusive<u32>,
        sockets: &Sockets,
        deliver: impl Fn(&[u8], Path) + Send + Sync + 'static,
        events: mpsc::UnboundedSender<PlaneEvent>,
    ) -> Result<Self, PlaneError> {
        let ike = move |datagram: IkeDatagram<'_>| {
            deliver(datagram.payload, Path { local: datagram.local, remote: datagram.remote });
        };
        let plane =
            Plane::start(config, sockets.nat_t_duplicates()?, ike, move |event| tell(event, &events))?;
        let device = config.device.as_str();
        let find = async || Links::open().await?.by_name(device).await;
        let link = find().await.map_err(|source| PlaneError::Device { device: device.to_owned(), source })?;
        let prefix = common_prefix(&spis);
        let (reserved, installed, held) = Default::default();
        Ok(Self { plane, interface: link.index, spis, prefix, reserved, installed, held })
    }
}

impl DataPlane for Userspace {
    async fn reserve_spi(&mut self, child_sa: ChildSaId) -> Result<Spi, String> {
        for _ in 0..DRAWS {
            let spi = self.plane.reserve_spi(self.prefix).map_err(|error| error.to_string())?;
            if self.spis.contains(&spi.0) {
                self.reserved.insert(child_sa, spi);
                return Ok(Spi(spi.0));
            }
            self.plane.release_spi(spi);
        }
        Err(format!("no SPI is free between {:#x} and {:#x}", self.spis.start(), self.spis.end()))
    }

    async fn install(&mut self, install: &ChildInstall) -> Result<(), String> {
        if !install.encapsulated {
            return Err("the userspace data plane needs ESP in UDP, which was not negotiated".into());
        }
        let suite = algorithms::userspace(&install.suite)
            .ok_or("the userspace data plane does not have the negotiated cipher")?;
        let child = ChildId(install.child_sa.0);
        let path = plane::Path { local: install.path.local, remote: install.path.remote };
        let selectors = selectors(&install.local_ts, &install.remote_ts)?;
        let sequence_numbers =
            if install.suite.esn() { SequenceNumbers::Extended } else { SequenceNumbers::Short };
        let tunnel = tunnel_options(&install.child);
        let inbound = InboundParams {
            spi: ferry_esp::Spi(install.spi_in.0),
            suite,
            keys: keys(&install.inbound),
            sequence_numbers,
            replay_window: install.child.replay_window.min(ferry_esp::MAX_REPLAY_WINDOW),
            selectors: selectors.clone(),
            tunnel,
        };
        let outbound = OutboundParams {
            spi: ferry_esp::Spi(install.spi_out.0),
            suite,
            keys: keys(&install.outbound),
            sequence_numbers,
            selectors,
            tunnel,
        };
        self.reserved.remove(&install.child_sa);
        self.installed.insert(install.child_sa);
        let limits = limits(&install.child);
        // Inbound first: the peer may send as soon as it has our answer.
        let mut result = self.plane.add_inbound(child, inbound, path, limits);
        match install.outbound_use {
            Outbound::Now => {
                result = result.and_then(|()| self.plane.add_outbound(child, outbound, path, limits, None));
            }
            Outbound::Held | Outbound::Behind => {
                self.held.insert(install.child_sa, HeldOutbound { params: outbound, path, limits });
            }
        }
        if let Err(error) = result {
            self.remove(install.child_sa).await;
            return Err(error.to_string());
        }
        Ok(())
    }

    async fn use_outbound(&mut self, child_sa: ChildSaId) -> Result<(), String> {
        let held = self.held.remove(&child_sa).ok_or("the CHILD_SA has no outbound SA that waits")?;
        self.plane
            .add_outbound(ChildId(child_sa.0), held.params, held.path, held.limits, None)
            .map_err(|error| error.to_string())
    }

    async fn update(&mut self, child_sa: ChildSaId, path: Path, encapsulated: bool) -> Result<(), String> {
        if !encapsulated {
            return Err("the userspace data plane needs ESP in UDP".into());
        }
        let path = plane::Path { local: path.local, remote: path.remote };
        if let Some(held) = self.held.get_mut(&child_sa) {
            held.path = path;
        }
        self.plane.update_path(ChildId(child_sa.0), path).map_err(|error| error.to_string())
    }

    async fn remove(&mut self, child_sa: ChildSaId) {
        if let Some(spi) = self.reserved.remove(&child_sa) {
            self.plane.release_spi(spi);
        }
        self.held.remove(&child_sa);
        if self.installed.remove(&child_sa) {
            self.plane.remove(ChildId(child_sa.0));
        }
    }

    async fn tell_first_received(&mut self, child_sa: ChildSaId) {
        self.plane.tell_first_received(ChildId(child_sa.0));
    }

    async fn install_policy(&mut self, policy: &Policy) -> Result<(), String> {
        let action = match policy.kind {
            PolicyKind::Trap { .. } => PolicyAction::Trap,
            PolicyKind::Drop => PolicyAction::Drop,
            PolicyKind::Pass => return Ok(()), // what passes is not routed to the device
        };
        let selectors = selectors(&policy.local_ts, &policy.remote_ts)?;
        let id = plane::PolicyId(policy.id.0);
        self.plane.add_policy(id, selectors, action).map_err(|error| error.to_string())
    }

    async fn remove_policy(&mut self, id: PolicyId) {
        self.plane.remove_policy(plane::PolicyId(id.0));
    }

    async fn settle(&mut self, id: PolicyId, is_made: bool) {
        let acquired = if is_made { Acquired::Made } else { Acquired::Failed };
        self.plane.settle(plane::PolicyId(id.0), acquired);
    }

    async fn query(&mut self, child_sas: &[ChildSaId]) -> HashMap<ChildSaId, ChildUse> {
        let now = Instant::now();
        let ago = |at: Option<Instant>| at.map(|at| now.saturating_duration_since(at));
        let usage = |child_sa: &ChildSaId| {
            let used = self.plane.query(ChildId(child_sa.0))?;
            let used = ChildUse {
                bytes_in: used.bytes_in,
                packets_in: used.packets_in,
                last_in: ago(used.last_in),
                bytes_out: used.bytes_out,
                packets_out: used.packets_out,
                last_out: ago(used.last_out),
                numbers: None,
            };
            Some((*child_sa, used))
        };
        child_sas.iter().filter_map(usage).collect()
    }

    async fn shutdown(&mut self) {
        // All of it goes with the process.
    }

    fn interface(&self) -> Option<u32> {
        Some(self.interface)
    }

    async fn way_of_child(&self, _child_sa: ChildSaId) -> Option<u32> {
        self.interface()
    }

    async fn way_of_policy(&self, _policy: &Policy) -> Option<u32> {
        self.interface()
    }
}

/// On the worker's thread: nothing here may wait.
fn tell(event: plane::Event, events: &mpsc::UnboundedSender<PlaneEvent>) {
    let told = match event {
        plane::Event::PeerMoved { child, to, .. } => {
            PlaneEvent::PeerMoved { child_sa: ChildSaId(child.0), remote: to }
        }
        plane::Event::SequenceExhausted { child, .. }
        | plane::Event::LimitReached { child, limit: Limit::Hard, .. } => {
            PlaneEvent::Exhausted { child_sa: ChildSaId(child.0) }
        }
        plane::Event::Acquire { policy, flow } => {
            let (local, remote) = sides(&flow);
            PlaneEvent::Acquire { policy: PolicyId(policy.0), local, remote }
        }
        plane::Event::FirstReceived { child } => PlaneEvent::FirstReceived { child_sa: ChildSaId(child.0) },
        plane::Event::DeviceLost { reason } => {
            warn!(target: "knl", "the TUN device is gone, no packets pass any more: {reason}");
            return;
        }
        plane::Event::SequenceNearlyExhausted { child, .. }
        | plane::Event::LimitReached { child, limit: Limit::Soft, .. } => {
            PlaneEvent::NearlyExhausted { child_sa: ChildSaId(child.0) }
        }
    };
    let _ = events.send(told); // the daemon is going down
}

fn keys(material: &ChildKeyMaterial) -> KeyMaterial {
    let (encryption, integrity) = material.octets();
    KeyMaterial::new(encryption, integrity)
}

fn selectors(local_ts: &[TrafficSelector], remote_ts: &[TrafficSelector]) -> Result<Selectors, String> {
    Ok(Selectors {
        local: local_ts.iter().map(selector).collect::<Result<_, _>>()?,
        remote: remote_ts.iter().map(selector).collect::<Result<_, _>>()?,
    })
}

/// Both sides of a packet, ours first, as traffic selectors.
fn sides(flow: &Flow) -> (TrafficSelector, TrafficSelector) {
    let protocol = flow.protocol.unwrap_or(0);
    let ports = match (protocol, flow.ports) {
        // The answer has another type, and would not be of the CHILD_SA that a peer makes for this one alone.
        (ICMP | ICMPV6, _) | (_, None) => None,
        (_, ports) => ports,
    };
    let side = |address, port: Option<u16>| {
        TrafficSelector::host(address).with(protocol, port.map_or(selector::Ports::ANY, selector::Ports::one))
    };
    let (source, destination) = ports.unzip();
    (side(flow.source, source), side(flow.destination, destination))
}

fn selector(ts: &TrafficSelector) -> Result<Selector, String> {
    let addresses = AddressRange::new(ts.start_addr, ts.end_addr).map_err(|error| error.to_string())?;
    Ok(Selector {
        addresses,
        protocol: (ts.protocol != 0).then_some(ts.protocol),
        ports: Ports::from_wire(ts.start_port, ts.end_port),
    })
}

fn tunnel_options(child: &Child) -> TunnelOptions {
    TunnelOptions {
        copy_dscp: match child.copy_dscp {
            config::CopyDscp::Out => CopyDscp::Out,
            config::CopyDscp::In => CopyDscp::In,
            config::CopyDscp::Both => CopyDscp::Both,
            config::CopyDscp::No => CopyDscp::No,
        },
        ecn: if child.copy_ecn { Ecn::Propagate } else { Ecn::Off },
        copy_df: child.copy_df,
    }
}

fn limits(child: &Child) -> Limits {
    Limits {
        soft_bytes: limits::soft(child.bytes),
        hard_bytes: child.bytes.life,
        soft_packets: limits::soft(child.packets),
        hard_packets: child.packets.life,
    }
}

/// The bits that all SPIs of a range begin with.
fn common_prefix(spis: &RangeInclusive<u32>) -> SpiPrefix {
    let len = (spis.start() ^ spis.end()).leading_zeros().min(16);
    let len = u8::try_from(len).unwrap_or(0);
    SpiPrefix { value: spis.start().checked_shr(32 - u32::from(len)).unwrap_or(0), len }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_its_addresses_protocol_and_ports() {
        let flow = |protocol, ports| Flow {
            source: "10.0.0.1".parse().unwrap(),
            destination: "10.1.0.1".parse().unwrap(),
            protocol,
            ports,
        };
        let table = [
            (flow(Some(6), Some((40_000, 80))), "10.0.0.1/32[tcp/40000] 10.1.0.1/32[tcp/http]"),
            (flow(Some(1), Some((0x0800, 0x0800))), "10.0.0.1/32[icmp] 10.1.0.1/32[icmp]"),
            (flow(Some(17), None), "10.0.0.1/32[udp] 10.1.0.1/32[udp]"),
            (flow(None, None), "10.0.0.1/32 10.1.0.1/32"),
        ];
        for (flow, expected) in table {
            let (local, remote) = sides(&flow);
            assert_eq!(format!("{local} {remote}"), expected);
        }
    }

    #[test]
    fn the_prefix_of_a_range_of_spis() {
        assert_eq!(common_prefix(&(0xc000_0000..=0xcfff_ffff)), SpiPrefix { value: 0xc, len: 4 });
        assert_eq!(common_prefix(&(0..=u32::MAX)), SpiPrefix { value: 0, len: 0 });
        assert_eq!(common_prefix(&(0x1234_5600..=0x1234_56ff)), SpiPrefix { value: 0x1234, len: 16 });
    }
}
