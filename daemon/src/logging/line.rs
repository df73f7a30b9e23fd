//! A line of log before it is text.

use std::time::SystemTime;

/// One thing that was logged.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// When.
    pub(crate) time: SystemTime,
    /// By which part of the daemon.
    pub(crate) group: Group,
    /// How much detail it is.
    pub(crate) level: Level,
    /// By which thread, counted from one in the order of their first lines.
    pub(crate) thread: u32,
    /// The name of the IKE_SA's connection; `None` outside an IKE_SA, and where it is not known yet.
    pub(crate) connection: Option<String>,
    /// The IKE_SA's number.
    pub(crate) ike_sa: Option<u64>,
    /// What; may have several lines, but no other control characters.
    pub(crate) text: String,
}

impl Line {
    /// What the log has to say of itself.
    pub(crate) fn about_log(text: String) -> Self {
        let (time, group, level) = (SystemTime::now(), Group::Dmn, Level::CONTROL);
        Self { time, group, level, thread: 0, connection: None, ike_sa: None, text }
    }

    /// The connection's name as clients and files show it: charon's word where an IKE_SA has none yet.
    pub(crate) fn connection_name(&self) -> Option<&str> {
        self.connection.as_deref().or_else(|| self.ike_sa.map(|_| "(unnamed)"))
    }
}

/// How much detail a line is, or how much of it is wanted: -1 to 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Level(i8);

impl Level {
    /// Wanted of a group that is to say nothing.
    pub(crate) const SILENT: Self = Self(-1);
    /// SAs come and go.
    pub(crate) const AUDIT: Self = Self(0);
    /// What is going on, and what goes wrong.
    pub(crate) const CONTROL: Self = Self(1);
    /// Why it goes on as it does.
    pub(crate) const DETAIL: Self = Self(2);
    /// Messages in outline.
    pub(crate) const RAW: Self = Self(3);
    /// The highest level that can be asked for. Nothing is logged at it: it is for keys.
    pub(crate) const HIGHEST: Self = Self(4);

    /// The level of that number, if there is one.
    pub(crate) fn new(number: i64) -> Option<Self> {
        let level = Self(i8::try_from(number).ok()?);
        (Self::SILENT..=Self::HIGHEST).contains(&level).then_some(level)
    }

    /// The level nearest to a number.
    pub(crate) fn nearest(number: i64) -> Self {
        Self::new(number).unwrap_or(if number < 0 { Self::SILENT } else { Self::HIGHEST })
    }

    /// Its number.
    pub(crate) const fn number(self) -> i8 {
        self.0
    }
}

macro_rules! groups {
    ($($(#[$doc:meta])* $name:ident = $upper:literal, $lower:literal;)*) => {
        /// Parts of the daemon, by charon's names.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Group {
            $($(#[$doc])* $name,)*
        }

        impl Group {
            /// All of them.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// How many there are.
            pub(crate) const COUNT: usize = Self::ALL.len();

            /// In capitals, as lines and VICI have it.
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$name => $upper,)* }
            }

            /// As strongswan.conf and targets have it.
            pub(crate) fn from_key(key: &str) -> Option<Self> {
                match key { $($lower => Some(Self::$name),)* _ => None }
            }

            pub(super) const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

groups! {
    /// Start, end and signals of the daemon.
    Dmn = "DMN", "dmn";
    /// The table of IKE_SAs.
    Mgr = "MGR", "mgr";
    /// IKE_SAs.
    Ike = "IKE", "ike";
    /// CHILD_SAs.
    Chd = "CHD", "chd";
    /// Things to do later.
    Job = "JOB", "job";
    /// File descriptors that are watched.
    Wch = "WCH", "wch";
    /// Configuration.
    Cfg = "CFG", "cfg";
    /// SAs, policies, routes and addresses of the system.
    Knl = "KNL", "knl";
    /// Datagrams.
    Net = "NET", "net";
    /// ASN.1.
    Asn = "ASN", "asn";
    /// Messages, their coding and protection.
    Enc = "ENC", "enc";
    /// Trusted Network Connect; nothing of ours.
    Tnc = "TNC", "tnc";
    /// Integrity measurement, collecting; nothing of ours.
    Imc = "IMC", "imc";
    /// Integrity measurement, verifying; nothing of ours.
    Imv = "IMV", "imv";
    /// Platform Trust Service; nothing of ours.
    Pts = "PTS", "pts";
    /// TLS.
    Tls = "TLS", "tls";
    /// Other programs than the daemon.
    App = "APP", "app";
    /// ESP of the userspace data plane.
    Esp = "ESP", "esp";
    /// Libraries.
    Lib = "LIB", "lib";
}

impl Group {
    /// The group of an event's target. Targets that are no group are module paths, ours or a library's.
    pub(super) fn of_target(target: &str) -> Self {
        Self::from_key(target).unwrap_or_else(|| match target.split("::").next() {
            Some("ferryd") => Self::Dmn,
            Some("ferry_ike") => Self::Ike,
            Some("ferry_esp") => Self::Esp,
            Some("ferry_xfrm") => Self::Knl,
            Some(_) | None => Self::Lib,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_by_key_and_by_target() {
        for group in Group::ALL {
            assert_eq!(Group::from_key(&group.name().to_ascii_lowercase()), Some(*group));
        }
        assert_eq!(Group::of_target("chd"), Group::Chd);
        assert_eq!(Group::of_target("ferryd::vici_server"), Group::Dmn);
        assert_eq!(Group::of_target("ferry_ike::sa"), Group::Ike);
        assert_eq!(Group::of_target("mio::poll"), Group::Lib);
    }

    #[test]
    fn levels_have_a_range() {
        assert_eq!(Level::new(-1), Some(Level::SILENT));
        assert_eq!(Level::new(4), Some(Level::HIGHEST));
        assert_eq!(Level::new(5), None);
        assert_eq!(Level::new(1 << 40), None);
        assert_eq!(Level::nearest(99), Level::HIGHEST);
        assert_eq!(Level::nearest(-7), Level::SILENT);
    }
}
