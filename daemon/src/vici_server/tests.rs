//! The server as a client sees it, over a socket, with tunnels that do nothing.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ferry_ike::Event;
use ferry_ike::output::IkeSaId;
use ferry_ike::status::{Counters, ExchangeCounters};
use ferry_vici::client::Connection;
use ferry_vici::{Client, ClientError, Message, Packet, Section, dump};
use tempfile::TempDir;
use tokio::sync::{Mutex, watch};
use tracing_subscriber::layer::SubscriberExt;

use super::*;
use crate::attempts::Attempts;
use crate::control::tests::{Fake, Told, child_sa, ike_sa};
use crate::control::{ChildNumbers, ChildUse};
use crate::net::SocketUri;
use crate::revocation::Revocations;
use crate::settings;
use crate::store::tests::{DEFAULTS, connection};

type Vici = Client<Connection>;

/// A server with its own socket and runtime.
struct Server {
    directory: TempDir,
    fake: Fake,
    runtime: tokio::runtime::Runtime,
    stop: watch::Sender<bool>,
    server: Option<tokio::task::JoinHandle<()>>,
}

impl Server {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let fake = Fake::default();
        let store = Store::new(fake.clone(), DEFAULTS, Revocations::default());
        let (leases, logger) = (Leases::default(), Logger::default());
        let settings = settings::load_from(&directory.path().join("none")).unwrap().settings;
        let reload = Reload::new(store.clone(), leases.clone(), logger.clone(), settings);
        let control = Control {
            store,
            tunnels: fake.clone(),
            leases,
            attempts: Attempts::default(),
            logger: logger.clone(),
            reload,
            started: Started::now(),
            counted_before: Mutex::default(),
            listings: Listings::default(),
        };
        let bound = Bound::open(&SocketUri::Unix(directory.path().join("vici")), None).unwrap();
        let (stop, stopped) = watch::channel(false);
        let subscriber = tracing_subscriber::registry().with(logger);
        // On the server's own threads alone: tests run side by side in one process.
        let dispatch = tracing::Dispatch::new(subscriber);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .on_thread_start(move || std::mem::forget(tracing::dispatcher::set_default(&dispatch)))
            .build()
            .unwrap();
        let server = runtime.spawn(serve(bound, control, stopped));
        Self { directory, fake, runtime, stop, server: Some(server) }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("vici")
    }

    fn client(&self) -> Vici {
        let client = Client::connect(&format!("unix://{}", self.path().display())).unwrap();
        client.set_timeout(Some(Duration::from_secs(20))).unwrap();
        client
    }

    fn told(&mut self) -> Told {
        self.runtime.block_on(self.fake.told())
    }

    /// Waits until the server listens to events.
    fn listens(&self) {
        self.runtime.block_on(self.fake.listened_to());
    }
}

fn ask(client: &mut Vici, command: &str, arguments: &Message) -> String {
    dump::raw(command, &client.request(command, arguments).unwrap())
}

fn stream(client: &mut Vici, command: &str, event: &str, arguments: &Message) -> Vec<String> {
    let mut events = Vec::new();
    client.stream(command, event, arguments, |message| events.push(dump::raw(event, message))).unwrap();
    events
}

fn load(client: &mut Vici, name: &str, section: Section) -> String {
    ask(client, "load-conn", &Message::new().with_section(name, section))
}

