//! The VICI message: an ordered tree of key/values, lists and sections.
//!
//! Order carries meaning (authentication rounds, children, proposals), names may repeat, and a value is any octets.
//! Messages carry private keys and shared secrets, so every value is wiped when it is dropped, and `Debug` shows the
//! shape of a message but no value of it.

use std::fmt;

use zeroize::Zeroizing;

/// A message, or the contents of one section of it: both are a sequence of elements.
///
/// ```
/// use ferry_vici::{Message, Section};
///
/// let message = Message::new()
///     .with("version", 2)
///     .with_list("vips", ["0.0.0.0", "::"])
///     .with_section("children", Section::new().with("name", "lan"));
/// assert_eq!(message.int("version"), Some(2));
/// assert_eq!(message.section("children").and_then(|s| s.str("name")), Some("lan"));
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Message {
    elements: Vec<Element>,
}

/// The contents of a section; the same type as the message around it.
pub type Section = Message;

/// One element of a message or section.
#[derive(Clone, PartialEq, Eq)]
pub enum Element {
    /// `name = value`
    Value {
        /// Key.
        name: String,
        /// Its octets.
        value: Value,
    },
    /// `name = [item item ...]`
    List {
        /// Name of the list.
        name: String,
        /// Its items, in order.
        items: Vec<Value>,
    },
    /// `name { ... }`
    Section {
        /// Name of the section.
        name: String,
        /// Its contents.
        section: Section,
    },
}

/// The octets of a key/value or list item. Wiped on drop; no `Debug` of its contents.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Value(Zeroizing<Vec<u8>>);

impl Message {
    /// An empty message.
    pub const fn new() -> Self {
        Self { elements: Vec::new() }
    }

    /// Appends a key/value.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.push(name, value);
        self
    }

    /// Appends a key/value if there is a value. VICI clients test for presence: what does not apply is left out.
    #[must_use]
    pub fn with_some(self, name: impl Into<String>, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Appends `name = yes` if `is_set`, and nothing otherwise.
    #[must_use]
    pub fn with_flag(self, name: impl Into<String>, is_set: bool) -> Self {
        self.with_some(name, is_set.then_some("yes"))
    }

    /// Appends a list. An empty list is written as such, not left out.
    #[must_use]
    pub fn with_list<V: Into<Value>>(
        mut self,
        name: impl Into<String>,
        items: impl IntoIterator<Item = V>,
    ) -> Self {
        self.push_list(name, items);
        self
    }

    /// Appends a section.
    #[must_use]
    pub fn with_section(mut self, name: impl Into<String>, section: Section) -> Self {
        self.push_section(name, section);
        self
    }

    /// Appends a key/value.
    pub fn push(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.elements.push(Element::Value { name: name.into(), value: value.into() });
    }

    /// Appends a list.
    pub fn push_list<V: Into<Value>>(&mut self, name: impl Into<String>, items: impl IntoIterator<Item = V>) {
        let items = items.into_iter().map(Into::into).collect();
        self.elements.push(Element::List { name: name.into(), items });
    }

    /// Appends a section.
    pub fn push_section(&mut self, name: impl Into<String>, section: Section) {
        self.elements.push(Element::Section { name: name.into(), section });
    }

    /// Appends an element as it is.
    pub fn push_element(&mut self, element: Element) {
        self.elements.push(element);
    }

    /// Whether there is no element at all.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// The elements, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Element> {
        self.elements.iter()
    }

    /// The sections at this level with their names, in order.
    pub fn sections(&self) -> impl Iterator<Item = (&str, &Section)> {
        self.iter().filter_map(|element| match element {
            Element::Section { name, section } => Some((name.as_str(), section)),
            Element::Value { .. } | Element::List { .. } => None,
        })
    }

    /// The octets of the first key/value of this name at this level.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find_map(|element| match element {
            Element::Value { name: found, value } if found == name => Some(value.bytes()),
            Element::Value { .. } | Element::List { .. } | Element::Section { .. } => None,
        })
    }

    /// Whether there is a key/value of this name, whatever its value. Some VICI options are set by being there, even as
    /// `no`.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The text of the first key/value of this name. One octet that is not printable ASCII makes it absent, as charon
    /// and libvici have it.
    pub fn str(&self, name: &str) -> Option<&str> {
        printable(self.get(name)?)
    }

    /// The number in the first key/value of this name: decimal, `0x` hexadecimal or `0` octal, with an optional sign.
    /// Anything else counts as absent, the empty text and numbers beyond 64 bits included.
    pub fn int(&self, name: &str) -> Option<i64> {
        parse_int(self.str(name)?)
    }

    /// The truth in the first key/value of this name: `1 yes true enabled` or `0 no false disabled` in any case.
    /// Anything else counts as absent.
    pub fn bool(&self, name: &str) -> Option<bool> {
        parse_bool(self.str(name)?)
    }

    /// The first section of this name at this level.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections().find_map(|(found, section)| (found == name).then_some(section))
    }

    /// The items of the first list of this name at this level.
    pub fn list(&self, name: &str) -> Option<&[Value]> {
        self.iter().find_map(|element| match element {
            Element::List { name: found, items } if found == name => Some(items.as_slice()),
            Element::Value { .. } | Element::List { .. } | Element::Section { .. } => None,
        })
    }

    /// The printable items of the first list of this name; none if there is no such list.
    pub fn strs(&self, name: &str) -> impl Iterator<Item = &str> {
        self.list(name).unwrap_or_default().iter().filter_map(Value::str)
    }
}

