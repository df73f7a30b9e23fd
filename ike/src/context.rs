//! What a function that handles an input may use besides the SA itself.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::attempt::Attempt;
use crate::config::{Configuration, EndpointConfig, Ports, Settings, SpiPrefix, UniqueIds};
use crate::crypto::CryptoProvider;
use crate::identity::Identity;
use crate::output::{Action, ActionId, Event, IkeSaId, Output, Path, RequestId, Transmit};
use crate::sa::{IkeSa, Whereabouts, Word};
use crate::status::Counters;
use crate::{natt, wire::registry::IkeSpi};

/// What an endpoint has besides its SAs.
pub(crate) struct House {
    pub(crate) crypto: Arc<CryptoProvider>,
    pub(crate) ports: Ports,
    pub(crate) spi_prefix: SpiPrefix,
    pub(crate) settings: Settings,
    pub(crate) configuration: Arc<Configuration>,
    pub(crate) unique_ids: Arc<UniqueIds>,
    pub(crate) outputs: Outputs,
    pub(crate) counters: Counters,
    /// Addresses of this host that peers may be told of.
    pub(crate) addresses: Vec<IpAddr>,
    /// What successors learn from IKE SAs that they took the place of, for the endpoint to pass on.
    pub(crate) forwarded: Vec<(IkeSpi, Whereabouts)>,
    /// IKE SAs that took the place of others during an input, for the endpoint to take.
    pub(crate) born: Vec<IkeSa>,
    /// What IKE SAs have to say to each other, for the endpoint to pass on.
    pub(crate) words: Vec<(IkeSaId, Word)>,
}

impl House {
    pub(crate) fn new(config: EndpointConfig, crypto: Arc<CryptoProvider>) -> Self {
        let EndpointConfig {
            ports,
            settings,
            spi_prefix,
            unique_ids,
            configuration,
            half_open: _,
            ike_sas: _,
        } = config;
        let (outputs, counters, addresses, forwarded, born, words) = Default::default();
        Self {
            crypto,
            ports,
            spi_prefix,
            settings,
            configuration,
            unique_ids,
            outputs,
            counters,
            addresses,
            forwarded,
            born,
            words,
        }
    }

    pub(crate) fn cx(&mut self, now: Instant) -> Cx<'_> {
        Cx {
            now,
            crypto: &self.crypto,
            ports: self.ports,
            spi_prefix: self.spi_prefix,
            settings: &self.settings,
            configuration: &self.configuration,
            unique_ids: &self.unique_ids,
            outputs: &mut self.outputs,
            counters: &mut self.counters,
            addresses: &self.addresses,
            forwarded: &mut self.forwarded,
            born: &mut self.born,
            words: &mut self.words,
            is_first_contact: false,
            dscp: 0,
        }
    }
}

/// The endpoint's belongings, lent to an SA for the time of one input.
pub(crate) struct Cx<'a> {
    pub(crate) now: Instant,
    pub(crate) crypto: &'a CryptoProvider,
    pub(crate) ports: Ports,
    pub(crate) spi_prefix: SpiPrefix,
    pub(crate) settings: &'a Settings,
    pub(crate) configuration: &'a Arc<Configuration>,
    pub(crate) unique_ids: &'a UniqueIds,
    pub(crate) outputs: &'a mut Outputs,
    pub(crate) counters: &'a mut Counters,
    pub(crate) addresses: &'a [IpAddr],
    pub(crate) forwarded: &'a mut Vec<(IkeSpi, Whereabouts)>,
    pub(crate) born: &'a mut Vec<IkeSa>,
    pub(crate) words: &'a mut Vec<(IkeSaId, Word)>,
    /// No other IKE SA with the peer of this connection is established here.
    pub(crate) is_first_contact: bool,
    /// What the connection wants its IKE messages to be sent with; zero while there is none.
    pub(crate) dscp: u8,
}