#[test]
fn what_is_loaded_is_listed_and_unloaded() {
    let server = Server::start();
    let mut client = server.client();
    let lan = connection(&[("lan", Section::new())]);
    assert_eq!(load(&mut client, "b", lan.clone()), "load-conn {success=yes}");
    assert_eq!(load(&mut client, "a", lan), "load-conn {success=yes}");
    assert_eq!(ask(&mut client, "get-conns", &Message::new()), "get-conns {conns=[b a]}");
    let listed = stream(&mut client, "list-conns", "list-conn", &Message::new());
    assert_eq!(listed.len(), 2);
    assert!(listed[0].starts_with("list-conn {b {local_addrs=[%any] "), "{listed:?}");
    let one = stream(&mut client, "list-conns", "list-conn", &Message::new().with("ike", "a"));
    assert_eq!(one.len(), 1);
    let name = |name: &str| Message::new().with("name", name);
    assert_eq!(ask(&mut client, "unload-conn", &name("b")), "unload-conn {success=yes}");
    let gone = "unload-conn {success=no errmsg=there is no connection 'b'}";
    assert_eq!(ask(&mut client, "unload-conn", &name("b")), gone);
    assert_eq!(
        ask(&mut client, "unload-conn", &Message::new()),
        "unload-conn {success=no errmsg=name is missing}"
    );
    assert_eq!(ask(&mut client, "get-conns", &Message::new()), "get-conns {conns=[a]}");

    let secret = Message::new()
        .with("id", "ike-1")
        .with("type", "IKE")
        .with("data", "k")
        .with_list("owners", ["a", "b"]);
    assert_eq!(ask(&mut client, "load-shared", &secret), "load-shared {success=yes}");
    assert_eq!(ask(&mut client, "get-shared", &Message::new()), "get-shared {keys=[ike-1]}");
    assert_eq!(ask(&mut client, "clear-creds", &Message::new()), "clear-creds {success=yes}");
    assert_eq!(ask(&mut client, "get-shared", &Message::new()), "get-shared {keys=[]}");

    let pool = Message::new()
        .with_section("p", Section::new().with("addrs", "10.77.0.0/24").with_list("dns", ["10.0.0.1"]));
    assert_eq!(ask(&mut client, "load-pool", &pool), "load-pool {success=yes}");
    let listed = "get-pools {p {base=10.77.0.0 size=254 online=0 offline=0}}";
    assert_eq!(ask(&mut client, "get-pools", &Message::new()), listed);
    assert_eq!(ask(&mut client, "unload-pool", &name("p")), "unload-pool {success=yes}");
    assert_eq!(ask(&mut client, "get-pools", &Message::new()), "get-pools {}");
}

/// A key and two certificates of authorities with it, made by OpenSSL.
const KEY: &[u8] = include_bytes!("../../tests/samples/key.pem");
const CERTIFICATES: &[u8] = include_bytes!("../../tests/samples/two.pem");

#[test]
fn certificates_keys_and_authorities_are_loaded_listed_and_unloaded() {
    let server = Server::start();
    let mut client = server.client();
    let x509 = Message::new().with("type", "x509").with("flag", "ca").with("data", CERTIFICATES);
    assert_eq!(ask(&mut client, "load-cert", &x509), "load-cert {success=yes}");
    let list = |client: &mut _, message: Message| stream(client, "list-certs", "list-cert", &message);
    let listed = list(&mut client, Message::new());
    assert_eq!(listed.len(), 2);
    assert!(listed[0].starts_with("list-cert {type=X509 flag=CA data=0x3082"), "{listed:?}");

    let key = Message::new().with("type", "any").with("data", KEY);
    let loaded = ask(&mut client, "load-key", &key);
    assert!(loaded.starts_with("load-key {success=yes id="), "{loaded}");
    let id = loaded.split("id=").nth(1).unwrap().trim_end_matches('}').to_owned();
    assert_eq!(id.len(), 40);
    assert_eq!(ask(&mut client, "get-keys", &Message::new()), format!("get-keys {{keys=[{id}]}}"));
    let listed = list(&mut client, Message::new().with("type", "X509").with("subject", "O=Lab, CN=two"));
    assert_eq!(listed.len(), 1);
    assert!(listed[0].starts_with("list-cert {type=X509 flag=CA has_privkey=yes data=0x3082"), "{listed:?}");
    assert_eq!(list(&mut client, Message::new().with("type", "x509ca")).len(), 2);
    assert!(list(&mut client, Message::new().with("type", "X509").with("flag", "NONE")).is_empty());
    assert!(list(&mut client, Message::new().with("type", "nonsense")).is_empty());
    let unload = Message::new().with("id", id.as_str());
    assert_eq!(ask(&mut client, "unload-key", &unload), "unload-key {success=yes}");
    let gone = format!("unload-key {{success=no errmsg=there is no private key {id}}}");
    assert_eq!(ask(&mut client, "unload-key", &unload), gone);

    let authority = Section::new().with("cacert", CERTIFICATES).with_list("crl_uris", ["http://lab/one.crl"]);
    let lab = Message::new().with_section("lab", authority);
    assert_eq!(ask(&mut client, "load-authority", &lab), "load-authority {success=yes}");
    assert_eq!(ask(&mut client, "get-authorities", &Message::new()), "get-authorities {authorities=[lab]}");
    let listed = stream(&mut client, "list-authorities", "list-authority", &Message::new());
    let expected = "list-authority {lab {cacert=O=Lab, CN=one crl_uris=[http://lab/one.crl] ocsp_uris=[]}}";
    assert_eq!(listed, [expected]);
    // What belongs to an authority stays with it.
    assert_eq!(ask(&mut client, "clear-creds", &Message::new()), "clear-creds {success=yes}");
    assert_eq!(list(&mut client, Message::new()).len(), 1);
    let name = Message::new().with("name", "lab");
    assert_eq!(ask(&mut client, "unload-authority", &name), "unload-authority {success=yes}");
    let gone = "unload-authority {success=no errmsg=there is no authority 'lab'}";
    assert_eq!(ask(&mut client, "unload-authority", &name), gone);
    assert!(list(&mut client, Message::new()).is_empty());
}

