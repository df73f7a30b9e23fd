//! What must not get slower.
