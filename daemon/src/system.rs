//! What only the C library knows: local time, and users and groups by name.
//!
//! The one file of the control side with unsafe code.
#![expect(unsafe_code, reason = "calls into the C library")]

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::time::{SystemTime, UNIX_EPOCH};

/// Octets that one rendered time may take, and that a line of the user database may.
const TIME_LEN: usize = 256;
const DATABASE_LEN: usize = 16 * 1024;

/// A time of day in the local zone, rendered by a `strftime` format in the C locale. Empty where the format
/// gives nothing or more than 256 octets.
pub(crate) fn local_time(time: SystemTime, format: &CStr) -> String {
    let (seconds, mut parts) = (seconds(time), MaybeUninit::<libc::tm>::uninit());
    // SAFETY: both pointers are valid for the call; nothing in this process changes the environment that
    // `localtime_r` reads the zone from.
    if unsafe { libc::localtime_r(&raw const seconds, parts.as_mut_ptr()) }.is_null() {
        return String::new();
    }
    // SAFETY: `localtime_r` did not fail, so it has filled the structure.
    render(&unsafe { parts.assume_init() }, format)
}

/// The same in UTC.
pub(crate) fn utc_time(time: SystemTime, format: &CStr) -> String {
    let (seconds, mut parts) = (seconds(time), MaybeUninit::<libc::tm>::uninit());
    // SAFETY: both pointers are valid for the call.
    if unsafe { libc::gmtime_r(&raw const seconds, parts.as_mut_ptr()) }.is_null() {
        return String::new();
    }
    // SAFETY: `gmtime_r` did not fail, so it has filled the structure.
    render(&unsafe { parts.assume_init() }, format)
}

fn seconds(time: SystemTime) -> libc::time_t {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    libc::time_t::try_from(seconds).unwrap_or(libc::time_t::MAX)
}

fn render(parts: &libc::tm, format: &CStr) -> String {
    let mut text = [0_u8; TIME_LEN];
    // SAFETY: the buffer is as long as is said, the format ends with a nul, the structure is initialized.
    let length = unsafe { libc::strftime(text.as_mut_ptr().cast(), TIME_LEN, format.as_ptr(), parts) };
    String::from_utf8_lossy(text.get(..length).unwrap_or_default()).into_owned()
}

/// A user of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// Its number.
    pub(crate) uid: u32,
    /// The group it belongs to first of all.
    pub(crate) gid: u32,
}

/// Looks a user up by name; `None` if there is none of that name.
pub(crate) fn user(name: &str) -> io::Result<Option<User>> {
    let name = CString::new(name).map_err(io::Error::other)?;
    let mut entry = MaybeUninit::<libc::passwd>::uninit();
    let mut strings = vec![0; DATABASE_LEN];
    let mut found = std::ptr::null_mut();
    // SAFETY: all pointers are valid for the call and the buffer is as long as is said.
    let error = unsafe {
        libc::getpwnam_r(
            name.as_ptr(),
            entry.as_mut_ptr(),
            strings.as_mut_ptr(),
            strings.len(),
            &raw mut found,
        )
    };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    if found.is_null() {
        return Ok(None);
    }
    // SAFETY: the call succeeded and found an entry, so the structure is filled.
    let entry = unsafe { entry.assume_init() };
    Ok(Some(User { uid: entry.pw_uid, gid: entry.pw_gid }))
}

/// Looks a group up by name and gives its number; `None` if there is none of that name.
pub(crate) fn group(name: &str) -> io::Result<Option<u32>> {
    let name = CString::new(name).map_err(io::Error::other)?;
    let mut entry = MaybeUninit::<libc::group>::uninit();
    let mut strings = vec![0; DATABASE_LEN];
    let mut found = std::ptr::null_mut();
    // SAFETY: all pointers are valid for the call and the buffer is as long as is said.
    let error = unsafe {
        libc::getgrnam_r(
            name.as_ptr(),
            entry.as_mut_ptr(),
            strings.as_mut_ptr(),
            strings.len(),
            &raw mut found,
        )
    };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    if found.is_null() {
        return Ok(None);
    }
    // SAFETY: the call succeeded and found an entry, so the structure is filled.
    let entry = unsafe { entry.assume_init() };
    Ok(Some(entry.gr_gid))
}

/// Takes the identity of a user and a group, for all threads, with no supplementary groups. Cannot be undone.
pub(crate) fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    let check = |result: libc::c_int| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: an empty list is given by length zero; the pointer is not looked at.
    check(unsafe { libc::setgroups(0, std::ptr::null()) })?;
    // SAFETY: takes numbers only.
    check(unsafe { libc::setgid(gid) })?;
    // SAFETY: takes numbers only.
    check(unsafe { libc::setuid(uid) })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_time_is_rendered_by_its_format() {
        let time = UNIX_EPOCH + Duration::from_secs(86_400 * 400);
        assert_eq!(local_time(time, c"%Y"), "1971");
        assert_eq!(utc_time(time, c"%b %d %H:%M:%S %Y"), "Feb 05 00:00:00 1971");
        assert_eq!(local_time(time, c""), "");
        let long = CString::new("%Y".repeat(200)).unwrap();
        assert_eq!(local_time(time, &long), "", "more than fits");
    }

    #[test]
    fn root_is_a_user_and_a_group_and_nonsense_is_neither() {
        assert_eq!(user("root").unwrap(), Some(User { uid: 0, gid: 0 }));
        assert_eq!(group("root").unwrap(), Some(0));
        assert_eq!(user("no such user").unwrap(), None);
        assert_eq!(group("no such group").unwrap(), None);
        assert!(user("nul\0inside").is_err());
    }
}
