//! The responder's choice among what the initiator offers, and the initiator's check of it (RFC 7296 §2.7,
//! §3.3.6).

use std::fmt;

use super::{Proposal, Transform, is_additional_ke, is_ke, rank, write_list};
use crate::wire::registry::{KeMethod, ProtocolId, TransformType};

/// Whose order of preference decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Prefer {
    /// The responder's own (`prefer_configured_proposals`, on by default).
    #[default]
    Ours,
    /// The initiator's.
    Theirs,
}

/// What else bears on a choice.
#[derive(Clone, Copy, Debug, Default)]
pub struct SelectContext<'a> {
    /// Leave key exchange out of account, as for the CHILD_SA of IKE_AUTH, which has none.
    pub ignore_ke: bool,
    /// Allow IDs from the range for private use: the peer is known to mean by them what we mean, or the
    /// operator says so.
    pub allow_private: bool,
    /// Key exchange methods not to choose.
    pub excluded_ke: &'a [KeMethod],
}

impl SelectContext<'_> {
    fn considers(&self, kind: TransformType) -> bool {
        !(self.ignore_ke && is_ke(kind))
    }

    fn allows(&self, transform: Transform) -> bool {
        let is_excluded = transform.is_ke() && self.excluded_ke.contains(&KeMethod(transform.id));
        (self.allow_private || !transform.is_private()) && !is_excluded
    }
}

/// The responder's choice: of one of the peer's proposals, one transform of each kind that one of ours
/// allows. It has the peer's proposal number and no SPI. `None` means NO_PROPOSAL_CHOSEN.
#[must_use]
pub fn select(
    ours: &[Proposal],
    theirs: &[Proposal],
    preference: Prefer,
    context: SelectContext<'_>,
) -> Option<Proposal> {
    let (outer, inner) = match preference {
        Prefer::Ours => (ours, theirs),
        Prefer::Theirs => (theirs, ours),
    };
    outer.iter().find_map(|preferred| {
        inner.iter().find_map(|other| {
            let transforms = match preference {
                Prefer::Ours => combine(preferred, other, other, context),
                Prefer::Theirs => combine(preferred, other, preferred, context),
            };
            let number = if preference == Prefer::Ours { other.number } else { preferred.number };
            let transforms = transforms.ok().filter(|transforms| !transforms.is_empty())?;
            Some(Proposal { number, protocol: preferred.protocol, spi: Vec::new(), transforms })
        })
    })
}

/// One transform of each kind, or the kinds without a common one. The kinds answered are those of `offer`,
/// which is one of the two.
fn combine(
    preferred: &Proposal,
    other: &Proposal,
    offer: &Proposal,
    context: SelectContext<'_>,
) -> Result<Vec<Transform>, Vec<TransformType>> {
    let mut chosen: Vec<Transform> = Vec::new();
    let mut apart = Vec::new();
    if preferred.protocol != other.protocol {
        return Err(kinds(&[preferred, other]));
    }
    for kind in kinds(&[preferred, other]).into_iter().filter(|kind| context.considers(*kind)) {
        let is_aead = chosen.iter().any(|transform| transform.is_aead());
        let common = preferred.of(kind).find(|transform| {
            // RFC 9370 §2.2.2: a method serves in one of the key exchanges only.
            let is_taken = is_ke(kind)
                && !transform.is_none()
                && chosen.iter().any(|taken| taken.is_ke() && taken.id == transform.id);
            !is_taken && context.allows(*transform) && other.of(kind).any(|theirs| theirs == *transform)
        });
        if kind == TransformType::INTEG && is_aead {
            // What comes with its own integrity needs no other; RFC 7296 §3.3 allows NONE to be said.
            chosen.extend(offer.of(kind).find(|transform| transform.is_none()));
        } else if let Some(common) = common {
            chosen.push(common);
        } else if may_be_absent(preferred.protocol, kind, preferred, other) {
            // RFC 7296 §3.3.3: who would accept only NONE may leave the kind out.
            chosen.extend(offer.of(kind).find(|transform| transform.is_none()));
        } else {
            apart.push(kind);
        }
    }
    if apart.is_empty() { Ok(chosen) } else { Err(apart) }
}

/// True if one proposal does not have the kind and the other would do without.
fn may_be_absent(protocol: ProtocolId, kind: TransformType, one: &Proposal, other: &Proposal) -> bool {
    let is_optional = kind == TransformType::INTEG
        || is_additional_ke(kind)
        || (kind == TransformType::KE && protocol != ProtocolId::IKE);
    let is_absent = one.of(kind).next().is_none() || other.of(kind).next().is_none();
    is_optional && is_absent && one.of(kind).chain(other.of(kind)).any(Transform::is_none)
}

