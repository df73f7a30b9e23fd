//! The command line, which is swanctl's: the command comes first and is itself a flag (`--list-sas`, `-l`), its options
//! follow, and long names may be shortened as long as they stay unique.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::ferryctl::output::Format;

/// Configures and controls an IKE daemon that speaks VICI: ferryd, or strongSwan's charon.
#[derive(Parser)]
#[command(
    name = "ferryctl",
    disable_help_subcommand = true,
    infer_subcommands = true,
    infer_long_args = true,
    args_override_self = true,
    subcommand_value_name = "COMMAND"
)]
pub(crate) struct Options {
    /// Where the daemon listens: unix://PATH or tcp://HOST:PORT
    #[arg(long, value_name = "URI", allow_hyphen_values = true)]
    uri: Option<String>,

    /// How much to tell on stderr: from 2, what is read and requested
    #[arg(long, value_name = "LEVEL", allow_hyphen_values = true)]
    debug: Option<i8>,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What to do. Letters and names are those of swanctl.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Show or reset counts of IKE events
    #[command(long_flag = "counters", short_flag = 'C')]
    Counters(Counters),
    /// Initiate a connection
    #[command(long_flag = "initiate", short_flag = 'i')]
    Initiate(Initiate),
    /// Terminate a connection
    #[command(long_flag = "terminate", short_flag = 't')]
    Terminate(Terminate),
    /// Rekey an SA
    #[command(long_flag = "rekey", short_flag = 'R')]
    Rekey(Rekey),
    /// Redirect an IKE SA to another gateway
    #[command(long_flag = "redirect", short_flag = 'd')]
    Redirect(Redirect),
    /// Uninstall a trap or shunt policy
    #[command(long_flag = "uninstall", short_flag = 'U', short_flag_alias = 'u')]
    Uninstall(Policy),
    /// Install a trap or shunt policy
    #[command(long_flag = "install", short_flag = 'p')]
    Install(Policy),
    /// List IKE SAs and their CHILD SAs
    #[command(long_flag = "list-sas", short_flag = 'l')]
    ListSas(ListSas),
    /// Show IKE SAs and CHILD SAs as they come and go
    #[command(long_flag = "monitor-sa", short_flag = 'm')]
    MonitorSa(Common),
    /// List installed trap and shunt policies
    #[command(long_flag = "list-pols", short_flag = 'P')]
    ListPols(ListPols),
    /// List loaded certification authorities
    #[command(long_flag = "list-authorities", short_flag = 'B')]
    ListAuthorities(ListAuthorities),
    /// List certificates, revocation lists and public keys
    #[command(long_flag = "list-certs", short_flag = 'x')]
    ListCerts(ListCerts),
    /// List loaded connections
    #[command(long_flag = "list-conns", short_flag = 'L')]
    ListConns(Common),
    /// List loaded pools
    #[command(long_flag = "list-pools", short_flag = 'A')]
    ListPools(ListPools),
    /// List the algorithms the daemon has
    #[command(long_flag = "list-algs", short_flag = 'g')]
    ListAlgs(Common),
    /// Forget cached certificates and CRLs
    #[command(long_flag = "flush-certs", short_flag = 'f')]
    FlushCerts(FlushCerts),
    /// Load credentials, authorities, pools and connections
    #[command(long_flag = "load-all", short_flag = 'q')]
    LoadAll(LoadCredentials),
    /// Load certification authorities
    #[command(long_flag = "load-authorities", short_flag = 'b')]
    LoadAuthorities(Load),
    /// Load connections
    #[command(long_flag = "load-conns", short_flag = 'c')]
    LoadConns(Load),
    /// Load certificates, keys and secrets
    #[command(long_flag = "load-creds", short_flag = 's')]
    LoadCreds(LoadCredentials),
    /// Load pools
    #[command(long_flag = "load-pools", short_flag = 'a')]
    LoadPools(Load),
    /// Follow the daemon's log
    #[command(long_flag = "log", short_flag = 'T')]
    Log(Common),
    /// Show versions
    #[command(long_flag = "version", short_flag = 'V', short_flag_alias = 'v')]
    Version(Version),
    /// Show what the daemon is doing
    #[command(long_flag = "stats", short_flag = 'S')]
    Stats(Common),
    /// Say what is wrong with a configuration, and what to do about it, without a daemon
    Check(Check),
    /// Say why attempts to establish IKE_SAs have failed, and what to do about it
    Explain(Explain),
    /// Have the daemon read strongswan.conf again
    #[command(long_flag = "reload-settings", short_flag = 'r')]
    ReloadSettings(Common),
}

