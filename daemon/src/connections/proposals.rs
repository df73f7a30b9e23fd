//! `proposals` and `esp_proposals`: what is offered and accepted.

use ferry_ike::crypto::{supports_encr, supports_esp_encr, supports_integ, supports_ke, supports_prf};
use ferry_ike::proposal::{self, Proposal, Transform};
use ferry_ike::wire::registry::{EncrId, IntegId, KeMethod, PrfId, ProtocolId, TransformType};

use super::error::ConfigError;
use super::schema::List;
use crate::dataplane::Abilities;

/// Whether a CHILD_SA can have an algorithm on a data plane.
pub(crate) fn supports_esp(plane: Abilities, transform: Transform) -> bool {
    match transform.kind {
        TransformType::ENCR => {
            let id = EncrId(transform.id);
            plane.ciphers.contains(&id) && supports_esp_encr(id, transform.key_length)
        }
        _ => supports(transform),
    }
}

/// Whether IKE has an algorithm.
pub(crate) fn supports(transform: Transform) -> bool {
    match transform.kind {
        TransformType::ENCR => supports_encr(EncrId(transform.id), transform.key_length),
        TransformType::PRF => supports_prf(PrfId(transform.id)),
        TransformType::INTEG => supports_integ(IntegId(transform.id)),
        TransformType::KE => transform.id == KeMethod::NONE.0 || supports_ke(KeMethod(transform.id)),
        TransformType::ESN => true,
        _additional_key_exchanges => false,
    }
}

/// What is offered for an IKE SA where a connection does not say.
pub(super) fn default_ike() -> Vec<Proposal> {
    proposal::default_ike(supports)
}

/// What is offered for a CHILD_SA where it does not say.
pub(super) fn default_esp(plane: Abilities) -> Vec<Proposal> {
    proposal::default_esp(|transform| supports_esp(plane, transform))
}

/// What proposals are for.
#[derive(Clone, Copy)]
pub(super) enum What {
    /// An IKE SA.
    Ike,
    /// A CHILD_SA on this data plane.
    Esp(Abilities),
}

/// Reads a list of proposals. Algorithms we do not have are left out, with a remark; where nothing usable is
/// left, the list is refused.
pub(super) fn parse(
    list: &List<'_>,
    what: What,
    remarks: &mut Vec<String>,
) -> Result<Vec<Proposal>, ConfigError> {
    let protocol = match what {
        What::Ike => ProtocolId::IKE,
        What::Esp(_) => ProtocolId::ESP,
    };
    let supports = |transform| match what {
        What::Ike => supports(transform),
        What::Esp(plane) => supports_esp(plane, transform),
    };
    let parsed = list.read(|text| {
        let is_default = text.trim().eq_ignore_ascii_case("default");
        let proposals = Proposal::parse(protocol, text).map_err(|error| format!("a proposal ({error})"))?;
        Ok((text.to_owned(), is_default, proposals))
    })?;
    // Some are only another data plane's.
    let place = |missing: &[Transform]| match what {
        What::Esp(plane) if missing.iter().all(|transform| supports_esp(Abilities::KERNEL, *transform)) => {
            format!(" in the {} data plane", plane.name)
        }
        What::Ike | What::Esp(_) => String::new(),
    };
    let mut usable = Vec::new();
    let mut lacking: Vec<Transform> = Vec::new();
    for (text, is_default, proposals) in parsed {
        for proposal in proposals {
            let missing = proposal.unsupported(supports);
            let left = proposal.supported(supports);
            if !missing.is_empty() && !is_default {
                let rest = if left.is_some() { "it is used without" } else { "it is not used" };
                remarks.push(format!(
                    "{}: {text}: we have no {}{}; {rest}",
                    list.path(),
                    names(&missing),
                    place(&missing)
                ));
                lacking.extend(missing);
            }
            usable.extend(left.filter(is_protected));
        }
    }
    if usable.is_empty() && !list.is_empty() {
        let why = match lacking.as_slice() {
            [] => "encryption without integrity protects nothing".to_owned(),
            lacking => format!("we have no {}{}", names(lacking), place(lacking)),
        };
        return Err(list.unsupported(why));
    }
    proposal::number(&mut usable);
    Ok(usable)
}

fn names(transforms: &[Transform]) -> String {
    transforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Encryption that nothing checks the integrity of is not offered, though ESP's grammar allows it (RFC 8221
/// §4).
fn is_protected(proposal: &Proposal) -> bool {
    let has_integrity = proposal.of(TransformType::INTEG).any(|integ| IntegId(integ.id) != IntegId::NONE);
    has_integrity || proposal.of(TransformType::ENCR).all(|encr| EncrId(encr.id).is_aead())
}
