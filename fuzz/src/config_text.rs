//! The reader of swanctl.conf and strongswan.conf text.

use ferry_vici::settings::{NoFiles, Settings};

/// Takes the octets for the text of a file that includes nothing.
///
/// What can be read can be looked up again by its path; what cannot is refused with a place in the file.
pub fn config_text(data: &[u8]) {
    match Settings::parse(data, "fuzz.conf", &NoFiles) {
        Ok(settings) => {
            for leaf in settings.leaves() {
                assert!(leaf.position().line >= 1);
                let found = settings.setting(leaf.path());
                assert!(found.is_some_and(|found| found.bytes() == leaf.bytes()), "{}", leaf.path());
            }
        }
        Err(error) => assert!(error.to_string().starts_with("fuzz.conf"), "{error}"),
    }
}
