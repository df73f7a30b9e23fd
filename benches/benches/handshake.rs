//! Handshakes per second on one core: IKE_SA_INIT and IKE_AUTH with one CHILD_SA, both ends in memory. What a gateway
//! alone can do is a little more than twice of it.
//!
//! Measured on a core of a shared server with AES-NI, November 2026: 7700 per second with x25519, 1600 with ecp256, 460
//! with modp2048. Half of that is a loss.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ferry_ike::sim::{HostId, World, client, gateway};

/// A client and a gateway that agree on this for IKE; ESP is aes128gcm16, authentication a pre-shared key.
fn strangers(proposal: &str) -> (World, HostId) {
    let (mut world, rw, _gw) = World::of(client().ike(&[proposal]), gateway().ike(&[proposal]));
    world.be_silent();
    (world, rw)
}

fn handshake(c: &mut Criterion) {
    let mut group = c.benchmark_group("handshake");
    group.throughput(Throughput::Elements(1));
    for proposal in ["aes128gcm16-prfsha256-x25519", "aes256-sha256-ecp256", "aes256-sha256-modp2048"] {
        // A benchmark of handshakes that fail would be a fast one.
        let (mut world, rw) = strangers(proposal);
        world.initiate(rw, "net");
        world.run();
        assert_eq!(world.host(rw).outside.installed().count(), 1, "{proposal} makes a CHILD_SA");
        group.bench_function(proposal, |b| {
            b.iter_batched(
                || strangers(proposal),
                |(mut world, rw)| {
                    world.initiate(rw, "net");
                    world.run();
                    black_box(world)
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, handshake);
criterion_main!(benches);
