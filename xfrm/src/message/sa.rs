//! Messages about security associations: NEWSA, UPDSA, DELSA, GETSA, ALLOCSPI, FLUSHSA.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::algorithm::{ProtectionReader, write_protection};
use super::selector::{
    RawAddress, USAGE_LENGTH, read_limits, read_mark, read_selector, read_usage, time, whole_seconds,
    write_address, write_limits, write_mark, write_selector,
};
use super::{Attribute, Fields, Request, Writer, attributes, family, flags};
use crate::algorithm::Protection;
use crate::error::Malformed;
use crate::sa::{
    Drops, Encapsulation, EncapsulationKind, IpsecProtocol, Mark, Mode, Offload, OffloadExtent, ReplayState,
    ReplayWindow, Sa, SaDirection, SaEntry, SaExtraFlags, SaFlags, SaId,
};

pub(crate) const XFRM_MSG_NEWSA: u16 = 0x10;
pub(crate) const XFRM_MSG_DELSA: u16 = 0x11;
const XFRM_MSG_GETSA: u16 = 0x12;
const XFRM_MSG_ALLOCSPI: u16 = 0x16;
pub(crate) const XFRM_MSG_UPDSA: u16 = 0x1a;
pub(crate) const XFRM_MSG_FLUSHSA: u16 = 0x1c;

pub(crate) const XFRMA_ENCAP: u16 = 4;
/// In notifications: a whole SA.
pub(crate) const XFRMA_SA: u16 = 6;
const XFRMA_REPLAY_VAL: u16 = 10;
const XFRMA_COADDR: u16 = 14;
const XFRMA_LASTUSED: u16 = 15;
pub(crate) const XFRMA_MARK: u16 = 21;
const XFRMA_TFCPAD: u16 = 22;
const XFRMA_REPLAY_ESN_VAL: u16 = 23;
const XFRMA_SA_EXTRA_FLAGS: u16 = 24;
pub(crate) const XFRMA_OFFLOAD_DEV: u16 = 28;
const XFRMA_SET_MARK: u16 = 29;
const XFRMA_SET_MARK_MASK: u16 = 30;
pub(crate) const XFRMA_IF_ID: u16 = 31;
const XFRMA_MTIMER_THRESH: u16 = 32;
const XFRMA_SA_DIR: u16 = 33;
pub(crate) const XFRMA_SA_PCPU: u16 = 35;

/// The widest replay window of the SA's own struct; wider ones and extended sequence numbers take an
/// attribute.
const WIDEST_SHORT_WINDOW: u16 = 32;

/// Bits of `struct xfrm_user_offload`. Bit 1, once for IPv6, means nothing to any kernel.
const OFFLOAD_INBOUND: u8 = 2;
const OFFLOAD_PACKET: u8 = 4;

const SA_DIR_IN: u8 = 1;
const SA_DIR_OUT: u8 = 2;

impl Sa {
    /// NEWSA: an SA that is not there yet, with sequence numbers that go on from `replay` if given.
    pub(crate) fn install(&self, protection: &Protection, replay: Option<&ReplayState>) -> Request {
        self.request(XFRM_MSG_NEWSA, protection, replay)
    }

    /// UPDSA: makes an SA out of a larval one, or changes limits and encapsulation ports.
    pub(crate) fn update(&self, protection: &Protection, replay: Option<&ReplayState>) -> Request {
        self.request(XFRM_MSG_UPDSA, protection, replay)
    }

    fn request(&self, kind: u16, protection: &Protection, replay: Option<&ReplayState>) -> Request {
        Request::new(kind, flags::ACK, |w| {
            self.write(w, self.id.spi);
            write_protection(w, protection);
            self.write_replay(w, replay);
            self.write_attributes(w);
        })
    }

    /// ALLOCSPI: `struct xfrm_userspi_info` (232 octets). The answer is a larval SA with an SPI.
    pub(crate) fn allocate_spi(&self, among: &RangeInclusive<u32>) -> Request {
        Request::new(XFRM_MSG_ALLOCSPI, 0, |w| {
            self.write(w, 0);
            w.u32(*among.start());
            w.u32(*among.end());
            // Others are for an SA with keys, and some kernels refuse them here.
            self.write_identifying(w);
            self.write_direction(w);
        })
    }