impl Cx<'_> {
    /// Octets that nobody can guess.
    pub(crate) fn random<const N: usize>(&self) -> [u8; N] {
        let mut octets = [0; N];
        self.crypto.random(&mut octets);
        octets
    }

    /// Sends an IKE message, behind a non-ESP marker where the port asks for it (RFC 3948 §2.2).
    pub(crate) fn transmit(&mut self, path: Path, message: &[u8]) {
        let datagram =
            if path.local.port() == self.ports.nat_t { natt::add_marker(message) } else { message.to_vec() };
        self.outputs.queue.push_back(Output::Transmit(Transmit { path, dscp: self.dscp, datagram }));
    }

    /// Sends a NAT keepalive (RFC 3948 §2.3).
    pub(crate) fn keep_alive(&mut self, path: Path) {
        let datagram = natt::KEEPALIVE.to_vec();
        self.outputs.queue.push_back(Output::Transmit(Transmit { path, dscp: self.dscp, datagram }));
    }

    /// Asks the outside for something, for an SA that waits for the outcome.
    pub(crate) fn ask(&mut self, asker: IkeSaId, action: Action) -> ActionId {
        self.outputs.ask(asker, action)
    }

    /// Tells what happened.
    pub(crate) fn tell(&mut self, event: Event) {
        self.outputs.tell(event);
    }

    /// Tells of an attempt that has failed.
    pub(crate) fn tell_attempt(&mut self, attempt: Option<Attempt>) {
        if let Some(attempt) = attempt {
            self.tell(Event::Failed(Box::new(attempt)));
        }
    }

    /// Ends the commands that waited for this.
    pub(crate) fn complete(&mut self, requests: &mut Vec<RequestId>, result: &Result<(), String>) {
        for request in requests.drain(..) {
            self.tell(Event::Completed { request, result: result.clone() });
        }
    }
}

/// The one ordered queue of everything that leaves, and who waits for what.
#[derive(Default)]
pub(crate) struct Outputs {
    queue: VecDeque<Output>,
    last_action: u64,
    waiting: HashMap<ActionId, Waiting>,
}

/// Who asked, and what must be undone if the asker is gone when the outcome comes.
pub(crate) struct Waiting {
    pub(crate) asker: IkeSaId,
    pub(crate) undo: Option<UndoLease>,
}

/// Addresses taken for an SA that no longer exists go back.
pub(crate) struct UndoLease {
    pub(crate) pools: Vec<String>,
    pub(crate) identity: Identity,
}

impl Outputs {
    pub(crate) fn pop(&mut self) -> Option<Output> {
        self.queue.pop_front()
    }

    pub(crate) fn ask(&mut self, asker: IkeSaId, action: Action) -> ActionId {
        self.last_action += 1;
        let id = ActionId(self.last_action);
        let undo = match &action {
            Action::Lease { pools, identity, .. } => {
                Some(UndoLease { pools: pools.clone(), identity: identity.clone() })
            }
            _ => None,
        };
        self.waiting.insert(id, Waiting { asker, undo });
        self.queue.push_back(Output::Action(id, action));
        id
    }

    /// Where the queue ends, for [`orders_since`](Self::orders_since).
    pub(crate) const fn mark(&self) -> ActionId {
        ActionId(self.last_action)
    }

    /// What the data plane was told since `mark` about CHILD_SAs that end, and has not heard yet.
    pub(crate) fn orders_since(&self, mark: ActionId) -> Vec<ActionId> {
        let order = |output: &Output| match output {
            Output::Action(id, Action::UseChild { .. } | Action::RemoveChild { .. }) if *id > mark => {
                Some(*id)
            }
            _ => None,
        };
        self.queue.iter().filter_map(order).collect()
    }

    pub(crate) fn tell(&mut self, event: Event) {
        self.queue.push_back(Output::Event(event));
    }

    pub(crate) fn settle(&mut self, id: ActionId) -> Option<Waiting> {
        self.waiting.remove(&id)
    }

    #[cfg(feature = "sim")]
    pub(crate) fn count_waiting(&self) -> usize {
        self.waiting.len()
    }
}

/// A fresh IKE SPI under the endpoint's prefix; never zero.
pub(crate) fn draw_ike_spi(crypto: &CryptoProvider, prefix: SpiPrefix) -> IkeSpi {
    loop {
        let mut octets = [0; 8];
        crypto.random(&mut octets);
        let [first, ..] = &mut octets;
        *first = prefix.apply(*first);
        let spi = IkeSpi(octets);
        if !spi.is_zero() {
            return spi;
        }
    }
}
