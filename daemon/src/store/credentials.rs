//! Shared secrets.

use std::sync::Arc;

use ferry_ike::config::{SecretKind, SharedSecret};
use ferry_ike::crypto::Secret;
use ferry_ike::identity::Identity;
use zeroize::Zeroizing;

use super::{Loaded, Store};
use crate::control::Tunnels;

/// A secret to load.
pub(crate) struct NewSecret {
    /// Its name in the configuration, if it has one.
    pub(crate) id: Option<String>,
    /// What it is for.
    pub(crate) kind: SecretKind,
    /// Who may use it.
    pub(crate) owners: Vec<Identity>,
    /// The octets.
    pub(crate) octets: Zeroizing<Vec<u8>>,
}

impl<T: Tunnels> Store<T> {
    /// Loads a secret. One with a name replaces that of the same name; one without replaces its like.
    pub(crate) async fn load_secret(&self, new: NewSecret) {
        let mut loaded = self.shared.loaded.lock().await;
        let owners: Vec<String> = new.owners.iter().map(|owner| format!("'{owner}'")).collect();
        let owners = if owners.is_empty() { "'%any'".to_owned() } else { owners.join(" ") };
        let what = match new.kind {
            SecretKind::Ike => "IKE",
            SecretKind::Eap => "EAP",
            SecretKind::Ntlm => "NTLM",
            SecretKind::Ppk => "PPK",
        };
        add_secret(&mut loaded.secrets, new);
        self.publish(&loaded).await;
        tracing::info!(target: "cfg", "loaded {what} shared key for: {owners}");
    }

    /// Forgets the secret of that name, if there is one.
    pub(crate) async fn unload_secret(&self, id: &str) {
        self.retain_secrets(|secret| secret.id.as_deref() != Some(id)).await;
    }

    /// Forgets all secrets.
    pub(crate) async fn clear_secrets(&self) {
        self.retain_secrets(|_| false).await;
    }

    /// Names of the secrets that have one, in load order.
    pub(crate) async fn secret_ids(&self) -> Vec<String> {
        self.shared.loaded.lock().await.secrets.iter().filter_map(|secret| secret.id.clone()).collect()
    }

    async fn retain_secrets(&self, keep: impl Fn(&SharedSecret) -> bool) {
        let mut loaded = self.shared.loaded.lock().await;
        let Loaded { secrets, .. } = &mut *loaded;
        let before = secrets.len();
        secrets.retain(|secret| keep(secret));
        if secrets.len() != before {
            self.publish(&loaded).await;
        }
    }
}

/// Adds a secret. One with a name replaces that of the same name; one without replaces its like.
pub(super) fn add_secret(secrets: &mut Vec<Arc<SharedSecret>>, new: NewSecret) {
    secrets.retain(|old| match &new.id {
        Some(_) => old.id != new.id,
        None => {
            let is_alike = old.id.is_none() && old.kind == new.kind && old.owners == new.owners;
            !(is_alike && old.secret.ct_eq(&new.octets))
        }
    });
    let secret = SharedSecret {
        id: new.id,
        kind: new.kind,
        owners: new.owners,
        secret: Secret::new(new.octets.to_vec()), // the copy is the secret's own to wipe
    };
    secrets.push(Arc::new(secret));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::store;

    fn secret(id: Option<&str>, owner: &str, octets: &[u8]) -> NewSecret {
        NewSecret {
            id: id.map(str::to_owned),
            kind: SecretKind::Ike,
            owners: vec![Identity::parse(owner).unwrap()],
            octets: octets.to_vec().into(),
        }
    }

    #[tokio::test]
    async fn secrets_are_replaced_by_name_or_by_likeness() {
        let (store, fake) = store();
        store.load_secret(secret(Some("one"), "a", b"first")).await;
        store.load_secret(secret(Some("two"), "b", b"second")).await;
        store.load_secret(secret(Some("one"), "c", b"third")).await;
        assert_eq!(store.secret_ids().await, ["two", "one"], "the newest last");
        store.load_secret(secret(None, "d", b"fourth")).await;
        store.load_secret(secret(None, "d", b"fourth")).await;
        store.load_secret(secret(None, "d", b"fifth")).await;
        assert_eq!(fake.configuration().secrets.len(), 4);
        let (a, c) = (Identity::parse("a").unwrap(), Identity::parse("c").unwrap());
        let configuration = fake.configuration();
        assert!(configuration.shared_secret(SecretKind::Ike, &a, &a).is_none());
        let found = configuration.shared_secret(SecretKind::Ike, &a, &c).unwrap();
        assert!(found.secret.ct_eq(b"third"));
    }

    #[tokio::test]
    async fn secrets_are_forgotten() {
        let (store, fake) = store();
        store.load_secret(secret(Some("one"), "a", b"first")).await;
        store.load_secret(secret(Some("two"), "b", b"second")).await;
        store.unload_secret("one").await;
        store.unload_secret("none").await;
        assert_eq!(store.secret_ids().await, ["two"]);
        store.clear_secrets().await;
        assert!(fake.configuration().secrets.is_empty());
    }
}
