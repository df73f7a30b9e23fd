//! CHILD_SAs: negotiated, installed, ended.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::Core;
use super::exchange::init::list;
use crate::config::{Child, Mode};
use crate::context::Cx;
use crate::crypto::{ChildKeys, EspSuite, SkD};
use crate::error::Failure;
use crate::output::{Action, ActionId, ChildDown, ChildInstall, ChildSaId};
use crate::proposal::{self, Prefer, Proposal, SelectContext};
use crate::selector::{SelectorPattern, TrafficSelector, narrow};
use crate::status::{ChildSaState, ChildSaStatus};
use crate::wire::registry::{ProtocolId, Spi};

/// One CHILD_SA: what was negotiated, and where it stands. Its keys live in the data plane alone.
pub(crate) struct ChildSa {
    pub(crate) id: ChildSaId,
    pub(crate) child: Arc<Child>,
    pub(crate) reqid: u32,
    pub(crate) state: ChildSaState,
    pub(crate) suite: EspSuite,
    pub(crate) spi_in: Spi,
    pub(crate) spi_out: Spi,
    pub(crate) encapsulated: bool,
    pub(crate) local_ts: Vec<TrafficSelector>,
    pub(crate) remote_ts: Vec<TrafficSelector>,
    pub(crate) installed: Option<Instant>,
    pub(crate) expires: Option<Instant>,
    /// Why we have asked the peer, or mean to ask it, to end it.
    pub(crate) ending: Option<ChildDown>,
}

/// What both ends agreed on, before there are keys for it.
pub(crate) struct Agreed {
    pub(crate) child: Arc<Child>,
    /// Our answer as responder, the peer's as initiator; its SPI is the answerer's.
    pub(crate) proposal: Proposal,
    pub(crate) suite: EspSuite,
    pub(crate) spi_out: Spi,
    pub(crate) local_ts: Vec<TrafficSelector>,
    pub(crate) remote_ts: Vec<TrafficSelector>,
}

/// A request for a CHILD_SA as the peer sent it: SA, TSi, TSr.
pub(crate) struct ChildRequest {
    pub(crate) proposals: Vec<Proposal>,
    pub(crate) ts_i: Vec<TrafficSelector>,
    pub(crate) ts_r: Vec<TrafficSelector>,
}

impl Agreed {
    /// The responder's choice among the children of a connection: selectors first, then a proposal.
    ///
    /// `local` and `remote` are what `dynamic` stands for at either end.
    pub(crate) fn choose(
        request: &ChildRequest,
        children: &[Arc<Child>],
        local: &[IpAddr],
        remote: &[IpAddr],
        cx: &Cx<'_>,
    ) -> Result<Self, Failure> {
        // A child whose selectors hold all that was asked for comes before one that must narrow them.
        let (child, local_ts, remote_ts) = children
            .iter()
            .filter_map(|child| {
                let local_ts = narrow(&resolve(&child.local_ts, local), &request.ts_r);
                let remote_ts = narrow(&resolve(&child.remote_ts, remote), &request.ts_i);
                (!local_ts.is_empty() && !remote_ts.is_empty()).then_some((child, local_ts, remote_ts))
            })
            .min_by_key(|(_, local_ts, remote_ts)| {
                usize::from(*local_ts != request.ts_r) + usize::from(*remote_ts != request.ts_i)
            })
            .ok_or_else(|| {
                Failure::NoSelectors(format!("{} === {}", join(&request.ts_r), join(&request.ts_i)))
            })?;
        let context = SelectContext {
            ignore_ke: true, // RFC 7296 §1.2: the CHILD_SA of IKE_AUTH has no key exchange of its own
            allow_private: cx.settings.accept_private_algorithms,
            ..Default::default()
        };
        let prefer = if cx.settings.prefer_configured_proposals { Prefer::Ours } else { Prefer::Theirs };
        let Some(proposal) = proposal::select(&child.esp_proposals, &request.proposals, prefer, context)
        else {
            tracing::info!(target: "cfg", "received proposals: {}", list(&request.proposals));
            tracing::info!(target: "cfg", "configured proposals: {}", list(&child.esp_proposals));
            let why = proposal::explain(&child.esp_proposals, &request.proposals, context);
            return Err(Failure::NoProposal(why.to_string()));
        };
        tracing::debug!(target: "cfg", "selected proposal: {proposal}");
        let theirs = request.proposals.iter().find(|theirs| theirs.number == proposal.number);
        let spi_out = theirs
            .and_then(esp_spi)
            .ok_or(Failure::Protocol("its ESP proposal has no SPI of four octets"))?;
        let suite = EspSuite::from_proposal(&proposal).map_err(|e| Failure::NoProposal(e.to_string()))?;
        Ok(Self { child: child.clone(), proposal, suite, spi_out, local_ts, remote_ts })
    }

