//! IKE_AUTH as the initiator.

use std::net::IpAddr;
use std::sync::Arc;

use tracing::{debug, info, warn};

use super::admission::another_follows;
use super::certificates::{self, Asker, Claim};
use super::eap::initiator::{Progress, Rounds};
use super::{Proof, allows_psk, allows_signature, assigned_addresses, shared_key};
use crate::auth::signature;
use crate::config::{AuthClass, Child, Childless, Connection, Lease, LocalAuth, RemoteAuth};
use crate::context::Cx;
use crate::crypto::Role;
use crate::error::Failure;
use crate::identity::Identity;
use crate::output::{Action, ActionId, Outbound, Outcome};
use crate::proposal::Proposal;
use crate::redirect::Gateway;
use crate::sa::child::{Agreed, Ingredients, Offer, resolve};
use crate::sa::established::{Established, Installing};
use crate::sa::exchange::informational::auth_lifetime;
use crate::sa::exchange::init::{self, Handshake};
use crate::sa::exchange::redirect;
use crate::sa::mobike::{self, Mobility};
use crate::sa::opened::{Opened, Plaintext};
use crate::sa::{Core, HeldLease, PlannedChild, State};
use crate::selector::{SelectorPattern, TrafficSelector};
use crate::wire::registry::{AuthMethod, CfgAttributeType, CfgType, ExchangeType, NotifyType};
use crate::wire::{PayloadWriter, Payloads};

/// IKE_AUTH is out.
pub(crate) struct Sent {
    pub(super) connection: Arc<Connection>,
    pub(crate) planned: Option<PlannedChild>,
    attempt: u32,
    pub(super) handshake: Handshake,
    /// Who we are in the round that is under way.
    pub(super) local_id: Identity,
    /// Our rounds that are over.
    done: usize,
    own: Own,
    /// What we know of the gateway.
    pub(super) heard: Heard,
    /// What is asked for beside authentication; `None` for an IKE SA alone.
    offer: Option<Offer>,
    /// Our other addresses, as we have told the peer.
    told: Vec<IpAddr>,
}

/// What our round waits for.
enum Own {
    /// For the gateway to take our AUTH.
    Proof,
    /// For EAP.
    Eap(Rounds),
    /// We have had all our rounds.
    Nothing,
}

/// What the gateway has said of itself.
pub(super) struct Heard {
    /// Who it is in the latest of its rounds.
    pub(super) name: Option<Name>,
    /// Its rounds that are over.
    rounds: usize,
    /// Another one is to come.
    is_followed: bool,
    /// It proves itself by EAP alone (RFC 5998).
    pub(super) is_eap_only: bool,
    /// Who it is by the certificate of the present message, once somebody has vouched for that.
    vouched: Option<Identity>,
}

/// Who the gateway says it is.
#[derive(Clone)]
pub(super) struct Name {
    pub(super) id: Identity,
    /// The body of its ID payload, which its AUTH covers.
    pub(super) body: Vec<u8>,
}

/// The gateway has signed the answer; whether anybody vouches for its certificate is being found out.
pub(crate) struct Checking {
    sent: Box<Sent>,
    plaintext: Plaintext,
    id_r: Identity,
    scheme: String,
    action: ActionId,
}

impl Checking {
    pub(crate) fn handle_outcome(
        self: Box<Self>,
        core: &mut Core,
        id: ActionId,
        outcome: Outcome,
        cx: &mut Cx<'_>,
    ) -> Result<State, Failure> {
        if id != self.action {
            return Ok(State::AuthChecking(self));
        }
        let Self { mut sent, plaintext, id_r, scheme, .. } = *self;
        match outcome {
            Outcome::Done => {
                info!(target: "ike", "authentication of '{id_r}' with {scheme} successful");
                sent.heard.vouched = Some(id_r);
                sent.handle_response(core, &plaintext, cx)
            }
            Outcome::Failed(why) => sent.fail(Failure::Authentication(why), core, cx),
            _ => sent.fail(Failure::Outside("nobody can vouch for certificates".into()), core, cx),
        }
    }

    pub(crate) fn give_back(self, core: &Core, cx: &mut Cx<'_>) {
        self.sent.give_back(core, cx);
    }
}

