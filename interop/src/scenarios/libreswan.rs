//! libreswan at the other end.

use anyhow::{Context, Result, ensure};

use super::certificates::{Authority, P256, RSA};
use super::strangers::{self, Keys, OURS, SECRET, THEIRS, carries};
use super::topology::{Road, Sites};
use super::{refusal, roadwarrior, strangers::patience};
use crate::lab::{Lab, until};
use crate::peer::{Connection, Daemon, Libreswan, Section, SwanctlConf, child, end};

/// The lines of its connection, which proves itself as `auth` says.
fn connection(sites: &Sites, auth: &str) -> String {
    let (near, far) = (&sites.right, &sites.left);
    format!(
        "left={}\nleftid=@{THEIRS}\nleftsubnet={}\nright={}\nrightid=@{OURS}\nrightsubnet={}\n{auth}",
        near.outer[0], near.networks[0], far.outer[0], far.networks[0]
    )
}

/// Either end begins, rekeys and ends.
pub(super) fn with_a_key(lab: &Lab, ours: Daemon) -> Result<()> {
    let sites = strangers::sites(lab)?;
    let mut theirs =
        Libreswan::new(&sites.right.gateway, &format!("@{OURS} @{THEIRS} : PSK \"{SECRET}\"\n"))?;
    theirs.start("site", &connection(&sites, "authby=secret"))?;
    let ours = lab.peer(&sites.left.gateway, ours, &strangers::conf(&sites, "psk"))?;
    for begins in ["we", "they"] {
        match begins {
            "we" => ours.initiate("net").map(drop)?,
            _ => theirs.initiate("site")?,
        }
        let said = |what: &'static str| format!("when {begins} have begun: {what}");
        ensure!(ours.sa()?.is_initiator == (begins == "we"), "the roles are wrong: {:?}", ours.sa()?);
        carries(&sites).with_context(|| said("traffic"))?;
        strangers::we_rekey(&sites, &ours).with_context(|| said("rekeying by us"))?;
        let before = Keys::of(&ours)?;
        theirs.rekey_child("site").with_context(|| said("rekeying of the child by libreswan"))?;
        let between = before.wait_for_child(&ours)?;
        carries(&sites).with_context(|| said("traffic after libreswan has rekeyed the child"))?;
        theirs.rekey_ike("site").with_context(|| said("rekeying of the IKE SA by libreswan"))?;
        between.wait_for_ike(&ours)?;
        carries(&sites).with_context(|| said("traffic after libreswan has rekeyed the IKE SA"))?;
        // What pluto has begun it begins again when its peer ends it.
        match begins {
            "we" => ours.terminate("site").map(drop)?,
            _ => theirs.terminate("site")?,
        }
        strangers::wait_for_end(&ours).with_context(|| said("ending it"))?;
    }
    strangers::nothing_leaked(lab, &sites)?;
    theirs.stop()
}

/// Certificates instead.
pub(super) fn with_certificates(lab: &Lab, ours: Daemon) -> Result<()> {
    let sites = strangers::sites(lab)?;
    let authority = Authority::root(sites.left.gateway.directory(), "CA")?;
    authority.present(&sites.left.gateway)?;
    let mut peer = None;
    // It takes RSA's signatures of RFC 7427 by PSS alone, which is asked for on our side as with charon.
    for (key, auth, our_auth) in
        [(RSA, "authby=rsa-sha2", "ike:rsa/pss-sha256"), (P256, "authby=ecdsa", "pubkey")]
    {
        for name in [OURS, THEIRS] {
            authority.certify(name, key)?;
        }
        authority.equip(&sites.left.gateway, OURS)?;
        let conf = strangers::conf(&sites, our_auth);
        let ours = match &peer {
            None => peer.insert(lab.peer(&sites.left.gateway, ours, &conf)?),
            Some(peer) => {
                peer.load(&conf)?;
                peer
            }
        };
        let mut theirs = Libreswan::new(&sites.right.gateway, "")?;
        let [own, key, ca] =
            [(THEIRS, "pem"), (THEIRS, "key"), ("CA", "pem")].map(|(name, kind)| authority.file(name, kind));
        theirs.equip(THEIRS, &own, &key, &ca)?;
        let lines = format!("{auth}\nleftcert={THEIRS}\nleftsendcert=always\nrightca=%same");
        theirs.start("site", &connection(&sites, &lines))?;
        ours.initiate("net").with_context(|| format!("{auth}\n{}", theirs.log().text()))?;
        carries(&sites)?;
        theirs.terminate("site")?;
        strangers::wait_for_end(ours)?;
        theirs.initiate("site").with_context(|| auth)?;
        let before = Keys::of(ours)?;
        carries(&sites)?;
        theirs.rekey_ike("site")?;
        before.wait_for_ike(ours)?;
        carries(&sites)?;
        theirs.stop()?;
        strangers::wait_for_end(ours)?;
    }
    strangers::nothing_leaked(lab, &sites)
}

