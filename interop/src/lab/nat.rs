//! Address translation and firewalls, made with `nft`.

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

fn nft(host: &Host, rules: &str) -> Result<()> {
    host.succeed(&["nft", rules]).map(drop)
}