impl<'a> IntoIterator for &'a Message {
    type Item = &'a Element;
    type IntoIter = std::slice::Iter<'a, Element>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<Element> for Message {
    fn from_iter<I: IntoIterator<Item = Element>>(elements: I) -> Self {
        Self { elements: elements.into_iter().collect() }
    }
}

impl Extend<Element> for Message {
    fn extend<I: IntoIterator<Item = Element>>(&mut self, elements: I) {
        self.elements.extend(elements);
    }
}

impl Element {
    /// The name of the key, list or section.
    pub fn name(&self) -> &str {
        match self {
            Self::Value { name, .. } | Self::List { name, .. } | Self::Section { name, .. } => name,
        }
    }
}

impl Value {
    /// The octets.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text, if all of it is printable ASCII.
    pub fn str(&self) -> Option<&str> {
        printable(&self.0)
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

impl From<Vec<u8>> for Value {
    fn from(octets: Vec<u8>) -> Self {
        Self(Zeroizing::new(octets))
    }
}

impl From<Zeroizing<Vec<u8>>> for Value {
    fn from(octets: Zeroizing<Vec<u8>>) -> Self {
        Self(octets)
    }
}

impl From<&[u8]> for Value {
    fn from(octets: &[u8]) -> Self {
        octets.to_vec().into()
    }
}

impl<const N: usize> From<&[u8; N]> for Value {
    fn from(octets: &[u8; N]) -> Self {
        octets.to_vec().into()
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        text.as_bytes().into()
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        text.as_bytes().into()
    }
}

macro_rules! value_from_number {
    ($($number:ty)*) => { $(
        impl From<$number> for Value {
            /// Decimal text, as VICI writes numbers.
            fn from(number: $number) -> Self {
                number.to_string().into()
            }
        }
    )* };
}
value_from_number!(u8 u16 u32 u64 usize i32 i64);

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(&self.elements).finish()
    }
}

impl fmt::Debug for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value { name, value } => write!(f, "{name} = {value:?}"),
            Self::List { name, items } => write!(f, "{name} = {items:?}"),
            Self::Section { name, section } => write!(f, "{name} {section:?}"),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} octets>", self.0.len())
    }
}

