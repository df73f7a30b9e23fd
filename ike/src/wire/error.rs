//! Why octets are not a message.

use std::fmt;

use super::registry::{ExchangeType, PayloadType};

/// Why a datagram, or the plaintext of one, could not be decoded.
///
/// `Display` gives one sentence for the log. Nothing of the offending octets is in it but lengths and numbers, so
/// that a stranger cannot write into our log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// A payload we do not know, and the sender insists that we do (RFC 7296 §2.5).
    #[error("unsupported critical payload of type {}", .0.0)]
    UnsupportedCriticalPayload(PayloadType),
    /// The message is not of IKE version 2 (RFC 7296 §2.5).
    #[error("unsupported IKE major version {0}, expected 2")]
    UnsupportedMajorVersion(u8),
    /// The octets break the format.
    #[error("{}", Sentence { part, offset: *offset, fault })]
    Malformed {
        /// The structure that is broken.
        part: Part,
        /// Where the fault was noticed, in octets from the beginning of the message or plaintext; zero where the
        /// message as a whole is at fault.
        offset: usize,
        /// What is wrong with it.
        fault: Fault,
    },
}

/// The part of a message that is being decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// The fixed header of 28 octets.
    Header,
    /// The four octets before a payload of the given type.
    PayloadHeader(PayloadType),
    /// The body of a payload.
    Payload(PayloadType),
    /// A structure inside a payload, by its RFC name.
    Inside(PayloadType, &'static str),
    /// All payloads of a request, together.
    Request(ExchangeType),
    /// All payloads of a response, together.
    Response(ExchangeType),
}

impl Part {
    /// The payload this part belongs to, `NONE` where it belongs to none.
    #[must_use]
    pub const fn payload(self) -> PayloadType {
        match self {
            Self::PayloadHeader(kind) | Self::Payload(kind) | Self::Inside(kind, _) => kind,
            Self::Header | Self::Request(_) | Self::Response(_) => PayloadType::NONE,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("IKE header"),
            Self::PayloadHeader(kind) => write!(f, "header of the {kind} payload"),
            Self::Payload(kind) => write!(f, "{kind} payload"),
            Self::Inside(kind, structure) => write!(f, "{structure} in the {kind} payload"),
            Self::Request(exchange) => write!(f, "{exchange} request"),
            Self::Response(exchange) => write!(f, "{exchange} response"),
        }
    }
}

/// What is wrong with a [`Part`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The octets end inside it.
    Truncated {
        /// Octets the next field needs.
        needed: usize,
        /// Octets there are.
        left: usize,
    },
    /// It is over, but octets are left.
    Trailing {
        /// How many.
        octets: usize,
    },
    /// A field holds a value it must not hold.
    Value {
        /// The field, by its RFC name.
        field: &'static str,
        /// What it holds.
        value: u64,
        /// What it may hold.
        expected: Expected,
    },
    /// A range ends before it begins.
    Reversed {
        /// The range.
        range: &'static str,
    },
    /// There are more of something than any honest peer sends.
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many we accept.
        limit: usize,
    },
    /// A payload that must be there is not.
    Missing(PayloadType),
    /// A payload that may be there once is there again.
    Repeated(PayloadType),
}

/// What a field was expected to hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expected {
    /// Exactly this.
    Exactly(u64),
    /// This or more.
    AtLeast(u64),
    /// Between the two, both included.
    Between(u64, u64),
    /// In words.
    Words(&'static str),
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(value) => write!(f, "{value}"),
            Self::AtLeast(least) => write!(f, "at least {least}"),
            Self::Between(least, most) => write!(f, "{least} to {most}"),
            Self::Words(words) => f.write_str(words),
        }
    }
}

/// Writes a malformed part as a sentence.
struct Sentence<'e> {
    part: &'e Part,
    offset: usize,
    fault: &'e Fault,
}

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, offset, fault } = self;
        match fault {
            Fault::Truncated { needed, left } => {
                write!(f, "{part} is cut off at octet {offset} ({needed} needed, {left} left)")
            }
            Fault::Trailing { octets } => {
                write!(f, "{part} goes on where it should end, at octet {offset} ({octets} left)")
            }
            Fault::Value { field, value, expected } => {
                write!(f, "{part} has {field} {value} before octet {offset}, expected {expected}")
            }
            Fault::Reversed { range } => {
                write!(f, "{part} has {range} that ends before it begins, at octet {offset}")
            }
            Fault::TooMany { what, limit } => {
                write!(f, "{part} brings more than {limit} {what} at octet {offset}")
            }
            Fault::Missing(kind) => write!(f, "{part} lacks the {kind} payload"),
            Fault::Repeated(kind) => write!(f, "{part} has more than one {kind} payload"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_reads_as_one_sentence_with_place_and_expectation() {
        let value = DecodeError::Malformed {
            part: Part::Inside(PayloadType::SA, "Proposal"),
            offset: 40,
            fault: Fault::Value { field: "SPI Size", value: 3, expected: Expected::Words("0 or 8") },
        };
        assert_eq!(
            value.to_string(),
            "Proposal in the SA payload has SPI Size 3 before octet 40, expected 0 or 8"
        );
        let missing = DecodeError::Malformed {
            part: Part::Request(ExchangeType::IKE_SA_INIT),
            offset: 0,
            fault: Fault::Missing(PayloadType::KE),
        };
        assert_eq!(missing.to_string(), "IKE_SA_INIT request lacks the KE payload");
        assert_eq!(
            DecodeError::UnsupportedCriticalPayload(PayloadType(200)).to_string(),
            "unsupported critical payload of type 200"
        );
    }
}
