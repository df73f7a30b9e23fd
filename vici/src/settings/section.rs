//! Sections and settings as a reader sees them: with all that they inherit.

use std::collections::HashSet;

use super::Settings;
use super::error::Position;
use super::inherit::merge;
use super::tree::{Entry, NodeId, Tree};

/// A section with what it inherits. Cheap to make; borrows the [`Settings`].
#[derive(Clone)]
pub struct Section<'a> {
    settings: &'a Settings,
    /// Own node first, then those inherited from, in order of precedence. Never empty.
    layers: Vec<NodeId>,
    path: String,
}

/// A key that is set, with its value and where it is written.
#[derive(Clone)]
pub struct Setting<'a> {
    path: String,
    entry: &'a Entry,
    value: &'a [u8],
}

impl<'a> Section<'a> {
    pub(super) fn root(settings: &'a Settings) -> Self {
        Self { settings, layers: vec![Tree::ROOT], path: String::new() }
    }

    /// Its full dotted path, as it is reached; empty for the whole file.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Its name; empty for the whole file.
    pub fn name(&self) -> &str {
        self.path.rsplit_once('.').map_or(&self.path, |(_, name)| name)
    }

    /// Where it is written first, or where the first section it inherits from is. `None` for the whole file.
    pub fn position(&self) -> Option<&'a Position> {
        let mut nodes = self.layers.iter().map(|layer| self.settings.tree.node(*layer));
        nodes.find_map(|node| node.position.as_ref())
    }

    /// The text of a key, if it is set and UTF-8.
    pub fn get(&self, key: &str) -> Option<&'a str> {
        std::str::from_utf8(self.setting(key)?.value).ok()
    }

    /// A key that is set here or inherited.
    pub fn setting(&self, key: &str) -> Option<Setting<'a>> {
        // The first layer that has the key decides, also by unsetting it.
        let entry = self.nodes().find_map(|node| node.entry(key))?;
        self.wrap(entry)
    }

    /// A section inside this one.
    pub fn section(&self, name: &str) -> Option<Section<'a>> {
        let mut layers = Vec::new();
        for node in self.nodes() {
            if let Some(child) = node.child(name) {
                merge(&mut layers, self.settings.layers_of(child).iter().copied());
            }
        }
        (!layers.is_empty()).then(|| Section { settings: self.settings, layers, path: self.join(name) })
    }

    /// All keys that are set: own ones in the order they are written, then inherited ones.
    pub fn settings(&self) -> Vec<Setting<'a>> {
        let mut seen = HashSet::new();
        let entries = self.nodes().flat_map(|node| &node.entries);
        let deciding = entries.filter(|entry| seen.insert(entry.name.as_str()));
        deciding.filter_map(|entry| self.wrap(entry)).collect()
    }

    /// All sections inside: own ones in the order they are written, then inherited ones.
    pub fn sections(&self) -> Vec<Section<'a>> {
        let mut seen = HashSet::new();
        let children = self.nodes().flat_map(|node| &node.children);
        let names = children.map(|child| self.settings.tree.node(*child).name.as_str());
        names.filter(|name| seen.insert(*name)).filter_map(|name| self.section(name)).collect()
    }

    /// Appends every setting below. Recurses no deeper than settings may nest.
    pub(super) fn collect_leaves(&self, leaves: &mut Vec<Setting<'a>>) {
        leaves.extend(self.settings());
        for section in self.sections() {
            section.collect_leaves(leaves);
        }
    }

    fn nodes(&self) -> impl Iterator<Item = &'a super::tree::Node> {
        let tree = &self.settings.tree;
        self.layers.iter().map(|layer| tree.node(*layer))
    }

    fn wrap(&self, entry: &'a Entry) -> Option<Setting<'a>> {
        let value = entry.value.as_ref()?;
        Some(Setting { path: self.join(&entry.name), entry, value })
    }

    fn join(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}

impl<'a> Setting<'a> {
    /// The key's full dotted path, as it is reached.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The key itself.
    pub fn name(&self) -> &'a str {
        &self.entry.name
    }

    /// Where the value is written.
    pub fn position(&self) -> &'a Position {
        &self.entry.position
    }

    /// The value's octets. May be secret.
    pub fn bytes(&self) -> &'a [u8] {
        self.value
    }

    /// The value as text, if it is UTF-8.
    pub fn str(&self) -> Option<&'a str> {
        std::str::from_utf8(self.value).ok()
    }
}
