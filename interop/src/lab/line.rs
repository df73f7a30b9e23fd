//! A long, slow line between two hosts: whatever is sent into one end comes out of the other some time later, one after
//! the other.
//!
//! Each end is a TAP device, and the line is this process: kernels that can delay packets themselves are not
//! everywhere.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::host::Host;
use super::wait::{Deadline, readable};
use super::{link, sys};

/// What a line carries: two megabits a second.
const OCTETS_PER_SECOND: u32 = 250_000;

/// The longest frame: an Ethernet header and what an interface of usual size carries.
const FRAME: usize = 14 + 1500;

/// How often the line looks up from its ends.
const GLANCE: Duration = Duration::from_millis(200);

/// A frame, and when it comes out.
type Travelling = (Instant, Vec<u8>);

/// A line. Dropping it cuts it.
#[derive(Debug)]
pub(super) struct Line {
    is_cut: Arc<AtomicBool>,
}

impl Line {
    /// Lays a line from the interface `a.1` of the host `a.0` to `b.1` of `b.0`, making both. A frame takes `delay`
    /// from one to the other.
    pub(super) fn lay(a: (&Host, &str), b: (&Host, &str), delay: Duration) -> Result<Self> {
        let is_cut = Arc::new(AtomicBool::new(false));
        let [a, b] = [end(a)?, end(b)?];
        for (from, to) in [(&a, &b), (&b, &a)] {
            let (inlet, outlet) = mpsc::channel();
            let (from, to, stop) = (Arc::clone(from), Arc::clone(to), Arc::clone(&is_cut));
            // They end when the line is cut, or when a host takes its end away; then nobody is left to tell.
            std::thread::spawn(move || take_in(&from, delay, &inlet, &stop));
            std::thread::spawn(move || give_out(&to, &outlet));
        }
        Ok(Self { is_cut })
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.is_cut.store(true, Ordering::Relaxed);
    }
}

fn end((host, name): (&Host, &str)) -> Result<Arc<OwnedFd>> {
    let device = name.to_owned();
    let tap = host.run(move || sys::open_tap(&device)).with_context(|| format!("cannot make {name}"))?;
    link::ip(&format!("-n {} link set {name} up", host.namespace()))?;
    Ok(Arc::new(tap))
}

fn take_in(end: &OwnedFd, delay: Duration, line: &Sender<Travelling>, is_cut: &AtomicBool) {
    let mut frame = [0; FRAME];
    while !is_cut.load(Ordering::Relaxed) {
        match readable(end, Deadline::after(GLANCE)) {
            Ok(false) => continue,
            Ok(true) => {}
            Err(_) => return,
        }
        let Ok(length) = rustix::io::read(end, &mut frame) else { return };
        let octets = frame.get(..length).unwrap_or_default().to_vec();
        if line.send((Instant::now() + delay, octets)).is_err() {
            return;
        }
    }
}

fn give_out(end: &OwnedFd, line: &Receiver<Travelling>) {
    let mut free = Instant::now();
    for (at, frame) in line {
        std::thread::sleep(at.max(free).saturating_duration_since(Instant::now()));
        // An interface that is down takes nothing; a line does not notice.
        let _lost: Result<usize, io::Error> = rustix::io::write(end, &frame).map_err(io::Error::from);
        let octets = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        free = Instant::now() + Duration::from_secs(1) * octets / OCTETS_PER_SECOND;
    }
}