#[derive(Args)]
pub(crate) struct Check {
    /// Read this file instead of swanctl.conf
    #[arg(long, short, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Args)]
pub(crate) struct Explain {
    /// A connection's name, or a peer's address or identity
    #[arg(value_name = "CONNECTION|PEER")]
    pub(crate) whom: Option<String>,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Options of every command.
#[derive(Args)]
pub(crate) struct Common {
    /// Show the daemon's messages, each on one line
    #[arg(long, short = 'r')]
    raw: bool,

    /// Show the daemon's messages, one element to a line
    #[arg(long, short = 'P')]
    pretty: bool,

    /// Where the daemon listens: unix://PATH or tcp://HOST:PORT
    #[arg(long, short = 'u', value_name = "URI", allow_hyphen_values = true)]
    uri: Option<String>,

    /// How much to tell on stderr: from 2, what is read and requested
    #[arg(long, short = 'v', value_name = "LEVEL", allow_hyphen_values = true)]
    debug: Option<i8>,
}

#[derive(Args)]
pub(crate) struct Initiate {
    /// CHILD SA to initiate
    #[arg(long, short, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) child: Option<String>,
    /// IKE SA to initiate, or connection of the child
    #[arg(long, short, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) ike: Option<String>,
    #[command(flatten)]
    pub(crate) progress: Progress,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// How a command that takes its time is followed.
#[derive(Args)]
pub(crate) struct Progress {
    /// Stop waiting after so many seconds; 0 waits for ever, a negative number not at all
    #[arg(long, short, value_name = "SECONDS", default_value_t = 0, allow_hyphen_values = true)]
    pub(crate) timeout: i32,
    /// How much of the daemon's log to show meanwhile, from -1 to 4
    #[arg(long, short, value_name = "LEVEL", default_value_t = 1, allow_hyphen_values = true)]
    pub(crate) loglevel: i8,
}

/// SAs by name or number.
#[derive(Args)]
pub(crate) struct Selector {
    /// CHILD SAs of this name
    #[arg(long, short, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) child: Option<String>,
    /// IKE SAs of this name
    #[arg(long, short, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) ike: Option<String>,
    /// The CHILD SA of this number
    #[arg(long, short = 'C', value_name = "ID")]
    pub(crate) child_id: Option<u32>,
    /// The IKE SA of this number
    #[arg(long, short = 'I', value_name = "ID")]
    pub(crate) ike_id: Option<u32>,
}

#[derive(Args)]
pub(crate) struct Terminate {
    #[command(flatten)]
    pub(crate) selector: Selector,
    /// Do not wait for the peer's answer
    #[arg(long, short)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) progress: Progress,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Args)]
pub(crate) struct Rekey {
    #[command(flatten)]
    pub(crate) selector: Selector,
    /// Authenticate an IKE SA anew instead of rekeying it
    #[arg(long, short = 'a')]
    pub(crate) reauth: bool,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Args)]
pub(crate) struct Redirect {
    /// IKE SAs of this name
    #[arg(long, short, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) ike: Option<String>,
    /// The IKE SA of this number
    #[arg(long, short = 'I', value_name = "ID")]
    pub(crate) ike_id: Option<u32>,
    /// IKE SAs with peers of this address, subnet or range
    #[arg(long, short, value_name = "ADDRESS", allow_hyphen_values = true)]
    pub(crate) peer_ip: Option<String>,
    /// IKE SAs with peers of this identity, which may hold wildcards
    #[arg(long, short = 'd', value_name = "IDENTITY", allow_hyphen_values = true)]
    pub(crate) peer_id: Option<String>,
    /// Gateway to go to: an address or a name
    #[arg(long, short, value_name = "GATEWAY", allow_hyphen_values = true)]
    pub(crate) gateway: Option<String>,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Args)]
pub(crate) struct Policy {
    /// CHILD SA whose policy it is
    #[arg(long, short, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) child: Option<String>,
    /// Connection of the child
    #[arg(long, short, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) ike: Option<String>,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Args)]
pub(crate) struct ListSas {
    #[command(flatten)]
    pub(crate) selector: Selector,
    /// Leave out IKE SAs that are busy
    #[arg(long, short)]
    pub(crate) noblock: bool,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Args)]
pub(crate) struct ListPols {
    /// Policies of this CHILD SA
    #[arg(long, short, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) child: Option<String>,
    /// Trap policies
    #[arg(long, short)]
    pub(crate) trap: bool,
    /// Drop policies
    #[arg(long, short)]
    pub(crate) drop: bool,
    /// Bypass policies
    #[arg(long, short)]
    pub(crate) pass: bool,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Args)]
pub(crate) struct ListAuthorities {
    /// The authority of this name
    #[arg(long, short, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Args)]
pub(crate) struct ListPools {
    /// Also list the leases
    #[arg(long, short)]
    pub(crate) leases: bool,
    /// The pool of this name
    #[arg(long, short, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Args)]
pub(crate) struct ListCerts {
    /// Those whose subject, or another name of theirs, is or matches this
    #[arg(long, short, value_name = "DN/SAN", allow_hyphen_values = true)]
    pub(crate) subject: Option<String>,
    /// Those of this type: x509, x509_ac, x509_crl, ocsp_response, pubkey
    #[arg(long = "type", short = 't', value_name = "TYPE", allow_hyphen_values = true)]
    pub(crate) kind: Option<String>,
    /// X.509 certificates with this flag: none, ca, aa, ocsp, any
    #[arg(long, short, value_name = "FLAG", allow_hyphen_values = true)]
    pub(crate) flag: Option<String>,
    /// In PEM
    #[arg(long, short)]
    pub(crate) pem: bool,
    /// With fewer details
    #[arg(long, short = 'S')]
    pub(crate) short: bool,
    /// With times in UTC
    #[arg(long, short = 'U')]
    pub(crate) utc: bool,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Args)]
pub(crate) struct FlushCerts {
    /// Certificates of this type: X509, X509_CRL, OCSP_RESPONSE ...
    #[arg(long = "type", short = 't', value_name = "TYPE", allow_hyphen_values = true)]
    pub(crate) kind: Option<String>,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Args)]
pub(crate) struct Counters {
    /// Counts of this connection
    #[arg(long, short, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) name: Option<String>,
    /// Counts of all connections
    #[arg(long, short)]
    pub(crate) all: bool,
    /// Set them to zero
    #[arg(long, short = 'R')]
    pub(crate) reset: bool,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Args)]
