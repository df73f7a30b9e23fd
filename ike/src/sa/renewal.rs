//! An IKE SA made anew from the initial exchanges on: repeated authentication (RFC 7296 §2.8.3, RFC 4478).
//!
//! The new one is an IKE SA of its own. It asks for the virtual IPs that the old one had and makes the same children,
//! and then the old one is deleted (make before break); or the old one is deleted first (break before make). The two
//! know of each other by number alone and have a [`Word`] to say to each other, which the endpoint passes on.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::child::ChildSa;
use super::established::Established;
use super::exchange::init;
use super::exchange::redirect::Redirects;
use super::task::Wanted;
use super::{Core, IkeSa, State};
use crate::config::Connection;
use crate::context::{Cx, draw_ike_spi};
use crate::crypto::Role;
use crate::output::{Event, IkeSaId, Path, RequestId};
use crate::redirect::Gateway;
use crate::wire::registry::IkeSpi;

/// What an IKE SA has from the one that it is made in the place of.
pub(crate) struct Heritage {
    /// The old one, if it is there until this one stands.
    pub(crate) predecessor: Option<IkeSaId>,
    /// The virtual IPs it had.
    pub(crate) vips: Vec<IpAddr>,
    /// The names of its children.
    children: Vec<String>,
}

/// What one IKE SA has to say to another.
pub(crate) enum Word {
    /// To the old one: the new one stands with its children.
    Renewed,
    /// To the old one: the new one has come to nothing. If nobody hears it, the children are gone for good.
    NotRenewed {
        /// Of which connection.
        connection: String,
        /// The names of the children that were to be made.
        children: Vec<String>,
    },
    /// To the new one: the old one has been rekeyed meanwhile, to this.
    PredecessorIs(IkeSaId),
}

impl Word {
    /// Says to the endpoint's owner what no IKE SA is there to hear.
    pub(crate) fn unheard(self, cx: &mut Cx<'_>) {
        match self {
            Self::NotRenewed { connection, children } if !children.is_empty() => {
                cx.tell(Event::NotRenewed { connection, children });
            }
            Self::NotRenewed { .. } | Self::Renewed | Self::PredecessorIs(_) => {}
        }
    }
}

/// What is to be made anew.
pub(crate) struct Renewal {
    connection: Arc<Connection>,
    children: Vec<Wanted>,
    vips: Vec<IpAddr>,
    path: Path,
    redirects: Redirects,
    /// With whom, if it is another gateway.
    gateway: Option<Gateway>,
    requests: Vec<RequestId>,
}

impl Renewal {
    /// An IKE SA as it is now.
    pub(crate) fn of(old: &Established, core: &Core, requests: Vec<RequestId>) -> Self {
        // One that is being rekeyed may be there twice, or thrice.
        let mut reqids = BTreeSet::new();
        let is_wanted = |child: &&ChildSa| child.is_live() && child.ending.is_none();
        let live = old.children.iter().filter(is_wanted).filter(|child| reqids.insert(child.reqid));
        let children = live.map(|child| Wanted::again(child.child.clone(), child.reqid, None));
        Self {
            connection: old.connection.clone(),
            children: children.collect(),
            vips: old.virtual_ips(),
            path: core.path,
            redirects: core.redirects.clone(),
            gateway: None,
            requests,
        }
    }

    /// The same with another gateway, whose addresses are others.
    pub(crate) fn with(mut self, gateway: Option<Gateway>) -> Self {
        if gateway.is_some() {
            self.vips.clear();
        }
        self.gateway = gateway;
        self
    }

    /// Begins with it. The number of the new IKE SA.
    pub(crate) fn begin(mut self, predecessor: Option<IkeSaId>, cx: &mut Cx<'_>) -> IkeSaId {
        let id = IkeSaId(cx.unique_ids.ike_sa());
        init::reset_ports(&mut self.path, &self.connection, cx);
        let spi_i = draw_ike_spi(cx.crypto, cx.spi_prefix);
        let mut core = Core::new(id, Role::Initiator, spi_i, IkeSpi::ZERO, self.path, cx.now);
        core.connection = Some(self.connection.clone());
        core.requests = self.requests;
        core.redirects = self.redirects;
        core.heritage = Some(Heritage {
            predecessor,
            vips: self.vips,
            children: self.children.iter().map(|wanted| wanted.child.name.clone()).collect(),
        });
        let first = if self.children.is_empty() { None } else { Some(self.children.remove(0)) };
        core.wanted = self.children;
        let mut ike_sa = IkeSa { core, state: State::Gone };
        match self.gateway {
            None => ike_sa.initiate(self.connection, first, cx),
            Some(gateway) => ike_sa.follow(self.connection, first, gateway, cx),
        }
        if !ike_sa.is_gone() {
            cx.born.push(ike_sa);
        }
        id
    }
}

impl Core {
    /// It does not come to stand, or ends before it has taken the place of the old one. `is_wanted` if nobody means it
    /// to.
    pub(crate) fn disclaim_heritage(&mut self, is_wanted: bool, cx: &mut Cx<'_>) {
        let Some(heritage) = self.heritage.take() else { return };
        let children = if is_wanted { heritage.children } else { vec![] };
        let word = Word::NotRenewed { connection: self.name().to_owned(), children };
        match heritage.predecessor {
            Some(predecessor) => cx.words.push((predecessor, word)),
            None => word.unheard(cx),
        }
    }

    /// The virtual IPs to ask for: those it had before, and otherwise what the connection says.
    pub(crate) fn vips_to_request(&self, connection: &Connection) -> Vec<IpAddr> {
        let had = self.heritage.as_ref().map_or(&[][..], |heritage| &heritage.vips);
        let like = |vip: &IpAddr| had.iter().find(|had| had.is_ipv4() == vip.is_ipv4()).copied();
        connection.vips.iter().map(|vip| like(vip).unwrap_or(*vip)).collect()
    }
}
