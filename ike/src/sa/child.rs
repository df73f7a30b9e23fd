//! CHILD_SAs: negotiated, installed, ended.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::exchange::init::list;
use super::{Core, mode};
use crate::attempt::{Apart, Evidence, PassedOver, Rule};
use crate::config::{Child, Mode};
use crate::context::Cx;
use crate::crypto::{ChildKeys, EspSuite, SharedKey, SkD};
use crate::error::Failure;
use crate::output::{Action, ActionId, ChildDown, ChildInstall, ChildSaId, Outbound, Path};
use crate::proposal::{self, Prefer, Proposal, SelectContext};
use crate::selector::{SelectorPattern, TrafficSelector, is_subset, narrow};
use crate::status::{ChildSaState, ChildSaStatus};
use crate::wire::registry::{ProtocolId, Spi};
use crate::wire::{PayloadWriter, Payloads};

/// One CHILD_SA: what was negotiated, and where it stands. Its keys live in the data plane alone.
pub(crate) struct ChildSa {
    pub(crate) id: ChildSaId,
    pub(crate) child: Arc<Child>,
    pub(crate) reqid: u32,
    pub(crate) state: ChildSaState,
    pub(crate) mode: Mode,
    pub(crate) suite: EspSuite,
    pub(crate) spi_in: Spi,
    pub(crate) spi_out: Spi,
    pub(crate) encapsulated: bool,
    /// The outer addresses, as the data plane has them.
    pub(crate) path: Path,
    pub(crate) local_ts: Vec<TrafficSelector>,
    pub(crate) remote_ts: Vec<TrafficSelector>,
    /// Whether we send with it.
    pub(crate) outbound: Outbound,
    /// The one that takes its place.
    pub(crate) successor: Option<ChildSaId>,
    pub(crate) installed: Option<Instant>,
    pub(crate) rekeys: Option<Instant>,
    pub(crate) expires: Option<Instant>,
    /// When it was installed, or last known to carry a packet.
    pub(crate) used: Option<Instant>,
    /// Until when it still receives, once both ends have deleted it.
    pub(crate) lingers: Option<Instant>,
    /// Why we have asked the peer, or mean to ask it, to end it.
    pub(crate) ending: Option<ChildDown>,
}

/// What both ends agreed on, before there are keys for it.
pub(crate) struct Agreed {
    pub(crate) child: Arc<Child>,
    pub(crate) mode: Mode,
    /// Our answer as responder, the peer's as initiator; its SPI is the answerer's.
    pub(crate) proposal: Proposal,
    pub(crate) suite: EspSuite,
    pub(crate) spi_out: Spi,
    pub(crate) local_ts: Vec<TrafficSelector>,
    pub(crate) remote_ts: Vec<TrafficSelector>,
}

/// A request for a CHILD_SA as the peer sent it: SA, TSi, TSr, and the mode it asks for.
pub(crate) struct ChildRequest {
    pub(crate) mode: Mode,
    pub(crate) proposals: Vec<Proposal>,
    pub(crate) ts_i: Vec<TrafficSelector>,
    pub(crate) ts_r: Vec<TrafficSelector>,
}

/// A request for a CHILD_SA as we send it.
pub(crate) struct Offer {
    pub(crate) mode: Mode,
    pub(crate) proposals: Vec<Proposal>,
    pub(crate) ts_i: Vec<TrafficSelector>,
    pub(crate) ts_r: Vec<TrafficSelector>,
}

/// What a request of the peer may become: a configured child, and the traffic it means at these addresses.
pub(crate) struct Candidate<'a> {
    child: &'a Arc<Child>,
    local_ts: Vec<TrafficSelector>,
    remote_ts: Vec<TrafficSelector>,
}

/// What a candidate makes of a request.
struct Fit<'a> {
    child: &'a Arc<Child>,
    mode: Mode,
    local_ts: Vec<TrafficSelector>,
    remote_ts: Vec<TrafficSelector>,
    /// The sides that are less than what was asked for.
    narrowed: usize,
}

/// What the keys and SPIs of a CHILD_SA come from (RFC 7296 §2.17), and what else it is installed with.
pub(crate) struct Ingredients<'a> {
    pub(crate) id: ChildSaId,
    pub(crate) spi_in: Spi,
    /// We sent the request.
    pub(crate) opened_by_us: bool,
    pub(crate) sk_d: &'a SkD,
    /// Of the exchange's own key exchange, if it had one.
    pub(crate) shared: Option<&'a SharedKey>,
    pub(crate) nonce_i: &'a [u8],
    pub(crate) nonce_r: &'a [u8],
    /// That of the CHILD_SA whose place it takes.
    pub(crate) reqid: Option<u32>,
    pub(crate) virtual_ips: Vec<IpAddr>,
    pub(crate) outbound: Outbound,
}