#[test]
fn traps_and_shunts_are_installed_listed_and_uninstalled() {
    let server = Server::start();
    let mut client = server.client();
    let child = |remote: &str| Section::new().with_list("remote_ts", [remote]);
    let children =
        connection(&[("net", child("10.9.0.0/16")), ("lan", child("dynamic[udp]").with("mode", "drop"))]);
    load(&mut client, "gw", children.with_list("remote_addrs", ["192.0.2.2"]));
    load(&mut client, "any", connection(&[("nobody", Section::new())]));
    for name in ["lan", "net", "net"] {
        let install = Message::new().with("child", name);
        assert_eq!(ask(&mut client, "install", &install), "install {success=yes}");
    }
    let nobody = Message::new().with("child", "nobody");
    assert_eq!(
        ask(&mut client, "install", &nobody),
        "install {success=no errmsg=installing 'nobody' failed: there is no address to initiate to}"
    );
    let mut listed = |kinds: &[&str]| {
        let message = kinds.iter().fold(Message::new(), |message, kind| message.with_flag(*kind, true));
        stream(&mut client, "list-policies", "list-policy", &message)
    };
    let trap = "list-policy {gw/net {child=net ike=gw mode=TUNNEL local-ts=[192.0.2.1/32] \
                remote-ts=[10.9.0.0/16]}}";
    let shunt =
        "list-policy {gw/lan {child=lan ike=gw mode=DROP local-ts=[dynamic] remote-ts=[dynamic[udp]]}}";
    assert_eq!(listed(&["trap", "drop", "pass"]), [trap, shunt]);
    assert_eq!(listed(&["drop"]), [shunt]);
    assert!(listed(&[]).is_empty());
    let uninstall = Message::new().with("child", "net").with("ike", "gw");
    assert_eq!(ask(&mut client, "uninstall", &uninstall), "uninstall {success=yes}");
    let kinds = Message::new().with_flag("trap", true);
    assert!(stream(&mut client, "list-policies", "list-policy", &kinds).is_empty());
}

