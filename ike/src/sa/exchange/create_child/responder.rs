//! CREATE_CHILD_SA as the responder.

use tracing::debug;

use super::KeyShare;
use crate::context::Cx;
use crate::error::Failure;
use crate::output::{Action, ActionId, ChildSaId, Outbound, Outcome, Path};
use crate::proposal::Proposal;
use crate::sa::Core;
use crate::sa::child::{Agreed, Candidate, ChildRequest, ChildSa, Ingredients};
use crate::sa::collision::{self, Answer, Request};
use crate::sa::established::Established;
use crate::sa::exchange::init::NONCE_LEN;
use crate::sa::exchange::rekey_ike;
use crate::sa::opened::Opened;
use crate::wire::PayloadWriter;
use crate::wire::registry::{ExchangeType, MessageId, NotifyType, ProtocolId, Spi};

/// The most CHILD_SAs of one IKE SA. Far more than anybody configures; without a limit, one peer could use up the
/// data plane.
const MOST_CHILDREN: usize = 256;

/// The peer's request can be granted; the outside is asked for what the response needs.
pub(crate) struct Answering {
    message_id: MessageId,
    path: Path,
    rekeys: Option<ChildSaId>,
    reqid: Option<u32>,
    nonce_i: Vec<u8>,
    nonce_r: [u8; NONCE_LEN],
    key_share: Option<KeyShare>,
    stage: Stage,
}

enum Stage {
    Spi(ActionId, ChildSaId, Agreed),
    Install(ActionId, ChildSa, Proposal),
}

/// Takes a CREATE_CHILD_SA request.
///
/// # Errors
///
/// When it cannot be granted; it is not answered yet then.
pub(crate) fn answer(
    established: &mut Established,
    core: &mut Core,
    opened: &Opened<'_>,
    cx: &mut Cx<'_>,
) -> Result<(), Failure> {
    if opened.payloads.ts_i().is_none() {
        return rekey_ike::answer(established, core, opened, cx);
    }
    established.answering = Some(prepare(established, core, opened, cx)?);
    Ok(())
}

/// Decides what can be decided without the outside, and asks for an SPI.
fn prepare(
    established: &Established,
    core: &Core,
    opened: &Opened<'_>,
    cx: &mut Cx<'_>,
) -> Result<Box<Answering>, Failure> {
    let payloads = &opened.payloads;
    let (Some(wanted), Some(nonce_i)) = (ChildRequest::of(payloads), payloads.nonce()) else {
        return Err(Failure::Protocol("its CREATE_CHILD_SA request lacks SA, nonce or TS"));
    };
    let rekeyed_spi = match payloads.notify(NotifyType::REKEY_SA) {
        Some(notify) => Some(rekeyed_spi(notify.protocol, notify.spi)?),
        None => None,
    };
    let (request, old) = match rekeyed_spi {
        Some(spi) => (Request::RekeyChild, established.by_peers_spi(spi)),
        None => (Request::CreateChild, None),
    };
    match collision::answer(request, established.ours(request, old)) {
        Answer::AsUsual => {}
        Answer::CompareNonces => debug!(target: "ike", "CHILD_SA rekey collision detected"),
        Answer::NotNow(why) => return Err(Failure::Crossing(why)),
        Answer::NotFound | Answer::Empty => return Err(Failure::NoSuchChild(rekeyed_spi.unwrap_or(Spi(0)))),
    }
    if established.children.len() >= MOST_CHILDREN {
        return Err(Failure::TooManyChildren(established.children.len()));
    }
    let (local, remote) = established.inner_addresses(core);
    let candidates = match old {
        Some(old) => vec![Candidate::new(&old.child, &local, &remote).or_as_before(old)],
        None => established
            .connection
            .children
            .iter()
            .map(|child| Candidate::new(child, &local, &remote))
            .collect(),
    };
    let agreed = Agreed::choose(&wanted, candidates, false, core, cx)?;
    let key_share = match agreed.suite.ke() {
        Some(method) => Some(KeyShare::answer(method, payloads, cx)?),
        None => None,
    };
    let child_sa = ChildSaId(cx.unique_ids.child_sa());
    let action = cx.ask(core.id, Action::ReserveSpi { child_sa });
    Ok(Box::new(Answering {
        message_id: opened.header.message_id,
        path: opened.path,
        rekeys: old.map(|old| old.id),
        reqid: old.map(|old| old.reqid),
        nonce_i: nonce_i.to_vec(),
        nonce_r: cx.random(),
        key_share,
        stage: Stage::Spi(action, child_sa, agreed),
    }))
}

