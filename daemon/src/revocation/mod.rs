//! Whether certificates have been revoked: what is loaded and cached of that, and fetching the rest.
//!
//! Only for chains that are trusted otherwise is anything fetched: a stranger's certificate makes nobody go anywhere.
//! OCSP responders are asked first, then revocation lists are looked into that are loaded or cached, then those at the
//! places that the certificate and the configuration's `authorities` name. What a peer shows of OCSP (RFC 4806) saves
//! asking; [`own`] has what we show peers.

mod http;
mod ocsp;
mod own;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use ferry_ike::Outcome;
use ferry_ike::output::CertificateCheck;
use ferry_ike::pki::{
    Certificate, Constraints, Fault, Oid, Refusal, Revocation as Rule, RevocationList, Revoked, files,
};
use tokio::sync::Notify;
use tracing::{debug, info, warn};

use self::http::Fetch;
pub(crate) use self::own::Link;
use crate::store::Authority;

/// The longest revocation list that is fetched.
const MAX_LIST: usize = 10 << 20;
/// The most places that are tried for one certificate.
const MAX_PLACES: usize = 4;
/// How it is learnt what is revoked: `plugins.revocation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Methods {
    /// Ask OCSP responders.
    pub(crate) ocsp: bool,
    /// Look into revocation lists.
    pub(crate) crl: bool,
    /// How long one fetch may take.
    pub(crate) timeout: Duration,
}

impl Default for Methods {
    /// charon's.
    fn default() -> Self {
        Self { ocsp: true, crl: true, timeout: Duration::from_secs(10) }
    }
}

/// What is known of revocation. A clone is the same thing.
#[derive(Clone, Default)]
pub(crate) struct Revocations {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    methods: ArcSwap<Methods>,
    authorities: ArcSwap<Vec<Arc<Authority>>>,
    /// Certificates that are for signing OCSP responses, if an authority has issued them for that.
    responders: ArcSwap<Vec<Certificate>>,
    known: Mutex<Known>,
    /// Told when what we show peers may have become another.
    own: Notify,
}

#[derive(Default)]
struct Known {
    lists: Vec<Kept>,
    answers: Vec<ocsp::Answer>,
}

/// A list and where it was fetched; `None` for one that was loaded.
struct Kept {
    list: RevocationList,
    place: Option<String>,
}

impl Revocations {
    /// Learns what is revoked in these ways from now on.
    pub(crate) fn set_methods(&self, methods: Methods) {
        self.inner.methods.store(Arc::new(methods));
    }

    /// Asks at these places, too, and knows those of `certificates` that are for signing OCSP responses.
    pub(crate) fn set_authorities(&self, authorities: Vec<Arc<Authority>>, certificates: &[Certificate]) {
        self.inner.authorities.store(Arc::new(authorities));
        let signs = |one: &&Certificate| {
            one.extended_key_usage().is_some_and(|purposes| purposes.contains(&Oid::OCSP_SIGNING))
        };
        self.inner.responders.store(Arc::new(certificates.iter().filter(signs).cloned().collect()));
    }

    fn methods(&self) -> Methods {
        **self.inner.methods.load()
    }

    /// Takes a list that somebody has loaded. Whether its issuer has made it turns out when it is used.
    pub(crate) fn load(&self, list: RevocationList) {
        info!(target: "cfg", "loaded certificate revocation list of '{}'", list.issuer());
        self.keep(list, None);
    }

    /// Forgets all lists, loaded or fetched, and what responders have said.
    pub(crate) fn clear(&self) {
        *self.known() = Known::default();
        self.look_into_own();
    }

    /// Forgets lists that were fetched.
    pub(crate) fn flush_lists(&self) {
        self.known().lists.retain(|kept| kept.place.is_none());
    }

    /// Forgets what responders have said.
    pub(crate) fn flush_responses(&self) {
        self.known().answers.clear();
        self.look_into_own();
    }

    /// The responses of OCSP that are remembered.
    pub(crate) fn responses(&self) -> Vec<Vec<u8>> {
        self.known().answers.iter().map(|answer| answer.der.clone()).collect()
    }

    /// All lists, loaded and fetched.
    pub(crate) fn lists(&self) -> Vec<RevocationList> {
        self.known().lists.iter().map(|kept| kept.list.clone()).collect()
    }

    /// Whether a peer's certificate is believed.
    pub(crate) async fn vouch(self, check: CertificateCheck) -> Outcome {
        let constraints = check.constraints();
        let id = check.id.clone();
        match self.verify(check, constraints).await {
            Ok(()) => Outcome::Done,
            Err(refusal) => Outcome::Failed(format!("the certificate of '{id}' is not trusted: {refusal}")),
        }
    }