    /// `struct xfrm_usersa_info` (224 octets).
    fn write(&self, w: &mut Writer, spi: u32) {
        write_selector(w, self.selector.as_ref());
        write_address(w, self.id.destination);
        w.be32(spi);
        w.u8(self.id.protocol.0);
        w.zeros(3);
        write_address(w, self.source);
        write_limits(w, &self.limits);
        w.zeros(USAGE_LENGTH);
        w.zeros(12); // drops
        w.u32(self.acquire);
        w.u32(self.reqid);
        w.u16(family(self.id.destination).into());
        w.u8(self.mode.0);
        w.u8(match self.replay_format() {
            ReplayFormat::Short(window) => window,
            ReplayFormat::Long(_) => 0,
        });
        let extended = if self.has_extended_sequence { SaFlags::EXTENDED_SEQUENCE } else { SaFlags(0) };
        w.u8((self.flags | extended).0);
        w.zeros(7);
    }

    /// How the kernel wants the window told.
    ///
    /// Of an SA that it is told goes out, it wants no window; of another one with extended sequence
    /// numbers it refuses to have none.
    fn replay_format(&self) -> ReplayFormat {
        let is_known_outbound = self.direction == Some(SaDirection::Out);
        let packets = if is_known_outbound { 0 } else { self.replay_window.packets() };
        match u8::try_from(packets) {
            Ok(short) if packets <= WIDEST_SHORT_WINDOW && !self.has_extended_sequence => {
                ReplayFormat::Short(short)
            }
            _ if is_known_outbound => ReplayFormat::Long(0),
            _ => ReplayFormat::Long(packets.max(1)),
        }
    }

    /// `struct xfrm_replay_state` or `struct xfrm_replay_state_esn`, where one is needed.
    fn write_replay(&self, w: &mut Writer, state: Option<&ReplayState>) {
        let nothing = ReplayState::default();
        let whole = state.unwrap_or(&nothing);
        // Of an SA whose direction it knows, the kernel wants nothing about the other one.
        let sent = if self.direction == Some(SaDirection::In) { 0 } else { whole.sent };
        let is_receiving = self.direction != Some(SaDirection::Out);
        let received = if is_receiving { whole.received } else { 0 };
        let seen: &[u32] = if is_receiving { &whole.seen } else { &[] };
        match self.replay_format() {
            ReplayFormat::Short(_) if state.is_none() => {}
            ReplayFormat::Short(_) => w.attribute(XFRMA_REPLAY_VAL, |w| {
                w.u32(low(sent));
                w.u32(low(received));
                w.u32(seen.first().copied().unwrap_or(0));
            }),
            ReplayFormat::Long(window) => w.attribute(XFRMA_REPLAY_ESN_VAL, |w| {
                let words = u32::from(window).div_ceil(u32::BITS);
                w.u32(words);
                w.u32(low(sent));
                w.u32(low(received));
                w.u32(high(sent));
                w.u32(high(received));
                w.u32(window.into());
                // Without a bitmap it begins empty.
                let words = if state.is_some() { words } else { 0 };
                for (_, word) in (0..words).zip(seen.iter().copied().chain(std::iter::repeat(0))) {
                    w.u32(word);
                }
            }),
        }
    }

    fn write_attributes(&self, w: &mut Writer) {
        self.write_identifying(w);
        self.write_direction(w);
        if let Some(encapsulation) = self.encapsulation {
            w.attribute(XFRMA_ENCAP, |w| encapsulation.write(w));
        }
        if let Some(address) = self.care_of {
            w.attribute(XFRMA_COADDR, |w| write_address(w, address));
        }
        if let Some(padding) = self.padding {
            w.u32_attribute(XFRMA_TFCPAD, padding);
        }
        if self.extra_flags != SaExtraFlags::default() {
            w.u32_attribute(XFRMA_SA_EXTRA_FLAGS, self.extra_flags.0);
        }
        if let Some(offload) = self.offload {
            w.attribute(XFRMA_OFFLOAD_DEV, |w| offload.write(w));
        }
        if let Some(mark) = self.output_mark {
            w.u32_attribute(XFRMA_SET_MARK, mark.value);
            w.u32_attribute(XFRMA_SET_MARK_MASK, mark.mask);
        }
        if let Some(interval) = self.mapping_interval {
            w.u32_attribute(XFRMA_MTIMER_THRESH, u32::try_from(whole_seconds(interval)).unwrap_or(u32::MAX));
        }
    }

