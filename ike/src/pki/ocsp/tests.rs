//! Responses, made here and changed.

use std::time::UNIX_EPOCH;

use rcgen::{ExtendedKeyUsagePurpose, KeyPair, SigningKey as _};

use super::*;
use crate::crypto::signature::{Hash, SignatureScheme};
use crate::pki::testing::{Authority, params};

/// In 2026.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_000_000)
}

fn time(at: SystemTime) -> GeneralizedTime {
    GeneralizedTime::from_unix_duration(at.duration_since(UNIX_EPOCH).unwrap()).unwrap()
}

fn request(certificate: &Certificate, issuer: &Authority) -> OcspRequest {
    OcspRequest::new(certificate, &issuer.certificate, [7; 32]).unwrap()
}

/// What a responder says, to be changed before it is signed.
fn data(request: &OcspRequest, responder: &Certificate, status: CertStatus) -> ResponseData {
    let single = SingleResponse {
        id: request.id.clone(),
        status,
        this_update: time(now()),
        next_update: Some(time(now() + Duration::from_secs(3600))),
        extensions: None,
    };
    ResponseData {
        version: 0,
        responder: ResponderId::ByKey(OctetString::new(responder.key_id().as_slice()).unwrap()),
        produced_at: time(now()),
        responses: vec![single],
        extensions: None,
    }
}

fn sequence(contents: &[u8]) -> Vec<u8> {
    der::Any::new(der::Tag::Sequence, contents).unwrap().to_der().unwrap()
}

fn signed(data: &ResponseData, key: &KeyPair, certificates: &[&Certificate]) -> Vec<u8> {
    let tbs = data.to_der().unwrap();
    let signature = BitString::from_bytes(&key.sign(&tbs).unwrap()).unwrap().to_der().unwrap();
    let mut basic = [tbs, SignatureScheme::Ecdsa(Hash::Sha256).to_der(), signature].concat();
    if !certificates.is_empty() {
        let list = sequence(&certificates.iter().map(|one| one.der()).collect::<Vec<_>>().concat());
        let tag = der::Tag::ContextSpecific { constructed: true, number: der::TagNumber(0) };
        basic.extend(der::Any::new(tag, list).unwrap().to_der().unwrap());
    }
    let response = OctetString::new(sequence(&basic)).unwrap();
    let bytes = ResponseBytes { response_type: BASIC, response }.to_der().unwrap();
    let tag = der::Tag::ContextSpecific { constructed: true, number: der::TagNumber(0) };
    let bytes = der::Any::new(tag, bytes).unwrap().to_der().unwrap();
    sequence(&[&[0x0a, 1, 0], bytes.as_slice()].concat())
}

#[test]
fn the_issuer_says_good_or_revoked() {
    let authority = Authority::root("CA");
    let gw = authority.issue(params("gw")).certificate;
    let request = request(&gw, &authority);
    let good = data(&request, &authority.certificate, CertStatus::Good(Null));
    let until = now() + Duration::from_secs(3600);
    let read = |response: &[u8]| request.read(response, &authority.certificate, &[], now());
    assert_eq!(read(&signed(&good, &authority.key, &[])), Ok(OcspStatus { revoked: None, until }));
    let at = now() - Duration::from_secs(1000);
    let revoked = CertStatus::Revoked(RevokedAt { at: time(at), reason: Some(CrlReason::Superseded) });
    let revoked = data(&request, &authority.certificate, revoked);
    assert_eq!(
        read(&signed(&revoked, &authority.key, &[])),
        Ok(OcspStatus { revoked: Some(Revoked { at, reason: "superseded" }), until })
    );
    let unknown = data(&request, &authority.certificate, CertStatus::Unknown(Null));
    assert_eq!(read(&signed(&unknown, &authority.key, &[])), Err(OcspError::Unknown));
}

#[test]
fn only_the_issuer_and_its_delegates_are_believed() {
    let (authority, other) = (Authority::root("CA"), Authority::root("Other"));
    let gw = authority.issue(params("gw")).certificate;
    let request = request(&gw, &authority);
    let verdict = |key: &KeyPair, responder: &Certificate, sent: &[&Certificate]| {
        let good = data(&request, responder, CertStatus::Good(Null));
        request
            .read(&signed(&good, key, sent), &authority.certificate, &[], now())
            .map(|status| status.revoked)
    };
    let mut ocsp = params("ocsp");
    ocsp.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
    let delegate = authority.issue(ocsp.clone());
    let sent = [&delegate.certificate];
    assert_eq!(verdict(&delegate.key, &delegate.certificate, &sent), Ok(None));
    // Nor need it be sent along, if it is known.
    let good = data(&request, &delegate.certificate, CertStatus::Good(Null));
    let response = signed(&good, &delegate.key, &[]);
    let known = std::slice::from_ref(&delegate.certificate);
    assert!(request.read(&response, &authority.certificate, known, now()).is_ok());
    // Not sent along; another authority's; not for that; outdated; somebody else's signature.
    let is_refused = |result: Result<_, OcspError>| matches!(result, Err(OcspError::Signer(_)));
    assert!(is_refused(verdict(&delegate.key, &delegate.certificate, &[])));
    let foreign = other.issue(ocsp.clone());
    assert!(is_refused(verdict(&foreign.key, &foreign.certificate, &[&foreign.certificate])));
    let plain = authority.issue(params("ocsp"));
    assert!(is_refused(verdict(&plain.key, &plain.certificate, &[&plain.certificate])));
    let mut old = ocsp;
    old.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let old = authority.issue(old);
    assert!(is_refused(verdict(&old.key, &old.certificate, &[&old.certificate])));
    assert!(is_refused(verdict(&other.key, &authority.certificate, &[])));
}