#[test]
fn what_cannot_be_loaded_is_refused_by_a_sentence() {
    let server = Server::start();
    let mut client = server.client();
    let refusals = [
        (
            "load-conn",
            Message::new().with_section("gw", Section::new().with("colour", "red")),
            "there is no key connections.gw.colour",
        ),
        (
            "load-shared",
            Message::new().with("type", "ssh").with("data", "k"),
            "type = ssh: expected one of ike, eap, xauth, ntlm, ppk",
        ),
        ("load-shared", Message::new().with("type", "ike"), "data is missing"),
        ("load-cert", Message::new().with("type", "X509").with("data", ".."), "this is neither PEM nor DER"),
        ("load-cert", Message::new().with("data", ".."), "type is missing"),
        (
            "load-cert",
            Message::new().with("type", "X509").with("flag", "ROOT").with("data", ".."),
            "flag = ROOT: expected one of NONE, CA, AA, OCSP, ANY",
        ),
        (
            "load-key",
            Message::new().with("type", "rsa").with("data", KEY),
            "type = rsa: this is a key of type ECDSA 256",
        ),
        ("load-key", Message::new().with("type", "any"), "data is missing"),
        (
            "load-token",
            Message::new().with("handle", "1"),
            "keys on tokens are not supported yet: expected private keys in files",
        ),
        (
            "load-authority",
            Message::new().with_section("ca", Section::new()),
            "authorities.ca: expected a CA certificate in cacert or file",
        ),
        (
            "load-authority",
            Message::new().with_section("ca", Section::new().with("colour", "red")),
            "there is no key authorities.ca.colour",
        ),
        ("load-pool", Message::new().with_section("p", Section::new()), "pools.p: addrs is missing"),
        ("install", Message::new(), "child is missing"),
        ("install", Message::new().with("child", "lan"), "no connection has a child 'lan'"),
        ("uninstall", Message::new().with("child", "lan"), "no trap or shunt 'lan' is installed"),
        ("initiate", Message::new(), "neither a connection nor a child is named"),
        ("initiate", Message::new().with("child", "lan"), "no connection has a child 'lan'"),
    ];
    for (command, arguments, sentence) in refusals {
        let expected = format!("{command} {{success=no errmsg={sentence}}}");
        assert_eq!(ask(&mut client, command, &arguments), expected);
    }
    assert_eq!(ask(&mut client, "get-conns", &Message::new()), "get-conns {conns=[]}");
}

#[test]
fn connections_before_a_bad_one_stay_loaded() {
    let server = Server::start();
    let mut client = server.client();
    let both = Message::new()
        .with_section("good", connection(&[]))
        .with_section("bad", Section::new().with("version", "7"))
        .with_section("late", connection(&[]));
    let answer = ask(&mut client, "load-conn", &both);
    assert_eq!(answer, "load-conn {success=no errmsg=connections.bad.version = 7: expected 0, 1 or 2}");
    assert_eq!(ask(&mut client, "get-conns", &Message::new()), "get-conns {conns=[good]}");
}

#[test]
fn initiating_shows_its_own_log_and_no_other() {
    let mut server = Server::start();
    let mut client = server.client();
    load(&mut client, "gw", connection(&[("lan", Section::new())]));
    let arguments = Message::new().with("child", "lan").with("loglevel", "1");
    let lines = stream(&mut client, "initiate", "control-log", &arguments);
    let line = "control-log {group=IKE level=1 ikesa-name=gw ikesa-uniqueid=1 msg=initiating IKE_SA gw[1]}";
    assert_eq!(lines, [line]);
    assert_eq!(server.told(), Told::Initiate("gw".to_owned(), Some("lan".to_owned())));
    let detailed = Message::new().with("ike", "gw").with("loglevel", "2");
    let lines = stream(&mut client, "initiate", "control-log", &detailed);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(server.told(), Told::Initiate("gw".to_owned(), None));
    server.fake.refuse("the peer said no");
    let answer = ask(&mut client, "initiate", &Message::new().with("ike", "gw"));
    assert_eq!(answer, "initiate {success=no errmsg=establishing failed: the peer said no}");
}

