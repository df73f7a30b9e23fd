//! `begin-transaction`, `commit-transaction`, `abort-transaction`: a whole configuration at once. charon has nothing like it.
//!
//! Between the first two, `load-*` reads what it is given, says what is wrong with it, and keeps it: all of it is loaded
//! with the commit, or nothing if anything was refused. A client that goes away takes what it has begun with it.

use std::path::PathBuf;

use ferry_vici::{Message, Section};

use super::{Arguments, certificates, connections, credentials, failure, pools, status, success};
use crate::control::Tunnels;
use crate::store::{Change, Committed, Store, Transaction};
use crate::vici_server::Control;
use crate::vici_server::client::Client;

/// `clear` is what it is to `clear-creds`; `file` is read again when ferryd is told to reload.
pub(super) fn begin(message: &Message, client: &Client) -> Message {
    let transaction = Transaction {
        clears: message.bool("clear").unwrap_or(false),
        source: message.str("file").filter(|file| !file.is_empty()).map(PathBuf::from),
        ..Transaction::default()
    };
    client.begin(transaction);
    success()
}

pub(super) async fn commit<T: Tunnels>(client: &Client, control: &Control<T>) -> Message {
    let Some(transaction) = client.end_transaction() else {
        return failure("there is no transaction: expected begin-transaction before");
    };
    match control.store.commit(transaction, &control.leases).await {
        Ok(committed) => render(&committed),
        Err(why) => {
            tracing::warn!(target: "cfg", "a configuration is not loaded: {why}");
            failure(why)
        }
    }
}

pub(super) fn abort(client: &Client) -> Message {
    match client.end_transaction() {
        Some(_) => success(),
        None => failure("there is no transaction"),
    }
}

fn render(committed: &Committed) -> Message {
    let unloaded = Section::new()
        .with("authorities", committed.unloaded_authorities)
        .with("pools", committed.unloaded_pools)
        .with("connections", committed.unloaded_connections);
    let connections = Section::new()
        .with("added", committed.added)
        .with("changed", committed.changed)
        .with("unchanged", committed.unchanged);
    success().with_section("unloaded", unloaded).with_section("connections", connections)
}

/// Keeps what a command loads for the transaction that the client has begun. `None` if there is none, or the command is
/// not about what is loaded.
pub(super) async fn keep<T: Tunnels>(
    name: &str,
    arguments: &Arguments,
    client: &Client,
    control: &Control<T>,
) -> Option<Message> {
    if !client.has_transaction() {
        return None;
    }
    let read = match name {
        "unload-conn" | "unload-pool" | "unload-authority" | "unload-key" | "unload-shared"
        | "clear-creds" => Err(format!(
            "{name} has no place in a transaction: what is not loaded in it goes when it is committed"
        )),
        _ => read(name, arguments, &control.store).await?,
    };
    Some(match read {
        Ok(changes) => {
            let id = changes.iter().find_map(Change::id);
            client.add(changes);
            status(Ok(())).with_some("id", id)
        }
        Err(why) => {
            tracing::warn!(target: "cfg", "{name}: {why}");
            client.spoil();
            failure(why)
        }
    })
}

/// What a command would load; `None` if it loads nothing.
pub(crate) async fn read<T: Tunnels>(
    name: &str,
    arguments: &Arguments,
    store: &Store<T>,
) -> Option<Result<Vec<Change>, String>> {
    let one = |read: Result<Change, String>| read.map(|change| vec![change]);
    Some(match name {
        "load-conn" => connections::read(arguments, store),
        "load-pool" => pools::read(arguments),
        "load-authority" => one(certificates::read_first_authority(arguments).await.map(Change::Authority)),
        "load-cert" => one(certificates::read_cert(arguments)),
        "load-key" => one(certificates::read_key(arguments).map(Change::Key)),
        "load-shared" => one(credentials::read_shared(arguments).map(Change::Secret)),
        "load-token" => credentials::refuse_tokens().map(|()| Vec::new()),
        _ => return None,
    })
}
