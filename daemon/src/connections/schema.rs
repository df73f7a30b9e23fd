//! The elements of a section, each with its full path.

use std::net::IpAddr;
use std::time::Duration;

use ferry_ike::identity::Identity;
use ferry_vici::{Element, Section, Value};

use super::error::ConfigError;
use super::values;

/// One element of a section.
pub(crate) enum Item<'a> {
    /// A key and its value.
    Value(Key<'a>),
    /// A list.
    List(List<'a>),
    /// A section.
    Section(Inner<'a>),
}

/// A key and its value.
pub(crate) struct Key<'a> {
    pub(crate) name: &'a str,
    path: String,
    value: &'a Value,
}

/// A list.
pub(crate) struct List<'a> {
    pub(crate) name: &'a str,
    path: String,
    items: &'a [Value],
}

/// A section inside.
pub(crate) struct Inner<'a> {
    pub(crate) name: &'a str,
    pub(crate) path: String,
    pub(crate) section: &'a Section,
}

/// The elements of a section, in order.
pub(crate) struct Items;

impl Items {
    /// Elements of the section that is at `path`.
    pub(crate) fn of<'a>(section: &'a Section, path: &str) -> impl Iterator<Item = Item<'a>> {
        section.iter().map(move |element| {
            let path = format!("{path}.{}", element.name());
            match element {
                Element::Value { name, value } => Item::Value(Key { name, path, value }),
                Element::List { name, items } => Item::List(List { name, path, items }),
                Element::Section { name, section } => Item::Section(Inner { name, path, section }),
            }
        })
    }
}

impl<'a> Key<'a> {
    /// The value as text.
    pub(crate) fn text(&self) -> Result<&'a str, ConfigError> {
        std::str::from_utf8(self.value.bytes()).map_err(|_| self.invalid("text in UTF-8"))
    }

    /// `yes` or `no`, or another word for these.
    pub(crate) fn bool(&self) -> Result<bool, ConfigError> {
        self.read("yes or no", values::boolean)
    }

    /// A whole number, decimal or `0x` hexadecimal, that the type can hold.
    pub(crate) fn number<N: TryFrom<u64>>(&self, expected: &str) -> Result<N, ConfigError> {
        self.read(expected, |text| values::number(text).and_then(|number| N::try_from(number).ok()))
    }

    /// A time.
    pub(crate) fn time(&self) -> Result<Duration, ConfigError> {
        self.read("a time such as 30, 30s, 5m, 4h or 1d", values::time)
    }

    /// A number of octets.
    pub(crate) fn octets(&self) -> Result<u64, ConfigError> {
        self.read("a number of octets such as 500m, with k, m or g for powers of 1024", values::octets)
    }

    /// One of some words, in any case.
    pub(crate) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, ConfigError> {
        let text = self.text()?;
        let chosen = choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
        chosen.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            self.invalid(format!("one of {}", words.join(", ")))
        })
    }

    /// An identity.
    pub(crate) fn identity(&self) -> Result<Identity, ConfigError> {
        Identity::parse(self.text()?).map_err(|error| self.invalid(format!("an identity ({error})")))
    }

    /// What `read` makes of the text.
    pub(crate) fn read<T>(&self, expected: &str, read: impl Fn(&str) -> Option<T>) -> Result<T, ConfigError> {
        read(self.text()?).ok_or_else(|| self.invalid(expected))
    }

    /// There is no such key.
    pub(crate) fn unknown(&self) -> ConfigError {
        ConfigError::Unknown { kind: "key", path: self.path.clone() }
    }

    /// The value is not what it should be.
    pub(crate) fn invalid(&self, expected: impl Into<String>) -> ConfigError {
        ConfigError::Invalid { path: self.path.clone(), value: self.shown(), expected: expected.into() }
    }

    /// The value means something that we cannot do.
    pub(crate) fn unsupported(&self, reason: impl Into<String>) -> ConfigError {
        ConfigError::Unsupported { path: self.path.clone(), value: self.shown(), reason: reason.into() }
    }

    /// A sentence for a value that has no effect.
    pub(crate) fn remark(&self, why: &str) -> String {
        format!("{} = {} has no effect yet: {why}", self.path, self.shown())
    }

    fn shown(&self) -> String {
        shown(self.value)
    }
}

impl<'a> List<'a> {
    /// The items as text, each read by `read`, which says what it expects instead.
    pub(crate) fn read<T>(&self, read: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, ConfigError> {
        let mut values = Vec::with_capacity(self.items.len());
        for item in self.items {
            let text = std::str::from_utf8(item.bytes()).map_err(|_| self.invalid(item, "text in UTF-8"))?;
            values.push(read(text).map_err(|expected| self.invalid(item, expected))?);
        }
        Ok(values)
    }

    /// The items as octets, each read by `read`, which says what is wrong with it.
    pub(crate) fn read_octets<T>(
        &self,
        read: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<Vec<T>, ConfigError> {
        self.items.iter().map(|item| read(item.bytes()).map_err(|error| self.invalid(item, error))).collect()
    }

    /// Addresses.
    pub(crate) fn addresses(&self, special: &[(&str, IpAddr)]) -> Result<Vec<IpAddr>, ConfigError> {
        self.read(|text| {
            let special = special.iter().find(|(word, _)| *word == text).map(|(_, address)| *address);
            special.or_else(|| text.parse().ok()).ok_or_else(|| "an IP address".to_owned())
        })
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The full path.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// There is no such list.
    pub(crate) fn unknown(&self) -> ConfigError {
        ConfigError::Unknown { kind: "list", path: self.path.clone() }
    }

    /// What is in the list means something that we cannot do.
    pub(crate) fn unsupported(&self, reason: impl Into<String>) -> ConfigError {
        let shown: Vec<_> = self.items.iter().map(shown).collect();
        ConfigError::Unsupported { path: self.path.clone(), value: shown.join(", "), reason: reason.into() }
    }

    fn invalid(&self, item: &Value, expected: impl Into<String>) -> ConfigError {
        ConfigError::Invalid { path: self.path.clone(), value: shown(item), expected: expected.into() }
    }
}

impl Inner<'_> {
    /// There is no such section.
    pub(crate) fn unknown(&self) -> ConfigError {
        ConfigError::Unknown { kind: "section", path: self.path.clone() }
    }

    /// Something is wrong with the section as a whole.
    pub(crate) fn problem(&self, problem: impl Into<String>) -> ConfigError {
        ConfigError::Problem { path: self.path.clone(), problem: problem.into() }
    }
}

/// A value in an error: its text, or how long it is if it is none (certificates are not).
fn shown(value: &Value) -> String {
    const LONGEST: usize = 200;
    match std::str::from_utf8(value.bytes()) {
        Ok(text) if text.len() <= LONGEST => text.escape_debug().to_string(),
        Ok(_) | Err(_) => format!("({} octets)", value.bytes().len()),
    }
}
