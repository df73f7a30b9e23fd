//! What lies beneath the tunnels: routes, rules, addresses, links; and the options of the IKE sockets.

use std::net::UdpSocket;
use std::task::Poll;
use std::time::Duration;

use ferry_xfrm::socket_policy::{self, Applied, Family};
use ferry_xfrm::{
    Addresses, Change, Changes, Error, EspSupport, Links, NextHop, Path, Route, Routes, RoutingTable,
    Underlay, esp_support,
};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::support::{addr, in_namespace, index, ip, prefix, skipped, veth};

#[test]
fn routes_and_rules_come_and_go() {
    in_namespace(async || {
        veth();
        let v0 = index("v0").await;
        ip("addr add 10.2.0.1/24 dev v0");
        ip("route add 10.9.0.0/24 dev v1 table 220");
        ip("-6 rule add lookup 220 priority 220");

        let mut routes = Routes::open(RoutingTable::default()).await.unwrap();
        assert_eq!(ip("rule show priority 220"), "220: from all lookup 220");
        assert_eq!(ip("-6 rule show priority 220"), "220: from all lookup 220");

        let range = ferry_xfrm::AddressRange::new(addr("10.3.0.0"), addr("10.3.1.127")).unwrap();
        let route = Route::new(range, NextHop::Interface(v0), Some(addr("10.2.0.1")));
        routes.add(&route).await.unwrap();
        routes.add(&to("2001:db8::/32", v0)).await.unwrap();
        assert_eq!(
            ip("route show table 220 proto static"),
            "10.3.0.0/24 dev v0 scope link src 10.2.0.1\n10.3.1.0/25 dev v0 scope link src 10.2.0.1"
        );
        assert_eq!(
            ip("-6 route show table 220"),
            "2001:db8::/32 dev v0 proto static metric 1024 pref medium"
        );
        assert_eq!(routes.installed().count(), 3);

        // The second claim to a destination takes over, and gives back.
        let v1 = index("v1").await;
        let other = to("10.3.0.0/24", v1);
        routes.add(&other).await.unwrap();
        assert!(ip("route show table 220 10.3.0.0/24").contains("dev v1"));
        routes.remove(&other).await.unwrap();
        assert!(ip("route show table 220 10.3.0.0/24").contains("dev v0"));

        // All of a range or nothing: the second of its prefixes is a stranger's.
        let range = ferry_xfrm::AddressRange::new(addr("10.8.0.0"), addr("10.9.0.255")).unwrap();
        let into_strangers = Route::new(range, NextHop::Interface(v0), None);
        let refused = routes.add(&into_strangers).await.unwrap_err();
        assert!(matches!(refused, Error::RouteTaken { table: 220, .. }), "{refused}");
        assert!(!ip("route show table 220").contains("10.8.0.0"));
        assert!(ip("route show table 220 10.9.0.0/24").contains("dev v1"));
        routes.replace(&into_strangers).await.unwrap();
        assert!(ip("route show table 220 10.9.0.0/24").contains("dev v0"));
        routes.remove(&into_strangers).await.unwrap();

        let no_source = Route { source: Some(addr("10.99.0.1")), ..to("10.7.0.0/16", v0) };
        let refused = routes.add(&no_source).await.unwrap_err().to_string();
        assert!(
            refused.starts_with("cannot add route 10.7.0.0/16 in table 220: Invalid argument"),
            "{refused}"
        );

        ip("route add 10.66.0.0/16 dev v1 table 220");
        routes.shutdown().await.unwrap();
        assert_eq!(ip("route show table 220"), "10.66.0.0/16 dev v1 scope link");
        assert_eq!(ip("-6 route show table 220"), "");
        assert_eq!(ip("rule show priority 220"), "", "ours is gone");
        assert_eq!(ip("-6 rule show priority 220"), "220: from all lookup 220", "the stranger's stays");
    });
}