/// IKE_SA_INIT is done: says who we are.
pub(crate) fn begin(
    core: &mut Core,
    connection: Arc<Connection>,
    planned: Option<PlannedChild>,
    attempt: u32,
    handshake: Handshake,
    cx: &mut Cx<'_>,
) -> Result<State, Failure> {
    // RFC 7296 §2.23: with a NAT in between, all that follows goes over port 4500. RFC 4555 §3.3: with MOBIKE too, as
    // there may be one later.
    let floats = core.is_encapsulated() || (connection.mobike && core.nat_t);
    if floats && core.path.local.port() == cx.ports.ike {
        core.path.local.set_port(cx.ports.nat_t);
        core.path.remote.set_port(4500);
    }
    let planned = childless(core, &connection, planned, handshake.allows_childless, cx)?;
    let auth = connection.local.first();
    let auth = auth.ok_or(Failure::Ended("the connection does not say how we authenticate"))?;
    let local_id = own_id(auth, core);
    core.local_id = Some(local_id.clone());
    let offer = planned.as_ref().and_then(|planned| offer(planned, &connection, core));
    if connection.local.len() > 1 && !handshake.speaks_rounds {
        info!(target: "ike", "the peer takes one round of authentication: it gets the first of {}", connection.local.len());
    }
    let own = Own::of(auth, &local_id);
    let heard = Heard { name: None, rounds: 0, is_followed: true, is_eap_only: false, vouched: None };
    let mut sent =
        Sent { connection, planned, attempt, handshake, local_id, done: 0, own, heard, offer, told: vec![] };
    match sent.send(core, cx) {
        Ok(()) => Ok(State::AuthSent(Box::new(sent))),
        Err(failure) => {
            sent.give_back(core, cx);
            Err(failure)
        }
    }
}

/// Who we are in a round.
fn own_id(auth: &LocalAuth, core: &Core) -> Identity {
    auth.identity().unwrap_or_else(|| Identity::from_addr(core.path.local.ip()))
}

impl Own {
    fn of(auth: &LocalAuth, local_id: &Identity) -> Self {
        Rounds::of(auth, local_id).map_or(Self::Proof, Self::Eap)
    }
}

/// RFC 6023: whether the first CHILD_SA waits until the IKE SA stands.
fn childless(
    core: &mut Core,
    connection: &Connection,
    planned: Option<PlannedChild>,
    is_allowed: bool,
    cx: &mut Cx<'_>,
) -> Result<Option<PlannedChild>, Failure> {
    let is_liked = matches!(connection.childless, Childless::Prefer | Childless::Force);
    let refusal = Failure::Ended("the peer does not make IKE_SAs without a CHILD_SA at first (RFC 6023)");
    match planned {
        None if !is_allowed => Err(refusal),
        None => Ok(None),
        Some(planned) if !is_allowed && connection.childless == Childless::Force => {
            cx.ask(core.id, Action::RemoveChild { child_sa: planned.id });
            Err(refusal)
        }
        Some(planned) if is_allowed && is_liked => {
            cx.ask(core.id, Action::RemoveChild { child_sa: planned.id });
            let mut wanted = planned.wanted;
            // The first that asked for the IKE SA asked for the child.
            wanted.request = (!core.requests.is_empty()).then(|| core.requests.remove(0));
            core.wanted.insert(0, wanted);
            Ok(None)
        }
        planned => Ok(planned),
    }
}

fn offer(planned: &PlannedChild, connection: &Connection, core: &Core) -> Option<Offer> {
    let child = &planned.wanted.child;
    let (ts_i, ts_r) = planned.wanted.selectors(
        own_selectors(child, connection, core.path.local.ip()),
        resolve(&child.remote_ts, &[core.path.remote.ip()]),
    );
    let proposals = child.esp_proposals.iter().map(Proposal::without_ke).collect();
    Some(Offer::new(child.mode()?, proposals, planned.spi_in, ts_i, ts_r))
}

/// Our side of the traffic. Before we know our virtual IPs, `dynamic` asks for everything of their families;
/// the gateway narrows it (RFC 7296 §2.19).
fn own_selectors(child: &Child, connection: &Connection, address: IpAddr) -> Vec<TrafficSelector> {
    if connection.vips.is_empty() {
        return resolve(&child.local_ts, &[address]);
    }
    child
        .local_ts
        .iter()
        .flat_map(|pattern| match pattern {
            SelectorPattern::Fixed(selector) => vec![*selector],
            SelectorPattern::Dynamic { protocol, ports } => connection
                .vips
                .iter()
                .filter_map(|vip| TrafficSelector::from_prefix(*vip, 0))
                .map(|everything| everything.with(*protocol, *ports))
                .collect(),
        })
        .collect()
}

