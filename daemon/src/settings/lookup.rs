//! Finding a setting in one of several sections.

use std::time::Duration;

use ferry_vici::settings::{BadValue, Section, Setting, Settings as Text};

/// Top-level sections that hold our settings, the nearest first.
pub(super) const NAMESPACES: [&str; 4] = ["ferryd", "charon-systemd", "charon", "libstrongswan"];

/// strongswan.conf as one program reads it.
pub(super) struct Lookup<'a> {
    namespaces: Vec<Section<'a>>,
}

impl<'a> Lookup<'a> {
    /// Looks in the sections of [`NAMESPACES`].
    pub(super) fn new(text: &'a Text) -> Self {
        Self { namespaces: NAMESPACES.iter().filter_map(|name| text.section(name)).collect() }
    }

    /// The setting at a dotted path.
    pub(super) fn setting(&self, path: &str) -> Option<Setting<'a>> {
        let (section, key) = path.rsplit_once('.').map_or((None, path), |(s, k)| (Some(s), k));
        self.namespaces.iter().find_map(|namespace| match section {
            Some(section) => descend(namespace, section)?.setting(key),
            None => namespace.setting(key),
        })
    }

    /// The section at a dotted path, in every namespace that has it, the nearest first.
    pub(super) fn layers(&self, path: &str) -> Vec<Section<'a>> {
        self.namespaces.iter().filter_map(|namespace| descend(namespace, path)).collect()
    }

    /// Names of the sections inside the section at a dotted path, in all namespaces.
    pub(super) fn sections(&self, path: &str) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for section in self.layers(path).iter().flat_map(Section::sections) {
            if !names.iter().any(|name| name == section.name()) {
                names.push(section.name().to_owned());
            }
        }
        names
    }

    pub(super) fn text(&self, path: &str) -> Result<Option<&'a str>, BadValue> {
        let Some(setting) = self.setting(path) else { return Ok(None) };
        setting.str().map(Some).ok_or_else(|| setting.bad("text in UTF-8"))
    }

    pub(super) fn bool(&self, path: &str, default: bool) -> Result<bool, BadValue> {
        self.setting(path).map_or(Ok(default), |setting| setting.bool())
    }

    pub(super) fn time(&self, path: &str, default: Duration) -> Result<Duration, BadValue> {
        self.setting(path).map_or(Ok(default), |setting| setting.time())
    }

    /// A whole number in a range that its type and `check` give; `expected` names the range.
    pub(super) fn number<N: TryFrom<i64>>(
        &self,
        path: &str,
        default: N,
        expected: &str,
        check: impl Fn(&N) -> bool,
    ) -> Result<N, BadValue> {
        let Some(setting) = self.setting(path) else { return Ok(default) };
        let number = setting.int().map_err(|_| setting.bad(expected))?;
        N::try_from(number).ok().filter(check).ok_or_else(|| setting.bad(expected))
    }

    /// A number of seconds, with or without a fraction, that is not negative.
    pub(super) fn seconds(&self, path: &str, default: Duration) -> Result<Duration, BadValue> {
        let Some(setting) = self.setting(path) else { return Ok(default) };
        let expected = "a number of seconds, such as 4.0";
        let seconds = setting.float().map_err(|_| setting.bad(expected))?;
        Duration::try_from_secs_f64(seconds).map_err(|_| setting.bad(expected))
    }
}

fn descend<'a>(section: &Section<'a>, path: &str) -> Option<Section<'a>> {
    path.split('.').try_fold(section.clone(), |section, name| section.section(name))
}
