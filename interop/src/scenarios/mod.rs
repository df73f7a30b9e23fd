//! What must come true between ferryd and real peers: one function each, all of them in [`ALL`].
//!
//! Every scenario takes the daemon under test as a parameter. With [`Daemon::Charon`] in its place a scenario runs
//! strongSwan against itself, which shows that the scenario asks for nothing charon does not do.

mod roadwarrior;
mod topology;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use anyhow::{Result, anyhow};

use crate::lab::Lab;
use crate::peer::Daemon;

/// Something that must come true in the lab.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name on the command line and of its folder.
    pub name: &'static str,
    /// What it proves, in one sentence.
    pub claim: &'static str,
    /// How long it may take on a busy machine.
    pub limit: Duration,
    run: fn(&Lab, Daemon) -> Result<()>,
}

impl Scenario {
    const fn new(name: &'static str, claim: &'static str, run: fn(&Lab, Daemon) -> Result<()>) -> Self {
        Self { name, claim, limit: Duration::from_secs(120), run }
    }

    /// Plays the scenario in `lab` with `ours` as the daemon under test.
    ///
    /// # Errors
    /// When it did not come true; the error says what was found instead and where to look.
    pub fn play(&self, lab: Lab, ours: Daemon) -> Result<()> {
        let result = match catch_unwind(AssertUnwindSafe(|| (self.run)(&lab, ours))) {
            Ok(result) => result,
            Err(panic) => Err(anyhow!("it panicked: {}", panic_text(panic.as_ref()))),
        };
        match result {
            Ok(()) => lab.close(),
            Err(error) => Err(error.context(format!("what was seen lies in {}", lab.describe().display()))),
        }
    }
}

/// Every scenario.
pub const ALL: &[Scenario] = &[
    Scenario::new(
        "road-warrior",
        "A strongSwan client behind a NAT gets a virtual address and DNS, and traffic flows both ways.",
        roadwarrior::charon_connects,
    ),
    Scenario::new(
        "road-warrior-as-client",
        "As the client behind a NAT it is given a virtual address by strongSwan, and traffic flows both ways.",
        roadwarrior::connects_to_charon,
    ),
];

/// The scenario called `name`.
pub fn find(name: &str) -> Option<Scenario> {
    ALL.iter().find(|scenario| scenario.name == name).copied()
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a word".to_owned())
}