/// The kinds of transforms in the proposals, each once, ciphers first.
fn kinds(proposals: &[&Proposal]) -> Vec<TransformType> {
    let mut kinds: Vec<TransformType> =
        proposals.iter().flat_map(|proposal| &proposal.transforms).map(|transform| transform.kind).collect();
    kinds.sort_by_key(|kind| rank(*kind));
    kinds.dedup();
    kinds
}

impl Proposal {
    /// The initiator's check of the responder's answer: number and protocol of a proposal of `offer`, and of
    /// each kind in it one transform as offered. If not, the exchange has failed (RFC 7296 §3.3.6).
    #[must_use]
    pub fn is_answer_to(&self, offer: &[Self]) -> bool {
        offer
            .iter()
            .filter(|offered| offered.number == self.number && offered.protocol == self.protocol)
            .any(|offered| kinds(&[self, offered]).into_iter().all(|kind| self.answers(offered, kind)))
    }

    fn answers(&self, offered: &Self, kind: TransformType) -> bool {
        let mut answered = self.of(kind);
        let is_aead = self.of(TransformType::ENCR).any(Transform::is_aead);
        let needs_none = kind == TransformType::INTEG && is_aead;
        match (answered.next(), answered.next()) {
            (None, _) => needs_none || may_be_absent(self.protocol, kind, self, offered),
            (Some(answer), None) if needs_none => answer.is_none(),
            (Some(answer), None) => {
                offered.of(kind).any(|transform| transform == answer)
                    || may_be_absent(self.protocol, kind, self, offered)
            }
            (Some(_), Some(_)) => false,
        }
    }
}

/// Why there was no choice: where the two nearest proposals differ. `Display` gives a clause for a log line,
/// such as `no common KE: ours ECP_384, theirs MODP_1024`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mismatch {
    /// The kinds without a common transform. None, if there were not two proposals for the same protocol.
    pub differences: Vec<Difference>,
}

/// One kind without a common transform.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// The kind.
    pub kind: TransformType,
    /// What we allow; may be nothing.
    pub ours: Vec<Transform>,
    /// What the peer allows; may be nothing.
    pub theirs: Vec<Transform>,
}

/// Compares the two proposals that are nearest to each other, for an operator to see what to change.
#[must_use]
pub fn explain(ours: &[Proposal], theirs: &[Proposal], context: SelectContext<'_>) -> Mismatch {
    let pairs = ours.iter().flat_map(|ours| theirs.iter().map(move |theirs| (ours, theirs)));
    let differences = pairs
        .filter(|(ours, theirs)| ours.protocol == theirs.protocol)
        .map(|(ours, theirs)| {
            let apart = combine(ours, theirs, theirs, context).err().unwrap_or_default();
            (ours, theirs, apart)
        })
        .min_by_key(|(_, _, apart)| apart.len())
        .map(|(ours, theirs, apart)| {
            apart
                .into_iter()
                .map(|kind| Difference {
                    kind,
                    ours: ours.of(kind).collect(),
                    theirs: theirs.of(kind).collect(),
                })
                .collect()
        });
    Mismatch { differences: differences.unwrap_or_default() }
}

