//! User-mode Linux: Debian's package of the release in the making. Those of the releases before do not run on the
//! processors of today.

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, ensure};

use super::package::{self, Release};

const PACKAGE: &str = "user-mode-linux";

const SUITE: &str = "sid";

/// Unpacks the kernel and its modules unless they are there already, where a root file system has them. Gives the
/// directory.
pub(super) fn provide(tell: impl Fn(&str)) -> Result<PathBuf> {
    package::provide(PACKAGE, |directory| {
        tell(&format!("unpacking {PACKAGE}, a kernel with ESP"));
        let tree = Release::fetch(SUITE, directory)?.unpack(PACKAGE)?;
        ensure!(tree.join("usr/bin/linux.uml").exists(), "there is no usr/bin/linux.uml in {PACKAGE}");
        fs::rename(tree.join("usr/lib/uml/modules"), tree.join("usr/lib/modules"))?;
        Ok(tree)
    })
}
