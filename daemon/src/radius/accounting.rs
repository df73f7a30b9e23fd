//! Accounts (RFC 2866): a record when an IKE SA comes to stand, records now and then, and one when it ends.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferry_ike::Event;
use ferry_ike::output::{ChildDown, ChildSaId, IkeSaId, Path};
use ferry_ike::status::IkeSaStatus;
use ferry_radius::{AttributeType, Code, Draft, TerminateCause};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tracing::{info, warn};

use super::attributes::Port;
use super::client::Purpose;
use super::{Known, Radius};
use crate::control::ChildUse;
use crate::dataplane::DataPlaneHandle;
use crate::settings::Accounting as Settings;

/// How long the last records are waited for when the daemon ends.
const FAREWELL: Duration = Duration::from_secs(3);

/// What the keeper hears.
pub(super) enum Told {
    /// Something has happened; with what is known of the peer, if it is about an IKE SA as a whole.
    Event(Arc<Event>, Option<Known>),
    /// The daemon ends.
    End,
}

/// Who keeps the accounts.
pub(crate) struct Keeper {
    told: mpsc::UnboundedSender<Told>,
    task: JoinHandle<()>,
}

impl Keeper {
    pub(super) fn start(
        settings: Settings,
        radius: Radius,
        plane: DataPlaneHandle,
        told: mpsc::UnboundedReceiver<Told>,
    ) -> Self {
        let ledger = Ledger {
            settings,
            radius: radius.clone(),
            plane,
            accounts: HashMap::new(),
            sessions: JoinSet::new(),
        };
        let task = tokio::spawn(ledger.keep(told));
        // Set before it was started.
        let told = radius.0.records.get().cloned().unwrap_or_else(|| mpsc::unbounded_channel().0);
        Self { told, task }
    }

    /// Waits until the last records are written, as long as that may take.
    pub(crate) async fn finish(self) {
        let _ = self.told.send(Told::End);
        if tokio::time::timeout(FAREWELL, self.task).await.is_err() {
            warn!(target: "cfg", "RADIUS servers have not taken all records of what has ended");
        }
    }
}

/// The accounts that are open. It owns the sessions' tasks; dropped midway, sessions have no last record.
struct Ledger {
    settings: Settings,
    radius: Radius,
    plane: DataPlaneHandle,
    accounts: HashMap<IkeSaId, mpsc::UnboundedSender<Word>>,
    sessions: JoinSet<()>,
}

/// What a session hears.
enum Word {
    /// It has one more CHILD_SA.
    Child(ChildSaId),
    /// One of its CHILD_SAs is going: what it has carried is to be counted before it is forgotten.
    Count,
    /// It is another IKE SA now, or the peer is elsewhere.
    Is(Box<IkeSaStatus>),
    Moved(Path),
    /// It has ended.
    Over(TerminateCause),
}

impl Ledger {
    async fn keep(mut self, mut told: mpsc::UnboundedReceiver<Told>) {
        loop {
            tokio::select! {
                biased;
                next = told.recv() => match next {
                    Some(Told::Event(event, known)) => self.book(&event, known),
                    Some(Told::End) | None => break,
                },
                Some(_ended) = self.sessions.join_next() => {}
            }
        }
        // Whoever is still there ends with us, and is not told.
        for (_, account) in self.accounts.drain() {
            let _ = account.send(Word::Over(TerminateCause::NAS_REBOOT));
        }
        while self.sessions.join_next().await.is_some() {}
    }