/// The SPI that a REKEY_SA notify names (RFC 7296 §1.3.3): the one its sender receives on.
fn rekeyed_spi(protocol: ProtocolId, spi: &[u8]) -> Result<Spi, Failure> {
    match <[u8; 4]>::try_from(spi) {
        Ok(octets) if protocol == ProtocolId::ESP => Ok(Spi(u32::from_be_bytes(octets))),
        _ => Err(Failure::Protocol("its REKEY_SA notify does not name an ESP SA")),
    }
}

impl Answering {
    /// The CHILD_SA whose successor is being made.
    pub(crate) fn rekeys(&self) -> Option<ChildSaId> {
        self.rekeys
    }

    /// The name charon has for it.
    pub(crate) fn name(&self) -> &'static str {
        if self.rekeys.is_some() { "CHILD_REKEY" } else { "CHILD_CREATE" }
    }

    /// True if it waits for the outcome of that action.
    pub(crate) fn awaits(&self, id: ActionId) -> bool {
        match self.stage {
            Stage::Spi(action, ..) | Stage::Install(action, ..) => action == id,
        }
    }

    /// Goes on with the outcome of the action it waits for.
    ///
    /// # Errors
    ///
    /// When nothing can be answered under these keys any more.
    pub(crate) fn handle_outcome(
        mut self: Box<Self>,
        established: &mut Established,
        core: &mut Core,
        outcome: Outcome,
        cx: &mut Cx<'_>,
    ) -> Result<(), Failure> {
        let (message_id, path) = (self.message_id, self.path);
        let failure = match (self.stage, outcome) {
            (Stage::Spi(_, id, agreed), Outcome::Spi(spi_in)) => {
                let proposal = agreed.proposal.clone();
                let with = Ingredients {
                    id,
                    spi_in,
                    opened_by_us: false,
                    sk_d: &established.sk_d,
                    shared: self.key_share.as_ref().map(|key_share| &key_share.shared),
                    nonce_i: &self.nonce_i,
                    nonce_r: &self.nonce_r,
                    reqid: self.reqid,
                    virtual_ips: established.virtual_ips(),
                    // RFC 7296 §2.8: the initiator cannot receive before it has our response.
                    outbound: if self.rekeys.is_some() { Outbound::Held } else { Outbound::Now },
                };
                match agreed.install(with, core, cx) {
                    Ok((child_sa, install)) => {
                        let action = cx.ask(core.id, Action::InstallChild(install));
                        self.stage = Stage::Install(action, child_sa, proposal);
                        established.answering = Some(self);
                        return Ok(());
                    }
                    Err(failure) => {
                        cx.ask(core.id, Action::RemoveChild { child_sa: id });
                        failure
                    }
                }
            }
            (Stage::Spi(..), Outcome::Failed(why)) => Failure::Outside(why),
            (Stage::Spi(..), _) => Failure::Outside("no SPI".into()),
            (Stage::Install(_, child_sa, _), Outcome::Failed(why)) => {
                child_sa.remove(core, cx);
                Failure::Outside(why)
            }
            (Stage::Install(_, child_sa, proposal), _) => {
                let mut reply = PayloadWriter::new();
                child_sa.write(&proposal, &mut reply, |reply| {
                    reply.nonce(&self.nonce_r);
                    if let Some(key_share) = &self.key_share {
                        reply.ke(key_share.method, &key_share.public);
                    }
                });
                core.respond(ExchangeType::CREATE_CHILD_SA, message_id, &reply, path, cx)?;
                let lowest = collision::lower(&self.nonce_i, &self.nonce_r).to_vec();
                established.child_answered(child_sa, self.rekeys, lowest, core, cx);
                return Ok(());
            }
        };
        let reply = core.refusal(&failure);
        core.respond(ExchangeType::CREATE_CHILD_SA, message_id, &reply, path, cx)?;
        established.settle_rekeyed_child(core, cx);
        Ok(())
    }

    /// Gives back what was reserved or installed: the IKE SA ends.
    pub(crate) fn give_back(self, core: &Core, cx: &mut Cx<'_>) {
        match self.stage {
            Stage::Spi(_, child_sa, _) => {
                cx.ask(core.id, Action::RemoveChild { child_sa });
            }
            Stage::Install(_, child_sa, _) => {
                child_sa.remove(core, cx);
            }
        }
    }
}
