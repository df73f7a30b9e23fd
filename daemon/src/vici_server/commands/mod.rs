//! What clients may ask for, by family.

mod certificates;
mod connections;
mod control;
mod credentials;
mod explain;
mod information;
mod listing;
mod pools;
mod redirect;
mod transaction;

use ferry_vici::Message;

pub(crate) use self::transaction::read;
use super::Control;
use super::client::Client;
use crate::control::Tunnels;

/// What a command was given.
///
/// Commands that look up single keys find none in what is no message, and do their default; commands that
/// load something refuse it.
pub(crate) struct Arguments {
    message: Result<Message, ferry_vici::DecodeError>,
    empty: Message,
}

impl Arguments {
    /// Reads the arguments from the rest of a packet.
    pub(super) fn new(body: &[u8]) -> Self {
        Self { message: Message::decode(body), empty: Message::new() }
    }

    /// The same of a message.
    pub(crate) fn of(message: Message) -> Self {
        Self { message: Ok(message), empty: Message::new() }
    }

    /// The arguments, or none if they are no message.
    fn lenient(&self) -> &Message {
        self.message.as_ref().unwrap_or(&self.empty)
    }

    /// The arguments, or a sentence.
    fn strict(&self) -> Result<&Message, String> {
        self.message.as_ref().map_err(|error| format!("this is no VICI message: {error}"))
    }
}

/// Does a command and gives its answer; `None` if there is no such command.
pub(super) async fn run<T: Tunnels>(
    name: &str,
    arguments: &Arguments,
    client: &Client,
    control: &Control<T>,
) -> Option<Message> {
    if let Some(kept) = transaction::keep(name, arguments, client, control).await {
        return Some(kept);
    }
    let message = arguments.lenient();
    Some(match name {
        "version" => information::version(),
        "stats" => information::stats(control).await,
        "reload-settings" => status(control.reload.reload()),
        "get-algorithms" => super::render::algorithms::all(),
        "get-counters" => information::get_counters(message, control).await,
        "reset-counters" => information::reset_counters(message, control).await,

        "explain" => explain::explain(message, control),

        "initiate" => control::initiate(message, client, control).await,
        "terminate" => control::terminate(message, client, control).await,
        "rekey" => control::rekey(message, control).await,
        "redirect" => redirect::redirect(message, control).await,
        "install" => status(control::install(message, control).await),
        "uninstall" => status(control::uninstall(message, control).await),

        "list-sas" => listing::sas(message, client, control).await,
        "list-conns" => listing::connections(message, client, control).await,
        "list-policies" => listing::policies(message, client, control).await,
        "list-certs" => certificates::list(message, client, control).await,
        "list-authorities" => certificates::list_authorities(message, client, control).await,

        "begin-transaction" => transaction::begin(message, client),
        "commit-transaction" => transaction::commit(client, control).await,
        "abort-transaction" => transaction::abort(client),

        "load-conn" => status(connections::load(arguments, control).await),
        "unload-conn" => status(connections::unload(message, control).await),
        "get-conns" => connections::names(control).await,

        "load-shared" => status(credentials::load_shared(arguments, control).await),
        "unload-shared" => status(credentials::unload_shared(message, control).await),
        "get-shared" => credentials::shared_ids(control).await,
        "clear-creds" => credentials::clear(control).await,
        "load-token" => status(credentials::refuse_tokens()),
        "load-cert" => status(certificates::load_cert(arguments, control).await),
        "load-key" => certificates::load_key(arguments, control).await,
        "unload-key" => status(certificates::unload_key(message, control).await),
        "get-keys" => certificates::key_ids(control).await,
        "flush-certs" => status(certificates::flush(message, control)),

        "load-authority" => status(certificates::load_authority(arguments, control).await),
        "unload-authority" => status(certificates::unload_authority(message, control).await),
        "get-authorities" => certificates::authority_names(control).await,

        "load-pool" => status(pools::load(arguments, control)),
        "unload-pool" => status(pools::unload(message, control)),
        "get-pools" => pools::list(message, control),

        _unknown => return None,
    })
}

fn success() -> Message {
    Message::new().with("success", "yes")
}

/// The answer that something could not be done.
pub(super) fn failure(sentence: impl AsRef<str>) -> Message {
    Message::new().with("success", "no").with("errmsg", errmsg(sentence.as_ref()))
}

fn status(result: Result<(), String>) -> Message {
    result.map_or_else(failure, |()| success())
}

/// The sentence as clients can show it: they pass over values that are not printable ASCII.
fn errmsg(sentence: &str) -> String {
    sentence.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect()
}

/// The text of a key that has to be there.
fn required<'a>(message: &'a Message, key: &str) -> Result<&'a str, String> {
    message.str(key).filter(|text| !text.is_empty()).ok_or_else(|| format!("{key} is missing"))
}
