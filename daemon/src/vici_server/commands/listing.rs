//! `list-sas`, `list-policies` and `list-conns`: one event for each, then an empty answer.

use ferry_ike::config::Processing;
use ferry_ike::status::ChildSaStatus;
use ferry_vici::Message;

use crate::control::Tunnels;
use crate::vici_server::Control;
use crate::vici_server::client::Client;
use crate::vici_server::events::EventName;
use crate::vici_server::render::{conns, policies};

/// Lists IKE_SAs. Filters for the IKE_SA leave others out; filters for the child only leave out children.
pub(super) async fn sas<T: Tunnels>(message: &Message, client: &Client, control: &Control<T>) -> Message {
    if !client.wants(EventName::ListSa) {
        return Message::new();
    }
    let is_id = |key: &str, id: u64| {
        message.int(key).is_none_or(|wanted| wanted == 0 || u64::try_from(wanted) == Ok(id))
    };
    let is_name = |key: &str, name: Option<&str>| message.str(key).is_none_or(|wanted| name == Some(wanted));
    let is_listed =
        |child: &ChildSaStatus| is_name("child", Some(&child.name)) && is_id("child-id", child.id.0);
    let listing = control.listings.take(&control.tunnels).await;
    for entry in listing.entries() {
        let ike_sa = &entry.ike_sa;
        if !is_name("ike", ike_sa.connection.as_deref()) || !is_id("ike-id", ike_sa.id.0) {
            continue;
        }
        let frame = if ike_sa.children.iter().all(is_listed) {
            listing.whole(entry)
        } else {
            let mut part = ike_sa.clone();
            part.children.retain(is_listed);
            listing.frame(&part)
        };
        if let Some(frame) = frame {
            client.emit_frame(EventName::ListSa, &frame).await;
        }
    }
    Message::new()
}

/// Lists traps, then what passes or is dropped.
pub(super) async fn policies<T: Tunnels>(
    message: &Message,
    client: &Client,
    control: &Control<T>,
) -> Message {
    // That the key is there counts, whatever its value.
    let is_wanted = |processing| match processing {
        Processing::Protect(_) => message.contains("trap"),
        Processing::Pass => message.contains("pass"),
        Processing::Drop => message.contains("drop"),
    };
    let is_name = |key: &str, name: &str| message.str(key).is_none_or(|wanted| wanted == name);
    for installed in control.store.policies().await {
        if is_wanted(installed.child.processing)
            && is_name("ike", installed.connection.name())
            && is_name("child", &installed.child.name)
        {
            client.emit(EventName::ListPolicy, &policies::list_policy(&installed)).await;
        }
    }
    Message::new()
}

/// Lists connections, in load order.
pub(super) async fn connections<T: Tunnels>(
    message: &Message,
    client: &Client,
    control: &Control<T>,
) -> Message {
    for connection in control.store.connections().await {
        if message.str("ike").is_none_or(|wanted| wanted == connection.name()) {
            client.emit(EventName::ListConn, &conns::list_conn(&connection.parsed)).await;
        }
    }
    Message::new()
}
