//! `pools` into `load-pool`.

use super::value::items;
use super::{Object, Request, Step};
use crate::message::{self, Message};
use crate::settings::{Section, Settings};

/// One `load-pool` for each pool.
pub fn pools(settings: &Settings) -> Vec<Step> {
    let Some(pools) = settings.section("pools") else { return Vec::new() };
    pools.sections().iter().map(|pool| Ok(request(pool))).collect()
}

fn request(pool: &Section<'_>) -> Request {
    let mut contents = message::Section::new();
    for setting in pool.settings() {
        match setting.name() {
            "addrs" => contents.push("addrs", setting.bytes()),
            attribute => contents.push_list(attribute, items(setting.bytes())),
        }
    }
    Request {
        object: Object::Pool(pool.name().to_owned()),
        message: Message::new().with_section(pool.name(), contents),
    }
}