impl ChildRequest {
    /// The request in these payloads, if there is one.
    pub(crate) fn of(payloads: &Payloads<'_>) -> Option<Self> {
        let (sa, ts_i, ts_r) = (payloads.sa()?, payloads.ts_i()?, payloads.ts_r()?);
        let (proposals, mode) = (sa.proposals.clone(), mode::told(payloads));
        Some(Self { mode, proposals, ts_i: ts_i.to_vec(), ts_r: ts_r.to_vec() })
    }
}

impl Offer {
    /// Numbers the proposals and puts our SPI into each.
    pub(crate) fn new(
        mode: Mode,
        mut proposals: Vec<Proposal>,
        spi_in: Spi,
        ts_i: Vec<TrafficSelector>,
        ts_r: Vec<TrafficSelector>,
    ) -> Self {
        proposal::number(&mut proposals);
        for proposal in &mut proposals {
            proposal.spi = spi_in.0.to_be_bytes().to_vec();
        }
        Self { mode, proposals, ts_i, ts_r }
    }

    /// Writes the payloads of the request.
    pub(crate) fn write(&self, payloads: &mut PayloadWriter, between: impl FnOnce(&mut PayloadWriter)) {
        mode::tell(self.mode, payloads);
        payloads.sa(&self.proposals);
        between(payloads);
        payloads.ts_i(&self.ts_i).ts_r(&self.ts_r);
    }
}

impl<'a> Candidate<'a> {
    /// `local` and `remote` are what `dynamic` stands for at either end.
    pub(crate) fn new(child: &'a Arc<Child>, local: &[IpAddr], remote: &[IpAddr]) -> Self {
        let (local_ts, remote_ts) = (resolve(&child.local_ts, local), resolve(&child.remote_ts, remote));
        Self { child, local_ts, remote_ts }
    }

    /// RFC 7296 §2.9.2: what a rekeyed CHILD_SA carries stays acceptable, even if addresses have changed since.
    pub(crate) fn or_as_before(mut self, old: &ChildSa) -> Self {
        self.local_ts.extend(&old.local_ts);
        self.remote_ts.extend(&old.remote_ts);
        self
    }

    /// What it makes of a request; `None` if there is no traffic in common.
    fn fit(&self, request: &ChildRequest, core: &Core) -> Option<Fit<'a>> {
        // RFC 7296 §2.23.1: what is asked for is looked up as transport mode first, and again as tunnel mode.
        let wanted = self.child.mode()?;
        let transport = (wanted == request.mode && wanted == Mode::Transport)
            .then(|| mode::seen_from_here(core, &request.ts_r, &request.ts_i))
            .and_then(|(ts_r, ts_i)| self.narrow(wanted, &ts_r, &ts_i))
            .filter(|fit| mode::suits(fit.mode, core, &fit.local_ts, &fit.remote_ts));
        if transport.is_some() {
            return transport;
        }
        let mut fit = self.narrow(wanted, &request.ts_r, &request.ts_i)?;
        if wanted != request.mode || !mode::suits(wanted, core, &fit.local_ts, &fit.remote_ts) {
            fit.mode = Mode::Tunnel;
        }
        if fit.mode != request.mode {
            tracing::debug!(target: "ike", "{} mode is not granted, using tunnel mode", request.mode);
        }
        Some(fit)
    }

    /// How it differs from a request; `None` for what lets packets pass or drops them.
    fn apart(&self, request: &ChildRequest) -> Option<Apart> {
        self.child.mode()?;
        Some(Apart {
            child: self.child.name.clone(),
            ours: [self.local_ts.clone(), self.remote_ts.clone()],
            asked: [request.ts_r.clone(), request.ts_i.clone()],
            has_common: [
                !narrow(&self.local_ts, &request.ts_r).is_empty(),
                !narrow(&self.remote_ts, &request.ts_i).is_empty(),
            ],
        })
    }

    fn narrow(&self, mode: Mode, ts_r: &[TrafficSelector], ts_i: &[TrafficSelector]) -> Option<Fit<'a>> {
        let (local_ts, remote_ts) = (narrow(&self.local_ts, ts_r), narrow(&self.remote_ts, ts_i));
        // A child whose selectors hold all that was asked for comes before one that must narrow them.
        let narrowed = usize::from(local_ts != *ts_r) + usize::from(remote_ts != *ts_i);
        let child = self.child;
        (!local_ts.is_empty() && !remote_ts.is_empty()).then_some(Fit {
            child,
            mode,
            local_ts,
            remote_ts,
            narrowed,
        })
    }
}