#[test]
fn answers_to_other_questions_do_not_count() {
    let authority = Authority::root("CA");
    let gw = authority.issue(params("gw")).certificate;
    let other = authority.issue(params("pc")).certificate;
    let asked = request(&gw, &authority);
    let read = |data: &ResponseData| {
        asked.read(&signed(data, &authority.key, &[]), &authority.certificate, &[], now()).map(|s| s.revoked)
    };
    let about_other = data(&request(&other, &authority), &authority.certificate, CertStatus::Good(Null));
    assert_eq!(read(&about_other), Err(OcspError::Other));
    let good = || data(&asked, &authority.certificate, CertStatus::Good(Null));
    let with = |oid, critical, octets: &[u8]| {
        let extn_value = OctetString::new(octets).unwrap();
        ResponseData { extensions: Some(vec![Extension { extn_id: oid, critical, extn_value }]), ..good() }
    };
    assert_eq!(read(&with(NONCE, false, &[[4, 32].as_slice(), &[7; 32]].concat())), Ok(None));
    assert_eq!(read(&with(NONCE, false, &[7; 32])), Ok(None));
    assert_eq!(read(&with(NONCE, false, &[[4, 32].as_slice(), &[8; 32]].concat())), Err(OcspError::Nonce));
    let own = ObjectIdentifier::new_unwrap("1.2.3.4");
    assert_eq!(read(&with(own, false, &[5, 0])), Ok(None));
    assert_eq!(read(&with(own, true, &[5, 0])), Err(OcspError::CriticalExtension(Oid(own))));

    let at = |this: SystemTime, next: Option<SystemTime>| {
        let mut data = good();
        data.responses[0].this_update = time(this);
        data.responses[0].next_update = next.map(time);
        data
    };
    let hour = Duration::from_secs(3600);
    assert_eq!(read(&at(now() - 2 * hour, Some(now() - hour))), Err(OcspError::Stale));
    assert_eq!(read(&at(now() - hour, None)), Err(OcspError::Stale));
    assert_eq!(read(&at(now(), None)), Ok(None));
    assert_eq!(read(&at(now() + hour, None)), Err(OcspError::Stale));
}

#[test]
fn refusals_and_damage_are_told_apart() {
    let authority = Authority::root("CA");
    let gw = authority.issue(params("gw")).certificate;
    let request = request(&gw, &authority);
    let read = |octets: &[u8]| request.read(octets, &authority.certificate, &[], now());
    assert_eq!(read(&[0x30, 3, 0x0a, 1, 3]), Err(OcspError::Refused("try later")));
    assert!(matches!(read(&[0x30, 3, 0x0a, 1, 0]), Err(OcspError::Malformed(_))));
    assert!(matches!(read(&[0; 70_000]), Err(OcspError::Malformed(_))));
    let good = signed(&data(&request, &authority.certificate, CertStatus::Good(Null)), &authority.key, &[]);
    for at in 0..good.len() {
        let mut octets = good.clone();
        octets[at] ^= 0x41;
        assert!(read(&octets).is_err(), "octet {at}");
    }
}

/// RFC 4806 §6: whoever shows a response has asked with a nonce of their own. All else has to be right.
#[test]
fn what_a_peer_shows_counts_as_long_as_it_says() {
    let (authority, other) = (Authority::root("CA"), Authority::root("Other"));
    let gw = authority.issue(params("gw")).certificate;
    let rw = authority.issue(params("rw")).certificate;
    let of = |certificate: &Certificate, key: &KeyPair| {
        let request = request(certificate, &authority);
        let mut good = data(&request, &authority.certificate, CertStatus::Good(Null));
        good.extensions = Some(vec![Extension {
            extn_id: NONCE,
            critical: false,
            extn_value: OctetString::new(OctetString::new([9; 32].as_slice()).unwrap().to_der().unwrap())
                .unwrap(),
        }]);
        signed(&good, key, &[])
    };
    let judge = |responses: &[Vec<u8>], at: SystemTime| {
        shown(responses, &gw, &authority.certificate, &[], at)
            .map(|(status, der)| (status.revoked, der.to_vec()))
    };
    let (right, of_another) = (of(&gw, &authority.key), of(&rw, &authority.key));
    let forged = of(&gw, &other.key);
    let all = [of_another.clone(), forged.clone(), vec![0x30], right.clone()];
    assert_eq!(judge(&all, now()), Ok((None, right.clone())));
    assert_eq!(judge(&[of_another], now()), Err(vec![]));
    assert!(matches!(judge(&[forged], now()).unwrap_err()[..], [OcspError::Signer(_)]));
    assert_eq!(judge(&[right], now() + Duration::from_secs(4000)), Err(vec![OcspError::Stale]));
    assert!(matches!(judge(&[vec![]], now()).unwrap_err()[..], [OcspError::Malformed(_)]));
}