#[test]
fn waiting_ends_when_its_time_is_up_and_need_not_begin() {
    let mut server = Server::start();
    let mut client = server.client();
    load(&mut client, "gw", connection(&[]));
    server.fake.slow_down();
    let arguments = Message::new().with("ike", "gw").with("timeout", "20");
    let answer = ask(&mut client, "initiate", &arguments);
    let expected =
        "initiate {success=no errmsg=establishing failed: not done within 20 ms; it goes on without waiting}";
    assert_eq!(answer, expected);
    server.told();
    let arguments = Message::new().with("ike", "gw").with("timeout", "-1");
    assert_eq!(ask(&mut client, "initiate", &arguments), "initiate {success=yes}");
    assert_eq!(server.told(), Told::Initiate("gw".to_owned(), None));
}

#[test]
fn terminating_counts_what_it_ends() {
    let mut server = Server::start();
    let mut client = server.client();
    server.fake.set_sas(vec![
        ike_sa(1, "gw", vec![child_sa(10, "lan")]),
        ike_sa(2, "gw", vec![]),
        ike_sa(3, "other", vec![child_sa(30, "lan")]),
    ]);
    let answer = ask(&mut client, "terminate", &Message::new().with("ike", "gw"));
    assert_eq!(answer, "terminate {success=yes matches=2 terminated=2}");
    assert_eq!(server.told(), Told::TerminateIke(1, false));
    assert_eq!(server.told(), Told::TerminateIke(2, false));
    let lines = stream(
        &mut client,
        "terminate",
        "control-log",
        &Message::new().with("ike-id", "3").with("force", "yes"),
    );
    let line = "control-log {group=IKE level=1 ikesa-name=gw ikesa-uniqueid=3 msg=deleting IKE_SA gw[3]}";
    assert_eq!(lines, [line]);
    assert_eq!(server.told(), Told::TerminateIke(3, true));
    let answer = ask(&mut client, "terminate", &Message::new().with("child", "lan").with("ike", "gw"));
    assert_eq!(answer, "terminate {success=yes matches=1 terminated=1}");
    assert_eq!(server.told(), Told::TerminateChild(10));
    let answer = ask(&mut client, "terminate", &Message::new().with("ike", "none"));
    let expected = "terminate {success=no matches=0 terminated=0 errmsg=no matching SAs to terminate found}";
    assert_eq!(answer, expected);
    let answer = ask(&mut client, "terminate", &Message::new());
    let expected =
        "terminate {success=no errmsg=none of child, ike, child-id and ike-id says what to terminate}";
    assert_eq!(answer, expected);
    server.fake.refuse("it hangs");
    let answer = ask(&mut client, "terminate", &Message::new().with("ike-id", "2"));
    let expected = "terminate {success=no matches=1 terminated=0 errmsg=terminating failed: it hangs}";
    assert_eq!(answer, expected);
}

#[test]
fn rekeying_is_begun_and_not_waited_for() {
    let mut server = Server::start();
    let mut client = server.client();
    server.fake.set_sas(vec![ike_sa(1, "gw", vec![child_sa(10, "lan")])]);
    let answer = ask(&mut client, "rekey", &Message::new().with("ike", "gw"));
    assert_eq!(answer, "rekey {success=yes matches=1}");
    assert_eq!(server.told(), Told::RekeyIke(1));
    let answer = ask(&mut client, "rekey", &Message::new().with("ike", "gw").with("reauth", "yes"));
    assert_eq!(answer, "rekey {success=yes matches=1}");
    assert_eq!(server.told(), Told::ReauthenticateIke(1));
    let answer = ask(&mut client, "rekey", &Message::new().with("child", "lan"));
    assert_eq!(answer, "rekey {success=yes matches=1}");
    assert_eq!(server.told(), Told::RekeyChild(10));
    let answer = ask(&mut client, "rekey", &Message::new().with("child", "none"));
    assert_eq!(answer, "rekey {success=no matches=0 errmsg=no matching SAs to rekey found}");
}

