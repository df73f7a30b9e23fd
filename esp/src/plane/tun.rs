//! The TUN device: opened, named, sized and set up.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use super::config::PlaneConfig;
use super::error::PlaneError;
use super::sys::{self, NAME_LEN};

const TUN: &str = "/dev/net/tun";

/// What the kernel may leave to us, the most first: `TUN_F_CSUM`, `_TSO4` and `_TSO6`, and, from Linux 6.2 on, `_USO4` and
/// `_USO6`.
const OFFLOADS: [libc::c_uint; 2] = [0x01 | 0x02 | 0x04 | 0x20 | 0x40, 0x01 | 0x02 | 0x04];

/// Makes the device of `config` and sets it up. It is gone when the descriptor is closed.
pub(super) fn open(config: &PlaneConfig) -> Result<OwnedFd, PlaneError> {
    let name = device_name(&config.device)?;
    let tun = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(TUN)
        .map_err(|source| match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => {
                PlaneError::NoPermission { device: config.device.clone(), source }
            }
            _ => PlaneError::NoTun(source),
        })?;
    let failed = |step| move |source| step_failed(&config.device, step, source);
    sys::attach_tun(tun.as_fd(), &name, config.offload).map_err(|source| match source.raw_os_error() {
        Some(libc::EINVAL) => PlaneError::DeviceKind { device: config.device.clone() },
        _ => step_failed(&config.device, "make", source),
    })?;
    if config.offload && !OFFLOADS.iter().any(|offloads| sys::set_offloads(tun.as_fd(), *offloads).is_ok()) {
        tracing::debug!("the kernel hands over the packets of {} one by one", config.device);
    }
    sys::set_mtu(&name, config.mtu).map_err(failed("set the MTU of"))?;
    sys::set_up(&name).map_err(failed("set up"))?;
    Ok(tun.into())
}

fn step_failed(device: &str, step: &'static str, source: io::Error) -> PlaneError {
    let device = device.to_owned();
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => PlaneError::NoPermission { device, source },
        Some(libc::EBUSY) => PlaneError::DeviceBusy { device },
        _ => PlaneError::Device { device, step, source },
    }
}

/// The name as the kernel takes it, ended by a zero.
fn device_name(device: &str) -> Result<[u8; NAME_LEN], PlaneError> {
    let refused = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':' | '%');
    let is_name = !device.is_empty() && device != "." && device != ".." && !device.contains(refused);
    if !is_name || device.len() >= NAME_LEN {
        return Err(PlaneError::DeviceName { device: device.to_owned() });
    }
    let mut name = [0; NAME_LEN];
    for (place, octet) in name.iter_mut().zip(device.bytes()) {
        *place = octet;
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert!(device_name("ipsec0").is_ok_and(|name| name == *b"ipsec0\0\0\0\0\0\0\0\0\0\0"));
        assert!(device_name("fifteen-octets-").is_ok());
        for bad in ["", ".", "..", "sixteen-octets--", "a/b", "a b", "a:b", "tun%d"] {
            let error = device_name(bad).expect_err(bad).to_string();
            assert!(error.contains("not a name for a network device"), "{error}");
        }
    }

    #[test]
    fn errors_are_sentences() {
        let with = |errno| step_failed("ipsec0", "make", io::Error::from_raw_os_error(errno)).to_string();
        assert!(with(libc::EPERM).contains("CAP_NET_ADMIN is needed"));
        assert_eq!(with(libc::EBUSY), "the device \"ipsec0\" is in use by another process");
        assert!(with(libc::ENOMEM).starts_with("cannot make the device \"ipsec0\": Cannot allocate memory"));
    }
}
