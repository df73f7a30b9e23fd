//! What `swanctl --list-sas` and `--list-pools` print, read back strictly.
//!
//! A line of another shape than charon's is an error: scripts that read these lines are part of what Ferry must not
//! break.

use anyhow::{Context, Result, bail, ensure};

/// An IKE SA, as listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IkeSa {
    /// The connection's name.
    pub name: String,
    /// The number the daemon gave it.
    pub unique_id: u32,
    /// `ESTABLISHED`, `CONNECTING` ...
    pub state: String,
    /// The initiator's and the responder's SPI, 16 digits each.
    pub spis: [String; 2],
    /// Whether the listing daemon initiated it.
    pub is_initiator: bool,
    /// Our end.
    pub local: End,
    /// The peer's end.
    pub remote: End,
    /// `AES_GCM_16-256/PRF_HMAC_SHA2_384/ECP_384`
    pub suite: String,
    /// The line of times: `established 65s ago, rekeying in 13011s`.
    pub times: String,
    /// Its children.
    pub children: Vec<ChildSa>,
}

/// One end of an IKE SA.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// The identity.
    pub id: String,
    /// The identity of EAP, where it is another.
    pub eap_id: Option<String>,
    /// The address.
    pub host: String,
    /// The UDP port.
    pub port: u16,
    /// Virtual addresses this end has been given.
    pub virtual_ips: Vec<String>,
}

/// A child, as listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChildSa {
    /// The child's name in the configuration.
    pub name: String,
    /// The number the daemon gave it.
    pub unique_id: u32,
    /// `INSTALLED` ...
    pub state: String,
    /// `TUNNEL-in-UDP` ...
    pub mode: String,
    /// `ESP:AES_GCM_16-128` ...
    pub suite: String,
    /// The line of times: `installed 65s ago, rekeying in 2790s, expires in 3535s`.
    pub times: String,
    /// What came in.
    pub inbound: Traffic,
    /// What went out.
    pub outbound: Traffic,
    /// The local traffic selectors.
    pub local_ts: Vec<String>,
    /// The remote ones.
    pub remote_ts: Vec<String>,
}

/// One direction of a child.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// The SPI, 8 digits.
    pub spi: String,
    /// Mark and interface ID, as they are listed: `0x00000007/0x000000ff|0x0000002a`.
    pub labels: Option<String>,
    /// Bytes of payload.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
}

/// A pool of virtual addresses, as listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Its first address.
    pub base: String,
    /// Leases in use.
    pub online: u32,
    /// Leases remembered.
    pub offline: u32,
    /// Addresses in all.
    pub size: u32,
    /// The leases.
    pub leases: Vec<Lease>,
}

/// A lease of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The address.
    pub address: String,
    /// Whether it is in use.
    pub is_online: bool,
    /// Whose it is.
    pub identity: String,
}

/// Reads what `--list-sas` printed.
pub(super) fn sas(text: &str) -> Result<Vec<IkeSa>> {
    let mut sas: Vec<IkeSa> = Vec::new();
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let read = match (indent, sas.last_mut()) {
            (0, _) => ike_head(line).map(|sa| sas.push(sa)),
            (2, Some(sa)) => ike_line(line.trim_start(), sa),
            (4, Some(IkeSa { children, .. })) => match children.last_mut() {
                Some(child) => child_line(line.trim_start(), child),
                None => bail!("a child's line without a child: {line:?} in:\n{text}"),
            },
            _ => bail!("unexpected line {line:?} in:\n{text}"),
        };
        read.with_context(|| format!("line {line:?} of:\n{text}"))?;
    }
    Ok(sas)
}

/// Reads what `--list-pools --leases` printed.
pub(super) fn pools(text: &str) -> Result<Vec<Pool>> {
    let mut pools: Vec<Pool> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match (words.as_slice(), pools.last_mut()) {
            (&[name, base, online, "/", offline, "/", size], _) if !line.starts_with(' ') => {
                pools.push(Pool {
                    name: name.to_owned(),
                    base: base.to_owned(),
                    online: online.parse()?,
                    offline: offline.parse()?,
                    size: size.parse()?,
                    leases: Vec::new(),
                })
            }
            (&[address, status @ ("online" | "offline"), identity], Some(pool)) => pool.leases.push(Lease {
                address: address.to_owned(),
                is_online: status == "online",
                identity: identity.trim_matches('\'').to_owned(),
            }),
            _ => bail!("unexpected line {line:?} in:\n{text}"),
        }
    }
    Ok(pools)
}

