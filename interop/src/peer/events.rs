//! Events a daemon sends over VICI, waited for.

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, Result, bail};
use ferry_vici::{Client, ClientError, Message};

use crate::lab::Deadline;

/// A subscription to one kind of event.
pub struct Events {
    client: Client<UnixStream>,
    /// The client's own stream again, whose patience can be set.
    stream: UnixStream,
    kind: String,
}

impl Events {
    /// Subscribes to `kind` at the daemon behind `socket`; what happens from now on is not missed.
    pub(super) fn subscribe(socket: &Path, kind: &str) -> Result<Self> {
        let stream = UnixStream::connect(socket)?;
        let mut client = Client::new(stream.try_clone()?);
        client.register(kind)?;
        Ok(Self { client, stream, kind: kind.to_owned() })
    }

    /// Waits for an event that `accept` wants.
    pub fn wait_for(&mut self, deadline: Deadline, accept: impl Fn(&Message) -> bool) -> Result<Message> {
        loop {
            let Some(left) = deadline.remaining() else {
                bail!("waited in vain for the event {}", self.kind)
            };
            self.stream.set_read_timeout(Some(left))?;
            match self.client.next_event() {
                Ok((_, event)) if accept(&event) => return Ok(event),
                Ok(_) => {}
                // The deadline has passed, which is seen above.
                Err(ClientError::Io(error)) if is_timeout(error.kind()) => {}
                Err(error) => return Err(error).context("no more events"),
            }
        }
    }

    /// Waits until the IKE SA of a connection is gone (`ike-updown`).
    pub fn wait_for_down(&mut self, connection: &str, deadline: Deadline) -> Result<()> {
        let is_down = |event: &Message| event.str("up").is_none() && event.section(connection).is_some();
        self.wait_for(deadline, is_down).map(drop)
    }
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
