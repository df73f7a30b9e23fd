//! `initiate`, `terminate`, `rekey`, `install`, `uninstall`.

use std::time::Duration;

use ferry_ike::output::{ChildSaId, IkeSaId};
use ferry_ike::status::IkeSaStatus;
use ferry_vici::Message;

use super::{errmsg, failure, required, success};
use crate::control::Tunnels;
use crate::logging::{Feed, Filter, Level};
use crate::vici_server::Control;
use crate::vici_server::client::Client;
use crate::vici_server::events::EventName;
use crate::vici_server::render::log;

/// How long a command waits for its end.
#[derive(Clone, Copy)]
enum Patience {
    /// As long as it takes.
    Endless,
    /// No longer than this; what was begun goes on.
    Until(Duration),
    /// Not at all.
    None,
}

impl Patience {
    fn of(message: &Message) -> Self {
        match message.int("timeout").unwrap_or(0) {
            0 => Self::Endless,
            milliseconds => {
                u64::try_from(milliseconds).map_or(Self::None, |ms| Self::Until(Duration::from_millis(ms)))
            }
        }
    }

    /// Begins work, and waits for it as long as there is patience. It goes on when there is none left.
    async fn wait(
        self,
        work: impl Future<Output = Result<(), String>> + Send + 'static,
    ) -> Result<(), String> {
        let working = tokio::spawn(work);
        let waiting = async { working.await.unwrap_or_else(|_| Err("the daemon is going down".to_owned())) };
        match self {
            Self::None => Ok(()),
            Self::Endless => waiting.await,
            Self::Until(time) => tokio::time::timeout(time, waiting).await.unwrap_or_else(|_| {
                Err(format!("not done within {} ms; it goes on without waiting", time.as_millis()))
            }),
        }
    }
}

/// Makes an IKE_SA, a CHILD_SA, or both.
pub(super) async fn initiate<T: Tunnels>(
    message: &Message,
    client: &Client,
    control: &Control<T>,
) -> Message {
    let found = control.store.find(message.str("ike"), message.str("child")).await;
    let (connection, child) = match found {
        Ok(found) => found,
        Err(error) => return failure(error),
    };
    if message.bool("init-limits").unwrap_or(false)
        && let Some(error) = over_limit(control).await
    {
        return failure(error);
    }
    let patience = Patience::of(message);
    let store = control.store.clone();
    let filter = Filter::Connection(connection.name().to_owned());
    let work = patience.wait(async move { store.initiate(&connection, child).await });
    let result = with_log(work, patience, filter, message, client, control).await;
    result.map_or_else(|error| failure(format!("establishing failed: {error}")), |()| success())
}

/// Why no more IKE_SAs may be made now, if so.
async fn over_limit<T: Tunnels>(control: &Control<T>) -> Option<String> {
    let limit = control.reload.half_open_limit()?;
    let half_open = control.tunnels.list().await.iter().filter(|ike_sa| ike_sa.established.is_none()).count();
    (half_open >= limit)
        .then(|| format!("{half_open} IKE_SAs are half open, and init_limit_half_open is {limit}"))
}

/// Something to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    IkeSa(IkeSaId),
    ChildSa(ChildSaId, IkeSaId),
}

/// Ends what is selected, one after the other, each with all the time that is given.
pub(super) async fn terminate<T: Tunnels>(
    message: &Message,
    client: &Client,
    control: &Control<T>,
) -> Message {
    let Some(selection) = Selection::of(message) else {
        return failure("none of child, ike, child-id and ike-id says what to terminate");
    };
    let (force, patience) = (message.bool("force").unwrap_or(false), Patience::of(message));
    let targets = selection.targets(&control.tunnels.list().await);
    let (mut terminated, mut error) = (0_usize, None);
    for target in &targets {
        let (Target::IkeSa(ike_sa) | Target::ChildSa(_, ike_sa)) = *target;
        let work = end(control.tunnels.clone(), *target, force, patience);
        match with_log(work, patience, Filter::IkeSa(ike_sa.0), message, client, control).await {
            Ok(()) => terminated += 1,
            Err(why) => error = Some(format!("terminating failed: {why}")),
        }
    }
    if targets.is_empty() {
        error = Some("no matching SAs to terminate found".to_owned());
    }
    Message::new()
        .with("success", if error.is_none() { "yes" } else { "no" })
        .with("matches", targets.len())
        .with("terminated", terminated)
        .with_some("errmsg", error.map(|error| errmsg(&error)))
}

