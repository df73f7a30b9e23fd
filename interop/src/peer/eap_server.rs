//! Our EAP server behind a RADIUS front, so that a stranger's EAP client can judge it without IKE in between.
//!
//! What `ferryd` answers inside IKE_AUTH is answered here in Access-Challenges: the same state machine, with a packet
//! format that `eapol_test` speaks. Nothing of `ferryd` is in it, which is why the lab links `ferry-ike` for it.

use std::collections::HashMap;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use ferry_ike::crypto::signature::PrivateKey;
use ferry_ike::crypto::{CryptoProvider, Secret};
use ferry_ike::eap::{Method, OwnCertificate, Passwords, PeerChain, Server, ServerStep, Tls, TlsSettings};
use ferry_ike::identity::Identity;
use ferry_ike::pki::{Constraints, TrustStore, files};
use ferry_ike::wire::Eap;
use ferry_radius::{AttributeType, Code, Draft, Packet, Vendor, authenticator, hidden, microsoft};

use crate::lab::Host;

/// How often it looks whether it is to end.
const BREATH: Duration = Duration::from_millis(50);

/// The server, as long as it is kept.
#[derive(Debug)]
pub struct EapServer {
    is_over: Arc<AtomicBool>,
    told: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

/// What it serves with.
struct Serving {
    socket: UdpSocket,
    secret: Vec<u8>,
    name: Identity,
    methods: Vec<Method>,
    certified: Option<Certified>,
    users: Users,
    crypto: CryptoProvider,
    /// Conversations by their State.
    conversations: HashMap<u32, Server>,
    last: u32,
}

/// What methods with TLS need: its certificate, and whose certificates of clients are believed.
pub struct Certified {
    tls: Arc<Tls>,
    trust: TrustStore,
}

impl Certified {
    /// Reads the certificate and the key of `name`, and the certificate of an authority, from a folder.
    pub fn read(folder: &Path, name: &str, authority: &str, settings: TlsSettings) -> Result<Self> {
        let read = |file: String| {
            fs::read(folder.join(&file))
                .with_context(|| format!("cannot read {file} in {}", folder.display()))
        };
        let own = files::certificates(&read(format!("{name}.pem"))?)?;
        let key = PrivateKey::from_der(&files::private_key(&read(format!("{name}.key"))?, &[])?)?;
        let authorities = files::certificates(&read(format!("{authority}.pem"))?)?;
        let tls = Tls {
            settings: Arc::new(settings),
            own: Some(Arc::new(OwnCertificate::new(&own, Arc::new(key)))),
            authorities: authorities.iter().map(|authority| authority.subject().data.clone()).collect(),
            server: Identity::parse(name)?,
        };
        Ok(Self { tls: Arc::new(tls), trust: TrustStore::new(authorities) })
    }

    /// Whether a client's certificate is believed. The sentence says why not.
    fn judge(&self, chain: &PeerChain) -> Result<(), String> {
        let constraints = Constraints::default();
        self.trust
            .chain(&chain.certificate, &chain.others, &constraints, SystemTime::now())
            .map(drop)
            .map_err(|refusal| refusal.to_string())
    }
}

/// One user and its password.
struct Users {
    user: Identity,
    password: Secret,
}

impl Passwords for Users {
    fn password(&self, client: &Identity, _server: &Identity) -> Option<&Secret> {
        (*client == self.user).then_some(&self.password)
    }

