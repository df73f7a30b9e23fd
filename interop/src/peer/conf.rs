//! Configuration as an operator writes it: `swanctl.conf` and `strongswan.conf`.

use std::fmt::{self, Display, Write};

/// A section: settings and sections under their names, in the order given.
#[derive(Clone, Debug, Default)]
pub struct Section(Vec<(String, Entry)>);

#[derive(Clone, Debug)]
enum Entry {
    Value(String),
    Section(Section),
}

impl Section {
    /// An empty section.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a setting.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl Display) -> Self {
        self.0.push((key.to_owned(), Entry::Value(value.to_string())));
        self
    }

    /// Adds a section.
    #[must_use]
    pub fn section(mut self, name: &str, section: Section) -> Self {
        self.0.push((name.to_owned(), Entry::Section(section)));
        self
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        for (name, entry) in &self.0 {
            let indent = 2 * depth;
            match entry {
                Entry::Value(value) => writeln!(f, "{:indent$}{name} = {value}", "")?,
                Entry::Section(section) => {
                    writeln!(f, "{:indent$}{name} {{", "")?;
                    section.write(f, depth + 1)?;
                    writeln!(f, "{:indent$}}}", "")?;
                }
            }
        }
        Ok(())
    }
}

impl Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

/// A connection between two ends that prove themselves to each other.
#[derive(Clone, Debug)]
pub struct Connection {
    keys: Section,
    ends: Section,
    children: Section,
}

impl Connection {
    /// IKEv2 between the identities `local` and `remote`, which prove themselves with a pre-shared key.
    pub fn psk(local: &str, remote: &str) -> Self {
        Self::between_ends(end("psk", local), end("psk", remote))
    }

    /// IKEv2 between two ends; [`end`] makes them.
    pub fn between_ends(local: Section, remote: Section) -> Self {
        Self {
            keys: Section::new().set("version", 2),
            ends: Section::new().section("local", local).section("remote", remote),
            children: Section::new(),
        }
    }

    /// Adds a further round of authentication of either end (RFC 4739), in a section of this name.
    #[must_use]
    pub fn round(mut self, name: &str, round: Section) -> Self {
        self.ends = self.ends.section(name, round);
        self
    }

    /// Adds a setting of the connection.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl Display) -> Self {
        self.keys = self.keys.set(key, value);
        self
    }

    /// Sets the two addresses IKE is spoken between.
    #[must_use]
    pub fn between(self, local: &str, remote: &str) -> Self {
        self.set("local_addrs", local).set("remote_addrs", remote)
    }

    /// Adds a child.
    #[must_use]
    pub fn child(mut self, name: &str, child: Section) -> Self {
        self.children = self.children.section(name, child);
        self
    }
}

/// An end with this identity, which proves itself in this way.
pub fn end(auth: &str, id: &str) -> Section {
    Section::new().set("auth", auth).set("id", id)
}

/// A child that protects what passes between `local` and `remote`, each a list of prefixes.
pub fn child(local: &str, remote: &str) -> Section {
    Section::new().set("local_ts", local).set("remote_ts", remote)
}

/// A `swanctl.conf`.
#[derive(Clone, Debug, Default)]
pub struct SwanctlConf {
    connections: Section,
    secrets: Section,
    pools: Section,
}

impl SwanctlConf {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a connection.
    #[must_use]
    pub fn connection(mut self, name: &str, connection: Connection) -> Self {
        let Section(ends) = connection.ends;
        let Section(mut all) = connection.keys;
        all.extend(ends);
        self.connections =
            self.connections.section(name, Section(all).section("children", connection.children));
        self
    }

    /// Adds a pre-shared key for the identities in `ids`, or for anybody if there are none.
    #[must_use]
    pub fn secret(mut self, name: &str, secret: &str, ids: &[&str]) -> Self {
        let mut section = Section::new();
        for (number, id) in ids.iter().enumerate() {
            section = section.set(&format!("id-{number}"), id);
        }
        self.secrets =
            self.secrets.section(&format!("ike-{name}"), section.set("secret", format!("\"{secret}\"")));
        self
    }

    /// Adds a password of EAP.
    #[must_use]
    pub fn password(mut self, user: &str, password: &str) -> Self {
        let section = Section::new().set("id", user).set("secret", format!("\"{password}\""));
        self.secrets = self.secrets.section(&format!("eap-{}", user.replace('.', "-")), section);
        self
    }

    /// Adds a pool of virtual addresses.
    #[must_use]
    pub fn pool(mut self, name: &str, pool: Section) -> Self {
        self.pools = self.pools.section(name, pool);
        self
    }
}

impl Display for SwanctlConf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tops = [("connections", &self.connections), ("secrets", &self.secrets), ("pools", &self.pools)];
        for (name, section) in tops {
            if !section.0.is_empty() {
                Section::new().section(name, section.clone()).write(f, 0)?;
            }
        }
        Ok(())
    }
}

/// Settings for `strongswan.conf`, as dotted paths: `charon.cookie_threshold`.
#[derive(Clone, Debug, Default)]
pub struct Settings(Vec<(String, String)>);

impl Settings {
    /// None beyond those every peer gets.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a setting.
    #[must_use]
    pub fn set(mut self, path: &str, value: impl Display) -> Self {
        self.0.push((path.to_owned(), value.to_string()));
        self
    }

    /// Whether a setting is among them.
    pub(super) fn has(&self, path: &str) -> bool {
        self.0.iter().any(|(other, _)| other == path)
    }

    /// The file's text. The same section may be opened any number of times.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for (path, value) in &self.0 {
            let mut names = path.split('.').rev();
            let mut line = format!("{} = {value}\n", names.next().unwrap_or_default());
            for section in names {
                line = format!("{section} {{\n{line}}}\n");
            }
            text.write_str(&line).unwrap_or_default();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_reads_as_an_operator_writes_it() {
        let conf = SwanctlConf::new()
            .connection(
                "road",
                Connection::psk("gw", "pc")
                    .between("192.0.2.1", "%any")
                    .child("net", child("10.1.0.0/16", "dynamic")),
            )
            .secret("road", "a # key", &["gw", "pc"])
            .pool("road", Section::new().set("addrs", "10.9.0.0/24"));
        let expected = "\
connections {
  road {
    version = 2
    local_addrs = 192.0.2.1
    remote_addrs = %any
    local {
      auth = psk
      id = gw
    }
    remote {
      auth = psk
      id = pc
    }
    children {
      net {
        local_ts = 10.1.0.0/16
        remote_ts = dynamic
      }
    }
  }
}
secrets {
  ike-road {
    id-0 = gw
    id-1 = pc
    secret = \"a # key\"
  }
}
pools {
  road {
    addrs = 10.9.0.0/24
  }
}
";
        assert_eq!(conf.to_string(), expected);
    }

    #[test]
    fn a_dotted_path_becomes_nested_sections() {
        let settings = Settings::new().set("charon.filelog.f.default", 2);
        assert_eq!(settings.text(), "charon {\nfilelog {\nf {\ndefault = 2\n}\n}\n}\n");
    }
}
