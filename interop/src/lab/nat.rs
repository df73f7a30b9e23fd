//! Address translation, firewalls and bad lines, made with `nft`, and with `tc` where a kernel has no tables for it.

use anyhow::Result;

use super::host::Host;

/// Turns `host` into the box people have at home: what comes from its other interfaces leaves by `outside` with that
/// interface's address and a port of the box's choosing, and only answers come back in.
pub fn masquerade(host: &Host, outside: &str) -> Result<()> {
    nft(
        host,
        &format!(
            "table ip translation {{
                chain leaving {{
                    type nat hook postrouting priority srcnat
                    oifname \"{outside}\" masquerade random
                }}
                chain passing {{
                    type filter hook forward priority filter; policy drop
                    ct state established,related accept
                    iifname != \"{outside}\" accept
                }}
            }}"
        ),
    )
}

/// Does for IKE and ESP what [`masquerade`] does, in a kernel without address translation: the ports 500 and 4500 of each
/// of the `clients` are some from `first` on at `address`. What was translated before is forgotten.
pub fn translate(host: &Host, outside: &str, address: &str, clients: &[String], first: u16) -> Result<()> {
    let tc = |arguments: &str| {
        let command: Vec<&str> = std::iter::once("tc").chain(arguments.split_whitespace()).collect();
        host.succeed(&command).map(drop)
    };
    tc(&format!("qdisc replace dev {outside} clsact"))?;
    for way in ["egress", "ingress"] {
        tc(&format!("filter delete dev {outside} {way}"))?;
    }
    let inner_ports = clients.iter().flat_map(|client| [(client, 500), (client, 4500)]);
    for (port, (client, inner)) in (first..).zip(inner_ports) {
        let udp = |way: &str| format!("filter add dev {outside} {way} protocol ip flower ip_proto udp");
        tc(&format!(
            "{} src_ip {client} src_port {inner} action pedit ex munge ip src set {address} munge udp sport set {port} \
             pipe action csum ip udp",
            udp("egress")
        ))?;
        tc(&format!(
            "{} dst_ip {address} dst_port {port} action pedit ex munge ip dst set {client} munge udp dport set {inner} \
             pipe action csum ip udp",
            udp("ingress")
        ))?;
    }
    Ok(())
}

/// Makes `host` lose what it sends to UDP port `port`, from now on.
pub fn lose_outgoing(host: &Host, port: u16) -> Result<()> {
    nft(
        host,
        &format!(
            "table inet loss {{
                chain leaving {{ type filter hook output priority filter; udp dport {port} drop; }}
            }}"
        ),
    )
}

/// Makes `host` lose RADIUS requests to its address `at`, without a word to who sends them, until [`take_requests`].
pub fn lose_requests(host: &Host, at: &str) -> Result<()> {
    nft(
        host,
        &format!(
            "table ip silence {{
                chain arriving {{ type filter hook input priority filter; ip daddr {at} udp dport 1812 drop; }}
            }}"
        ),
    )
}

/// Undoes [`lose_requests`].
pub fn take_requests(host: &Host) -> Result<()> {
    nft(host, "delete table ip silence")
}

/// Makes `host` lose every `n`th IKE or ESP datagram, of those it sends and of those it receives, until
/// [`lose_none`].
pub fn lose_some(host: &Host, n: u32) -> Result<()> {
    nft(
        host,
        &format!(
            "table inet lossy {{
                chain leaving {{
                    type filter hook output priority filter
                    udp dport {{ 500, 4500 }} numgen inc mod {n} 0 drop
                }}
                chain arriving {{
                    type filter hook input priority filter
                    udp dport {{ 500, 4500 }} numgen inc mod {n} 1 drop
                }}
            }}"
        ),
    )
}

/// Makes the switches in `host` drop IPv4 datagrams of more than `mtu` octets, and all fragments of any, without a word
/// to anybody.
pub fn drop_large(host: &Host, mtu: u32) -> Result<()> {
    nft(
        host,
        &format!(
            "table bridge narrow {{
                chain passing {{
                    type filter hook forward priority filter
                    ip frag-off & 0x3fff != 0 counter drop
                    ip length > {mtu} counter drop
                }}
            }}"
        ),
    )
}

/// Undoes [`lose_some`].
pub fn lose_none(host: &Host) -> Result<()> {
    nft(host, "delete table inet lossy")
}

fn nft(host: &Host, rules: &str) -> Result<()> {
    host.succeed(&["nft", rules]).map(drop)
}
