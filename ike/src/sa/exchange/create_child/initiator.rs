//! CREATE_CHILD_SA as the initiator.

use tracing::info;

use super::demanded_method;
use crate::attempt::Attempt;
use crate::context::Cx;
use crate::crypto::{KeyExchangeInProgress, Role};
use crate::error::Failure;
use crate::output::{Action, ActionId, ChildSaId, Outbound, Outcome};
use crate::proposal::Proposal;
use crate::sa::Core;
use crate::sa::child::{Agreed, ChildSa, Ingredients, Offer, resolve};
use crate::sa::collision;
use crate::sa::established::Established;
use crate::sa::exchange::init::{MOST_RESTARTS, NONCE_LEN};
use crate::sa::opened::Opened;
use crate::sa::task::{Active, Task, Wanted};
use crate::wire::PayloadWriter;
use crate::wire::registry::{ExchangeType, KeMethod, NotifyType, ProtocolId, Spi, TransformType};

/// A CHILD_SA that we make, from before the request to after the response.
pub(crate) struct Asking {
    aim: Aim,
    stage: Stage,
}

/// What the exchange is for, in all its stages.
struct Aim {
    wanted: Wanted,
    id: ChildSaId,
    /// What the peer made in the place of the same CHILD_SA meanwhile.
    rival: Option<Rival>,
    /// What the peer has deleted meanwhile and we do not have: perhaps what our request has made.
    deleted: Vec<Spi>,
}

/// A successor that the peer's exchange has made.
pub(crate) struct Rival {
    pub(crate) child_sa: ChildSaId,
    /// The lower nonce of that exchange.
    pub(crate) lowest: Vec<u8>,
}

enum Stage {
    /// Before the request: waits for an SPI.
    Reserving(ActionId),
    /// The request is on its way.
    Sent(Box<Sent>),
    /// After the response: waits for the data plane.
    Installing(ActionId, Box<Made>),
    /// The data plane has it. It waits for the peer's exchange about the same CHILD_SA to come to its end.
    Installed(Box<Made>),
}

struct Sent {
    spi_in: Spi,
    offer: Offer,
    ke: Option<KeyExchangeInProgress>,
    nonce: [u8; NONCE_LEN],
    restarts: u32,
}

/// What came of it.
pub(crate) struct Made {
    pub(crate) child_sa: ChildSa,
    /// The lower nonce of the exchange.
    pub(crate) lowest: Vec<u8>,
}

impl Asking {
    /// Asks for an SPI.
    pub(crate) fn new(wanted: Wanted, core: &Core, cx: &mut Cx<'_>) -> Self {
        let id = ChildSaId(cx.unique_ids.child_sa());
        let action = cx.ask(core.id, Action::ReserveSpi { child_sa: id });
        Self { aim: Aim { wanted, id, rival: None, deleted: Vec::new() }, stage: Stage::Reserving(action) }
    }

    /// The CHILD_SA whose successor is being made.
    pub(crate) fn rekeys(&self) -> Option<ChildSaId> {
        self.aim.wanted.rekeys
    }

    /// Its request waits for the response.
    pub(crate) fn is_sent(&self) -> bool {
        matches!(self.stage, Stage::Sent(_))
    }

    /// The response has granted it.
    pub(crate) fn is_granted(&self) -> bool {
        matches!(self.stage, Stage::Installing(..) | Stage::Installed(_))
    }

    /// True if it waits for the outcome of that action.
    pub(crate) fn awaits(&self, id: ActionId) -> bool {
        match self.stage {
            Stage::Reserving(action) | Stage::Installing(action, _) => action == id,
            Stage::Sent(_) | Stage::Installed(_) => false,
        }
    }

    /// The peer has made a successor of the same CHILD_SA.
    pub(crate) fn note_rival(&mut self, rival: Rival) {
        self.aim.rival = Some(rival);
    }

    /// The peer has deleted a CHILD_SA that we do not have.
    pub(crate) fn note_deleted(&mut self, spi: Spi) {
        const MOST: usize = 16; // far more than a peer can have a reason for
        if self.is_sent() && self.aim.deleted.len() < MOST {
            self.aim.deleted.push(spi);
        }
    }

