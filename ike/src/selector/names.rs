//! Names of protocols and services that configurations and logs use in place of numbers.
//!
//! A table of our own: `/etc/protocols` and `/etc/services` are files, and often absent. Names are the ones
//! Debian's files give, so that what we show reads as it does with charon; numbers may always be used
//! instead.

const TCP: u8 = 6;
const UDP: u8 = 17;

/// The protocol of that name.
pub(super) fn protocol_number(name: &str) -> Option<u8> {
    PROTOCOLS
        .iter()
        .chain(PROTOCOL_ALIASES)
        .find(|(_, known)| known.eq_ignore_ascii_case(name))
        .map(|(number, _)| *number)
}

/// The name of a protocol.
pub(super) fn protocol_name(number: u8) -> Option<&'static str> {
    PROTOCOLS.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
}

/// The port of the service of that name, with that protocol; zero for any protocol.
pub(super) fn service_port(name: &str, protocol: u8) -> Option<u16> {
    SERVICES
        .iter()
        .chain(SERVICE_ALIASES)
        .find(|(_, known, over)| {
            known.eq_ignore_ascii_case(name) && (protocol == 0 || over.includes(protocol))
        })
        .map(|(port, ..)| *port)
}

/// The service that has a port with a protocol.
pub(super) fn service_name(port: u16, protocol: u8) -> Option<&'static str> {
    SERVICES
        .iter()
        .find(|(known, _, over)| *known == port && over.includes(protocol))
        .map(|(_, name, _)| *name)
}

/// What a service runs over.
#[derive(Clone, Copy)]
enum Over {
    Tcp,
    Udp,
    Both,
}

impl Over {
    fn includes(self, protocol: u8) -> bool {
        match self {
            Self::Tcp => protocol == TCP,
            Self::Udp => protocol == UDP,
            Self::Both => protocol == TCP || protocol == UDP,
        }
    }
}

#[rustfmt::skip]
const PROTOCOLS: &[(u8, &str)] = &[
    (0, "ip"),
    (1, "icmp"),
    (2, "igmp"),
    (4, "ipencap"),
    (6, "tcp"),
    (8, "egp"),
    (17, "udp"),
    (33, "dccp"),
    (41, "ipv6"),
    (43, "ipv6-route"),
    (44, "ipv6-frag"),
    (46, "rsvp"),
    (47, "gre"),
    (50, "esp"),
    (51, "ah"),
    (58, "ipv6-icmp"),
    (59, "ipv6-nonxt"),
    (60, "ipv6-opts"),
    (88, "eigrp"),
    (89, "ospf"),
    (94, "ipip"),
    (97, "etherip"),
    (98, "encap"),
    (103, "pim"),
    (108, "ipcomp"),
    (112, "vrrp"),
    (115, "l2tp"),
    (124, "isis"),
    (132, "sctp"),
    (135, "mobility-header"),
    (136, "udplite"),
    (137, "mpls-in-ip"),
    (139, "hip"),
    (143, "ethernet"),
];

/// Other names for protocols above.
const PROTOCOL_ALIASES: &[(u8, &str)] = &[(58, "icmpv6"), (58, "icmp6"), (51, "ipsec-ah"), (50, "ipsec-esp")];

