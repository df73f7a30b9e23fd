//! Packets through CHILD_SAs: what the data plane would do with them, without the packets.

use super::host::HostId;
use super::world::World;
use crate::command::Command;
use crate::config::Mode;
use crate::output::{ChildInstall, Path};

impl World {
    /// Sends an ESP packet through the CHILD_SA that a host put to use last. True if it arrives and the peer can open it.
    ///
    /// The packet goes through the NATs on its way, and the peer's endpoint is told where it came from if that is
    /// new.
    pub fn ping(&mut self, from: HostId) -> bool {
        let sender = self.host(from);
        if sender.is_cut_off {
            return false;
        }
        let Some(sent) = sender.outside.outbound() else { return false };
        let (spi, path, encr) = (sent.spi_out, sent.path, sent.outbound.octets().0.to_vec());
        if !sender.addresses.contains(&path.local.ip()) {
            return false;
        }
        let (id, now) = (sent.child_sa, self.now());
        if let Some(installed) = self.host_mut(from).outside.child_mut(id) {
            installed.last_outbound = Some(now);
        }
        let source = self.outer_source(from, path.local, path.remote);
        if self.is_blocked(source, path.remote) {
            return false;
        }
        let Some((to, local)) = self.receiver(path.remote, source) else { return false };
        if self.host(to).is_cut_off {
            return false;
        }
        let host = self.host_mut(to);
        let Some(received) = host.outside.by_spi(spi) else { return false };
        if received.inbound.octets().0 != encr || received.path.local != local {
            return false;
        }
        let (id, known) = (received.child_sa, received.path);
        if let Some(installed) = host.outside.child_mut(id) {
            installed.last_inbound = Some(now);
        }
        if known.remote != source {
            let command = Command::MappingChanged { child_sa: id, remote: source };
            // Refused while the IKE SA is not established: its path is still that of the handshake.
            let _ = host.endpoint.handle_command(command, now);
            self.drain(to);
        }
        true
    }

    /// Asserts that two hosts have an established IKE SA each, and CHILD_SAs that fit together: what one sends with,
    /// the other receives with.
    ///
    /// # Panics
    ///
    /// If they do not.
    pub fn assert_connected(&self, one: HostId, other: HostId) {
        for id in [one, other] {
            let host = self.host(id);
            let sas = host.endpoint.ike_sas();
            assert!(sas.iter().any(|sa| sa.established.is_some()), "{} has no IKE_SA", host.name);
            assert!(host.outside.installed().next().is_some(), "{} has no CHILD_SA", host.name);
        }
        self.assert_mirrored(one, other);
        self.assert_mirrored(other, one);
    }

    /// Asserts that every CHILD_SA of one host has its counterpart at the other.
    ///
    /// # Panics
    ///
    /// If one has none, or differs from it.
    pub fn assert_mirrored(&self, one: HostId, other: HostId) {
        for ours in self.host(one).outside.installed() {
            let peers = self.host(other).outside.installed().find(|peers| is_counterpart(ours, peers));
            let name = &self.host(one).name;
            let Some(theirs) = peers else {
                assert!(peers.is_some(), "CHILD_SA {} of {name} has no counterpart", ours.spi_in);
                continue;
            };
            assert_eq!(ours.suite, theirs.suite, "algorithms of {name}");
            assert_eq!(ours.mode, theirs.mode, "mode of {name}");
            // RFC 7296 §2.23.1: in transport mode each end has the addresses that it sees.
            let has_own_view = ours.mode == Mode::Transport && ours.encapsulated;
            assert!(has_own_view || ours.local_ts == theirs.remote_ts, "selectors of {name}");
            assert!(has_own_view || ours.remote_ts == theirs.local_ts, "selectors of {name}");
            assert_eq!(ours.encapsulated, theirs.encapsulated, "encapsulation of {name}");
            assert_ne!(ours.is_initiator, theirs.is_initiator, "role of {name}");
            assert!(ours.inbound.octets() == theirs.outbound.octets(), "inbound keys of {name}");
            assert!(ours.outbound.octets() == theirs.inbound.octets(), "outbound keys of {name}");
            assert!(!ours.inbound.encr.is_empty(), "{name} has no keys");
            assert!(
                ours.inbound.octets() != ours.outbound.octets(),
                "{name} has one key for both directions"
            );
        }
    }

    /// The outer addresses of the newest CHILD_SA of a host.
    #[must_use]
    pub fn child_path(&self, host: HostId) -> Option<Path> {
        self.host(host).outside.installed().last().map(|install| install.path)
    }
}

fn is_counterpart(ours: &ChildInstall, theirs: &ChildInstall) -> bool {
    ours.spi_in == theirs.spi_out && ours.spi_out == theirs.spi_in
}
