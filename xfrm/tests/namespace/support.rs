//! A namespace for each test, and iproute2's word on what is in it.

use std::io::Write;
use std::net::IpAddr;
use std::process::Command;

use ferry_xfrm::{Links, Prefix};
use rustix::thread::UnshareFlags;

/// Runs a test on a thread of its own in a fresh network namespace, or says why not.
pub(crate) fn in_namespace<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    if !rustix::process::geteuid().is_root() {
        return skipped("needs root");
    }
    if Command::new("ip").arg("-V").output().is_err() {
        return skipped("needs the ip command (package iproute2)");
    }
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    let thread = std::thread::Builder::new().name(name).spawn(|| {
        // SAFETY: no file descriptor table is unshared; the namespace is this thread's alone.
        #[expect(unsafe_code, reason = "rustix calls every unshare unsafe for the sake of FILES")]
        let unshared = unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) };
        if let Err(error) = unshared {
            return skipped(&format!("needs network namespaces: {error}"));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test());
    });
    if let Err(panic) = thread.unwrap().join() {
        std::panic::resume_unwind(panic);
    }
}

/// Says that the test did not run. Not `eprintln!`, which the harness keeps to itself.
pub(crate) fn skipped(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // In one piece and on a line of its own, whatever the harness has begun to print.
    let line = format!("\nSKIPPED: {test}: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// Two interfaces that are connected to each other, up and without addresses.
pub(crate) fn veth() {
    ip("link add v0 type veth peer name v1");
    ip("link set v0 up");
    ip("link set v1 up");
}

/// Runs `ip` in the thread's namespace; what it prints, with single spaces.
#[track_caller]
pub(crate) fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() || errors.contains("FIB table does not exist"),
        "ip {arguments}: {errors}"
    );
    let lines: Vec<String> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    lines.join("\n")
}

pub(crate) async fn index(name: &str) -> u32 {
    Links::open().await.unwrap().by_name(name).await.unwrap().index
}

pub(crate) fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

pub(crate) fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}
