//! The client of an established IKE SA goes to another gateway (RFC 5685 §5).

use std::time::Duration;

use tracing::info;

use super::reauth::Renewing;
use super::{Established, Rank};
use crate::context::Cx;
use crate::output::{ChildDown, RequestId};
use crate::redirect::Gateway;
use crate::sa::Core;
use crate::sa::task::Task;
use crate::timer::Timer;

/// How long a client may take to set up what it needs with the other gateway, before we end the IKE SA ourselves.
const TIME_TO_GO: Duration = Duration::from_secs(60);

impl Established {
    /// As the gateway: sends the client away.
    pub(crate) fn redirect(&mut self, gateway: Gateway, request: RequestId) {
        self.queue.push_back(Task::Redirect(gateway, request));
    }

    /// As the gateway: the client has heard it.
    pub(super) fn redirected(&mut self, request: RequestId, core: &mut Core, cx: &mut Cx<'_>) {
        self.is_redirected = true;
        let end = cx.now + TIME_TO_GO;
        if self.expires.is_none_or(|expires| end < expires) {
            self.expires = Some(end);
            core.timers.arm(Timer::Expire, end);
        }
        cx.complete(&mut vec![request], &Ok(()));
    }

    /// As the client: the gateway sends us to another one. Only the original responder can (RFC 5685 §10).
    pub(crate) fn follow_redirect(&mut self, data: &[u8], core: &Core, cx: &Cx<'_>) {
        // What is under our keys has no need of a nonce.
        let Some((gateway, [])) = Gateway::decode(data) else { return };
        let can_go = self.opened_by_us && self.rank == Rank::Current && self.ending.is_none();
        if !can_go || !cx.settings.follow_redirects {
            info!(target: "ike", "not following the redirect to {gateway}");
            return;
        }
        if !core.redirects.clone().note(core.path.remote.ip(), cx.now) {
            info!(target: "ike", "not following the redirect to {gateway}: there have been too many");
            return;
        }
        // RFC 5685 §5: the SAs with the old gateway are deleted.
        let requests = std::mem::take(&mut self.reauthenticators);
        self.renewing = Some(Renewing::Next(requests, Some(gateway)));
        self.end(ChildDown::Terminated);
    }
}
