//! What follows when a connection takes the place of another of its name.

use std::sync::Arc;

use ferry_ike::config::{Child, ChildAction, Connection};

/// How a connection came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// There was none of its name.
    Added,
    /// Its children were exchanged; IKE_SAs go on.
    Updated,
    /// Everything was exchanged.
    Replaced,
    /// Nothing differs.
    Unchanged,
}

/// What is to be done about children.
#[derive(Debug, PartialEq)]
pub(super) struct Change {
    /// How the connection came to be.
    pub(super) kind: Kind,
    /// What was done of our own accord and is wanted no longer.
    pub(super) undo: Vec<Arc<Child>>,
    /// What is to be done of our own accord.
    pub(super) start: Vec<Arc<Child>>,
}

/// Compares a connection with the one it replaces. Children that are the same are shared with it afterwards.
pub(super) fn merge(old: Option<&Connection>, new: &mut Connection) -> Change {
    let Some(old) = old else {
        return Change { kind: Kind::Added, undo: Vec::new(), start: acting(new.children.iter()) };
    };
    if *old == *new {
        new.children.clone_from(&old.children);
        return Change { kind: Kind::Unchanged, undo: Vec::new(), start: Vec::new() };
    }
    if !is_same_ike(old, new) {
        let (undo, start) = (acting(old.children.iter()), acting(new.children.iter()));
        return Change { kind: Kind::Replaced, undo, start };
    }
    for child in &mut new.children {
        if let Some(same) = old.children.iter().find(|other| *other == child) {
            *child = Arc::clone(same);
        }
    }
    let gone = old.children.iter().filter(|child| !has_like(&new.children, child));
    let fresh = new.children.iter().filter(|child| !has_like(&old.children, child));
    Change { kind: Kind::Updated, undo: acting(gone), start: acting(fresh) }
}

/// Whether two connections differ in their children at most.
fn is_same_ike(old: &Connection, new: &Connection) -> bool {
    let without_children =
        |connection: &Connection| Connection { children: Vec::new(), ..connection.clone() };
    without_children(old) == without_children(new)
}

/// Whether one of `children` has the settings of `child`, whatever its name.
pub(super) fn has_like(children: &[Arc<Child>], child: &Child) -> bool {
    children.iter().any(|other| Child { name: child.name.clone(), ..Child::clone(other) } == *child)
}

/// Those that do something of their own accord.
pub(super) fn acting<'a>(children: impl Iterator<Item = &'a Arc<Child>>) -> Vec<Arc<Child>> {
    children.filter(|child| child.start_action != ChildAction::None).cloned().collect()
}

#[cfg(test)]
mod tests {
    use ferry_vici::Section;

    use super::*;
    use crate::connections;
    use crate::store::tests::{DEFAULTS, connection};

    fn child(reqid: u32) -> Section {
        Section::new().with("start_action", "start").with("reqid", reqid)
    }

    fn parse(section: &Section) -> Connection {
        connections::parse("gw", section, &DEFAULTS).unwrap().connection
    }

    fn change(old: Option<&Section>, new: &Section) -> (Kind, Vec<String>, Vec<String>) {
        let old = old.map(parse);
        let change = merge(old.as_ref(), &mut parse(new));
        let names = |children: Vec<Arc<Child>>| children.iter().map(|child| child.name.clone()).collect();
        (change.kind, names(change.undo), names(change.start))
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_new_connection_starts_its_children() {
        let new = connection(&[("a", child(1)), ("b", Section::new())]);
        assert_eq!(change(None, &new), (Kind::Added, names(&[]), names(&["a"])));
    }

    #[test]
    fn the_same_connection_again_changes_nothing() {
        let new = connection(&[("a", child(1))]);
        assert_eq!(change(Some(&new), &new), (Kind::Unchanged, names(&[]), names(&[])));
    }

    #[test]
    fn children_that_stay_the_same_are_left_alone_even_under_another_name() {
        let old = connection(&[("a", child(1)), ("b", child(2)), ("c", child(3)), ("d", Section::new())]);
        let new = connection(&[("a", child(1)), ("b", child(9)), ("x", child(3))]);
        assert_eq!(change(Some(&old), &new), (Kind::Updated, names(&["b"]), names(&["b"])));
    }

    #[test]
    fn another_ike_configuration_begins_anew() {
        let old = connection(&[("a", child(1)), ("b", Section::new())]);
        let new = connection(&[("a", child(1))]).with("encap", "yes");
        assert_eq!(change(Some(&old), &new), (Kind::Replaced, names(&["a"]), names(&["a"])));
    }

    #[test]
    fn what_is_the_same_is_shared() {
        let old = parse(&connection(&[("a", child(1)), ("b", child(2))]));
        let mut new = parse(&connection(&[("a", child(1)), ("b", child(3))]));
        merge(Some(&old), &mut new);
        assert!(Arc::ptr_eq(&old.children[0], &new.children[0]));
        assert!(!Arc::ptr_eq(&old.children[1], &new.children[1]));
    }
}
