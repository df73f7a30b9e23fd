//! Certificates, private keys and authorities.

use std::sync::Arc;

use ferry_ike::crypto::signature::{PrivateKey, PublicKey};
use ferry_ike::identity::Identity;
use ferry_ike::pki::{Certificate, TrustStore};

use super::{Loaded, Store};
use crate::control::Tunnels;

/// What is loaded of certificates and keys.
#[derive(Clone, Default)]
pub(super) struct Keychain {
    /// In load order.
    certificates: Vec<Certificate>,
    /// Public keys without a certificate, in load order.
    public_keys: Vec<Arc<PublicKey>>,
    /// In load order.
    keys: Vec<Arc<PrivateKey>>,
    /// In load order.
    authorities: Vec<Arc<Authority>>,
}

/// A certification authority, and where to learn what it has revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authority {
    /// Its name in the configuration.
    pub(crate) name: String,
    /// Its certificate, which is trusted.
    pub(crate) certificate: Certificate,
    /// Where its revocation lists are, beside those its certificates name.
    pub(crate) crl_uris: Vec<String>,
    /// Where its OCSP responders are.
    pub(crate) ocsp_uris: Vec<String>,
    /// Where certificates are by their hashes; kept to be shown, for nobody is sent such addresses.
    pub(crate) cert_uri_base: Option<String>,
}

/// A public key without a certificate.
pub(crate) struct RawKey {
    pub(crate) key: PublicKey,
    /// Whose it is, where a connection says so.
    pub(crate) subject: Option<Identity>,
    /// Its private key is here.
    pub(crate) has_private: bool,
}

impl Keychain {
    pub(super) fn add_certificate(&mut self, certificate: Certificate) {
        if !self.certificates.contains(&certificate) {
            self.certificates.push(certificate);
        }
    }

    pub(super) fn add_public_key(&mut self, key: PublicKey) {
        self.public_keys.retain(|old| old.info_id() != key.info_id());
        self.public_keys.push(Arc::new(key));
    }

    pub(super) fn add_key(&mut self, key: PrivateKey) {
        self.keys.retain(|old| old.public().info_id() != key.public().info_id());
        self.keys.push(Arc::new(key));
    }

    /// False if there is one just like it.
    pub(super) fn set_authority(&mut self, authority: Authority) -> bool {
        match self.authorities.iter_mut().find(|old| old.name == authority.name) {
            Some(old) if **old == authority => return false,
            Some(old) => *old = Arc::new(authority),
            None => self.authorities.push(Arc::new(authority)),
        }
        true
    }

    /// Forgets all private keys and authorities but these. Returns how many authorities are gone.
    pub(super) fn forget_all_but(&mut self, keys: &[String], authorities: &[String]) -> usize {
        let before = self.authorities.len();
        self.keys.retain(|key| keys.contains(&key_id(key.public())));
        self.authorities.retain(|authority| authorities.contains(&authority.name));
        before - self.authorities.len()
    }

    /// Forgets all but the authorities.
    pub(super) fn clear(&mut self) {
        self.certificates.clear();
        self.public_keys.clear();
        self.keys.clear();
    }

    /// All that is trusted: what was loaded, the authorities, and what connections name.
    pub(super) fn trust(&self, named: impl Iterator<Item = Certificate>) -> TrustStore {
        let of_authorities = self.authorities.iter().map(|authority| authority.certificate.clone());
        TrustStore::new(self.certificates.iter().cloned().chain(of_authorities).chain(named))
    }

    /// Authorities, in load order.
    pub(super) fn authorities(&self) -> Vec<Arc<Authority>> {
        self.authorities.clone()
    }

    /// Private keys, in load order.
    pub(super) fn keys(&self) -> Vec<Arc<PrivateKey>> {
        self.keys.clone()
    }
}

impl<T: Tunnels> Store<T> {
    /// Trusts certificates. Those that are there already stay where they are.
    pub(crate) async fn load_certificates(&self, certificates: Vec<Certificate>) {
        let mut loaded = self.shared.loaded.lock().await;
        for certificate in certificates {
            let what = if certificate.basic_constraints().is_ca { "CA certificate" } else { "certificate" };
            tracing::info!(target: "cfg", "loaded {what} '{certificate}'");
            loaded.keychain.add_certificate(certificate);
        }
        self.publish(&loaded).await;
    }

