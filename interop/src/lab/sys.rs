//! What a host needs from the kernel beyond starting programs: its namespaces and its mounts.
//!
//! Namespaces belong to threads. Everything here acts on the calling thread only, and on the programs it starts.

#![expect(
    unsafe_code,
    reason = "mount namespaces, preparing a child, and TAP devices have no safe interface"
)]

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::fs::{Mode, OFlags};
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// Moves the calling thread into the network namespace that `ip netns add` made under `name`.
pub(super) fn enter_network_namespace(name: &str) -> io::Result<()> {
    let namespace = File::open(Path::new("/run/netns").join(name))?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
    Ok(())
}

/// Gives the calling thread mounts of its own: an empty `/run`, the `/sys` of its network namespace, and each pair's
/// first path in place of the second.
pub(super) fn enter_private_mounts<'a>(
    binds: impl IntoIterator<Item = (&'a Path, &'a Path)>,
) -> io::Result<()> {
    // SAFETY: only the mount namespace is unshared (and with it the working directory, which nothing here relies
    // on); the table of open files, whose unsharing is what makes the call unsafe, stays shared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
    // A slave hears of unmounts outside, so that no namespace is kept alive by a forgotten copy of its mount.
    rustix::mount::mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
    for (source, target) in binds {
        rustix::mount::mount_bind(source, target)?;
    }
    let strict = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("sysfs", "/sys", "sysfs", strict, None)?;
    rustix::mount::mount("tmpfs", "/run", "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, None)?;
    Ok(())
}

/// Makes the root file system at `root` fit for the calling thread's programs: what the thread sees in `shared` is seen
/// there at `place`.
pub(super) fn furnish(root: &Path, shared: &Path, place: &str) -> io::Result<()> {
    rustix::mount::mount_bind_recursive(shared, root.join(place.trim_start_matches('/')))?;
    Ok(())
}

/// Shows the directory `source` at `target` too.
pub(super) fn show(source: &Path, target: &Path) -> io::Result<()> {
    std::fs::create_dir_all(target)?;
    rustix::mount::mount_bind(source, target)?;
    Ok(())
}

/// Has `command`'s program found, and run, in the root file system at `root`.
pub(crate) fn enter_root(command: &mut Command, root: &Path) -> io::Result<()> {
    let root = CString::new(root.as_os_str().as_bytes())?;
    let before_exec = move || {
        rustix::process::chroot(root.as_c_str())?;
        Ok(rustix::process::chdir(c"/")?)
    };
    // SAFETY: the closure runs between fork and exec and makes two system calls; it neither allocates nor locks.
    unsafe {
        command.pre_exec(before_exec);
    }
    Ok(())
}

/// Hides `target` from the calling thread's programs behind an empty directory.
pub(super) fn hide_directory(target: &Path) -> io::Result<()> {
    rustix::mount::mount("tmpfs", target, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, None)?;
    Ok(())
}

/// Makes the TAP device `name` in the calling thread's network namespace. It is there as long as what is returned.
pub(super) fn open_tap(name: &str) -> io::Result<OwnedFd> {
    /// `struct ifreq` as far as TUNSETIFF reads it.
    #[repr(C)]
    struct Request {
        name: [u8; 16],
        flags: u16,
        rest: [u8; 22],
    }
    const IFF_TAP: u16 = 0x0002;
    const IFF_NO_PI: u16 = 0x1000;
    const TUNSETIFF: Opcode = opcode::write::<i32>(b'T', 202);
    if name.len() > 15 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut request = Request { name: [0; 16], flags: IFF_TAP | IFF_NO_PI, rest: [0; 22] };
    request.name.iter_mut().zip(name.bytes()).for_each(|(octet, letter)| *octet = letter);
    let device = rustix::fs::open("/dev/net/tun", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    // SAFETY: TUNSETIFF reads a `struct ifreq`, and writes one no longer than it is.
    unsafe { ioctl(&device, Updater::<TUNSETIFF, Request>::new(&mut request)) }?;
    Ok(device)
}

/// Prepares `command` for the lab. Its program is confined by none of AppArmor's profiles, which know the distribution's
/// paths and not ours; and if it is `scoped`, the kernel kills it when the thread that starts it ends, however that
/// comes about.
pub(super) fn prepare(command: &mut Command, scoped: bool) {
    let before_exec = move || {
        shed_profile();
        if scoped {
            set_parent_process_death_signal(Some(Signal::KILL))?;
        }
        Ok(())
    };
    // SAFETY: the closure runs between fork and exec and makes a few system calls; it neither allocates nor locks.
    unsafe {
        command.pre_exec(before_exec);
    }
}

/// Has the next exec run unconfined, as `aa-exec -p unconfined` does. Without AppArmor there is no such file and
/// nothing to shed.
fn shed_profile() {
    let attribute = c"/proc/self/attr/apparmor/exec";
    if let Ok(attribute) = rustix::fs::open(attribute, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()) {
        // If it is refused, the profile stays, and what it then forbids is in the kernel's log.
        let _refused = rustix::io::write(attribute, b"exec unconfined");
    }
}
