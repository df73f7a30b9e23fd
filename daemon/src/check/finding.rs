//! One thing that is wrong: where, what, and what to do.

use std::fmt;
use std::path::{Path, PathBuf};

use ferry_vici::settings::{Position, SettingsError, Warning};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    /// It cannot be loaded, or cannot work.
    Error,
    /// It works, but hardly as it is meant to, or not for long.
    Warning,
}

/// One thing that is wrong, and what to do about it: a sentence for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    place: Place,
    cause: String,
    remedy: String,
}

/// Where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// Nowhere in particular.
    Nowhere,
    /// In the text.
    Text(Position),
    /// A file beside it.
    File(PathBuf),
}

impl Finding {
    /// Something that cannot work.
    pub(super) fn error(
        position: Option<Position>,
        cause: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let place = position.map_or(Place::Nowhere, Place::Text);
        Self { severity: Severity::Error, place, cause: cause.into(), remedy: remedy.into() }
    }

    /// Something that hardly works as it is meant to.
    pub(super) fn warning(
        position: Option<Position>,
        cause: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Warning, ..Self::error(position, cause, remedy) }
    }

    /// It is about a file beside the text.
    pub(super) fn of_file(self, file: &Path) -> Self {
        Self { place: Place::File(file.to_owned()), ..self }
    }

    /// The text cannot be understood.
    pub(super) fn unreadable(error: &SettingsError) -> Self {
        let position = error.position().cloned();
        let text = error.to_string();
        let prefix = position.as_ref().map(|position| format!("{position}: ")).unwrap_or_default();
        let cause = text.strip_prefix(&prefix).unwrap_or(&text);
        Self::error(position, cause, "Correct this first: until then nothing of the configuration is read.")
    }

    /// The text has something that is hardly meant.
    pub(super) fn hardly_meant(warning: &Warning) -> Self {
        let position = Some(warning.position.clone());
        Self::warning(position, warning.what.clone(), "Correct it, or remove it.")
    }

    /// By what findings are sorted: those without a line come last.
    pub(super) fn place(&self) -> (u8, Option<&Path>, u32, u32) {
        match &self.place {
            Place::Text(position) => (0, Some(&position.file), position.line, position.column),
            Place::File(file) => (1, Some(file), 0, 0),
            Place::Nowhere => (2, None, 0, 0),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Nowhere => {}
            Place::Text(Position { file, line, .. }) => write!(f, "{}:{line}: ", file.display())?,
            Place::File(file) => write!(f, "{}: ", file.display())?,
        }
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        writeln!(f, "{severity}: {}", self.cause)?;
        write!(f, "    {}", self.remedy)
    }
}
