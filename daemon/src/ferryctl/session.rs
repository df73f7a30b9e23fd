//! The connection to the daemon, and what the replies of all commands have in common.

use std::path::Path;

use anyhow::Result;
use ferry_vici::client::{Connection, DEFAULT_URI};
use ferry_vici::{Client, Message, Settings};

use crate::ferryctl::options::Shared;
use crate::ferryctl::output::{Format, print};

/// A daemon that listens to us.
pub(crate) struct Session {
    client: Client<Connection>,
    pub(crate) format: Format,
    debug: i8,
}

/// Whether a request did what it should.
pub(crate) enum Status {
    Success,
    /// The daemon's reason.
    Failed(String),
}

impl Session {
    /// Connects to the endpoint that was named on the command line, or else in strongswan.conf, or else charon's.
    pub(crate) fn open(shared: &Shared) -> Result<Self> {
        let uri = shared.uri.clone().unwrap_or_else(configured_uri);
        if shared.debug >= 2 {
            eprintln!("connecting to {uri}");
        }
        Ok(Self { client: Client::connect(&uri)?, format: shared.format, debug: shared.debug })
    }

    pub(crate) fn request(&mut self, command: &str, arguments: &Message) -> Result<Message> {
        self.note(command);
        Ok(self.client.request(command, arguments)?)
    }

    /// Requests a command and shows its reply: dumped, or by `render`.
    pub(crate) fn show(
        &mut self,
        command: &str,
        arguments: &Message,
        render: impl Fn(&Message) -> String,
    ) -> Result<Message> {
        let reply = self.request(command, arguments)?;
        let dumped = self.format.dump(&format!("{command} reply"), &reply);
        print(&dumped.unwrap_or_else(|| render(&reply)))?;
        Ok(reply)
    }

    /// Requests a command that streams events, and shows each as it comes: dumped under `label`, or by `render`.
    pub(crate) fn stream(
        &mut self,
        (command, event, label): (&str, &str, &str),
        arguments: &Message,
        render: impl Fn(&Message) -> String,
    ) -> Result<Message> {
        self.note(command);
        let format = self.format;
        let mut printed = Ok(());
        let reply = self.client.stream(command, event, arguments, |message| {
            if printed.is_ok() {
                printed = print(&format.dump(label, message).unwrap_or_else(|| render(message)));
            }
        })?;
        printed?;
        if let Some(dumped) = format.dump(&format!("{command} reply"), &reply) {
            print(&dumped)?;
        }
        Ok(reply)
    }

    /// Registers for events and shows them as they come, until the connection ends or `print` fails.
    pub(crate) fn follow(
        &mut self,
        events: &[&str],
        label: impl Fn(&str) -> String,
        render: impl Fn(&Message) -> String,
    ) -> Result<()> {
        for event in events {
            self.note(event);
            self.client.register(event)?;
        }
        loop {
            let (event, message) = self.client.next_event()?;
            print(&self.format.dump(&label(&event), &message).unwrap_or_else(|| render(&message)))?;
        }
    }

    fn note(&self, command: &str) {
        if self.debug >= 2 {
            eprintln!("requesting {command}");
        }
    }
}

impl Status {
    /// Reads `success` and `errmsg` of a reply.
    pub(crate) fn of(reply: &Message) -> Self {
        match reply.bool("success") {
            Some(true) => Self::Success,
            Some(false) | None => {
                Self::Failed(reply.str("errmsg").unwrap_or("the daemon gives no reason").to_owned())
            }
        }
    }
}

/// The endpoint of the settings that daemon and tools share.
fn configured_uri() -> String {
    let path = std::env::var_os("STRONGSWAN_CONF").unwrap_or_else(|| "/etc/strongswan.conf".into());
    if !Path::new(&path).exists() {
        return DEFAULT_URI.into();
    }
    let settings = match Settings::read(&path) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("ferryctl: trying {DEFAULT_URI}, since the settings cannot be used: {error}");
            return DEFAULT_URI.into();
        }
    };
    let uri = ["swanctl.socket", "swanctl.plugins.vici.socket"].iter().find_map(|path| settings.get(path));
    uri.unwrap_or(DEFAULT_URI).to_owned()
}

/// A session with a daemon in this process.
#[cfg(test)]
pub(crate) mod fake {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;
    use std::thread::{self, JoinHandle};

    use ferry_vici::{Frames, Packet};

    use super::*;

    /// Answers every request with what `answer` makes of it. When the session is dropped, the thread ends and returns
    /// all requests.
    pub(crate) fn session(
        answer: impl Fn(&str, &Message) -> Message + Send + 'static,
    ) -> (Session, JoinHandle<Vec<(String, Message)>>) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let daemon = thread::spawn(move || {
            let (mut frames, mut requests) = (Frames::new(), Vec::new());
            let mut buffer = [0; 4096];
            loop {
                let length = theirs.read(&mut buffer).unwrap();
                if length == 0 {
                    return requests;
                }
                frames.feed(&buffer[..length]);
                while let Some(frame) = frames.take().unwrap() {
                    let Ok(Packet::CommandRequest { name, body }) = Packet::decode(&frame) else { panic!() };
                    let arguments = Message::decode(body).unwrap();
                    let reply = answer(name, &arguments).encode().unwrap();
                    let packet = Packet::CommandResponse { body: &reply };
                    theirs.write_all(&packet.encode().unwrap()).unwrap();
                    requests.push((name.to_owned(), arguments));
                }
            }
        });
        let client = Client::new(Connection::Unix(ours));
        (Session { client, format: Format::Human, debug: 1 }, daemon)
    }
}