/// `road: #12, ESTABLISHED, IKEv2, 1a2b3c4d5e6f7081_i 9f8e7d6c5b4a3928_r*`
fn ike_head(line: &str) -> Result<IkeSa> {
    let (name, rest) = line.split_once(": #").context("no name")?;
    let [unique_id, state, version, spis] = parts(rest)?;
    ensure!(version == "IKEv2", "not IKEv2");
    let (initiator, responder) = spis.split_once(' ').context("not two SPIs")?;
    let (initiator_star, responder_star) = (initiator.ends_with('*'), responder.ends_with('*'));
    ensure!(initiator_star != responder_star, "not exactly one SPI is marked as ours");
    let initiator = initiator.trim_end_matches('*').strip_suffix("_i").context("no initiator SPI")?;
    let responder = responder.trim_end_matches('*').strip_suffix("_r").context("no responder SPI")?;
    Ok(IkeSa {
        name: name.to_owned(),
        unique_id: unique_id.parse()?,
        state: state.to_owned(),
        spis: [hexadecimal(initiator, 16)?, hexadecimal(responder, 16)?],
        is_initiator: initiator_star,
        ..IkeSa::default()
    })
}

fn ike_line(line: &str, sa: &mut IkeSa) -> Result<()> {
    if let Some(end) = line.strip_prefix("local  ") {
        sa.local = self::end(end)?;
    } else if let Some(end) = line.strip_prefix("remote ") {
        sa.remote = self::end(end)?;
    } else if line.starts_with("established ") {
        line.clone_into(&mut sa.times);
    } else if line.contains(": #") {
        sa.children.push(child_head(line)?);
    } else if line.contains("/PRF_") {
        line.clone_into(&mut sa.suite);
    } else if !["queued:", "active:", "passive:"].iter().any(|word| line.starts_with(word)) {
        bail!("unexpected");
    }
    Ok(())
}

/// `'pc7' @ 203.0.113.9[61234] [10.9.0.4]`
fn end(text: &str) -> Result<End> {
    let (id, place) = text.split_once("' @ ").context("no identity")?;
    let (address, rest) = place.split_once(' ').unwrap_or((place, ""));
    let (eap_id, ips) = match rest.strip_prefix("EAP: '") {
        Some(rest) => {
            let (id, ips) = rest.split_once('\'').context("no end of the EAP identity")?;
            (Some(id.to_owned()), ips.trim_start())
        }
        None => (None, rest),
    };
    let virtual_ips = match ips {
        "" => "",
        ips => ips.strip_prefix('[').and_then(|ips| ips.strip_suffix(']')).context("no list of addresses")?,
    };
    let (host, port) = address.strip_suffix(']').and_then(|a| a.split_once('[')).context("no port")?;
    Ok(End {
        id: id.strip_prefix('\'').context("no quote")?.to_owned(),
        eap_id,
        host: host.to_owned(),
        port: port.parse()?,
        virtual_ips: virtual_ips.split_whitespace().map(str::to_owned).collect(),
    })
}

/// `lan: #31, reqid 4, INSTALLED, TUNNEL-in-UDP, ESP:AES_GCM_16-128`
fn child_head(line: &str) -> Result<ChildSa> {
    let (name, rest) = line.split_once(": #").context("no name")?;
    let [unique_id, reqid, state, mode, suite] = parts(rest)?;
    ensure!(reqid.strip_prefix("reqid ").is_some_and(|id| id.parse::<u32>().is_ok()), "no reqid");
    Ok(ChildSa {
        name: name.to_owned(),
        unique_id: unique_id.parse()?,
        state: state.to_owned(),
        mode: mode.to_owned(),
        suite: suite.to_owned(),
        ..ChildSa::default()
    })
}

fn child_line(line: &str, child: &mut ChildSa) -> Result<()> {
    let (word, rest) = line.split_once(' ').context("one word only")?;
    let words = || rest.split_whitespace().map(str::to_owned).collect();
    match word {
        "installed" => line.clone_into(&mut child.times),
        "in" => child.inbound = traffic(rest)?,
        "out" => child.outbound = traffic(rest)?,
        "local" => child.local_ts = words(),
        "remote" => child.remote_ts = words(),
        _ => bail!("unexpected"),
    }
    Ok(())
}

