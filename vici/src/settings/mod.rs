//! The text format that strongswan.conf and swanctl.conf share.
//!
//! ```text
//! # sections nest; a section written twice is merged, a key written twice keeps its first place and last value
//! charon {
//!   port = 500            # to the end of the line, '#' or '}'
//!   words = a   b "c  d"  # parts are joined by one blank: a b c  d
//!   unset =               # as if it had never been written, also where it would be inherited
//!   include conf.d/*.conf # relative to this file, in place
//! }
//! site : template, other.section { key = own values win, then those of `template`, then `other.section` }
//! ```
//!
//! Reading order: `scanner` for characters, `parser` for the grammar, `tree` for what it builds, `include` for files,
//! `inherit` for `name : other { }`, [`Section`] for what a reader sees in the end.
//!
//! Where strongSwan shrugs we say so: an include that loops, a section that inherits from itself, a section left open in
//! an included file are errors here. What it accepts with a remark, or silently, is accepted and put into
//! [`Settings::warnings`].

mod error;
mod include;
mod inherit;
mod parser;
mod scanner;
mod section;
mod tree;
mod value;

use std::path::Path;

pub use error::{Position, SettingsError, Warning};
pub use include::{FileSystem, NoFiles, SourceFile, Sources};
pub use section::{Section, Setting};
pub use value::BadValue;

use tree::{NodeId, Tree};

/// How deep sections may nest, inherited ones included.
pub const MAX_DEPTH: usize = crate::codec::MAX_DEPTH;

/// Settings of a file and all it includes.
///
/// Values may be secrets: they are wiped on drop and have no `Debug`.
///
/// ```
/// use ferry_vici::settings::{NoFiles, Settings};
///
/// let text = "base { proposals = aes128-sha256-x25519 }\n connections { site : base { version = 2 } }";
/// let settings = Settings::parse(text, "swanctl.conf", &NoFiles)?;
/// assert_eq!(settings.get("connections.site.proposals"), Some("aes128-sha256-x25519"));
/// let setting = settings.setting("connections.site.version").ok_or("no version")?;
/// assert_eq!((setting.int()?, setting.position().line), (2, 2));
///
/// let error = Settings::parse("connections {\n site { version 2 }", "swanctl.conf", &NoFiles).unwrap_err();
/// assert_eq!(error.to_string(), "swanctl.conf:2:17: expected '=', '{' or ':' after 'version', found '2'");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct Settings {
    tree: Tree,
    /// For each section what it is made of: itself, then all it inherits from, in order of precedence.
    layers: Vec<Vec<NodeId>>,
    warnings: Vec<Warning>,
}

impl Default for Settings {
    /// Settings of an empty file.
    fn default() -> Self {
        let tree = Tree::default();
        // A section is at least itself.
        let layers = tree.ids().map(|id| vec![id]).collect();
        Self { tree, layers, warnings: Vec::new() }
    }
}

impl Settings {
    /// Reads a file and what it includes.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, SettingsError> {
        Self::read_from(path.as_ref(), &FileSystem)
    }

    /// Reads a file and what it includes from somewhere else than the file system.
    pub fn read_from(path: &Path, sources: &dyn Sources) -> Result<Self, SettingsError> {
        let file = sources.read(path).map_err(|source| SettingsError::Unreadable {
            path: path.to_owned(),
            included_at: None,
            source,
        })?;
        Self::from_file(path, file, sources)
    }

    /// Reads settings from text. `name` is shown in errors, and includes are relative to its directory.
    pub fn parse(
        text: impl AsRef<[u8]>,
        name: impl AsRef<Path>,
        sources: &dyn Sources,
    ) -> Result<Self, SettingsError> {
        let octets = text.as_ref().to_vec().into();
        let file = SourceFile { identity: name.as_ref().to_owned(), octets };
        Self::from_file(name.as_ref(), file, sources)
    }

    fn from_file(path: &Path, file: SourceFile, sources: &dyn Sources) -> Result<Self, SettingsError> {
        let mut parser = parser::Parser::new(sources);
        parser.file(path, &file)?;
        let (tree, mut warnings) = parser.finish();
        let layers = inherit::resolve(&tree, &mut warnings)?;
        Ok(Self { tree, layers, warnings })
    }

    /// The value at a dotted path, such as `charon.retransmit_timeout`, if it is set and UTF-8.
    pub fn get(&self, path: &str) -> Option<&str> {
        self.setting(path)?.str()
    }

    /// The value at a dotted path with its position.
    pub fn setting(&self, path: &str) -> Option<Setting<'_>> {
        match path.rsplit_once('.') {
            Some((section, key)) => self.section(section)?.setting(key),
            None => self.root().setting(path),
        }
    }

    /// The section at a dotted path, with what it inherits.
    pub fn section(&self, path: &str) -> Option<Section<'_>> {
        path.split('.').try_fold(self.root(), |section, name| section.section(name))
    }

    /// The section that is the whole file.
    pub fn root(&self) -> Section<'_> {
        Section::root(self)
    }

    /// Every value that is set, inherited ones included: each section's own keys first, then its sections.
    pub fn leaves(&self) -> Vec<Setting<'_>> {
        let mut leaves = Vec::new();
        self.root().collect_leaves(&mut leaves);
        leaves
    }

    /// What was accepted but is hardly meant: includes that match no file, inheritance from a section that does not
    /// exist.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
}

impl std::fmt::Debug for Settings {
    /// Shows how much there is, and no value: those may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("sections", &self.layers.len()).finish_non_exhaustive()
    }
}
