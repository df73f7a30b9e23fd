//! The kernel's security association database.

use std::fmt;
use std::ops::RangeInclusive;

use crate::algorithm::Protection;
use crate::error::{Error, Failure, Malformed, Meaning};
use crate::handle::{Handle, Port, Protocol, Reply};
use crate::message::Request;
use crate::message::database::{count_sas, read_sa_count};
use crate::message::frames;
use crate::message::sa::{XFRM_MSG_NEWSA, dump_sas, flush_sas};
use crate::probe::{self, Capabilities, EspSupport};
use crate::sa::{IpsecProtocol, ReplayState, Sa, SaEntry, SaId};

/// The SAs of one network namespace.
///
/// SAs outlive whoever installed them. Nothing is removed but what is named, [`Sad::flush`] apart.
pub struct Sad {
    handle: Handle,
    support: EspSupport,
    capabilities: Capabilities,
}

impl Sad {
    /// Opens a netlink socket in the calling thread's network namespace, and finds out by an SA
    /// between loopback addresses what the kernel can do. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the kernel has no XFRM. That it has no ESP is told by [`Sad::support`].
    pub async fn open() -> Result<Self, Error> {
        let handle = Handle::open(Protocol::Xfrm)?;
        let (support, capabilities) = probe::try_esp(&handle).await;
        Ok(Self { handle, support, capabilities })
    }

    /// Adds an SA. With a replay state its sequence numbers go on from there.
    ///
    /// # Errors
    /// [`Meaning::AlreadyThere`] where the SPI is taken, by a larval SA too: that one is updated.
    /// [`Error::Unknown`] where the kernel would leave out what is asked.
    pub async fn install(
        &self,
        sa: &Sa,
        protection: &Protection,
        replay: Option<&ReplayState>,
    ) -> Result<(), Error> {
        let attempt = || format!("install {}", Shown(sa));
        let sa = self.fit(sa, attempt)?;
        self.change(sa.install(protection, replay), attempt).await
    }

    /// Makes a larval SA a real one, or changes limits and encapsulation ports of a real one. What
    /// else differs, keys and addresses above all, stays as it was.
    ///
    /// # Errors
    /// [`Meaning::NotThere`] also where a larval SA came to its end.
    pub async fn update(
        &self,
        sa: &Sa,
        protection: &Protection,
        replay: Option<&ReplayState>,
    ) -> Result<(), Error> {
        let attempt = || format!("update {}", Shown(sa));
        let sa = self.fit(sa, attempt)?;
        self.change(sa.update(protection, replay), attempt).await
    }

    /// Reserves an SPI out of a range for an inbound SA: one that nobody else has to the same
    /// destination. It becomes a larval SA, which ends by itself (`net.core.xfrm_acq_expires`).
    ///
    /// Of `sa` the addresses, protocol, mode, reqid, mark, and the acquire it answers are of concern.
    ///
    /// # Errors
    /// [`Meaning::NotThere`] where none is free, or none was met: the kernel tries at random, not more
    /// often than the range is wide.
    pub async fn allocate_spi(&self, sa: &Sa, among: RangeInclusive<u32>) -> Result<u32, Error> {
        let attempt = || format!("reserve an SPI to {}", sa.id.destination);
        let sa = self.fit(sa, attempt)?;
        let replies = self.ask(sa.allocate_spi(&among), attempt).await?;
        let entry = only(&replies).and_then(|reply| SaEntry::read(&reply.payload));
        Ok(entry.map_err(|malformed| Failure::from(malformed).during(attempt()))?.sa.id.spi)
    }

    /// Removes an SA.
    ///
    /// # Errors
    /// [`Meaning::NotThere`], or when the kernel refuses.
    pub async fn remove(&self, id: &SaId) -> Result<(), Error> {
        self.change(id.remove(), || format!("remove the SA {id}")).await
    }