async fn end<T: Tunnels>(tunnels: T, target: Target, force: bool, patience: Patience) -> Result<(), String> {
    let ordinarily = {
        let tunnels = tunnels.clone();
        // With time given, the peer gets it to answer before force is used.
        let at_once = force && !matches!(patience, Patience::Until(_));
        patience.wait(async move {
            match target {
                Target::ChildSa(id, _) => tunnels.terminate_child(id).await,
                Target::IkeSa(id) => tunnels.terminate_ike(id, at_once).await,
            }
        })
    };
    match (ordinarily.await, target) {
        (Err(_too_long), Target::IkeSa(id)) if force => tunnels.terminate_ike(id, true).await,
        (result, _) => result,
    }
}

/// Which SAs are meant.
struct Selection<'a> {
    ike: Option<&'a str>,
    ike_id: Option<i64>,
    child: Option<&'a str>,
    child_id: Option<i64>,
}

impl<'a> Selection<'a> {
    fn of(message: &'a Message) -> Option<Self> {
        // Numbers count from one; zero selects nothing.
        let id = |key| message.int(key).filter(|id| *id != 0);
        let selection = Self {
            ike: message.str("ike"),
            ike_id: id("ike-id"),
            child: message.str("child"),
            child_id: id("child-id"),
        };
        let is_empty = selection.ike.is_none()
            && selection.ike_id.is_none()
            && selection.child.is_none()
            && selection.child_id.is_none();
        (!is_empty).then_some(selection)
    }

    /// With a child's name or number these are CHILD_SAs that fit all that is given; otherwise IKE_SAs that
    /// fit the name or the number.
    fn targets(&self, ike_sas: &[IkeSaStatus]) -> Vec<Target> {
        let is_id = |wanted: i64, id: u64| u64::try_from(wanted) == Ok(id);
        let mut targets = Vec::new();
        for ike_sa in ike_sas {
            let by_name = self.ike.map(|name| ike_sa.connection.as_deref() == Some(name));
            let by_id = self.ike_id.map(|id| is_id(id, ike_sa.id.0));
            if self.child.is_none() && self.child_id.is_none() {
                if by_name == Some(true) || by_id == Some(true) {
                    targets.push(Target::IkeSa(ike_sa.id));
                }
                continue;
            }
            if by_name == Some(false) || by_id == Some(false) {
                continue;
            }
            let fitting = ike_sa.children.iter().filter(|child| {
                self.child.is_none_or(|name| name == child.name)
                    && self.child_id.is_none_or(|id| is_id(id, child.id.0))
            });
            targets.extend(fitting.map(|child| Target::ChildSa(child.id, ike_sa.id)));
        }
        targets
    }
}

/// Waits for work, and meanwhile sends the client what is logged about it, if it wants that.
async fn with_log<T: Tunnels>(
    work: impl Future<Output = Result<(), String>>,
    patience: Patience,
    filter: Filter,
    message: &Message,
    client: &Client,
    control: &Control<T>,
) -> Result<(), String> {
    if matches!(patience, Patience::None) || !client.wants(EventName::ControlLog) {
        return work.await;
    }
    let level = message.int("loglevel").map_or(Level::CONTROL, Level::nearest);
    let mut feed = control.logger.feed(filter, level);
    let mut work = std::pin::pin!(work);
    let result = loop {
        tokio::select! {
            biased;
            Some(line) = feed.next() => client.emit(EventName::ControlLog, &log::control(&line)).await,
            result = &mut work => break result,
        }
    };
    drain(&mut feed, client).await;
    result
}

