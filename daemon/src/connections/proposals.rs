//! `proposals` and `esp_proposals`: what is offered and accepted.

use ferry_ike::crypto::{supports_encr, supports_integ, supports_ke, supports_prf};
use ferry_ike::proposal::{self, Proposal, Transform};
use ferry_ike::wire::registry::{EncrId, IntegId, KeMethod, PrfId, ProtocolId, TransformType};

use super::error::ConfigError;
use super::schema::List;

/// Whether we have an algorithm.
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

/// What is offered where a connection does not say.
pub(super) fn default_for(protocol: ProtocolId) -> Vec<Proposal> {
    match protocol {
        ProtocolId::IKE => proposal::default_ike(supports),
        _esp => proposal::default_esp(supports),
    }
}

/// Reads a list of proposals. Algorithms we do not have are left out, with a remark; where nothing usable is
/// left, the list is refused.
pub(super) fn parse(
    list: &List<'_>,
    protocol: ProtocolId,
    remarks: &mut Vec<String>,
) -> Result<Vec<Proposal>, ConfigError> {
    let parsed = list.read(|text| {
        let is_default = text.trim().eq_ignore_ascii_case("default");
        let proposals = Proposal::parse(protocol, text).map_err(|error| format!("a proposal ({error})"))?;
        Ok((text.to_owned(), is_default, proposals))
    })?;
    let mut usable = Vec::new();
    let mut lacking: Vec<String> = Vec::new();
    for (text, is_default, proposals) in parsed {
        for proposal in proposals {
            let missing = proposal.unsupported(supports);
            let left = proposal.supported(supports);
            if !missing.is_empty() && !is_default {
                let names: Vec<_> = missing.iter().map(ToString::to_string).collect();
                lacking.extend(names.iter().cloned());
                let rest = if left.is_some() { "it is used without" } else { "it is not used" };
                remarks.push(format!("{}: {text}: we have no {}; {rest}", list.path(), names.join(", ")));
            }
            usable.extend(left.filter(is_protected));
        }
    }
    if usable.is_empty() && !list.is_empty() {
        let why = match lacking.as_slice() {
            [] => "encryption without integrity protects nothing".to_owned(),
            names => format!("we have no {}", names.join(", ")),
        };
        return Err(list.unsupported(why));
    }
    proposal::number(&mut usable);
    Ok(usable)
}

/// Encryption that nothing checks the integrity of is not offered, though ESP's grammar allows it (RFC 8221
/// §4).
fn is_protected(proposal: &Proposal) -> bool {
    let has_integrity = proposal.of(TransformType::INTEG).any(|integ| IntegId(integ.id) != IntegId::NONE);
    has_integrity || proposal.of(TransformType::ENCR).all(|encr| EncrId(encr.id).is_aead())
}
