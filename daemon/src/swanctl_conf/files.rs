//! Opening files that need a passphrase, which never leaves this process.

use ferry_ike::crypto::signature::{KeyType, PrivateKey};
use ferry_ike::pki::files::{self, FileError};
use ferry_vici::swanctl::{Opened, Opener};
use zeroize::Zeroizing;

/// Opens keys and PKCS#12 containers with passphrases that the configuration has; nobody is asked for one.
pub(crate) struct Files;

impl Opener for Files {
    fn key(&self, file: &[u8], passphrases: &[Zeroizing<Vec<u8>>]) -> Result<Option<Opened>, String> {
        // What is no key at all is for the daemon to judge, which may know more kinds.
        if !files::is_encrypted(file).unwrap_or(false) {
            return Ok(None);
        }
        opened(files::private_key(file, passphrases).map_err(|error| sentence(&error, "key"))?).map(Some)
    }

    fn container(&self, file: &[u8], passphrases: &[Zeroizing<Vec<u8>>]) -> Result<Vec<Opened>, String> {
        let container = files::container(file, passphrases).map_err(|error| sentence(&error, "container"))?;
        let certificates = container.certificates.iter().map(|certificate| {
            let is_ca = certificate.basic_constraints().is_ca;
            Ok(Opened::Certificate { der: certificate.der().to_vec(), is_ca })
        });
        certificates.chain(container.keys.into_iter().map(opened)).collect()
    }
}

fn opened(der: Zeroizing<Vec<u8>>) -> Result<Opened, String> {
    let key = PrivateKey::from_der(&der).map_err(|error| error.to_string())?;
    let kind = match key.key_type() {
        KeyType::Rsa => "rsa",
        KeyType::Ecdsa(_) => "ecdsa",
        KeyType::Ed25519 => "ed25519",
    };
    Ok(Opened::Key { kind, der })
}

fn sentence(error: &FileError, what: &str) -> String {
    match error {
        FileError::NoPassphrase => {
            format!(
                "the {what} is encrypted; expected its passphrase in `secrets`, in a section that names the file"
            )
        }
        FileError::WrongPassphrase => {
            format!(
                "the {what} cannot be opened: none of the passphrases in `secrets` fits, or the file is damaged"
            )
        }
        other => other.to_string(),
    }
}
