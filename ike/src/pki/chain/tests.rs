//! Chains that stand, and every rule broken once.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use der::asn1::{Ia5String, ObjectIdentifier, OctetString};
use rcgen::{BasicConstraints, CertificateParams, CidrSubnet, CustomExtension, DnType, IsCa, SanType};
use rcgen::{GeneralSubtree as Tree, Issuer, KeyUsagePurpose, NameConstraints as Names};
use x509_cert::ext::pkix;
use x509_cert::ext::pkix::certpolicy::PolicyInformation;
use x509_cert::ext::pkix::constraints::name::GeneralSubtree;
use x509_cert::ext::pkix::name::GeneralName;

use super::*;
use crate::pki::testing::{Authority, ca_params, params};

/// In 2026.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_000_000)
}

fn store(authorities: &[&Authority]) -> TrustStore {
    TrustStore::new(authorities.iter().map(|authority| authority.certificate.clone()))
}

fn chain(store: &TrustStore, certificate: &Certificate, sent: &[&Authority]) -> Result<Chain, Refusal> {
    let sent: Vec<Certificate> = sent.iter().map(|authority| authority.certificate.clone()).collect();
    store.chain(certificate, &sent, &Constraints::default(), now())
}

/// Why the certificate is refused with these constraints; nothing if it is not.
fn refused(store: &TrustStore, certificate: &Certificate, constraints: &Constraints) -> String {
    store.chain(certificate, &[], constraints, now()).err().map(|error| error.to_string()).unwrap_or_default()
}

/// What is said of `gw` with these parameters, below a root with those.
fn below(root: impl FnOnce(&mut CertificateParams), gw: impl FnOnce(&mut CertificateParams)) -> String {
    let (mut ca, mut ee) = (ca_params("Sub"), params("gw"));
    root(&mut ca);
    gw(&mut ee);
    let root = Authority::root("CA");
    let sub = root.intermediate(ca);
    let certificate = sub.issue(ee).certificate;
    chain(&store(&[&root]), &certificate, &[&sub]).err().map(|error| error.to_string()).unwrap_or_default()
}

fn extension(oid: ObjectIdentifier, value: &impl der::Encode, critical: bool) -> CustomExtension {
    let arcs: Vec<u64> = oid.arcs().map(u64::from).collect();
    let mut extension = CustomExtension::from_oid_content(&arcs, value.to_der().unwrap());
    extension.set_criticality(critical);
    extension
}

#[test]
fn intermediates_are_taken_from_wherever_they_are() {
    let root = Authority::root("CA");
    let sub = root.intermediate(ca_params("Sub"));
    let subsub = sub.intermediate(ca_params("Subsub"));
    let gw = subsub.issue(params("gw")).certificate;
    for (loaded, sent) in [
        (vec![&root], vec![&sub, &subsub]),
        (vec![&root], vec![&subsub, &root, &sub]),
        (vec![&sub, &root], vec![&subsub]),
        (vec![&subsub, &sub, &root], vec![]),
    ] {
        let chain = chain(&store(&loaded), &gw, &sent).unwrap();
        assert_eq!(
            chain.to_string(),
            "\"O=Lab, CN=gw\" <- \"O=Lab, CN=Subsub\" <- \"O=Lab, CN=Sub\" <- \"O=Lab, CN=CA\""
        );
        assert_eq!(chain.links().count(), 3);
    }
    assert_eq!(
        chain(&store(&[&root]), &gw, &[&subsub]).unwrap_err().to_string(),
        "certificate \"O=Lab, CN=Subsub\": there is no certificate of its issuer \"O=Lab, CN=Sub\""
    );
}

#[test]
fn who_is_not_loaded_is_not_trusted() {
    let (root, other) = (Authority::root("CA"), Authority::root("CA"));
    let gw = root.issue(params("gw")).certificate;
    assert!(chain(&store(&[&root]), &gw, &[]).is_ok());
    // Sent along, an anchor is none.
    assert_eq!(
        chain(&store(&[]), &gw, &[&root]).unwrap_err().to_string(),
        "certificate \"O=Lab, CN=CA\": it is self-signed and not trusted"
    );
    // An authority of the same name with another key, and no key identifier to tell it by.
    let mut nameless = params("gw");
    nameless.use_authority_key_identifier_extension = false;
    let gw = root.issue(nameless).certificate;
    assert_eq!(
        chain(&store(&[&other]), &gw, &[]).unwrap_err().to_string(),
        "certificate \"O=Lab, CN=gw\": the signature of its issuer \"O=Lab, CN=CA\" cannot be verified: the \
         signature is wrong"
    );
    assert!(chain(&store(&[&other, &root]), &gw, &[]).is_ok(), "the right one of two is found");
}

