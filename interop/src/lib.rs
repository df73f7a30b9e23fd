//! The lab: ferryd against real peers, and the commands that prove the project.
//!
//! [`lab`] builds hosts and cables from network namespaces, [`peer`] puts daemons on them, [`scenarios`] tells what must
//! come true there. [`kernel`] is a guest whose kernel has ESP. [`demo`] and [`verify`] are the commands `cargo demo` and
//! `cargo verify`.

pub mod cargo;
pub mod demo;
mod janitor;
pub mod kernel;
pub mod lab;
mod leftovers;
pub mod machine;
pub mod peer;
pub mod rootfs;
pub mod scenarios;
pub mod tunnels;
pub mod verify;
