//! Certificates, revocation lists and OCSP responses, from whoever made them up.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ferry_ike::pki::{Certificate, Constraints, OcspRequest, RevocationList, TrustStore};

/// An authority whose key nobody has any more, and what it has signed.
const AUTHORITY: &[u8] = include_bytes!("../corpus/certificate/authority");
const ISSUED: &[&[u8]] = &[
    include_bytes!("../corpus/certificate/issued"),
    include_bytes!("../corpus/certificate/intermediate"),
    include_bytes!("../corpus/certificate/rsa"),
    include_bytes!("../corpus/certificate/ed25519"),
    include_bytes!("../corpus/certificate/responder"),
];
const LISTS: &[&[u8]] = &[include_bytes!("../corpus/crl/list"), include_bytes!("../corpus/crl/end-entities")];
const GOOD: &[&[u8]] = &[
    include_bytes!("../corpus/ocsp_response/good"),
    include_bytes!("../corpus/ocsp_response/delegate"),
    include_bytes!("../corpus/ocsp_response/delegate-by-key"),
];

/// Where octets of those lie that are signed.
const SIGNED: std::ops::Range<usize> = 50..170;

fn read(der: &[u8]) -> Certificate {
    Certificate::from_der(der).expect("the certificate is one")
}

/// In 2027.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// A peer's certificate. Whom the authority has not certified is not believed, whatever was sent along, and what was
/// read can be shown.
pub fn certificate(data: &[u8]) {
    let Ok(certificate) = Certificate::from_der(data) else { return };
    assert_eq!(certificate.der(), data, "what was read is kept");
    assert!(certificate.signed_octets().len() <= data.len());
    let _shown = format!("{certificate} {} {:?}", certificate.issuer(), certificate.policies());
    let authority = read(AUTHORITY);
    let store = TrustStore::new([authority.clone()]);
    let sent = [certificate.clone(), authority.clone()];
    let constraints = Constraints::default();
    if store.chain(&certificate, &sent, &constraints, now()).is_ok() {
        assert!(data == AUTHORITY || ISSUED.contains(&data), "the authority's key was not needed");
    }
    // Trusted as an authority, it vouches for nobody whom it has not certified, and nothing breaks.
    let trusting = TrustStore::new([certificate.clone()]);
    let _verdict = trusting.chain(&certificate, &sent, &constraints, now());
    let other = read(ISSUED.first().copied().unwrap_or_default());
    let vouched = trusting.chain(&other, &sent, &constraints, now()).is_ok();
    assert!(!vouched || data == AUTHORITY || Some(&data) == ISSUED.first(), "a stranger vouches");
}

/// A revocation list. None is the authority's but those it has signed.
pub fn crl(data: &[u8]) {
    let Ok(list) = RevocationList::from_der(data) else { return };
    let authority = read(AUTHORITY);
    let _shown = format!("{list:?}");
    for der in ISSUED {
        let certificate = read(der);
        let _revoked = list.revocation(&certificate);
        let _covered = list.covers(&certificate);
    }
    assert!(list.verify(&authority).is_err() || LISTS.contains(&data), "the authority's key was not needed");
}

/// A response about a certificate that the authority has issued.
pub fn ocsp_response(data: &[u8]) {
    let (authority, certificate) = (read(AUTHORITY), read(ISSUED.first().copied().unwrap_or_default()));
    let Ok(request) = OcspRequest::new(&certificate, &authority, [0; 32]) else { return };
    // What is around that, such as certificates, may be anything.
    let is_signed = || {
        let mut signed = GOOD.iter().filter_map(|good| good.get(SIGNED));
        signed.any(|signed| data.windows(signed.len()).any(|window| window == signed))
    };
    let counts = request.read(data, &authority, &[], now()).is_ok();
    assert!(!counts || is_signed(), "neither the authority's key nor its delegate's was needed");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Or else the targets would show nothing.
    #[test]
    fn what_the_authority_has_signed_is_believed() {
        let authority = read(AUTHORITY);
        let store = TrustStore::new([authority.clone()]);
        for (position, der) in ISSUED.iter().enumerate() {
            let chain = store.chain(&read(der), &[], &Constraints::default(), now());
            // The intermediate authority's key is for certificates, not for AUTH.
            assert_eq!(chain.is_ok(), position != 1, "{position}: {chain:?}");
        }
        for der in LISTS {
            RevocationList::from_der(der).unwrap().verify(&authority).unwrap();
        }
        let certificate = read(ISSUED[0]);
        let request = OcspRequest::new(&certificate, &authority, [0; 32]).unwrap();
        for der in GOOD {
            assert_eq!(request.read(der, &authority, &[], now()).unwrap().revoked, None);
        }
    }
}
