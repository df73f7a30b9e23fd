//! `charon.tls` and the sections of charon's plugins eap-tls, eap-ttls and eap-peap.

use ferry_ike::eap::{Method, Packets, TlsSettings, TlsVersion, Tunnel};
use ferry_vici::settings::BadValue;

use super::lookup::Lookup;

/// Reads all of them.
pub(super) fn read(from: &Lookup<'_>) -> Result<TlsSettings, BadValue> {
    let default = TlsSettings::default();
    let settings = TlsSettings {
        min: version(from, "tls.version_min", default.min)?,
        max: version(from, "tls.version_max", default.max)?,
        send_authorities: from.bool("tls.send_certreq_authorities", default.send_authorities)?,
        tls: packets(from, "eap-tls", default.tls)?,
        ttls: tunnel(from, "eap-ttls", default.ttls)?,
        peap: tunnel(from, "eap-peap", default.peap)?,
    };
    match from.setting("tls.version_max").or_else(|| from.setting("tls.version_min")) {
        Some(setting) if settings.min > settings.max => {
            Err(setting.bad("version_min to be no more than version_max, which is 1.2 where it is not set"))
        }
        _a_range => Ok(settings),
    }
}

/// charon has older versions too; as the least, they leave it to what is newer.
fn version(from: &Lookup<'_>, path: &str, default: TlsVersion) -> Result<TlsVersion, BadValue> {
    let Some(setting) = from.setting(path) else { return Ok(default) };
    match setting.str() {
        Some("1.0" | "1.1") if path.ends_with("_min") => Ok(TlsVersion::V1_2),
        Some("1.2") => Ok(TlsVersion::V1_2),
        Some("1.3") => Ok(TlsVersion::V1_3),
        Some(_) | None => Err(setting.bad("1.2 or 1.3: older versions of TLS are not spoken (RFC 8996)")),
    }
}

fn packets(from: &Lookup<'_>, plugin: &str, default: Packets) -> Result<Packets, BadValue> {
    let path = |key: &str| format!("plugins.{plugin}.{key}");
    Ok(Packets {
        size: from.number(
            &path("fragment_size"),
            default.size,
            "a number of octets, 64 to 65535",
            |size| (Packets::SMALLEST..=65_535).contains(size),
        )?,
        most: from.number(
            &path("max_message_count"),
            default.most,
            "a whole number, 0 for any number",
            |_| true,
        )?,
        include_length: from.bool(&path("include_length"), default.include_length)?,
    })
}

fn tunnel(from: &Lookup<'_>, plugin: &str, default: Tunnel) -> Result<Tunnel, BadValue> {
    let path = |key: &str| format!("plugins.{plugin}.{key}");
    if from.bool(&path("phase2_tnc"), false)?
        && let Some(setting) = from.setting(&path("phase2_tnc"))
    {
        return Err(
            setting.bad("no, as there is no Trusted Network Connect, and its check would be left out")
        );
    }
    let phase2 = match from.setting(&path("phase2_method")) {
        None => default.phase2,
        Some(setting) => setting
            .str()
            .and_then(Method::named)
            .filter(|method| !method.is_tunnel())
            .ok_or_else(|| setting.bad("md5, gtc, mschapv2, psk or tls"))?,
    };
    Ok(Tunnel {
        packets: packets(from, plugin, default.packets)?,
        phase2,
        piggyback: from.bool(&path("phase2_piggyback"), default.piggyback)?,
        asks_certificate: from.bool(&path("request_peer_auth"), default.asks_certificate)?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::parse;
    use super::*;

    fn read(text: &str) -> TlsSettings {
        (*parse(text).unwrap().settings.ike.tls).clone()
    }

    #[test]
    fn what_is_not_set_is_as_charon_has_it() {
        assert_eq!(read("charon { }"), TlsSettings::default());
        let defaults = "charon {\n tls { version_min = 1.2\n version_max = 1.2 }\n plugins {
             eap-tls { fragment_size = 1024\n max_message_count = 32\n include_length = yes }
             eap-ttls { phase2_method = md5\n phase2_piggyback = no\n phase2_tnc = no\n request_peer_auth = no }
             eap-peap { include_length = no\n phase2_method = mschapv2 } } }";
        assert_eq!(read(defaults), TlsSettings::default());
    }

    #[test]
    fn everything_can_be_set() {
        let settings = read(
            "charon {\n tls { version_min = 1.0\n version_max = 1.3\n send_certreq_authorities = no }\n plugins {
             eap-tls { fragment_size = 200\n max_message_count = 0\n include_length = no }
             eap-ttls { phase2_method = gtc\n phase2_piggyback = yes\n request_peer_auth = yes }
             eap-peap { phase2_method = tls } } }",
        );
        assert_eq!((settings.min, settings.max), (TlsVersion::V1_2, TlsVersion::V1_3));
        assert!(!settings.send_authorities);
        assert_eq!(settings.tls, Packets { size: 200, most: 0, include_length: false });
        let ttls = settings.ttls;
        assert_eq!((ttls.phase2, ttls.piggyback, ttls.asks_certificate), (Method::Gtc, true, true));
        assert_eq!(settings.peap.phase2, Method::Tls);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (inside, key) in [
            ("tls { version_max = 1.1 }", "charon.tls.version_max = 1.1"),
            ("tls { version_min = 1.3 }", "charon.tls.version_min = 1.3"),
            ("plugins { eap-tls { fragment_size = 63 } }", "charon.plugins.eap-tls.fragment_size = 63"),
            ("plugins { eap-peap { phase2_method = ttls } }", "charon.plugins.eap-peap.phase2_method = ttls"),
            ("plugins { eap-ttls { phase2_tnc = yes } }", "charon.plugins.eap-ttls.phase2_tnc = yes"),
        ] {
            let error = parse(&format!("charon {{\n {inside}\n }}")).map(drop).unwrap_err().to_string();
            assert!(error.contains(&format!("{key}: expected ")), "{error}");
        }
    }
}
