//! What a ferryd that was killed has left in the kernel: policies by their numbers, and SAs that these policies ask for.
//!
//! Nobody has the keys or the state of the IKE SAs any more, so it is removed, before the SAs that are to come have the same
//! reqids. What others have installed stays.

use ferry_xfrm::{Error, IpsecProtocol, Meaning, Mode, PolicyEntry, Sa, Sad, Spd};
use tracing::info;

use super::policies::is_ours;

/// Removes it. Nobody else of us is there: there is one who has the ports.
pub(super) async fn remove(sad: &Sad, spd: &Spd) -> Result<(), Error> {
    let mut policies = spd.entries().await?;
    policies.retain(is_ours);
    if policies.is_empty() {
        return Ok(());
    }
    let mut sas = 0;
    for entry in sad.entries().await? {
        if policies.iter().any(|policy| asks_for(policy, &entry.sa)) {
            found(sad.remove(&entry.sa.id).await)?;
            sas += 1;
        }
    }
    // At last, so that nothing of what they protect leaves in the meantime.
    for entry in &policies {
        found(spd.remove(&entry.policy.id).await)?;
    }
    info!(
        target: "knl",
        "removed {} policies and {sas} SAs that an earlier ferryd has left in the kernel",
        policies.len()
    );
    Ok(())
}

/// Whether packets of a policy go, or came, through an SA.
fn asks_for(entry: &PolicyEntry, sa: &Sa) -> bool {
    let selector = entry.policy.id.selector;
    entry.policy.templates.iter().any(|template| {
        let is_between = match template.mode {
            Mode::TRANSPORT => {
                selector.source().contains(sa.source) && selector.destination().contains(sa.id.destination)
            }
            _ => (template.source(), template.destination()) == (sa.source, sa.id.destination),
        };
        is_between
            && (sa.reqid, sa.mode, sa.id.protocol) == (template.reqid, template.mode, IpsecProtocol::ESP)
    })
}

/// What went by itself meanwhile is no error.
fn found(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error) if error.meaning() == Some(Meaning::NotThere) => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use ferry_xfrm::{Policy, PolicyDirection, PolicyId, Selector, Template};

    use super::*;

    #[test]
    fn sas_of_policies_are_told_from_others() {
        let [local, remote] = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse().unwrap());
        let selector = Selector::new("10.1.0.0/16".parse().unwrap(), "10.2.0.0/16".parse().unwrap()).unwrap();
        let template = Template::new(local, remote, Mode::TUNNEL, 7).unwrap();
        let policy = Policy::protect(PolicyId::new(selector, PolicyDirection::Out), 1, template);
        let entry = PolicyEntry { policy, index: 0, usage: ferry_xfrm::sa::Usage::default() };
        let sa = |from, to, reqid| Sa { reqid, ..Sa::new(from, to, IpsecProtocol::ESP, 0x101, Mode::TUNNEL) };
        assert!(asks_for(&entry, &sa(local, remote, 7)));
        assert!(!asks_for(&entry, &sa(local, remote, 8)) && !asks_for(&entry, &sa(remote, local, 7)));
        let hosts = Selector::new("192.0.2.1/32".parse().unwrap(), "192.0.2.2/32".parse().unwrap()).unwrap();
        let any = "0.0.0.0".parse().unwrap();
        let template = Template::new(any, any, Mode::TRANSPORT, 7).unwrap();
        let policy = Policy::protect(PolicyId::new(hosts, PolicyDirection::Out), 1, template);
        let entry = PolicyEntry { policy, ..entry };
        let transport = |from, to| Sa { mode: Mode::TRANSPORT, ..sa(from, to, 7) };
        assert!(asks_for(&entry, &transport(local, remote)) && !asks_for(&entry, &transport(remote, local)));
    }
}