impl Sent {
    /// The first request: who we are in our first round, and all that is asked for.
    fn send(&mut self, core: &mut Core, cx: &mut Cx<'_>) -> Result<(), Failure> {
        let expected = self.expected();
        let proof = self.proof(core, &expected, cx)?;
        let mut payloads = PayloadWriter::new();
        payloads.id_i(&self.local_id);
        if let Some(proof) = &proof {
            proof.write_certificates(&mut payloads);
        }
        // RFC 7619 §2.3: who is nobody has had no contact.
        if cx.is_first_contact && !self.local_id.is_null() {
            payloads.notify(NotifyType::INITIAL_CONTACT, &[]); // RFC 7296 §2.4
        }
        certificates::ask(&mut payloads, &self.connection, cx);
        if expected.is_exact() {
            payloads.id_r(&expected);
        }
        // RFC 7296 §2.16: leaving AUTH out asks for EAP.
        if let Own::Eap(rounds) = &self.own
            && rounds.allows_eap_only(&self.connection)
        {
            payloads.notify(NotifyType::EAP_ONLY_AUTHENTICATION, &[]); // RFC 5998 §3
        }
        if init::offers_rounds(&self.connection, cx) {
            payloads.notify(NotifyType::MULTIPLE_AUTH_SUPPORTED, &[]); // RFC 4739 §3.1
        }
        self.write_proof(proof.as_ref(), &mut payloads);
        if !self.connection.vips.is_empty() {
            payloads.cp(CfgType::REQUEST, &address_request(&core.vips_to_request(&self.connection)));
        }
        if let Some(offer) = &self.offer {
            offer.write(&mut payloads, |_| {});
        }
        if self.connection.mobike {
            self.told = mobike::announce(&mut payloads, core, cx);
            if !core.nat_t {
                core.write_path(&mut payloads, core.path, cx);
            }
        }
        core.request(ExchangeType::IKE_AUTH, &payloads, cx)
    }

    /// The first request of another round of ours (RFC 4739 §2.1).
    fn begin_round(&mut self, core: &mut Core, cx: &mut Cx<'_>) -> Result<(), Failure> {
        let auth = self.auth().ok_or(Failure::Ended("there is no other round of authentication"))?;
        let local_id = own_id(auth, core);
        self.own = Own::of(auth, &local_id);
        core.local_id = Some(local_id.clone());
        self.local_id = local_id;
        let proof = self.proof(core, &self.expected(), cx)?;
        let mut payloads = PayloadWriter::new();
        payloads.id_i(&self.local_id);
        if let Some(proof) = &proof {
            proof.write_certificates(&mut payloads);
        }
        self.write_proof(proof.as_ref(), &mut payloads);
        core.request(ExchangeType::IKE_AUTH, &payloads, cx)
    }

    fn write_proof(&self, proof: Option<&Proof>, payloads: &mut PayloadWriter) {
        let Some(proof) = proof else { return };
        payloads.auth(proof.method, &proof.data);
        info!(target: "ike", "authentication of '{}' (myself) with {}", self.local_id, proof.with);
        if self.is_followed() {
            payloads.notify(NotifyType::ANOTHER_AUTH_FOLLOWS, &[]);
        }
    }

    /// How we authenticate in the round that is under way.
    pub(super) fn auth(&self) -> Option<&LocalAuth> {
        self.connection.local.get(self.done)
    }

    /// Another round of ours follows the one that is under way.
    pub(super) fn is_followed(&self) -> bool {
        self.handshake.speaks_rounds && self.connection.local.len() > self.done + 1
    }

    /// Who the gateway is, or has to be.
    fn expected(&self) -> Identity {
        let configured = || self.connection.remote.first().map(|remote| remote.id.clone());
        let name = self.heard.name.as_ref().map(|name| name.id.clone());
        name.or_else(configured).unwrap_or_else(Identity::any)
    }