#[test]
fn time_counts_for_everyone_in_the_chain() {
    let old = |params: &mut CertificateParams| params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let new = |params: &mut CertificateParams| params.not_before = rcgen::date_time_ymd(2039, 1, 1);
    assert_eq!(below(|_| {}, old), "certificate \"O=Lab, CN=gw\": it has expired, 2021-01-01T00:00:00Z");
    assert_eq!(below(old, |_| {}), "certificate \"O=Lab, CN=Sub\": it has expired, 2021-01-01T00:00:00Z");
    assert_eq!(
        below(|_| {}, new),
        "certificate \"O=Lab, CN=gw\": it is not valid before 2039-01-01T00:00:00Z"
    );
    let root = Authority::root("CA");
    let gw = root.issue(params("gw")).certificate;
    let late = UNIX_EPOCH + Duration::from_secs(3_000_000_000);
    let store = store(&[&root]);
    let refusal = store.chain(&gw, &[], &Constraints::default(), late).unwrap_err();
    assert_eq!(refusal.subject, "O=Lab, CN=CA");
    assert!(matches!(refusal.fault, Fault::Expired(_)));
}

#[test]
fn only_authorities_issue_and_only_so_far_down() {
    let refusal = below(|ca| (ca.is_ca, ca.key_usages) = (IsCa::ExplicitNoCa, vec![]), |_| {});
    assert!(refusal.contains("\"O=Lab, CN=Sub\": it is that of no authority"), "{refusal}");
    let refusal = below(|ca| ca.key_usages = vec![KeyUsagePurpose::CrlSign], |_| {});
    assert_eq!(refusal, "certificate \"O=Lab, CN=Sub\": its key may not sign certificates (key usage)");
    let refusal = below(|_| {}, |gw| gw.key_usages = vec![KeyUsagePurpose::KeyEncipherment]);
    assert_eq!(refusal, "certificate \"O=Lab, CN=gw\": its key may not be used for signatures (key usage)");
    assert_eq!(below(|_| {}, |gw| gw.key_usages = vec![KeyUsagePurpose::ContentCommitment]), "");

    let zero = |ca: &mut CertificateParams| ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    assert_eq!(below(zero, |_| {}), "");
    let root = Authority::root("CA");
    let mut short = ca_params("Sub");
    zero(&mut short);
    let sub = root.intermediate(short);
    let subsub = sub.intermediate(ca_params("Subsub"));
    let gw = subsub.issue(params("gw")).certificate;
    assert_eq!(
        chain(&store(&[&root]), &gw, &[&sub, &subsub]).unwrap_err().to_string(),
        "certificate \"O=Lab, CN=Sub\": 1 intermediate authorities follow, its path length allows 0"
    );
}

#[test]
fn critical_extensions_have_to_be_known() {
    let mut unknown = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
    assert_eq!(below(|_| {}, |gw| gw.custom_extensions.push(unknown.clone())), "");
    unknown.set_criticality(true);
    let refusal = below(|_| {}, |gw| gw.custom_extensions.push(unknown));
    assert_eq!(refusal, "certificate \"O=Lab, CN=gw\": its critical extension 1.2.3.4 is not known");
}

fn permit(trees: Vec<Tree>) -> impl FnOnce(&mut CertificateParams) {
    move |ca| ca.name_constraints = Some(Names { permitted_subtrees: trees, excluded_subtrees: vec![] })
}

fn exclude(trees: Vec<Tree>) -> impl FnOnce(&mut CertificateParams) {
    move |ca| ca.name_constraints = Some(Names { permitted_subtrees: vec![], excluded_subtrees: trees })
}

