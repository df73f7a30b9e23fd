//! The VICI protocol: codec and client, and the swanctl.conf text it is made from.
