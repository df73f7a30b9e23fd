//! Distinguished names (RFC 5280 §4.1.2.4): from text to DER, and from DER to text.
//!
//! ```text
//! RDNSequence ::= SEQUENCE OF SET OF SEQUENCE { type OBJECT IDENTIFIER, value ANY }
//! ```
//!
//! The text is strongSwan's: no escapes, the parts separated by commas, or by slashes if it begins with one.

use std::fmt;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const NUMERIC_STRING: u8 = 0x12;
const PRINTABLE_STRING: u8 = 0x13;
const T61_STRING: u8 = 0x14;
const IA5_STRING: u8 = 0x16;
const VISIBLE_STRING: u8 = 0x1a;
const BMP_STRING: u8 = 0x1e;

/// Parts a text may have. strongSwan's limit too.
const MAX_RDNS: usize = 20;

/// Attribute types by their names in text and the contents of their OIDs. Of several names for one type the
/// first is the one shown.
#[rustfmt::skip]
const ATTRIBUTE_TYPES: &[(&str, &[u8])] = &[
    ("ND", &[0x02, 0x82, 0x06, 0x01, 0x0a, 0x07, 0x14]),
    ("UID", &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x01]),
    ("DC", &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19]),
    ("CN", &[0x55, 0x04, 0x03]),
    ("SN", &[0x55, 0x04, 0x04]), // surname
    ("serialNumber", &[0x55, 0x04, 0x05]),
    ("C", &[0x55, 0x04, 0x06]),
    ("L", &[0x55, 0x04, 0x07]),
    ("ST", &[0x55, 0x04, 0x08]),
    ("STREET", &[0x55, 0x04, 0x09]),
    ("O", &[0x55, 0x04, 0x0a]),
    ("OU", &[0x55, 0x04, 0x0b]),
    ("T", &[0x55, 0x04, 0x0c]),
    ("D", &[0x55, 0x04, 0x0d]),
    ("postalAddress", &[0x55, 0x04, 0x10]),
    ("postalCode", &[0x55, 0x04, 0x11]),
    ("N", &[0x55, 0x04, 0x29]),
    ("G", &[0x55, 0x04, 0x2a]),
    ("I", &[0x55, 0x04, 0x2b]),
    ("ID", &[0x55, 0x04, 0x2d]),
    ("dnQualifier", &[0x55, 0x04, 0x2e]),
    ("dmdName", &[0x55, 0x04, 0x36]),
    ("pseudonym", &[0x55, 0x04, 0x41]),
    ("organizationIdentifier", &[0x55, 0x04, 0x61]),
    ("employeeNumber", &[0x60, 0x86, 0x48, 0x01, 0x86, 0xf8, 0x42, 0x03, 0x01, 0x03]),
    ("EN", &[0x60, 0x86, 0x48, 0x01, 0x86, 0xf8, 0x42, 0x03, 0x01, 0x03]),
    ("E", EMAIL_ADDRESS),
    ("Email", EMAIL_ADDRESS),
    ("emailAddress", EMAIL_ADDRESS),
    ("unstructuredName", UNSTRUCTURED_NAME),
    ("UN", UNSTRUCTURED_NAME),
    ("unstructuredAddress", &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x08]),
    ("UA", &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x08]),
    ("TCGID", &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x89, 0x31, 0x01, 0x01, 0x02, 0x02, 0x4b]),
];
const EMAIL_ADDRESS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01];
const UNSTRUCTURED_NAME: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x02];

/// One attribute of a name, borrowed from its DER.
pub(super) struct Attribute<'a> {
    /// Contents of the object identifier.
    pub(super) oid: &'a [u8],
    /// ASN.1 tag of the value.
    pub(super) tag: u8,
    /// Contents of the value.
    pub(super) value: &'a [u8],
    /// Position of the RDN it belongs to.
    pub(super) rdn: usize,
}