fn named(name: SanType) -> impl FnOnce(&mut CertificateParams) {
    move |gw| gw.subject_alt_names = vec![name]
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn mail(name: &str) -> SanType {
    SanType::Rfc822Name(name.try_into().unwrap())
}

fn organisation(name: &str) -> Tree {
    let mut dn = rcgen::DistinguishedName::new();
    dn.push(DnType::OrganizationName, name);
    Tree::DirectoryName(dn)
}

#[test]
fn names_stay_within_what_is_permitted() {
    let net =
        |text: &str, prefix| Tree::IpAddress(CidrSubnet::from_addr_prefix(text.parse().unwrap(), prefix));
    let ip = |text: &str| SanType::IpAddress(text.parse().unwrap());
    let table = [
        (Tree::DnsName("example.org".into()), dns("gw.example.org"), true),
        (Tree::DnsName("example.org".into()), dns("example.org"), true),
        (Tree::DnsName("EXAMPLE.org".into()), dns("GW.example.ORG."), true),
        (Tree::DnsName(".example.org".into()), dns("gw.example.org"), true),
        (Tree::DnsName(".example.org".into()), dns("example.org"), false),
        (Tree::DnsName("example.org".into()), dns("badexample.org"), false),
        (Tree::DnsName("example.org".into()), dns("example.org.evil.net"), false),
        (Tree::DnsName("example.org".into()), mail("alice@elsewhere.net"), true), // of another kind
        (Tree::Rfc822Name("example.org".into()), mail("alice@Example.org"), true),
        (Tree::Rfc822Name("example.org".into()), mail("alice@host.example.org"), false),
        (Tree::Rfc822Name(".example.org".into()), mail("alice@host.example.org"), true),
        (Tree::Rfc822Name("alice@example.org".into()), mail("alice@example.org"), true),
        (Tree::Rfc822Name("alice@example.org".into()), mail("bob@example.org"), false),
        (net("192.0.2.0", 24), ip("192.0.2.77"), true),
        (net("192.0.2.0", 24), ip("192.0.3.77"), false),
        (net("2001:db8::", 32), ip("2001:db8:1::1"), true),
        (net("2001:db8::", 32), ip("2001:db9::1"), false),
        (net("192.0.2.0", 24), ip("2001:db8::1"), true), // nothing is said of that family
        (organisation("Lab"), dns("gw"), true),
        (organisation("lAB"), dns("gw"), true),
        (organisation("Lab2"), dns("gw"), false),
    ];
    for (tree, name, is_permitted) in table {
        let case = format!("{name:?} in {tree:?}");
        let refusal = below(permit(vec![tree.clone()]), named(name.clone()));
        assert_eq!(refusal.is_empty(), is_permitted, "{case}: {refusal}");
        let is_about_it = is_permitted == below(exclude(vec![tree]), named(name)).contains("is excluded by");
        assert!(
            is_about_it || case.contains("elsewhere") || case.contains("2001:db8::1)"),
            "{case} excluded"
        );
    }
    assert_eq!(
        below(permit(vec![Tree::DnsName("example.org".into())]), named(dns("gw.example.net"))),
        "certificate \"O=Lab, CN=gw\": its name \"gw.example.net\" is outside of the name constraints of \
         \"O=Lab, CN=Sub\""
    );
}

/// The class of CVE-2025-61727 and others: whoever compares octets lets the excluded name through in capitals.
#[test]
fn cve_class_name_constraints_differing_in_case() {
    for (tree, name) in [
        (Tree::DnsName("secret.example.org".into()), dns("SECRET.example.org")),
        (Tree::DnsName("SECRET.example.org".into()), dns("gw.secret.EXAMPLE.org")),
        (Tree::Rfc822Name("root@example.org".into()), mail("ROOT@example.org")),
        (Tree::Rfc822Name("example.org".into()), mail("x@EXAMPLE.ORG")),
        (organisation("LAB"), dns("gw")),
    ] {
        let refusal = below(exclude(vec![tree]), named(name));
        assert!(refusal.contains("is excluded by the name constraints of \"O=Lab, CN=Sub\""), "{refusal}");
    }
}

#[test]
fn an_address_of_mail_in_the_subject_is_a_name_too() {
    let with_mail = |gw: &mut CertificateParams| {
        let oid = DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]);
        gw.distinguished_name.push(oid, rcgen::DnValue::Ia5String("a@evil.net".try_into().unwrap()));
    };
    let refusal = below(permit(vec![Tree::Rfc822Name("example.org".into())]), with_mail);
    assert!(refusal.contains("\"a@evil.net\" is outside"), "{refusal}");
}

