//! Reading from and writing to the TUN device.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, read, writev};

use super::virtio::{self, Offload};

/// The device's descriptor, and what its packets look like.
pub(super) struct Device {
    fd: OwnedFd,
    /// A `virtio_net_hdr` is before each packet.
    with_header: bool,
}

/// A packet that was read.
pub(super) struct Given {
    pub(super) len: usize,
    /// What is left to do for it; `None` if that is nothing we know.
    pub(super) offload: Option<Offload>,
}

impl Device {
    pub(super) const fn new(fd: OwnedFd, with_header: bool) -> Self {
        Self { fd, with_header }
    }

    /// True if it takes packets that stand for many.
    pub(super) const fn takes_joined(&self) -> bool {
        self.with_header
    }

    /// Reads a packet to `at` of the buffer, before which there is room for the header. Nothing read is the end.
    #[inline]
    pub(super) fn read(&self, buffer: &mut [u8], at: usize) -> Result<Option<Given>, Errno> {
        let before = if self.with_header { virtio::LEN } else { 0 };
        let room = at.checked_sub(before).and_then(|start| buffer.get_mut(start..)).ok_or(Errno::INVAL)?;
        let len = read(&self.fd, &mut *room)?;
        if len == 0 {
            return Ok(None);
        }
        let offload = if self.with_header {
            room.first_chunk().filter(|_| len >= before).and_then(|header| Offload::read(*header))
        } else {
            Some(Offload::default())
        };
        Ok(Some(Given { len: len.saturating_sub(before), offload }))
    }

    /// Writes one packet.
    #[inline]
    pub(super) fn write(&self, packet: &[u8]) -> Result<(), Errno> {
        if self.with_header {
            let header = Offload::default().octets();
            writev(&self.fd, &[IoSlice::new(&header), IoSlice::new(packet)]).map(drop)
        } else {
            rustix::io::write(&self.fd, packet).map(drop)
        }
    }

    /// Writes `parts`, of which the first is the header's place and the others are one packet that stands for many.
    pub(super) fn write_joined(&self, parts: &[IoSlice<'_>]) -> Result<(), Errno> {
        writev(&self.fd, parts).map(drop)
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
