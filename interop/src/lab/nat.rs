//! Address translation, firewalls and bad lines, made with `nft`.

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
