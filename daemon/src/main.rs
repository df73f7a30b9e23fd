//! ferryd.
fn main() {}
