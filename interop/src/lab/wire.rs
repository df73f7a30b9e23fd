//! What a capture shows: whether anything but IPsec passed between two gateways.

use std::fmt;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

const IKE: u16 = 500;
const NAT_TRAVERSAL: u16 = 4500;

/// The protocol number of ESP without UDP around it (RFC 4303 §2).
const ESP: u8 = 50;

/// The next header of a piece of an IPv6 packet (RFC 8200 §4.5).
const IPV6_FRAGMENT: u8 = 44;

/// Octets of a UDP header.
const UDP_HEADER: usize = 8;

/// Longest packet tcpdump records.
const SNAPLEN: usize = 262_144;

/// What passed, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// IKE messages, on either port.
    pub ike: u64,
    /// Those of them that are fragments of a message (RFC 7383), by which of the two ends sent them.
    pub fragments: [u64; 2],
    /// ESP packets, in UDP or not, or pieces of them.
    pub esp: u64,
    /// Octets of ESP packets, without their UDP headers.
    pub esp_bytes: u64,
    /// NAT keepalives.
    pub keepalives: u64,
    /// Packets that concern the link itself: ARP, neighbour discovery, multicast listener reports.
    pub link: u64,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ike, fragments, esp, esp_bytes, keepalives, link } = self;
        write!(
            f,
            "{ike} IKE messages ({} of them fragments), {esp} ESP packets ({esp_bytes} octets), {keepalives} keepalives, \
             {link} packets of the link itself",
            fragments.iter().sum::<u64>()
        )
    }
}

/// A datagram on port 500 or 4500, or an ESP packet, and when it passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// When, since whatever time the capture counts from.
    pub at: Duration,
    /// Its source.
    pub from: IpAddr,
    /// Its destination.
    pub to: IpAddr,
    /// What it carries.
    pub carried: Carried,
}

/// What such a datagram carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// An IKE message.
    Ike,
    /// A fragment of an IKE message (RFC 7383 §2.5).
    Fragment,
    /// An ESP packet, or it is one.
    Esp,
    /// A NAT keepalive.
    Keepalive,
}

/// The datagrams on ports 500 and 4500 and ESP packets of the capture at `path`, in order.
pub fn passed(path: &Path) -> Result<Vec<Passed>> {
    let mut passed = Vec::new();
    each_frame(path, |at, frame| {
        let Some((ethernet, packet)) = frame.split_at_checked(14) else { return Ok(()) };
        let (from, to, protocol, payload) = match ethernet {
            [.., 0x08, 0x00] => ipv4(packet)?,
            [.., 0x86, 0xdd] => ipv6(packet)?,
            _ => return Ok(()),
        };
        let carried = match protocol {
            ESP => Some(Carried::Esp),
            17 => udp(payload).and_then(|(_, carried)| carried),
            _ => None,
        };
        passed.extend(carried.map(|carried| Passed { at, from, to, carried }));
        Ok(())
    })?;
    Ok(passed)
}

/// Goes through the capture at `path` and wants nothing in it but IKE and ESP between the addresses `ends`, and
/// `marker`, a piece of the plaintext, in no packet at all.
///
/// # Errors
/// Names the first packet that has no business there.
pub fn only_ipsec(path: &Path, ends: [IpAddr; 2], marker: &[u8]) -> Result<Seen> {
    let mut seen = Seen::default();
    each_frame(path, |_, frame| {
        ensure!(
            marker.is_empty() || !frame.windows(marker.len()).any(|window| window == marker),
            "it carries the plaintext"
        );
        count(frame, ends, &mut seen).context("it has no business there")
    })?;
    Ok(seen)
}

/// Shows every frame of a capture, and when it passed.
fn each_frame(path: &Path, mut look: impl FnMut(Duration, &[u8]) -> Result<()>) -> Result<()> {
    let mut capture = BufReader::with_capacity(1 << 20, File::open(path)?);
    let header: [u8; 24] = read(&mut capture)?.context("the capture is empty")?;
    let [a, b, c, d, ..] = header;
    ensure!(u32::from_ne_bytes([a, b, c, d]) == 0xa1b2_c3d4, "{} is not a capture", path.display());
    let mut number = 0_u64;
    while let Some(header) = read::<16>(&mut capture)? {
        number += 1;
        let [s1, s2, s3, s4, u1, u2, u3, u4, a, b, c, d, ..] = header;
        let seconds = Duration::from_secs(u32::from_ne_bytes([s1, s2, s3, s4]).into());
        let at = seconds + Duration::from_micros(u32::from_ne_bytes([u1, u2, u3, u4]).into());
        let length = usize::try_from(u32::from_ne_bytes([a, b, c, d]))?;
        ensure!(length <= SNAPLEN, "packet {number} claims {length} octets");
        let mut frame = vec![0; length];
        capture.read_exact(&mut frame)?;
        look(at, &frame).with_context(|| format!("packet {number} of {}", path.display()))?;
    }
    Ok(())
}

