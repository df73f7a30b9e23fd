//! `load-conn`, `unload-conn`, `get-conns`.

use ferry_vici::Message;

use super::{Arguments, required};
use crate::control::Tunnels;
use crate::store::{Change, Store};
use crate::vici_server::Control;

/// Loads each section as a connection. Those before one that is refused stay loaded.
pub(super) async fn load<T: Tunnels>(arguments: &Arguments, control: &Control<T>) -> Result<(), String> {
    for (name, section) in arguments.strict()?.sections() {
        if let Err(error) = control.store.load_connection(name, section).await {
            tracing::warn!(target: "cfg", "connection '{name}' is not loaded: {error}");
            return Err(error.to_string());
        }
    }
    Ok(())
}

/// Reads each section as a connection, and loads none.
pub(super) fn read<T: Tunnels>(arguments: &Arguments, store: &Store<T>) -> Result<Vec<Change>, String> {
    let read = |(name, section)| {
        let parsed = store.read_connection(name, section).map_err(|error| error.to_string())?;
        Ok(Change::Connection(Box::new(parsed)))
    };
    arguments.strict()?.sections().map(read).collect()
}

pub(super) async fn unload<T: Tunnels>(message: &Message, control: &Control<T>) -> Result<(), String> {
    control.store.unload_connection(required(message, "name")?).await
}

pub(super) async fn names<T: Tunnels>(control: &Control<T>) -> Message {
    let connections = control.store.connections().await;
    Message::new().with_list("conns", connections.iter().map(|connection| connection.name().to_owned()))
}