/// Printable in the C locale: ASCII from the blank to the tilde.
pub(crate) fn is_printable(octets: &[u8]) -> bool {
    octets.iter().all(|octet| (b' '..=b'~').contains(octet))
}

fn printable(octets: &[u8]) -> Option<&str> {
    if is_printable(octets) { std::str::from_utf8(octets).ok() } else { None }
}

/// The whole text as a number in the manner of C's `strtol` with base 0.
pub(crate) fn parse_int(text: &str) -> Option<i64> {
    let text = text.trim_start_matches(|c: char| c.is_ascii_whitespace());
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, radix) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (digits, 8),
        None => (digits, 10),
    };
    if digits.starts_with(['+', '-']) {
        return None; // from_str_radix would take a second sign
    }
    let magnitude = i128::from(u64::from_str_radix(digits, radix).ok()?);
    i64::try_from(if is_negative { -magnitude } else { magnitude }).ok()
}

/// The words that VICI and the configuration files use for true and false.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    const TRUE: [&str; 4] = ["1", "yes", "true", "enabled"];
    const FALSE: [&str; 4] = ["0", "no", "false", "disabled"];
    let is_one_of = |words: [&str; 4]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    if is_one_of(TRUE) {
        Some(true)
    } else if is_one_of(FALSE) {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookups_find_the_first_of_their_kind() {
        let message = Message::new()
            .with_list("x", ["a", "b"])
            .with_section("x", Section::new().with("y", "in"))
            .with("x", "first")
            .with("x", "second");
        assert_eq!(message.str("x"), Some("first"));
        assert_eq!(message.strs("x").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(message.section("x").and_then(|s| s.str("y")), Some("in"));
        assert_eq!(message.str("y"), None);
        let kinds: Vec<_> = message.iter().map(Element::name).collect();
        assert_eq!(kinds, ["x"; 4]);
    }

    #[test]
    fn a_value_with_a_non_printable_octet_is_no_text() {
        let message = Message::new()
            .with("bad", b"caf\xc3\xa9")
            .with("bad", "good")
            .with("tab", "a\tb")
            .with("empty", "");
        assert_eq!(message.str("bad"), None, "the first value decides");
        assert_eq!(message.str("tab"), None);
        assert_eq!(message.str("empty"), Some(""));
        assert_eq!(message.get("bad"), Some(b"caf\xc3\xa9".as_slice()));
        assert!(message.contains("bad"));
    }

    #[test]
    fn numbers_are_read_as_strtol_does() {
        let cases = [
            ("16", Some(16)),
            ("0x10", Some(16)),
            ("0X1f", Some(31)),
            ("010", Some(8)),
            ("0", Some(0)),
            ("-5", Some(-5)),
            ("+7", Some(7)),
            (" 9", Some(9)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("", None),
            ("0x", None),
            ("08", None),
            ("9 ", None),
            ("1s", None),
            ("--1", None),
            ("0x-1", None),
        ];
        for (text, number) in cases {
            assert_eq!(Message::new().with("n", text).int("n"), number, "{text:?}");
        }
    }

    #[test]
    fn booleans_are_words() {
        for (text, expected) in [
            ("YES", Some(true)),
            ("1", Some(true)),
            ("Enabled", Some(true)),
            ("no", Some(false)),
            ("disabled", Some(false)),
            ("", None),
            ("on", None),
        ] {
            assert_eq!(Message::new().with("b", text).bool("b"), expected, "{text:?}");
        }
    }

    #[test]
    fn what_does_not_apply_is_left_out() {
        let message =
            Message::new().with_flag("nat", false).with_flag("encap", true).with_some("cpi", None::<u16>);
        assert_eq!(message, Message::new().with("encap", "yes"));
    }

    #[test]
    fn debug_shows_no_value() {
        let message = Message::new().with("data", "hunter2").with_list("owners", ["hunter2"]);
        let shown = format!("{message:?}");
        assert!(shown.contains("data") && shown.contains("7 octets"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