/// Ethernet II, then IPv4, IPv6 or ARP.
fn count(frame: &[u8], ends: [IpAddr; 2], seen: &mut Seen) -> Result<()> {
    let (ethernet, packet) = frame.split_at_checked(14).context("shorter than an Ethernet header")?;
    let (source, destination, protocol, payload) = match ethernet {
        [.., 0x08, 0x00] => ipv4(packet)?,
        [.., 0x86, 0xdd] => ipv6(packet)?,
        [.., 0x08, 0x06] => {
            seen.link += 1;
            return Ok(());
        }
        _ => bail!("neither IP nor ARP"),
    };
    if protocol == ESP {
        let between = ends.contains(&source) && ends.contains(&destination);
        ensure!(between, "ESP from {source} to {destination}");
        seen.esp += 1;
        seen.esp_bytes += u64::try_from(payload.len())?;
        return Ok(());
    }
    if protocol != 17 {
        let of_the_link = stays_on_link(destination) || is_neighbour_discovery(protocol, payload);
        ensure!(of_the_link, "protocol {protocol} from {source} to {destination}");
        seen.link += 1;
        return Ok(());
    }
    if stays_on_link(destination) {
        seen.link += 1;
        return Ok(());
    }
    let (ports, carried) = udp(payload).context("no room for a UDP header")?;
    let [from, to] = ports;
    ensure!(
        ends.contains(&source) && ends.contains(&destination),
        "UDP from {source}:{from} to {destination}:{to}"
    );
    match carried {
        Some(Carried::Ike) => seen.ike += 1,
        Some(Carried::Fragment) => {
            seen.ike += 1;
            for (end, count) in ends.iter().zip(&mut seen.fragments) {
                *count += u64::from(*end == source);
            }
        }
        Some(Carried::Keepalive) => seen.keepalives += 1,
        Some(Carried::Esp) => {
            seen.esp += 1;
            seen.esp_bytes += u64::try_from(payload.len() - UDP_HEADER)?;
        }
        None => bail!("UDP from {source}:{from} to {destination}:{to}"),
    }
    Ok(())
}

/// The ports of a UDP datagram, and what it carries if these are IKE's; behind a NAT only one of the two is.
fn udp(payload: &[u8]) -> Option<([u16; 2], Option<Carried>)> {
    let &[s1, s2, d1, d2, _, _, _, _, ref datagram @ ..] = payload else { return None };
    let ports = [u16::from_be_bytes([s1, s2]), u16::from_be_bytes([d1, d2])];
    let carried = if ports.contains(&NAT_TRAVERSAL) {
        Some(match datagram {
            [0, 0, 0, 0, message @ ..] => ike(message),
            [0xff] => Carried::Keepalive,
            _ => Carried::Esp,
        })
    } else {
        ports.contains(&IKE).then(|| ike(datagram))
    };
    Some((ports, carried))
}

fn ike(message: &[u8]) -> Carried {
    const NEXT_PAYLOAD: usize = 16;
    const ENCRYPTED_FRAGMENT: u8 = 53;
    match message.get(NEXT_PAYLOAD) {
        Some(&ENCRYPTED_FRAGMENT) => Carried::Fragment,
        _ => Carried::Ike,
    }
}

fn stays_on_link(destination: IpAddr) -> bool {
    match destination {
        // RFC 5771 §4: no router forwards these. Switches tell them which groups they listen to.
        IpAddr::V4(to) => matches!(to.octets(), [224, 0, 0, _]),
        IpAddr::V6(to) => to.is_multicast() || to.is_unicast_link_local(),
    }
}

type Packet<'a> = (IpAddr, IpAddr, u8, &'a [u8]);

