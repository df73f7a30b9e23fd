//! The IKEv2 daemon.

use std::process::ExitCode;

fn main() -> ExitCode {
    ferry_daemon::ferryd()
}
