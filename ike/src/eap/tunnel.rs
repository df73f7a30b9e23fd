//! How TTLS and PEAP begin: a TLS session, and another conversation of EAP to be had inside of it.

use std::sync::Arc;

use super::client::Client;
use super::server::Server;
use super::tls::{Channel, Fragments, Session, Tls, Tunnel};
use super::{Context, Method, Reaction};
use crate::identity::Identity;

/// How a tunnel is set.
fn settings(method: Method, tls: &Tls) -> Tunnel {
    if method == Method::Peap { tls.settings.peap } else { tls.settings.ttls }
}

/// The server's end: the session, the server `name` inside whose client is known as `client` so far, and the data of the
/// first request.
pub(super) fn open_server(
    method: Method,
    tls: &Arc<Tls>,
    (name, client): (&Identity, &Identity),
    cx: &Context<'_>,
) -> Result<(Channel, Box<Server>, Tunnel, Vec<u8>), String> {
    let settings = settings(method, tls);
    let own = tls.own.as_ref().ok_or("there is no certificate of ours")?;
    let session = Session::server(tls, own, settings.asks_certificate.then_some(client))?;
    let channel = Channel::new(method.eap_type(), settings.packets, session);
    let mut inner = Server::new(name.clone(), client.clone(), cx.crypto);
    inner.set_tls(Some(tls.clone()));
    Ok((channel, Box::new(inner), settings, Fragments::start()))
}

/// The client's end, which answers the start: the session, the client inside, who is `client` there too and takes these
/// methods, and what it says.
pub(super) fn open_client(
    method: Method,
    request: &[u8],
    tls: &Arc<Tls>,
    (client, methods): (&Identity, Vec<Method>),
) -> Result<(Channel, Box<Client>, Reaction), String> {
    if !Fragments::is_start(request) {
        return Err(format!("the server does not start {method}"));
    }
    let session = Session::client(tls, tls.own.as_deref(), &tls.server)?;
    let mut channel = Channel::new(method.eap_type(), settings(method, tls).packets, session);
    let hello = channel.hello();
    let inner = Client::new(client.clone(), tls.server.clone(), methods).with_tls(Some(tls.clone()));
    Ok((channel, Box::new(inner), Reaction::Answer(hello.into())))
}
