//! Ending a command that would go on for ever: SIGINT, SIGTERM and SIGHUP are its proper end, with exit code 0.
//!
//! The one file of ferryctl that talks to the system without a safe wrapper.

use std::{io, mem, process, ptr, thread};

/// Has the first of the signals exit the process with code 0. Call it while there is but one thread: threads made later
/// leave the signals to the one that waits for them.
#[expect(unsafe_code, reason = "no safe wrapper waits for signals without a runtime")]
pub(crate) fn exit_on_signals() -> io::Result<()> {
    // SAFETY: an all-zero sigset_t is a valid value, and sigemptyset initialises it before it is used.
    let mut signals: libc::sigset_t = unsafe { mem::zeroed() };
    // SAFETY: the pointer is to a live sigset_t; the signal numbers are valid.
    unsafe {
        libc::sigemptyset(&raw mut signals);
        libc::sigaddset(&raw mut signals, libc::SIGINT);
        libc::sigaddset(&raw mut signals, libc::SIGTERM);
        libc::sigaddset(&raw mut signals, libc::SIGHUP);
    }
    // SAFETY: the set is initialised, and a null pointer for the old mask is allowed.
    let blocked = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signals, ptr::null_mut()) };
    if blocked != 0 {
        return Err(io::Error::from_raw_os_error(blocked));
    }
    thread::Builder::new().name("signals".into()).spawn(move || {
        let mut signal = 0;
        // SAFETY: both pointers are to live values; the signals of the set are blocked in all threads.
        unsafe { libc::sigwait(&raw const signals, &raw mut signal) };
        process::exit(0);
    })?;
    Ok(())
}
