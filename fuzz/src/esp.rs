//! ESP: what a stranger, and what a peer, can send.
//!
//! The first octet of the input chooses suite and size of the sequence numbers; the second what the rest is: a
//! packet as a stranger sends it, the inside of a packet sealed by the peer, or a decrypted body.

use ferry_esp::{
    AddressRange, HEADROOM, InboundParams, InboundSa, InnerHeader, KeyMaterial, OutboundParams, OutboundSa,
    Refusal, Sealed, Selector, Selectors, SequenceNumbers, Spi, Suite, TAILROOM, TunnelOptions, cut_trailer,
};

const SPI: Spi = Spi(0x0102_0304);

/// Opens hostile octets at every depth at which they can arrive.
///
/// Asserts what must hold whatever they are: a stranger's packet is not opened, a peer's is, and what is admitted is
/// a whole IP packet within the payload.
pub fn esp_open(data: &[u8]) {
    let [choice, depth, data @ ..] = data else { return };
    let Some(suite) = Suite::ALL.get(usize::from(*choice) % Suite::ALL.len()).copied() else { return };
    let numbers = if *choice & 0x80 == 0 { SequenceNumbers::Short } else { SequenceNumbers::Extended };
    match depth % 3 {
        0 => strangers_packet(suite, numbers, data),
        1 => peers_payload(suite, numbers, *depth, data),
        _ => decrypted_body(data),
    }
}

fn strangers_packet(suite: Suite, numbers: SequenceNumbers, data: &[u8]) {
    let mut receiver = receiver(suite, numbers);
    let mut packet = data.to_vec();
    let Ok(sealed) = Sealed::parse(&mut packet) else { return };
    let (spi, low) = (sealed.spi(), sealed.sequence_low());
    assert!(receiver.open(sealed).is_err(), "a packet made without the keys was opened: {spi} {low}");
    assert_eq!(receiver.highest_sequence(), 0, "a forged packet left a trace");
}

fn peers_payload(suite: Suite, numbers: SequenceNumbers, outer: u8, data: &[u8]) {
    let (mut sender, mut receiver) = (sender(suite, numbers), receiver(suite, numbers));
    let mut buffer = [&[0; HEADROOM], data, &[0; TAILROOM]].concat();
    let payload = HEADROOM..HEADROOM + data.len();
    // Whatever does not begin like an IP packet travels as a dummy.
    let is_ip = matches!(data.first().map(|first| first >> 4), Some(4 | 6));
    let sealed =
        if is_ip { sender.seal(&mut buffer, payload) } else { sender.seal_dummy(&mut buffer, payload) };
    let opened = receiver.open(sealed.expect("there is room")).expect("the peer has the keys");
    assert_eq!(opened.payload(), data);
    match receiver.admit(opened, outer) {
        Ok(admitted) => {
            assert!(is_ip && admitted.octets().len() <= data.len());
            let header = InnerHeader::parse(admitted.octets()).expect("admitted packets can be read");
            assert_eq!((header, header.len), (*admitted.header(), admitted.octets().len()));
        }
        Err(refusal) => assert_eq!(refusal == Refusal::Dummy, !is_ip),
    }
}

fn decrypted_body(data: &[u8]) {
    if let Ok((len, _)) = cut_trailer(data) {
        assert!(len + 2 <= data.len());
    }
    if let Ok(header) = InnerHeader::parse(data) {
        assert!(header.len <= data.len());
    }
}

fn receiver(suite: Suite, sequence_numbers: SequenceNumbers) -> InboundSa {
    let (selectors, tunnel) = (any(), TunnelOptions::default());
    let keys = keys(suite);
    let params =
        InboundParams { spi: SPI, suite, keys, sequence_numbers, replay_window: 64, selectors, tunnel };
    InboundSa::new(params).expect("the keys fit")
}

fn sender(suite: Suite, sequence_numbers: SequenceNumbers) -> OutboundSa {
    let (selectors, tunnel) = (any(), TunnelOptions::default());
    let params = OutboundParams { spi: SPI, suite, keys: keys(suite), sequence_numbers, selectors, tunnel };
    OutboundSa::new(params).expect("the keys fit")
}

fn keys(suite: Suite) -> KeyMaterial {
    KeyMaterial::new(&vec![1; suite.encryption_key_len()], &vec![2; suite.integrity_key_len()])
}

/// All of IPv4 and IPv6.
fn any() -> Selectors {
    let side = || {
        ["0.0.0.0", "::"]
            .map(|address| AddressRange::prefix(address.parse().expect("an address"), 0).expect("a prefix"))
            .map(Selector::addresses)
            .to_vec()
    };
    Selectors { local: side(), remote: side() }
}
