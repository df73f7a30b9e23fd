//! `list-policy`: a trap or shunt as it is installed.

use ferry_ike::config::Processing;
use ferry_vici::{Message, Section};

use super::conns::processing;
use crate::store::InstalledPolicy;

/// The event for one policy. A trap has the selectors that packets are held against, a shunt those of its
/// configuration, as charon shows them.
pub(in crate::vici_server) fn list_policy(installed: &InstalledPolicy) -> Message {
    let InstalledPolicy { policy, connection, child, .. } = installed;
    let (local, remote): (Vec<String>, Vec<String>) = match child.processing {
        Processing::Protect(_) => (
            policy.local_ts.iter().map(ToString::to_string).collect(),
            policy.remote_ts.iter().map(ToString::to_string).collect(),
        ),
        Processing::Pass | Processing::Drop => (
            child.local_ts.iter().map(ToString::to_string).collect(),
            child.remote_ts.iter().map(ToString::to_string).collect(),
        ),
    };
    let section = Section::new()
        .with("child", &child.name)
        .with("ike", connection.name())
        .with("mode", processing(child.processing))
        .with_list("local-ts", local)
        .with_list("remote-ts", remote);
    Message::new().with_section(format!("{}/{}", connection.name(), child.name), section)
}
