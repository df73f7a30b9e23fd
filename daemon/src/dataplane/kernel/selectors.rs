//! Traffic selectors as the kernel takes them, and as it tells of packets.

use ferry_ike::selector::{Ports, TrafficSelector};
use ferry_xfrm::selector::Unselectable;
use ferry_xfrm::{AddressRange, PortRange, Selector};

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// The selectors of packets from us to the peer.
pub(super) fn outbound(
    local_ts: &[TrafficSelector],
    remote_ts: &[TrafficSelector],
) -> Result<Vec<Selector>, String> {
    let mut all = Vec::new();
    for local in local_ts {
        for remote in remote_ts {
            match ferry_xfrm::selectors(&convert(local)?, &convert(remote)?) {
                Ok(selectors) => all.extend(selectors),
                // Each side may have both families, and several protocols.
                Err(Unselectable::MixedFamilies { .. } | Unselectable::Protocols { .. }) => {}
                Err(error) => return Err(format!("{local} and {remote} make no policies: {error}")),
            }
        }
    }
    if all.is_empty() {
        return Err("no packet is of the traffic selectors of both sides".into());
    }
    Ok(all)
}

/// Both sides of a packet that leaves, ours first.
pub(super) fn sides(packet: &Selector) -> (TrafficSelector, TrafficSelector) {
    let side = |address, port: u16| {
        let ports = match packet.protocol {
            // The answer has another type, and would not be of the CHILD_SA that a peer makes for this one alone.
            ICMP | ICMPV6 => Ports::ANY,
            _ if packet.source_port.mask == 0 && packet.destination_port.mask == 0 => Ports::ANY,
            _ => Ports::one(port),
        };
        TrafficSelector::host(address).with(packet.protocol, ports)
    };
    let source = side(packet.source().address(), packet.source_port.value);
    (source, side(packet.destination().address(), packet.destination_port.value))
}

fn convert(ts: &TrafficSelector) -> Result<ferry_xfrm::TrafficSelector, String> {
    let addresses = AddressRange::new(ts.start_addr, ts.end_addr).map_err(|error| error.to_string())?;
    let ports = PortRange::new(ts.start_port, ts.end_port)
        .ok_or_else(|| format!("the kernel has no selector for packets without visible ports ({ts})"))?;
    Ok(ferry_xfrm::TrafficSelector { addresses, protocol: ts.protocol, ports })
}

#[cfg(test)]
mod tests {
    use ferry_ike::selector::SelectorPattern;
    use ferry_xfrm::PortMatch;

    use super::*;

    fn ts(text: &str) -> TrafficSelector {
        SelectorPattern::parse(text).unwrap().resolve(&[])[0]
    }

    fn shown(local: &[&str], remote: &[&str]) -> Result<Vec<String>, String> {
        let all = |texts: &[&str]| texts.iter().map(|text| ts(text)).collect::<Vec<_>>();
        Ok(outbound(&all(local), &all(remote))?.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn sides_are_paired_within_families_and_protocols() {
        let paired = shown(&["10.1.0.0/16", "fd01::/64"], &["10.2.0.0/16", "fd02::/64"]).unwrap();
        assert_eq!(paired, ["10.1.0.0/16 -> 10.2.0.0/16", "fd01::/64 -> fd02::/64"]);
        let tcp = shown(&["10.1.0.1[tcp]", "10.1.0.1[udp]"], &["10.2.0.1[tcp/80]"]).unwrap();
        assert_eq!(tcp, ["10.1.0.1/32 -> 10.2.0.1/32[80] proto 6"]);
        assert!(shown(&["10.1.0.0/16"], &["fd02::/64"]).unwrap_err().starts_with("no packet"));
        let opaque = shown(&["10.1.0.0/16[tcp/opaque]"], &["10.2.0.0/16"]).unwrap_err();
        assert!(opaque.contains("without visible ports"), "{opaque}");
    }

    #[test]
    fn a_packet_is_its_addresses_protocol_and_ports() {
        let hosts = Selector::new("10.0.0.1/32".parse().unwrap(), "10.1.0.1/32".parse().unwrap()).unwrap();
        let ports = |a, b| hosts.with_ports(PortMatch::exactly(a), PortMatch::exactly(b));
        let table = [
            (ports(40_000, 80).with_protocol(6), "10.0.0.1/32[tcp/40000] 10.1.0.1/32[tcp/http]"),
            (ports(8, 0).with_protocol(1), "10.0.0.1/32[icmp] 10.1.0.1/32[icmp]"),
            (hosts.with_protocol(50), "10.0.0.1/32[esp] 10.1.0.1/32[esp]"),
        ];
        for (packet, expected) in table {
            let (local, remote) = sides(&packet);
            assert_eq!(format!("{local} {remote}"), expected);
        }
    }
}
