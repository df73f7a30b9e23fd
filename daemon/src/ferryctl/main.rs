//! ferryctl.
fn main() {}