    async fn verify(&self, check: CertificateCheck, constraints: Constraints) -> Result<(), Refusal> {
        let rule = constraints.revocation;
        let CertificateCheck { certificate, sent, responses, trust, id, .. } = check;
        let subject = certificate.to_string();
        // Signatures take their time: other peers are not to wait for those of this one's authorities.
        let chain = tokio::task::spawn_blocking(move || {
            trust.chain(&certificate, &sent, &constraints, SystemTime::now())
        });
        let chain = chain.await.unwrap_or_else(|error| {
            Err(Refusal {
                subject,
                fault: Fault::RevocationUnknown(format!("the check was broken off: {error}")),
            })
        })?;
        info!(target: "cfg", "using certificate of '{id}': {chain}");
        for (certificate, issuer) in chain.links() {
            self.check(certificate, issuer, rule, &responses).await?;
        }
        Ok(())
    }

    /// Whether `certificate` may be used, as far as its revocation goes; `shown` are OCSP responses that the peer has
    /// brought.
    async fn check(
        &self,
        certificate: &Certificate,
        issuer: &Certificate,
        rule: Rule,
        shown: &[Vec<u8>],
    ) -> Result<(), Refusal> {
        let refusal = |fault| Refusal { subject: certificate.to_string(), fault };
        let methods = self.methods();
        let (responders, places) = self.places(certificate, issuer, methods);
        let mut problems = Vec::new();
        let mut status = None;
        if methods.ocsp {
            status = self.ocsp(certificate, issuer, (shown, &responders), &mut problems).await;
        }
        if methods.crl && status.is_none() {
            status = self.crl(certificate, issuer, &places, &mut problems).await;
        }
        match status {
            Some(Some(Revoked { at, reason })) => Err(refusal(Fault::Revoked { at, reason })),
            Some(None) => {
                info!(target: "cfg", "certificate status of \"{certificate}\" is good");
                Ok(())
            }
            None => {
                let has_places = !places.is_empty() || !responders.is_empty();
                if !has_places {
                    let nobody =
                        "there is no revocation list of its issuer, and no place to fetch one or to ask";
                    problems.push(nobody.to_owned());
                }
                let why = problems.join("; ");
                match rule {
                    Rule::Strict => Err(refusal(Fault::RevocationUnknown(why))),
                    Rule::IfUri if has_places => Err(refusal(Fault::RevocationUnknown(why))),
                    Rule::IfUri | Rule::Relaxed => {
                        if has_places {
                            warn!(target: "cfg", "whether \"{certificate}\" is revoked is not known: {why}");
                        } else {
                            debug!(target: "cfg", "whether \"{certificate}\" is revoked is not known: {why}");
                        }
                        Ok(())
                    }
                }
            }
        }
    }

    /// The responders that may know of `certificate`, and where the revocation lists are that may have it.
    fn places(
        &self,
        certificate: &Certificate,
        issuer: &Certificate,
        methods: Methods,
    ) -> (Vec<String>, Vec<String>) {
        let authorities = self.inner.authorities.load();
        let ours: Vec<_> = authorities.iter().filter(|authority| authority.certificate == *issuer).collect();
        let merge = |configured: Vec<&String>, named: &[String]| -> Vec<String> {
            let mut seen = HashSet::new();
            let all = configured.into_iter().chain(named);
            all.filter(|place| seen.insert(place.as_str())).take(MAX_PLACES).cloned().collect()
        };
        let (mut responders, mut lists) = (Vec::new(), Vec::new());
        if methods.ocsp {
            let configured = ours.iter().flat_map(|authority| &authority.ocsp_uris).collect();
            responders = merge(configured, certificate.ocsp_uris());
        }
        if methods.crl {
            let configured = ours.iter().flat_map(|authority| &authority.crl_uris).collect();
            lists = merge(configured, certificate.crl_uris());
        }
        (responders, lists)
    }

    /// What revocation lists say; `None` if there is none that counts.
    async fn crl(
        &self,
        certificate: &Certificate,
        issuer: &Certificate,
        places: &[String],
        problems: &mut Vec<String>,
    ) -> Option<Option<Revoked>> {
        let mut status = self.listed(certificate, issuer);
        for uri in places {
            if status.is_some() {
                break;
            }
            match fetch_list(uri, self.methods().timeout).await {
                Ok(list) => match list.verify(issuer) {
                    Ok(()) => {
                        debug!(target: "cfg", "fetched the revocation list of \"{issuer}\" from {uri}");
                        self.keep(list, Some(uri.clone()));
                        status = self.listed(certificate, issuer);
                        if status.is_none() {
                            problems
                                .push(format!("{uri}: the list is outdated, or not about this certificate"));
                        }
                    }
                    Err(why) => problems.push(format!("{uri}: {why}")),
                },
                Err(why) => problems.push(why),
            }
        }
        status
    }