impl Agreed {
    /// The responder's choice among the children of a connection: selectors first, then a proposal.
    ///
    /// `ignore_ke` is for the CHILD_SA of IKE_AUTH, which has no key exchange of its own (RFC 7296 §1.2).
    pub(crate) fn choose(
        request: &ChildRequest,
        candidates: Vec<Candidate<'_>>,
        ignore_ke: bool,
        core: &Core,
        cx: &Cx<'_>,
    ) -> Result<Self, Failure> {
        let fits = candidates.iter().filter_map(|candidate| candidate.fit(request, core));
        let Some(Fit { child, mode, local_ts, remote_ts, .. }) = fits.min_by_key(|fit| fit.narrowed) else {
            let mut passed_over: Vec<_> =
                candidates.iter().filter_map(|candidate| candidate.apart(request)).collect();
            // Those with which one side would have been agreed on come first.
            passed_over.sort_by_key(|apart| apart.has_common.iter().filter(|has| !**has).count());
            let passed_over = passed_over.into_iter().map(|apart| Rule::Selectors(Box::new(apart)));
            let evidence = Evidence::from(format!("{} === {}", join(&request.ts_r), join(&request.ts_i)));
            return Err(Failure::no_selectors(evidence.with_passed_over(rules(core, passed_over))));
        };
        let context = SelectContext {
            ignore_ke,
            allow_private: cx.settings.accept_private_algorithms,
            ..Default::default()
        };
        let prefer = if cx.settings.prefer_configured_proposals { Prefer::Ours } else { Prefer::Theirs };
        let Some(proposal) = proposal::select(&child.esp_proposals, &request.proposals, prefer, context)
        else {
            tracing::info!(target: "cfg", "received proposals: {}", list(&request.proposals));
            tracing::info!(target: "cfg", "configured proposals: {}", list(&child.esp_proposals));
            let why = proposal::explain(&child.esp_proposals, &request.proposals, context);
            let evidence = Evidence::from(why.to_string()).with_offer(&request.proposals);
            let rule = Rule::ChildProposals { child: child.name.clone(), mismatch: why };
            return Err(Failure::no_proposal(evidence.with_passed_over(rules(core, [rule]))));
        };
        tracing::debug!(target: "cfg", "selected proposal: {proposal}");
        let theirs = request.proposals.iter().find(|theirs| theirs.number == proposal.number);
        let spi_out = theirs
            .and_then(esp_spi)
            .ok_or(Failure::Protocol("its ESP proposal has no SPI of four octets"))?;
        let suite = EspSuite::from_proposal(&proposal).map_err(|e| Failure::no_proposal(e.to_string()))?;
        Ok(Self { child: child.clone(), mode, proposal, suite, spi_out, local_ts, remote_ts })
    }

    /// The responder's choice, held against what we offered for a child.
    pub(crate) fn accept(
        child: Arc<Child>,
        offer: &Offer,
        payloads: &Payloads<'_>,
        core: &Core,
    ) -> Result<Self, Failure> {
        let (Some(sa), Some(ts_i), Some(ts_r)) = (payloads.sa(), payloads.ts_i(), payloads.ts_r()) else {
            return Err(payloads.error().map_or(Failure::Protocol("its response lacks SA or TS"), |error| {
                Failure::Refused(error.kind)
            }));
        };
        let [answer] = sa.proposals.as_slice() else {
            return Err(Failure::Protocol("it did not choose exactly one ESP proposal"));
        };
        if !answer.is_answer_to(&offer.proposals) {
            return Err(Failure::Protocol("it chose an ESP proposal that we did not offer"));
        }
        let mode = mode::told(payloads);
        if mode != Mode::Tunnel && mode != offer.mode {
            return Err(Failure::Protocol("it grants a mode that we did not ask for"));
        }
        if mode != offer.mode {
            // RFC 7296 §1.3.1: it declines, and tunnel mode is what both have then.
            tracing::info!(target: "ike", "the peer does not grant {} mode, using tunnel mode", offer.mode);
        }
        let (local_ts, remote_ts) = match mode {
            Mode::Transport => mode::seen_from_here(core, ts_i, ts_r),
            Mode::Tunnel | Mode::Beet => (ts_i.to_vec(), ts_r.to_vec()),
        };
        if !is_subset(&local_ts, &offer.ts_i) || !is_subset(&remote_ts, &offer.ts_r) {
            return Err(Failure::no_selectors("the peer's are not among those we offered"));
        }
        if !mode::suits(mode, core, &local_ts, &remote_ts) {
            let (local, remote) = (join(&local_ts), join(&remote_ts));
            return Err(Failure::no_selectors(format!("{mode} mode cannot carry {local} === {remote}")));
        }
        let spi_out =
            esp_spi(answer).ok_or(Failure::Protocol("its ESP proposal has no SPI of four octets"))?;
        let suite = EspSuite::from_proposal(answer).map_err(|e| Failure::no_proposal(e.to_string()))?;
        Ok(Self { child, mode, proposal: answer.clone(), suite, spi_out, local_ts, remote_ts })
    }