    /// Goes on with the outcome of the action it waits for.
    ///
    /// # Errors
    ///
    /// When nothing can be asked under these keys any more.
    pub(crate) fn handle_outcome(
        self,
        established: &mut Established,
        core: &mut Core,
        outcome: Outcome,
        cx: &mut Cx<'_>,
    ) -> Result<(), Failure> {
        let Self { aim, stage } = self;
        match (stage, outcome) {
            (Stage::Reserving(_), Outcome::Spi(spi_in)) => match aim.offer(spi_in, established, core) {
                Some(offer) => {
                    let request = Request { spi_in, offer, method: None, restarts: 0 };
                    return aim.send(request, established, core, cx);
                }
                None => aim.abandon(&Failure::Ended("the CHILD_SA to rekey is gone"), established, core, cx),
            },
            (Stage::Reserving(_), Outcome::Failed(why)) => {
                aim.fail(&Failure::Outside(why), established, core, cx);
            }
            (Stage::Reserving(_), _) => {
                aim.fail(&Failure::Outside("no SPI".into()), established, core, cx);
            }
            (Stage::Installing(_, made), Outcome::Failed(why)) => {
                // The peer believes that it stands.
                established.queue.push_front(Task::DisownChild(made.child_sa.spi_in));
                aim.abandon(&Failure::Outside(why), established, core, cx);
            }
            (Stage::Installing(_, made), _) => {
                let asking = Self { aim, stage: Stage::Installed(made) };
                established.active = Some(Active::CreateChild(Box::new(asking)));
                established.settle_rekeyed_child(core, cx);
            }
            (stage @ (Stage::Sent(_) | Stage::Installed(_)), _) => {
                // These wait for no action.
                established.active = Some(Active::CreateChild(Box::new(Self { aim, stage })));
            }
        }
        Ok(())
    }

    /// Takes the response.
    ///
    /// # Errors
    ///
    /// When nothing can be asked under these keys any more.
    pub(crate) fn handle_response(
        self,
        established: &mut Established,
        core: &mut Core,
        opened: Result<Opened<'_>, Failure>,
        cx: &mut Cx<'_>,
    ) -> Result<(), Failure> {
        let Self { aim, stage } = self;
        let Stage::Sent(sent) = stage else {
            established.active = Some(Active::CreateChild(Box::new(Self { aim, stage }))); // none is awaited
            return Ok(());
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(failure) => {
                // It may have granted what we asked.
                established.queue.push_front(Task::DisownChild(sent.spi_in));
                aim.abandon(&failure, established, core, cx);
                return Ok(());
            }
        };
        let payloads = &opened.payloads;
        if let Some(method) = demanded_method(payloads)
            && sent.restarts < MOST_RESTARTS
            && offers(&sent.offer, method)
            && sent.ke.as_ref().is_none_or(|ke| ke.method() != method)
        {
            info!(target: "ike", "peer didn't accept our key exchange, it requested {method}");
            let Sent { spi_in, offer, restarts, .. } = *sent;
            let request = Request { spi_in, offer, method: Some(method), restarts: restarts + 1 };
            return aim.send(request, established, core, cx);
        }
        if let Some(error) = payloads.error().filter(|_| payloads.sa().is_none()) {
            let failure = Failure::Refused(error.kind);
            match aim.wanted.for_single_pair(&failure) {
                Some(wanted) => {
                    cx.ask(core.id, Action::RemoveChild { child_sa: aim.id });
                    established.queue.push_front(Task::CreateChild(Box::new(wanted)));
                }
                None => aim.abandon(&failure, established, core, cx),
            }
            return Ok(());
        }
        match aim.make(&sent, &opened, established, core, cx) {
            Ok((install, made)) => {
                let action = cx.ask(core.id, Action::InstallChild(install));
                let asking = Self { aim, stage: Stage::Installing(action, made) };
                established.active = Some(Active::CreateChild(Box::new(asking)));
            }
            Err(failure) => {
                if !matches!(failure, Failure::Ended(_)) {
                    established.queue.push_front(Task::DisownChild(sent.spi_in));
                }
                aim.abandon(&failure, established, core, cx);
            }
        }
        Ok(())
    }

    /// What was made, once the data plane has it; itself until then.
    pub(crate) fn finish(self) -> Result<(Made, Wanted, Option<Rival>), Box<Self>> {
        match self {
            Self { aim, stage: Stage::Installed(made) } => Ok((*made, aim.wanted, aim.rival)),
            unfinished => Err(Box::new(unfinished)),
        }
    }

    /// Gives back what was reserved or installed, and tells who waits: the IKE SA ends.
    pub(crate) fn give_back(self, core: &Core, cx: &mut Cx<'_>) {
        cx.ask(core.id, Action::RemoveChild { child_sa: self.aim.id });
        let result = Err("the IKE_SA was closed".into());
        cx.complete(&mut self.aim.wanted.request.into_iter().collect(), &result);
    }
}

/// A request to be sent.
struct Request {
    spi_in: Spi,
    offer: Offer,
    /// The key exchange method the peer demands; `None` for our choice.
    method: Option<KeMethod>,
    restarts: u32,
}

impl Aim {
    /// What to ask for. `None` if there is no CHILD_SA to rekey any more.
    fn offer(&self, spi_in: Spi, established: &Established, core: &Core) -> Option<Offer> {
        let proposals = self.wanted.child.esp_proposals.clone();
        let (ts_i, ts_r) = match self.wanted.rekeys {
            // RFC 7296 §2.8, §2.9.2: the same traffic as before.
            Some(old) => {
                let old = established.child(old).filter(|old| old.is_live())?;
                (old.local_ts.clone(), old.remote_ts.clone())
            }
            None => {
                let (local, remote) = established.inner_addresses(core);
                let child = &self.wanted.child;
                self.wanted.selectors(resolve(&child.local_ts, &local), resolve(&child.remote_ts, &remote))
            }
        };
        let mode = self.wanted.child.mode()?;
        Some(Offer::new(mode, proposals, spi_in, ts_i, ts_r))
    }