/// What was logged before the work was done, and has not been sent.
async fn drain(feed: &mut Feed, client: &Client) {
    while let Some(line) = feed.take() {
        client.emit(EventName::ControlLog, &log::control(&line)).await;
    }
    match feed.lost() {
        0 => {}
        lost => {
            tracing::warn!(target: "cfg", "{lost} log lines were not sent to a VICI client that reads too slowly")
        }
    }
}

/// Begins to rekey what is selected. How it ends is told by events and by the log.
pub(super) async fn rekey<T: Tunnels>(message: &Message, control: &Control<T>) -> Message {
    let Some(selection) = Selection::of(message) else {
        return failure("none of child, ike, child-id and ike-id says what to rekey");
    };
    let reauthenticate = message.bool("reauth").unwrap_or(false);
    let targets = selection.targets(&control.tunnels.list().await);
    for target in &targets {
        let (tunnels, target) = (control.tunnels.clone(), *target);
        tokio::spawn(async move {
            let result = match target {
                Target::IkeSa(id) if reauthenticate => tunnels.reauthenticate_ike(id).await,
                Target::IkeSa(id) => tunnels.rekey_ike(id).await,
                Target::ChildSa(id, _) => tunnels.rekey_child(id).await,
            };
            if let Err(why) = result {
                tracing::warn!(target: "cfg", "rekeying failed: {why}");
            }
        });
    }
    let error = targets.is_empty().then(|| errmsg("no matching SAs to rekey found"));
    Message::new()
        .with("success", if error.is_none() { "yes" } else { "no" })
        .with("matches", targets.len())
        .with_some("errmsg", error)
}

/// Installs the trap or shunt of a child.
pub(super) async fn install<T: Tunnels>(message: &Message, control: &Control<T>) -> Result<(), String> {
    let child = required(message, "child")?;
    let (connection, child) = control.store.find(message.str("ike"), Some(child)).await?;
    let child = child.ok_or("the child is gone")?;
    let result = control.store.install(&connection, &child).await;
    result.map_err(|error| format!("installing '{}' failed: {error}", child.name))
}

/// Removes the trap or shunt of a child.
pub(super) async fn uninstall<T: Tunnels>(message: &Message, control: &Control<T>) -> Result<(), String> {
    control.store.uninstall(message.str("ike"), required(message, "child")?).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::tests::{child_sa, ike_sa};

    fn targets(message: &Message) -> Vec<Target> {
        let sas = [
            ike_sa(1, "a", vec![child_sa(10, "x"), child_sa(11, "y")]),
            ike_sa(2, "a", vec![]),
            ike_sa(3, "b", vec![child_sa(30, "x")]),
        ];
        Selection::of(message).map(|selection| selection.targets(&sas)).unwrap_or_default()
    }

    #[test]
    fn what_is_given_selects() {
        let ike_sa = |id| Target::IkeSa(IkeSaId(id));
        let child_sa = |id, ike_sa| Target::ChildSa(ChildSaId(id), IkeSaId(ike_sa));
        let cases = [
            (Message::new(), vec![]),
            (Message::new().with("ike-id", "0"), vec![]),
            (Message::new().with("ike", "a"), vec![ike_sa(1), ike_sa(2)]),
            (Message::new().with("ike-id", "3"), vec![ike_sa(3)]),
            (Message::new().with("ike", "a").with("ike-id", "3"), vec![ike_sa(1), ike_sa(2), ike_sa(3)]),
            (Message::new().with("child", "x"), vec![child_sa(10, 1), child_sa(30, 3)]),
            (Message::new().with("child", "x").with("ike", "b"), vec![child_sa(30, 3)]),
            (Message::new().with("child", "x").with("ike-id", "1"), vec![child_sa(10, 1)]),
            (Message::new().with("child-id", "11"), vec![child_sa(11, 1)]),
            (Message::new().with("child-id", "11").with("child", "x"), vec![]),
            (Message::new().with("ike", "c"), vec![]),
        ];
        for (message, expected) in cases {
            assert_eq!(targets(&message), expected, "{message:?}");
        }
    }
}