    /// Makes keys, and what is to be installed.
    pub(crate) fn install(
        self,
        with: Ingredients<'_>,
        core: &Core,
        cx: &Cx<'_>,
    ) -> Result<(ChildSa, Box<ChildInstall>), Failure> {
        let suite = core.suite.as_ref().ok_or(Failure::Ended("the IKE_SA has no keys"))?;
        let keys =
            ChildKeys::derive(suite.prf(), with.sk_d, &self.suite, with.shared, with.nonce_i, with.nonce_r);
        let (inbound, outbound) = if with.opened_by_us {
            (keys.responder_to_initiator, keys.initiator_to_responder)
        } else {
            (keys.initiator_to_responder, keys.responder_to_initiator)
        };
        let reqid = with.reqid.or(self.child.reqid).unwrap_or_else(|| cx.unique_ids.reqid());
        let encapsulated = core.is_encapsulated();
        let install = Box::new(ChildInstall {
            child_sa: with.id,
            ike_sa: core.id,
            connection: core.name().to_owned(),
            child: self.child.clone(),
            reqid,
            mode: self.mode,
            is_initiator: with.opened_by_us,
            spi_in: with.spi_in,
            spi_out: self.spi_out,
            path: core.path,
            encapsulated,
            suite: self.suite,
            inbound,
            outbound,
            local_ts: self.local_ts.clone(),
            remote_ts: self.remote_ts.clone(),
            virtual_ips: with.virtual_ips,
            interfaces: core.interfaces.unwrap_or_default(),
            outbound_use: with.outbound,
        });
        let child_sa = ChildSa {
            id: with.id,
            child: self.child,
            reqid,
            state: ChildSaState::Installing,
            mode: self.mode,
            suite: self.suite,
            spi_in: with.spi_in,
            spi_out: self.spi_out,
            encapsulated,
            path: core.path,
            local_ts: self.local_ts,
            remote_ts: self.remote_ts,
            outbound: match with.outbound {
                Outbound::Now | Outbound::Behind => Outbound::Now,
                Outbound::Held => Outbound::Held,
            },
            successor: None,
            installed: None,
            rekeys: None,
            expires: None,
            used: None,
            lingers: None,
            ending: None,
        };
        Ok((child_sa, install))
    }
}

impl ChildSa {
    /// The data plane has it.
    pub(crate) fn mark_installed(&mut self, cx: &Cx<'_>) {
        self.state = ChildSaState::Installed;
        self.installed = Some(cx.now);
        self.used = Some(cx.now);
        self.rekeys = self.child.rekey_time.map(|time| cx.now + jittered(time, self.child.rand_time, cx));
        self.expires = self.child.life_time.map(|life_time| cx.now + life_time);
    }

    /// Both ends could send with it: it is neither being made nor being ended.
    pub(crate) fn is_live(&self) -> bool {
        match self.state {
            ChildSaState::Installed | ChildSaState::Rekeying | ChildSaState::Rekeyed => true,
            ChildSaState::Created
            | ChildSaState::Installing
            | ChildSaState::Deleting
            | ChildSaState::Deleted => false,
        }
    }

    /// It is in use, and nobody means to end it.
    pub(crate) fn is_wanted(&self) -> bool {
        let is_used = matches!(self.state, ChildSaState::Installed | ChildSaState::Rekeying);
        is_used && self.outbound == Outbound::Now && self.ending.is_none()
    }

    /// Our DELETE is under way, or both ends have deleted it.
    pub(crate) fn is_ended(&self) -> bool {
        matches!(self.state, ChildSaState::Deleting | ChildSaState::Deleted)
    }

