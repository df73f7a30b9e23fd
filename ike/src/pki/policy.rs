//! Certificate policies (RFC 5280 §6.1).
//!
//! The RFC keeps a tree, which certificates can make grow exponentially (CVE-2023-0464). All that is asked of it in the
//! end is which policies below anyPolicy still have a descendant; so for each of these the policies it is called by at
//! the current depth are kept, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use super::Certificate;
use super::oid::Oid;
use super::refusal::{Fault, Refusal};

/// The most policies or mappings of one certificate. More are of no use, and comparing them all takes time.
const MAX_POLICIES: usize = 100;

/// What is known of policies at one depth of a chain, going down from the trust anchor.
pub(super) struct Policies {
    /// Policies by the name they have at the top, and those they are known by here.
    named: BTreeMap<Oid, BTreeSet<Oid>>,
    /// Whether any other policy is valid too.
    any: bool,
    explicit: usize,
    mapping: usize,
    inhibit_any: usize,
}

impl Policies {
    /// RFC 5280 §6.1.2, for a chain of `length` certificates below the trust anchor.
    pub(super) fn new(length: usize) -> Self {
        let unset = length + 1;
        Self { named: BTreeMap::new(), any: true, explicit: unset, mapping: unset, inhibit_any: unset }
    }

    /// RFC 5280 §6.1.3 (d) to (f), and (a) to (j) of §6.1.4 or (a), (b) of §6.1.5.
    pub(super) fn descend(&mut self, certificate: &Certificate, is_last: bool) -> Result<(), Refusal> {
        let extensions = certificate.extensions();
        let is_self_issued = certificate.is_self_issued() && !is_last;
        match &extensions.policies {
            Some(policies) => {
                let count = policies.len().max(extensions.policy_mappings.len());
                if count > MAX_POLICIES {
                    return Err(Fault::TooManyPolicies(count).of(certificate));
                }
                self.keep(policies, is_self_issued);
            }
            None => {
                self.named.clear();
                self.any = false;
            }
        }
        // (f)
        if self.explicit == 0 && !self.is_valid() {
            return Err(Fault::NoPolicy.of(certificate));
        }
        if !is_last {
            self.map(&extensions.policy_mappings);
        }
        if !is_self_issued {
            for count in [&mut self.explicit, &mut self.mapping, &mut self.inhibit_any] {
                *count = count.saturating_sub(1);
            }
        }
        let lower = |count: &mut usize, to: Option<u32>| {
            if let Some(to) = to.and_then(|to| usize::try_from(to).ok()) {
                *count = to.min(*count);
            }
        };
        if let Some(constraints) = &extensions.policy_constraints {
            match constraints.require_explicit_policy {
                // RFC 5280 §6.1.5 (b): only a zero matters at the end.
                Some(skip) if !is_last || skip == 0 => lower(&mut self.explicit, Some(skip)),
                _ => {}
            }
            lower(&mut self.mapping, constraints.inhibit_policy_mapping);
        }
        lower(&mut self.inhibit_any, extensions.inhibit_any_policy);
        if is_last && self.explicit == 0 && !self.is_valid() {
            return Err(Fault::NoPolicy.of(certificate));
        }
        Ok(())
    }

    /// Whether the chain is valid under a policy.
    pub(super) fn allows(&self, policy: Oid) -> bool {
        self.any || self.named.contains_key(&policy)
    }

    fn is_valid(&self) -> bool {
        self.any || !self.named.is_empty()
    }

    /// RFC 5280 §6.1.3 (d).
    fn keep(&mut self, policies: &[Oid], is_self_issued: bool) {
        let given: BTreeSet<Oid> = policies.iter().copied().filter(|oid| *oid != Oid::ANY_POLICY).collect();
        let any_counts = self.inhibit_any > 0 || is_self_issued;
        let is_any = any_counts && policies.contains(&Oid::ANY_POLICY);
        // (1) (ii): those nobody above has named.
        let new: Vec<Oid> = if self.any {
            given
                .iter()
                .copied()
                .filter(|oid| !self.named.values().any(|names| names.contains(oid)))
                .collect()
        } else {
            Vec::new()
        };
        if !is_any {
            self.named.retain(|_, names| {
                names.retain(|name| given.contains(name));
                !names.is_empty()
            });
        }
        self.named.extend(new.into_iter().map(|oid| (oid, BTreeSet::from([oid]))));
        self.any &= is_any;
    }

    /// RFC 5280 §6.1.4 (b).
    fn map(&mut self, mappings: &[(Oid, Oid)]) {
        let mut by_issuer: BTreeMap<Oid, BTreeSet<Oid>> = BTreeMap::new();
        for (issuer, subject) in mappings {
            by_issuer.entry(*issuer).or_default().insert(*subject);
        }
        let mut seen = BTreeSet::new();
        for names in self.named.values_mut() {
            let mapped: Vec<Oid> =
                names.iter().copied().filter(|name| by_issuer.contains_key(name)).collect();
            for name in &mapped {
                names.remove(name);
            }
            if self.mapping > 0 {
                names.extend(mapped.iter().filter_map(|name| by_issuer.get(name)).flatten());
            }
            seen.extend(mapped);
        }
        self.named.retain(|_, names| !names.is_empty());
        if self.any && self.mapping > 0 {
            for (issuer, subjects) in by_issuer {
                if !seen.contains(&issuer) {
                    self.named.entry(issuer).or_default().extend(subjects);
                }
            }
        }
    }
}
