//! A client goes to another gateway that the one it knows names (RFC 5685).
//!
//! ```text
//! HDR, SAi1, KEi, Ni, N(REDIRECT_SUPPORTED)  -->
//!                                       <--  HDR, N(REDIRECT, gateway, Ni)
//! HDR, SK {IDi, AUTH, ...}  -->
//!                                       <--  HDR, SK {IDr, AUTH, N(REDIRECT, gateway)}
//!                                       <--  HDR, SK {N(REDIRECT, gateway)}
//! HDR, SK {}  -->
//! ```
//!
//! Everything begins again with the other one, under the same connection: nothing else about whom we trust and what
//! we protect changes (§3).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::info;

use super::init;
use crate::config::Connection;
use crate::context::Cx;
use crate::error::Failure;
use crate::output::{Action, ActionId, Outcome};
use crate::redirect::Gateway;
use crate::sa::task::Wanted;
use crate::sa::{Core, State};
use crate::wire::PayloadWriter;
use crate::wire::registry::NotifyType;

/// RFC 5685 §7: MAX_REDIRECTS within REDIRECT_LOOP_DETECT_PERIOD.
const MOST_REDIRECTS: usize = 5;
const LOOP_DETECT_PERIOD: Duration = Duration::from_secs(300);

/// The gateways that have sent us on.
#[derive(Clone, Default)]
pub(crate) struct Redirects {
    /// The last of them.
    from: Option<IpAddr>,
    /// When they did, as far as that matters.
    times: Vec<Instant>,
}

impl Redirects {
    /// Another one does. False if that is one too many.
    pub(crate) fn note(&mut self, from: IpAddr, now: Instant) -> bool {
        self.times.retain(|at| now.saturating_duration_since(*at) < LOOP_DETECT_PERIOD);
        if self.times.len() >= MOST_REDIRECTS {
            return false;
        }
        self.times.push(now);
        self.from = Some(from);
        true
    }

    /// What IKE_SA_INIT says of it: that we may be sent on, and who has done so.
    pub(crate) fn announce(&self, payloads: &mut PayloadWriter, cx: &Cx<'_>) {
        if cx.settings.follow_redirects {
            payloads.notify(NotifyType::REDIRECT_SUPPORTED, &[]);
        }
        if let Some(from) = self.from {
            payloads.notify(NotifyType::REDIRECTED_FROM, &Gateway::Address(from).encode());
        }
    }
}

/// Initiator: the way to another gateway is being looked for.
pub(crate) struct Redirecting {
    connection: Arc<Connection>,
    wanted: Option<Wanted>,
    action: ActionId,
}

/// Begins again with another gateway.
pub(crate) fn follow(
    core: &mut Core,
    connection: Arc<Connection>,
    wanted: Option<Wanted>,
    gateway: Gateway,
    cx: &mut Cx<'_>,
) -> Result<State, Failure> {
    if !core.redirects.note(core.path.remote.ip(), cx.now) {
        return Err(Failure::Protocol("we are redirected again and again"));
    }
    info!(target: "ike", "redirected to {gateway} by {}", core.path.remote.ip());
    init::start_over(core, cx);
    let action = cx.ask(core.id, Action::FindPath { connection: connection.clone(), gateway });
    Ok(State::Redirecting(Box::new(Redirecting { connection, wanted, action })))
}

impl Redirecting {
    pub(crate) fn handle_outcome(
        self: Box<Self>,
        core: &mut Core,
        id: ActionId,
        outcome: Outcome,
        cx: &mut Cx<'_>,
    ) -> Result<State, Failure> {
        if id != self.action {
            return Ok(State::Redirecting(self));
        }
        match outcome {
            Outcome::Path(path) => {
                core.path = path;
                init::initiate(core, self.connection, self.wanted, cx)
            }
            Outcome::Failed(why) => Err(Failure::Outside(why)),
            _ => Err(Failure::Outside("there is no way to the other gateway".into())),
        }
    }
}