    fn write_identifying(&self, w: &mut Writer) {
        if let Some(mark) = self.id.mark {
            w.attribute(XFRMA_MARK, |w| write_mark(w, mark));
        }
        if let Some(interface) = self.interface_id {
            w.u32_attribute(XFRMA_IF_ID, interface.get());
        }
        if let Some(cpu) = self.cpu {
            w.u32_attribute(XFRMA_SA_PCPU, cpu);
        }
    }

    fn write_direction(&self, w: &mut Writer) {
        if let Some(direction) = self.direction {
            w.attribute(XFRMA_SA_DIR, |w| {
                w.u8(match direction {
                    SaDirection::In => SA_DIR_IN,
                    SaDirection::Out => SA_DIR_OUT,
                });
            });
        }
    }
}

enum ReplayFormat {
    Short(u8),
    Long(u16),
}

fn low(sequence: u64) -> u32 {
    u32::try_from(sequence & u64::from(u32::MAX)).unwrap_or_default()
}

fn high(sequence: u64) -> u32 {
    u32::try_from(sequence >> u32::BITS).unwrap_or_default()
}

impl SaId {
    /// DELSA.
    pub(crate) fn remove(&self) -> Request {
        Request::new(XFRM_MSG_DELSA, flags::ACK, |w| self.write(w))
    }

    /// GETSA of one.
    pub(crate) fn find(&self) -> Request {
        Request::new(XFRM_MSG_GETSA, 0, |w| self.write(w))
    }

    /// `struct xfrm_usersa_id` (24 octets) and the mark.
    fn write(&self, w: &mut Writer) {
        write_address(w, self.destination);
        w.be32(self.spi);
        w.u16(family(self.destination).into());
        w.u8(self.protocol.0);
        w.zeros(1);
        if let Some(mark) = self.mark {
            w.attribute(XFRMA_MARK, |w| write_mark(w, mark));
        }
    }

    /// `struct xfrm_usersa_id`, without the mark.
    pub(crate) fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let destination = RawAddress::read(fields)?;
        let spi = fields.be32()?;
        let destination = destination.of_family(fields.u16()?)?;
        let protocol = IpsecProtocol(fields.u8()?);
        fields.skip(1)?;
        Ok(Self { destination, protocol, spi, mark: None })
    }
}

/// GETSA of all.
pub(crate) fn dump_sas() -> Request {
    Request::new(XFRM_MSG_GETSA, flags::DUMP, |_| {})
}

/// FLUSHSA.
pub(crate) fn flush_sas(protocol: IpsecProtocol) -> Request {
    Request::new(XFRM_MSG_FLUSHSA, flags::ACK, |w| w.u8(protocol.0))
}

impl Encapsulation {
    /// `struct xfrm_encap_tmpl` (24 octets).
    pub(crate) fn write(self, w: &mut Writer) {
        w.u16(self.kind.0);
        w.be16(self.source_port);
        w.be16(self.destination_port);
        w.zeros(2);
        w.zeros(16); // original address: of no use to the kernel
    }

    pub(crate) fn read(value: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields(value);
        let kind = EncapsulationKind(fields.u16()?);
        Ok(Self { kind, source_port: fields.be16()?, destination_port: fields.be16()? })
    }
}

impl Offload {
    /// `struct xfrm_user_offload` (8 octets).
    fn write(self, w: &mut Writer) {
        w.u32(self.interface);
        let inbound = if self.direction == SaDirection::In { OFFLOAD_INBOUND } else { 0 };
        let packet = if self.extent == OffloadExtent::Packet { OFFLOAD_PACKET } else { 0 };
        w.u8(inbound | packet);
        w.zeros(3);
    }

    fn read(value: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields(value);
        let interface = fields.u32()?;
        let bits = fields.u8()?;
        let direction = if bits & OFFLOAD_INBOUND == 0 { SaDirection::Out } else { SaDirection::In };
        let extent = if bits & OFFLOAD_PACKET == 0 { OffloadExtent::Crypto } else { OffloadExtent::Packet };
        Ok(Self { interface, direction, extent })
    }
}

impl SaEntry {
    /// Reads NEWSA and UPDSA: the struct and the attributes behind it.
    pub(crate) fn read(payload: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields(payload);
        let entry = Self::read_fixed(&mut fields)?;
        entry.with_attributes(fields.0)
    }

