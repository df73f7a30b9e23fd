//! Captures of what passes an interface, made with tcpdump.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::net::{Ipv6Addr, SocketAddrV6, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::host::Host;
use super::process::Process;
use super::wait::{Deadline, until_changed};

const PATIENCE: Duration = Duration::from_secs(20);

/// What the last packet of a recording says, and to whom: a group on the link nobody has joined.
const LAST: &[u8] = b"end of the recording";
const NOBODY: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0xfe44, 0x5259);

/// A running tcpdump.
#[derive(Debug)]
pub(super) struct Capture {
    host: Rc<Host>,
    interface: String,
    path: PathBuf,
    messages: PathBuf,
    process: Process,
}

impl Capture {
    /// Records everything that passes `interface` of `host`, or what a filter lets, into a file in the host's directory;
    /// returns once tcpdump is listening.
    pub(super) fn start(host: &Rc<Host>, interface: &str, filter: &str) -> Result<Self> {
        let path = host.directory().join(format!("{interface}.pcap"));
        let messages = host.directory().join(format!("tcpdump-{interface}.log"));
        let mut command = Command::new("tcpdump");
        // A big buffer, so that a burst on a busy machine is not lost; root, so that the file may lie where we want.
        command.args([
            "--interface",
            interface,
            "--immediate-mode",
            "-n",
            "-U",
            "-B",
            "65536",
            "-s",
            "0",
            "-Z",
            "root",
            "-w",
        ]);
        command.arg(&path).arg(filter).stderr(File::create(&messages)?);
        let mut process = host.spawn(command)?;
        until_changed(host.directory(), Deadline::after(PATIENCE), "tcpdump to listen", || {
            ensure!(process.ended()?.is_none(), "tcpdump ended: {}", fs::read_to_string(&messages)?);
            Ok(fs::read_to_string(&messages)?.contains("listening on").then_some(()))
        })?;
        Ok(Self { host: Rc::clone(host), interface: interface.to_owned(), path, messages, process })
    }

    /// Ends the recording once all that has passed is in it, and gives the file.
    ///
    /// # Errors
    /// When the kernel dropped packets: a record with gaps proves nothing.
    pub(super) fn finish(mut self) -> Result<PathBuf> {
        self.send_last()?;
        until_changed(self.host.directory(), Deadline::after(PATIENCE), "the capture's last packet", || {
            Ok(ends_with(&self.path, LAST)?.then_some(()))
        })?;
        self.process.terminate(Deadline::after(PATIENCE))?;
        let messages = fs::read_to_string(&self.messages)?;
        let dropped = messages
            .lines()
            .find_map(|line| line.strip_suffix(" packets dropped by kernel")?.trim().parse::<u64>().ok())
            .with_context(|| format!("tcpdump did not report what it lost: {messages}"))?;
        ensure!(dropped == 0, "tcpdump lost {dropped} packets on {}", self.path.display());
        Ok(self.path)
    }

    /// tcpdump forgets what it has not read when it is asked to end, so it is asked once it has read this.
    fn send_last(&self) -> Result<()> {
        let index = Path::new("/sys/class/net").join(&self.interface).join("ifindex");
        self.host.run(move || {
            let index = fs::read_to_string(index)?.trim().parse()?;
            let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
            socket.send_to(LAST, SocketAddrV6::new(NOBODY, 9, 0, index))?;
            anyhow::Ok(())
        })
    }
}

/// Whether `words` stand within the last few packets of a file.
fn ends_with(path: &Path, words: &[u8]) -> Result<bool> {
    let mut file = File::open(path)?;
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(1 << 16)))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    Ok(end.windows(words.len()).any(|window| window == words))
}