impl Attribute<'_> {
    /// True if the value is a string of octets that are ASCII or a superset of it.
    pub(super) fn is_text(&self) -> bool {
        matches!(self.tag, UTF8_STRING | PRINTABLE_STRING | T61_STRING | IA5_STRING)
    }

    /// True for emailAddress.
    pub(super) fn is_mail_address(&self) -> bool {
        self.oid == EMAIL_ADDRESS
    }

    /// The same type and the same value (RFC 5280 §7.1).
    fn is_same(&self, other: &Self) -> bool {
        let is_same_value = || match (self.folded(), other.folded()) {
            (Some(one), Some(other)) => one == other,
            _ => self.tag == other.tag && self.value == other.value,
        };
        self.oid == other.oid && ((self.tag == other.tag && self.value == other.value) || is_same_value())
    }

    /// The value as a string without what makes no difference: the type of string, upper and lower case, blanks at the
    /// ends and more than one of them inside. `None` if it is no string.
    fn folded(&self) -> Option<String> {
        let wide = |octets: &[u8]| {
            let (units, rest) = octets.as_chunks();
            let units = units.iter().map(|unit| u16::from_be_bytes(*unit));
            rest.is_empty().then(|| char::decode_utf16(units).collect::<Result<String, _>>().ok())?
        };
        let text = match self.tag {
            UTF8_STRING | PRINTABLE_STRING | IA5_STRING | NUMERIC_STRING | VISIBLE_STRING => {
                std::str::from_utf8(self.value).ok()?.to_owned()
            }
            // In practice, what is called T.61 is Latin-1.
            T61_STRING => self.value.iter().map(|octet| char::from(*octet)).collect(),
            BMP_STRING => wide(self.value)?,
            _ => return None,
        };
        let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
        Some(words.join(" "))
    }

    /// True for a value that stands for every other in a pattern.
    pub(super) fn is_wildcard(&self) -> bool {
        self.is_text() && self.value == b"*"
    }
}

/// The attributes of a name in DER; `None` if the octets are anything else, or anything follows.
pub(super) fn attributes(name: &[u8]) -> Option<Vec<Attribute<'_>>> {
    let (mut rdns, rest) = element(name, SEQUENCE)?;
    if !rest.is_empty() {
        return None;
    }
    let mut attributes = Vec::new();
    let mut rdn = 0;
    while !rdns.is_empty() {
        let (mut set, after) = element(rdns, SET)?;
        rdns = after;
        while !set.is_empty() {
            let (pair, after) = element(set, SEQUENCE)?;
            set = after;
            let (oid, pair) = element(pair, OID)?;
            let (tag, value, after) = tag_and_contents(pair)?;
            if !after.is_empty() {
                return None;
            }
            attributes.push(Attribute { oid, tag, value, rdn });
        }
        rdn += 1;
    }
    Some(attributes)
}

/// Whether two names have the same RDNs (RFC 5280 §7.1); false if one is no name.
pub(super) fn is_same(one: &[u8], other: &[u8]) -> bool {
    begins_with(one, other) == Some(true) && begins_with(other, one) == Some(true)
}

/// Whether the RDNs of `name` begin with those of `base`; `None` if one is no name.
pub(super) fn begins_with(name: &[u8], base: &[u8]) -> Option<bool> {
    let (name, base) = (attributes(name)?, attributes(base)?);
    let (mut name, mut base) = (rdns(&name), rdns(&base));
    Some(base.all(|wanted| name.next().is_some_and(|rdn| is_same_rdn(rdn, wanted))))
}

/// The attributes of each RDN in turn.
fn rdns<'a, 'n>(attributes: &'n [Attribute<'a>]) -> impl Iterator<Item = &'n [Attribute<'a>]> {
    attributes.chunk_by(|one, other| one.rdn == other.rdn)
}

/// The same attributes, in whatever order.
fn is_same_rdn(one: &[Attribute<'_>], other: &[Attribute<'_>]) -> bool {
    one.len() == other.len() && one.iter().all(|a| other.iter().any(|b| a.is_same(b)))
}

/// Writes a name as charon shows it: `C=XX, O=Lab, CN=gw`.
pub(super) fn write(f: &mut fmt::Formatter<'_>, attributes: &[Attribute<'_>]) -> fmt::Result {
    if attributes.is_empty() {
        return f.write_str("\"\"");
    }
    for (position, attribute) in attributes.iter().enumerate() {
        if position > 0 {
            f.write_str(", ")?;
        }
        match ATTRIBUTE_TYPES.iter().find(|(_, oid)| *oid == attribute.oid) {
            Some((name, _)) => f.write_str(name)?,
            None => super::write_hex(f, attribute.oid)?,
        }
        f.write_str("=")?;
        super::write_printable(f, attribute.value)?;
    }
    Ok(())
}

/// Encodes a name given as text; the error is the part that is not `type=value` with a type we know.
pub(super) fn encode(text: &str) -> Result<Vec<u8>, &str> {
    let (text, separator) = match text.strip_prefix('/') {
        Some(rest) => (rest, '/'),
        None => (text, ','),
    };
    let mut rdns = Vec::new();
    let mut parts = text.split(separator).peekable();
    for count in 1.. {
        let Some(part) = parts.next() else { break };
        if part.trim().is_empty() && count > 1 && parts.peek().is_none() {
            break; // a separator at the end
        }
        let (name, value) = part.split_once('=').ok_or(part)?;
        let name = name.trim();
        let (_, oid) =
            ATTRIBUTE_TYPES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).ok_or(part)?;
        if count > MAX_RDNS {
            return Err(part);
        }
        let value = value.trim();
        let mut pair = tlv(OID, oid);
        pair.extend(tlv(string_type(oid, value), value.as_bytes()));
        rdns.extend(tlv(SET, &tlv(SEQUENCE, &pair)));
    }
    Ok(tlv(SEQUENCE, &rdns))
}