#[test]
fn the_way_to_the_peer_is_found_beneath_the_tunnels() {
    in_namespace(async || {
        veth();
        let (v0, v1) = (index("v0").await, index("v1").await);
        ip("addr add 192.0.2.1/24 dev v0");
        ip("addr add 2001:db8:1::1/64 dev v0 nodad");
        ip("route add default via 192.0.2.254");
        ip("-6 route add default via 2001:db8:1::ff");
        ip("addr add 10.2.0.1/24 dev v1");
        let (peer, peer6) = (addr("203.0.113.7"), addr("2001:db8:9::7"));
        let beneath = Path { source: addr("192.0.2.1"), interface: v0, gateway: Some(addr("192.0.2.254")) };
        let beneath6 =
            Path { source: addr("2001:db8:1::1"), interface: v0, gateway: Some(addr("2001:db8:1::ff")) };

        let mut addresses = Addresses::open(Underlay::default()).await.unwrap();
        assert_eq!(addresses.path_to(peer, None).await.unwrap(), beneath, "nothing in the way");

        // A virtual IP on the same interface and everything routed into the tunnels.
        addresses.add_virtual_ip(addr("10.9.0.5"), v0).await.unwrap();
        addresses.add_virtual_ip(addr("2001:db8:5::5"), v0).await.unwrap();
        let mut routes = Routes::open(RoutingTable::default()).await.unwrap();
        routes
            .add(&Route::new(prefix("0.0.0.0/0"), NextHop::Interface(v1), Some(addr("10.9.0.5"))))
            .await
            .unwrap();
        routes
            .add(&Route::new(prefix("::/0"), NextHop::Interface(v1), Some(addr("2001:db8:5::5"))))
            .await
            .unwrap();
        assert!(ip("route get 203.0.113.7").contains("dev v1 table 220 src 10.9.0.5"));
        assert_eq!(addresses.path_to(peer, None).await.unwrap(), beneath, "from the tables");
        assert_eq!(addresses.path_to(peer6, None).await.unwrap(), beneath6, "from the tables");
        assert_eq!(addresses.path_to(peer, Some(addr("192.0.2.1"))).await.unwrap(), beneath);

        routes.exempt_peer(peer, &beneath).await.unwrap();
        routes.exempt_peer(peer, &beneath).await.unwrap();
        routes.exempt_peer(peer6, &beneath6).await.unwrap();
        assert!(ip("route get 203.0.113.7").contains("via 192.0.2.254 dev v0 src 192.0.2.1"));
        assert!(ip("route get 2001:db8:9::7").contains("via 2001:db8:1::ff dev v0"));
        assert!(ip("route get 203.0.113.8").contains("dev v1 table 220"));
        routes.release_peer(peer).await.unwrap();
        assert!(ip("route get 203.0.113.7").contains("dev v0"), "exempted twice");
        routes.release_peer(peer).await.unwrap();
        assert!(ip("route get 203.0.113.7").contains("dev v1 table 220"));
        routes.shutdown().await.unwrap();

        // The same by a mark.
        let table = RoutingTable { mark: Some("!0x1a".parse().unwrap()), ..RoutingTable::default() };
        let mut routes = Routes::open(table).await.unwrap();
        assert_eq!(ip("rule show priority 220"), "220: not from all fwmark 0x1a lookup 220");
        routes.add(&to("0.0.0.0/0", v1)).await.unwrap();
        let marked = Addresses::open(Underlay { mark: 0x1a, ..Underlay::default() }).await.unwrap();
        assert_eq!(marked.path_to(peer, None).await.unwrap(), beneath);
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect("203.0.113.7:500").unwrap();
        assert_ne!(socket.local_addr().unwrap().ip(), addr("192.0.2.1"), "unmarked: into the tunnel");
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket_policy::set_mark(&socket, 0x1a).unwrap();
        socket.connect("203.0.113.7:500").unwrap();
        assert_eq!(socket.local_addr().unwrap().ip(), addr("192.0.2.1"), "marked: beneath it");
        routes.shutdown().await.unwrap();

        // In the main table: halves before the default route, a host route for the peer.
        let table = RoutingTable { id: 0, ..RoutingTable::default() };
        let mut routes = Routes::open(table).await.unwrap();
        routes.exempt_peer(peer, &beneath).await.unwrap();
        routes.add(&to("0.0.0.0/0", v1)).await.unwrap();
        assert!(ip("route get 203.0.113.7").contains("via 192.0.2.254 dev v0"));
        assert!(ip("route get 203.0.113.8").contains("dev v1"));
        routes.shutdown().await.unwrap();
        assert_eq!(ip("route show default"), "default via 192.0.2.254 dev v0");

        ip("route del default");
        assert!(matches!(addresses.path_to(peer, None).await, Err(Error::NoRoute(to)) if to == peer));
    });
}