fn uri_constraint(host: &str) -> impl FnOnce(&mut CertificateParams) {
    let base = GeneralName::UniformResourceIdentifier(Ia5String::new(host).unwrap());
    constraint(GeneralSubtree { base, minimum: 0, maximum: None })
}

fn constraint(tree: GeneralSubtree) -> impl FnOnce(&mut CertificateParams) {
    let value = pkix::NameConstraints { permitted_subtrees: Some(vec![tree]), excluded_subtrees: None };
    move |ca| {
        let oid = ObjectIdentifier::new_unwrap("2.5.29.30");
        ca.custom_extensions.push(extension(oid, &value, true));
    }
}

#[test]
fn uris_are_constrained_by_their_hosts() {
    for (host, uri, verdict) in [
        ("gw.example.org", "https://gw.EXAMPLE.org/x", ""),
        ("gw.example.org", "https://user@gw.example.org:8443/x", ""),
        (".example.org", "https://gw.example.org?x", ""),
        ("example.org", "https://gw.example.org/", "is outside"),
        (".example.org", "https://example.org/", "is outside"),
        ("gw.example.org", "https://evil.net/@gw.example.org", "is outside"),
        ("gw.example.org", "urn:uuid:1", "a URI without a host name"),
        ("gw.example.org", "https://192.0.2.1/", "a URI without a host name"),
        ("gw.example.org", "https://[2001:db8::1]/", "a URI without a host name"),
    ] {
        let refusal = below(uri_constraint(host), named(SanType::URI(uri.try_into().unwrap())));
        let is_right = if verdict.is_empty() { refusal.is_empty() } else { refusal.contains(verdict) };
        assert!(is_right, "{uri} in {host}: {refusal}");
    }
}

#[test]
fn constraints_that_cannot_be_applied_are_not_passed_over() {
    let tree = |base, minimum| GeneralSubtree { base, minimum, maximum: None };
    let dns_name = || GeneralName::DnsName(Ia5String::new("example.org").unwrap());
    let refusal = below(constraint(tree(dns_name(), 1)), named(dns("gw.example.org")));
    assert!(refusal.contains("they have a minimum or maximum"), "{refusal}");
    let odd = GeneralName::IpAddress(OctetString::new([1, 2, 3]).unwrap());
    let refusal = below(constraint(tree(odd, 0)), named(SanType::IpAddress([192, 0, 2, 1].into())));
    assert!(refusal.contains("an address range in them is malformed"), "{refusal}");
    let other = GeneralName::RegisteredId(ObjectIdentifier::new_unwrap("1.2.3"));
    let san = pkix::SubjectAltName(vec![other.clone()]);
    let registered = |gw: &mut CertificateParams| {
        gw.custom_extensions.push(extension(ObjectIdentifier::new_unwrap("2.5.29.17"), &san, false));
    };
    let refusal = below(constraint(tree(other, 0)), registered);
    assert!(refusal.contains("a kind of name that is not known"), "{refusal}");
}

#[test]
fn cve_class_more_names_than_it_is_worth_comparing() {
    let trees: Vec<Tree> = (0..300).map(|n| Tree::DnsName(format!("h{n}.example.org"))).collect();
    let many = |gw: &mut CertificateParams| {
        gw.subject_alt_names = (0..300).map(|n| dns(&format!("h{n}.example.net"))).collect();
    };
    let refusal = below(exclude(trees), many);
    assert!(refusal.ends_with("it has too many names for the name constraints above it"), "{refusal}");
}

/// A chain longer than any in use ends the search; so does one that goes in circles.
#[test]
fn cve_class_chains_too_long() {
    let root = Authority::root("CA");
    let mut chain_of = vec![root.intermediate(ca_params("Sub1"))];
    for depth in 2..=12 {
        let next = chain_of.last().unwrap().intermediate(ca_params(&format!("Sub{depth}")));
        chain_of.push(next);
    }
    let gw = chain_of.last().unwrap().issue(params("gw")).certificate;
    let sent: Vec<&Authority> = chain_of.iter().collect();
    assert_eq!(
        chain(&store(&[&root]), &gw, &sent).unwrap_err().to_string(),
        "certificate \"O=Lab, CN=gw\": its chain is longer than 10 certificates"
    );
    let gw = chain_of[7].issue(params("gw")).certificate;
    assert_eq!(chain(&store(&[&root]), &gw, &sent).unwrap().certificates().len(), 10);
}

