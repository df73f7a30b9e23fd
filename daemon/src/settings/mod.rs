//! strongswan.conf, typed.
//!
//! Keys are looked for in the sections `ferryd`, `charon-systemd`, `charon` and `libstrongswan`, in this
//! order, as charon's own programs fall back from their section to the common ones. What is ours alone stands
//! in `ferryd`.
//!
//! [`lookup`] finds settings, [`read`] makes them typed, [`keys`] knows all of charon's and what we do with
//! each.

mod keys;
mod logging;
mod lookup;
mod radius;
mod read;
mod tls;

use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ferry_ike::config::Ports;
use ferry_ike::lease::Attribute;
use ferry_vici::settings::{BadValue, NoFiles, Settings as Text, SettingsError};
use thiserror::Error;

#[cfg(test)]
pub(crate) use self::radius::Forwarded;
pub(crate) use self::radius::{Accounting, DynamicAuthorization, Radius, RadiusServer, ServerSecret};
use crate::logging::LogSettings;
use crate::net::SocketUri;
use crate::revocation::Methods;

/// Names the file instead of [`DEFAULT_PATH`].
const PATH_VARIABLE: &str = "STRONGSWAN_CONF";

const DEFAULT_PATH: &str = "/etc/strongswan.conf";

/// How the daemon behaves; what swanctl.conf does not say.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// How endpoints behave towards everybody.
    pub(crate) ike: ferry_ike::config::Settings,
    /// UDP ports to bind.
    pub(crate) ports: Ports,
    /// Families to bind them for.
    pub(crate) families: Families,
    /// How many endpoints share the work; `None` for one per core.
    pub(crate) shards: Option<u16>,
    /// Where ESP is done.
    pub(crate) data_plane: DataPlaneChoice,
    /// Name of the userspace data plane's TUN device.
    pub(crate) tun_name: String,
    /// XFRM interfaces are made for the interface IDs of children.
    pub(crate) makes_interfaces: bool,
    /// Many packets at a time in the userspace data plane, where the kernel has that.
    pub(crate) offload: bool,
    /// SPIs that inbound ESP SAs get.
    pub(crate) esp_spis: RangeInclusive<u32>,
    /// Anti-replay window of children that do not say, in packets.
    pub(crate) replay_window: u32,
    /// How long to wait before an initiation without an address is tried again; `None` gives up.
    pub(crate) retry_initiate: Option<Duration>,
    /// Routes and addresses.
    pub(crate) routing: Routing,
    /// Updown scripts are told of the DNS servers that our peers tell us of.
    pub(crate) updown_dns: bool,
    /// What clients with a virtual IP are told beside what its pool says.
    pub(crate) attributes: Vec<Attribute>,
    /// Servers that judge EAP and keep accounts.
    pub(crate) radius: Radius,
    /// How it is learnt which certificates are revoked.
    pub(crate) revocation: Methods,
    /// Where VICI clients find us.
    pub(crate) vici_socket: SocketUri,
    /// Where metrics are told; `None` for nowhere.
    pub(crate) metrics: Option<SocketUri>,
    /// Where leases of virtual IPs are kept; `None` for in memory alone.
    pub(crate) leases: Option<PathBuf>,
    /// Where our process number is left.
    pub(crate) pid_file: PathBuf,
    /// User to become once everything privileged is done.
    pub(crate) user: Option<String>,
    /// Group to become.
    pub(crate) group: Option<String>,
    /// Where log lines go.
    pub(crate) logging: LogSettings,
}

/// Address families that IKE listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Families {
    /// IPv4.
    pub(crate) v4: bool,
    /// IPv6.
    pub(crate) v6: bool,
}

/// Where ESP is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DataPlaneChoice {
    /// In the kernel where it can, in userspace elsewhere.
    Auto,
    /// In the kernel, or not at all.
    Kernel,
    /// In userspace.
    Userspace,
}

