//! `authorities` into `load-authority`.

use std::path::Path;

use super::connection::file;
use super::value::items;
use super::{Object, Problem, Request, Step};
use crate::message::{self, Message};
use crate::settings::{Section, Settings};

/// One `load-authority` for each authority. CA certificates are read from `x509ca` below `directory`.
pub fn authorities(settings: &Settings, directory: &Path) -> Vec<Step> {
    let Some(authorities) = settings.section("authorities") else { return Vec::new() };
    authorities.sections().iter().map(|authority| request(authority, &directory.join("x509ca"))).collect()
}

fn request(authority: &Section<'_>, directory: &Path) -> Step {
    let object = Object::Authority(authority.name().to_owned());
    let mut contents = message::Section::new();
    for setting in authority.settings() {
        match setting.name() {
            "cacert" => match file(setting.bytes(), directory) {
                Ok(certificate) => contents.push("cacert", certificate),
                Err(reason) => {
                    let reason = format!("{}: {reason}", setting.path());
                    return Err(Problem { object, position: Some(setting.position().clone()), reason });
                }
            },
            uris @ ("crl_uris" | "ocsp_uris") => contents.push_list(uris, items(setting.bytes())),
            other => contents.push(other, setting.bytes()),
        }
    }
    Ok(Request { object, message: Message::new().with_section(authority.name(), contents) })
}