/// `c0ffee01,   5120 bytes,    40 packets,     2s ago`
fn traffic(text: &str) -> Result<Traffic> {
    let mut parts = text.split(',').map(str::trim);
    let mut part = || parts.next().context("too short");
    let first = part()?;
    let (spi, labels) = match first.split_once(' ') {
        Some((spi, labels)) => {
            let inside = labels.strip_prefix('(').and_then(|labels| labels.strip_suffix(')'));
            (spi, Some(inside.context("no marks in parentheses")?.to_owned()))
        }
        None => (first, None),
    };
    let spi = hexadecimal(spi, 8)?;
    let bytes = part()?.strip_suffix(" bytes").context("no bytes")?.parse()?;
    let packets = part()?.strip_suffix(" packets").context("no packets")?.parse()?;
    if let Ok(used) = part() {
        let seconds = used.strip_suffix("s ago").context("no time of use")?;
        seconds.parse::<u64>().context("no time of use")?;
    }
    Ok(Traffic { spi, labels, bytes, packets })
}

fn parts<const N: usize>(text: &str) -> Result<[&str; N]> {
    let parts: Vec<&str> = text.split(", ").collect();
    let number = parts.len();
    parts.try_into().ok().with_context(|| format!("{number} parts, not {N}"))
}

fn hexadecimal(text: &str, digits: usize) -> Result<String> {
    let lower = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    ensure!(text.len() == digits && text.chars().all(lower), "{text:?} is not {digits} hexadecimal digits");
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAS: &str = "\
road: #12, ESTABLISHED, IKEv2, 1a2b3c4d5e6f7081_i 9f8e7d6c5b4a3928_r*
  local  'vpn.lab' @ 198.51.100.7[4500]
  remote 'pc7' @ 203.0.113.9[61234] EAP: 'alice' [10.9.0.4 fd00::4]
  AES_GCM_16-256/PRF_HMAC_SHA2_384/ECP_384
  established 65s ago, rekeying in 13011s
  lan: #31, reqid 4, INSTALLED, TUNNEL-in-UDP, ESP:AES_GCM_16-128
    installed 65s ago, rekeying in 2790s, expires in 3535s
    in  c0ffee01,   5120 bytes,    40 packets,     2s ago
    out cafe0002 (0x00000007/0x000000ff|0x0000002a),      0 bytes,     0 packets
    local  10.1.0.0/16 fd01::/64
    remote 10.9.0.4/32
";

    #[test]
    fn a_listing_is_read_back() {
        let sas = sas(SAS).unwrap();
        let [sa] = sas.as_slice() else { panic!("{sas:?}") };
        assert_eq!((sa.name.as_str(), sa.unique_id, sa.state.as_str()), ("road", 12, "ESTABLISHED"));
        assert!(!sa.is_initiator);
        assert_eq!((sa.remote.port, sa.remote.eap_id.as_deref()), (61234, Some("alice")));
        assert_eq!(sa.remote.virtual_ips, ["10.9.0.4", "fd00::4"]);
        let [child] = sa.children.as_slice() else { panic!("{sas:?}") };
        assert_eq!((child.inbound.bytes, child.inbound.packets, child.outbound.packets), (5120, 40, 0));
        assert_eq!(child.local_ts, ["10.1.0.0/16", "fd01::/64"]);
    }

    #[test]
    fn another_shape_is_refused() {
        for (from, to) in [
            ("in  c0ffee01", "in  (null)"),
            ("_r*", "_r"),
            ("reqid 4", "reqid (null)"),
            ("@ 198.51.100.7[4500]", "@ 198.51.100.7"),
            ("  established", "  lives since"),
            ("    installed", "      installed"),
        ] {
            let broken = SAS.replace(from, to);
            assert_ne!(broken, SAS);
            assert!(sas(&broken).is_err(), "{to}");
        }
    }

    #[test]
    fn pools_and_leases_are_read_back() {
        let text = "\
clients              10.9.0.1                           1 / 1 / 254
  10.9.0.4                       online   'alice'
  10.9.0.5                       offline  'bob'
";
        let pools = pools(text).unwrap();
        let [pool] = pools.as_slice() else { panic!("{pools:?}") };
        assert_eq!((pool.online, pool.offline, pool.size), (1, 1, 254));
        let bob = Lease { address: "10.9.0.5".into(), is_online: false, identity: "bob".into() };
        assert_eq!(pool.leases.get(1), Some(&bob));
    }
}
