//! Lists of what the daemon has, in swanctl's layout.
//!
//! Each file asks for its list and renders one event or reply; `field` and `joined` are what they share. A key that a
//! daemon should have sent and did not shows as `?`.

pub(crate) mod algs;
pub(crate) mod authorities;
pub(crate) mod certs;
pub(crate) mod conns;
#[cfg(test)]
pub(crate) mod golden;
pub(crate) mod pols;
pub(crate) mod pools;
pub(crate) mod sas;

use ferry_vici::Section;

/// A value that has to be there.
pub(crate) fn field<'a>(section: &'a Section, key: &str) -> &'a str {
    section.str(key).unwrap_or("?")
}

/// The items of a list with blanks between them; empty if there is no such list.
pub(crate) fn joined(section: &Section, key: &str) -> String {
    section.strs(key).collect::<Vec<_>>().join(" ")
}