    fn send(
        self,
        request: Request,
        established: &mut Established,
        core: &mut Core,
        cx: &mut Cx<'_>,
    ) -> Result<(), Failure> {
        let Request { spi_in, offer, method, restarts } = request;
        let old = self.wanted.rekeys.and_then(|old| established.child(old));
        // The method that served before, or the one that is liked best.
        let method = method
            .or_else(|| old.and_then(|old| old.suite.ke()).filter(|method| offers(&offer, *method)))
            .or_else(|| offer.proposals.iter().find_map(Proposal::ke));
        let ke = method.and_then(|method| cx.crypto.start(method));
        let nonce = cx.random();
        let mut payloads = PayloadWriter::new();
        if let Some(old) = old {
            let spi = old.spi_in.0.to_be_bytes();
            payloads.notify_for(ProtocolId::ESP, &spi, NotifyType::REKEY_SA, &[]);
            info!(target: "ike", audit = true, "rekeying {}", old.describe(core));
        } else {
            info!(target: "ike", audit = true, "establishing CHILD_SA {}{{{}}}", self.wanted.child.name, self.id);
        }
        offer.write(&mut payloads, |payloads| {
            payloads.nonce(&nonce);
            if let Some(ke) = &ke {
                payloads.ke(ke.method(), ke.public());
            }
        });
        let stage = Stage::Sent(Box::new(Sent { spi_in, offer, ke, nonce, restarts }));
        established.active = Some(Active::CreateChild(Box::new(Asking { aim: self, stage })));
        core.request(ExchangeType::CREATE_CHILD_SA, &payloads, cx)
    }

    fn make(
        &self,
        sent: &Sent,
        opened: &Opened<'_>,
        established: &Established,
        core: &Core,
        cx: &Cx<'_>,
    ) -> Result<(Box<crate::output::ChildInstall>, Box<Made>), Failure> {
        let payloads = &opened.payloads;
        let agreed = Agreed::accept(self.wanted.child.clone(), &sent.offer, payloads, core)?;
        if self.deleted.contains(&agreed.spi_out) {
            return Err(Failure::Ended("the peer has deleted it already"));
        }
        let nonce_r =
            payloads.nonce().ok_or(Failure::Protocol("its CREATE_CHILD_SA response lacks a nonce"))?;
        let shared = match (agreed.suite.ke(), &sent.ke, payloads.ke()) {
            (None, ..) => None,
            (Some(method), Some(ours), Some(theirs))
                if ours.method() == method && theirs.method == method =>
            {
                Some(ours.complete(theirs.data)?)
            }
            (Some(_), ..) => return Err(Failure::Protocol("its key exchange is not the one it chose")),
        };
        let old = self.wanted.rekeys;
        let has_rival = self.rival.is_some()
            || (old.is_some()
                && established.answering.as_ref().is_some_and(|answering| answering.rekeys() == old));
        let with = Ingredients {
            id: self.id,
            spi_in: sent.spi_in,
            opened_by_us: true,
            sk_d: &established.sk_d,
            shared: shared.as_ref(),
            nonce_i: &sent.nonce,
            nonce_r,
            reqid: self.wanted.reqid,
            virtual_ips: established.virtual_ips(),
            // Which of two successors stays is not decided yet.
            outbound: if has_rival { Outbound::Held } else { Outbound::Now },
        };
        let (child_sa, install) = agreed.install(with, core, cx)?;
        let lowest = collision::lower(&sent.nonce, nonce_r).to_vec();
        Ok((install, Box::new(Made { child_sa, lowest })))
    }

    /// It comes to nothing, and what was reserved or installed goes back.
    fn abandon(self, failure: &Failure, established: &mut Established, core: &mut Core, cx: &mut Cx<'_>) {
        cx.ask(core.id, Action::RemoveChild { child_sa: self.id });
        self.fail(failure, established, core, cx);
    }

    /// It comes to nothing: whoever waits is told, and the CHILD_SA that was to be rekeyed goes on.
    fn fail(self, failure: &Failure, established: &mut Established, core: &mut Core, cx: &mut Cx<'_>) {
        match self.wanted.rekeys {
            None => {
                let name = &self.wanted.child.name;
                info!(target: "ike", "establishing CHILD_SA {name} failed: {failure}");
                let (connection, child) = (&established.connection, Some(&*self.wanted.child));
                cx.tell_attempt(Attempt::of_child(core, connection, child, Role::Initiator, failure));
                let result = Err(format!("establishing CHILD_SA {name} failed: {failure}"));
                cx.complete(&mut self.wanted.request.into_iter().collect(), &result);
            }
            Some(old) => established.rekey_child_failed(old, failure, core, cx),
        }
    }
}

fn offers(offer: &Offer, method: KeMethod) -> bool {
    offer
        .proposals
        .iter()
        .any(|proposal| proposal.transforms.iter().any(|t| t.kind == TransformType::KE && t.id == method.0))
}
