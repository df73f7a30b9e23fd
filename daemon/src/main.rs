//! ferryd.
mod connections;
mod control;
mod logging;
mod pools;
mod reload;
mod settings;
mod store;
mod system;
mod vici_server;

fn main() {}
