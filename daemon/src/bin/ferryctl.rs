//! The command line that drives the daemon.

use std::process::ExitCode;

fn main() -> ExitCode {
    ferry_daemon::ferryctl()
}
