//! Where the peer is (RFC 7296 §2.11, §2.23).

use std::net::SocketAddr;

use tracing::info;

use super::{Established, Rank};
use crate::context::Cx;
use crate::output::{Action, Event, Path};
use crate::sa::Core;

impl Established {
    /// RFC 7296 §2.23: a peer behind a NAT is followed to where its last authenticated request came from; we
    /// are not, lest an attacker who repeats our datagrams moves us.
    pub(super) fn follow_peer(&mut self, core: &mut Core, path: Path, cx: &mut Cx<'_>) {
        if path == core.path || !core.nat.remote_behind_nat || core.nat.local_behind_nat {
            return;
        }
        self.move_to(path, core, cx);
    }

    /// The data plane saw an authenticated packet of the peer from elsewhere.
    pub(crate) fn mapping_changed(&mut self, remote: SocketAddr, core: &mut Core, cx: &mut Cx<'_>) {
        self.follow_peer(core, Path { remote, ..core.path }, cx);
    }

    pub(super) fn move_to(&mut self, path: Path, core: &mut Core, cx: &mut Cx<'_>) {
        info!(target: "ike", "NAT mappings of peer changed: {} is {} now", core.path.remote, path.remote);
        if self.rank == Rank::Current {
            cx.tell(Event::IkeSaMoved { status: Box::new(self.status(core)), path });
        }
        core.path = path;
        for child in &self.children {
            cx.ask(core.id, Action::UpdateChild { child_sa: child.id, path });
        }
    }
}
