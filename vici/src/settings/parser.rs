//! The grammar: statements into a [`Tree`].

use std::path::{Path, PathBuf};

use super::MAX_DEPTH;
use super::error::{Position, SettingsError, Warning};
use super::include::{SourceFile, Sources};
use super::scanner::Scanner;
use super::tree::{Entry, NodeId, Reference, Tree};

/// How deep files may include files.
const MAX_INCLUDE_DEPTH: usize = 16;

/// How many files may be included in all.
const MAX_INCLUDES: usize = 10_000;

/// Reads files into one tree.
pub(super) struct Parser<'s> {
    sources: &'s dyn Sources,
    tree: Tree,
    warnings: Vec<Warning>,
    /// Sections around the current statement, innermost last. Empty at the root.
    open: Vec<Open>,
    /// Identities of the files around the current statement.
    including: Vec<PathBuf>,
    includes: usize,
}

struct Open {
    section: NodeId,
    position: Position,
}

impl<'s> Parser<'s> {
    pub(super) fn new(sources: &'s dyn Sources) -> Self {
        let tree = Tree::new();
        Self { sources, tree, warnings: Vec::new(), open: Vec::new(), including: Vec::new(), includes: 0 }
    }

    pub(super) fn finish(self) -> (Tree, Vec<Warning>) {
        (self.tree, self.warnings)
    }

    /// Reads one file into the section that is open. Every section it opens has to be closed in it.
    pub(super) fn file(&mut self, path: &Path, file: &SourceFile) -> Result<(), SettingsError> {
        self.including.push(file.identity.clone());
        let outer = self.open.len();
        let mut scanner = Scanner::new(path, &file.octets);
        loop {
            scanner.skip_space();
            match scanner.peek() {
                Some(b'}') if self.open.len() > outer => {
                    scanner.step();
                    self.open.pop();
                }
                Some(b'}') => return Err(scanner.expected("a key, a section or the end of the file")),
                Some(_) => self.statement(&mut scanner)?,
                None => break,
            }
        }
        if self.open.len() > outer
            && let Some(open) = self.open.pop()
        {
            let what = format!("section '{}'", self.tree.path(open.section));
            return Err(SettingsError::Unclosed { opened: open.position, what });
        }
        self.including.pop();
        Ok(())
    }

    fn section(&self) -> NodeId {
        self.open.last().map_or(Tree::ROOT, |open| open.section)
    }

    /// `include pattern`, `key = value`, or the start of a section.
    fn statement(&mut self, scanner: &mut Scanner<'_>) -> Result<(), SettingsError> {
        let position = scanner.position();
        let name = scanner.name()?;
        if name.is_empty() {
            return Err(scanner.expected("the name of a key or section"));
        }
        if name == "include" && scanner.is_include() {
            return self.include(scanner);
        }
        scanner.skip_space();
        match scanner.peek() {
            Some(b'=') => {
                scanner.step();
                let value = scanner.value()?;
                self.tree.set(self.section(), Entry { name: name.to_owned(), value, position });
            }
            Some(b'{') => {
                scanner.step();
                self.open_section(name, position, Vec::new())?;
            }
            Some(b':') => {
                scanner.step();
                let references = references(scanner)?;
                self.open_section(name, position, references)?;
            }
            _ => return Err(scanner.expected(format!("'=', '{{' or ':' after '{name}'"))),
        }
        Ok(())
    }

    fn open_section(
        &mut self,
        name: &str,
        position: Position,
        references: Vec<Reference>,
    ) -> Result<(), SettingsError> {
        if self.open.len() == MAX_DEPTH {
            return Err(SettingsError::TooDeep { position });
        }
        let section = self.tree.open(self.section(), name, position.clone());
        self.tree.inherit(section, references);
        self.open.push(Open { section, position });
        Ok(())
    }

    /// Reads the files that a pattern stands for, in place.
    fn include(&mut self, scanner: &mut Scanner<'_>) -> Result<(), SettingsError> {
        let position = scanner.position();
        let pattern = scanner.pattern()?;
        let bad_include = |reason: String| SettingsError::BadInclude {
            position: position.clone(),
            pattern: String::from_utf8_lossy(&pattern).into_owned(),
            reason,
        };
        let text = std::str::from_utf8(&pattern).map_err(|_| bad_include("not UTF-8".into()))?;
        let directory = position.file.parent().unwrap_or(Path::new(""));
        let paths =
            self.sources.matching(text, directory).map_err(|reason| bad_include(reason.to_string()))?;
        if paths.is_empty() {
            let what = format!("no file matches '{text}'");
            self.warnings.push(Warning { position: position.clone(), what });
        }
        for path in paths {
            self.included(path, &position)?;
        }
        Ok(())
    }

    fn included(&mut self, path: PathBuf, position: &Position) -> Result<(), SettingsError> {
        let position = || position.clone();
        self.includes += 1;
        if self.includes > MAX_INCLUDES {
            let what = format!("more than {MAX_INCLUDES} files included");
            return Err(SettingsError::TooManyIncludes { position: position(), what });
        }
        if self.including.len() > MAX_INCLUDE_DEPTH {
            let what = format!("files include files deeper than {MAX_INCLUDE_DEPTH}");
            return Err(SettingsError::TooManyIncludes { position: position(), what });
        }
        let file = self.sources.read(&path).map_err(|source| SettingsError::Unreadable {
            path: path.clone(),
            included_at: Some(position()),
            source,
        })?;
        if self.including.contains(&file.identity) {
            return Err(SettingsError::IncludeLoop { position: position(), path });
        }
        self.file(&path, &file)
    }
}

/// What follows the colon, up to and with the brace: dotted paths, separated by commas.
fn references(scanner: &mut Scanner<'_>) -> Result<Vec<Reference>, SettingsError> {
    let mut references = Vec::new();
    loop {
        scanner.skip_space();
        let position = scanner.position();
        let mut path = Vec::new();
        loop {
            let name = scanner.name()?;
            if name.is_empty() {
                return Err(scanner.expected("the name of a section to inherit from"));
            }
            path.push(name.to_owned());
            if !scanner.skip(b'.') {
                break;
            }
        }
        references.push(Reference { path, position });
        scanner.skip_space();
        if scanner.skip(b'{') {
            return Ok(references);
        }
        if !scanner.skip(b',') {
            return Err(scanner.expected("',' or '{' after the section to inherit from"));
        }
    }
}