    /// Our AUTH, where it is not EAP that makes it.
    fn proof(&self, core: &Core, expected: &Identity, cx: &Cx<'_>) -> Result<Option<Proof>, Failure> {
        let Self { handshake, connection, local_id, .. } = self;
        let Some(auth) = self.auth().filter(|_| matches!(self.own, Own::Proof)) else { return Ok(None) };
        Proof::make(core, handshake, connection, auth, local_id, expected, &handshake.asked, cx).map(Some)
    }

    /// Checks the signature of the gateway, if it is one that has proven itself so; what is left is whether anybody
    /// vouches for its certificate.
    fn claim(
        &self,
        core: &Core,
        opened: &Opened<'_>,
        cx: &Cx<'_>,
    ) -> Result<Option<(Identity, Claim)>, Failure> {
        let payloads = &opened.payloads;
        let (Some(id_r), Some(id_r_body), Some(auth)) =
            (payloads.id_r(), payloads.id_r_body(), payloads.auth())
        else {
            return Ok(None);
        };
        let Some(expected) = self.remote().filter(|_| self.heard.is_followed) else { return Ok(None) };
        let is_checked = self.heard.vouched.is_some();
        if is_checked || !signature::is_signature(auth.method) || !allows_signature(expected.class) {
            return Ok(None);
        }
        expected_id(id_r, expected)?;
        let suite = core.suite.as_ref().ok_or(Failure::Ended("the IKE_SA has no keys"))?;
        let octets = self.handshake.signed_octets(Role::Responder, suite, id_r_body);
        let claim =
            Claim::check(payloads, auth, id_r, expected, &octets, cx).map_err(Failure::Authentication)?;
        Ok(Some((id_r.clone(), claim)))
    }

    pub(crate) fn handle_response(
        mut self: Box<Self>,
        core: &mut Core,
        plaintext: &Plaintext,
        cx: &mut Cx<'_>,
    ) -> Result<State, Failure> {
        let opened = match plaintext.decode() {
            Ok(opened) => opened,
            Err(error) => return self.fail(error.into(), core, cx),
        };
        match self.claim(core, &opened, cx) {
            Ok(None) => {}
            Ok(Some((id_r, Claim::Known(scheme)))) => {
                info!(target: "ike", "authentication of '{id_r}' with {scheme} successful");
                self.heard.vouched = Some(id_r);
            }
            Ok(Some((id_r, Claim::Certified(claim)))) => {
                core.remote_id = Some(id_r.clone());
                let scheme = claim.scheme.to_string();
                let (connection, round) = (&self.connection, self.heard.rounds);
                let asker = Asker { ike_sa: core.id, connection, round, id: &id_r };
                let action = asker.ask(*claim, cx);
                let plaintext = plaintext.clone();
                let checking = Checking { sent: self, plaintext, id_r, scheme, action };
                return Ok(State::AuthChecking(Box::new(checking)));
            }
            Err(failure) => return self.fail(failure, core, cx),
        }
        match self.advance(core, &opened, cx) {
            Ok(true) => {}
            Ok(false) => return Ok(State::AuthSent(self)),
            Err(failure) => return self.fail(failure, core, cx),
        }
        // RFC 5685 §6: not before the gateway has proven who it is.
        let redirect = opened.payloads.notify(NotifyType::REDIRECT).and_then(|n| Gateway::decode(n.data));
        if let Some((gateway, [])) = redirect.filter(|_| cx.settings.follow_redirects) {
            return self.redirect(gateway, core, cx);
        }
        let lease = match (opened.payloads.cp(), self.connection.vips.is_empty()) {
            (Some(reply), false) if reply.cfg_type == CfgType::REPLY => Lease {
                addresses: usable(&assigned_addresses(reply), &self.connection.vips),
                attributes: reply
                    .attributes
                    .iter()
                    .filter(|attribute| is_for_resolver(attribute.kind))
                    .map(|attribute| (attribute.kind, attribute.value.to_vec()))
                    .collect(),
            },
            _ => Lease::default(),
        };
        let mobility = Mobility::agreed(&opened.payloads, &self.connection, true);
        let Self { connection, planned, handshake, offer, told, .. } = *self;
        let made = planned.zip(offer).map(|(planned, offer)| {
            let with = Ingredients {
                id: planned.id,
                spi_in: planned.spi_in,
                opened_by_us: true,
                sk_d: &handshake.sk_d,
                shared: None,
                nonce_i: &handshake.nonce_i,
                nonce_r: &handshake.nonce_r,
                reqid: planned.wanted.reqid,
                virtual_ips: lease.addresses.clone(),
                outbound: Outbound::Now,
            };
            let made = Agreed::accept(planned.wanted.child.clone(), &offer, &opened.payloads, core)
                .and_then(|agreed| agreed.install(with, core, cx));
            (planned, made)
        });
        // Virtual IPs are for CHILD_SAs: where the first one fails we do not take them.
        let held = match &made {
            None | Some((_, Ok(_))) if !lease.addresses.is_empty() => {
                HeldLease::Taken { lease: lease.clone(), installed_for: core.id }
            }
            _ => HeldLease::Nothing,
        };
        let mut established = Box::new(Established::new(connection, held, handshake.sk_d, core, cx));
        established.mobility = mobility.map(|mobility| Mobility { told, ..mobility });
        if let Some(lifetime) = opened.payloads.notify(NotifyType::AUTH_LIFETIME).and_then(auth_lifetime) {
            established.limit_lifetime(lifetime, core, cx);
        }
        match made {
            None if !lease.addresses.is_empty() => {
                established.announce_without_child(core, cx);
                let action = Action::InstallVirtualIps { ike_sa: core.id, path: core.path, lease };
                established.install_addresses(cx.ask(core.id, action));
            }
            None => established.announce(core, cx),
            Some((planned, Err(failure))) => {
                established.announce_without_child(core, cx);
                established.child_failed(&planned, &failure, core, cx);
            }
            Some((PlannedChild { id, .. }, Ok((child_sa, install)))) => {
                established.announce_without_child(core, cx);
                // The peer uses the CHILD_SA from now on; ours follows as soon as it has its addresses.
                let installing = if lease.addresses.is_empty() {
                    Installing::child(cx.ask(core.id, Action::InstallChild(install)), id)
                } else {
                    for vip in &lease.addresses {
                        info!(target: "ike", "installing new virtual IP {vip}");
                    }
                    let action = Action::InstallVirtualIps { ike_sa: core.id, path: core.path, lease };
                    Installing::virtual_ips(cx.ask(core.id, action), id, install)
                };
                established.install(child_sa, installing);
            }
        }
        established.work(core, cx)
    }

