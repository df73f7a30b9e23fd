//! Inheritance: `name : first, second.part { }`.
//!
//! A section consists of layers: itself, then each section it refers to with that section's own layers, depth first.
//! A key is taken from the first layer that has it. A subsection consists of the subsections of that name in all layers.
//!
//! References are paths from the root and are looked up when all files are read, so their targets may stand anywhere
//! and be inherited themselves. Since every node's layers are known then, whatever is read later only follows lists.

use super::error::{Position, SettingsError, Warning};
use super::tree::{NodeId, Tree};
use super::{MAX_DEPTH, Settings};

/// Sections that may follow each other in `a : b`, `b : c`, ...
const MAX_CHAIN: usize = 64;

/// Sections that one section may inherit from.
const MAX_LAYERS: usize = 1024;

/// Settings after inheritance, in all. A gateway with ten thousand connections has some hundred thousand.
const MAX_SETTINGS: usize = 4_000_000;

/// The layers of every section.
pub(super) fn resolve(tree: &Tree, warnings: &mut Vec<Warning>) -> Result<Vec<Vec<NodeId>>, SettingsError> {
    let mut resolver =
        Resolver { tree, layers: vec![State::Unknown; tree.ids().count()], total: 0, warnings };
    let layers = tree.ids().map(|id| resolver.layers(id, 0)).collect::<Result<Vec<_>, _>>()?;
    check_extent(tree, &layers)?;
    Ok(layers)
}

#[derive(Clone)]
enum State {
    Unknown,
    InProgress,
    Known(Vec<NodeId>),
}

struct Resolver<'t> {
    tree: &'t Tree,
    layers: Vec<State>,
    total: usize,
    warnings: &'t mut Vec<Warning>,
}

impl Resolver<'_> {
    /// The layers of one section. Recurses along references only, `chain` of them so far.
    fn layers(&mut self, id: NodeId, chain: usize) -> Result<Vec<NodeId>, SettingsError> {
        match self.layers.get(id.index()) {
            Some(State::Known(layers)) => return Ok(layers.clone()),
            Some(State::InProgress) => {
                return Err(SettingsError::InheritanceLoop {
                    position: position(self.tree, id),
                    section: self.tree.path(id),
                });
            }
            Some(State::Unknown) | None => {}
        }
        if chain > MAX_CHAIN {
            let what = format!("over more than {MAX_CHAIN} steps");
            return Err(too_much(self.tree, id, what));
        }
        self.record(id, State::InProgress);
        let mut layers = vec![id];
        for reference in &self.tree.node(id).references {
            let targets = self.find(&reference.path, chain + 1)?;
            if targets.is_empty() {
                let what = format!("there is no section '{}' to inherit from", reference.path.join("."));
                self.warnings.push(Warning { position: reference.position.clone(), what });
            }
            merge(&mut layers, targets);
            if layers.len() > MAX_LAYERS {
                return Err(too_much(self.tree, id, format!("from more than {MAX_LAYERS} sections")));
            }
        }
        self.total += layers.len();
        if self.total > MAX_SETTINGS {
            return Err(too_much(self.tree, id, "more sections than can be followed".into()));
        }
        self.record(id, State::Known(layers.clone()));
        Ok(layers)
    }

    /// The layers of the section at a path; none if there is no such section.
    fn find(&mut self, path: &[String], chain: usize) -> Result<Vec<NodeId>, SettingsError> {
        let mut layers = vec![Tree::ROOT];
        for name in path {
            let mut next = Vec::new();
            for layer in layers {
                if let Some(child) = self.tree.node(layer).child(name) {
                    merge(&mut next, self.layers(child, chain)?);
                }
            }
            layers = next;
        }
        Ok(layers)
    }

    fn record(&mut self, id: NodeId, state: State) {
        if let Some(place) = self.layers.get_mut(id.index()) {
            *place = state;
        }
    }
}

/// Appends the layers that are not there yet.
pub(super) fn merge(layers: &mut Vec<NodeId>, more: impl IntoIterator<Item = NodeId>) {
    for layer in more {
        if !layers.contains(&layer) {
            layers.push(layer);
        }
    }
}

/// How far a section reaches with all it inherits: how deep, and how many settings at most.
#[derive(Clone, Copy)]
struct Extent {
    depth: usize,
    settings: usize,
}

/// Makes sure that walking the settings comes to an end, and soon.
///
/// `a { b : a { } }` has a section a.b.b.b... without end although no section's layers loop, and eight lines can ask for
/// a billion settings. So the sections inside and the layers of each section are followed, on a stack of our own.
fn check_extent(tree: &Tree, layers: &[Vec<NodeId>]) -> Result<(), SettingsError> {
    let mut extents: Vec<Option<Extent>> = vec![None; layers.len()];
    let mut entered = vec![false; layers.len()];
    let mut stack = vec![Tree::ROOT];
    let below = |id: NodeId| {
        let inherited = layers.get(id.index()).into_iter().flatten().skip(1).map(|layer| (0, *layer));
        let inside = tree.node(id).children.iter().map(|child| (1, *child));
        inherited.chain(inside)
    };
    while let Some(&id) = stack.last() {
        if extents.get(id.index()).is_none_or(Option::is_some) {
            stack.pop();
            continue;
        }
        let was_entered = entered.get_mut(id.index()).is_some_and(|entered| std::mem::replace(entered, true));
        if !was_entered {
            for (_, next) in below(id) {
                if extents.get(next.index()).is_some_and(Option::is_none) {
                    if entered.get(next.index()) == Some(&true) {
                        let (position, section) = (position(tree, next), tree.path(next));
                        return Err(SettingsError::InheritanceLoop { position, section });
                    }
                    stack.push(next);
                }
            }
            continue;
        }
        let mut extent = Extent { depth: 0, settings: tree.node(id).entries.len() + 1 };
        for (step, next) in below(id) {
            let Some(Some(other)) = extents.get(next.index()) else { continue };
            extent.depth = extent.depth.max(other.depth + step);
            extent.settings = extent.settings.saturating_add(other.settings);
        }
        if extent.depth > MAX_DEPTH {
            return Err(SettingsError::TooDeep { position: position(tree, id) });
        }
        if extent.settings > MAX_SETTINGS {
            return Err(too_much(tree, id, format!("more than {MAX_SETTINGS} settings")));
        }
        if let Some(place) = extents.get_mut(id.index()) {
            *place = Some(extent);
        }
        stack.pop();
    }
    Ok(())
}

fn too_much(tree: &Tree, id: NodeId, what: String) -> SettingsError {
    SettingsError::InheritsTooMuch { position: position(tree, id), section: tree.path(id), what }
}

/// Where a section is written first; for the root, where anything is.
fn position(tree: &Tree, id: NodeId) -> Position {
    let node = tree.node(id);
    let first_inside = || node.children.iter().find_map(|child| tree.node(*child).position.clone());
    node.position.clone().or_else(first_inside).unwrap_or(Position {
        file: std::path::Path::new("").into(),
        line: 1,
        column: 1,
    })
}

impl Settings {
    /// The layers of a section.
    pub(super) fn layers_of(&self, id: NodeId) -> &[NodeId] {
        self.layers.get(id.index()).map_or(&[], Vec::as_slice)
    }
}
