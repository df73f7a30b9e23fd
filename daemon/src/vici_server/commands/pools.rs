//! `load-pool`, `unload-pool`, `get-pools`.

use ferry_vici::{Message, Section};

use super::{Arguments, required};
use crate::pools::{NewPool, PoolStatus};
use crate::store::Change;
use crate::vici_server::Control;

/// Loads each section as a pool. Those before one that is refused stay loaded.
pub(super) fn load<T>(arguments: &Arguments, control: &Control<T>) -> Result<(), String> {
    for (name, section) in arguments.strict()?.sections() {
        if let Err(error) = control.leases.load(name, section) {
            tracing::warn!(target: "cfg", "pool '{name}' is not loaded: {error}");
            return Err(error.to_string());
        }
        tracing::info!(target: "cfg", "added vici pool {name}");
    }
    Ok(())
}

/// Reads each section as a pool, and loads none.
pub(super) fn read(arguments: &Arguments) -> Result<Vec<Change>, String> {
    let read = |(name, section)| NewPool::read(name, section).map(Change::Pool);
    arguments.strict()?.sections().map(|pool| read(pool).map_err(|error| error.to_string())).collect()
}

pub(super) fn unload<T>(message: &Message, control: &Control<T>) -> Result<(), String> {
    let name = required(message, "name")?;
    control.leases.unload(name)?;
    tracing::info!(target: "cfg", "removed vici pool {name}");
    Ok(())
}

pub(super) fn list<T>(message: &Message, control: &Control<T>) -> Message {
    let with_leases = message.bool("leases").unwrap_or(false);
    render(&control.leases.list(message.str("name"), with_leases), with_leases)
}

fn render(pools: &[PoolStatus], with_leases: bool) -> Message {
    let mut reply = Message::new();
    for pool in pools {
        let mut section = Section::new()
            .with("base", &pool.base)
            .with("size", pool.size)
            .with("online", pool.online)
            .with("offline", pool.offline);
        if with_leases {
            let mut leases = Section::new();
            for (number, (address, identity, is_online)) in pool.leases.iter().enumerate() {
                let lease = Section::new()
                    .with("address", address.to_string())
                    .with("identity", identity)
                    .with("status", if *is_online { "online" } else { "offline" });
                leases.push_section(number.to_string(), lease);
            }
            section.push_section("leases", leases);
        }
        reply.push_section(&pool.name, section);
    }
    reply
}

#[cfg(test)]
mod tests {
    use ferry_vici::dump;

    use super::*;

    #[test]
    fn leases_are_listed_only_if_asked_for() {
        let pool = |leases| PoolStatus {
            name: "v4".to_owned(),
            base: "10.0.0.0".to_owned(),
            size: 6,
            online: 1,
            offline: 1,
            leases,
        };
        assert_eq!(
            dump::raw("get-pools reply", &render(&[pool(vec![])], false)),
            "get-pools reply {v4 {base=10.0.0.0 size=6 online=1 offline=1}}"
        );
        let leases = vec![
            ("10.0.0.1".parse().unwrap(), "alice".to_owned(), false),
            ("10.0.0.2".parse().unwrap(), "bob".to_owned(), true),
        ];
        assert_eq!(
            dump::raw("get-pools reply", &render(&[pool(leases)], true)),
            "get-pools reply {v4 {base=10.0.0.0 size=6 online=1 offline=1 leases {\
             0 {address=10.0.0.1 identity=alice status=offline} 1 {address=10.0.0.2 identity=bob status=online}}}}"
        );
        assert_eq!(
            dump::raw("get-pools reply", &render(&[pool(vec![])], true)),
            "get-pools reply {v4 {base=10.0.0.0 size=6 online=1 offline=1 leases {}}}"
        );
    }
}
