//! Secrets.

use ferry_ike::config::SecretKind;
use ferry_ike::identity::Identity;
use ferry_vici::Message;
use zeroize::Zeroizing;

use super::{Arguments, required, success};
use crate::control::Tunnels;
use crate::store::NewSecret;
use crate::vici_server::Control;

pub(super) async fn load_shared<T: Tunnels>(
    arguments: &Arguments,
    control: &Control<T>,
) -> Result<(), String> {
    control.store.load_secret(read_shared(arguments)?).await;
    Ok(())
}

pub(super) fn read_shared(arguments: &Arguments) -> Result<NewSecret, String> {
    let message = arguments.strict()?;
    let kind = match required(message, "type")?.to_ascii_lowercase().as_str() {
        "ike" => SecretKind::Ike,
        "eap" | "xauth" => SecretKind::Eap,
        "ntlm" => SecretKind::Ntlm,
        "ppk" => SecretKind::Ppk,
        other => return Err(format!("type = {other}: expected one of ike, eap, xauth, ntlm, ppk")),
    };
    let octets = message.get("data").filter(|octets| !octets.is_empty()).ok_or("data is missing")?;
    let mut owners = Vec::new();
    for owner in message.list("owners").unwrap_or_default() {
        let text = std::str::from_utf8(owner.bytes()).map_err(|_| "owners: expected text in UTF-8")?;
        owners.push(Identity::parse(text).map_err(|error| format!("owners = {text}: {error}"))?);
    }
    let id = message.str("id").filter(|id| !id.is_empty()).map(str::to_owned);
    let octets = Zeroizing::new(octets.to_vec());
    Ok(NewSecret { id, kind, owners, octets })
}

pub(super) async fn unload_shared<T: Tunnels>(message: &Message, control: &Control<T>) -> Result<(), String> {
    control.store.unload_secret(required(message, "id")?).await;
    Ok(())
}

pub(super) async fn shared_ids<T: Tunnels>(control: &Control<T>) -> Message {
    Message::new().with_list("keys", control.store.secret_ids().await)
}

pub(super) async fn clear<T: Tunnels>(control: &Control<T>) -> Message {
    control.store.clear_secrets().await;
    control.store.clear_certificates().await;
    control.store.revocations().clear();
    success()
}

/// Keys on tokens.
pub(super) fn refuse_tokens() -> Result<(), String> {
    Err("keys on tokens are not supported yet: expected private keys in files".to_owned())
}
