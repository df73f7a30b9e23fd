//! Sealing and opening one packet, beside the bare AEAD of the same library in the same run.
//!
//! `bare` is what `ring` takes for the inner packet alone under a prebuilt key; the difference to `seal` or `open` is
//! ours: header, padding and trailer (which the AEAD then has to pass through too), sequence number or window, and the
//! check of the inner packet. For AES-CBC, where `ring` has no cipher, the bare figure is the HMAC alone.

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{
    BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use ferry_esp::{
    AddressRange, AesKeySize, HEADROOM, InboundParams, InboundSa, Integrity, KeyMaterial, OutboundParams,
    OutboundSa, Sealed, Selector, Selectors, SequenceNumbers, Spi, Suite, TAILROOM, TunnelOptions,
};
use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;

const SIZES: [u16; 4] = [64, 576, 1400, 9000];

/// Packets made ready before a measurement of opening; each can be opened once.
const BATCH: BatchSize = BatchSize::NumIterations(512);

/// What stands for a suite without ESP around it.
enum Bare {
    Aead(&'static aead::Algorithm),
    Mac(hmac::Algorithm),
}

fn suites() -> [(&'static str, Suite, Bare); 4] {
    let cbc = Suite::AesCbc(AesKeySize::Aes128, Integrity::HmacSha256_128);
    [
        ("aes128gcm16", Suite::AesGcm16(AesKeySize::Aes128), Bare::Aead(&aead::AES_128_GCM)),
        ("aes256gcm16", Suite::AesGcm16(AesKeySize::Aes256), Bare::Aead(&aead::AES_256_GCM)),
        ("chacha20poly1305", Suite::ChaCha20Poly1305, Bare::Aead(&aead::CHACHA20_POLY1305)),
        ("aes128cbc-sha256", cbc, Bare::Mac(hmac::HMAC_SHA256)),
    ]
}

fn ends(suite: Suite) -> (OutboundSa, InboundSa) {
    let host = |last| Selector::addresses(AddressRange::host([10, 0, 0, last].into()));
    let (near, far) = (host(1), host(2));
    let keys = || KeyMaterial::new(&vec![1; suite.encryption_key_len()], &vec![2; suite.integrity_key_len()]);
    let (spi, sequence_numbers, tunnel) = (Spi(0x1234), SequenceNumbers::Short, TunnelOptions::default());
    let selectors = Selectors { local: vec![near], remote: vec![far] };
    let outbound = OutboundParams { spi, suite, keys: keys(), sequence_numbers, selectors, tunnel };
    let selectors = Selectors { local: vec![far], remote: vec![near] };
    let inbound =
        InboundParams { spi, suite, keys: keys(), sequence_numbers, replay_window: 1024, selectors, tunnel };
    (OutboundSa::new(outbound).expect("keys fit"), InboundSa::new(inbound).expect("keys fit"))
}

/// An IPv4 packet of `len` octets between the two hosts.
fn packet(len: u16) -> Vec<u8> {
    let [high, low] = len.to_be_bytes();
    let mut packet = vec![0x45, 0, high, low, 0, 0, 0, 0, 64, 253, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    packet.resize(usize::from(len), 0xaa);
    packet
}

fn with_room(packet: &[u8]) -> Vec<u8> {
    [&[0; HEADROOM], packet, &[0; TAILROOM]].concat()
}

fn seal(group: &mut BenchmarkGroup<'_, WallTime>) {
    for (name, suite, bare) in suites() {
        for len in SIZES {
            group.throughput(Throughput::Bytes(len.into()));
            let inner = packet(len);
            let mut buffer = with_room(&inner);
            let (mut sender, _) = ends(suite);
            group.bench_function(BenchmarkId::new(name, len), |bencher| {
                bencher.iter(|| {
                    // What was sealed before is ciphertext now: only its first octet must look like a packet again.
                    if let Some(first) = buffer.get_mut(HEADROOM) {
                        *first = 0x45;
                    }
                    let sealed = sender.seal(black_box(&mut buffer), HEADROOM..HEADROOM + inner.len());
                    black_box(sealed.expect("sequence numbers are left").octets().len())
                });
            });
            bare_seal(group, name, &bare, &inner);
        }
    }
}

fn bare_seal(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, bare: &Bare, inner: &[u8]) {
    let id = BenchmarkId::new(format!("{name}/bare"), inner.len());
    let mut buffer = inner.to_vec();
    match bare {
        Bare::Aead(algorithm) => {
            let key = key(algorithm);
            let mut counter = 0_u64;
            group.bench_function(id, |bencher| {
                bencher.iter(|| {
                    counter += 1;
                    let tag = key.seal_in_place_separate_tag(
                        nonce(counter),
                        Aad::from([0; 8]),
                        black_box(&mut buffer),
                    );
                    black_box(tag.expect("short enough"))
                });
            });
        }
        Bare::Mac(algorithm) => {
            let key = hmac::Key::new(*algorithm, &[2; 32]);
            group.bench_function(id, |bencher| bencher.iter(|| hmac::sign(&key, black_box(&buffer))));
        }
    }
}

fn open(group: &mut BenchmarkGroup<'_, WallTime>) {
    for (name, suite, bare) in suites() {
        for len in SIZES {
            group.throughput(Throughput::Bytes(len.into()));
            let inner = packet(len);
            let (mut sender, mut receiver) = ends(suite);
            group.bench_function(BenchmarkId::new(name, len), |bencher| {
                let fresh = || {
                    let mut buffer = with_room(&inner);
                    let sealed = sender.seal(&mut buffer, HEADROOM..HEADROOM + inner.len());
                    sealed.expect("sequence numbers are left").octets().to_vec()
                };
                let open = |packet: &mut Vec<u8>| {
                    let opened =
                        receiver.open(Sealed::parse(black_box(packet)).expect("a header")).expect("opens");
                    black_box(receiver.admit(opened, 0).expect("is admitted").octets().len())
                };
                bencher.iter_batched_ref(fresh, open, BATCH);
            });
            bare_open(group, name, &bare, &inner);
        }
    }
}

fn bare_open(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, bare: &Bare, inner: &[u8]) {
    let id = BenchmarkId::new(format!("{name}/bare"), inner.len());
    match bare {
        Bare::Aead(algorithm) => {
            let key = key(algorithm);
            let fresh = || {
                let mut buffer = inner.to_vec();
                let tag = key.seal_in_place_separate_tag(nonce(1), Aad::from([0; 8]), &mut buffer);
                (buffer, tag.expect("short enough"))
            };
            let open = |(buffer, tag): &mut (Vec<u8>, aead::Tag)| {
                let opened =
                    key.open_in_place_separate_tag(nonce(1), Aad::from([0; 8]), *tag, black_box(buffer), 0..);
                black_box(opened.expect("our own").len())
            };
            group.bench_function(id, |bencher| bencher.iter_batched_ref(fresh, open, BATCH));
        }
        Bare::Mac(algorithm) => {
            let key = hmac::Key::new(*algorithm, &[2; 32]);
            let fresh = || (inner.to_vec(), hmac::sign(&key, inner));
            let verify = |(buffer, tag): &mut (Vec<u8>, hmac::Tag)| {
                hmac::verify(&key, black_box(buffer), tag.as_ref())
            };
            group.bench_function(id, |bencher| bencher.iter_batched_ref(fresh, verify, BATCH));
        }
    }
}

fn key(algorithm: &'static aead::Algorithm) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(algorithm, &vec![1; algorithm.key_len()]).expect("the key fits"))
}

fn nonce(counter: u64) -> Nonce {
    let [a, b, c, d, e, f, g, h] = counter.to_be_bytes();
    Nonce::assume_unique_for_key([1, 1, 1, 1, a, b, c, d, e, f, g, h])
}

fn esp(criterion: &mut Criterion) {
    for (name, measure) in [("esp/seal", seal as fn(&mut BenchmarkGroup<'_, WallTime>)), ("esp/open", open)] {
        let mut group = criterion.benchmark_group(name);
        group
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_secs(1))
            .sample_size(30);
        measure(&mut group);
        group.finish();
    }
}

criterion_group!(benches, esp);
criterion_main!(benches);
