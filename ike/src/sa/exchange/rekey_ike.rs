//! CREATE_CHILD_SA for the IKE SA itself (RFC 7296 §1.3.2, §2.8, §2.8.2, §2.18): a successor with new keys, SPIs and
//! message IDs, to which children, addresses and whatever waits move over.
//!
//! ```text
//! HDR, SK {SA, Ni, KEi}  -->
//!                   <--  HDR, SK {SA, Nr, KEr}
//! ```
//!
//! Who asked deletes the old one; that is the last request on it. If both ends ask at once there are two successors,
//! and the nonces decide which one inherits. The peer's waits until our own exchange has come to its end.

use std::time::Duration;

use tracing::info;

use super::create_child::{KeyShare, demanded_method};
use super::init::{MOST_RESTARTS, NONCE_LEN, list};
use crate::context::{Cx, draw_ike_spi};
use crate::crypto::{IkeKeys, IkeSuite, KeyExchangeInProgress, Role, SharedKey, SkD};
use crate::error::Failure;
use crate::output::{Event, IkeSaId, RequestId};
use crate::proposal::{self, Prefer, Proposal, SelectContext};
use crate::sa::child::retry;
use crate::sa::collision::{self, Answer, Request, Survivor};
use crate::sa::established::{Established, LINGER, Rank};
use crate::sa::mobike::Mobility;
use crate::sa::opened::Opened;
use crate::sa::task::{Active, Task};
use crate::sa::{Core, HeldLease, IkeSa, Protection, State};
use crate::timer::Timer;
use crate::wire::PayloadWriter;
use crate::wire::registry::{ExchangeType, IkeSpi, KeMethod, ProtocolId, TransformType};

/// How long an IKE SA that has a successor waits for the peer to delete it, before we do. As long as a peer with the
/// default schedule of retransmissions tries.
const WAIT_FOR_DELETE: Duration = Duration::from_secs(180);

/// Our request is on its way.
pub(crate) struct Asking {
    own_spi: IkeSpi,
    offer: Vec<Proposal>,
    ke: KeyExchangeInProgress,
    nonce: [u8; NONCE_LEN],
    restarts: u32,
    /// What the peer's exchange has made meanwhile.
    rival: Option<Successor>,
}

/// An IKE SA to be, with keys and without anything else.
pub(crate) struct Successor {
    core: Core,
    sk_d: SkD,
    /// The lower nonce of the exchange.
    lowest: Vec<u8>,
}

/// Whose exchange made a successor.
#[derive(Clone, Copy)]
enum Maker {
    We,
    Peer,
}

/// What the keys of a successor come from (RFC 7296 §2.18).
struct Ingredients<'a> {
    role: Role,
    suite: IkeSuite,
    shared: &'a SharedKey,
    spi_i: IkeSpi,
    spi_r: IkeSpi,
    nonce_i: &'a [u8],
    nonce_r: &'a [u8],
}

/// Sends our request.
///
/// # Errors
///
/// When nothing can be asked under these keys any more.
pub(crate) fn ask(established: &mut Established, core: &mut Core, cx: &mut Cx<'_>) -> Result<(), Failure> {
    if established.rank == Rank::Superseded {
        return Ok(());
    }
    info!(target: "ike", audit = true, "initiating IKE_SA {}[{}] rekey", core.name(), core.id);
    let own_spi = draw_ike_spi(cx.crypto, cx.spi_prefix);
    let mut offer = established.connection.proposals.clone();
    proposal::number(&mut offer);
    for proposal in &mut offer {
        proposal.spi = own_spi.0.to_vec();
    }
    // The method that served before, or the one that is liked best.
    let before = core.suite.as_ref().map(IkeSuite::ke).filter(|method| offers(&offer, *method));
    let method = before.or_else(|| offer.iter().find_map(Proposal::ke));
    let Some(ke) = method.and_then(|method| cx.crypto.start(method)) else {
        let failure = Failure::Outside("no proposal has a key exchange method we know".into());
        fail(established, &failure, core, cx);
        return Ok(());
    };
    let asking = Asking { own_spi, offer, ke, nonce: cx.random(), restarts: 0, rival: None };
    asking.send(established, core, cx)
}