#[test]
fn virtual_ips_and_changes() {
    in_namespace(async || {
        veth();
        let links = Links::open().await.unwrap();
        assert!(matches!(links.by_name("ipsec0").await, Err(Error::NoInterface(name)) if name == "ipsec0"));
        let v0 = links.by_name("v0").await.unwrap().index;
        let mut changes = Changes::subscribe(&[220]).await.unwrap();

        links.set_up_with_mtu(v0, 1400).await.unwrap();
        let link = links.by_index(v0).await.unwrap();
        assert_eq!((link.name.as_str(), link.is_up, link.mtu), ("v0", true, 1400));
        heard(&mut changes, |change| matches!(change, Change::Link { index, .. } if *index == v0)).await;

        let mut addresses = Addresses::open(Underlay::default()).await.unwrap();
        let (inside, inside6) = (addr("10.9.0.5"), addr("2001:db8::5"));
        assert!(!addresses.is_local(inside).await.unwrap());
        addresses.add_virtual_ip(inside, v0).await.unwrap();
        addresses.add_virtual_ip(inside, v0).await.unwrap();
        addresses.add_virtual_ip(inside6, v0).await.unwrap();
        assert!(addresses.is_local(inside).await.unwrap());
        // The kernel begins to deliver to an IPv6 address a moment after it has taken it.
        let delivered = async { while !addresses.is_local(inside6).await.unwrap() {} };
        tokio::time::timeout(Duration::from_secs(5), delivered).await.expect("the address is local");
        assert!(addresses.local_addresses().await.unwrap().iter().any(|local| local.address == inside6));
        let hint = addresses.local_inside(prefix("10.9.0.0/16").into(), None).await.unwrap().unwrap();
        assert_eq!((hint.address, hint.interface), (inside, v0));
        let shown = ip("-6 addr show dev v0 scope global");
        assert!(
            ["inet6 2001:db8::5/128", "nodad", "deprecated"].iter().all(|word| shown.contains(word)),
            "{shown}"
        );
        let came = Change::AddressAdded { address: inside, interface: v0 };
        heard(&mut changes, |change| *change == came).await;

        addresses.remove_virtual_ip(inside).await.unwrap();
        assert!(addresses.is_local(inside).await.unwrap(), "added twice");
        addresses.remove_virtual_ip(inside).await.unwrap();
        assert!(!addresses.is_local(inside).await.unwrap());
        let went = Change::AddressRemoved { address: inside, interface: v0 };
        heard(&mut changes, |change| *change == went).await;

        // What was there before stays.
        ip("addr add 10.9.0.6/32 dev v0");
        addresses.add_virtual_ip(addr("10.9.0.6"), v0).await.unwrap();
        addresses.shutdown().await.unwrap();
        assert!(ip("addr show dev v0").contains("10.9.0.6/32"));
        assert!(!ip("addr show dev v0").contains("2001:db8::5"));

        // Routes of our own table are not told, others are.
        ip("route add 10.77.0.0/16 dev v0 table 220");
        ip("route add 10.78.0.0/16 dev v0");
        let is_told = |change: &Change| match change {
            Change::Route { destination, table } => *table != 254 || destination.address().is_ipv4(),
            _ => false,
        };
        let route = heard(&mut changes, is_told).await;
        assert_eq!(route, Change::Route { destination: prefix("10.78.0.0/16"), table: 254 });
        ip("rule add lookup 1000 priority 1000");
        heard(&mut changes, |change| *change == Change::Rule).await;
        ip("link del v0");
        heard(&mut changes, |change| matches!(change, Change::LinkRemoved { index, .. } if *index == v0))
            .await;
    });
}

