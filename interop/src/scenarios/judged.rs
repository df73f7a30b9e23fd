//! Chains of certificates that OpenSSL has made, judged by `openssl verify` and by us.
//!
//! Both have to come to the verdict that is written here. Where ours is another, the case says why.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, bail, ensure};
use ferry_ike::pki::{Certificate, Constraints, TrustStore, files};

use crate::lab::Lab;

/// Who believes a chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// Both.
    Good,
    /// Nobody.
    Bad,
    /// OpenSSL alone, for we have a reason.
    OpensslAlone(&'static str),
    /// We alone, for OpenSSL goes further than IKE asks.
    OursAlone(&'static str),
}

use Verdict::{Bad, Good, OpensslAlone, OursAlone};

/// A chain: the root, an authority below it, and below that one an end entity.
struct Case {
    name: &'static str,
    root: &'static str,
    authority: &'static str,
    end_entity: &'static str,
    subject: &'static str,
    /// Options of `openssl x509` for authority and end entity.
    signing: [&'static str; 2],
    /// Which keys they have.
    keys: [&'static str; 2],
    /// Options of `openssl verify`.
    options: &'static str,
    /// A policy that is asked for.
    policy: Option<&'static str>,
    verdict: Verdict,
}

const CA: &str = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign";

const PLAIN: Case = Case {
    name: "nothing special",
    root: CA,
    authority: CA,
    end_entity: "subjectAltName=DNS:gw.example.com",
    subject: "/O=Lab/CN=gw",
    signing: ["-days 30", "-days 30"],
    keys: ["authority", "gw"],
    options: "",
    policy: None,
    verdict: Good,
};

/// One whose authority has these name constraints and whose end entity these names.
const fn names(
    name: &'static str,
    authority: &'static str,
    end_entity: &'static str,
    subject: &'static str,
    verdict: Verdict,
) -> Case {
    Case { name, authority, end_entity, subject, verdict, ..PLAIN }
}

/// One whose authority has these policies and whose end entity those, and that is to be valid under 1.2.3.4.
const fn policies(
    name: &'static str,
    authority: &'static str,
    end_entity: &'static str,
    verdict: Verdict,
) -> Case {
    let options = "-policy_check -explicit_policy -policy 1.2.3.4";
    Case { name, authority, end_entity, options, policy: Some("1.2.3.4"), verdict, ..PLAIN }
}

macro_rules! ca {
    ($more:literal) => {
        concat!("basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n", $more)
    };
}

const GW: &str = "/O=Lab/CN=gw";

const CASES: &[Case] = &[
    PLAIN,
    Case { name: "an expired end entity", signing: ["-days 30", "-days -1"], verdict: Bad, ..PLAIN },
    Case { name: "an expired authority", signing: ["-days -1", "-days 30"], verdict: Bad, ..PLAIN },
    Case { name: "an authority that is none", authority: "basicConstraints=CA:FALSE", verdict: Bad, ..PLAIN },
    Case {
        name: "an authority that does not say",
        authority: "subjectKeyIdentifier=hash",
        verdict: Bad,
        ..PLAIN
    },
    Case {
        name: "an authority that may not sign certificates",
        authority: "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,digitalSignature",
        verdict: Bad,
        ..PLAIN
    },
    Case {
        name: "more authorities than the root allows",
        root: "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign",
        verdict: Bad,
        ..PLAIN
    },
    Case {
        name: "as many authorities as the root allows",
        root: "basicConstraints=critical,CA:TRUE,pathlen:1\nkeyUsage=critical,keyCertSign",
        ..PLAIN
    },
    Case {
        name: "a critical extension that nobody knows",
        end_entity: "1.2.3.4.5=critical,DER:0500",
        verdict: Bad,
        ..PLAIN
    },
    Case { name: "another extension that nobody knows", end_entity: "1.2.3.4.5=DER:0500", ..PLAIN },
    Case {
        name: "a purpose that is another",
        end_entity: "extendedKeyUsage=clientAuth",
        options: "-purpose sslserver",
        verdict: OursAlone(
            "extended key usage is passed over, as charon does and RFC 4945 §5.1.3.12 advises for IKE",
        ),
        ..PLAIN
    },
    Case { name: "a signature by somebody else", keys: ["stranger", "gw"], verdict: Bad, ..PLAIN },
    Case {
        name: "a signature with SHA-1",
        signing: ["-days 30", "-days 30 -sha1"],
        verdict: OpensslAlone("SHA-1 is believed only where a connection's auth names it"),
        ..PLAIN
    },
    Case {
        name: "a short RSA key",
        keys: ["authority", "short"],
        verdict: OpensslAlone("nobody takes an AUTH that is made with it, so the chain says so first"),
        ..PLAIN
    },
    Case {
        name: "a key that may not sign",
        end_entity: "keyUsage=critical,keyEncipherment",
        verdict: OpensslAlone("RFC 4945 §5.1.3.2: a key that signs AUTH has to be for signatures"),
        ..PLAIN
    },
    // Name constraints.
    names(
        "a DNS name that is permitted",
        ca!("nameConstraints=critical,permitted;DNS:example.com"),
        "subjectAltName=DNS:gw.example.com",
        GW,
        Good,
    ),
    names(
        "a DNS name of another case",
        ca!("nameConstraints=critical,permitted;DNS:Example.COM"),
        "subjectAltName=DNS:gw.eXample.com",
        GW,
        Good,
    ),
    names(
        "a DNS name that is not permitted",
        ca!("nameConstraints=critical,permitted;DNS:example.com"),
        "subjectAltName=DNS:gw.example.org",
        GW,
        Bad,
    ),
    names(
        "a DNS name that only ends alike",
        ca!("nameConstraints=critical,permitted;DNS:example.com"),
        "subjectAltName=DNS:gw.badexample.com",
        GW,
        Bad,
    ),
    names(
        "one DNS name of two that is not permitted",
        ca!("nameConstraints=critical,permitted;DNS:example.com"),
        "subjectAltName=DNS:gw.example.com,DNS:gw.example.org",
        GW,
        Bad,
    ),
    names(
        "a DNS name that is excluded",
        ca!("nameConstraints=critical,excluded;DNS:example.com"),
        "subjectAltName=DNS:gw.example.com",
        GW,
        Bad,
    ),
    names(
        "an excluded DNS name of another case",
        ca!("nameConstraints=critical,excluded;DNS:example.com"),
        "subjectAltName=DNS:gw.EXAMPLE.com",
        GW,
        Bad,
    ),
    names(
        "a DNS name that is not excluded",
        ca!("nameConstraints=critical,excluded;DNS:example.com"),
        "subjectAltName=DNS:gw.example.org",
        GW,
        Good,
    ),
    names(
        "a common name like a DNS name that is not permitted",
        ca!("nameConstraints=critical,permitted;DNS:example.com"),
        "basicConstraints=CA:FALSE",
        "/O=Lab/CN=gw.example.org",
        OursAlone("a common name is no DNS name: nobody gets that identity by it"),
    ),
    names(
        "mail that is permitted",
        ca!("nameConstraints=critical,permitted;email:example.com"),
        "subjectAltName=email:gw@example.com",
        GW,
        Good,
    ),
    names(
        "mail at a host of another case",
        ca!("nameConstraints=critical,permitted;email:example.com"),
        "subjectAltName=email:gw@EXAMPLE.com",
        GW,
        Good,
    ),
    names(
        "mail that is not permitted",
        ca!("nameConstraints=critical,permitted;email:example.com"),
        "subjectAltName=email:gw@mail.example.com",
        GW,
        Bad,
    ),
    names(
        "mail at a host of the domain",
        ca!("nameConstraints=critical,permitted;email:.example.com"),
        "subjectAltName=email:gw@mail.example.com",
        GW,
        Good,
    ),
    names(
        "mail that is excluded",
        ca!("nameConstraints=critical,excluded;email:gw@example.com"),
        "subjectAltName=email:gw@example.com",
        GW,
        Bad,
    ),
    names(
        "mail in the subject that is excluded",
        ca!("nameConstraints=critical,excluded;email:example.com"),
        "basicConstraints=CA:FALSE",
        "/O=Lab/CN=gw/emailAddress=gw@example.com",
        Bad,
    ),
    names(
        "an address that is permitted",
        ca!("nameConstraints=critical,permitted;IP:192.0.2.0/255.255.255.0"),
        "subjectAltName=IP:192.0.2.77",
        GW,
        Good,
    ),
    names(
        "an address that is not permitted",
        ca!("nameConstraints=critical,permitted;IP:192.0.2.0/255.255.255.0"),
        "subjectAltName=IP:192.0.3.77",
        GW,
        Bad,
    ),
    names(
        "an address that is excluded",
        ca!("nameConstraints=critical,excluded;IP:2001:db8::/ffff:ffff::"),
        "subjectAltName=IP:2001:db8:1::1",
        GW,
        Bad,
    ),
    names(
        "an address of another family",
        ca!("nameConstraints=critical,excluded;IP:192.0.2.0/255.255.255.0"),
        "subjectAltName=IP:2001:db8::1",
        GW,
        Good,
    ),
    names(
        "a subject that is permitted",
        ca!("nameConstraints=critical,permitted;dirName:lab"),
        "subjectAltName=DNS:gw.example.com",
        GW,
        Good,
    ),
    names(
        "a subject that is not permitted",
        ca!("nameConstraints=critical,permitted;dirName:lab"),
        "subjectAltName=DNS:gw.example.com",
        "/O=Other/CN=gw",
        Bad,
    ),
    names(
        "a subject of another case that is excluded",
        ca!("nameConstraints=critical,excluded;dirName:lab"),
        "subjectAltName=DNS:gw.example.com",
        "/O=LAB/CN=gw",
        Bad,
    ),
    names(
        "a URI that is permitted",
        ca!("nameConstraints=critical,permitted;URI:.example.com"),
        "subjectAltName=URI:ipsec://gw.example.com/",
        GW,
        Good,
    ),
    names(
        "a URI that is not permitted",
        ca!("nameConstraints=critical,permitted;URI:.example.com"),
        "subjectAltName=URI:ipsec://gw.example.org/",
        GW,
        Bad,
    ),
    names(
        "a name of a kind without constraints",
        ca!("nameConstraints=critical,permitted;email:example.com"),
        "subjectAltName=DNS:gw.example.org",
        GW,
        Good,
    ),
    // Policies.
    policies(
        "the policy that is asked for",
        ca!("certificatePolicies=1.2.3.4"),
        "certificatePolicies=1.2.3.4",
        Good,
    ),
    policies("another policy", ca!("certificatePolicies=1.2.3.4"), "certificatePolicies=1.2.3.5", Bad),
    policies("no policy", ca!("certificatePolicies=1.2.3.4"), "basicConstraints=CA:FALSE", Bad),
    policies(
        "a policy that the authority does not have",
        ca!("certificatePolicies=1.2.3.5"),
        "certificatePolicies=1.2.3.4",
        Bad,
    ),
    policies(
        "an authority of any policy",
        ca!("certificatePolicies=2.5.29.32.0"),
        "certificatePolicies=1.2.3.4",
        Good,
    ),
    policies(
        "any policy where it is inhibited",
        ca!("certificatePolicies=1.2.3.4\ninhibitAnyPolicy=0"),
        "certificatePolicies=2.5.29.32.0",
        Bad,
    ),
    policies(
        "a policy that is mapped",
        ca!("certificatePolicies=1.2.3.4\npolicyMappings=1.2.3.4:1.2.3.5"),
        "certificatePolicies=1.2.3.5",
        Good,
    ),
    policies(
        "a policy that is mapped to another",
        ca!("certificatePolicies=1.2.3.4\npolicyMappings=1.2.3.4:1.2.3.5"),
        "certificatePolicies=1.2.3.6",
        Bad,
    ),
    Case {
        name: "no policy where the authority requires one",
        authority: ca!("certificatePolicies=1.2.3.4\npolicyConstraints=requireExplicitPolicy:0"),
        options: "-policy_check",
        verdict: Bad,
        ..PLAIN
    },
];

/// Judges all chains, by both.
pub(super) fn chains(lab: &Lab) -> Result<()> {
    let directory = lab.host("judge")?.directory().to_owned();
    let bench = Bench { directory, made: RefCell::new(HashMap::new()) };
    for (key, algorithm) in [
        ("root", "-algorithm EC -pkeyopt ec_paramgen_curve:P-256"),
        ("authority", "-algorithm EC -pkeyopt ec_paramgen_curve:P-256"),
        ("stranger", "-algorithm EC -pkeyopt ec_paramgen_curve:P-256"),
        ("gw", "-algorithm ED25519"),
        ("short", "-algorithm RSA -pkeyopt rsa_keygen_bits:1024"),
    ] {
        bench.openssl(&format!("genpkey {algorithm} -out {key}.key"))?;
    }
    let mut wrong = Vec::new();
    for case in CASES {
        let (theirs, ours) = bench.judge(case).with_context(|| case.name)?;
        let expected = match case.verdict {
            Good => (true, true),
            Bad => (false, false),
            OpensslAlone(_reason) => (true, false),
            OursAlone(_reason) => (false, true),
        };
        if (theirs.is_ok(), ours.is_ok()) != expected {
            wrong.push(format!(
                "{}: {:?} expected; OpenSSL: {theirs:?}; we: {ours:?}",
                case.name, case.verdict
            ));
        }
    }
    ensure!(wrong.is_empty(), "{} of {} verdicts are wrong:\n{}", wrong.len(), CASES.len(), wrong.join("\n"));
    Ok(())
}

/// Where certificates are made.
struct Bench {
    directory: PathBuf,
    /// What lies there already, by the names of files, and how it was made.
    made: RefCell<HashMap<String, String>>,
}

type Opinion = Result<(), String>;

impl Bench {
    fn judge(&self, case: &Case) -> Result<(Opinion, Opinion)> {
        let [authority, end_entity] = case.keys;
        self.issue("root", "root", "/O=Lab/CN=root", case.root, "-days 30 -key root.key")?;
        let by_root = format!("{} -CA root.pem -CAkey root.key", case.signing[0]);
        self.issue("authority", "authority", "/O=Lab/CN=authority", case.authority, &by_root)?;
        // A stranger's signature is made with its key under the authority's certificate, which OpenSSL lets nobody do
        // unless the certificate has that key; so it gets one of the same name.
        let mut signer = "authority";
        if authority != "authority" {
            self.issue("signer", authority, "/O=Lab/CN=authority", CA, &by_root)?;
            signer = "signer";
        }
        let by_authority = format!("{} -CA {signer}.pem -CAkey {authority}.key", case.signing[1]);
        self.issue("gw", end_entity, case.subject, case.end_entity, &by_authority)?;
        Ok((self.theirs(case)?, self.ours(case)?))
    }

    fn issue(&self, name: &str, key: &str, subject: &str, extensions: &str, signing: &str) -> Result<()> {
        let text = format!("[own]\n{extensions}\n[lab]\nO=Lab\n");
        fs::write(self.directory.join("extensions.cnf"), text)?;
        let request = format!("{key} {subject}");
        if self.is_new(&format!("{name}.csr"), &request) {
            self.openssl_with(&format!("req -new -key {key}.key -out {name}.csr -subj"), &[subject])?;
        }
        // Most chains have the same authorities.
        let issuer = signing.split_once("-CA ").and_then(|(_, rest)| rest.split_once(".pem"));
        let issuer = issuer.and_then(|(issuer, _)| self.made.borrow().get(&format!("{issuer}.pem")).cloned());
        let how = format!("{request} {extensions} {signing} {}", issuer.unwrap_or_default());
        if !self.is_new(&format!("{name}.pem"), &how) {
            return Ok(());
        }
        let signing = match signing.contains("-CA ") {
            true => signing.to_owned(),
            false => signing.replace("-key ", "-signkey "),
        };
        self.openssl(&format!(
            "x509 -req -in {name}.csr -out {name}.pem -set_serial 77 -extfile extensions.cnf -extensions own {signing}"
        ))
    }

    /// Whether a file has not been made like that before.
    fn is_new(&self, file: &str, how: &str) -> bool {
        self.made.borrow_mut().insert(file.to_owned(), how.to_owned()).as_deref() != Some(how)
    }

    fn theirs(&self, case: &Case) -> Result<Opinion> {
        let line = format!("verify {} -CAfile root.pem -untrusted authority.pem gw.pem", case.options);
        let output =
            Command::new("openssl").args(line.split_whitespace()).current_dir(&self.directory).output()?;
        match output.status.code() {
            Some(0) => Ok(Ok(())),
            Some(2) => Ok(Err(String::from_utf8_lossy(&output.stderr).trim().replace('\n', " "))),
            _ => bail!("{line}: {}", String::from_utf8_lossy(&output.stderr)),
        }
    }

    fn ours(&self, case: &Case) -> Result<Opinion> {
        let [root, authority, gateway] = ["root", "authority", "gw"].map(|name| self.read(name));
        let constraints = Constraints {
            policies: case
                .policy
                .map(str::parse)
                .transpose()
                .map_err(anyhow::Error::msg)?
                .into_iter()
                .collect(),
            ..Constraints::default()
        };
        let chain = TrustStore::new([root?]).chain(&gateway?, &[authority?], &constraints, SystemTime::now());
        Ok(chain.map(drop).map_err(|refusal| refusal.to_string()))
    }

    fn read(&self, name: &str) -> Result<Certificate> {
        let file: PathBuf = Path::new(&self.directory).join(format!("{name}.pem"));
        files::certificates(&fs::read(file)?)?.pop().context("a file without a certificate")
    }

    fn openssl(&self, line: &str) -> Result<()> {
        self.openssl_with(line, &[])
    }

    fn openssl_with(&self, line: &str, more: &[&str]) -> Result<()> {
        let mut command = Command::new("openssl");
        command.args(line.split_whitespace()).args(more).current_dir(&self.directory);
        let output = command.output().context("cannot run openssl")?;
        ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}
