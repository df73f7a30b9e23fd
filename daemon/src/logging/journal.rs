//! systemd's journal, by its native protocol: one datagram per entry, `NAME=value` lines in it.

use std::fmt::Write as _;
use std::io;
use std::os::unix::net::UnixDatagram;

use super::Levels;
use super::line::{Level, Line};

const SOCKET: &str = "/run/systemd/journal/socket";

/// Marks our entries, so that `journalctl MESSAGE_ID=...` finds them: a random UUID.
const MESSAGE_ID: &str = "6f0f5d1c8b7e4a1f9b1d3a0c5e72f4d9";

/// The journal, and what goes there.
pub(super) struct Journal {
    socket: UnixDatagram,
    levels: Levels,
}

impl Journal {
    /// Connects to the journal.
    pub(super) fn open(levels: Levels) -> io::Result<Self> {
        Self::at(SOCKET, levels)
    }

    fn at(path: &str, levels: Levels) -> io::Result<Self> {
        let open = || {
            let socket = UnixDatagram::unbound()?;
            socket.connect(path)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let socket = open().map_err(|error: io::Error| {
            io::Error::new(error.kind(), format!("cannot log to the journal at {path}: {error}"))
        })?;
        Ok(Self { socket, levels })
    }

    pub(super) fn levels(&self) -> &Levels {
        &self.levels
    }

    /// Sends an entry. A journal that is busy or gone loses it: logging never waits.
    pub(super) fn write(&self, line: &Line) {
        let _ = self.socket.send(entry(line).as_slice());
    }
}

fn entry(line: &Line) -> Vec<u8> {
    let mut fields = String::new();
    // Writing into a String cannot fail, here and below.
    let _ = write!(
        fields,
        "MESSAGE_ID={MESSAGE_ID}\nSYSLOG_IDENTIFIER=ferryd\nPRIORITY={}\nGROUP={}\nLEVEL={}\nTHREAD={}\n",
        priority(line.level),
        line.group.name(),
        line.level.number(),
        line.thread,
    );
    if let Some(id) = line.ike_sa {
        let _ = writeln!(fields, "IKE_SA_UNIQUE_ID={id}");
    }
    let mut octets = fields.into_bytes();
    if let Some(name) = line.connection_name() {
        text_field(&mut octets, "IKE_SA_NAME", name);
    }
    text_field(&mut octets, "MESSAGE", &line.text);
    octets
}

/// A field whose value may have line breaks: its length goes before it then.
fn text_field(octets: &mut Vec<u8>, name: &str, value: &str) {
    octets.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        octets.push(b'\n');
        octets.extend_from_slice(&u64::try_from(value.len()).unwrap_or(u64::MAX).to_le_bytes());
    } else {
        octets.push(b'=');
    }
    octets.extend_from_slice(value.as_bytes());
    octets.push(b'\n');
}

/// syslog's number: notice, informational or debug.
fn priority(level: Level) -> u8 {
    match level {
        Level::AUDIT => 5,
        Level::CONTROL => 6,
        _more_detail => 7,
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::logging::Group;

    #[test]
    fn an_entry_has_the_fields_that_charons_have() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let server = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::at(path.to_str().unwrap(), Levels::default()).unwrap();
        journal.write(&Line {
            time: SystemTime::UNIX_EPOCH,
            group: Group::Chd,
            level: Level::AUDIT,
            thread: 3,
            connection: Some("gw".to_owned()),
            ike_sa: Some(9),
            text: "one\ntwo".to_owned(),
        });
        let mut octets = [0; 1024];
        let length = server.recv(&mut octets).unwrap();
        let expected = format!(
            "MESSAGE_ID={MESSAGE_ID}\nSYSLOG_IDENTIFIER=ferryd\nPRIORITY=5\nGROUP=CHD\nLEVEL=0\nTHREAD=3\n\
             IKE_SA_UNIQUE_ID=9\nIKE_SA_NAME=gw\nMESSAGE\n\x07\0\0\0\0\0\0\0one\ntwo\n"
        );
        assert_eq!(String::from_utf8_lossy(&octets[..length]), expected);
    }

    #[test]
    fn a_journal_that_is_not_there_is_named() {
        let error = Journal::at("/no/such/socket", Levels::default()).map(drop).unwrap_err();
        assert!(error.to_string().starts_with("cannot log to the journal at /no/such/socket: "), "{error}");
    }
}
