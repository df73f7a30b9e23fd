//! Decoding and encoding of the messages a gateway sees most: the first message of a strongSwan client with its
//! default proposals, which strangers send too, and the payloads inside IKE_AUTH.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ferry_ike::wire::registry::PayloadType;
use ferry_ike::wire::{self, PayloadWriter, Payloads};

const INIT_REQUEST: &[u8] = include_bytes!("../../ike/src/wire/captures/ike_sa_init_request.bin");
const AUTH_REQUEST: &[u8] = include_bytes!("../../ike/src/wire/captures/ike_auth_request_plaintext.bin");

fn written(payloads: &Payloads<'_>) -> PayloadWriter {
    let mut writer = PayloadWriter::new();
    for payload in payloads {
        writer.payload(payload);
    }
    writer
}

fn octets(of: &[u8]) -> Throughput {
    Throughput::Bytes(of.len().try_into().unwrap_or(u64::MAX))
}

fn init_request(c: &mut Criterion) {
    let message = wire::decode(INIT_REQUEST).expect("the captured message is well-formed");
    let mut group = c.benchmark_group("wire/IKE_SA_INIT request");
    group.throughput(octets(INIT_REQUEST));
    group.bench_function("decode", |b| b.iter(|| wire::decode(black_box(INIT_REQUEST))));
    group.bench_function("encode", |b| {
        b.iter(|| wire::build(message.header.fields(), &written(black_box(&message.payloads))));
    });
    group.finish();
}

fn auth_request(c: &mut Criterion) {
    let payloads = wire::decode_payloads(PayloadType::ID_I, AUTH_REQUEST)
        .expect("the captured payloads are well-formed");
    let mut group = c.benchmark_group("wire/IKE_AUTH request");
    group.throughput(octets(AUTH_REQUEST));
    group.bench_function("decode", |b| {
        b.iter(|| wire::decode_payloads(PayloadType::ID_I, black_box(AUTH_REQUEST)));
    });
    group.bench_function("encode", |b| b.iter(|| written(black_box(&payloads))));
    group.finish();
}

criterion_group!(benches, init_request, auth_request);
criterion_main!(benches);