    /// Keeps a public key that has no certificate, to be listed: only a connection that names it trusts it.
    pub(crate) async fn load_public_key(&self, key: PublicKey) {
        let mut loaded = self.shared.loaded.lock().await;
        tracing::info!(target: "cfg", "loaded {} public key {}", key.key_type(), key_id(&key));
        loaded.keychain.add_public_key(key);
    }

    /// Public keys without a certificate: those that were loaded, then those that connections name.
    pub(crate) async fn public_keys(&self) -> Vec<RawKey> {
        let loaded = self.shared.loaded.lock().await;
        let Keychain { public_keys, keys, .. } = &loaded.keychain;
        let has_key = |key: &PublicKey| keys.iter().any(|own| own.public().info_id() == key.info_id());
        let connections = loaded.connections.iter().map(|connection| &connection.parsed.connection);
        let mut named: Vec<(&PublicKey, Option<Identity>)> = Vec::new();
        for connection in connections {
            for auth in &connection.local {
                named.extend(auth.public_keys.iter().map(|key| (key, auth.identity())));
            }
            for auth in &connection.remote {
                named.extend(auth.public_keys.iter().map(|key| (key, Some(auth.id.clone()))));
            }
        }
        let others = public_keys.iter().map(Arc::as_ref);
        let others = others.filter(|key| !named.iter().any(|(other, _)| other == key));
        let mut all: Vec<RawKey> = Vec::new();
        for (key, subject) in others.map(|key| (key, None)).chain(named.iter().cloned()) {
            // Who goes by the key itself has no other name.
            let subject = subject.filter(|subject| *subject != key.identity());
            if !all.iter().any(|known| known.key == *key && known.subject == subject) {
                all.push(RawKey { key: key.clone(), subject, has_private: has_key(key) });
            }
        }
        all
    }

    /// Loads a private key, and returns its ID. One that is there already is replaced.
    pub(crate) async fn load_key(&self, key: PrivateKey) -> String {
        let id = key_id(key.public());
        let mut loaded = self.shared.loaded.lock().await;
        tracing::info!(target: "cfg", "loaded {} private key {id}", key.key_type());
        loaded.keychain.add_key(key);
        self.publish(&loaded).await;
        id
    }

    /// Forgets a private key.
    pub(crate) async fn unload_key(&self, id: &str) -> Result<(), String> {
        let mut loaded = self.shared.loaded.lock().await;
        let before = loaded.keychain.keys.len();
        loaded.keychain.keys.retain(|key| !key_id(key.public()).eq_ignore_ascii_case(id));
        if loaded.keychain.keys.len() == before {
            return Err(format!("there is no private key {id}"));
        }
        tracing::info!(target: "cfg", "unloaded private key {id}");
        self.publish(&loaded).await;
        Ok(())
    }

    /// IDs of the private keys, in load order.
    pub(crate) async fn key_ids(&self) -> Vec<String> {
        let loaded = self.shared.loaded.lock().await;
        loaded.keychain.keys.iter().map(|key| key_id(key.public())).collect()
    }

    /// Loads an authority, in the place of the one of its name if there is one.
    pub(crate) async fn load_authority(&self, authority: Authority) {
        let mut loaded = self.shared.loaded.lock().await;
        let name = authority.name.clone();
        if !loaded.keychain.set_authority(authority) {
            return;
        }
        tracing::info!(target: "cfg", "loaded authority '{name}'");
        self.publish(&loaded).await;
    }

    /// Forgets an authority; SAs that rest on it stay.
    pub(crate) async fn unload_authority(&self, name: &str) -> Result<(), String> {
        let mut loaded = self.shared.loaded.lock().await;
        let before = loaded.keychain.authorities.len();
        loaded.keychain.authorities.retain(|authority| authority.name != name);
        if loaded.keychain.authorities.len() == before {
            return Err(format!("there is no authority '{name}'"));
        }
        tracing::info!(target: "cfg", "unloaded authority '{name}'");
        self.publish(&loaded).await;
        Ok(())
    }