/// Routes and addresses that come with SAs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Routing {
    /// Routes to what is behind peers.
    pub(crate) install_routes: bool,
    /// The table they go to; zero for the main one.
    pub(crate) table: u32,
    /// The rule's priority that makes it looked up; zero for no rule.
    pub(crate) priority: u32,
    /// Tables that do not lead to peers, beside our own.
    pub(crate) ignored_tables: Vec<u32>,
    /// Notice when addresses, interfaces or routes change.
    pub(crate) roams: bool,
    /// Routes too.
    pub(crate) follows_routes: bool,
    /// Go by the best way to a peer, even if the one in use is still there.
    pub(crate) prefer_best_path: bool,
    /// Put virtual IPs that we are assigned on an interface.
    pub(crate) install_virtual_ip: bool,
    /// Which; `None` for the one that leads to the peer.
    pub(crate) virtual_ip_interface: Option<String>,
}

/// What was read, and what there is to say about it.
pub(crate) struct Loaded {
    /// The settings.
    pub(crate) settings: Settings,
    /// One sentence for each thing that is set and has no effect.
    pub(crate) remarks: Vec<String>,
}

/// Why strongswan.conf cannot be used; nothing of it is then.
#[derive(Debug, Error)]
pub(crate) enum LoadError {
    /// It is no settings.
    #[error(transparent)]
    Text(#[from] SettingsError),
    /// A value is not what it should be.
    #[error(transparent)]
    Value(#[from] BadValue),
}

/// Reads the file that the environment names, or the one in its usual place. A file that does not exist is as
/// good as an empty one.
pub(crate) fn load() -> Result<Loaded, LoadError> {
    let path = std::env::var_os(PATH_VARIABLE).map_or_else(|| PathBuf::from(DEFAULT_PATH), PathBuf::from);
    load_from(&path)
}

/// Reads a file.
pub(crate) fn load_from(path: &Path) -> Result<Loaded, LoadError> {
    let mut remarks = Vec::new();
    let text = match Text::read(path) {
        Ok(text) => text,
        Err(SettingsError::Unreadable { included_at: None, source, .. })
            if source.kind() == io::ErrorKind::NotFound =>
        {
            remarks.push(format!("there is no {}: everything has its default", path.display()));
            Text::parse("", path, &NoFiles)?
        }
        Err(error) => return Err(error.into()),
    };
    remarks.extend(text.warnings().iter().map(ToString::to_string));
    let settings = read::settings(&lookup::Lookup::new(&text))?;
    remarks.extend(keys::remarks(&text));
    Ok(Loaded { settings, remarks })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads settings from text as if it were a file.
    pub(super) fn parse(text: &str) -> Result<Loaded, LoadError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("strongswan.conf");
        std::fs::write(&path, text).unwrap();
        load_from(&path)
    }

    #[test]
    fn a_missing_file_means_defaults() {
        let loaded = load_from(Path::new("/no/such/strongswan.conf")).unwrap();
        assert_eq!(loaded.settings.ports, Ports { ike: 500, nat_t: 4500 });
        assert_eq!(loaded.settings.ike.retransmission, ferry_ike::config::Retransmission::default());
        assert_eq!(loaded.settings.routing.table, 220);
        assert_eq!(loaded.settings.vici_socket, SocketUri::Unix("/var/run/charon.vici".into()));
        assert_eq!(loaded.settings.logging, LogSettings::to_stderr());
        assert_eq!(loaded.remarks.len(), 1);
    }

    #[test]
    fn the_nearer_section_wins() {
        let text = "charon { port = 1000\n port_nat_t = 1001\n retransmit_tries = 9 }
            charon-systemd { port = 2000\n keep_alive = 1m }
            ferryd { port = 3000 }";
        let settings = parse(text).unwrap().settings;
        assert_eq!(settings.ports, Ports { ike: 3000, nat_t: 1001 });
        assert_eq!(settings.ike.keep_alive, Some(Duration::from_secs(60)));
        assert_eq!(settings.ike.retransmission.tries, 9);
    }

    #[test]
    fn a_file_that_is_there_but_broken_is_an_error() {
        let error = parse("charon { port = 500").map(drop).unwrap_err();
        assert!(error.to_string().contains("not closed"), "{error}");
    }

    #[test]
    fn a_value_that_does_not_fit_is_named_with_its_place() {
        let error = parse("charon {\n port = many\n}").map(drop).unwrap_err().to_string();
        assert!(
            error.ends_with("strongswan.conf:2:2: charon.port = many: expected a port, 0 to 65535"),
            "{error}"
        );
    }
}