    /// The gateway sends us to another one. It believes that the IKE SA stands.
    fn redirect(
        self: Box<Self>,
        gateway: Gateway,
        core: &mut Core,
        cx: &mut Cx<'_>,
    ) -> Result<State, Failure> {
        let mut payloads = PayloadWriter::new();
        payloads.delete_ike();
        if let Err(error) = core.request(ExchangeType::INFORMATIONAL, &payloads, cx) {
            debug!(target: "ike", "the gateway is not told that we leave: {error}");
        }
        core.settle();
        let (connection, wanted) =
            (self.connection.clone(), self.planned.as_ref().map(|planned| planned.wanted.clone()));
        self.give_back(core, cx);
        redirect::follow(core, connection, wanted, gateway, cx)
    }

    /// Takes whether the certificate that an EAP server has shown is to be believed.
    pub(crate) fn handle_outcome(
        mut self: Box<Self>,
        core: &mut Core,
        id: ActionId,
        outcome: Outcome,
        cx: &mut Cx<'_>,
    ) -> Result<State, Failure> {
        let result = match &mut self.own {
            Own::Eap(rounds) => rounds.judged(core, id, outcome, cx),
            Own::Proof | Own::Nothing => Ok(()),
        };
        match result {
            Ok(()) => Ok(State::AuthSent(self)),
            Err(failure) => self.fail(failure, core, cx),
        }
    }

