//! `version`, `stats` and the counters.

use std::time::Duration;

use ferry_ike::status::{Counters, IkeSaState};
use ferry_vici::{Message, Section};

use super::{failure, success};
use crate::control::Tunnels;
use crate::system::local_time;
use crate::vici_server::Control;
use crate::vici_server::render::counters;

/// Who we are, and on what we run.
pub(super) fn version() -> Message {
    let system = rustix::system::uname();
    Message::new()
        .with("daemon", "ferryd")
        .with("version", env!("CARGO_PKG_VERSION"))
        .with("sysname", system.sysname().to_string_lossy().as_ref())
        .with("release", system.release().to_string_lossy().as_ref())
        .with("machine", system.machine().to_string_lossy().as_ref())
}

/// How the daemon does. Threads and tasks of the runtime stand for charon's workers and jobs; they have no
/// priorities, so all count as medium.
pub(super) async fn stats<T: Tunnels>(control: &Control<T>) -> Message {
    let runtime = tokio::runtime::Handle::current().metrics();
    let (total, tasks, waiting) =
        (runtime.num_workers(), runtime.num_alive_tasks(), runtime.global_queue_depth());
    let active = 1; // the one that answers this
    let ike_sas = control.tunnels.list().await;
    let half_open = ike_sas.iter().filter(|ike_sa| ike_sa.state == IkeSaState::Connecting).count();
    let priorities = |medium: usize| {
        Section::new().with("critical", 0_u8).with("high", 0_u8).with("medium", medium).with("low", 0_u8)
    };
    let uptime = Section::new()
        .with("running", relative(control.started.at.elapsed()))
        .with("since", local_time(control.started.on_the_wall, c"%b %d %H:%M:%S %Y"));
    let workers = Section::new()
        .with("total", total)
        .with("idle", total.saturating_sub(active))
        .with_section("active", priorities(active));
    Message::new()
        .with_section("uptime", uptime)
        .with_section("workers", workers)
        .with_section("queues", priorities(waiting))
        .with("scheduled", tasks)
        .with_section("ikesas", Section::new().with("total", ike_sas.len()).with("half-open", half_open))
        .with_list(
            "plugins",
            ["ferry-ike", "ferry-vici", &format!("dataplane:{}", control.tunnels.describe())],
        )
}

/// A time as charon tells it: in the largest unit of which there are more than two.
fn relative(time: Duration) -> String {
    let seconds = time.as_secs();
    let (number, unit) = match seconds {
        0..=120 => (seconds, "second"),
        121..=7200 => (seconds / 60, "minute"),
        7201..=172_800 => (seconds / 3600, "hour"),
        _longer => (seconds / 86_400, "day"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

/// The counters of all IKE_SAs. They are not kept for each connection: `all` lists none, and a name finds
/// none.
pub(super) async fn get_counters<T: Tunnels>(message: &Message, control: &Control<T>) -> Message {
    if message.bool("all").unwrap_or(false) {
        return Message::new().with_section("counters", Section::new()).with("success", "yes");
    }
    if let Some(name) = message.str("name") {
        let mut reply = Message::new().with_section("counters", Section::new());
        reply.extend(failure(format!("there are no counters for connection '{name}'")).iter().cloned());
        return reply;
    }
    let before = *control.counted_before.lock().await;
    let counters = counters::render(&control.tunnels.counters().await, &before);
    Message::new().with_section("counters", Section::new().with_section("", counters)).with("success", "yes")
}

/// Counts from zero again, unless it is about one connection, of which there are no counters.
pub(super) async fn reset_counters<T: Tunnels>(message: &Message, control: &Control<T>) -> Message {
    if !message.bool("all").unwrap_or(false) && message.str("name").is_none() {
        let now: Counters = control.tunnels.counters().await;
        *control.counted_before.lock().await = now;
    }
    success()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_the_unit_that_fits() {
        let cases = [
            (0, "0 seconds"),
            (1, "1 second"),
            (120, "120 seconds"),
            (121, "2 minutes"),
            (7200, "120 minutes"),
            (7201, "2 hours"),
            (172_801, "2 days"),
        ];
        for (seconds, text) in cases {
            assert_eq!(relative(Duration::from_secs(seconds)), text);
        }
    }
}
