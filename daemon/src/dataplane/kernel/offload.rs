//! SAs on network cards.
//!
//! The kernel is asked to have a card do the ciphers (crypto offload); policies, and the way of packets, stay its own. A card
//! that cannot is passed over in silence, so that only the SA itself, read back, says what came of it.

use std::net::IpAddr;

use ferry_ike::config;
use ferry_xfrm::algorithm::Protection;
use ferry_xfrm::sa::{Offload, OffloadExtent, ReplayState};
use ferry_xfrm::{Addresses, Meaning, Sa, SaDirection, Sad, Underlay};
use tracing::info;

use super::sa::Pair;

/// Has both directions ask for the card that has our address, if they are to ask for any.
pub(super) async fn place(pair: &mut Pair, wanted: config::Offload, local: IpAddr) -> Result<(), String> {
    let interface = match wanted {
        config::Offload::No => None,
        config::Offload::Auto | config::Offload::Crypto => {
            let addresses = async { Addresses::open(Underlay::default()).await?.local_addresses().await };
            let addresses = addresses.await.map_err(|error| format!("hw_offload: {error}"))?;
            addresses.iter().find(|entry| entry.address == local).map(|entry| entry.interface)
        }
    };
    for (sa, direction) in [(&mut pair.inbound, SaDirection::In), (&mut pair.outbound, SaDirection::Out)] {
        sa.offload =
            interface.map(|interface| Offload { interface, direction, extent: OffloadExtent::Crypto });
    }
    match (wanted, interface) {
        (config::Offload::Crypto, None) => {
            Err(format!("hw_offload = crypto, but no network card has our address {local}"))
        }
        _ => Ok(()),
    }
}

/// Installs an SA, on the card that it asks for. Where there need not be any, it is done in software if the card does not
/// take it, and does not ask any more.
pub(super) async fn install(
    sad: &Sad,
    sa: &mut Sa,
    keys: &Protection,
    replay: Option<&ReplayState>,
    is_needed: bool,
) -> Result<(), String> {
    let asked = sad.install(sa, keys, replay).await;
    let Some(Offload { interface, .. }) = sa.offload else {
        return asked.map_err(|error| error.to_string());
    };
    let why = match asked {
        Ok(()) => {
            let found = sad.find(&sa.id).await.map_err(|error| error.to_string())?;
            if found.is_none_or(|entry| entry.sa.offload.is_some()) {
                return Ok(());
            }
            if is_needed {
                match sad.remove(&sa.id).await {
                    Err(error) if error.meaning() != Some(Meaning::NotThere) => return Err(error.to_string()),
                    _ => {}
                }
            }
            "it does no ESP".to_owned()
        }
        Err(error) => error.to_string(),
    };
    if is_needed {
        return Err(format!(
            "hw_offload = crypto, but the network card (interface {interface}) does not take {}: {why}",
            sa.id
        ));
    }
    info!(target: "knl", "the SA {} is done in software, not by the network card (interface {interface}): {why}", sa.id);
    sa.offload = None;
    match sad.find(&sa.id).await {
        Ok(Some(_)) => Ok(()),
        _ => sad.install(sa, keys, replay).await.map_err(|error| error.to_string()),
    }
}