/// Authorities that sign each other crosswise, all of one name: the ways through them are more than can be tried.
#[test]
fn cve_class_chains_too_wide() {
    let mut nameless = ca_params("Same");
    nameless.use_authority_key_identifier_extension = false;
    let first = Authority::root("Unknown").intermediate(nameless.clone());
    let keys: Vec<Authority> = (0..6).map(|_| first.intermediate(nameless.clone())).collect();
    let mut crosswise = Vec::new();
    for issuer in &keys {
        for subject in &keys {
            let issuer = rcgen::Issuer::from_params(&issuer.params, &issuer.key);
            let signed = nameless.signed_by(&subject.key, &issuer).unwrap();
            crosswise.push(Certificate::from_der(signed.der()).unwrap());
        }
    }
    let mut gw = params("gw");
    gw.use_authority_key_identifier_extension = false;
    let gw = keys[0].issue(gw).certificate;
    let refusal = TrustStore::default().chain(&gw, &crosswise, &Constraints::default(), now()).unwrap_err();
    assert!(matches!(refusal.fault, Fault::TooWide(60)), "{refusal}");
}

/// A key nobody can use is a reason to refuse, not to fall over.
#[test]
fn cve_class_unparsable_public_key() {
    let root = Authority::root("CA");
    let gw = root.issue(params("gw")).certificate;
    let key = gw.public_key_info();
    let at = gw.der().windows(key.len()).position(|window| window == key).unwrap();
    for (offset, what) in [(key.len() - 1, "not on the curve"), (20, "ECDSA over"), (10, "algorithm")] {
        let mut octets = gw.der().to_vec();
        octets[at + offset] ^= 1;
        let broken = Certificate::from_der(&octets).unwrap();
        assert!(broken.public_key().is_err(), "{what}");
        // As the issuer of another, as a trusted one, and below a trusted one.
        let store = TrustStore::new([root.certificate.clone(), broken.clone()]);
        assert!(store.chain(&broken, &[], &Constraints::default(), now()).is_err());
        let alone = TrustStore::new([broken.clone()]).chain(&broken, &[], &Constraints::default(), now());
        assert!(matches!(alone.unwrap_err().fault, Fault::Key(_)));
    }
}

#[test]
fn what_is_loaded_itself_needs_no_authority() {
    let root = Authority::root("CA");
    let gw = root.issue(params("gw")).certificate;
    let trusting = TrustStore::new([gw.clone()]);
    assert_eq!(chain(&trusting, &gw, &[]).unwrap().certificates(), std::slice::from_ref(&gw));
    let other = root.issue(params("gw")).certificate;
    assert!(chain(&trusting, &other, &[]).is_err());
    // Named by the connection, it is the only one, too.
    let pinned = Constraints { certificates: vec![gw.clone()], ..Constraints::default() };
    assert_eq!(refused(&TrustStore::default(), &gw, &pinned), "");
    assert_eq!(
        refused(&store(&[&root]), &other, &pinned),
        "certificate \"O=Lab, CN=gw\": it is none of the certificates the connection's certs name"
    );
    // An anchor may be a peer, if its key is for that.
    let mut own = ca_params("gw");
    own.key_usages.push(KeyUsagePurpose::DigitalSignature);
    let own = Authority::with(own);
    assert!(chain(&store(&[&own]), &own.certificate, &[]).is_ok());
    let refusal = chain(&store(&[&root]), &root.certificate, &[]).unwrap_err();
    assert_eq!(refusal.fault, Fault::KeyUsage);
    // It does not outlive its time.
    let mut old = params("old");
    old.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let old = root.issue(old).certificate;
    assert!(chain(&TrustStore::new([old.clone()]), &old, &[]).is_err());
}

#[test]
fn a_connection_may_name_its_authorities() {
    let (root, other) = (Authority::root("CA"), Authority::root("Other"));
    let sub = root.intermediate(ca_params("Sub"));
    let gw = sub.issue(params("gw")).certificate;
    let store = store(&[&root, &other, &sub]);
    let from = |authority: &Authority| Constraints {
        authorities: vec![authority.certificate.clone()],
        ..Constraints::default()
    };
    assert_eq!(refused(&store, &gw, &from(&root)), "");
    assert_eq!(refused(&store, &gw, &from(&sub)), "");
    assert!(
        refused(&store, &gw, &from(&other))
            .ends_with("none of the authorities the connection's cacerts name")
    );
    let id = |text: &str| Constraints {
        authority_id: Some(Identity::parse(text).unwrap()),
        ..Constraints::default()
    };
    for text in ["O=Lab, CN=CA", "O=Lab, CN=SUB", "%any"] {
        assert_eq!(refused(&store, &gw, &id(text)), "");
    }
    assert_eq!(
        refused(&store, &gw, &id("O=Lab, CN=gw")),
        "certificate \"O=Lab, CN=gw\": no authority of its chain is \"O=Lab, CN=gw\", which the connection's ca_id \
         asks for"
    );
}

