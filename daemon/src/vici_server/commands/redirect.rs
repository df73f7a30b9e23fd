//! `redirect`: peers are sent to another gateway (RFC 5685).

use ferry_ike::config::AddressPattern;
use ferry_ike::identity::Identity;
use ferry_ike::redirect::Gateway;
use ferry_ike::status::IkeSaStatus;
use ferry_vici::Message;

use super::{errmsg, failure};
use crate::connections::parse_address;
use crate::control::Tunnels;
use crate::vici_server::Control;

/// Begins to redirect what is selected. How it ends is told by events and by the log.
pub(super) async fn redirect<T: Tunnels>(message: &Message, control: &Control<T>) -> Message {
    let (gateway, selection) = match read(message) {
        Ok(read) => read,
        Err(error) => return failure(error),
    };
    let ike_sas = control.tunnels.list().await;
    let targets: Vec<_> = ike_sas.iter().filter(|ike_sa| selection.selects(ike_sa)).map(|sa| sa.id).collect();
    for &id in &targets {
        let (tunnels, gateway) = (control.tunnels.clone(), gateway.clone());
        tokio::spawn(async move {
            if let Err(why) = tunnels.redirect(id, gateway).await {
                tracing::warn!(target: "cfg", "redirecting the peer of IKE_SA #{id} failed: {why}");
            }
        });
    }
    let error = targets.is_empty().then(|| errmsg("no matching SAs to redirect found"));
    Message::new()
        .with("success", if error.is_none() { "yes" } else { "no" })
        .with("matches", targets.len())
        .with_some("errmsg", error)
}

/// Which IKE SAs are meant: those that fit all that is given.
struct Selection {
    ike: Option<String>,
    ike_id: Option<i64>,
    peer_ip: Option<AddressPattern>,
    peer_id: Option<Identity>,
}

fn read(message: &Message) -> Result<(Gateway, Selection), String> {
    let gateway = message.str("gateway").ok_or("gateway is missing")?;
    let gateway = gateway.parse().map_err(|error| format!("gateway = {gateway}: {error}"))?;
    let peer_ip = message.str("peer-ip").map(|text| match parse_address(text) {
        Ok(AddressPattern::Name(..)) | Err(_) => {
            Err(format!("peer-ip = {text}: expected an IP address, a subnet or a range"))
        }
        Ok(pattern) => Ok(pattern),
    });
    let peer_id = message
        .str("peer-id")
        .map(|text| Identity::parse(text).map_err(|error| format!("peer-id = {text}: {error}")));
    let selection = Selection {
        ike: message.str("ike").map(str::to_owned),
        // Numbers count from one; zero selects nothing.
        ike_id: message.int("ike-id").filter(|id| *id != 0),
        peer_ip: peer_ip.transpose()?,
        peer_id: peer_id.transpose()?,
    };
    let is_empty = selection.ike.is_none()
        && selection.ike_id.is_none()
        && selection.peer_ip.is_none()
        && selection.peer_id.is_none();
    if is_empty {
        Err("none of ike, ike-id, peer-ip and peer-id says what to redirect".into())
    } else {
        Ok((gateway, selection))
    }
}

impl Selection {
    fn selects(&self, ike_sa: &IkeSaStatus) -> bool {
        let fits_id =
            |wanted: &Identity| ike_sa.remote_id.as_ref().is_some_and(|id| id.matches(wanted).is_some());
        self.ike.as_deref().is_none_or(|name| ike_sa.connection.as_deref() == Some(name))
            && self.ike_id.is_none_or(|id| u64::try_from(id) == Ok(ike_sa.id.0))
            && self.peer_ip.as_ref().is_none_or(|pattern| pattern.matches(ike_sa.remote.ip()).is_some())
            && self.peer_id.as_ref().is_none_or(fits_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::tests::ike_sa;

    #[test]
    fn what_is_given_selects() {
        let sas: Vec<IkeSaStatus> = [
            (1, "a", "alice@example.org", "192.0.2.7:500"),
            (2, "a", "bob@example.org", "198.51.100.2:4500"),
        ]
        .map(|(id, name, remote_id, remote)| IkeSaStatus {
            remote_id: Some(Identity::parse(remote_id).unwrap()),
            remote: remote.parse().unwrap(),
            ..ike_sa(id, name, vec![])
        })
        .into();
        let selected = |key: &str, value: &str| {
            let message = Message::new().with("gateway", "gw.example.org").with(key, value);
            let (_, selection) = read(&message).unwrap();
            sas.iter().filter(|sa| selection.selects(sa)).map(|sa| sa.id.0).collect::<Vec<_>>()
        };
        let cases: [(&str, &str, &[u64]); 10] = [
            ("ike", "a", &[1, 2]),
            ("ike", "b", &[]),
            ("ike-id", "2", &[2]),
            ("peer-ip", "192.0.2.7", &[1]),
            ("peer-ip", "192.0.2.0/24", &[1]),
            ("peer-ip", "192.0.2.1-198.51.100.9", &[1, 2]),
            ("peer-ip", "fd00::1", &[]),
            ("peer-id", "*@example.org", &[1, 2]),
            ("peer-id", "bob@example.org", &[2]),
            ("peer-id", "carol@example.org", &[]),
        ];
        for (key, value, expected) in cases {
            assert_eq!(selected(key, value), expected, "{key} = {value}");
        }
        let both = Message::new().with("gateway", "192.0.2.9").with("ike", "a").with("peer-ip", "192.0.2.7");
        let (gateway, selection) = read(&both).unwrap();
        assert_eq!(gateway.to_string(), "192.0.2.9");
        assert_eq!(sas.iter().filter(|sa| selection.selects(sa)).count(), 1);
    }

    #[test]
    fn what_says_nothing_is_refused() {
        let error = |message: Message| read(&message).map(drop).unwrap_err();
        assert_eq!(error(Message::new().with("ike", "a")), "gateway is missing");
        assert_eq!(
            error(Message::new().with("gateway", "a b").with("ike", "a")),
            "gateway = a b: expected an IPv4 or IPv6 address or a DNS name"
        );
        let without = "none of ike, ike-id, peer-ip and peer-id says what to redirect";
        assert_eq!(error(Message::new().with("gateway", "gw")), without);
        assert!(
            error(Message::new().with("gateway", "gw").with("peer-ip", "x/y")).starts_with("peer-ip = x/y: ")
        );
    }
}