    /// Reads `struct xfrm_usersa_info`.
    pub(crate) fn read_fixed(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let selector = read_selector(fields)?;
        let destination = RawAddress::read(fields)?;
        let spi = fields.be32()?;
        let protocol = IpsecProtocol(fields.u8()?);
        fields.skip(3)?;
        let source = RawAddress::read(fields)?;
        let limits = read_limits(fields)?;
        let usage = read_usage(fields)?;
        let drops = Drops { too_late: fields.u32()?, repeated: fields.u32()?, forged: fields.u32()? };
        let acquire = fields.u32()?;
        let reqid = fields.u32()?;
        let family = fields.u16()?;
        let mode = Mode(fields.u8()?);
        let window = fields.u8()?;
        let all_flags = SaFlags(fields.u8()?);
        fields.skip(7)?;
        let (source, destination) = (source.of_family(family)?, destination.of_family(family)?);
        let sa = Sa {
            selector,
            reqid,
            acquire,
            limits,
            replay_window: replay_window(window.into())?,
            has_extended_sequence: all_flags.contains(SaFlags::EXTENDED_SEQUENCE),
            flags: SaFlags(all_flags.0 & !SaFlags::EXTENDED_SEQUENCE.0),
            ..Sa::new(source, destination, protocol, spi, mode)
        };
        Ok(Self { sa, protection: None, usage, last_used: None, replay: ReplayState::default(), drops })
    }

    /// Adds what the attributes say.
    pub(crate) fn with_attributes(mut self, octets: &[u8]) -> Result<Self, Malformed> {
        let mut protection = ProtectionReader::default();
        let (mut output_mark, mut output_mask) = (None, None);
        for attribute in attributes(octets) {
            let attribute = attribute?;
            let sa = &mut self.sa;
            match attribute.kind {
                XFRMA_ENCAP => sa.encapsulation = Some(Encapsulation::read(attribute.value)?),
                XFRMA_COADDR => sa.care_of = Some(care_of(&attribute, sa.source)?),
                XFRMA_MARK => sa.id.mark = read_mark(attribute.value)?,
                XFRMA_TFCPAD => sa.padding = Some(attribute.u32()?).filter(|&padding| padding != 0),
                XFRMA_SA_EXTRA_FLAGS => sa.extra_flags = SaExtraFlags(attribute.u32()?),
                XFRMA_OFFLOAD_DEV => sa.offload = Some(Offload::read(attribute.value)?),
                XFRMA_SET_MARK => output_mark = Some(attribute.u32()?),
                XFRMA_SET_MARK_MASK => output_mask = Some(attribute.u32()?),
                XFRMA_IF_ID => sa.interface_id = NonZeroU32::new(attribute.u32()?),
                XFRMA_MTIMER_THRESH => {
                    let seconds = Some(attribute.u32()?).filter(|&seconds| seconds != 0);
                    sa.mapping_interval = seconds.map(|seconds| Duration::from_secs(seconds.into()));
                }
                XFRMA_SA_DIR => sa.direction = direction(attribute.value)?,
                XFRMA_SA_PCPU => sa.cpu = Some(attribute.u32()?).filter(|&cpu| cpu != u32::MAX),
                XFRMA_LASTUSED => self.last_used = time(Fields(attribute.value).u64()?),
                XFRMA_REPLAY_VAL => {
                    let mut fields = Fields(attribute.value);
                    self.replay.sent = fields.u32()?.into();
                    self.replay.received = fields.u32()?.into();
                    self.replay.seen = vec![fields.u32()?];
                }
                XFRMA_REPLAY_ESN_VAL => {
                    let (window, replay) = read_long_replay(attribute.value)?;
                    (sa.replay_window, self.replay) = (window, replay);
                }
                _ => protection.take(&attribute)?, // or of no concern
            }
        }
        // An old kernel sets the whole mark and tells no mask.
        self.sa.output_mark = output_mark.map(|value| Mark { value, mask: output_mask.unwrap_or(u32::MAX) });
        self.protection = protection.finish(self.sa.id.protocol);
        Ok(self)
    }
}

fn replay_window(packets: u32) -> Result<ReplayWindow, Malformed> {
    ReplayWindow::new(packets).ok_or(Malformed("a replay window of at most 4096 packets"))
}