    /// An SA as it is now, if it is there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn find(&self, id: &SaId) -> Result<Option<SaEntry>, Error> {
        let attempt = || format!("look up the SA {id}");
        match self.handle.request(id.find()).await {
            Ok(replies) => {
                let entry = only(&replies).and_then(|reply| SaEntry::read(&reply.payload));
                entry.map(Some).map_err(|malformed| Failure::from(malformed).during(attempt()))
            }
            Err(failure) if failure.meaning() == Some(Meaning::NotThere) => Ok(None),
            Err(failure) => Err(failure.during(attempt())),
        }
    }

    /// All SAs, whoever's they are.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn entries(&self) -> Result<Vec<SaEntry>, Error> {
        const ATTEMPT: &str = "list the SAs";
        let replies = self.handle.dump(dump_sas).await.map_err(|failure| failure.during(ATTEMPT))?;
        replies
            .iter()
            .map(|reply| SaEntry::read(&reply.payload))
            .collect::<Result<_, _>>()
            .map_err(|malformed| Failure::from(malformed).during(ATTEMPT))
    }

    /// How many SAs there are, whoever's they are.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn count(&self) -> Result<u32, Error> {
        let attempt = || "count the SAs".to_owned();
        let replies = self.ask(count_sas(), attempt).await?;
        let count = only(&replies).and_then(|reply| read_sa_count(&reply.payload));
        count.map_err(|malformed| Failure::from(malformed).during(attempt()))
    }

    /// Removes all SAs of a protocol ([`IpsecProtocol::ANY`]: all at all), **whoever's they are**.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn flush(&self, protocol: IpsecProtocol) -> Result<(), Error> {
        self.change(flush_sas(protocol), || "remove all SAs".to_owned()).await
    }

    /// Whether the kernel can carry ESP.
    #[must_use]
    pub fn support(&self) -> &EspSupport {
        &self.support
    }

    /// What newer parts of SAs it knows.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// By which [`crate::Events`] know our own doing.
    #[must_use]
    pub fn port(&self) -> Port {
        self.handle.port()
    }

    /// The SA as this kernel wants it told. One that does not know an attribute takes it and leaves
    /// it out, so that nothing would be checked, and an outbound SA be refused for want of a window.
    fn fit(&self, sa: &Sa, attempt: impl FnOnce() -> String) -> Result<Sa, Error> {
        if sa.cpu.is_some() && !self.capabilities.knows_cpu {
            return Err(Error::Unknown { attempt: attempt(), what: "SAs for single CPUs" });
        }
        let direction = sa.direction.filter(|_| self.capabilities.knows_direction);
        Ok(Sa { direction, ..sa.clone() })
    }

    async fn change(&self, request: Request, attempt: impl FnOnce() -> String) -> Result<(), Error> {
        self.ask(request, attempt).await.map(|_| ())
    }

    async fn ask(&self, request: Request, attempt: impl FnOnce() -> String) -> Result<Vec<Reply>, Error> {
        self.handle.request(request).await.map_err(|failure| failure.during(attempt()))
    }
}

/// The one message of an answer.
pub(crate) fn only(replies: &[Reply]) -> Result<&Reply, Malformed> {
    replies.first().ok_or(Malformed("an answer with a message in it"))
}

/// The SAs a datagram of the kernel tells of, as captures of netlink have them.
///
/// # Errors
/// When one of them does not parse.
pub fn decode(datagram: &[u8]) -> Result<Vec<SaEntry>, Error> {
    let entries = frames(datagram).filter_map(|frame| match frame {
        Ok(frame) if frame.kind == XFRM_MSG_NEWSA => Some(SaEntry::read(frame.payload)),
        Ok(_) => None,
        Err(malformed) => Some(Err(malformed)),
    });
    entries.collect::<Result<_, _>>().map_err(|malformed| Failure::from(malformed).during("read SAs"))
}

impl fmt::Display for SaId {
    /// `ESP c0000001 to 192.0.2.2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:08x} to {}", self.protocol, self.spi, self.destination)
    }
}

impl fmt::Display for IpsecProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ESP => f.write_str("ESP"),
            Self::AH => f.write_str("AH"),
            Self::IPCOMP => f.write_str("IPComp"),
            Self(number) => write!(f, "protocol {number}"),
        }
    }
}

/// An SA in an error.
struct Shown<'a>(&'a Sa);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the SA {} from {}", self.0.id, self.0.source)
    }
}
