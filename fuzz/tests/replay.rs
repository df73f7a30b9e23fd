//! Replays every file of every corpus, so that what once went wrong stays right without a fuzzer.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use ferry_fuzz::TARGETS;

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// What is in a directory, in the order of the names.
fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths =
        fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

#[test]
fn every_corpus_file_is_survived() {
    let mut failed = Vec::new();
    for (name, target) in TARGETS {
        let files = entries(&corpora().join(name)).unwrap_or_else(|e| panic!("the corpus of {name}: {e}"));
        assert!(!files.is_empty(), "the corpus of {name} is empty");
        for file in &files {
            let octets = fs::read(file).unwrap();
            if catch_unwind(|| target(&octets)).is_err() {
                failed.push(file.clone());
            }
        }
        println!("{name}: {} files replayed", files.len());
    }
    assert!(failed.is_empty(), "targets panicked on {failed:#?}");
}

#[test]
fn every_corpus_has_a_target_and_every_target_a_corpus() {
    let directories = entries(&corpora()).unwrap();
    let corpora: BTreeSet<&str> =
        directories.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    let targets: BTreeSet<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(corpora, targets);
    for name in targets {
        let binary = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets").join(format!("{name}.rs"));
        assert!(binary.is_file(), "{} is missing", binary.display());
    }
}