    /// What the lists that are here say: the newest first, and if none is current, who is on one is revoked all the same.
    fn listed(&self, certificate: &Certificate, issuer: &Certificate) -> Option<Option<Revoked>> {
        let now = SystemTime::now();
        let mut lists = self.lists();
        lists.retain(|list| list.issuer().is_same(issuer.subject()) && list.covers(certificate));
        lists.sort_by_key(|list| std::cmp::Reverse(list.this_update()));
        for list in lists {
            if let Err(why) = list.verify(issuer) {
                debug!(target: "cfg", "a revocation list of \"{}\" does not count: {why}", list.issuer());
                continue;
            }
            let revoked = list.revocation(certificate);
            if revoked.is_some() || list.is_current(now) {
                return Some(revoked);
            }
        }
        None
    }

    /// Keeps a list, instead of what came from the same place, and of what nobody would look into any more.
    fn keep(&self, list: RevocationList, place: Option<String>) {
        let now = SystemTime::now();
        self.known().lists.retain(|kept| {
            let is_same = kept.list.der() == list.der() || (place.is_some() && kept.place == place);
            let is_outdated = kept.list.issuer().is_same(list.issuer())
                && !kept.list.is_current(now)
                && kept.list.this_update() <= list.this_update();
            !is_same && !is_outdated
        });
        self.known().lists.push(Kept { list, place });
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing that holds it can panic half way.
        self.inner.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn fetch_list(uri: &str, timeout: Duration) -> Result<RevocationList, String> {
    let octets = match uri.strip_prefix("file://") {
        Some(path) => {
            let length = tokio::fs::metadata(path).await.map_err(|error| format!("{uri}: {error}"))?.len();
            if usize::try_from(length).is_ok_and(|length| length > MAX_LIST) {
                return Err(format!("{uri}: {length} octets are too many"));
            }
            tokio::fs::read(path).await.map_err(|error| format!("{uri}: {error}"))?
        }
        None => {
            let accept = "application/pkix-crl";
            Fetch { uri, body: None, accept, limit: MAX_LIST, timeout }.run().await?
        }
    };
    let der = files::revocation_list(&octets).map_err(|error| format!("{uri}: {error}"))?;
    RevocationList::from_der(&der).map_err(|error| format!("{uri}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTHORITY: &[u8] = include_bytes!("../../tests/samples/authority.der");
    const GATEWAY: &[u8] = include_bytes!("../../tests/samples/revoked.der");
    const LIST: &[u8] = include_bytes!("../../tests/samples/list.der");

    fn certificates() -> (Certificate, Certificate) {
        let read = |der| Certificate::from_der(der).unwrap();
        (read(AUTHORITY), read(GATEWAY))
    }

    async fn check(revocations: &Revocations, rule: Rule) -> Result<(), String> {
        let (authority, gateway) = certificates();
        revocations.check(&gateway, &authority, rule, &[]).await.map_err(|refusal| refusal.to_string())
    }

    #[tokio::test]
    async fn what_is_not_known_counts_as_the_configuration_says() {
        let revocations = Revocations::default();
        let (authority, _) = certificates();
        // The authority's own has no place to fetch a list from.
        assert!(revocations.check(&authority, &authority, Rule::Relaxed, &[]).await.is_ok());
        assert!(revocations.check(&authority, &authority, Rule::IfUri, &[]).await.is_ok());
        let refusal =
            revocations.check(&authority, &authority, Rule::Strict, &[]).await.unwrap_err().to_string();
        assert_eq!(
            refusal,
            "certificate \"O=Lab, CN=Fuzz CA\": whether it is revoked is not known: there is no revocation list of its \
             issuer, and no place to fetch one or to ask"
        );
    }

    #[tokio::test]
    async fn who_is_on_a_list_is_refused_whatever_the_rule() {
        let revocations = Revocations::default();
        revocations.load(RevocationList::from_der(LIST).unwrap());
        revocations.load(RevocationList::from_der(LIST).unwrap());
        assert_eq!(revocations.lists().len(), 1);
        for rule in [Rule::Relaxed, Rule::IfUri, Rule::Strict] {
            assert_eq!(
                check(&revocations, rule).await.unwrap_err(),
                "certificate \"O=Lab, CN=gw\": it was revoked 2025-01-01T00:00:00Z: key compromise"
            );
        }
        revocations.flush_lists();
        assert_eq!(revocations.lists().len(), 1, "loaded, not fetched");
        revocations.clear();
        assert!(revocations.lists().is_empty());
    }

    #[tokio::test]
    async fn lists_in_files_are_fetched_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ca.crl");
        std::fs::write(&file, LIST).unwrap();
        let (certificate, gateway) = certificates();
        let authority = Authority {
            name: "lab".to_owned(),
            certificate: certificate.clone(),
            crl_uris: vec![format!("file://{}", file.display())],
            ocsp_uris: vec![],
            cert_uri_base: None,
        };
        let revocations = Revocations::default();
        revocations.set_authorities(vec![Arc::new(authority)], &[]);
        assert!(check(&revocations, Rule::Relaxed).await.unwrap_err().contains("it was revoked 2025"));
        std::fs::remove_file(&file).unwrap();
        assert!(revocations.check(&gateway, &certificate, Rule::Relaxed, &[]).await.is_err(), "it is kept");
    }
}
