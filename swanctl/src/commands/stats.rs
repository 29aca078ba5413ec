//! `--stats`: how busy the daemon is.

use vici::Message;

use crate::command::{Command, Failure, Given};
use crate::dump;
use crate::fields::{joined, needed};
use crate::output::{Format, Output};
use crate::session::Session;

pub(crate) const COMMAND: Command = Command {
    name: "stats",
    short: 'S',
    description: "show daemon stats information",
    usage: &["[--raw|--pretty|--json]"],
    flags: &[],
    run,
};

fn run(session: &mut Session, _given: &Given) -> Result<(), Failure> {
    let answer = session.request("stats", &Message::new())?;
    if !session.dump("stats reply", &answer) {
        match session.out.format {
            Format::Json => session.out.line(dump::json(&answer)),
            _ => print(&mut session.out, &answer),
        }
    }
    Ok(())
}

fn print(out: &mut Output, stats: &Message) {
    let none = Message::new();
    let section = |path: &[&str]| path.iter().fold(stats, |message, name| message.section(name).unwrap_or(&none));
    let priorities = |message: &Message| {
        ["critical", "high", "medium", "low"].map(|priority| needed(message, priority).to_owned()).join("/")
    };
    let (uptime, workers, sas) = (section(&["uptime"]), section(&["workers"]), section(&["ikesas"]));
    out.line(format_args!("uptime: {}, since {}", needed(uptime, "running"), needed(uptime, "since")));
    out.line(format_args!(
        "worker threads: {} total, {} idle, working: {}",
        needed(workers, "total"),
        needed(workers, "idle"),
        priorities(section(&["workers", "active"]))
    ));
    out.line(format_args!("job queues: {}", priorities(section(&["queues"]))));
    out.line(format_args!("jobs scheduled: {}", needed(stats, "scheduled")));
    out.line(format_args!("IKE_SAs: {} total, {} half-open", needed(sas, "total"), needed(sas, "half-open")));
    if let Some(memory) = stats.section("mem") {
        out.line(format_args!(
            "memory usage: {} bytes, {} allocations",
            needed(memory, "total"),
            needed(memory, "allocs")
        ));
    }
    if let Some(heap) = stats.section("mallinfo") {
        let [sbrk, mmap, used, free] = ["sbrk", "mmap", "used", "free"].map(|key| needed(heap, key));
        out.line(format_args!("mallinfo: sbrk {sbrk}, mmap {mmap}, used {used}, free {free}"));
    }
    out.line(format_args!("loaded plugins: {}", joined(stats, "plugins")));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::capture;

    #[test]
    fn layout() {
        let levels =
            |a: u32| Message::new().with("critical", a).with("high", 0_u32).with("medium", 1_u32).with("low", 0_u32);
        let stats = Message::new()
            .with_section("uptime", Message::new().with("running", "3 seconds").with("since", "Nov 20 10:00:00 2026"))
            .with_section(
                "workers",
                Message::new().with("total", 16_u32).with("idle", 11_u32).with_section("active", levels(4)),
            )
            .with_section("queues", levels(0))
            .with("scheduled", 2_u32)
            .with_section("ikesas", Message::new().with("total", 5_u32).with("half-open", 1_u32))
            .with_list("plugins", ["charon", "vici"])
            .with_section(
                "mallinfo",
                Message::new().with("sbrk", 1_u32).with("mmap", 2_u32).with("used", 3_u32).with("free", 4_u32),
            );
        let (mut out, buffer) = capture::output(Format::Human);
        print(&mut out, &stats);
        assert_eq!(
            buffer.text(),
            "uptime: 3 seconds, since Nov 20 10:00:00 2026\n\
             worker threads: 16 total, 11 idle, working: 4/0/1/0\n\
             job queues: 0/0/1/0\n\
             jobs scheduled: 2\n\
             IKE_SAs: 5 total, 1 half-open\n\
             mallinfo: sbrk 1, mmap 2, used 3, free 4\n\
             loaded plugins: charon vici\n"
        );
    }
}
