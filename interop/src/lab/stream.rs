//! A steady stream of numbered datagrams from one host to another, each of which must arrive, and arrive once.

use std::fmt;
use std::io::ErrorKind;
use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, anyhow, ensure};

use super::host::Host;

/// When a datagram that has not arrived is taken for lost.
const LATEST: Duration = Duration::from_secs(5);

/// How often the receiver looks up from its socket.
const GLANCE: Duration = Duration::from_millis(200);

/// Octets of a datagram; the first eight are its number.
const SIZE: usize = 64;

/// How many of those that were lost or came twice a report names.
const SHOWN: usize = 10;

/// No stream is longer: an hour at one datagram each millisecond.
const MOST: usize = 3_600_000;

/// A running stream. Dropping it ends it.
#[derive(Debug)]
pub struct Stream {
    what: String,
    is_over: Arc<AtomicBool>,
    number: Arc<OnceLock<usize>>,
    sender: Option<JoinHandle<Result<Vec<Sent>>>>,
    receiver: Option<JoinHandle<Result<Vec<u32>>>>,
}

/// A datagram's departure.
#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Instant,
    clock: SystemTime,
}

/// What became of a stream.
#[derive(Clone, Debug)]
pub struct Report {
    what: String,
    /// How many datagrams were sent.
    pub sent: usize,
    /// How long it took to send them.
    pub time: Duration,
    /// Which did not arrive, each with the time of day (UTC) it was sent at.
    pub lost: Vec<(usize, String)>,
    /// Which arrived more than once.
    pub repeated: Vec<(usize, String)>,
}

impl Stream {
    /// Begins to send from `source`, an address of the host `from`, to `target`, an address of the host `to`, a
    /// datagram `every` so often.
    pub fn begin(
        (from, source): (&Host, &str),
        (to, target): (&Host, &str),
        every: Duration,
    ) -> Result<Self> {
        let (source, target): (IpAddr, IpAddr) = (source.parse()?, target.parse()?);
        let inlet = to.run(move || UdpSocket::bind((target, 0)))?;
        inlet.set_read_timeout(Some(GLANCE))?;
        let outlet = from.run(move || UdpSocket::bind((source, 0)))?;
        outlet.connect(inlet.local_addr()?)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let sender = std::thread::spawn({
            let is_over = Arc::clone(&is_over);
            move || send(&outlet, every, &is_over)
        });
        let number = Arc::new(OnceLock::new());
        let receiver = std::thread::spawn({
            let number = Arc::clone(&number);
            move || receive(&inlet, &number)
        });
        Ok(Self {
            what: format!("from {} to {}", from.role(), to.role()),
            is_over,
            number,
            sender: Some(sender),
            receiver: Some(receiver),
        })
    }

    /// Ends the stream, waits for what is on its way, and says what became of all of it.
    pub fn end(mut self) -> Result<Report> {
        self.is_over.store(true, Ordering::Relaxed);
        let sent = join(self.sender.take())?;
        self.number.get_or_init(|| sent.len());
        let arrived = join(self.receiver.take())?;
        let (Some(first), Some(last)) = (sent.first(), sent.last()) else {
            return Err(anyhow!("nothing was sent {}", self.what));
        };
        let which = |is_so: fn(u32) -> bool| {
            let numbers = sent.iter().enumerate();
            let those = numbers.filter(|(n, _)| is_so(arrived.get(*n).copied().unwrap_or_default()));
            those.map(|(n, sent)| (n, time_of_day(sent.clock))).collect::<Vec<_>>()
        };
        Ok(Report {
            what: self.what.clone(),
            sent: sent.len(),
            time: last.at - first.at,
            lost: which(|times| times == 0),
            repeated: which(|times| times > 1),
        })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.number.get_or_init(|| 0);
    }
}

impl Report {
    /// Wants every datagram to have arrived, once.
    pub fn is_whole(&self) -> Result<()> {
        ensure!(self.lost.is_empty() && self.repeated.is_empty(), "{self}");
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, sent, time, lost, repeated } = self;
        write!(f, "of {sent} datagrams in {:.1} s {what} ", time.as_secs_f64())?;
        let first = |those: &[(usize, String)]| those.iter().take(SHOWN).cloned().collect::<Vec<_>>();
        let (lost_first, repeated_first) = (first(lost), first(repeated));
        write!(f, "{} were lost, the first of them {lost_first:?}, ", lost.len())?;
        write!(f, "and {} came twice, the first of them {repeated_first:?}", repeated.len())
    }
}

fn send(outlet: &UdpSocket, every: Duration, is_over: &AtomicBool) -> Result<Vec<Sent>> {
    let mut sent = Vec::new();
    let mut due = Instant::now();
    let mut datagram = [0; SIZE];
    while !is_over.load(Ordering::Relaxed) && sent.len() < MOST {
        let number = u64::try_from(sent.len())?.to_be_bytes();
        datagram.iter_mut().zip(number).for_each(|(octet, digit)| *octet = digit);
        let now = Instant::now();
        // What the host itself refuses to send is as lost as what disappears on its way.
        let _refused = outlet.send(&datagram);
        sent.push(Sent { at: now, clock: SystemTime::now() });
        // After a pause the stream goes on at its pace: a burst would test buffers.
        due = (due + every).max(now);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(sent)
}

/// Counts how often each number arrives, until all of them are here, once it is known how `many` those are.
fn receive(inlet: &UdpSocket, many: &OnceLock<usize>) -> Result<Vec<u32>> {
    let mut arrived: Vec<u32> = Vec::new();
    let mut end = None;
    let mut datagram = [0; SIZE + 1];
    loop {
        let is_quiet = match inlet.recv(&mut datagram) {
            Ok(length) => {
                ensure!(length == SIZE, "a datagram of {length} octets arrived, not of {SIZE}");
                let number = datagram.first_chunk().context("it has room for a number")?;
                let number = usize::try_from(u64::from_be_bytes(*number))?;
                ensure!(number < MOST, "datagram {number} arrived, which was never sent");
                if arrived.len() <= number {
                    arrived.resize(number + 1, 0);
                }
                if let Some(times) = arrived.get_mut(number) {
                    *times += 1;
                }
                false
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => true,
            Err(error) => return Err(error.into()),
        };
        if let Some(many) = many.get() {
            let end = *end.get_or_insert_with(|| Instant::now() + LATEST);
            // A moment of quiet after the last one, because some may come twice.
            let is_whole = is_quiet && arrived.len() >= *many && arrived.iter().all(|times| *times > 0);
            if is_whole || Instant::now() >= end {
                return Ok(arrived);
            }
        }
    }
}

fn join<T>(thread: Option<JoinHandle<Result<T>>>) -> Result<T> {
    let thread = thread.context("a stream ends once")?;
    thread.join().map_err(|_| anyhow!("a thread of the stream panicked"))?
}

/// `12:34:56.789`, as daemons log it.
fn time_of_day(clock: SystemTime) -> String {
    let since = clock.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs() % 86_400;
    format!("{:02}:{:02}:{:02}.{:03}", seconds / 3600, seconds / 60 % 60, seconds % 60, since.subsec_millis())
}
