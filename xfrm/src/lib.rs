//! Linux routes, rules, addresses and (later) kernel SAs and policies over netlink.
