//! Messages as text, the way `swanctl --raw` and `swanctl --pretty` show them.
//!
//! Values with octets that are not printable are shown as `0x` and hexadecimal digits.

use std::fmt::Write as _;

use crate::message::{Element, Message, Value};

/// One line: `label {key=value list=[a b] section {key=value}}`, without a line end.
pub fn raw(label: &str, message: &Message) -> String {
    let mut text = format!("{label} {{");
    raw_elements(message, &mut text);
    text.push('}');
    text
}

fn raw_elements(message: &Message, text: &mut String) {
    for (index, element) in message.iter().enumerate() {
        if index > 0 {
            text.push(' ');
        }
        text.push_str(element.name());
        match element {
            Element::Value { value, .. } => {
                text.push('=');
                push_value(value, text);
            }
            Element::List { items, .. } => {
                text.push_str("=[");
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        text.push(' ');
                    }
                    push_value(item, text);
                }
                text.push(']');
            }
            Element::Section { section, .. } => {
                text.push_str(" {");
                raw_elements(section, text);
                text.push('}');
            }
        }
    }
}

/// One element to a line, indented by two blanks for each level, with a line end.
pub fn pretty(label: &str, message: &Message) -> String {
    let mut text = format!("{label} {{\n");
    pretty_elements(message, 1, &mut text);
    text.push_str("}\n");
    text
}

fn pretty_elements(message: &Message, level: usize, text: &mut String) {
    let indent = "  ".repeat(level);
    for element in message {
        text.push_str(&indent);
        text.push_str(element.name());
        match element {
            Element::Value { value, .. } => {
                text.push_str(" = ");
                push_value(value, text);
            }
            Element::List { items, .. } => {
                text.push_str(" = [\n");
                for item in items {
                    text.push_str(&indent);
                    text.push_str("  ");
                    push_value(item, text);
                    text.push('\n');
                }
                text.push_str(&indent);
                text.push(']');
            }
            Element::Section { section, .. } => {
                text.push_str(" {\n");
                pretty_elements(section, level + 1, text);
                text.push_str(&indent);
                text.push('}');
            }
        }
        text.push('\n');
    }
}

fn push_value(value: &Value, text: &mut String) {
    match value.str() {
        Some(printable) => text.push_str(printable),
        None => {
            text.push_str("0x");
            for octet in value.bytes() {
                // Writing to a String cannot fail.
                let _ = write!(text, "{octet:02x}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Section;

    fn message() -> Message {
        Message::new()
            .with("k", "v w")
            .with("empty", "")
            .with("bin", b"\x00\xffa")
            .with_list("l", ["a", "b c"])
            .with_list("none", Vec::<&str>::new())
            .with_section(
                "s",
                Section::new()
                    .with("x", 1)
                    .with_section("t", Section::new())
                    .with_list("m", [b"\x01"])
                    .with("y", 2),
            )
    }

    #[test]
    fn raw_is_one_line() {
        let text = "x reply {k=v w empty= bin=0x00ff61 l=[a b c] none=[] s {x=1 t {} m=[0x01] y=2}}";
        assert_eq!(raw("x reply", &message()), text);
        assert_eq!(raw("x reply", &Message::new()), "x reply {}");
    }

    #[test]
    fn pretty_is_one_element_to_a_line() {
        let text = "\
x reply {
  k = v w
  empty = 
  bin = 0x00ff61
  l = [
    a
    b c
  ]
  none = [
  ]
  s {
    x = 1
    t {
    }
    m = [
      0x01
    ]
    y = 2
  }
}
";
        assert_eq!(pretty("x reply", &message()), text);
        assert_eq!(pretty("x reply", &Message::new()), "x reply {\n}\n");
    }
}
