//! Broken configurations of the kinds that people have, and what is said about them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::*;
use crate::dataplane::Abilities;

/// One directory for each, with what is to be said in `expected`. With `FERRY_GOLDEN=write` that is written.
const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/broken");

/// The host they are for: a gateway at 192.0.2.1, on 2026-11-27.
fn surroundings() -> Surroundings {
    Surroundings {
        addresses: ["127.0.0.1", "192.0.2.1", "10.1.0.1", "::1", "2001:db8::1"]
            .map(|address| address.parse().unwrap())
            .into(),
        now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_780_800),
        defaults: Defaults { plane: Abilities::KERNEL, ..crate::store::tests::DEFAULTS },
    }
}

/// A copy whose files nobody else can read.
fn private_copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let copy = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&copy).unwrap();
            private_copy(&entry.path(), &copy);
        } else {
            std::fs::copy(entry.path(), &copy).unwrap();
            std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

/// What is said, with the names of files as they are below the directory.
fn said(directory: &Path) -> String {
    let findings = check(&directory.join("swanctl.conf"), &surroundings());
    let lines: Vec<String> = findings.iter().map(|finding| format!("{finding}\n")).collect();
    lines.concat().replace(&format!("{}/", directory.display()), "")
}

fn corpus() -> Vec<PathBuf> {
    let mut cases: Vec<_> = std::fs::read_dir(CORPUS).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

#[test]
fn what_is_wrong_and_what_to_do_is_said_in_a_sentence_each() {
    let cases = corpus();
    assert!(cases.len() >= 40, "{} cases", cases.len());
    let mut wrong = String::new();
    for case in cases {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let copy = tempfile::tempdir().unwrap();
        private_copy(&case, copy.path());
        let said = said(copy.path());
        let file = case.join("expected");
        if std::env::var_os("FERRY_GOLDEN").is_some_and(|what| what == "write") {
            std::fs::write(&file, &said).unwrap();
        }
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        if said != expected {
            wrong.push_str(&format!("{name}\n--- expected\n{expected}--- said\n{said}\n"));
        }
        assert_eq!(expected.is_empty(), name == "nothing-wrong", "{name}");
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn files_with_secrets_that_others_can_read_are_told_of() {
    let copy = tempfile::tempdir().unwrap();
    private_copy(&Path::new(CORPUS).join("nothing-wrong"), copy.path());
    assert_eq!(said(copy.path()), "");
    let open = |name: &str, mode| {
        std::fs::set_permissions(copy.path().join(name), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open("swanctl.conf", 0o644); // holds no secret
    open("private/gw.pem", 0o640);
    let expected = concat!(
        "private/gw.pem: warning: others than its owner can read the secrets in it\n",
        "    Run chmod 600 private/gw.pem.\n"
    );
    assert_eq!(said(copy.path()), expected);
}

#[test]
fn a_file_that_is_not_there_is_told_of() {
    let directory = tempfile::tempdir().unwrap();
    let said = said(directory.path());
    assert!(said.starts_with("error: cannot read swanctl.conf: "), "{said}");
}