pub(crate) struct Load {
    /// Read this file instead of /etc/swanctl/swanctl.conf; files named in it are looked for beside it
    #[arg(long, short, value_name = "FILE", allow_hyphen_values = true)]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Args)]
pub(crate) struct LoadCredentials {
    #[command(flatten)]
    pub(crate) load: Load,
    /// First remove all credentials that were loaded before
    #[arg(long, short)]
    pub(crate) clear: bool,
    /// Accepted for swanctl's sake: passphrases are never asked for
    #[arg(long, short)]
    noprompt: bool,
}

#[derive(Args)]
pub(crate) struct Version {
    /// Of the daemon, not of ferryctl
    #[arg(long, short)]
    pub(crate) daemon: bool,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Options that may stand before the command and after it; what stands after it wins.
pub(crate) struct Shared {
    pub(crate) format: Format,
    /// The endpoint, if one was named.
    pub(crate) uri: Option<String>,
    pub(crate) debug: i8,
}

impl Options {
    /// What holds for the command, whichever it is.
    pub(crate) fn shared(&self, common: &Common) -> Shared {
        let format = match common {
            Common { pretty: true, .. } => Format::Pretty,
            Common { raw: true, .. } => Format::Raw,
            Common { .. } => Format::Human,
        };
        Shared {
            format,
            uri: common.uri.clone().or_else(|| self.uri.clone()),
            debug: common.debug.or(self.debug).unwrap_or(1),
        }
    }
}

impl Command {
    pub(crate) fn common(&self) -> &Common {
        match self {
            Self::Counters(options) => &options.common,
            Self::Initiate(options) => &options.common,
            Self::Terminate(options) => &options.common,
            Self::Rekey(options) => &options.common,
            Self::Redirect(options) => &options.common,
            Self::Uninstall(options) | Self::Install(options) => &options.common,
            Self::ListSas(options) => &options.common,
            Self::ListPols(options) => &options.common,
            Self::ListAuthorities(options) => &options.common,
            Self::ListPools(options) => &options.common,
            Self::ListCerts(options) => &options.common,
            Self::FlushCerts(options) => &options.common,
            Self::Check(options) => &options.common,
            Self::Explain(options) => &options.common,
            Self::LoadAll(options) | Self::LoadCreds(options) => &options.load.common,
            Self::LoadAuthorities(options) | Self::LoadConns(options) | Self::LoadPools(options) => {
                &options.common
            }
            Self::Version(options) => &options.common,
            Self::MonitorSa(common)
            | Self::ListConns(common)
            | Self::ListAlgs(common)
            | Self::Log(common)
            | Self::Stats(common)
            | Self::ReloadSettings(common) => common,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::try_parse_from(std::iter::once("ferryctl").chain(line.split(' ')))
            .map_err(|error| error.kind().to_string())
    }

    fn command(line: &str) -> Command {
        parse(line).unwrap_or_else(|error| panic!("{line}: {error}")).command.unwrap()
    }

    #[test]
    fn definition_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn a_command_is_a_flag_long_short_or_shortened() {
        for line in ["--list-sas", "-l", "--list-s", "--list-sa"] {
            assert!(matches!(command(line), Command::ListSas(_)), "{line}");
        }
        assert!(matches!(command("--reload"), Command::ReloadSettings(_)));
        for line in ["--version", "-V", "-v", "--ver"] {
            assert!(matches!(command(line), Command::Version(_)), "{line}");
        }
        for line in ["--uninstall", "-U", "-u"] {
            assert!(matches!(command(line), Command::Uninstall(_)), "{line}");
        }
        for line in ["--list", "--re", "--load-a", "--bogus", "-X", "--list-sas --bogus", "--list-sas extra"]
        {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn letters_mean_what_they_mean_to_the_command() {
        let Command::Terminate(terminate) = command("-t -i b -I 5 -c x -C 6 -f -t 2 -l 0") else { panic!() };
        let Selector { child, ike, child_id, ike_id } = terminate.selector;
        assert_eq!(
            (child.as_deref(), ike.as_deref(), child_id, ike_id),
            (Some("x"), Some("b"), Some(6), Some(5))
        );
        assert!(terminate.force);
        assert_eq!((terminate.progress.timeout, terminate.progress.loglevel), (2, 0));

        let Command::Initiate(initiate) = command("--initiate --chil=net --timeout -1") else { panic!() };
        assert_eq!((initiate.child.as_deref(), initiate.progress.timeout), (Some("net"), -1));
        assert_eq!(initiate.progress.loglevel, 1);

        let Command::LoadAll(load) = command("-q -n -c -f /x/y.conf") else { panic!() };
        assert!(load.clear && load.noprompt);
        assert_eq!(load.load.file, Some(PathBuf::from("/x/y.conf")));

        let Command::ListPools(list) = command("--list-pools -l -n x") else { panic!() };
        assert!(list.leases && list.name.as_deref() == Some("x"));
    }

    #[test]
    fn shared_options_stand_before_or_after() {
        let shared = |line: &str| {
            let options = parse(line).unwrap();
            let shared = options.shared(options.command.as_ref().unwrap().common());
            (shared.uri, shared.debug, shared.format)
        };
        assert_eq!(shared("--list-sas"), (None, 1, Format::Human));
        assert_eq!(shared("--uri a --list-sas"), (Some("a".into()), 1, Format::Human));
        assert_eq!(shared("--uri a -l -u b -v 2 -r"), (Some("b".into()), 2, Format::Raw));
        assert_eq!(shared("-l --uri=a --pretty --raw --raw"), (Some("a".into()), 1, Format::Pretty));
    }

    #[test]
    fn no_command_is_no_error() {
        assert!(Options::try_parse_from(["ferryctl"]).unwrap().command.is_none());
    }
}
