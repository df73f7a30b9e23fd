//! Attributes of TTLS (RFC 5281 §10): those of Diameter (RFC 6733 §4.1), of which we speak EAP-Message alone.
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                           AVP Code                            |
//! |V M r r r r r r|                  AVP Length                   |
//! |                        Vendor-ID (opt)                        |
//! |    Data ...                                (padded to 4 octets)
//! +-+-+-+-+-+-+-+-+
//! ```

/// RFC 3579 §3.1; in an AVP of its own it has a whole packet (RFC 5281 §10.1).
const EAP_MESSAGE: u32 = 79;

const VENDOR: u8 = 0x80;
const MANDATORY: u8 = 0x40;

const HEADER_LEN: usize = 8;
const VENDOR_LEN: usize = 4;

/// An EAP packet as an AVP.
pub(in crate::eap) fn eap_message(packet: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER_LEN + packet.len()).unwrap_or(u32::MAX).to_be_bytes();
    let [_, high, middle, low] = length; // packets have 16 bits of length
    let mut avp = EAP_MESSAGE.to_be_bytes().to_vec();
    avp.extend_from_slice(&[MANDATORY, high, middle, low]);
    avp.extend_from_slice(packet);
    avp.resize(avp.len().next_multiple_of(4), 0);
    avp
}

/// The EAP packet among AVPs; `None` if there is none.
pub(in crate::eap) fn find_eap_message(mut octets: &[u8]) -> Result<Option<&[u8]>, String> {
    let mut found = None;
    while !octets.is_empty() {
        let (avp, rest) =
            split(octets).ok_or("an AVP ends before or within its header, or after the data")?;
        octets = rest;
        match avp {
            Avp { code: EAP_MESSAGE, vendor: None, data, .. } if found.replace(data).is_some() => {
                return Err("there are several EAP-Message AVPs".into());
            }
            Avp { code: EAP_MESSAGE, vendor: None, .. } => {}
            // RFC 5281 §10.1: what is not known and mandatory is the end.
            Avp { code, vendor, is_mandatory: true, .. } => {
                return Err(match vendor {
                    Some(vendor) => format!("AVP {code} of vendor {vendor} is mandatory and not known"),
                    None => format!("AVP {code} is mandatory and not known"),
                });
            }
            Avp { is_mandatory: false, .. } => {} // RFC 5281 §10.1: ignored
        }
    }
    Ok(found)
}

struct Avp<'a> {
    code: u32,
    vendor: Option<u32>,
    is_mandatory: bool,
    data: &'a [u8],
}

/// The first AVP, and what is behind it and its padding.
fn split(octets: &[u8]) -> Option<(Avp<'_>, &[u8])> {
    let (code, rest) = octets.split_first_chunk()?;
    let ([flags, high, middle, low], _) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes([0, *high, *middle, *low])).ok()?;
    let avp = octets.get(..length)?;
    let body = avp.get(HEADER_LEN..)?; // a length below the header has none
    let (vendor, data) = if flags & VENDOR == 0 {
        (None, body)
    } else {
        let (vendor, data) = body.split_first_chunk::<VENDOR_LEN>()?;
        (Some(u32::from_be_bytes(*vendor)), data)
    };
    // The padding of the last may be missing: some end with their data.
    let rest = octets.get(length.next_multiple_of(4)..).unwrap_or_default();
    let is_mandatory = flags & MANDATORY != 0;
    Some((Avp { code: u32::from_be_bytes(*code), vendor, is_mandatory, data }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_eap_packet_comes_out_as_it_went_in() {
        for length in 0..40_u8 {
            let packet: Vec<u8> = (0..length).collect();
            let avp = eap_message(&packet);
            assert_eq!(avp.len() % 4, 0);
            assert_eq!(find_eap_message(&avp), Ok(Some(&packet[..])));
        }
        assert_eq!(eap_message(&[1, 7, 0, 5, 1]), [0, 0, 0, 79, 0x40, 0, 0, 13, 1, 7, 0, 5, 1, 0, 0, 0]);
    }

    #[test]
    fn what_is_optional_is_passed_over() {
        // User-Name, and an attribute of Microsoft's.
        let mut avps = vec![0, 0, 0, 1, 0, 0, 0, 9, b'a', 0, 0, 0];
        avps.extend([0, 0, 0, 11, 0x80, 0, 0, 13, 0, 0, 1, 55, 1, 0, 0, 0]);
        assert_eq!(find_eap_message(&avps), Ok(None));
        avps.extend(eap_message(&[3, 1, 0, 4]));
        assert_eq!(find_eap_message(&avps), Ok(Some(&[3, 1, 0, 4][..])));
        avps.extend(eap_message(&[3, 1, 0, 4]));
        assert_eq!(find_eap_message(&avps), Err("there are several EAP-Message AVPs".into()));
    }

    #[test]
    fn what_is_mandatory_and_unknown_is_refused() {
        let avp = [0, 0, 0, 2, 0x40, 0, 0, 9, b'p', 0, 0, 0];
        assert_eq!(find_eap_message(&avp), Err("AVP 2 is mandatory and not known".into()));
        let avp = [0, 0, 0, 79, 0xc0, 0, 0, 13, 0, 0, 1, 55, 1, 0, 0, 0];
        assert_eq!(find_eap_message(&avp), Err("AVP 79 of vendor 311 is mandatory and not known".into()));
    }

    /// The class of CVE-2026-25075: a length below that of the header made others count below zero.
    #[test]
    fn cve_class_ttls_attribute_length_below_its_header() {
        let whole = eap_message(&[1, 7, 0, 5, 1]);
        for length in (0..8).chain([17, 255]) {
            let mut avp = whole.clone();
            avp[7] = length;
            assert!(find_eap_message(&avp).is_err(), "{length}");
        }
        let mut huge = whole.clone();
        huge[5..8].copy_from_slice(&[0xff; 3]);
        assert!(find_eap_message(&huge).is_err());
        for length in 1..13 {
            assert!(find_eap_message(&whole[..length]).is_err(), "{length}");
        }
        for length in 8..12 {
            let vendor = [0, 0, 0, 79, 0x80, 0, 0, length, 0, 0, 1, 55, 1];
            assert!(find_eap_message(&vendor).is_err(), "{length}");
        }
    }
}
