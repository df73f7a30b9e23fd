//! Every algorithm of the project at least once, for IKE and for ESP.

use anyhow::{Context, Result, ensure};

use super::topology::Sites;
use super::{Roles, site};
use crate::lab::{Lab, Plane};
use crate::peer::{Connection, SwanctlConf, child};

/// An IKE and an ESP proposal, and how `--list-sas` names what comes of them.
struct Suite {
    name: &'static str,
    ike: [&'static str; 2],
    esp: [&'static str; 2],
}

/// Each encryption, integrity, pseudo-random and key exchange algorithm appears in some row.
const SUITES: [Suite; 9] = [
    Suite {
        name: "cbc128-sha1",
        ike: ["aes128-sha1-prfsha1-modp2048", "AES_CBC-128/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_2048"],
        esp: ["aes128-sha1", "ESP:AES_CBC-128/HMAC_SHA1_96"],
    },
    Suite {
        name: "cbc192-sha256",
        ike: [
            "aes192-sha256-prfsha256-modp3072",
            "AES_CBC-192/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_3072",
        ],
        esp: ["aes192-sha256", "ESP:AES_CBC-192/HMAC_SHA2_256_128"],
    },
    Suite {
        name: "cbc256-sha384",
        ike: [
            "aes256-sha384-prfsha384-modp4096",
            "AES_CBC-256/HMAC_SHA2_384_192/PRF_HMAC_SHA2_384/MODP_4096",
        ],
        esp: ["aes256-sha384", "ESP:AES_CBC-256/HMAC_SHA2_384_192"],
    },
    Suite {
        name: "cbc256-sha512",
        ike: ["aes256-sha512-prfsha512-ecp521", "AES_CBC-256/HMAC_SHA2_512_256/PRF_HMAC_SHA2_512/ECP_521"],
        esp: ["aes256-sha512", "ESP:AES_CBC-256/HMAC_SHA2_512_256"],
    },
    Suite {
        name: "gcm128-xcbc",
        ike: ["aes128gcm16-prfaesxcbc-ecp256", "AES_GCM_16-128/PRF_AES128_XCBC/ECP_256"],
        esp: ["aes128gcm16", "ESP:AES_GCM_16-128"],
    },
    Suite {
        name: "gcm192-cmac",
        ike: ["aes192gcm16-prfaescmac-ecp384", "AES_GCM_16-192/PRF_AES128_CMAC/ECP_384"],
        esp: ["aes192gcm16", "ESP:AES_GCM_16-192"],
    },
    Suite {
        name: "gcm256-sha384",
        ike: ["aes256gcm16-prfsha384-x25519", "AES_GCM_16-256/PRF_HMAC_SHA2_384/CURVE_25519"],
        esp: ["aes256gcm16", "ESP:AES_GCM_16-256"],
    },
    Suite {
        name: "chacha20",
        ike: ["chacha20poly1305-prfsha256-x25519", "CHACHA20_POLY1305/PRF_HMAC_SHA2_256/CURVE_25519"],
        esp: ["chacha20poly1305", "ESP:CHACHA20_POLY1305"],
    },
    // Whoever offers extended sequence numbers also offers to do without.
    Suite {
        name: "gcm128-esn",
        ike: ["aes128gcm16-prfsha256-x25519", "AES_GCM_16-128/PRF_HMAC_SHA2_256/CURVE_25519"],
        esp: ["aes128gcm16-esn-noesn", "ESP:AES_GCM_16-128"],
    },
];

/// What only a kernel does.
const OF_KERNEL: [Suite; 8] = [
    of_kernel("ctr128", "aes128ctr-sha256", "ESP:AES_CTR-128/HMAC_SHA2_256_128"),
    of_kernel("ccm8", "aes128ccm8", "ESP:AES_CCM_8-128"),
    of_kernel("ccm12", "aes192ccm12", "ESP:AES_CCM_12-192"),
    of_kernel("ccm16", "aes256ccm16", "ESP:AES_CCM_16-256"),
    of_kernel("gcm8", "aes128gcm8", "ESP:AES_GCM_8-128"),
    of_kernel("gcm12", "aes256gcm12", "ESP:AES_GCM_12-256"),
    of_kernel("camellia256", "camellia256-sha512", "ESP:CAMELLIA_CBC-256/HMAC_SHA2_512_256"),
    of_kernel("gmac", "aes128gmac", "ESP:NULL_AES_GMAC-128"),
];

const fn of_kernel(name: &'static str, esp: &'static str, listed: &'static str) -> Suite {
    let ike = ["aes128gcm16-prfsha256-x25519", "AES_GCM_16-128/PRF_HMAC_SHA2_256/CURVE_25519"];
    Suite { name, ike, esp: [esp, listed] }
}

/// Establishes each suite in turn and sends something through it.
pub(super) fn each_in_turn(lab: &Lab, roles: Roles) -> Result<()> {
    let sites = Sites::build(lab)?;
    let mut near = SwanctlConf::new().secret("site", "suites", &[]);
    let of_kernel = if lab.plane() == Plane::Kernel { OF_KERNEL.as_slice() } else { &[] };
    let suites = || SUITES.iter().chain(of_kernel);
    for suite in suites() {
        let (left, right) = (&sites.left, &sites.right);
        let one = child(left.networks[0], right.networks[0]).set("esp_proposals", suite.esp[0]);
        let connection = Connection::psk(left.id, right.id).between(left.outer[0], right.outer[0]);
        near = near.connection(suite.name, connection.set("proposals", suite.ike[0]).child(suite.name, one));
    }
    let all = |side: fn(&Suite) -> &'static str| suites().map(side).collect::<Vec<_>>().join(",");
    let (left, right) = (&sites.left, &sites.right);
    let any = child(right.networks[0], left.networks[0]).set("esp_proposals", all(|suite| suite.esp[0]));
    let connection = Connection::psk(right.id, left.id).between(right.outer[0], left.outer[0]);
    let far = SwanctlConf::new()
        .connection("site", connection.set("proposals", all(|suite| suite.ike[0])).child("net", any))
        .secret("site", "suites", &[]);
    let left_peer = lab.peer(&left.gateway, roles.initiator, &near)?;
    let right_peer = lab.peer(&right.gateway, roles.responder, &far)?;

    for suite in suites() {
        let through = || -> Result<()> {
            left_peer.initiate(suite.name)?;
            site::agree(&left_peer, &right_peer)?;
            let sa = left_peer.sa()?;
            ensure!(sa.suite == suite.ike[1], "IKE runs on {}, not {}", sa.suite, suite.ike[1]);
            let fits = sa.children.iter().all(|child| child.suite.trim_end_matches("/ESN") == suite.esp[1]);
            ensure!(fits, "ESP runs on {:?}, not {}", sa.children, suite.esp[1]);
            left.host.ping(left.hosts[0], right.hosts[0], 2)?;
            right.host.ping(right.hosts[0], left.hosts[0], 2)?;
            left_peer.terminate(suite.name).map(drop)
        };
        through().with_context(|| format!("with {} and {}", suite.ike[0], suite.esp[0]))?;
    }
    Ok(())
}