/// What a log line should hold, of kinds and of the transforms of each; a peer may offer hundreds.
const SHOWN_KINDS: usize = 4;
const SHOWN_TRANSFORMS: usize = 16;

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.differences.is_empty() {
            return f.write_str("no proposals for the same protocol");
        }
        let shown = self.differences.get(..SHOWN_KINDS).unwrap_or(&self.differences);
        write_list(f, shown, "; ")?;
        if shown.len() < self.differences.len() { f.write_str("; ...") } else { Ok(()) }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |f: &mut fmt::Formatter<'_>, transforms: &[Transform]| {
            let shown = transforms.get(..SHOWN_TRANSFORMS).unwrap_or(transforms);
            match shown {
                [] => f.write_str("nothing"),
                _ if shown.len() < transforms.len() => {
                    write_list(f, shown, ", ")?;
                    f.write_str(", ...")
                }
                _ => write_list(f, shown, ", "),
            }
        };
        write!(f, "no common {}: ours ", self.kind)?;
        side(f, &self.ours)?;
        f.write_str(", theirs ")?;
        side(f, &self.theirs)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::number;
    use super::*;

    fn offer(protocol: ProtocolId, texts: &[&str]) -> Vec<Proposal> {
        let mut offer: Vec<Proposal> =
            texts.iter().flat_map(|text| Proposal::parse(protocol, text).unwrap()).collect();
        number(&mut offer);
        offer
    }

    const STRICT: SelectContext<'static> =
        SelectContext { ignore_ke: false, allow_private: false, excluded_ke: &[] };

    fn chosen(protocol: ProtocolId, ours: &[&str], theirs: &[&str], preference: Prefer) -> Option<String> {
        let (ours, theirs) = (offer(protocol, ours), offer(protocol, theirs));
        let chosen = select(&ours, &theirs, preference, STRICT)?;
        assert!(chosen.is_answer_to(&theirs), "{chosen}");
        Some(format!("{} {chosen}", chosen.number))
    }

    #[test]
    fn the_preferred_side_decides() {
        let ours = ["aes256-aes128-sha256-ecp256-modp2048", "aes128gcm16-prfsha256-x25519"];
        let theirs = ["aes128gcm16-prfsha256-x25519", "aes128-aes256-sha256-modp2048-ecp256"];
        assert_eq!(
            chosen(ProtocolId::IKE, &ours, &theirs, Prefer::Ours).as_deref(),
            Some("2 IKE:AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/ECP_256")
        );
        assert_eq!(
            chosen(ProtocolId::IKE, &ours, &theirs, Prefer::Theirs).as_deref(),
            Some("1 IKE:AES_GCM_16_128/PRF_HMAC_SHA2_256/CURVE_25519")
        );
        assert_eq!(
            chosen(ProtocolId::IKE, &ours[..1], &theirs, Prefer::Theirs).as_deref(),
            Some("2 IKE:AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048")
        );
    }

    #[test]
    fn every_kind_needs_a_common_transform() {
        let table = [
            ("aes128-sha256", "aes128-sha256", Some("1 ESP:AES_CBC_128/HMAC_SHA2_256_128/NO_EXT_SEQ")),
            ("aes128-sha256", "aes256-sha256", None),
            ("aes128-sha256", "aes128-sha1", None),
            ("aes128-sha256-esn", "aes128-sha256", None),
            (
                "aes128-sha256-esn-noesn",
                "aes128-sha256",
                Some("1 ESP:AES_CBC_128/HMAC_SHA2_256_128/NO_EXT_SEQ"),
            ),
            ("aes128-sha256", "aes128gcm16", None),
            ("aes128", "aes128-sha256", None),
            // Key exchange is optional where somebody says none.
            ("aes128gcm16", "aes128gcm16-x25519", None),
            ("aes128gcm16-x25519", "aes128gcm16", None),
            ("aes128gcm16", "aes128gcm16-x25519-none", Some("1 ESP:AES_GCM_16_128/KE_NONE/NO_EXT_SEQ")),
            ("aes128gcm16-x25519-none", "aes128gcm16", Some("1 ESP:AES_GCM_16_128/NO_EXT_SEQ")),
            (
                "aes128gcm16-x25519-none",
                "aes128gcm16-none-x25519",
                Some("1 ESP:AES_GCM_16_128/CURVE_25519/NO_EXT_SEQ"),
            ),
            ("aes128gcm16-x25519-none", "aes128gcm16-ecp256", None),
            // Additional key exchanges are, too, and no method is used twice.
            (
                "aes128gcm16-x25519-ke1_mlkem768-ke1_none",
                "aes128gcm16-x25519",
                Some("1 ESP:AES_GCM_16_128/CURVE_25519/NO_EXT_SEQ"),
            ),
            ("aes128gcm16-x25519-ke1_mlkem768", "aes128gcm16-x25519", None),
            (
                "aes128gcm16-x25519-ke1_x25519-ke1_mlkem768",
                "aes128gcm16-x25519-ke1_x25519-ke1_mlkem768",
                Some("1 ESP:AES_GCM_16_128/CURVE_25519/KE1_ML_KEM_768/NO_EXT_SEQ"),
            ),
        ];
        for (ours, theirs, expected) in table {
            assert_eq!(
                chosen(ProtocolId::ESP, &[ours], &[theirs], Prefer::Ours).as_deref(),
                expected,
                "{ours} offered {theirs}"
            );
        }
    }

    #[test]
    fn the_context_narrows_the_choice() {
        let ours = offer(ProtocolId::ESP, &["aes128gcm16-x25519-ecp256"]);
        let theirs = offer(ProtocolId::ESP, &["aes128gcm16-x25519-ecp256"]);
        let show = |context| select(&ours, &theirs, Prefer::Ours, context).map(|chosen| chosen.to_string());
        let without = SelectContext { ignore_ke: true, ..STRICT };
        assert_eq!(show(without).as_deref(), Some("ESP:AES_GCM_16_128/NO_EXT_SEQ"));
        let other = SelectContext { excluded_ke: &[KeMethod::CURVE_25519], ..STRICT };
        assert_eq!(show(other).as_deref(), Some("ESP:AES_GCM_16_128/ECP_256/NO_EXT_SEQ"));

        // In IKE_AUTH a peer may have key exchange in its proposal or not; ours has it for later.
        let bare = offer(ProtocolId::ESP, &["aes128gcm16"]);
        assert!(select(&ours, &bare, Prefer::Ours, STRICT).is_none());
        assert!(select(&ours, &bare, Prefer::Ours, without).is_some_and(|c| c.is_answer_to(&bare)));
    }

    #[test]
    fn private_ids_need_permission() {
        let serpent = offer(ProtocolId::ESP, &["serpent128-aes128-sha256"]);
        let show = |allow_private| {
            let context = SelectContext { allow_private, ..STRICT };
            select(&serpent, &serpent, Prefer::Ours, context).map(|chosen| chosen.transforms[0].id)
        };
        assert_eq!((show(false), show(true)), (Some(12), Some(1026)));
    }

    #[test]
    fn nothing_is_chosen_from_nothing() {
        let ours = offer(ProtocolId::ESP, &["aes128gcm16"]);
        assert_eq!(select(&ours, &[], Prefer::Ours, STRICT), None);
        let empty = Proposal { transforms: Vec::new(), ..ours[0].clone() };
        let empty = std::slice::from_ref(&empty);
        assert_eq!(select(empty, empty, Prefer::Ours, STRICT), None);
        let ike = Proposal { protocol: ProtocolId::IKE, ..ours[0].clone() };
        assert_eq!(select(&ours, &[ike], Prefer::Ours, STRICT), None);
    }

    #[test]
    fn unknown_kinds_make_a_proposal_unacceptable() {
        let ours = offer(ProtocolId::ESP, &["aes128gcm16"]);
        let mut theirs = offer(ProtocolId::ESP, &["aes128gcm16", "aes128gcm16"]);
        theirs[0].transforms.push(Transform { kind: TransformType(77), id: 0, key_length: None });
        assert_eq!(select(&ours, &theirs, Prefer::Ours, STRICT).map(|chosen| chosen.number), Some(2));
        // An unknown transform of a known kind only makes itself unacceptable.
        theirs[1].transforms.insert(0, Transform { kind: TransformType::ENCR, id: 999, key_length: None });
        assert_eq!(select(&ours, &theirs, Prefer::Ours, STRICT).map(|chosen| chosen.number), Some(2));
    }

    #[test]
    fn a_cipher_without_its_key_length_is_another_cipher() {
        let ours = offer(ProtocolId::ESP, &["aes128gcm16"]);
        let mut theirs = ours.clone();
        theirs[0].transforms[0].key_length = None;
        assert_eq!(select(&ours, &theirs, Prefer::Ours, STRICT), None);
    }

    #[test]
    fn integrity_none_may_be_said_with_a_combined_mode_cipher() {
        let ours = offer(ProtocolId::ESP, &["aes128gcm16"]);
        let mut theirs = ours.clone();
        let none = Transform { kind: TransformType::INTEG, id: 0, key_length: None };
        theirs[0].transforms.insert(1, none);
        let chosen = select(&ours, &theirs, Prefer::Ours, STRICT).unwrap();
        assert!(chosen.transforms.contains(&none) && chosen.integ().is_none());
        assert!(chosen.is_answer_to(&theirs) && chosen.is_answer_to(&ours));
        assert!(select(&ours, &ours, Prefer::Ours, STRICT).unwrap().is_answer_to(&theirs));
    }

    #[test]
    fn an_answer_takes_one_transform_of_each_kind_from_one_proposal() {
        let offered = offer(ProtocolId::ESP, &["aes128-aes256-sha256-sha1", "aes128gcm16-x25519-none"]);
        let answer = |text: &str, number| Proposal { number, ..offer(ProtocolId::ESP, &[text]).remove(0) };
        let table = [
            ("aes256-sha1", 1, true),
            ("aes128gcm16-x25519", 2, true),
            ("aes128gcm16-none", 2, true),
            ("aes128gcm16", 2, true),
            ("aes256-sha1", 2, false),
            ("aes256-sha1", 3, false),
            ("aes192-sha1", 1, false),
            ("aes128-sha512", 1, false),
            ("aes128-aes256-sha1", 1, false),
            ("aes128", 1, false),
            ("aes128-sha256-x25519", 1, false),
            ("aes128-sha256-esn", 1, false),
            ("aes128gcm16-ecp256", 2, false),
        ];
        for (text, number, expected) in table {
            assert_eq!(answer(text, number).is_answer_to(&offered), expected, "{text} as {number}");
        }
        let mut with_integrity = answer("aes128gcm16", 2);
        with_integrity.transforms.push(Transform { kind: TransformType::INTEG, id: 12, key_length: None });
        assert!(!with_integrity.is_answer_to(&offered));
        let ah = Proposal { protocol: ProtocolId::AH, ..answer("aes256-sha1", 1) };
        assert!(!ah.is_answer_to(&offered));
        assert!(!Proposal { transforms: Vec::new(), ..answer("aes256-sha1", 1) }.is_answer_to(&offered));
    }

    #[test]
    fn the_difference_is_told() {
        let ours = offer(ProtocolId::IKE, &["aes256-sha384-ecp384", "aes256gcm16-prfsha384-ecp384"]);
        for (theirs, expected) in [
            ("aes256-sha384-modp1024-modp1536", "no common KE: ours ECP_384, theirs MODP_1024, MODP_1536"),
            (
                "3des-sha384-modp1024",
                "no common ENCR: ours AES_CBC_256, theirs 3DES_CBC; no common KE: ours ECP_384, theirs MODP_1024",
            ),
            (
                "aes256gcm16-prfsha256-ecp384",
                "no common PRF: ours PRF_HMAC_SHA2_384, theirs PRF_HMAC_SHA2_256",
            ),
        ] {
            let theirs = offer(ProtocolId::IKE, &[theirs]);
            assert_eq!(explain(&ours, &theirs, STRICT).to_string(), expected);
        }
        let esp = offer(ProtocolId::ESP, &["aes128gcm16"]);
        assert_eq!(explain(&ours, &esp, STRICT).to_string(), "no proposals for the same protocol");
        let needs_ke = offer(ProtocolId::ESP, &["aes128gcm16-x25519"]);
        assert_eq!(
            explain(&esp, &needs_ke, STRICT).to_string(),
            "no common KE: ours nothing, theirs CURVE_25519"
        );
        let many = (0..100).map(|id| Transform { kind: TransformType::ENCR, id, key_length: None });
        let many = vec![Proposal { transforms: many.collect(), ..esp[0].clone() }];
        assert!(explain(&esp, &many, STRICT).to_string().len() < 400);
        let odd = (0..=255).map(|kind| Transform { kind: TransformType(kind), id: 9, key_length: None });
        let odd = vec![Proposal { transforms: odd.collect(), ..esp[0].clone() }];
        assert!(explain(&esp, &odd, STRICT).to_string().ends_with("; ..."));
    }

    fn any_proposal() -> impl Strategy<Value = Proposal> {
        let key_length = prop_oneof![Just(None), Just(Some(128)), Just(Some(256))];
        let transform = (1u8..8, prop_oneof![0u16..3, 11u16..22, Just(1026)], key_length)
            .prop_map(|(kind, id, key_length)| Transform { kind: TransformType(kind), id, key_length });
        (1u8..4, prop_oneof![Just(1u8), Just(3)], proptest::collection::vec(transform, 0..12)).prop_map(
            |(number, protocol, transforms)| Proposal {
                number,
                protocol: ProtocolId(protocol),
                spi: Vec::new(),
                transforms,
            },
        )
    }

    proptest! {
        #[test]
        fn a_choice_answers_the_offer_and_is_one_we_allow(
            ours in proptest::collection::vec(any_proposal(), 0..4),
            theirs in proptest::collection::vec(any_proposal(), 0..4),
            prefer_ours: bool,
        ) {
            let preference = if prefer_ours { Prefer::Ours } else { Prefer::Theirs };
            if let Some(chosen) = select(&ours, &theirs, preference, STRICT) {
                prop_assert!(chosen.is_answer_to(&theirs));
                let is_ours = |t: &Transform| t.is_none() || ours.iter().any(|p| p.transforms.contains(t));
                prop_assert!(chosen.transforms.iter().all(is_ours));
                prop_assert!(chosen.transforms.iter().all(|t| !t.is_private()));
            } else {
                prop_assert!(!explain(&ours, &theirs, STRICT).to_string().is_empty());
            }
        }
    }
}