/// Reads `struct xfrm_replay_state_esn`.
fn read_long_replay(value: &[u8]) -> Result<(ReplayWindow, ReplayState), Malformed> {
    let mut fields = Fields(value);
    fields.skip(4)?; // words, which follow from the length
    let (sent, received) = (fields.u32()?, fields.u32()?);
    let (sent_high, received_high) = (fields.u32()?, fields.u32()?);
    let window = replay_window(fields.u32()?)?;
    let mut seen = Vec::with_capacity(fields.0.len() / size_of::<u32>());
    while !fields.0.is_empty() {
        seen.push(fields.u32()?);
    }
    let whole = |high: u32, low: u32| u64::from(high) << u32::BITS | u64::from(low);
    let state = ReplayState { sent: whole(sent_high, sent), received: whole(received_high, received), seen };
    Ok((window, state))
}

/// Of the same family as the SA's addresses.
fn care_of(attribute: &Attribute<'_>, like: IpAddr) -> Result<IpAddr, Malformed> {
    RawAddress::read(&mut Fields(attribute.value))?.of_family(family(like).into())
}

fn direction(value: &[u8]) -> Result<Option<SaDirection>, Malformed> {
    match Fields(value).u8()? {
        0 => Ok(None),
        SA_DIR_IN => Ok(Some(SaDirection::In)),
        SA_DIR_OUT => Ok(Some(SaDirection::Out)),
        _ => Err(Malformed("an SA's direction, in or out")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::algorithm::{Aead, Key};
    use crate::message::HEADER_LENGTH;
    use crate::message::golden::everything;
    use crate::message::test_support::assert_octets;

    fn aead() -> Protection {
        Protection::Aead(Aead::AES_GCM_16, Key::new(&[7; 20]).unwrap())
    }

    fn read(request: &Request) -> SaEntry {
        SaEntry::read(&request.octets()[HEADER_LENGTH..]).unwrap()
    }

    /// What the kernel is told of replay: the field, and the attribute of this number.
    fn replay(sa: &Sa, state: Option<&ReplayState>, kind: u16) -> (u8, Option<Vec<u8>>) {
        let request = sa.install(&aead(), state);
        let body = &request.octets()[HEADER_LENGTH..];
        let attribute = attributes(&body[224..]).map(|attribute| attribute.unwrap()).find(|a| a.kind == kind);
        (body[215], attribute.map(|attribute| attribute.value.to_vec()))
    }

    fn esn(window: u32, direction: Option<SaDirection>) -> Sa {
        Sa {
            has_extended_sequence: true,
            replay_window: ReplayWindow::new(window).unwrap(),
            direction,
            ..everything()
        }
    }

    #[test]
    fn narrow_windows_are_a_field_and_wide_ones_an_attribute() {
        let narrow =
            Sa { has_extended_sequence: false, replay_window: replay_window(32).unwrap(), ..everything() };
        assert_eq!(replay(&narrow, None, XFRMA_REPLAY_ESN_VAL), (32, None));
        assert_eq!(replay(&narrow, None, XFRMA_REPLAY_VAL), (32, None));
        let wide = Sa { replay_window: replay_window(33).unwrap(), ..narrow };
        let (field, attribute) = replay(&wide, None, XFRMA_REPLAY_ESN_VAL);
        assert_eq!(field, 0);
        assert_octets(&attribute.unwrap(), &format!("02000000 {} 21000000", "00".repeat(16)));
        assert_eq!(ReplayWindow::new(4097), None);
    }

    /// Without a direction a kernel wants a window of at least one for extended sequence numbers; with
    /// the outbound one it wants none.
    #[test]
    fn an_outbound_sa_has_a_window_only_where_it_must() {
        let words = |packets: u32| replay(&esn(packets, None), None, XFRMA_REPLAY_ESN_VAL).1.unwrap();
        assert_eq!((words(0)[0], words(0)[20]), (1, 1));
        assert_eq!((words(64)[0], words(64)[20]), (2, 64));
        let out = replay(&esn(64, Some(SaDirection::Out)), None, XFRMA_REPLAY_ESN_VAL);
        assert_eq!(out, (0, Some(vec![0; 24])));
        let short = Sa { has_extended_sequence: false, ..esn(32, Some(SaDirection::Out)) };
        assert_eq!(replay(&short, None, XFRMA_REPLAY_ESN_VAL), (0, None));
    }

    #[test]
    fn sequence_numbers_go_on_where_they_were() {
        let state = ReplayState { sent: 0x1_0000_0002, received: 0x3_0000_0004, seen: vec![5, 6] };
        let both = replay(&esn(96, None), Some(&state), XFRMA_REPLAY_ESN_VAL).1.unwrap();
        let golden = "03000000 02000000 04000000 01000000 03000000 60000000 05000000 06000000 00000000";
        assert_octets(&both, golden);
        let inbound = replay(&esn(32, Some(SaDirection::In)), Some(&state), XFRMA_REPLAY_ESN_VAL).1.unwrap();
        assert_octets(&inbound, "01000000 00000000 04000000 00000000 03000000 20000000 05000000");
        let outbound =
            replay(&esn(32, Some(SaDirection::Out)), Some(&state), XFRMA_REPLAY_ESN_VAL).1.unwrap();
        assert_octets(&outbound, "00000000 02000000 00000000 01000000 00000000 00000000");
        let narrow = Sa { has_extended_sequence: false, ..esn(32, None) };
        let (_, short) = replay(&narrow, Some(&state), XFRMA_REPLAY_VAL);
        assert_octets(&short.unwrap(), "02000000 04000000 05000000");

        let entry = read(&esn(96, None).install(&aead(), Some(&state)));
        assert_eq!(entry.replay, ReplayState { seen: vec![5, 6, 0], ..state });
    }

    /// Newer attributes, by hand from the kernel's header: iproute2 6.1 knows none of them.
    #[test]
    fn newer_attributes_are_written() {
        let sa = Sa {
            direction: Some(SaDirection::Out),
            cpu: Some(3),
            padding: Some(1400),
            mapping_interval: Some(Duration::from_millis(1500)),
            care_of: Some("192.0.2.9".parse().unwrap()),
            offload: Some(Offload {
                interface: 2,
                direction: SaDirection::Out,
                extent: OffloadExtent::Packet,
            }),
            ..everything()
        };
        let request = sa.install(&aead(), None);
        let body = &request.octets()[HEADER_LENGTH + 224..];
        let all: Vec<_> = attributes(body).map(|attribute| attribute.unwrap()).collect();
        let value = |kind| all.iter().find(|attribute| attribute.kind == kind).unwrap().value;
        assert_octets(value(33), "02");
        assert_octets(value(35), "03000000");
        assert_octets(value(22), "78050000");
        assert_octets(value(32), "02000000");
        assert_octets(value(14), &format!("c0000209 {}", "00".repeat(12)));
        assert_octets(value(28), "02000000 04 000000");
    }

    #[test]
    fn what_is_written_is_read_back() {
        let six = |last| std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).into();
        let beet = Sa::new(six(1), six(2), IpsecProtocol::ESP, 7, Mode::BEET);
        let host = |text: &str| text.parse().unwrap();
        let inner = crate::selector::Selector::new(host("10.0.0.1/32"), host("10.0.0.2/32")).unwrap();
        let all = [
            everything(),
            esn(4096, Some(SaDirection::In)),
            Sa { selector: Some(inner), cpu: Some(0), care_of: Some(six(3)), padding: Some(9), ..beet },
        ];
        for sa in all {
            let entry = read(&sa.install(&aead(), None));
            assert_eq!(entry.sa, sa);
            let Some(Protection::Aead(algorithm, key)) = entry.protection else { panic!("an AEAD") };
            assert_eq!((algorithm, key.octets()), (Aead::AES_GCM_16, &[7; 20][..]));
        }
    }

    #[test]
    fn a_larval_sa_has_no_protection() {
        let request = everything().allocate_spi(&(256..=512));
        let body = &request.octets()[HEADER_LENGTH..][..224];
        assert!(SaEntry::read(body).unwrap().protection.is_none());
    }

    proptest! {
        #[test]
        fn any_octets_are_read_without_panic(octets in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = SaEntry::read(&octets);
            let mut entry = everything().install(&aead(), None).octets()[HEADER_LENGTH..][..224].to_vec();
            entry.extend(&octets);
            let _ = SaEntry::read(&entry);
        }

        /// A cut or changed octet of a real answer is an error or another SA, never a panic.
        #[test]
        fn a_changed_octet_does_no_harm(at in any::<prop::sample::Index>(), octet in any::<u8>()) {
            let mut body = everything().install(&aead(), None).octets()[HEADER_LENGTH..].to_vec();
            let at = at.index(body.len());
            let _ = SaEntry::read(&body[..at]);
            body[at] = octet;
            let _ = SaEntry::read(&body);
        }
    }
}