    /// Takes what a response means for authentication. True if both ends have proven who they are; otherwise another request
    /// is out, or somebody is asked.
    fn advance(&mut self, core: &mut Core, opened: &Opened<'_>, cx: &mut Cx<'_>) -> Result<bool, Failure> {
        self.hear(core, opened, cx)?;
        match std::mem::replace(&mut self.own, Own::Nothing) {
            Own::Eap(mut rounds) => match rounds.proceed(self, core, opened, cx)? {
                Progress::Asked => {
                    self.own = Own::Eap(rounds);
                    return Ok(false);
                }
                Progress::Proven => {
                    if self.heard.is_eap_only {
                        self.count_round(&opened.payloads)?;
                    }
                    self.done += 1;
                }
            },
            Own::Proof => self.done += 1,
            Own::Nothing => {}
        }
        let has_more = self.handshake.speaks_rounds && self.auth().is_some();
        let is_last = !has_more && !self.heard.is_followed;
        if let Some(error) = fatal(&opened.payloads, is_last) {
            warn!(target: "ike", "received {error} notify error");
            return Err(Failure::Refused(error));
        }
        if has_more {
            self.begin_round(core, cx)?;
            return Ok(false);
        }
        if self.heard.is_followed {
            core.request(ExchangeType::IKE_AUTH, &PayloadWriter::new(), cx)?;
            return Ok(false);
        }
        let (had, wanted) = (self.heard.rounds, self.connection.remote.len());
        if had < wanted {
            let id = self.expected();
            return Err(Failure::Authentication(format!(
                "'{id}' has had {had} rounds of authentication, and {wanted} are asked for"
            )));
        }
        Ok(true)
    }

    /// What the gateway has to prove in its present round.
    fn remote(&self) -> Option<&RemoteAuth> {
        self.connection.remote.get(self.heard.rounds)
    }

    /// Takes a round of the gateway, if it is to have one in this response.
    fn hear(&mut self, core: &mut Core, opened: &Opened<'_>, cx: &Cx<'_>) -> Result<(), Failure> {
        let payloads = &opened.payloads;
        // What EAP has proven comes with an AUTH of its own.
        let is_of_eap = matches!(&self.own, Own::Eap(rounds) if rounds.awaits_auth());
        if !self.heard.is_followed || is_of_eap {
            return Ok(());
        }
        let name = payloads.id_r().zip(payloads.id_r_body());
        let name = name.map(|(id, body)| Name { id: id.clone(), body: body.to_vec() });
        let mut is_null = false;
        if let (Own::Eap(rounds), Some(name), None, 0) =
            (&self.own, &name, payloads.auth(), self.heard.rounds)
        {
            self.allow_eap_only(rounds, &name.id)?;
            (self.heard.is_eap_only, self.heard.is_followed) = (true, false);
        } else {
            self.verify(core, opened, cx)?;
            is_null = self.remote().is_some_and(RemoteAuth::is_null);
            self.count_round(payloads)?;
        }
        self.heard.vouched = None;
        // RFC 7619 §2.2: what was not proven is for nothing but the log.
        core.remote_id = match is_null {
            true => Some(Identity::null()),
            false => name.as_ref().map(|name| name.id.clone()),
        };
        self.heard.name = name;
        Ok(())
    }

    /// The gateway has had a round; whether it has another.
    fn count_round(&mut self, payloads: &Payloads<'_>) -> Result<(), Failure> {
        self.heard.rounds += 1;
        self.heard.is_followed = another_follows(payloads, self.handshake.speaks_rounds)?;
        if self.heard.is_followed && self.remote().is_none() {
            let why = format!("it announces another round after {}, which are all", self.heard.rounds);
            return Err(Failure::Authentication(why));
        }
        Ok(())
    }

    /// Whether the gateway may prove itself by EAP alone.
    fn allow_eap_only(&self, rounds: &Rounds, id_r: &Identity) -> Result<(), Failure> {
        let expected = self.connection.remote.first();
        if !rounds.allows_eap_only(&self.connection) {
            let why = match expected.and_then(|expected| expected.class) {
                Some(AuthClass::Psk) => "a pre-shared key is expected",
                Some(AuthClass::PublicKey) => "a signature is expected",
                Some(AuthClass::Null) => "NULL authentication is expected",
                _ => "none of our EAP methods can",
            };
            let why = format!("'{id_r}' wants to prove itself by EAP alone, and {why}");
            return Err(Failure::Authentication(why));
        }
        if let Some(expected) = expected {
            expected_id(id_r, expected)?;
        }
        info!(target: "ike", "allow mutual EAP-only authentication");
        Ok(())
    }