/// Neither proves who it is (RFC 7619), and either end begins. Where somebody is asked for, nobody is refused.
pub(super) fn with_nobody(lab: &Lab, daemon: Daemon) -> Result<()> {
    let sites = strangers::sites(lab)?;
    let (near, far) = (&sites.left, &sites.right);
    let mut theirs = Libreswan::new(&far.gateway, "")?;
    let lines = format!(
        "left={}\nleftid=%null\nleftsubnet={}\nright={}\nrightid=%null\nrightsubnet={}\nauthby=null",
        far.outer[0], far.networks[0], near.outer[0], near.networks[0]
    );
    theirs.start("site", &lines)?;
    let conf = |their_end: Section| {
        let net = child(near.networks[0], far.networks[0]).set("esp_proposals", "aes256gcm16-ecp256");
        let connection = Connection::between_ends(Section::new().set("auth", "null"), their_end)
            .between(near.outer[0], far.outer[0])
            .set("proposals", "aes256-sha256-ecp256,default")
            .child("net", net);
        SwanctlConf::new().connection("site", connection)
    };
    let nobody = || Section::new().set("auth", "null");
    let ours = lab.peer(&near.gateway, daemon, &conf(nobody()))?;
    ours.initiate("net").with_context(|| theirs.log().text())?;
    let sa = ours.sa()?;
    ensure!([&sa.local.id, &sa.remote.id] == ["ID_NULL", "ID_NULL"], "somebody is named: {sa:?}");
    carries(&sites)?;
    strangers::we_rekey(&sites, &ours)?;
    ours.terminate("site")?;
    theirs.initiate("site").context("libreswan begins")?;
    carries(&sites)?;
    theirs.terminate("site")?;
    strangers::wait_for_end(&ours)?;

    let mark = ours.log().mark();
    ours.load(&conf(end("psk", THEIRS)).secret("site", SECRET, &[]))?.success()?;
    refusal::refused(&ours, "net").context("somebody is asked for")?;
    ours.log().expect(mark, &["used NULL authentication, expected a pre-shared key"])?;
    strangers::nothing_leaked(lab, &sites)?;
    theirs.stop()
}

/// Each as the other's client.
pub(super) fn behind_nat(lab: &Lab, daemon: Daemon) -> Result<()> {
    let road = Road::build(lab, 1)?;
    lab.record(&road.nat, "wan")?;
    let secret = roadwarrior::SECRET;
    let mut gateway = Libreswan::new(&road.gateway, &format!(": PSK \"{secret}\"\n"))?;
    let lines = format!(
        "left={}\nleftid=@gw.test\nleftsubnet={}\nright=%any\nrightid=@alice\nrightaddresspool=10.9.0.1-10.9.0.9\n\
         authby=secret\npfs=no\nnarrowing=yes",
        Road::GATEWAY,
        Road::LAN
    );
    gateway.start("road", &lines)?;
    let client = lab.peer(road.client()?, daemon, &roadwarrior::client("alice"))?;
    client.initiate("net").with_context(|| gateway.log().text())?;
    let sa = client.sa()?;
    ensure!(sa.local.virtual_ips == ["10.9.0.1"], "our client has the addresses {sa:?}");
    strangers::client_reaches(&road, "10.9.0.1")?;
    client.terminate("home")?;
    gateway.stop()?;
    client.stop()?;

    let gateway = lab.peer(&road.gateway, daemon, &strangers::gateway())?;
    let mut client = Libreswan::new(road.client()?, &format!(": PSK \"{secret}\"\n"))?;
    let lines = format!(
        "left=192.168.7.10\nleftnexthop=192.168.7.1\nleftid=@alice\nleftmodecfgclient=yes\nleftsubnet=0.0.0.0/0\n\
         right={}\nrightid=@gw.test\nrightsubnet={}\nauthby=secret\npfs=no\nnarrowing=yes",
        Road::GATEWAY,
        Road::LAN
    );
    client.start("home", &lines)?;
    client.initiate("home")?;
    let sa = gateway.sa()?;
    let in_udp = sa.children.iter().all(|child| child.mode == "TUNNEL-in-UDP");
    ensure!(in_udp && sa.remote.host == Road::OUTSIDE, "not behind a NAT: {sa:?}");
    let address = strangers::leased(&gateway, road.client()?)?;
    strangers::client_reaches(&road, &address).with_context(|| client.log().text())?;
    client.terminate("home")?;
    until(patience(), "the client's end", || Ok(gateway.sas()?.is_empty().then_some(())))?;
    client.stop()
}
