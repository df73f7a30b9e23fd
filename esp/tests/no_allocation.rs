//! Sealing and opening allocate nothing.
#![expect(unsafe_code, reason = "a global allocator is an unsafe trait; this one counts and delegates")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use ferry_esp::{
    AddressRange, HEADROOM, InboundParams, InboundSa, KeyMaterial, OutboundParams, OutboundSa, Sealed,
    Selector, Selectors, SequenceNumbers, Spi, Suite, TAILROOM, TunnelOptions,
};

struct Counting;

thread_local! {
    /// Allocations of this thread, so that the test runner's own do not count.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is handed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps this trait's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps this trait's contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn ends(suite: Suite) -> (OutboundSa, InboundSa) {
    let any = AddressRange::prefix("0.0.0.0".parse().expect("address"), 0).expect("prefix");
    let selectors =
        || Selectors { local: vec![Selector::addresses(any)], remote: vec![Selector::addresses(any)] };
    let keys = || KeyMaterial::new(&vec![1; suite.encryption_key_len()], &vec![2; suite.integrity_key_len()]);
    let outbound = OutboundSa::new(OutboundParams {
        spi: Spi(0x1234),
        suite,
        keys: keys(),
        sequence_numbers: SequenceNumbers::Extended,
        selectors: selectors(),
        tunnel: TunnelOptions::default(),
    });
    let inbound = InboundSa::new(InboundParams {
        spi: Spi(0x1234),
        suite,
        keys: keys(),
        sequence_numbers: SequenceNumbers::Extended,
        replay_window: 1024,
        selectors: selectors(),
        tunnel: TunnelOptions::default(),
    });
    (outbound.expect("right key lengths"), inbound.expect("right key lengths"))
}

/// An IPv4 packet of `len` octets.
fn packet(len: u16) -> Vec<u8> {
    let [high, low] = len.to_be_bytes();
    let mut packet = vec![0x45, 0, high, low];
    packet.resize(usize::from(len), 0);
    packet
}

#[test]
fn no_suite_allocates_for_a_packet() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = ends(suite);
        for len in [20, 64, 576, 1400, 9000] {
            let inner = packet(len);
            let mut buffer = [vec![0; HEADROOM], inner.clone(), vec![0; TAILROOM]].concat();
            let before = ALLOCATIONS.get();
            let sealed = sender.seal(&mut buffer, HEADROOM..HEADROOM + inner.len()).expect("sealed");
            let opened = receiver.open(sealed).expect("opened");
            let admitted = receiver.admit(opened, 0).expect("admitted");
            let after = ALLOCATIONS.get();
            assert_eq!(admitted.octets(), inner, "{suite}");
            assert_eq!(after - before, 0, "{suite}, {len} octets");

            let before = ALLOCATIONS.get();
            let is_refused = receiver.open(Sealed::parse(&mut buffer).expect("long enough")).is_err();
            assert_eq!((is_refused, ALLOCATIONS.get() - before), (true, 0), "{suite}: a refusal");
        }
    }
}

#[test]
fn the_counter_counts() {
    let before = ALLOCATIONS.get();
    drop(std::hint::black_box(vec![0_u8; 100]));
    assert!(ALLOCATIONS.get() > before);
}
