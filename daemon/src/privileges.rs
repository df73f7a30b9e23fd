//! Becoming another user, with no more privilege than SAs need.

use std::io;

use rustix::thread::{CapabilitySet, CapabilitySets};
use thiserror::Error;

use crate::settings::Settings;
use crate::system::{self, User};

/// Why we cannot become another user.
#[derive(Debug, Error)]
pub(crate) enum PrivilegeError {
    /// The system knows nobody of that name.
    #[error("charon.{kind} = {name}: there is no such {kind}")]
    Unknown {
        /// User or group.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// The system says no.
    #[error("cannot become user {uid} and group {gid}: {error}")]
    Refused {
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
        /// Why not.
        error: io::Error,
    },
    /// The user database cannot be read.
    #[error("cannot look up charon.user or charon.group: {0}")]
    Lookup(#[from] io::Error),
}

/// Whom the settings want us to be; `None` if we stay who we are. A user brings its group, unless one is
/// named.
pub(crate) fn wanted(settings: &Settings) -> Result<Option<User>, PrivilegeError> {
    let unknown = |kind, name: &str| PrivilegeError::Unknown { kind, name: name.to_owned() };
    let user = match &settings.user {
        Some(name) => Some(system::user(name)?.ok_or_else(|| unknown("user", name))?),
        None => None,
    };
    let group = match &settings.group {
        Some(name) => Some(system::group(name)?.ok_or_else(|| unknown("group", name))?),
        None => None,
    };
    if user.is_none() && group.is_none() {
        return Ok(None);
    }
    let own = User { uid: rustix::process::getuid().as_raw(), gid: rustix::process::getgid().as_raw() };
    let user = user.unwrap_or(own);
    Ok(Some(User { gid: group.unwrap_or(user.gid), ..user }))
}

/// Becomes that user, and keeps what SAs, routes, devices and low ports need. Threads that are started later
/// inherit it, so this is done while there are none.
pub(crate) fn drop_to(user: User) -> Result<(), PrivilegeError> {
    let become_user = || -> io::Result<()> {
        rustix::thread::set_keep_capabilities(true)?;
        system::become_user(user.uid, user.gid)?;
        let kept = CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW | CapabilitySet::NET_BIND_SERVICE;
        let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
        rustix::thread::set_capabilities(None, sets)?;
        rustix::thread::set_keep_capabilities(false)?;
        Ok(())
    };
    become_user().map_err(|error| PrivilegeError::Refused { uid: user.uid, gid: user.gid, error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::load_from;

    fn wanted_by(text: &str) -> Result<Option<User>, PrivilegeError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("strongswan.conf");
        std::fs::write(&path, text).unwrap();
        wanted(&load_from(&path).unwrap().settings)
    }

    #[test]
    fn a_user_brings_its_group() {
        assert_eq!(wanted_by("").unwrap(), None);
        let nobody = system::user("nobody").unwrap().unwrap();
        assert_eq!(wanted_by("charon { user = nobody }").unwrap(), Some(nobody));
        let with_group = wanted_by("charon { user = nobody\n group = root }").unwrap();
        assert_eq!(with_group, Some(User { gid: 0, ..nobody }));
        let error = wanted_by("charon { user = no-such-user }").unwrap_err().to_string();
        assert_eq!(error, "charon.user = no-such-user: there is no such user");
        let error = wanted_by("charon { group = no-such-group }").unwrap_err().to_string();
        assert_eq!(error, "charon.group = no-such-group: there is no such group");
    }
}
