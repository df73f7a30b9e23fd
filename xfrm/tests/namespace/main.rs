//! The kernel's side of the story, in network namespaces of the tests' own.
//!
//! Each test runs on a thread in a fresh namespace, which goes with the thread, and is checked
//! through iproute2's `ip`: somebody else's reading of the kernel's state. Without root or `ip`
//! a test says `SKIPPED:` and why, past the test harness's capture.

#![expect(clippy::unwrap_used, reason = "a failing step fails the test, wherever it is")]

mod beneath;
mod policies;
mod sas;
mod support;