    /// Who the peer is, proven by its certificate or by a pre-shared key (RFC 7296 §2.15).
    fn verify(&self, core: &Core, opened: &Opened<'_>, cx: &Cx<'_>) -> Result<(), Failure> {
        let payloads = &opened.payloads;
        let (Some(id_r), Some(id_r_body), Some(auth)) =
            (payloads.id_r(), payloads.id_r_body(), payloads.auth())
        else {
            let error = payloads.notifies().find(|notify| notify.kind.is_error());
            return Err(error.map_or(
                Failure::Protocol("its IKE_AUTH response lacks IDr or AUTH"),
                |error| {
                    warn!(target: "ike", "received {} notify error", error.kind);
                    Failure::Refused(error.kind)
                },
            ));
        };
        let Some(expected) = self.remote() else {
            return Err(Failure::Protocol("it authenticates again after its last round"));
        };
        let class = expected.class;
        let other_method = || {
            let wanted = match class {
                None | Some(AuthClass::Psk) => "a pre-shared key",
                Some(AuthClass::PublicKey) => "a signature",
                Some(AuthClass::Eap(_)) => "EAP",
                Some(AuthClass::Null) => "NULL authentication",
            };
            Err(Failure::Authentication(format!("'{id_r}' used {}, expected {wanted}", auth.method)))
        };
        if auth.method == AuthMethod::NULL {
            return match expected.is_null() {
                true => self.verify_null(core, id_r, id_r_body, auth.data),
                false => other_method(),
            };
        }
        expected_id(id_r, expected)?;
        if self.heard.vouched.as_ref() == Some(id_r) && signature::is_signature(auth.method) {
            return Ok(());
        }
        if auth.method != AuthMethod::SHARED_KEY || !allows_psk(class) {
            return other_method();
        }
        let key = shared_key(cx.configuration, &self.local_id, id_r).map_err(Failure::Authentication)?;
        let suite = core.suite.as_ref().ok_or(Failure::Ended("the IKE_SA has no keys"))?;
        if !self.handshake.verify_responder(auth.data, suite, key, id_r_body) {
            return Err(Failure::Authentication(format!("the pre-shared key of '{id_r}' does not fit")));
        }
        info!(target: "ike", "authentication of '{id_r}' with pre-shared key successful");
        Ok(())
    }

    /// Checks AUTH of a gateway that does not prove who it is (RFC 7619 §2.1).
    fn verify_null(
        &self,
        core: &Core,
        id_r: &Identity,
        id_r_body: &[u8],
        data: &[u8],
    ) -> Result<(), Failure> {
        // RFC 7619 §2: not where we are to prove ourselves by EAP.
        if matches!(self.own, Own::Eap(_)) {
            let why = format!("'{id_r}' uses NULL authentication, and we are to use EAP");
            return Err(Failure::Authentication(why));
        }
        let suite = core.suite.as_ref().ok_or(Failure::Ended("the IKE_SA has no keys"))?;
        if !self.handshake.verify_responder(data, suite, self.handshake.null_key(Role::Responder), id_r_body)
        {
            return Err(Failure::Authentication(
                "AUTH without authentication does not fit the IKE_SA".into(),
            ));
        }
        super::tell_of_nobody(core, id_r);
        Ok(())
    }

    /// Nobody answered: the whole from IKE_SA_INIT on, as often as `keyingtries` says.
    pub(crate) fn try_again(
        self: Box<Self>,
        core: &mut Core,
        failure: Failure,
        cx: &mut Cx<'_>,
    ) -> Result<State, Failure> {
        let Self { connection, planned, attempt, .. } = *self;
        init::try_again(core, connection, planned, attempt, failure, cx)
    }

    fn fail(self: Box<Self>, failure: Failure, core: &mut Core, cx: &mut Cx<'_>) -> Result<State, Failure> {
        // RFC 7296 §2.21.2: the responder thinks that the IKE SA stands; it is told otherwise.
        if let Some((kind, data)) = failure.notify() {
            let mut payloads = PayloadWriter::new();
            payloads.notify(kind, &data).delete_ike();
            if let Err(error) = core.request(ExchangeType::INFORMATIONAL, &payloads, cx) {
                debug!(target: "ike", "the peer is not told of the failure: {error}");
            }
        }
        self.give_back(core, cx);
        Err(failure)
    }

    pub(crate) fn give_back(self, core: &Core, cx: &mut Cx<'_>) {
        if let Some(planned) = self.planned {
            cx.ask(core.id, Action::RemoveChild { child_sa: planned.id });
        }
    }
}

/// Whether the gateway is who it has to be.
fn expected_id(id_r: &Identity, expected: &RemoteAuth) -> Result<(), Failure> {
    match id_r.matches(&expected.id) {
        Some(_) => Ok(()),
        None => Err(Failure::Authentication(format!("IDr '{id_r}' does not match to '{}'", expected.id))),
    }
}

