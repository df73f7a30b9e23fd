//! What must not get slower, and what it is measured with.
//!
//! [`load`] is a load client: many IKE initiators in one, over real sockets, for whoever wants to know how a gateway does
//! under many of them.

pub mod load;
