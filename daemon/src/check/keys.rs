//! The words of swanctl.conf, to find what one that it does not have was meant to be.

/// Sections at the top.
pub(super) const TOP: &[&str] = &["authorities", "connections", "pools", "secrets"];

const CONNECTION: &[&str] = &[
    "aggressive",
    "childless",
    "children",
    "dpd_delay",
    "dpd_timeout",
    "dscp",
    "encap",
    "fragmentation",
    "if_id_in",
    "if_id_out",
    "keyingtries",
    "local",
    "local_addrs",
    "local_port",
    "mediated_by",
    "mediation",
    "mediation_peer",
    "mobike",
    "ocsp",
    "over_time",
    "pools",
    "ppk_id",
    "ppk_required",
    "proposals",
    "pull",
    "rand_time",
    "reauth_time",
    "rekey_time",
    "remote",
    "remote_addrs",
    "remote_port",
    "send_cert",
    "send_certreq",
    "unique",
    "version",
    "vips",
];

const ROUND: &[&str] = &[
    "aaa_id",
    "auth",
    "ca_id",
    "cacert",
    "cacerts",
    "cert",
    "cert_policy",
    "certs",
    "eap_id",
    "groups",
    "id",
    "pubkeys",
    "revocation",
    "round",
    "xauth_id",
];

const CERTIFICATE: &[&str] = &["file", "handle", "module", "slot"];

const CHILD: &[&str] = &[
    "ah_proposals",
    "close_action",
    "copy_df",
    "copy_dscp",
    "copy_ecn",
    "dpd_action",
    "esp_proposals",
    "hostaccess",
    "hw_offload",
    "icmp",
    "if_id_in",
    "if_id_out",
    "inactivity",
    "interface",
    "ipcomp",
    "label",
    "label_mode",
    "life_bytes",
    "life_packets",
    "life_time",
    "local_ts",
    "mark_in",
    "mark_in_sa",
    "mark_out",
    "mode",
    "per_cpu_sas",
    "policies",
    "policies_fwd_out",
    "priority",
    "rand_bytes",
    "rand_packets",
    "rand_time",
    "rekey_bytes",
    "rekey_packets",
    "rekey_time",
    "remote_ts",
    "replay_window",
    "reqid",
    "set_mark_in",
    "set_mark_out",
    "sha256_96",
    "start_action",
    "tfc_padding",
    "updown",
];

const POOL: &[&str] =
    &["addrs", "dhcp", "dns", "nbns", "netmask", "server", "split_exclude", "split_include", "subnet"];

const AUTHORITY: &[&str] =
    &["cacert", "cert_uri_base", "crl_uris", "file", "handle", "module", "ocsp_uris", "slot"];

const SECRET: &[&str] = &["file", "handle", "id", "module", "pin", "secret", "slot"];

/// What may stand where `path` does.
fn known(path: &str) -> &'static [&'static str] {
    let mut sections: Vec<&str> = path.split('.').collect();
    sections.pop();
    match *sections.as_slice() {
        ["connections", _] => CONNECTION,
        ["connections", _, "children", _] => CHILD,
        ["connections", _, round] if round.starts_with("local") || round.starts_with("remote") => ROUND,
        ["connections", _, _, _] => CERTIFICATE,
        ["pools", _] => POOL,
        ["authorities", _] => AUTHORITY,
        ["secrets", _] => SECRET,
        [] => TOP,
        _ => &[],
    }
}

/// The word that was probably meant by the last one of `path`; nothing if none is like it.
pub(super) fn meant(path: &str) -> Option<&'static str> {
    let word = path.rsplit('.').next().unwrap_or(path);
    nearest(word, known(path).iter().copied())
}

/// Where the last word of `path` belongs, if it is known elsewhere.
pub(super) fn home(path: &str) -> Option<&'static str> {
    let word = path.rsplit('.').next().unwrap_or(path);
    let homes = [
        (CHILD, "a section of children"),
        (ROUND, "the section local or remote"),
        (CONNECTION, "the connection itself"),
        (POOL, "a section of pools"),
    ];
    homes.into_iter().find(|(keys, _)| keys.contains(&word)).map(|(_, home)| home)
}

/// The one of `words` that is most like `word`; nothing if none is.
pub(super) fn nearest<'w>(word: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let word = word.to_ascii_lowercase().replace('-', "_");
    let most = 1 + word.len() / 6; // slips of the finger, not other words
    let distance = |other: &str| strsim::damerau_levenshtein(&word, &other.to_ascii_lowercase());
    words
        .into_iter()
        .map(|other| (distance(other), other))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, other)| (*distance, other.len().abs_diff(word.len())))
        .map(|(_, other)| other)
}

#[cfg(test)]
mod tests {
    use ferry_vici::Section;

    use super::*;
    use crate::connections::{self, ConfigError};

    /// Whether the daemon knows the key in any form.
    fn is_known(path: &[&str], key: &str) -> bool {
        let forms = [
            Section::new().with(key, "1"),
            Section::new().with_list(key, ["1"]),
            Section::new().with_section(key, Section::new()),
        ];
        forms.into_iter().any(|form| {
            let connection =
                path.iter().rev().fold(form, |inner, name| Section::new().with_section(*name, inner));
            let parsed = connections::parse("c", &connection, &crate::store::tests::DEFAULTS);
            !matches!(parsed, Err(ConfigError::Unknown { .. }))
        })
    }

    #[test]
    fn every_word_is_one_that_the_daemon_knows() {
        for (path, keys) in
            [(&[][..], CONNECTION), (&["local"], ROUND), (&["remote"], ROUND), (&["children", "x"], CHILD)]
        {
            for key in keys {
                assert!(is_known(path, key), "{path:?} {key}");
            }
            assert!(!is_known(path, "no_such_key"));
        }
    }

    #[test]
    fn slips_are_told_from_other_words() {
        assert_eq!(meant("connections.home.remote_adrs"), Some("remote_addrs"));
        assert_eq!(meant("connections.home.children.net.dpd-action"), Some("dpd_action"));
        assert_eq!(meant("connections.home.local-1.certz"), Some("certs"));
        assert_eq!(meant("connection"), Some("connections"));
        assert_eq!(meant("pools.p.addr"), Some("addrs"));
        assert_eq!(meant("connections.home.leftsubnet"), None);
        assert_eq!(meant("templates"), None);
        assert_eq!(home("connections.home.local_ts"), Some("a section of children"));
        assert_eq!(home("connections.home.leftsubnet"), None);
    }
}