/// The error that ends it, in a response without AUTH. Where it is the last, others are about the CHILD_SA alone (RFC 7296
/// §2.21.2).
fn fatal(payloads: &Payloads<'_>, is_last: bool) -> Option<NotifyType> {
    const ABOUT_THE_CHILD: [NotifyType; 6] = [
        NotifyType::NO_PROPOSAL_CHOSEN,
        NotifyType::SINGLE_PAIR_REQUIRED,
        NotifyType::NO_ADDITIONAL_SAS,
        NotifyType::INTERNAL_ADDRESS_FAILURE,
        NotifyType::FAILED_CP_REQUIRED,
        NotifyType::TS_UNACCEPTABLE,
    ];
    let mut errors = payloads.notifies().map(|notify| notify.kind).filter(|kind| kind.is_error());
    if payloads.auth().is_some() && is_last {
        return None; // it has proven itself, and so goes on
    }
    errors.find(|kind| !is_last || !ABOUT_THE_CHILD.contains(kind))
}

/// CFG_REQUEST: the virtual IPs we want, and what goes with them.
fn address_request(vips: &[IpAddr]) -> Vec<(CfgAttributeType, Vec<u8>)> {
    let mut attributes = Vec::new();
    for vip in vips {
        attributes.push(match vip {
            IpAddr::V4(v4) if v4.is_unspecified() => (CfgAttributeType::INTERNAL_IP4_ADDRESS, vec![]),
            IpAddr::V4(v4) => (CfgAttributeType::INTERNAL_IP4_ADDRESS, v4.octets().to_vec()),
            IpAddr::V6(v6) if v6.is_unspecified() => (CfgAttributeType::INTERNAL_IP6_ADDRESS, vec![]),
            IpAddr::V6(v6) => {
                (CfgAttributeType::INTERNAL_IP6_ADDRESS, v6.octets().into_iter().chain([128]).collect())
            }
        });
    }
    if vips.iter().any(IpAddr::is_ipv4) {
        attributes.push((CfgAttributeType::INTERNAL_IP4_DNS, vec![]));
    }
    if vips.iter().any(IpAddr::is_ipv6) {
        attributes.push((CfgAttributeType::INTERNAL_IP6_DNS, vec![]));
    }
    attributes
}

/// Of the addresses the gateway assigns, one of each family that we asked for, if it can be a host's.
fn usable(assigned: &[IpAddr], requested: &[IpAddr]) -> Vec<IpAddr> {
    let is_host =
        |address: &&IpAddr| !address.is_unspecified() && !address.is_multicast() && !address.is_loopback();
    [true, false]
        .into_iter()
        .filter(|is_v4| requested.iter().any(|wanted| wanted.is_ipv4() == *is_v4))
        .filter_map(|is_v4| assigned.iter().filter(is_host).find(|address| address.is_ipv4() == is_v4))
        .copied()
        .collect()
}

fn is_for_resolver(kind: CfgAttributeType) -> bool {
    matches!(kind, CfgAttributeType::INTERNAL_IP4_DNS | CfgAttributeType::INTERNAL_IP6_DNS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_usable_address_of_each_family_is_taken() {
        let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
        for (assigned, requested, taken) in [
            (&["10.3.0.1"][..], &["0.0.0.0"][..], &["10.3.0.1"][..]),
            (&["10.3.0.1", "10.3.0.2"], &["0.0.0.0"], &["10.3.0.1"]),
            (&["2001:db8::1", "10.3.0.1"], &["0.0.0.0", "::"], &["10.3.0.1", "2001:db8::1"]),
            (&["2001:db8::1", "10.3.0.1"], &["0.0.0.0"], &["10.3.0.1"]),
            (&["2001:db8::1"], &["10.0.0.1"], &[]),
            (&["0.0.0.0", "127.0.0.1", "224.0.0.1", "10.3.0.1"], &["0.0.0.0"], &["10.3.0.1"]),
            (&["::", "::1", "ff02::1"], &["::"], &[]),
        ] {
            assert_eq!(
                usable(&parse(assigned), &parse(requested)),
                parse(taken),
                "{assigned:?} {requested:?}"
            );
        }
    }
}