/// The string type strongSwan takes for a value, so that both ends encode a name alike.
fn string_type(oid: &[u8], value: &str) -> u8 {
    if oid == EMAIL_ADDRESS || oid == UNSTRUCTURED_NAME {
        IA5_STRING
    } else if value.bytes().all(|octet| octet.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&octet)) {
        PRINTABLE_STRING
    } else {
        UTF8_STRING
    }
}

/// A DER element (X.690 §8.1).
pub(super) fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut element = vec![tag];
    match u8::try_from(contents.len()) {
        Ok(short) if short < 0x80 => element.push(short),
        _ => {
            let length = contents.len().to_be_bytes();
            let significant = length.iter().skip_while(|octet| **octet == 0).count();
            // A length has at most eight octets.
            element.push(0x80 | u8::try_from(significant).unwrap_or_default());
            element.extend(length.iter().skip(length.len() - significant));
        }
    }
    element.extend_from_slice(contents);
    element
}

/// The contents of an element that must have this tag, and what follows it.
fn element(input: &[u8], expected: u8) -> Option<(&[u8], &[u8])> {
    let (tag, contents, rest) = tag_and_contents(input)?;
    (tag == expected).then_some((contents, rest))
}

/// Tag and contents of the element at the start, and what follows it. Tags of one octet, lengths of up to
/// four.
fn tag_and_contents(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = input.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        short @ 0..=0x7f => (usize::from(short), rest),
        0x81..=0x84 => {
            let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (octets.iter().fold(0, |length, octet| (length << 8) | usize::from(*octet)), rest)
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((tag, contents, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What strongSwan 5.9.8 puts into a certificate for `C=CH, O=a_b, E=x@y`.
    #[test]
    fn strings_have_the_types_strongswan_gives_them() {
        let name = encode("C=CH, O=a_b, E=x@y").unwrap();
        let attributes = attributes(&name).unwrap();
        let tags: Vec<u8> = attributes.iter().map(|attribute| attribute.tag).collect();
        assert_eq!(tags, [PRINTABLE_STRING, UTF8_STRING, IA5_STRING]);
        assert_eq!(
            name[..13],
            [0x30, 0x2f, 0x31, 0x0b, 0x30, 0x09, 0x06, 0x03, 0x55, 0x04, 0x06, 0x13, 0x02]
        );
    }

    #[test]
    fn separators_are_commas_or_slashes() {
        let commas = encode(" c = CH , CN = z ").unwrap();
        assert_eq!(encode("/C=CH/CN=z").unwrap(), commas);
        assert_eq!(encode("C=CH, CN=z, ").unwrap(), commas);
        let slashes = encode("/O=foo, bar/CN=x=y").unwrap();
        let values: Vec<&[u8]> = attributes(&slashes).unwrap().iter().map(|a| a.value).collect();
        assert_eq!(values, [&b"foo, bar"[..], b"x=y"]);
    }

    #[test]
    fn the_part_at_fault_is_named() {
        assert_eq!(encode("CN=a, nonsense, C=b"), Err(" nonsense"));
        assert_eq!(encode("CN=a,XX=b"), Err("XX=b"));
        assert_eq!(encode("C=CH,,CN=z"), Err(""));
        assert_eq!(encode(""), Err(""));
        assert_eq!(encode(&"CN=a,".repeat(21)), Err("CN=a"));
        assert!(encode(&"CN=a,".repeat(20)).is_ok());
    }

    #[test]
    fn every_attribute_type_comes_back_under_its_first_name() {
        for (name, oid) in ATTRIBUTE_TYPES {
            let encoded = encode(&format!("{name}=v")).unwrap();
            let attributes = attributes(&encoded).unwrap();
            assert_eq!(attributes[0].oid, *oid, "{name}");
        }
    }

    #[test]
    fn long_values_have_long_lengths() {
        for length in [127, 128, 255, 256, 70_000] {
            let encoded = encode(&format!("CN={}", "v".repeat(length))).unwrap();
            assert_eq!(attributes(&encoded).unwrap()[0].value.len(), length);
        }
    }

    #[test]
    fn every_truncation_is_refused() {
        let whole = encode("C=XX, O=Lab, CN=gw").unwrap();
        for end in 0..whole.len() {
            assert!(attributes(&whole[..end]).is_none(), "{end}");
        }
        let mut longer = whole.clone();
        longer.push(0);
        assert!(attributes(&longer).is_none());
        assert!(attributes(&[0x30, 0x80, 0, 0]).is_none());
        assert!(attributes(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]).is_none());
        assert!(attributes(&[0x30, 0x88, 1, 1, 1, 1, 1, 1, 1, 1]).is_none());
    }
}