#[test]
fn sas_are_listed_with_what_their_children_have_carried() {
    let server = Server::start();
    let mut client = server.client();
    let used = ChildUse { bytes_in: 84, packets_in: 1, ..ChildUse::default() };
    server.fake.set_use(11, used);
    server.fake.set_sas(vec![
        ike_sa(1, "gw", vec![child_sa(10, "lan"), child_sa(11, "dmz")]),
        ike_sa(2, "other", vec![child_sa(20, "lan")]),
    ]);
    let listed = stream(&mut client, "list-sas", "list-sa", &Message::new());
    assert_eq!(listed.len(), 2);
    assert!(
        listed[0].contains(" child-sas {lan-10 {name=lan ") && listed[0].contains("bytes-in=84 packets-in=1")
    );
    let dmz = stream(&mut client, "list-sas", "list-sa", &Message::new().with("child", "dmz"));
    assert_eq!(dmz.len(), 2, "an IKE_SA is listed even if none of its children are");
    assert!(!dmz[0].contains("lan-10") && dmz[0].contains("dmz-11"), "{dmz:?}");
    assert!(dmz[1].ends_with("child-sas {}}}"), "{dmz:?}");
    let second = stream(&mut client, "list-sas", "list-sa", &Message::new().with("ike-id", "2"));
    assert_eq!(second.len(), 1);
    assert_eq!(ask(&mut client, "list-sas", &Message::new()), "list-sas {}", "nobody listens");
}

#[test]
fn statistics_and_counters() {
    let server = Server::start();
    let mut client = server.client();
    let mut half_open = ike_sa(2, "gw", vec![]);
    half_open.state = ferry_ike::status::IkeSaState::Connecting;
    server.fake.set_sas(vec![ike_sa(1, "gw", vec![]), half_open]);
    let stats = client.request("stats", &Message::new()).unwrap();
    let ike_sas = stats.section("ikesas").unwrap();
    assert_eq!((ike_sas.int("total"), ike_sas.int("half-open")), (Some(2), Some(1)));
    let uptime = stats.section("uptime").unwrap();
    assert_eq!(uptime.str("running"), Some("0 seconds"));
    assert!(stats.strs("plugins").any(|name| name.starts_with("dataplane:")));

    let counted = |requests_in| Counters {
        ike_sa_init: ExchangeCounters { requests_in, ..ExchangeCounters::default() },
        ..Counters::default()
    };
    let read = |client: &mut Vici| {
        let reply = client.request("get-counters", &Message::new()).unwrap();
        assert_eq!(reply.str("success"), Some("yes"));
        reply.section("counters").unwrap().section("").unwrap().int("ike-init-in-req")
    };
    server.fake.set_counters(counted(7));
    assert_eq!(read(&mut client), Some(7));
    assert_eq!(ask(&mut client, "reset-counters", &Message::new()), "reset-counters {success=yes}");
    server.fake.set_counters(counted(9));
    assert_eq!(read(&mut client), Some(2));
    let all = ask(&mut client, "get-counters", &Message::new().with("all", "yes"));
    assert_eq!(all, "get-counters {counters {} success=yes}");
    let one = ask(&mut client, "get-counters", &Message::new().with("name", "gw"));
    assert_eq!(one, "get-counters {counters {} success=no errmsg=there are no counters for connection 'gw'}");
}

#[test]
fn what_happens_is_told_to_those_who_asked() {
    let server = Server::start();
    let (mut client, mut other) = (server.client(), server.client());
    server.listens();
    client.register("ike-updown").unwrap();
    client.register("child-updown").unwrap();
    other.register("child-updown").unwrap();
    let status = ike_sa(5, "gw", vec![]);
    server.fake.raise(Event::IkeSaUp(Box::new(status.clone())));
    let child = Box::new(child_sa(50, "lan"));
    server.fake.raise(Event::ChildSaUp { ike_sa: Box::new(status.clone()), child_sa: child });
    let (status, reason) = (Box::new(status), "over".to_owned());
    server.fake.raise(Event::IkeSaDown { status, reason, cause: ferry_ike::output::ChildDown::Closed });
    let names: Vec<String> = (0..3).map(|_| client.next_event().unwrap().0).collect();
    assert_eq!(names, ["ike-updown", "child-updown", "ike-updown"]);
    let (name, message) = other.next_event().unwrap();
    assert_eq!((name.as_str(), message.str("up")), ("child-updown", Some("yes")));
    let ike = message.section("gw").unwrap();
    assert_eq!(ike.int("uniqueid"), Some(5));
    assert_eq!(ike.section("child-sas").unwrap().section("lan-50").unwrap().int("uniqueid"), Some(50));
    assert!(matches!(client.register("ike-updowns"), Err(ClientError::UnknownEvent(_))));
    client.unregister("ike-updown").unwrap();
    assert!(matches!(client.unregister("ike-updown"), Err(ClientError::UnknownEvent(_))));
}