    fn nt_hash(&self, _client: &Identity, _server: &Identity) -> Option<&Secret> {
        None
    }
}

impl EapServer {
    /// Starts one on a host, for one user.
    pub fn start(
        host: &Host,
        at: SocketAddr,
        secret: &str,
        name: &str,
        methods: &[Method],
        (user, password): (&str, Vec<u8>),
        certified: Option<Certified>,
    ) -> Result<Self> {
        let socket =
            host.run(move || UdpSocket::bind(at)).with_context(|| format!("cannot listen on {at}"))?;
        socket.set_read_timeout(Some(BREATH))?;
        let parse = |text: &str| Identity::parse(text).with_context(|| format!("'{text}' is nobody"));
        let mut serving = Serving {
            socket,
            secret: secret.as_bytes().to_vec(),
            name: parse(name)?,
            methods: methods.to_vec(),
            certified,
            users: Users { user: parse(user)?, password: Secret::new(password) },
            crypto: CryptoProvider::system(),
            conversations: HashMap::new(),
            last: 0,
        };
        let (is_over, told) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::default()));
        let (until, tell): (Arc<AtomicBool>, Arc<Mutex<Vec<String>>>) =
            (Arc::clone(&is_over), Arc::clone(&told));
        let thread = std::thread::Builder::new().name("eap-server".to_owned()).spawn(move || {
            let mut buffer = vec![0; 4096];
            while !until.load(Ordering::Relaxed) {
                let Ok((length, from)) = serving.socket.recv_from(&mut buffer) else { continue };
                let say = |said| tell.lock().unwrap_or_else(PoisonError::into_inner).push(said);
                match serving.answer(buffer.get(..length).unwrap_or_default()) {
                    Ok((answer, said)) => {
                        // Whoever has the answer may ask at once what was said of it.
                        say(said);
                        if let Err(error) = serving.socket.send_to(&answer, from) {
                            say(format!("answering {from} failed: {error}"));
                        }
                    }
                    Err(error) => say(format!("not answering {from}: {error:#}")),
                }
            }
        })?;
        Ok(Self { is_over, told, thread: Some(thread) })
    }

    /// What it has answered, one line each.
    pub fn told(&self) -> Vec<String> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for EapServer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

impl Serving {
    fn answer(&mut self, datagram: &[u8]) -> Result<(Vec<u8>, String)> {
        let request = Packet::decode(datagram)?;
        authenticator::verify_access_request(&request, &self.secret)?;
        let message = request.eap_message().context("it carries no EAP")?;
        let packet = Eap::of(&message)?;
        let state = request.number(AttributeType::STATE);
        let (id, step) = match state {
            None => {
                let user = Identity::parse(std::str::from_utf8(packet.data())?)?;
                let mut server = Server::new(self.name.clone(), user, &self.crypto);
                server.set_tls(self.certified.as_ref().map(|certified| Arc::clone(&certified.tls)));
                let first = server.offer(self.methods.clone(), &self.crypto);
                self.last += 1;
                self.conversations.insert(self.last, server);
                (self.last, ServerStep::Request(first))
            }
            Some(id) => {
                let server = self.conversations.get_mut(&id).context("the conversation is over")?;
                let step = match server.handle(&packet, &self.users, &self.crypto) {
                    ServerStep::Judge { chain, next } => {
                        let certified = self.certified.as_ref().context("nobody is believed")?;
                        match certified.judge(&chain) {
                            Ok(()) => *next,
                            Err(reason) => ServerStep::Failed { packet: server.fail(), reason },
                        }
                    }
                    step => step,
                };
                (id, step)
            }
        };
        let (draft, said) = match step {
            ServerStep::Request(packet) => {
                let mut draft = Draft::new(Code::ACCESS_CHALLENGE);
                draft.add_number(AttributeType::STATE, id);
                draft.add_eap(&packet);
                (draft, "asked".to_owned())
            }
            ServerStep::Succeeded { packet, conclusion } => {
                let mut draft = Draft::new(Code::ACCESS_ACCEPT);
                if let Some(msk) = conclusion.dangerous_msk() {
                    let mut salt = [0; 2];
                    self.crypto.random(&mut salt);
                    let [receive, send] = hidden::halves(msk, salt, request.authenticator(), &self.secret);
                    draft.add_vendor(Vendor::MICROSOFT, microsoft::MPPE_RECV_KEY, &receive);
                    draft.add_vendor(Vendor::MICROSOFT, microsoft::MPPE_SEND_KEY, &send);
                }
                draft.add_eap(&packet);
                (draft, format!("accepted '{}' by {}", conclusion.client, conclusion.method))
            }
            ServerStep::Failed { packet, reason } => {
                let mut draft = Draft::new(Code::ACCESS_REJECT);
                draft.add_eap(&packet);
                (draft, format!("rejected: {reason}"))
            }
            ServerStep::Identified(_) => anyhow::bail!("nobody was asked who it is"),
            ServerStep::Judge { .. } => anyhow::bail!("it was judged already"),
            ServerStep::Ignored(reason) => anyhow::bail!("{reason}"),
        };
        if !said.starts_with("asked") {
            self.conversations.remove(&id);
        }
        Ok((draft.into_response(&request, &self.secret)?.to_vec(), said))
    }
}