    /// Tells the data plane where the peer and we are now, if it does not know.
    pub(crate) fn keep_up_with(&mut self, core: &Core, cx: &mut Cx<'_>) -> Option<ActionId> {
        let (path, encapsulated) = (core.path, core.is_encapsulated());
        // What is not installed yet will be told when it is.
        if self.installed.is_none() || (self.path, self.encapsulated) == (path, encapsulated) {
            return None;
        }
        (self.path, self.encapsulated) = (path, encapsulated);
        Some(cx.ask(core.id, Action::UpdateChild { child_sa: self.id, path, encapsulated }))
    }

    pub(crate) fn remove(&self, core: &Core, cx: &mut Cx<'_>) -> ActionId {
        cx.ask(core.id, Action::RemoveChild { child_sa: self.id })
    }

    pub(crate) fn status(&self) -> ChildSaStatus {
        ChildSaStatus {
            id: self.id,
            name: self.child.name.clone(),
            child: Arc::clone(&self.child),
            reqid: self.reqid,
            state: self.state,
            mode: self.mode,
            encapsulated: self.encapsulated,
            spi_in: Some(self.spi_in),
            spi_out: Some(self.spi_out),
            suite: Some(self.suite),
            installed: self.installed,
            rekeys: self.rekeys,
            expires: self.expires,
            local_ts: self.local_ts.clone(),
            remote_ts: self.remote_ts.clone(),
        }
    }

    /// Writes the payloads of a response that grants it. `proposal` is the one that was chosen.
    pub(crate) fn write(
        &self,
        proposal: &Proposal,
        payloads: &mut PayloadWriter,
        between: impl FnOnce(&mut PayloadWriter),
    ) {
        mode::tell(self.mode, payloads);
        payloads.sa(&[Proposal { spi: self.spi_in.0.to_be_bytes().to_vec(), ..proposal.clone() }]);
        between(payloads);
        payloads.ts_i(&self.remote_ts).ts_r(&self.local_ts);
    }

    /// One line for the log.
    pub(crate) fn describe(&self, core: &Core) -> String {
        format!(
            "CHILD_SA {}{{{}}} of {}[{}] with SPIs {}_i {}_o and TS {} === {}",
            self.child.name,
            self.id,
            core.name(),
            core.id,
            self.spi_in,
            self.spi_out,
            join(&self.local_ts),
            join(&self.remote_ts)
        )
    }
}

/// A time from which up to `range` is taken off at random, so that two ends with the same times seldom rekey at once
/// (RFC 7296 §2.8.1).
pub(crate) fn jittered(time: Duration, range: Duration, cx: &Cx<'_>) -> Duration {
    let draw = f64::from(u32::from_be_bytes(cx.random())) / (f64::from(u32::MAX) + 1.0);
    time.saturating_sub(range.mul_f64(draw))
}

/// When to try again what failed: before `expires`, but not at once (RFC 7296 §2.25).
pub(crate) fn retry(expires: Option<Instant>, cx: &Cx<'_>) -> Instant {
    const LONGEST: Duration = Duration::from_secs(15); // charon's
    const SHORTEST: Duration = Duration::from_millis(500);
    // There should be time for several attempts.
    let left = expires.map_or(LONGEST, |at| at.saturating_duration_since(cx.now) / 4);
    let wait = left.clamp(SHORTEST, LONGEST);
    cx.now + jittered(wait, wait / 2, cx)
}

/// The SPI of a proposal for ESP.
pub(crate) fn esp_spi(proposal: &Proposal) -> Option<Spi> {
    let octets: [u8; 4] = proposal.spi.as_slice().try_into().ok()?;
    let spi = u32::from_be_bytes(octets);
    // RFC 4303 §2.1: zero is for local use, 1 to 255 are reserved.
    (proposal.protocol == ProtocolId::ESP && spi > 255).then_some(Spi(spi))
}

/// The selectors that a configuration means at these addresses.
pub(crate) fn resolve(patterns: &[SelectorPattern], addresses: &[IpAddr]) -> Vec<TrafficSelector> {
    patterns.iter().flat_map(|pattern| pattern.resolve(addresses)).collect()
}

/// Why the children of an IKE SA's connection were not taken.
fn rules(core: &Core, rules: impl IntoIterator<Item = Rule>) -> impl Iterator<Item = PassedOver> {
    let connection = core.connection.clone();
    let passed_over = move |rule| Some(PassedOver { connection: connection.clone()?, rule });
    rules.into_iter().filter_map(passed_over)
}

pub(crate) fn join(selectors: &[TrafficSelector]) -> String {
    selectors.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