    fn book(&mut self, event: &Event, known: Option<Known>) {
        let say = |accounts: &HashMap<IkeSaId, mpsc::UnboundedSender<Word>>, id: IkeSaId, word| {
            if let Some(account) = accounts.get(&id) {
                let _ = account.send(word); // a session that nobody took the record of has ended by itself
            }
        };
        match event {
            Event::IkeSaUp(status) => {
                if let Some(known) =
                    known.filter(|_| !self.settings.requires_vip || !status.remote_vips.is_empty())
                {
                    self.open(status, known);
                }
            }
            Event::IkeSaRekeyed { old, new } => {
                if let Some(account) = self.accounts.remove(&old.id) {
                    let _ = account.send(Word::Is(new.clone()));
                    self.accounts.insert(new.id, account);
                }
            }
            Event::IkeSaMoved { status, path } => say(&self.accounts, status.id, Word::Moved(*path)),
            Event::ChildSaUp { ike_sa, child_sa } => {
                say(&self.accounts, ike_sa.id, Word::Child(child_sa.id));
            }
            Event::ChildRekeyed { ike_sa, new, .. } => {
                say(&self.accounts, ike_sa.id, Word::Child(new.id));
                say(&self.accounts, ike_sa.id, Word::Count);
            }
            Event::ChildSaDown { ike_sa, .. } => say(&self.accounts, ike_sa.id, Word::Count),
            Event::IkeSaDown { status, cause, .. } => {
                if let Some(account) = self.accounts.remove(&status.id) {
                    let _ = account.send(Word::Over(terminate_cause(*cause)));
                }
            }
            Event::NotRenewed { .. } | Event::Failed(_) | Event::Completed { .. } => {}
        }
    }

    fn open(&mut self, status: &IkeSaStatus, known: Known) {
        let (tell, words) = mpsc::unbounded_channel();
        let session = Session {
            interval: known.given.interim.or(self.settings.interval),
            settings: self.settings.clone(),
            radius: self.radius.clone(),
            plane: self.plane.clone(),
            known,
            status: status.clone(),
            since: Instant::now(),
            children: status.children.iter().map(|child| (child.id, ChildUse::default())).collect(),
            past: ChildUse::default(),
        };
        self.accounts.insert(status.id, tell);
        self.sessions.spawn(session.run(words));
    }
}

/// Why an account is closed, in RADIUS' words.
fn terminate_cause(cause: ChildDown) -> TerminateCause {
    match cause {
        ChildDown::Closed => TerminateCause::USER_REQUEST,
        ChildDown::PeerDead => TerminateCause::LOST_CARRIER,
        ChildDown::Expired => TerminateCause::SESSION_TIMEOUT,
        ChildDown::Terminated => TerminateCause::ADMIN_RESET,
    }
}

/// Acct-Status-Type (RFC 2866 §5.1).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Record {
    Start = 1,
    Stop = 2,
    Interim = 3,
}

/// One account: its records go out one after the other.
struct Session {
    settings: Settings,
    radius: Radius,
    plane: DataPlaneHandle,
    known: Known,
    status: IkeSaStatus,
    since: Instant,
    interval: Option<Duration>,
    /// CHILD_SAs, and what they had carried when they were last looked at.
    children: HashMap<ChildSaId, ChildUse>,
    /// What those have carried that are gone.
    past: ChildUse,
}

