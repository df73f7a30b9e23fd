//! What the daemon says about itself: statistics, counters, version.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use ferry_vici::{Element, Message};

use crate::ferryctl::control::conclude;
use crate::ferryctl::exit::REFUSED;
use crate::ferryctl::listing::{field, joined};
use crate::ferryctl::options::Counters;
use crate::ferryctl::output::print;
use crate::ferryctl::session::{Session, Status};

pub(crate) fn version() -> Result<ExitCode> {
    print(&format!("ferryctl {}\n", env!("CARGO_PKG_VERSION")))?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn daemon_version(session: &mut Session) -> Result<ExitCode> {
    session.show("version", &Message::new(), render_version)?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn stats(session: &mut Session) -> Result<ExitCode> {
    session.show("stats", &Message::new(), render_stats)?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn counters(session: &mut Session, options: &Counters) -> Result<ExitCode> {
    let arguments = Message::new().with_flag("all", options.all).with_some("name", options.name.as_deref());
    let command = if options.reset { "reset-counters" } else { "get-counters" };
    let reply = session.request(command, &arguments)?;
    if let Some(dumped) = session.format.dump("counters reply", &reply) {
        print(&dumped)?;
        return Ok(ExitCode::SUCCESS);
    }
    if options.reset {
        return conclude(session, command, &reply);
    }
    match Status::of(&reply) {
        Status::Success => {
            print(&render_counters(&reply))?;
            Ok(ExitCode::SUCCESS)
        }
        Status::Failed(reason) => {
            eprintln!("{command} failed: {reason}");
            Ok(ExitCode::from(REFUSED))
        }
    }
}

fn render_version(reply: &Message) -> String {
    let [daemon, version, sysname, release, machine] =
        ["daemon", "version", "sysname", "release", "machine"].map(|key| field(reply, key));
    format!("{daemon} {version} ({sysname}, {release}, {machine})\n")
}

fn render_stats(reply: &Message) -> String {
    let empty = Message::new();
    let section = |name: &str| reply.section(name).unwrap_or(&empty);
    let by_priority = |section: &Message| {
        ["critical", "high", "medium", "low"].map(|priority| field(section, priority)).join("/")
    };
    let (uptime, workers, ikesas) = (section("uptime"), section("workers"), section("ikesas"));
    let mut text = format!(
        "uptime: {}, since {}\nworker threads: {} total, {} idle, working: {}\njob queues: {}\n\
         jobs scheduled: {}\nIKE_SAs: {} total, {} half-open\n",
        field(uptime, "running"),
        field(uptime, "since"),
        field(workers, "total"),
        field(workers, "idle"),
        by_priority(workers.section("active").unwrap_or(&empty)),
        by_priority(section("queues")),
        field(reply, "scheduled"),
        field(ikesas, "total"),
        field(ikesas, "half-open"),
    );
    // Writing to a String cannot fail.
    if let Some(total) = section("mem").str("total") {
        let _ =
            writeln!(text, "memory usage: {total} bytes, {} allocations", field(section("mem"), "allocs"));
    }
    if let Some(sbrk) = section("mallinfo").str("sbrk") {
        let [mmap, used, free] = ["mmap", "used", "free"].map(|key| field(section("mallinfo"), key));
        let _ = writeln!(text, "mallinfo: sbrk {sbrk}, mmap {mmap}, used {used}, free {free}");
    }
    let _ = writeln!(text, "loaded plugins: {}", joined(reply, "plugins"));
    text
}

fn render_counters(reply: &Message) -> String {
    let mut text = String::new();
    let sets = reply.section("counters").into_iter().flat_map(Message::sections);
    for (connection, counters) in sets {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}:", if connection.is_empty() { "global" } else { connection });
        for counter in counters {
            if let Element::Value { name, value } = counter {
                let _ = writeln!(text, "  {name:<22}: {}", value.str().unwrap_or("?"));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ferryctl::listing::golden::check;

    #[test]
    fn statistics() {
        check(render_stats, include_str!("golden/stats.message"), include_str!("golden/stats.text"));
        let without_optional = render_stats(&Message::new().with_list("plugins", ["only"]));
        assert!(without_optional.ends_with("half-open\nloaded plugins: only\n"), "{without_optional}");
    }

    #[test]
    fn counts() {
        let global = Message::new().with("invalid", 0).with("info-out-resp", 15);
        let counters =
            Message::new().with_section("", global).with_section("road", Message::new().with("invalid", 2));
        let reply = Message::new().with_section("counters", counters).with("success", "yes");
        assert_eq!(
            render_counters(&reply),
            "global:\n  invalid               : 0\n  info-out-resp         : 15\nroad:\n  invalid               : 2\n"
        );
    }

    #[test]
    fn versions() {
        let reply = Message::new()
            .with("daemon", "ferryd")
            .with("version", "1.2.3")
            .with("sysname", "Linux")
            .with("release", "6.1")
            .with("machine", "x86_64");
        assert_eq!(render_version(&reply), "ferryd 1.2.3 (Linux, 6.1, x86_64)\n");
    }
}