#[test]
fn rsa_keys_are_neither_short_nor_endless() {
    /// An RSAPublicKey that nobody has the other half of.
    struct Modulus(Vec<u8>);

    impl rcgen::PublicKeyData for Modulus {
        fn der_bytes(&self) -> &[u8] {
            &self.0
        }

        fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
            &rcgen::PKCS_RSA_SHA256
        }
    }

    let of_length = |octets: usize| {
        let tlv = |tag: u8, octets: &[u8]| {
            let length = u16::try_from(octets.len()).unwrap().to_be_bytes();
            let length =
                if length[0] == 0 { vec![0x81, length[1]] } else { vec![0x82, length[0], length[1]] };
            [vec![tag], length, octets.to_vec()].concat()
        };
        let modulus = tlv(2, &[vec![0], vec![0xff; octets]].concat());
        Modulus(tlv(0x30, &[modulus, vec![2, 3, 1, 0, 1]].concat()))
    };
    let root = Authority::root("CA");
    let store = store(&[&root]);
    let issuer = Issuer::from_params(&root.params, &root.key);
    for (octets, bits) in
        [(192, Some(1536)), (255, Some(2040)), (256, None), (1024, None), (1025, Some(8200))]
    {
        let der = params("gw").signed_by(&of_length(octets), &issuer).unwrap().der().to_vec();
        let refusal = refused(&store, &Certificate::from_der(&der).unwrap(), &Constraints::default());
        match bits {
            Some(bits) => {
                let why = format!("its RSA key has {bits} bits: 2048 to 8192 are taken");
                assert!(refusal.ends_with(&why), "{refusal}");
            }
            None => assert_eq!(refusal, ""),
        }
    }
}

#[test]
fn a_connection_may_ask_for_strength() {
    let root = Authority::root("CA");
    let gw = root.issue(params("gw")).certificate;
    let store = store(&[&root]);
    let bits = Constraints { ecdsa_bits: Some(384), ..Constraints::default() };
    assert!(
        refused(&store, &gw, &bits)
            .ends_with("its key of 256 bits is too weak: the connection's auth asks for 384")
    );
    let rsa = Constraints { rsa_bits: Some(4096), ..Constraints::default() };
    assert_eq!(refused(&store, &gw, &rsa), "");
    let schemes = |scheme| Constraints { schemes: vec![scheme], ..Constraints::default() };
    assert_eq!(refused(&store, &gw, &schemes(SignatureScheme::Ecdsa(Hash::Sha256))), "");
    let refusal = refused(&store, &gw, &schemes(SignatureScheme::Ecdsa(Hash::Sha512)));
    assert!(refusal.ends_with("which the connection's auth does not allow"), "{refusal}");
}

const A: &str = "1.2.3.1";
const B: &str = "1.2.3.2";
const ANY: &str = "2.5.29.32.0";

fn with_policies(policies: &[&str]) -> CustomExtension {
    let policies = policies.iter().map(|oid| PolicyInformation {
        policy_identifier: ObjectIdentifier::new_unwrap(oid),
        policy_qualifiers: None,
    });
    let value = pkix::CertificatePolicies(policies.collect());
    extension(ObjectIdentifier::new_unwrap("2.5.29.32"), &value, false)
}

fn with_mapping(from: &str, to: &str) -> CustomExtension {
    let value = pkix::PolicyMappings(vec![pkix::PolicyMapping {
        issuer_domain_policy: ObjectIdentifier::new_unwrap(from),
        subject_domain_policy: ObjectIdentifier::new_unwrap(to),
    }]);
    extension(ObjectIdentifier::new_unwrap("2.5.29.33"), &value, true)
}