impl Session {
    async fn run(mut self, mut words: mpsc::UnboundedReceiver<Word>) {
        self.write(Record::Start, None).await;
        let mut next = self.interval.map(|interval| Instant::now() + interval);
        loop {
            let interim = async move {
                match next {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                word = words.recv() => match word {
                    Some(Word::Child(child)) => {
                        self.children.entry(child).or_default();
                    }
                    Some(Word::Count) => self.count().await,
                    Some(Word::Is(status)) => self.status = *status,
                    Some(Word::Moved(path)) => {
                        self.status.local = path.local;
                        self.status.remote = path.remote;
                    }
                    Some(Word::Over(cause)) => {
                        self.count().await;
                        self.write(Record::Stop, Some(cause)).await;
                        return;
                    }
                    None => return,
                },
                () = interim => {
                    self.count().await;
                    self.write(Record::Interim, None).await;
                    next = self.interval.map(|interval| Instant::now() + interval);
                }
            }
        }
    }

    /// Looks at what the CHILD_SAs have carried.
    async fn count(&mut self) {
        for (child, counted) in self.plane.account(self.children.keys().copied().collect()).await {
            if counted.is_final {
                self.children.remove(&child);
                add(&mut self.past, &counted.used);
            } else {
                self.children.insert(child, counted.used);
            }
        }
    }

    async fn write(&self, record: Record, cause: Option<TerminateCause>) {
        let inner = &self.radius.0;
        let draft = || self.record(record, cause);
        if inner.servers.ask(Purpose::Accounting, None, draft).await.is_some() {
            return;
        }
        let name = match record {
            Record::Start => "start",
            Record::Interim => "interim",
            Record::Stop => "stop",
        };
        warn!(target: "cfg", "no RADIUS server has taken the {name} record of session {}", self.known.session);
        if record != Record::Stop && (self.settings.close_on_timeout || inner.settings.close_all_on_timeout) {
            inner.nobody_answers(self.settings.close_on_timeout.then_some(self.status.id));
        }
    }

    fn record(&self, record: Record, cause: Option<TerminateCause>) -> Draft {
        let mut draft = Draft::new(Code::ACCOUNTING_REQUEST);
        draft.add_number(AttributeType::ACCT_STATUS_TYPE, record as u32);
        let path = Path { local: self.status.local, remote: self.status.remote };
        let connection = self.status.connection.as_deref().unwrap_or_default();
        let port = Port { ike_sa: self.status.id, connection, path, session: &self.known.session };
        port.describe(&self.radius.0.settings, &mut draft);
        match self.known.user.as_slice() {
            [] => {
                let user = self.status.peer().map(ToString::to_string).unwrap_or_default();
                draft.add(AttributeType::USER_NAME, user.as_bytes());
            }
            user => draft.add(AttributeType::USER_NAME, user),
        }
        for address in &self.status.remote_vips {
            let (v4, v6) = (AttributeType::FRAMED_IP_ADDRESS, AttributeType::FRAMED_IPV6_ADDRESS);
            draft.add_address(v4, v6, *address);
        }
        if self.settings.sends_class {
            for class in &self.known.given.class {
                draft.add(AttributeType::CLASS, class);
            }
        }
        if record != Record::Start {
            self.add_counters(&mut draft);
        }
        if let Some(cause) = cause {
            draft.add_number(AttributeType::ACCT_TERMINATE_CAUSE, cause.0);
            info!(target: "cfg", "session {} ends: {cause}", self.known.session);
        }
        draft
    }

    fn add_counters(&self, draft: &mut Draft) {
        let mut sum = self.past;
        self.children.values().for_each(|used| add(&mut sum, used));
        for (octets, octets_type, gigawords_type) in [
            (sum.bytes_in, AttributeType::ACCT_INPUT_OCTETS, AttributeType::ACCT_INPUT_GIGAWORDS),
            (sum.bytes_out, AttributeType::ACCT_OUTPUT_OCTETS, AttributeType::ACCT_OUTPUT_GIGAWORDS),
        ] {
            draft.add_number(octets_type, lower(octets));
            if let Some(high) = Some(lower(octets >> 32)).filter(|high| *high > 0) {
                draft.add_number(gigawords_type, high);
            }
        }
        draft.add_number(AttributeType::ACCT_INPUT_PACKETS, lower(sum.packets_in));
        draft.add_number(AttributeType::ACCT_OUTPUT_PACKETS, lower(sum.packets_out));
        draft.add_number(AttributeType::ACCT_SESSION_TIME, lower(self.since.elapsed().as_secs()));
    }
}

fn add(sum: &mut ChildUse, used: &ChildUse) {
    sum.bytes_in += used.bytes_in;
    sum.packets_in += used.packets_in;
    sum.bytes_out += used.bytes_out;
    sum.packets_out += used.packets_out;
}

/// The lower 32 bits: what a counter of RADIUS has room for.
fn lower(number: u64) -> u32 {
    u32::try_from(number & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}