#[test]
fn events_about_children_tell_their_numbers_in_the_kernel() {
    let server = Server::start();
    let mut client = server.client();
    server.listens();
    client.register("child-updown").unwrap();
    client.register("child-rekey").unwrap();
    let numbers = |reqid, interface_in| {
        let numbers = ChildNumbers { reqid, mark_out: (7, 0xff), interface_in, ..ChildNumbers::default() };
        ChildUse { numbers: Some(numbers), ..ChildUse::default() }
    };
    server.fake.set_use(50, numbers(3, 42));
    server.fake.set_use(51, numbers(3, 43));
    let ike = || Box::new(ike_sa(5, "gw", vec![]));
    let [old, new] = [50, 51].map(|id| Box::new(child_sa(id, "lan")));
    server.fake.raise(Event::ChildSaUp { ike_sa: ike(), child_sa: old.clone() });
    server.fake.raise(Event::ChildRekeyed { ike_sa: ike(), old, new: new.clone() });
    let reason = ferry_ike::output::ChildDown::Closed;
    let up = client.next_event().unwrap().1;
    let rekeyed = client.next_event().unwrap().1;
    // It is gone from the kernel when it is told that it goes.
    server.fake.set_use(51, ChildUse::default());
    server.fake.raise(Event::ChildSaDown { ike_sa: ike(), child_sa: new, reason });
    let down = client.next_event().unwrap().1;
    let children = |event: &Message| event.section("gw").unwrap().section("child-sas").unwrap().clone();
    let both = children(&rekeyed).section("lan").unwrap().clone();
    for (child, interface) in [
        (children(&up).section("lan-50"), "0000002a"),
        (both.section("old"), "0000002a"),
        (both.section("new"), "0000002b"),
        (children(&down).section("lan-51"), "0000002b"),
    ] {
        let child = child.unwrap();
        let told =
            ["reqid", "mark-out", "mark-mask-out", "if-id-in"].map(|key| child.str(key).unwrap_or_default());
        assert_eq!(told, ["3", "00000007", "000000ff", interface]);
    }
}

#[test]
fn the_log_is_told_to_those_who_asked() {
    let server = Server::start();
    let (mut listener, mut client) = (server.client(), server.client());
    listener.register("log").unwrap();
    load(&mut client, "gw", connection(&[]));
    let (name, message) = listener.next_event().unwrap();
    assert_eq!(name, "log");
    assert_eq!((message.str("group"), message.str("msg")), (Some("CFG"), Some("added vici connection: gw")));
    assert!(message.int("thread").is_some());
}

#[test]
fn a_client_that_waits_does_not_make_others_wait() {
    let mut server = Server::start();
    let (mut busy, mut client) = (server.client(), server.client());
    load(&mut client, "gw", connection(&[]));
    server.fake.slow_down();
    let waiting = std::thread::spawn(move || busy.request("initiate", &Message::new().with("ike", "gw")));
    server.told();
    assert_eq!(ask(&mut client, "get-conns", &Message::new()), "get-conns {conns=[gw]}");
    // When the daemon ends, the one that waits learns it by its connection.
    server.stop.send(true).unwrap();
    let handle = server.server.take().unwrap();
    server.runtime.block_on(handle).unwrap();
    let before = Instant::now();
    server.runtime.shutdown_background();
    assert!(matches!(waiting.join().unwrap(), Err(ClientError::Closed { .. })));
    assert!(before.elapsed() < Duration::from_secs(10));
}

