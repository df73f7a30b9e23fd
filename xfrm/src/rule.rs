//! The routing rule that sends packets to the tunnels' table.

use std::fmt;
use std::str::FromStr;

use tracing::{debug, info};

use crate::error::Error;
use crate::handle::Handle;
use crate::message::route::Rule;
use crate::message::{AF_INET, AF_INET6};

/// Which packets a rule is for, by their firewall mark (SO_MARK or nftables' `meta mark`):
/// written `[!]MARK[/MASK]`, decimal or with `0x`; `!` for the packets that do not match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MarkMatch {
    /// What the masked mark is compared with.
    pub mark: u32,
    /// The bits that count.
    pub mask: u32,
    /// Whether the rule is for packets that do not match.
    pub is_inverted: bool,
}

impl FromStr for MarkMatch {
    type Err = InvalidMark;

    fn from_str(text: &str) -> Result<Self, InvalidMark> {
        let invalid = || InvalidMark(text.to_owned());
        let (is_inverted, rest) = match text.trim().strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text.trim()),
        };
        let (mark, mask) = rest.split_once('/').unwrap_or((rest, "0xffffffff"));
        let number = |text: &str| match text.trim().strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16),
            None => text.trim().parse(),
        };
        let mark = number(mark).map_err(|_| invalid())?;
        let mask = number(mask).map_err(|_| invalid())?;
        // A mask of zero would match everything, or with `!` nothing at all.
        if mask == 0 || mark & !mask != 0 {
            return Err(invalid());
        }
        Ok(Self { mark, mask, is_inverted })
    }
}

impl fmt::Display for MarkMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = if self.is_inverted { "!" } else { "" };
        write!(f, "{not}{:#x}/{:#x}", self.mark, self.mask)
    }
}

/// Text that is no mark match.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no mark, expected [!]MARK[/MASK] with a MASK other than 0 that covers MARK")]
pub struct InvalidMark(String);

/// The rules of one table, those that we added: they go when we do.
#[derive(Default)]
pub(crate) struct Rules {
    added: Vec<Rule>,
}

impl Rules {
    /// Makes sure that packets are looked up in `table`, in both families. Rules that are there
    /// stay, and stay when we go. A family that the kernel lacks is passed over.
    pub(crate) async fn ensure(
        &mut self,
        handle: &Handle,
        table: u32,
        priority: u32,
        mark: Option<MarkMatch>,
    ) -> Result<(), Error> {
        for family in [AF_INET, AF_INET6] {
            let rule = Rule {
                family,
                priority,
                table,
                mark: mark.map_or(0, |mark| mark.mark),
                mask: mark.map_or(0, |mark| mark.mask),
                is_inverted: mark.is_some_and(|mark| mark.is_inverted),
                suppress_prefix_length: None,
            };
            match handle.request(rule.install()).await {
                Ok(_) => self.added.push(rule),
                Err(failure) => match failure.errno() {
                    Some(libc::EEXIST) => debug!("{} is there already", describe(&rule)),
                    Some(libc::EAFNOSUPPORT | libc::EOPNOTSUPP) => {
                        info!("no {}: the kernel lacks the address family", describe(&rule));
                    }
                    _ => return Err(failure.during(format!("add the {}", describe(&rule)))),
                },
            }
        }
        Ok(())
    }

    /// Removes the rules that were added here. All are tried; the first refusal is returned.
    pub(crate) async fn remove(&mut self, handle: &Handle) -> Result<(), Error> {
        let mut outcome = Ok(());
        for rule in std::mem::take(&mut self.added) {
            match handle.request(rule.remove()).await {
                Ok(_) => {}
                Err(failure) if failure.errno() == Some(libc::ENOENT) => {} // somebody else did
                Err(failure) => {
                    let error = failure.during(format!("remove the {}", describe(&rule)));
                    outcome = outcome.and(Err(error));
                }
            }
        }
        outcome
    }
}

fn describe(rule: &Rule) -> String {
    let family = if rule.family == AF_INET { "IPv4" } else { "IPv6" };
    let mark = MarkMatch { mark: rule.mark, mask: rule.mask, is_inverted: rule.is_inverted };
    let from = if rule.mask == 0 { "all".to_owned() } else { format!("mark {mark}") };
    format!("{family} routing rule of priority {} from {from} to table {}", rule.priority, rule.table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_as_in_strongswan_conf() {
        let read =
            |text: &str| text.parse::<MarkMatch>().map(|mark| (mark.mark, mark.mask, mark.is_inverted));
        assert_eq!(read("220"), Ok((220, u32::MAX, false)));
        assert_eq!(read("!0x1a/0xff"), Ok((0x1a, 0xff, true)));
        assert_eq!(read(" !42 "), Ok((42, u32::MAX, true)));
        for nonsense in ["", "!", "x", "1/", "1/0", "0x1ff/0xff", "-1", "4294967296"] {
            assert!(read(nonsense).is_err(), "{nonsense}");
        }
        assert_eq!("!26/0xff".parse::<MarkMatch>().unwrap().to_string(), "!0x1a/0xff");
    }
}
