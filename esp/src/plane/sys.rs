//! The system calls that have no safe binding: TUN and interface ioctls, `sendmsg` and `recvmsg` with control
//! messages, socket options. All `unsafe` of this crate is here.
#![expect(unsafe_code, reason = "the one file of this crate that talks to the system by pointers")]

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{c_int, c_short, c_uint, c_ulong, iovec, msghdr, socklen_t};

use super::control::{Arrival, Control, RawAddress};

/// Octets an interface name has room for, the terminating zero included.
pub(super) const NAME_LEN: usize = libc::IFNAMSIZ;

/// `struct ifreq`: a name and a union, of which these calls use an `int` or a `short` at its start.
#[repr(C, align(8))]
struct InterfaceRequest {
    name: [u8; NAME_LEN],
    value: [u8; 24],
}

impl InterfaceRequest {
    fn new(name: &[u8; NAME_LEN]) -> Self {
        Self { name: *name, value: [0; 24] }
    }

    fn set_short(&mut self, value: c_short) {
        [self.value[0], self.value[1]] = value.to_ne_bytes();
    }

    fn short(&self) -> c_short {
        c_short::from_ne_bytes([self.value[0], self.value[1]])
    }

    fn set_int(&mut self, value: c_int) {
        [self.value[0], self.value[1], self.value[2], self.value[3]] = value.to_ne_bytes();
    }

    fn call(&mut self, fd: BorrowedFd<'_>, request: c_ulong) -> io::Result<()> {
        // SAFETY: every request used in this file takes a pointer to a `struct ifreq` and reads or writes no more
        // than its 40 octets, which is the size of `self`; `self` outlives the call.
        let result = unsafe { libc::ioctl(fd.as_raw_fd(), request as _, std::ptr::from_mut(self)) };
        check(result).map(drop)
    }
}

const _: () = assert!(size_of::<InterfaceRequest>() == 40);

/// Turns an open `/dev/net/tun` into the TUN device `name`: whole IP packets, and before each, if `with_header`, what
/// is left to do for it.
pub(super) fn attach_tun(tun: BorrowedFd<'_>, name: &[u8; NAME_LEN], with_header: bool) -> io::Result<()> {
    let mut request = InterfaceRequest::new(name);
    let header = if with_header { libc::IFF_VNET_HDR } else { 0 };
    // All flags are below 0x8000: the kernel's field is a short.
    let flags = libc::IFF_TUN | libc::IFF_NO_PI | header;
    request.set_short(c_short::try_from(flags).map_err(io::Error::other)?);
    request.call(tun, c_ulong::from(libc::TUNSETIFF))
}

/// Tells the kernel what it may leave to whoever reads from a TUN device (`TUN_F_*`).
pub(super) fn set_offloads(tun: BorrowedFd<'_>, offloads: c_uint) -> io::Result<()> {
    // SAFETY: this request takes its argument by value, and no pointer.
    let result = unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETOFFLOAD as _, c_ulong::from(offloads)) };
    check(result).map(drop)
}

/// Sets the MTU of an interface of this network namespace.
pub(super) fn set_mtu(name: &[u8; NAME_LEN], mtu: u16) -> io::Result<()> {
    let mut request = InterfaceRequest::new(name);
    request.set_int(c_int::from(mtu));
    request.call(datagram_socket()?.as_fd(), libc::SIOCSIFMTU)
}

/// Sets an interface of this network namespace up.
pub(super) fn set_up(name: &[u8; NAME_LEN]) -> io::Result<()> {
    let socket = datagram_socket()?;
    let mut request = InterfaceRequest::new(name);
    request.call(socket.as_fd(), libc::SIOCGIFFLAGS)?;
    let up = c_short::try_from(libc::IFF_UP).map_err(io::Error::other)?;
    request.set_short(request.short() | up);
    request.call(socket.as_fd(), libc::SIOCSIFFLAGS)
}