/// Sends frames as they are and reads as many answers.
fn exchange(server: &Server, frames: &[Vec<u8>], answers: usize) -> Vec<Vec<u8>> {
    let mut stream = UnixStream::connect(server.path()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(&frames.concat()).unwrap();
    let read = |stream: &mut UnixStream| {
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut frame).unwrap();
        frame
    };
    (0..answers).map(|_| read(&mut stream)).collect()
}

fn frame(packet: Packet<'_>) -> Vec<u8> {
    packet.encode().unwrap().to_vec()
}

#[test]
fn requests_at_once_are_answered_in_their_order() {
    let server = Server::start();
    let frames = [
        frame(Packet::CommandRequest { name: "get-conns", body: &[] }),
        frame(Packet::CommandRequest { name: "no-such-command", body: &[] }),
        vec![0, 0, 0, 0], // an empty packet, and one of a type that is not: no answer
        vec![0, 0, 0, 1, 0x09],
        frame(Packet::CommandResponse { body: &[] }),
        frame(Packet::EventRegister { name: "no-such-event" }),
        frame(Packet::EventRegister { name: "ike-rekey" }),
        frame(Packet::EventUnregister { name: "ike-rekey" }),
        frame(Packet::EventUnregister { name: "ike-rekey" }),
        frame(Packet::CommandRequest { name: "version", body: b"garbage" }),
        frame(Packet::CommandRequest { name: "load-conn", body: b"garbage" }),
    ];
    let answers = exchange(&server, &frames, 8);
    let kinds: Vec<u8> = answers.iter().map(|answer| answer[0]).collect();
    assert_eq!(kinds, [1, 2, 6, 5, 5, 6, 1, 1]);
    let version = Message::decode(&answers[6][1..]).unwrap();
    assert_eq!(version.str("daemon"), Some("ferryd"));
    let load = Message::decode(&answers[7][1..]).unwrap();
    assert_eq!(load.str("success"), Some("no"));
    assert!(load.str("errmsg").unwrap().starts_with("this is no VICI message: "), "{load:?}");
}

#[test]
fn registering_twice_is_hearing_twice() {
    let server = Server::start();
    let frames = [
        frame(Packet::EventRegister { name: "list-sa" }),
        frame(Packet::EventRegister { name: "list-sa" }),
        frame(Packet::CommandRequest { name: "list-sas", body: &[] }),
    ];
    server.fake.set_sas(vec![ike_sa(1, "gw", vec![])]);
    let answers = exchange(&server, &frames, 5);
    let kinds: Vec<u8> = answers.iter().map(|answer| answer[0]).collect();
    assert_eq!(kinds, [5, 5, 7, 7, 1]);
    assert_eq!(answers[2], answers[3]);
}

#[test]
fn a_frame_too_long_closes_the_connection() {
    let server = Server::start();
    let mut stream = UnixStream::connect(server.path()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(&[0x00, 0x08, 0x00, 0x01]).unwrap();
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn a_client_that_reads_no_events_is_dropped_and_the_others_go_on() {
    let server = Server::start();
    let mut deaf = UnixStream::connect(server.path()).unwrap();
    deaf.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    deaf.write_all(&frame(Packet::EventRegister { name: "ike-updown" })).unwrap();
    deaf.read_exact(&mut [0; 5]).unwrap();
    server.listens();
    let mut client = server.client();
    client.register("ike-updown").unwrap();
    let mut status = ike_sa(1, "gw", vec![]);
    status.local_vips = vec![std::net::Ipv6Addr::LOCALHOST.into(); 4000];
    // Several megabytes, each event read by one client before the next is raised.
    for id in 0..200 {
        status.id = IkeSaId(id);
        server.fake.raise(Event::IkeSaUp(Box::new(status.clone())));
        assert_eq!(client.next_event().unwrap().0, "ike-updown");
    }
    // What was in the socket's own buffer can be read; then the connection is closed.
    let mut read = Vec::new();
    deaf.read_to_end(&mut read).unwrap();
    assert!(read.len() < 4 * 1024 * 1024, "{} octets were read", read.len());
}