fn ipv4(packet: &[u8]) -> Result<Packet<'_>> {
    let &[first, _, _, _, _, _, f1, f2, _, protocol, _, _, ref rest @ ..] = packet else {
        bail!("a cut packet")
    };
    // A kernel may cut an ESP packet; the pieces say as well what they are.
    ensure!(u16::from_be_bytes([f1, f2]) & 0x3fff == 0 || protocol == ESP, "a fragment");
    let &[s1, s2, s3, s4, d1, d2, d3, d4, ..] = rest else { bail!("a cut packet") };
    let header = usize::from(first & 0x0f) * 4;
    let payload = packet.get(header..).context("a cut packet")?;
    let (source, destination) = (Ipv4Addr::new(s1, s2, s3, s4), Ipv4Addr::new(d1, d2, d3, d4));
    Ok((source.into(), destination.into(), protocol, payload))
}

fn ipv6(packet: &[u8]) -> Result<Packet<'_>> {
    let (header, payload) = packet.split_at_checked(40).context("a cut packet")?;
    let address = |at: std::ops::Range<usize>| -> Result<IpAddr> {
        let octets: [u8; 16] = header.get(at).context("a cut packet")?.try_into()?;
        Ok(Ipv6Addr::from(octets).into())
    };
    let (from, to) = (address(8..24)?, address(24..40)?);
    Ok(match (header.get(6).context("a cut packet")?, payload) {
        (&IPV6_FRAGMENT, &[next, _, _, _, _, _, _, _, ref piece @ ..]) => {
            ensure!(next == ESP, "a fragment");
            (from, to, next, piece)
        }
        (next, payload) => (from, to, *next, payload),
    })
}

/// ICMPv6 router and neighbour solicitation and advertisement (RFC 4861 §4).
fn is_neighbour_discovery(protocol: u8, payload: &[u8]) -> bool {
    protocol == 58 && matches!(payload.first(), Some(133..=136))
}

/// The next `N` octets, or nothing at the end of the file (or in the middle of a record, where tcpdump was stopped).
fn read<const N: usize>(from: &mut impl Read) -> Result<Option<[u8; N]>> {
    let mut octets = [0; N];
    match from.read_exact(&mut octets) {
        Ok(()) => Ok(Some(octets)),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDS: [IpAddr; 2] =
        [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2))];

    fn frame(protocol: u8, ports: [u16; 2], payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([0x08, 0x00, 0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0]);
        frame.extend([192, 0, 2, 1, 192, 0, 2, 2]);
        frame.extend(ports.iter().flat_map(|port| port.to_be_bytes()));
        frame.extend([0, 0, 0, 0]);
        frame.extend(payload);
        frame
    }

    fn capture(frames: &[Vec<u8>]) -> tempfile::NamedTempFile {
        let mut bytes = 0xa1b2_c3d4_u32.to_ne_bytes().to_vec();
        bytes.resize(24, 0);
        for frame in frames {
            let length = u32::try_from(frame.len()).unwrap().to_ne_bytes();
            bytes.extend([0; 8]);
            bytes.extend(length);
            bytes.extend(length);
            bytes.extend(frame);
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    #[test]
    fn ike_and_esp_are_counted() {
        let mut igmp = frame(2, [0x2200, 0], b"");
        igmp.splice(30..34, [224, 0, 0, 22]);
        let file = capture(&[
            frame(17, [500, 1033], b"ike"),
            frame(17, [4500, 1044], &[0, 0, 0, 0, 1]),
            frame(17, [4500, 4500], &[&[0; 20][..], &[53, 0x20, 35]].concat()),
            frame(17, [4500, 4500], &[1, 2, 3, 4, 5]),
            frame(17, [1044, 4500], &[0xff]),
            igmp,
        ]);
        let seen = only_ipsec(file.path(), ENDS, b"secret").unwrap();
        assert_eq!(seen, Seen { ike: 3, fragments: [1, 0], esp: 1, esp_bytes: 5, keepalives: 1, link: 1 });
    }

    #[test]
    fn anything_else_is_named() {
        let others = [
            (frame(1, [0, 0], b""), "protocol 1 from 192.0.2.1 to 192.0.2.2"),
            (frame(6, [80, 80], b""), "protocol 6"),
            (frame(17, [53, 53], b""), "UDP from 192.0.2.1:53"),
            (frame(17, [4500, 4500], b"a secret"), "plaintext"),
        ];
        for (frame, complaint) in others {
            let file = capture(&[frame]);
            let error = format!("{:#}", only_ipsec(file.path(), ENDS, b"secret").unwrap_err());
            assert!(error.contains(complaint), "{error}");
        }
        let elsewhere = capture(&[frame(17, [4500, 4500], &[1])]);
        assert!(only_ipsec(elsewhere.path(), [ENDS[0], ENDS[0]], b"").is_err());
    }
}