#[test]
fn callers_may_go_away_midway() {
    in_namespace(async || {
        veth();
        let v0 = index("v0").await;
        let mut virtual_ips = Addresses::open(Underlay::default()).await.unwrap();
        // More than the kernel puts into one datagram: a dump that is under way stays so.
        let many = 1000;
        for host in 0..many {
            let address = std::net::Ipv4Addr::from_bits(0x0a80_0000 + host);
            virtual_ips.add_virtual_ip(address.into(), v0).await.unwrap();
        }
        for polls in 0..8 {
            let addresses = Addresses::open(Underlay::default()).await.unwrap();
            let mut list = Box::pin(addresses.local_addresses());
            for _ in 0..polls {
                let once = std::future::poll_fn(|cx| Poll::Ready(list.as_mut().poll(cx)));
                if once.await.is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            drop(list);
            let listed =
                addresses.local_addresses().await.unwrap_or_else(|e| panic!("after {polls} polls: {e}"));
            assert!(listed.len() >= 1000, "after {polls} polls: {}", listed.len());
        }
        virtual_ips.shutdown().await.unwrap();
    });
}

#[test]
fn the_probe_answers_and_leaves_nothing() {
    in_namespace(async || {
        let answer = esp_support().await;
        println!("{answer}");
        assert!(!matches!(answer, EspSupport::NotPermitted | EspSupport::Failed(_)), "{answer}");
        if !matches!(answer, EspSupport::NoNetlink(_)) {
            assert_eq!(ip("xfrm state"), "", "after: {answer}");
        }
    });
}

#[test]
fn a_socket_bypasses_policies() {
    in_namespace(async || {
        ip("link set lo up");
        let [plain, around] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        let around6 = UdpSocket::bind("[::1]:0").unwrap();
        let applied = socket_policy::bypass(&around, Family::V4).unwrap();
        assert_eq!(socket_policy::bypass(&around6, Family::V6).unwrap(), applied);
        // A kernel may have XFRM, so that this is taken, and nothing to understand policies.
        let decapsulates = socket_policy::decapsulate_esp(&around).unwrap();
        assert!(decapsulates == Applied::Yes || applied == Applied::NoXfrm);
        if applied == Applied::NoXfrm {
            skipped("the kernel has no XFRM policies to bypass");
            return;
        }
        std::fs::write("/proc/sys/net/ipv4/conf/lo/disable_xfrm", "0").unwrap();
        std::fs::write("/proc/sys/net/ipv4/conf/lo/disable_policy", "0").unwrap();
        ip("xfrm policy add src 0.0.0.0/0 dst 0.0.0.0/0 dir out action block");
        ip("xfrm policy add src 0.0.0.0/0 dst 0.0.0.0/0 dir in action block");
        let to = around.local_addr().unwrap();
        let blocked = plain.send_to(b"IKE", to).unwrap_err();
        assert_eq!(blocked.kind(), std::io::ErrorKind::PermissionDenied);
        around.send_to(b"\0\0\0\0IKE", to).unwrap();
        around.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        assert_eq!(around.recv(&mut [0; 16]).unwrap(), 7, "both ways");
    });
}

#[test]
fn a_missing_privilege_is_said() {
    in_namespace(async || {
        veth();
        let v0 = index("v0").await;
        let none = CapabilitySet::empty();
        let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
        rustix::thread::set_capabilities(None, sets).unwrap(); // of this thread

        let says = "not permitted, this needs CAP_NET_ADMIN in the network namespace";
        let Err(error) = Routes::open(RoutingTable::default()).await else {
            panic!("a rule was added without privilege");
        };
        assert!(error.is_not_permitted() && error.to_string().contains(says), "{error}");
        let mut addresses = Addresses::open(Underlay::default()).await.unwrap();
        let error = addresses.add_virtual_ip(addr("10.9.0.5"), v0).await.unwrap_err();
        assert!(error.is_not_permitted() && error.to_string().contains(says), "{error}");
        let answer = esp_support().await;
        assert!(matches!(answer, EspSupport::NotPermitted | EspSupport::NoNetlink(_)), "{answer}");
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let error = socket_policy::set_mark(&socket, 1).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    });
}

/// Waits for a change.
async fn heard(changes: &mut Changes, is_it: impl Fn(&Change) -> bool) -> Change {
    let search = async {
        loop {
            let change = changes.next().await.unwrap();
            if is_it(&change) {
                return change;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(5), search).await.expect("the change is told")
}

fn to(destination: &str, interface: u32) -> Route {
    Route::new(prefix(destination), NextHop::Interface(interface), None)
}