fn with_constraints(explicit: Option<u32>, mapping: Option<u32>) -> CustomExtension {
    let value =
        pkix::PolicyConstraints { require_explicit_policy: explicit, inhibit_policy_mapping: mapping };
    extension(ObjectIdentifier::new_unwrap("2.5.29.36"), &value, true)
}

#[test]
fn policies_hold_all_the_way_down() {
    let inhibit_any =
        || extension(ObjectIdentifier::new_unwrap("2.5.29.54"), &pkix::InhibitAnyPolicy(0), true);
    let table = [
        // what the intermediate and the end entity have, whether A is allowed, whether without asking for one
        ("both", vec![with_policies(&[A])], vec![with_policies(&[A])], true, true),
        ("any above", vec![with_policies(&[ANY])], vec![with_policies(&[A])], true, true),
        ("any below", vec![with_policies(&[A])], vec![with_policies(&[ANY])], true, true),
        ("another", vec![with_policies(&[B])], vec![with_policies(&[A])], false, true),
        ("none above", vec![], vec![with_policies(&[A])], false, true),
        ("none below", vec![with_policies(&[A])], vec![], false, true),
        ("any inhibited", vec![with_policies(&[A]), inhibit_any()], vec![with_policies(&[ANY])], false, true),
        ("mapped", vec![with_policies(&[A]), with_mapping(A, B)], vec![with_policies(&[B])], true, true),
        (
            "mapped away",
            vec![with_policies(&[A]), with_mapping(A, B)],
            vec![with_policies(&[A])],
            false,
            true,
        ),
        (
            "mapped from any",
            vec![with_policies(&[ANY]), with_mapping(A, B)],
            vec![with_policies(&[B])],
            true,
            true,
        ),
        ("explicit", vec![with_policies(&[B]), with_constraints(Some(0), None)], vec![], false, false),
        (
            "explicit and there",
            vec![with_policies(&[A]), with_constraints(Some(0), Some(0))],
            vec![with_policies(&[A])],
            true,
            true,
        ),
    ];
    for (case, above, own, with_a, without) in table {
        let (root, mut ca, mut ee) = (Authority::root("CA"), ca_params("Sub"), params("gw"));
        (ca.custom_extensions, ee.custom_extensions) = (above, own);
        let sub = root.intermediate(ca);
        let gw = sub.issue(ee).certificate;
        let store = store(&[&root, &sub]);
        let asking = Constraints { policies: vec![A.parse().unwrap()], ..Constraints::default() };
        let refusal = refused(&store, &gw, &asking);
        assert_eq!(refusal.is_empty(), with_a, "{case}: {refusal}");
        let refusal = refused(&store, &gw, &Constraints::default());
        assert_eq!(refusal.is_empty(), without, "{case}: {refusal}");
    }
}

/// CVE-2023-0464: a tree of policies that doubles with every certificate.
#[test]
fn cve_class_policies_that_multiply() {
    let root = Authority::root("CA");
    let policies: Vec<String> = (0..90).map(|n| format!("1.2.3.{n}")).collect();
    let all: Vec<&str> = policies.iter().map(String::as_str).collect();
    let mappings = (0..90).map(|n| pkix::PolicyMapping {
        issuer_domain_policy: ObjectIdentifier::new_unwrap(&policies[n]),
        subject_domain_policy: ObjectIdentifier::new_unwrap(&policies[(n + 1) % 90]),
    });
    let mappings = pkix::PolicyMappings(mappings.collect());
    let mut authorities = vec![];
    for depth in 0..8 {
        let mut ca = ca_params(&format!("Sub{depth}"));
        ca.custom_extensions =
            vec![with_policies(&all), extension(ObjectIdentifier::new_unwrap("2.5.29.33"), &mappings, true)];
        let above = authorities.last().unwrap_or(&root);
        let next = above.intermediate(ca);
        authorities.push(next);
    }
    let mut ee = params("gw");
    ee.custom_extensions = vec![with_policies(&all)];
    let gw = authorities.last().unwrap().issue(ee).certificate;
    let sent: Vec<&Authority> = authorities.iter().collect();
    assert!(chain(&store(&[&root]), &gw, &sent).is_ok());

    let more: Vec<String> = (0..101).map(|n| format!("1.2.3.{n}")).collect();
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    let refusal = below(|_| {}, |gw| gw.custom_extensions = vec![with_policies(&more)]);
    assert!(refusal.ends_with("it has 101 policies or policy mappings: 100 is the most"), "{refusal}");
}