/// A socket for interface ioctls, which work on any.
fn datagram_socket() -> io::Result<OwnedFd> {
    // SAFETY: no pointers are passed.
    let fd = check(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: `fd` was just opened, is not negative, and is owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sets a socket option that is an int.
pub(super) fn set_option(
    socket: BorrowedFd<'_>,
    level: c_int,
    option: c_int,
    value: c_int,
) -> io::Result<()> {
    let len = socklen_t::try_from(size_of::<c_int>()).map_err(io::Error::other)?;
    // SAFETY: the pointer is to an int that outlives the call, and `len` is its size.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, std::ptr::from_ref(&value).cast(), len)
    };
    check(result).map(drop)
}

/// A datagram as it arrived, or several from one peer.
pub(super) struct Received {
    /// Octets in the buffer.
    pub(super) len: usize,
    pub(super) remote: SocketAddr,
    pub(super) arrival: Arrival,
}

/// Receives one datagram without waiting. `Ok(None)` is one from an address that is not of the Internet.
pub(super) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Option<Received>> {
    let (len, address, control) = receive_message(socket, buffer, libc::MSG_DONTWAIT)?;
    Ok(address.read().map(|remote| Received { len, remote, arrival: control.arrival() }))
}

/// Empties a socket's error queue, which some option of its owner may fill, so that it does not wake us for ever.
pub(super) fn drain_errors(socket: BorrowedFd<'_>) {
    while receive_message(socket, &mut [0; 64], libc::MSG_DONTWAIT | libc::MSG_ERRQUEUE).is_ok() {}
}

fn receive_message(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    flags: c_int,
) -> io::Result<(usize, RawAddress, Control)> {
    let (mut address, mut control) = (RawAddress::empty(), Control::new());
    let (address_octets, address_len) = address.parts_mut();
    let (control_octets, control_len) = control.parts_mut();
    let mut vector = iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut message = message(&mut vector);
    message.msg_name = address_octets.as_mut_ptr().cast();
    message.msg_namelen = *address_len;
    message.msg_control = control_octets.as_mut_ptr().cast();
    message.msg_controllen = control_octets.len() as _;
    // SAFETY: all pointers in `message` are to live, exclusively borrowed memory of the lengths beside them: the
    // kernel writes no more than `buffer`, the address and the control buffer hold, and all outlive the call.
    let len = check(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) })?;
    *address_len = message.msg_namelen;
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast, reason = "a size_t here, a u32 on musl")]
    {
        *control_len = message.msg_controllen as usize;
    }
    Ok((usize::try_from(len).map_err(io::Error::other)?, address, control))
}

/// Sends one datagram from `local` without waiting, or one for each `segment` octets of the payload.
pub(super) fn send(
    socket: BorrowedFd<'_>,
    payload: &[u8],
    local: SocketAddr,
    remote: SocketAddr,
    traffic_class: u8,
    segment: Option<u16>,
) -> io::Result<()> {
    let (mut address, mut control) = (RawAddress::from(remote), Control::departure(local, traffic_class));
    if let Some(size) = segment {
        control.cut_into(size);
    }
    let (address_octets, address_len) = address.parts_mut();
    let (control_octets, control_len) = control.parts_mut();
    let mut vector = iovec { iov_base: payload.as_ptr().cast_mut().cast(), iov_len: payload.len() };
    let mut message = message(&mut vector);
    message.msg_name = address_octets.as_mut_ptr().cast();
    message.msg_namelen = *address_len;
    message.msg_control = control_octets.as_mut_ptr().cast();
    message.msg_controllen = *control_len as _;
    // SAFETY: all pointers in `message` are to live memory of the lengths beside them and outlive the call; sendmsg
    // writes to none of them, so that the payload's shared borrow is respected.
    check(unsafe {
        libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
    })
    .map(drop)
}

/// A message of one part, without address and control messages.
fn message(vector: &mut iovec) -> msghdr {
    // SAFETY: a `msghdr` of zeros is valid: null pointers and zero lengths. (It has private padding on some systems,
    // so it cannot be written out field by field.)
    let mut message: msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = vector;
    message.msg_iovlen = 1;
    message
}

/// The result of a call that gives -1 and sets errno when it fails.
fn check<T: PartialOrd + From<i8>>(result: T) -> io::Result<T> {
    if result < T::from(0) { Err(io::Error::last_os_error()) } else { Ok(result) }
}