/// Answers the peer's request.
pub(crate) fn answer(
    established: &mut Established,
    core: &mut Core,
    opened: &Opened<'_>,
    cx: &mut Cx<'_>,
) -> Result<(), Failure> {
    let payloads = &opened.payloads;
    let (Some(sa), Some(nonce_i)) = (payloads.sa(), payloads.nonce()) else {
        return Err(Failure::Protocol("its CREATE_CHILD_SA request lacks SA or nonce"));
    };
    match collision::answer(Request::RekeyIkeSa, established.ours(Request::RekeyIkeSa, None)) {
        Answer::AsUsual | Answer::Empty | Answer::NotFound => {}
        Answer::CompareNonces => tracing::debug!(target: "ike", "IKE_SA rekey collision detected"),
        Answer::NotNow(why) => return Err(Failure::Crossing(why)),
    }
    let ours = &established.connection.proposals;
    let context =
        SelectContext { allow_private: cx.settings.accept_private_algorithms, ..Default::default() };
    let prefer = if cx.settings.prefer_configured_proposals { Prefer::Ours } else { Prefer::Theirs };
    let Some(mut chosen) = proposal::select(ours, &sa.proposals, prefer, context) else {
        info!(target: "cfg", "received proposals: {}", list(&sa.proposals));
        info!(target: "cfg", "configured proposals: {}", list(ours));
        let why = proposal::explain(ours, &sa.proposals, context);
        return Err(Failure::no_proposal(why.to_string()));
    };
    let spi_i = sa
        .proposals
        .iter()
        .find(|theirs| theirs.number == chosen.number)
        .and_then(ike_spi)
        .ok_or(Failure::Protocol("its IKE proposal has no SPI of eight octets"))?;
    let suite = IkeSuite::from_proposal(&chosen).map_err(|e| Failure::no_proposal(e.to_string()))?;
    let key_share = KeyShare::answer(suite.ke(), payloads, cx)?;
    let nonce_r: [u8; NONCE_LEN] = cx.random();
    let spi_r = draw_ike_spi(cx.crypto, cx.spi_prefix);
    let with = Ingredients {
        role: Role::Responder,
        suite,
        shared: &key_share.shared,
        spi_i,
        spi_r,
        nonce_i,
        nonce_r: &nonce_r,
    };
    let successor = Successor::new(with, established, core, cx)?;
    chosen.spi = spi_r.0.to_vec();
    let mut reply = PayloadWriter::new();
    reply.sa(&[chosen]).nonce(&nonce_r).ke(key_share.method, &key_share.public);
    let message_id = opened.header.message_id;
    core.respond(ExchangeType::CREATE_CHILD_SA, message_id, &reply, opened.path, cx)?;
    match &mut established.active {
        Some(Active::RekeyIkeSa(asking)) => asking.rival = Some(successor),
        _ => successor.take_over(established, core, cx),
    }
    Ok(())
}

/// The peer deletes the IKE SA while our request is under way: the peer does not know of it, or has decided already
/// (RFC 7296 §2.8.2). What its own exchange has made inherits.
pub(crate) fn forget(established: &mut Established, core: &mut Core, cx: &mut Cx<'_>) {
    if let Some(Active::RekeyIkeSa(asking)) =
        established.active.take_if(|a| matches!(a, Active::RekeyIkeSa(_)))
        && let Some(rival) = asking.rival
    {
        rival.take_over(established, core, cx);
    }
}

impl Asking {
    fn send(self, established: &mut Established, core: &mut Core, cx: &mut Cx<'_>) -> Result<(), Failure> {
        let mut payloads = PayloadWriter::new();
        payloads.sa(&self.offer).nonce(&self.nonce).ke(self.ke.method(), self.ke.public());
        established.active = Some(Active::RekeyIkeSa(Box::new(self)));
        core.request(ExchangeType::CREATE_CHILD_SA, &payloads, cx)
    }

    /// Takes the response.
    ///
    /// # Errors
    ///
    /// When nothing can be asked under these keys any more.
    pub(crate) fn handle_response(
        mut self: Box<Self>,
        established: &mut Established,
        core: &mut Core,
        opened: Result<Opened<'_>, Failure>,
        cx: &mut Cx<'_>,
    ) -> Result<(), Failure> {
        if let Ok(opened) = &opened
            && let Some(method) = demanded_method(&opened.payloads)
            && self.restarts < MOST_RESTARTS
            && method != self.ke.method()
            && offers(&self.offer, method)
            && let Some(ke) = cx.crypto.start(method)
        {
            info!(target: "ike", "peer didn't accept key exchange {}, it requested {method}", self.ke.method());
            self.ke = ke;
            self.nonce = cx.random();
            self.restarts += 1;
            return self.send(established, core, cx);
        }
        let made = opened.and_then(|opened| self.make(&opened, established, core, cx));
        match (made, self.rival) {
            (Ok(ours), None) => {
                ours.take_over(established, core, cx);
                established.queue.push_back(Task::DeleteIkeSa);
            }
            (Ok(ours), Some(theirs)) => match collision::survivor(&ours.lowest, &theirs.lowest) {
                Survivor::Ours => {
                    info!(target: "ike", "IKE_SA rekey collision won, deleting the old IKE_SA");
                    theirs.stand_by(established, Maker::Peer, cx);
                    ours.take_over(established, core, cx);
                    established.queue.push_back(Task::DeleteIkeSa);
                }
                Survivor::Theirs => {
                    info!(target: "ike", "IKE_SA rekey collision lost, deleting the redundant IKE_SA");
                    ours.stand_by(established, Maker::We, cx);
                    theirs.take_over(established, core, cx);
                }
            },
            (Err(failure), None) => fail(established, &failure, core, cx),
            (Err(failure), Some(theirs)) => {
                tracing::debug!(target: "ike", "our rekeying of the IKE_SA is forgotten: {failure}");
                theirs.take_over(established, core, cx);
            }
        }
        Ok(())
    }

