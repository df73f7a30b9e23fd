//! Errors of the plane: each a sentence that names what is missing.

use std::io;
use std::net::SocketAddr;

use thiserror::Error;

use super::config::{ChildId, SpiPrefix};
use super::event::Direction;
use crate::keys::KeyError;
use crate::packet::Spi;

/// Why the plane does not start.
#[derive(Debug, Error)]
pub enum PlaneError {
    /// The system has no TUN driver, or this container was not given the device.
    #[error(
        "there is no TUN device: /dev/net/tun cannot be opened ({0}); load the module tun, or give the container \
         --device /dev/net/tun"
    )]
    NoTun(#[source] io::Error),
    /// The process may not make the device.
    #[error("no permission to set up the TUN device {device:?} ({source}); CAP_NET_ADMIN is needed")]
    NoPermission {
        /// The device asked for.
        device: String,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has the device open.
    #[error("the device {device:?} is in use by another process")]
    DeviceBusy {
        /// The device asked for.
        device: String,
    },
    /// There is an interface of this name that the plane cannot use.
    #[error("there is an interface {device:?} already, and it is not a TUN device with one queue")]
    DeviceKind {
        /// The device asked for.
        device: String,
    },
    /// The name is too long, empty, or has characters no interface may have.
    #[error(
        "{device:?} is not a name for a network device: 1 to 15 octets without '/', ':', '%' or white space"
    )]
    DeviceName {
        /// The name asked for.
        device: String,
    },
    /// A step of setting up the device failed.
    #[error("cannot {step} the device {device:?}: {source}")]
    Device {
        /// The device asked for.
        device: String,
        /// What was being done.
        step: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A socket cannot be used for ESP in UDP.
    #[error("cannot {step} socket {socket}: {source}")]
    Socket {
        /// Index of the socket among those given.
        socket: usize,
        /// What was being done.
        step: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The worker could not be started.
    #[error("cannot start the data plane's worker: {0}")]
    Worker(#[source] io::Error),
}

/// Why an SA was not added.
#[derive(Debug, Error)]
pub enum InstallError {
    /// A key does not fit the suite.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The SPI is one that no SA may have.
    #[error("SPI {0} is reserved")]
    ReservedSpi(Spi),
    /// There is an inbound SA with this SPI.
    #[error("there is an inbound SA with SPI {0} already")]
    SpiInUse(Spi),
    /// The child has an SA in this direction.
    #[error("child {child} has an {direction} SA already")]
    ChildInUse {
        /// The child.
        child: ChildId,
        /// The direction.
        direction: Direction,
    },
    /// The plane knows no such child.
    #[error("there is no child {0}")]
    UnknownChild(ChildId),
    /// No socket can send from this address.
    #[error("none of the plane's sockets can send from {local} to {remote}")]
    NoSocket {
        /// Our address.
        local: SocketAddr,
        /// The peer's address.
        remote: SocketAddr,
    },
    /// Under this prefix no SPI is left, or the prefix is longer than 16 bits.
    #[error("no SPI is free under the prefix {}/{}", .0.value, .0.len)]
    NoSpiLeft(SpiPrefix),
    /// The worker has ended.
    #[error("the data plane has stopped")]
    Stopped,
}
