//! Whether two hosts are of one mind about the SAs between them.

use std::collections::{BTreeMap, BTreeSet};

use super::host::{Host, HostId};
use super::world::World;
use crate::output::ChildInstall;
use crate::status::{ChildSaState, IkeSaState};

impl World {
    /// What two hosts that are done with everything do not agree on: the IKE SAs they have, their CHILD_SAs, and what
    /// each has in its data plane for them. CHILD_SAs that both ends have deleted may still receive what is late. Empty
    /// is how it should be.
    #[must_use]
    pub fn disagreements(&self, one: HostId, other: HostId) -> Vec<String> {
        let mut found = Vec::new();
        for id in [one, other] {
            unfinished(self.host(id), &mut found);
        }
        let (ours, theirs) = (believed(self.host(one), false), believed(self.host(other), true));
        if ours != theirs {
            let (one, other) = (&self.host(one).name, &self.host(other).name);
            found.push(format!("{one} has {ours:?}, {other} has {theirs:?}, as {one} would say it"));
        }
        found
    }

    /// Asserts that two hosts agree, and that each can receive what the other sends.
    ///
    /// # Panics
    ///
    /// If they do not.
    pub fn assert_agreed(&self, one: HostId, other: HostId) {
        let disagreements = self.disagreements(one, other);
        assert!(disagreements.is_empty(), "{disagreements:#?}");
        for (from, to) in [(one, other), (other, one)] {
            let unheard: Vec<_> = self.unheard(from, to).map(|install| install.spi_out).collect();
            assert!(unheard.is_empty(), "{} sends with {unheard:?} in vain", self.host(from).name);
        }
        self.assert_no_faults();
    }

    /// What a host sends with and the other cannot receive: packets are lost. Empty is how it should always be, but
    /// for a CHILD_SA that is just being made, or ended by somebody's order.
    pub fn unheard(&self, from: HostId, to: HostId) -> impl Iterator<Item = &ChildInstall> {
        self.host(from).outside.sending().filter(move |sent| {
            let received = self.host(to).outside.by_spi(sent.spi_out);
            received.is_none_or(|received| received.inbound.octets() != sent.outbound.octets())
        })
    }
}

/// Everything about a host that is under way, or kept for nobody.
fn unfinished(host: &Host, found: &mut Vec<String>) {
    let name = &host.name;
    let (mut children, mut used) = (BTreeSet::new(), BTreeSet::new());
    for sa in host.endpoint.ike_sas() {
        if sa.state != IkeSaState::Established {
            found.push(format!("{name}: IKE_SA #{} is {}", sa.id, sa.state.name()));
        }
        for task in [sa.tasks_queued, sa.tasks_active, sa.tasks_passive].concat() {
            found.push(format!("{name}: IKE_SA #{} is busy with {task}", sa.id));
        }
        for child in sa.children {
            match child.state {
                ChildSaState::Installed => used.insert(child.id),
                ChildSaState::Deleted => true, // it still receives what is late
                state => {
                    found.push(format!("{name}: CHILD_SA #{} is {}", child.id, state.name()));
                    true
                }
            };
            children.insert(child.id);
        }
    }
    let installed: BTreeSet<_> = host.outside.installed().map(|install| install.child_sa).collect();
    if installed != children {
        found.push(format!("{name} has CHILD_SAs {children:?} and {installed:?} in its data plane"));
    }
    let sending: BTreeSet<_> = host.outside.sending().map(|install| install.child_sa).collect();
    if sending != used {
        found.push(format!("{name} has CHILD_SAs {used:?} and sends with {sending:?}"));
    }
    found.extend(host.outside.reservations().map(|reserved| format!("{name}: {reserved}")));
    let waiting = host.endpoint.kept().remove("actions without outcome").unwrap_or(0);
    if waiting > 0 {
        found.push(format!("{name}: {waiting} actions have no outcome"));
    }
}

type IkeSpis = ([u8; 8], [u8; 8]);

/// The IKE SAs by their SPIs, and the SPIs of their CHILD_SAs, inbound first; the other way round where `is_mirrored`.
fn believed(host: &Host, is_mirrored: bool) -> BTreeMap<IkeSpis, BTreeSet<(u32, u32)>> {
    let sas = host.endpoint.ike_sas().into_iter().map(|sa| {
        let stay = sa.children.iter().filter(|child| child.state != ChildSaState::Deleted);
        let children = stay.map(|child| {
            let [spi_in, spi_out] = [child.spi_in, child.spi_out].map(|spi| spi.map_or(0, |spi| spi.0));
            if is_mirrored { (spi_out, spi_in) } else { (spi_in, spi_out) }
        });
        ((sa.spi_i.0, sa.spi_r.0), children.collect())
    });
    sas.collect()
}
