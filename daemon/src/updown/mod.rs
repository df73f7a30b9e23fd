//! Scripts that operators have told when CHILD_SAs come and go (`updown`), with the environment that charon's have.
//!
//! No SA waits for a script, and no script of one child for another's; those of one child run one after the other. What
//! was told to be up is told to be down, at the latest when the daemon ends.

mod environment;

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use ferry_ike::Event;
use ferry_ike::output::ChildSaId;
use ferry_ike::status::{ChildSaStatus, IkeSaStatus};
use tokio::process::Command;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use self::environment::{Circumstances, Variables};
use crate::dataplane::DataPlaneHandle;

/// How long scripts may take when the daemon ends; those that are not done then go on without it.
const FAREWELL: Duration = Duration::from_secs(5);

/// Lines of a script's output that are logged. One that says more has its reasons, but not our log.
const MOST_LINES: usize = 100;

/// The way to the scripts. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Updown(mpsc::UnboundedSender<Told>);

enum Told {
    Event(Arc<Event>),
    End(oneshot::Sender<()>),
}

impl Updown {
    /// Starts the task that runs scripts, which it tells of DNS servers if they are to know.
    pub(crate) fn start(plane: DataPlaneHandle, tells_dns: bool) -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        tokio::spawn(Keeper { plane, tells_dns, up: HashMap::new(), going: Vec::new() }.run(told));
        Self(tell)
    }

    /// Something has happened. Called where it happens, in order.
    pub(crate) fn tell(&self, event: &Arc<Event>) {
        let concerns = match &**event {
            Event::ChildSaUp { child_sa, .. } | Event::ChildSaDown { child_sa, .. } => {
                child_sa.child.updown.is_some()
            }
            // The child may have had a script that is no longer configured.
            Event::ChildRekeyed { .. } | Event::IkeSaRekeyed { .. } => true,
            Event::IkeSaUp(_)
            | Event::IkeSaDown { .. }
            | Event::IkeSaMoved { .. }
            | Event::NotRenewed { .. }
            | Event::Failed(_)
            | Event::Completed { .. } => false,
        };
        if concerns {
            let _ = self.0.send(Told::Event(Arc::clone(event))); // the keeper ends last
        }
    }

    /// Tells the scripts of whatever is still up that it goes, and waits for them as long as that is bearable.
    pub(crate) async fn finish(&self) {
        let (done, is_done) = oneshot::channel();
        let _ = self.0.send(Told::End(done));
        if tokio::time::timeout(FAREWELL, is_done).await.is_err() {
            warn!(target: "chd", "some updown scripts are not done yet, and are not waited for");
        }
    }
}

/// Knows what scripts were told. It ends with the daemon; dropped midway, it leaves scripts to themselves.
struct Keeper {
    plane: DataPlaneHandle,
    tells_dns: bool,
    up: HashMap<ChildSaId, Up>,
    /// Scripts of children that are gone.
    going: Vec<JoinHandle<()>>,
}

/// A child whose script was told that it is up.
struct Up {
    ike_sa: Box<IkeSaStatus>,
    child_sa: Box<ChildSaStatus>,
    circumstances: Circumstances,
    /// The script's last run.
    last: JoinHandle<()>,
}

impl Keeper {
    async fn run(mut self, mut told: mpsc::UnboundedReceiver<Told>) {
        while let Some(told) = told.recv().await {
            match told {
                Told::Event(event) => self.hear(&event).await,
                Told::End(done) => {
                    self.end().await;
                    let _ = done.send(()); // who asked may have lost patience
                    return;
                }
            }
        }
    }

    async fn hear(&mut self, event: &Event) {
        match event {
            Event::ChildSaUp { ike_sa, child_sa } => self.raise(ike_sa, child_sa).await,
            Event::ChildSaDown { ike_sa, child_sa, .. } => {
                if let Some(mut up) = self.up.remove(&child_sa.id) {
                    (up.ike_sa, up.child_sa) = (ike_sa.clone(), child_sa.clone());
                    self.lower(up);
                }
            }
            Event::ChildRekeyed { ike_sa, old, new } => {
                if let Some(mut up) = self.up.remove(&old.id) {
                    (up.ike_sa, up.child_sa) = (ike_sa.clone(), new.clone());
                    self.up.insert(new.id, up);
                }
            }
            Event::IkeSaRekeyed { old, new } => {
                for up in self.up.values_mut().filter(|up| up.ike_sa.id == old.id) {
                    up.ike_sa.clone_from(new);
                }
            }
            Event::IkeSaUp(_)
            | Event::IkeSaDown { .. }
            | Event::IkeSaMoved { .. }
            | Event::NotRenewed { .. }
            | Event::Failed(_)
            | Event::Completed { .. } => {}
        }
    }

    async fn raise(&mut self, ike_sa: &IkeSaStatus, child_sa: &ChildSaStatus) {
        let used = self.plane.query(vec![child_sa.id]).await;
        let circumstances = Circumstances {
            interface: self.plane.interface_of(ike_sa.local.ip()).await,
            numbers: used.get(&child_sa.id).and_then(|used| used.numbers),
            tells_dns: self.tells_dns,
        };
        let sets = environment::of(true, ike_sa, child_sa, &circumstances);
        let last = tokio::spawn(run_all(script(child_sa), sets, None));
        let (ike_sa, child_sa) = (Box::new(ike_sa.clone()), Box::new(child_sa.clone()));
        self.up.insert(child_sa.id, Up { ike_sa, child_sa, circumstances, last });
    }

    fn lower(&mut self, up: Up) {
        let sets = environment::of(false, &up.ike_sa, &up.child_sa, &up.circumstances);
        self.going.retain(|script| !script.is_finished());
        self.going.push(tokio::spawn(run_all(script(&up.child_sa), sets, Some(up.last))));
    }

    async fn end(&mut self) {
        for (_, up) in std::mem::take(&mut self.up) {
            self.lower(up);
        }
        for script in self.going.drain(..) {
            let _ = script.await; // one that panicked has ended too
        }
    }
}

fn script(child_sa: &ChildSaStatus) -> String {
    child_sa.child.updown.clone().unwrap_or_default()
}

/// Runs a script once for each set of variables, when it has done what it was told before.
async fn run_all(script: String, sets: Vec<Variables>, before: Option<JoinHandle<()>>) {
    if let Some(before) = before {
        let _ = before.await; // one that panicked has ended too
    }
    for variables in sets {
        run_once(&script, variables).await;
    }
}

async fn run_once(script: &str, variables: Variables) {
    if script.is_empty() {
        return; // no longer configured
    }
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(script).env_clear().envs(variables);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    let output = command.stdin(Stdio::null()).output().await;
    match output {
        Ok(output) => {
            for text in [&output.stdout, &output.stderr] {
                let text = String::from_utf8_lossy(text);
                for line in text.lines().take(MOST_LINES) {
                    info!(target: "chd", "updown: {line}");
                }
            }
            if !output.status.success() {
                warn!(target: "chd", "updown script '{script}' ended with {}", output.status);
            }
        }
        Err(error) => warn!(target: "chd", "updown script '{script}' cannot be run: {error}"),
    }
}
