//! Sections and keys as the text has them, before inheritance.
//!
//! Nodes live in one vector and know each other by number: dropping a deep tree then needs no deep stack.

use std::collections::HashMap;

use zeroize::Zeroizing;

use super::error::Position;

/// Number of a section in its [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct NodeId(usize);

/// All sections of a file and what it includes.
pub(super) struct Tree {
    nodes: Vec<Node>,
}

/// One section. Written in several places it is still one node.
#[derive(Default)]
pub(super) struct Node {
    pub(super) name: String,
    /// Where it is written first; nothing for the root.
    pub(super) position: Option<Position>,
    pub(super) parent: Option<NodeId>,
    /// Keys in order of first appearance.
    pub(super) entries: Vec<Entry>,
    /// Sections in order of first appearance.
    pub(super) children: Vec<NodeId>,
    /// Sections to inherit from, in order of precedence.
    pub(super) references: Vec<Reference>,
    entry_index: HashMap<String, usize>,
    child_index: HashMap<String, NodeId>,
}

/// A key in a section.
pub(super) struct Entry {
    pub(super) name: String,
    /// Nothing if it was unset.
    pub(super) value: Option<Zeroizing<Vec<u8>>>,
    /// Where the value that counts is written.
    pub(super) position: Position,
}

/// A section's wish to inherit from another.
pub(super) struct Reference {
    /// Names from the root of the settings.
    pub(super) path: Vec<String>,
    pub(super) position: Position,
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    pub(super) const ROOT: NodeId = NodeId(0);

    pub(super) fn new() -> Self {
        Self { nodes: vec![Node::default()] }
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.nodes.len()).map(NodeId)
    }

    #[expect(clippy::indexing_slicing, reason = "a NodeId comes from this tree, and nodes are never removed")]
    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    #[expect(clippy::indexing_slicing, reason = "a NodeId comes from this tree, and nodes are never removed")]
    fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0]
    }

    /// The section of this name, made if it is not there yet.
    pub(super) fn open(&mut self, parent: NodeId, name: &str, position: Position) -> NodeId {
        if let Some(child) = self.node(parent).child(name) {
            return child;
        }
        let id = NodeId(self.nodes.len());
        let (name, parent_id) = (name.to_owned(), Some(parent));
        let parent = self.node_mut(parent);
        parent.children.push(id);
        parent.child_index.insert(name.clone(), id);
        self.nodes.push(Node { name, position: Some(position), parent: parent_id, ..Node::default() });
        id
    }

    /// Sets or unsets a key. One that was there keeps its place among the others.
    pub(super) fn set(&mut self, section: NodeId, entry: Entry) {
        let node = self.node_mut(section);
        let place = node.entry_index.get(&entry.name).and_then(|index| node.entries.get_mut(*index));
        match place {
            Some(place) => *place = entry,
            None => {
                node.entry_index.insert(entry.name.clone(), node.entries.len());
                node.entries.push(entry);
            }
        }
    }

    pub(super) fn inherit(&mut self, section: NodeId, references: Vec<Reference>) {
        self.node_mut(section).references.extend(references);
    }

    /// The full dotted path of a section; empty for the root.
    pub(super) fn path(&self, id: NodeId) -> String {
        let mut names = Vec::new();
        let mut node = self.node(id);
        while let Some(parent) = node.parent {
            names.push(node.name.as_str());
            node = self.node(parent);
        }
        names.reverse();
        names.join(".")
    }
}

impl Node {
    pub(super) fn child(&self, name: &str) -> Option<NodeId> {
        self.child_index.get(name).copied()
    }

    pub(super) fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.get(*self.entry_index.get(name)?)
    }
}
impl NodeId {
    /// Where the section stands in a vector with one place per section.
    pub(super) fn index(self) -> usize {
        self.0
    }
}
