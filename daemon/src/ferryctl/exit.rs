//! Exit codes. Scripts know swanctl's: 1 where the daemon refuses or the command line is wrong, otherwise the number of
//! a system error.

use std::io;
use std::process::ExitCode;

use anyhow::Error;
use clap::CommandFactory as _;
use clap::error::{ContextKind, ContextValue};
use ferry_vici::ClientError;
use ferry_vici::settings::SettingsError;

use crate::ferryctl::options::Options;

/// The daemon refused.
pub(crate) const REFUSED: u8 = 1;

/// Objects of a configuration, or all of it, could not be loaded (EINVAL).
pub(crate) const INVALID: u8 = 22;

/// `clear-creds` failed (ECONNREFUSED, of all things).
pub(crate) const NOT_CLEARED: u8 = 111;

/// Shows what is wrong with the command line, or the help that was asked for.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    if let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg) {
        let meanings = meanings(word);
        if meanings.len() > 1 {
            eprintln!("error: '{word}' could be {}", meanings.join(", "));
            return ExitCode::from(REFUSED);
        }
    }
    // If it cannot be shown, the exit code has to do.
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(REFUSED) } else { ExitCode::SUCCESS }
}

/// The commands that a word is too short to tell apart.
fn meanings(word: &str) -> Vec<String> {
    let Some(start) = word.strip_prefix("--") else { return Vec::new() };
    let options = Options::command();
    let flags = options.get_subcommands().filter_map(|command| command.get_long_flag());
    flags.filter(|flag| flag.starts_with(start)).map(|flag| format!("--{flag}")).collect()
}

/// Shows why a command could not be carried out.
pub(crate) fn failure(error: &Error) -> ExitCode {
    let code = code(error);
    if code != BROKEN_PIPE {
        eprintln!("ferryctl: {error}");
    }
    ExitCode::from(code)
}

/// Whoever read our output has enough: quietly the code that a shell reports for it.
const BROKEN_PIPE: u8 = 128 + 13;

fn code(error: &Error) -> u8 {
    if let Some(error) = error.downcast_ref::<ClientError>() {
        return client_code(error);
    }
    if error.is::<SettingsError>() {
        return INVALID;
    }
    match error.downcast_ref::<io::Error>() {
        Some(error) if error.kind() == io::ErrorKind::BrokenPipe => BROKEN_PIPE,
        Some(error) => system_code(error),
        None => REFUSED,
    }
}

fn client_code(error: &ClientError) -> u8 {
    let number = match error {
        ClientError::Connect { source, .. } | ClientError::Io(source) => return system_code(source),
        ClientError::UnknownCommand(_) | ClientError::UnknownEvent(_) => libc::ENOENT,
        ClientError::Closed { .. } => libc::ECONNRESET,
        ClientError::BadUri(_) => libc::EAFNOSUPPORT,
        ClientError::Encode(_) => libc::EINVAL,
        _ => libc::EBADMSG,
    };
    u8::try_from(number).unwrap_or(REFUSED)
}

fn system_code(error: &io::Error) -> u8 {
    error.raw_os_error().and_then(|number| u8::try_from(number).ok()).unwrap_or(REFUSED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_words_are_explained() {
        assert_eq!(meanings("--re"), ["--rekey", "--redirect", "--reload-settings"]);
        assert_eq!(meanings("--list-s"), ["--list-sas"]);
        assert!(meanings("-l").is_empty() && meanings("--bogus").is_empty());
    }

    #[test]
    fn system_errors_keep_their_number() {
        let io = |number| io::Error::from_raw_os_error(number);
        let connect = |number| ClientError::Connect { uri: "unix:///x".into(), source: io(number) };
        for (error, expected) in [
            (Error::new(connect(libc::ENOENT)), 2),
            (Error::new(connect(libc::EACCES)), 13),
            (Error::new(connect(libc::ECONNREFUSED)), 111),
            (Error::new(ClientError::UnknownCommand("x".into())), 2),
            (Error::new(ClientError::Closed { inside_packet: false }), 104),
            (Error::new(ClientError::BadUri("x".into())), 97),
            (Error::new(io(libc::EPIPE)), 141),
            (Error::msg("anything else"), 1),
        ] {
            assert_eq!(code(&error.context("while testing")), expected);
        }
    }
}
