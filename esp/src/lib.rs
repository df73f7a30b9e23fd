//! ESP (RFC 4303): transforms, anti-replay, SAD, SPD and the userspace data plane.
