//! A virtual machine: the kernel of Debian 12, unpacked, with an archive from which it starts.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::package::{self, Release};

/// The package that depends on the kernel of today.
const NEWEST: &str = "linux-image-amd64";

const SUITE: &str = "bookworm";

/// All that the archive has of programs.
const BUSYBOX: &str = "busybox-static";

/// The archive's first process.
const INIT: &str = include_str!("initrd.sh");

/// Drivers of what the guest's root is lent by, each after what it takes.
const LENDING: [&str; 10] = [
    "drivers/virtio/virtio_pci_legacy_dev.ko",
    "drivers/virtio/virtio_pci_modern_dev.ko",
    "drivers/virtio/virtio.ko",
    "drivers/virtio/virtio_ring.ko",
    "drivers/virtio/virtio_pci.ko",
    "net/9p/9pnet.ko",
    "fs/netfs/netfs.ko",
    "fs/fscache/fscache.ko",
    "fs/9p/9p.ko",
    "net/9p/9pnet_virtio.ko",
];

/// Of all the drivers, those that a guest without hardware may want.
const DRIVERS: [&str; 2] = ["net", "virtio"];

/// Unpacks the kernel and makes the archive, unless they are there already. Gives the directory.
pub(super) fn provide(tell: impl Fn(&str)) -> Result<PathBuf> {
    package::provide(NEWEST, |directory| {
        let release = Release::fetch(SUITE, directory)?;
        let kernel = release.dependency(NEWEST)?;
        tell(&format!("unpacking {kernel}, a kernel for a virtual machine"));
        let tree = release.unpack(&kernel)?;
        let version = kernel.strip_prefix("linux-image-").unwrap_or(&kernel);
        fs::rename(tree.join("boot").join(format!("vmlinuz-{version}")), tree.join("vmlinuz"))?;
        let modules = tree.join("lib/modules").join(version).join("kernel");
        keep(&modules.join("drivers"), &DRIVERS)?;
        package::run(Command::new("depmod").arg("--basedir").arg(&tree).arg(version))?;
        let busybox = release.unpack(BUSYBOX)?.join("bin/busybox");
        archive(&tree.join("initrd"), &directory.join("initrd"), &busybox, &modules)?;
        // Where a root file system of today has them.
        fs::create_dir_all(tree.join("usr/lib"))?;
        fs::rename(tree.join("lib/modules"), tree.join("usr/lib/modules"))?;
        Ok(tree)
    })
}

/// Removes all directories of this one but some.
fn keep(directory: &Path, some: &[&str]) -> Result<()> {
    for entry in fs::read_dir(directory).context("the kernel comes without drivers")? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && !some.iter().any(|name| entry.file_name() == OsStr::new(name)) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Makes the archive: a tree first, which `busybox` then packs.
fn archive(file: &Path, tree: &Path, busybox: &Path, modules: &Path) -> Result<()> {
    for name in ["bin", "dev", "modules", "root"] {
        fs::create_dir_all(tree.join(name))?;
    }
    fs::copy(busybox, tree.join("bin/busybox"))?;
    let mut order = String::new();
    for path in LENDING {
        let name = path.rsplit('/').next().unwrap_or(path);
        let copied = fs::copy(modules.join(path), tree.join("modules").join(name));
        copied.with_context(|| format!("the kernel comes without {path}"))?;
        order += &format!("{name}\n");
    }
    fs::write(tree.join("modules/order"), order)?;
    fs::write(tree.join("init"), INIT)?;
    let mut shell = Command::new("sh");
    shell.args(["-euc", "cd \"$1\"; chmod 755 init; find . | \"$2\" cpio -o -H newc > \"$3\"", "sh"]);
    package::run(shell.args([tree, busybox, file]))?;
    ensure!(file.metadata()?.len() > 0, "busybox has packed nothing");
    Ok(())
}