    /// Makes keys and asks for both directions to be installed.
    #[expect(clippy::too_many_arguments, reason = "the inputs of RFC 7296 §2.17, each once")]
    pub(crate) fn install(
        self,
        id: ChildSaId,
        spi_in: Spi,
        opened_by_us: bool,
        sk_d: &SkD,
        nonces: (&[u8], &[u8]),
        virtual_ips: Vec<IpAddr>,
        core: &Core,
        cx: &mut Cx<'_>,
    ) -> Result<(ChildSa, Box<ChildInstall>), Failure> {
        let suite = core.suite.as_ref().ok_or(Failure::Ended("the IKE_SA has no keys"))?;
        let keys = ChildKeys::derive(suite.prf(), sk_d, &self.suite, None, nonces.0, nonces.1);
        let (inbound, outbound) = if opened_by_us {
            (keys.responder_to_initiator, keys.initiator_to_responder)
        } else {
            (keys.initiator_to_responder, keys.responder_to_initiator)
        };
        let reqid = self.child.reqid.unwrap_or_else(|| cx.unique_ids.reqid());
        let encapsulated = core.is_encapsulated();
        let install = Box::new(ChildInstall {
            child_sa: id,
            ike_sa: core.id,
            connection: core.name().to_owned(),
            child: self.child.clone(),
            reqid,
            mode: Mode::Tunnel,
            is_initiator: opened_by_us,
            spi_in,
            spi_out: self.spi_out,
            path: core.path,
            encapsulated,
            suite: self.suite,
            inbound,
            outbound,
            local_ts: self.local_ts.clone(),
            remote_ts: self.remote_ts.clone(),
            virtual_ips,
        });
        let child_sa = ChildSa {
            id,
            child: self.child,
            reqid,
            state: ChildSaState::Installing,
            suite: self.suite,
            spi_in,
            spi_out: self.spi_out,
            encapsulated,
            local_ts: self.local_ts,
            remote_ts: self.remote_ts,
            installed: None,
            expires: None,
            ending: None,
        };
        Ok((child_sa, install))
    }
}

impl ChildSa {
    /// The data plane has it.
    pub(crate) fn mark_installed(&mut self, now: Instant) {
        self.state = ChildSaState::Installed;
        self.installed = Some(now);
        self.expires = self.child.life_time.map(|life_time| now + life_time);
    }

    pub(crate) fn remove(&self, core: &Core, cx: &mut Cx<'_>) -> ActionId {
        cx.ask(core.id, Action::RemoveChild { child_sa: self.id })
    }

    pub(crate) fn status(&self) -> ChildSaStatus {
        ChildSaStatus {
            id: self.id,
            name: self.child.name.clone(),
            reqid: self.reqid,
            state: self.state,
            mode: Mode::Tunnel,
            encapsulated: self.encapsulated,
            spi_in: Some(self.spi_in),
            spi_out: Some(self.spi_out),
            suite: Some(self.suite),
            installed: self.installed,
            expires: self.expires,
            local_ts: self.local_ts.clone(),
            remote_ts: self.remote_ts.clone(),
        }
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

pub(crate) fn join(selectors: &[TrafficSelector]) -> String {
    selectors.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