#[rustfmt::skip]
const SERVICES: &[(u16, &str, Over)] = &[
    (20, "ftp-data", Over::Tcp),
    (21, "ftp", Over::Tcp),
    (22, "ssh", Over::Tcp),
    (23, "telnet", Over::Tcp),
    (25, "smtp", Over::Tcp),
    (37, "time", Over::Both),
    (43, "whois", Over::Tcp),
    (49, "tacacs", Over::Both),
    (53, "domain", Over::Both),
    (67, "bootps", Over::Udp),
    (68, "bootpc", Over::Udp),
    (69, "tftp", Over::Udp),
    (80, "http", Over::Tcp),
    (88, "kerberos", Over::Both),
    (110, "pop3", Over::Tcp),
    (111, "sunrpc", Over::Both),
    (119, "nntp", Over::Tcp),
    (123, "ntp", Over::Udp),
    (135, "epmap", Over::Tcp),
    (137, "netbios-ns", Over::Udp),
    (138, "netbios-dgm", Over::Udp),
    (139, "netbios-ssn", Over::Tcp),
    (143, "imap2", Over::Tcp),
    (161, "snmp", Over::Both),
    (162, "snmp-trap", Over::Both),
    (179, "bgp", Over::Tcp),
    (389, "ldap", Over::Both),
    (443, "https", Over::Both),
    (445, "microsoft-ds", Over::Tcp),
    (464, "kpasswd", Over::Both),
    (465, "submissions", Over::Tcp),
    (500, "isakmp", Over::Udp),
    (513, "login", Over::Tcp),
    (514, "syslog", Over::Udp),
    (514, "shell", Over::Tcp),
    (515, "printer", Over::Tcp),
    (520, "route", Over::Udp),
    (546, "dhcpv6-client", Over::Udp),
    (547, "dhcpv6-server", Over::Udp),
    (554, "rtsp", Over::Both),
    (587, "submission", Over::Tcp),
    (631, "ipp", Over::Tcp),
    (636, "ldaps", Over::Both),
    (853, "domain-s", Over::Both),
    (873, "rsync", Over::Tcp),
    (990, "ftps", Over::Tcp),
    (993, "imaps", Over::Tcp),
    (995, "pop3s", Over::Tcp),
    (1080, "socks", Over::Tcp),
    (1194, "openvpn", Over::Both),
    (1433, "ms-sql-s", Over::Tcp),
    (1701, "l2f", Over::Udp),
    (1812, "radius", Over::Both),
    (1813, "radius-acct", Over::Both),
    (2049, "nfs", Over::Both),
    (3260, "iscsi-target", Over::Tcp),
    (3306, "mysql", Over::Tcp),
    (3389, "ms-wbt-server", Over::Tcp),
    (3690, "svn", Over::Tcp),
    (4500, "ipsec-nat-t", Over::Udp),
    (5060, "sip", Over::Both),
    (5061, "sip-tls", Over::Both),
    (5222, "xmpp-client", Over::Tcp),
    (5269, "xmpp-server", Over::Tcp),
    (5432, "postgresql", Over::Tcp),
    (5353, "mdns", Over::Udp),
    (5672, "amqp", Over::Tcp),
    (8080, "http-alt", Over::Tcp),
];

/// Other names for services above.
#[rustfmt::skip]
const SERVICE_ALIASES: &[(u16, &str, Over)] = &[
    (25, "mail", Over::Tcp),
    (80, "www", Over::Tcp),
    (143, "imap", Over::Tcp),
    (162, "snmptrap", Over::Both),
    (465, "smtps", Over::Tcp),
    (520, "router", Over::Udp),
    (1701, "l2tp", Over::Udp),
    (1813, "radacct", Over::Both),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        for (number, name) in PROTOCOLS {
            assert_eq!((protocol_number(name), protocol_name(*number)), (Some(*number), Some(*name)));
        }
        for (port, name, over) in SERVICES {
            for protocol in [TCP, UDP] {
                let (expected_port, expected_name) =
                    if over.includes(protocol) { (Some(*port), Some(*name)) } else { (None, None) };
                assert_eq!(service_port(name, protocol), expected_port, "{name}");
                if expected_name.is_some() {
                    assert_eq!(service_name(*port, protocol), expected_name);
                }
            }
        }
    }

    #[test]
    fn services_depend_on_the_protocol() {
        assert_eq!((service_name(514, UDP), service_name(514, TCP)), (Some("syslog"), Some("shell")));
        assert_eq!((service_port("ssh", UDP), service_port("ssh", 0)), (None, Some(22)));
        assert_eq!((service_port("l2tp", UDP), service_name(1701, UDP)), (Some(1701), Some("l2f")));
        assert_eq!((protocol_number("ICMPv6"), protocol_name(58)), (Some(58), Some("ipv6-icmp")));
        assert_eq!((protocol_number("nonsense"), service_port("nonsense", 0)), (None, None));
    }
}