    /// Authorities, in load order.
    pub(crate) async fn authorities(&self) -> Vec<Arc<Authority>> {
        self.shared.loaded.lock().await.keychain.authorities.clone()
    }

    /// All certificates that are trusted, each with whether its private key is here.
    pub(crate) async fn certificates(&self) -> Vec<(Certificate, bool)> {
        let loaded = self.shared.loaded.lock().await;
        let trust = self.trust(&loaded);
        let keys = &loaded.keychain.keys;
        let has_key = |certificate: &Certificate| {
            keys.iter().any(|key| key.public().info_id() == *certificate.key_hash())
        };
        let all = trust.end_entities().iter().chain(trust.authorities());
        all.map(|certificate| (certificate.clone(), has_key(certificate))).collect()
    }

    /// Forgets certificates and keys; those of authorities and connections stay theirs.
    pub(crate) async fn clear_certificates(&self) {
        let mut loaded = self.shared.loaded.lock().await;
        loaded.keychain.clear();
        self.publish(&loaded).await;
    }

    /// All that is trusted, what connections name included.
    pub(super) fn trust(&self, loaded: &Loaded) -> TrustStore {
        let connections = loaded.connections.iter().map(|connection| &connection.parsed.connection);
        let named = connections.flat_map(|connection| {
            let own = connection.local.iter().flat_map(|local| &local.certificates);
            let theirs = connection.remote.iter().map(|remote| &remote.trust);
            own.chain(theirs.flat_map(|trust| trust.certificates.iter().chain(&trust.authorities)))
        });
        loaded.keychain.trust(named.cloned())
    }
}

/// The ID of a key as VICI has it.
pub(crate) fn key_id(key: &PublicKey) -> String {
    key.key_id().iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use ferry_ike::pki::files;

    use super::*;
    use crate::store::tests::store;

    /// A certificate and its key, made by OpenSSL, the certificate twice with other names.
    const FILE: &[u8] = include_bytes!("../../tests/samples/two.pem");
    const KEY: &[u8] = include_bytes!("../../tests/samples/key.pem");

    fn key() -> PrivateKey {
        PrivateKey::from_der(&files::private_key(KEY, &[]).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn what_is_loaded_is_published_at_once() {
        let (store, fake) = store();
        let certificates = files::certificates(FILE).unwrap();
        store.load_certificates(certificates.clone()).await;
        store.load_certificates(certificates.clone()).await;
        assert_eq!(fake.configuration().trust.authorities().count(), 2);
        assert!(store.certificates().await.iter().all(|(_, has_key)| !has_key));
        let id = store.load_key(key()).await;
        assert_eq!(store.load_key(key()).await, id);
        assert_eq!(store.key_ids().await, std::slice::from_ref(&id));
        assert_eq!(fake.configuration().private_keys.len(), 1);
        assert!(store.certificates().await.iter().all(|(_, has_key)| *has_key));
        store.unload_key(&id.to_uppercase()).await.unwrap();
        assert_eq!(store.unload_key(&id).await, Err(format!("there is no private key {id}")));
        assert!(fake.configuration().private_keys.is_empty());
    }

    #[tokio::test]
    async fn authorities_keep_their_certificates() {
        let (store, fake) = store();
        let certificates = files::certificates(FILE).unwrap();
        let authority = Authority {
            name: "lab".to_owned(),
            certificate: certificates[0].clone(),
            crl_uris: vec![],
            ocsp_uris: vec![],
            cert_uri_base: None,
        };
        store.load_authority(authority.clone()).await;
        store.load_certificates(certificates).await;
        store.clear_certificates().await;
        assert_eq!(fake.configuration().trust.authorities().count(), 1);
        let before = fake.configuration();
        store.load_authority(authority.clone()).await;
        assert!(Arc::ptr_eq(&before, &fake.configuration()), "the same again changes nothing");
        let uris = vec!["http://lab/ca.crl".to_owned()];
        store.load_authority(Authority { crl_uris: uris.clone(), ..authority }).await;
        assert_eq!(store.authorities().await[0].crl_uris, uris);
        store.unload_authority("lab").await.unwrap();
        assert_eq!(store.unload_authority("lab").await, Err("there is no authority 'lab'".to_owned()));
        assert_eq!(fake.configuration().trust.authorities().count(), 0);
    }
}