    fn make(
        &self,
        opened: &Opened<'_>,
        established: &Established,
        core: &Core,
        cx: &Cx<'_>,
    ) -> Result<Successor, Failure> {
        let payloads = &opened.payloads;
        let (Some(sa), Some(nonce_r)) = (payloads.sa(), payloads.nonce()) else {
            return Err(payloads
                .error()
                .map_or(Failure::Protocol("its CREATE_CHILD_SA response lacks SA or nonce"), |error| {
                    Failure::Refused(error.kind)
                }));
        };
        let [answer] = sa.proposals.as_slice() else {
            return Err(Failure::Protocol("it did not choose exactly one proposal"));
        };
        if !answer.is_answer_to(&self.offer) {
            return Err(Failure::Protocol("it chose a proposal that we did not offer"));
        }
        let spi_r =
            ike_spi(answer).ok_or(Failure::Protocol("its IKE proposal has no SPI of eight octets"))?;
        let suite = IkeSuite::from_proposal(answer).map_err(|e| Failure::no_proposal(e.to_string()))?;
        let ke = payloads
            .ke()
            .filter(|ke| ke.method == suite.ke() && ke.method == self.ke.method())
            .ok_or(Failure::Protocol("its key exchange is not the one it chose"))?;
        let with = Ingredients {
            role: Role::Initiator,
            suite,
            shared: &self.ke.complete(ke.data)?,
            spi_i: self.own_spi,
            spi_r,
            nonce_i: &self.nonce,
            nonce_r,
        };
        Successor::new(with, established, core, cx)
    }
}

impl Successor {
    fn new(
        with: Ingredients<'_>,
        established: &Established,
        old: &Core,
        cx: &Cx<'_>,
    ) -> Result<Self, Failure> {
        let prf = old.suite.as_ref().ok_or(Failure::Ended("the IKE_SA has no keys"))?.prf();
        let Ingredients { role, suite, shared, spi_i, spi_r, nonce_i, nonce_r } = with;
        let keys = IkeKeys::rekey(prf, &established.sk_d, &suite, shared, nonce_i, nonce_r, spi_i, spi_r);
        let (sealer, opener) = keys.protection.into_directions(role);
        let mut core = Core::new(IkeSaId(cx.unique_ids.ike_sa()), role, spi_i, spi_r, old.path, cx.now);
        core.nat = old.nat;
        core.nat_t = old.nat_t;
        core.nat_fake = old.nat_fake;
        core.redirects = old.redirects.clone();
        core.can_be_redirected = old.can_be_redirected;
        core.fragments = old.fragments;
        core.connection.clone_from(&old.connection);
        core.interfaces = old.interfaces;
        core.suite = Some(suite);
        core.protection = Some(Protection { sealer, opener });
        core.local_id.clone_from(&old.local_id);
        core.remote_id.clone_from(&old.remote_id);
        core.remote_eap_id.clone_from(&old.remote_eap_id);
        Ok(Self { core, sk_d: keys.sk_d, lowest: collision::lower(nonce_i, nonce_r).to_vec() })
    }

