//! The kernel's security policy database.

use std::fmt;

use crate::error::{Error, Failure, Meaning};
use crate::handle::{Handle, Port, Protocol, Reply};
use crate::message::Request;
use crate::message::database::{
    count_policies, default_policy, read_default_policy, read_policy_count, set_default_policy,
};
use crate::message::frames;
use crate::message::policy::{XFRM_MSG_NEWPOLICY, dump_policies, flush_policies};
use crate::migration::Migration;
use crate::policy::{DefaultPolicy, Policy, PolicyCount, PolicyDirection, PolicyEntry, PolicyId, PolicyKind};
use crate::sad::only;

/// The policies of one network namespace.
///
/// Policies outlive whoever installed them. Nothing is removed but what is named, [`Spd::flush`]
/// apart.
pub struct Spd {
    handle: Handle,
}

impl Spd {
    /// Opens a netlink socket in the calling thread's network namespace. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the kernel has no XFRM.
    pub async fn open() -> Result<Self, Error> {
        Ok(Self { handle: Handle::open(Protocol::Xfrm)? })
    }

    /// Adds a policy.
    ///
    /// # Errors
    /// [`Meaning::AlreadyThere`] where there is one with the same [`PolicyId`], of whatever priority.
    pub async fn install(&self, policy: &Policy) -> Result<(), Error> {
        self.change(policy.install(), || format!("install the {} policy", policy.id)).await
    }

    /// Puts a policy in the place of the one with the same [`PolicyId`], if there is one, in a single
    /// step: at no moment is there none.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn replace(&self, policy: &Policy) -> Result<(), Error> {
        self.change(policy.replace(), || format!("replace the {} policy", policy.id)).await
    }

    /// Removes a policy.
    ///
    /// # Errors
    /// [`Meaning::NotThere`], or when the kernel refuses.
    pub async fn remove(&self, id: &PolicyId) -> Result<(), Error> {
        self.change(id.remove(), || format!("remove the {id} policy")).await
    }

    /// A policy as it is now, if it is there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn find(&self, id: &PolicyId) -> Result<Option<PolicyEntry>, Error> {
        let attempt = || format!("look up the {id} policy");
        match self.handle.request(id.find()).await {
            Ok(replies) => {
                let entry = only(&replies).and_then(|reply| PolicyEntry::read(&reply.payload));
                entry.map_err(|malformed| Failure::from(malformed).during(attempt()))
            }
            Err(failure) if failure.meaning() == Some(Meaning::NotThere) => Ok(None),
            Err(failure) => Err(failure.during(attempt())),
        }
    }

    /// All policies, whoever's they are, those of sockets apart.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn entries(&self) -> Result<Vec<PolicyEntry>, Error> {
        const ATTEMPT: &str = "list the IPsec policies";
        let replies = self.handle.dump(dump_policies).await.map_err(|failure| failure.during(ATTEMPT))?;
        replies
            .iter()
            .filter_map(|reply| PolicyEntry::read(&reply.payload).transpose())
            .collect::<Result<_, _>>()
            .map_err(|malformed| Failure::from(malformed).during(ATTEMPT))
    }

    /// How many policies there are, whoever's they are.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn count(&self) -> Result<PolicyCount, Error> {
        let attempt = || "count the IPsec policies".to_owned();
        let replies = self.ask(count_policies(), attempt).await?;
        let count = only(&replies).and_then(|reply| read_policy_count(&reply.payload));
        count.map_err(|malformed| Failure::from(malformed).during(attempt()))
    }

    /// Removes all policies of a kind, **whoever's they are**.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn flush(&self, kind: PolicyKind) -> Result<(), Error> {
        self.change(flush_policies(kind), || "remove all IPsec policies".to_owned()).await
    }

    /// What happens to packets that no policy selects.
    ///
    /// # Errors
    /// When the kernel refuses; those before 5.14 let all pass and have no such message.
    pub async fn default_policy(&self) -> Result<DefaultPolicy, Error> {
        let attempt = || "ask for the default IPsec policy".to_owned();
        let replies = self.ask(default_policy(), attempt).await?;
        let default = only(&replies).and_then(|reply| read_default_policy(&reply.payload));
        default.map_err(|malformed| Failure::from(malformed).during(attempt()))
    }

    /// Sets what happens to packets that no policy selects.
    ///
    /// # Errors
    /// When the kernel refuses, as those before 5.14 do.
    pub async fn set_default_policy(&self, default: &DefaultPolicy) -> Result<(), Error> {
        self.change(set_default_policy(default), || "set the default IPsec policy".to_owned()).await
    }

    /// Moves a policy and its SAs to other addresses in a single step.
    ///
    /// # Errors
    /// [`Meaning::NotThere`] where nothing has the old addresses, [`Meaning::NotBuilt`] where the
    /// kernel cannot.
    pub async fn migrate(&self, migration: &Migration) -> Result<(), Error> {
        self.change(migration.request(), || format!("move the {} policy", migration.policy)).await
    }

    /// By which [`crate::Events`] know our own doing.
    #[must_use]
    pub fn port(&self) -> Port {
        self.handle.port()
    }

    async fn change(&self, request: Request, attempt: impl FnOnce() -> String) -> Result<(), Error> {
        self.ask(request, attempt).await.map(|_| ())
    }

    async fn ask(&self, request: Request, attempt: impl FnOnce() -> String) -> Result<Vec<Reply>, Error> {
        self.handle.request(request).await.map_err(|failure| failure.during(attempt()))
    }
}

/// The policies a datagram of the kernel tells of, as captures of netlink have them.
///
/// # Errors
/// When one of them does not parse.
pub fn decode(datagram: &[u8]) -> Result<Vec<PolicyEntry>, Error> {
    let entries = frames(datagram).filter_map(|frame| match frame {
        Ok(frame) if frame.kind == XFRM_MSG_NEWPOLICY => PolicyEntry::read(frame.payload).transpose(),
        Ok(_) => None,
        Err(malformed) => Some(Err(malformed)),
    });
    entries.collect::<Result<_, _>>().map_err(|malformed| Failure::from(malformed).during("read policies"))
}

impl fmt::Display for PolicyId {
    /// `out 10.1.0.0/16 -> 10.2.0.0/16`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.direction, self.selector)
    }
}

impl fmt::Display for PolicyDirection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::In => "in",
            Self::Out => "out",
            Self::Forward => "fwd",
        })
    }
}
