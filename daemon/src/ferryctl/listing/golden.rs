//! Messages as files, in the form that `--pretty` shows them, and the text that has to become of them.

use ferry_vici::{Message, dump};

/// Renders the messages of a golden file, one after the other, and compares.
#[track_caller]
pub(crate) fn check(render: impl Fn(&Message) -> String, messages: &str, expected: &str) {
    let rendered: String = parse(messages).iter().map(render).collect();
    assert_eq!(rendered, expected);
}

/// The messages of `label { ... }` blocks.
fn parse(text: &str) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut open: Vec<(String, Message)> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let line = line.trim_start();
        if let Some(name) = line.strip_suffix(" = [") {
            let items = lines.by_ref().map(str::trim_start).take_while(|line| *line != "]");
            open.last_mut().unwrap().1.push_list(name, items.collect::<Vec<_>>());
        } else if let Some(name) = line.strip_suffix('{') {
            open.push((name.trim_end().to_owned(), Message::new()));
        } else if line == "}" {
            let (name, message) = open.pop().unwrap();
            match open.last_mut() {
                Some((_, outer)) => outer.push_section(name, message),
                None => messages.push(message),
            }
        } else {
            let (key, value) = line.split_once(" = ").unwrap_or_else(|| panic!("not an element: {line:?}"));
            open.last_mut().unwrap().1.push(key, value);
        }
    }
    assert!(open.is_empty(), "section is not closed: {:?}", open.last());
    messages
}

#[test]
fn golden_files_are_what_pretty_shows() {
    let text = include_str!("../golden/list-sas.message");
    let shown: String = parse(text).iter().map(|message| dump::pretty("list-sa event", message)).collect();
    assert_eq!(shown, text);
}