    /// Inherits everything (RFC 7296 §2.8), and leaves the old one to be deleted.
    fn take_over(self, old: &mut Established, old_core: &mut Core, cx: &mut Cx<'_>) {
        let Self { mut core, sk_d, .. } = self;
        // The peer may have moved meanwhile.
        core.path = old_core.path;
        core.nat = old_core.nat;
        core.nat_fake = old_core.nat_fake;
        core.requests = std::mem::take(&mut old_core.requests);
        core.wanted = std::mem::take(&mut old_core.wanted);
        core.heritage = old_core.heritage.take();
        let held = std::mem::replace(&mut old.held, HeldLease::Nothing);
        let mut new = Established::bare(old.connection.clone(), held, sk_d, cx);
        new.children = std::mem::take(&mut old.children);
        new.reauthenticates = old.reauthenticates;
        new.session_ends = old.session_ends;
        new.opened_by_us = old.opened_by_us;
        new.inherit_renewal(old, core.id, cx);
        // Whether the peer lives is asked by the old one for itself; rekeying is done.
        new.queue = std::mem::take(&mut old.queue)
            .into_iter()
            .filter(|task| !matches!(task, Task::Liveness | Task::RekeyIkeSa))
            .collect();
        new.mobility = old.mobility.as_ref().map(Mobility::inherit);
        // What is said of addresses must be said where the children are.
        if let Some(Active::Inform(task)) = &old.active
            && matches!(task, Task::UpdateAddresses | Task::TellAddresses | Task::CheckRoutability)
        {
            new.ask_next(task.clone());
        }
        if let Some(look) = old.mobility.as_ref().and_then(|mobility| mobility.looking) {
            new.look(look.purpose, &core, cx);
        }
        new.tell_addresses(&mut core, cx);
        old.successor = Some(core.own_spi());
        new.enders = std::mem::take(&mut old.enders);
        new.reauthenticators = std::mem::take(&mut old.reauthenticators);
        new.child_enders = std::mem::take(&mut old.child_enders);
        new.child_rekeyers = std::mem::take(&mut old.child_rekeyers);
        new.begin(&mut core, cx);
        new.arm_child_timers(&mut core);
        match core.role {
            Role::Initiator => cx.counters.ike_rekeyed_by_us += 1,
            Role::Responder => cx.counters.ike_rekeyed_by_peer += 1,
        }
        supersede(old, old_core, cx);
        info!(
            target: "ike", audit = true,
            "IKE_SA {}[{}] rekeyed between {}...{}, successor [{}]",
            old_core.name(), old_core.id, old_core.path.local.ip(), old_core.path.remote.ip(), core.id
        );
        cx.tell(Event::IkeSaRekeyed {
            old: Box::new(old.status(old_core)),
            new: Box::new(new.status(&core)),
        });
        let mut rekeyers: Vec<RequestId> = std::mem::take(&mut old.rekeyers);
        cx.complete(&mut rekeyers, &Ok(()));
        cx.born.push(IkeSa { core, state: State::Established(Box::new(new)) });
    }

    /// Inherits nothing: it is there to be deleted by whose exchange made it (RFC 7296 §2.8.2).
    fn stand_by(self, old: &Established, maker: Maker, cx: &mut Cx<'_>) {
        let Self { mut core, sk_d, .. } = self;
        let mut bare = Established::bare(old.connection.clone(), HeldLease::Nothing, sk_d, cx);
        supersede(&mut bare, &mut core, cx);
        match maker {
            Maker::We => bare.queue.push_back(Task::DeleteIkeSa),
            Maker::Peer => {
                // Our DELETE of the old IKE SA may overtake our response. The peer never hears of this one then, and
                // has nothing to delete.
                core.timers.disarm(Timer::Expire);
                core.timers.arm(Timer::Linger, cx.now + LINGER);
            }
        }
        cx.born.push(IkeSa { core, state: State::Established(Box::new(bare)) });
    }
}

/// It has nothing any more and waits for its DELETE.
fn supersede(established: &mut Established, core: &mut Core, cx: &Cx<'_>) {
    established.rank = Rank::Superseded;
    for timer in [
        Timer::Rekey,
        Timer::Reauthenticate,
        Timer::Liveness,
        Timer::KeepAlive,
        Timer::ChildRekey,
        Timer::ChildExpire,
        Timer::ChildLinger,
        Timer::ChildInactive,
        Timer::TellAddresses,
    ] {
        core.timers.disarm(timer);
    }
    core.timers.arm(Timer::Expire, cx.now + WAIT_FOR_DELETE);
}

/// Our request has come to nothing. The IKE SA goes on, and another attempt is made before its time is up.
fn fail(established: &mut Established, failure: &Failure, core: &mut Core, cx: &mut Cx<'_>) {
    info!(target: "ike", "rekeying IKE_SA {}[{}] failed: {failure}", core.name(), core.id);
    established.rekey_at(retry(established.expires, cx), core);
    cx.complete(&mut established.rekeyers, &Err(format!("rekeying the IKE_SA failed: {failure}")));
}

fn ike_spi(proposal: &Proposal) -> Option<IkeSpi> {
    let spi = IkeSpi(proposal.spi.as_slice().try_into().ok()?);
    (proposal.protocol == ProtocolId::IKE && !spi.is_zero()).then_some(spi)
}

fn offers(offer: &[Proposal], method: KeMethod) -> bool {
    offer
        .iter()
        .any(|proposal| proposal.transforms.iter().any(|t| t.kind == TransformType::KE && t.id == method.0))
}
