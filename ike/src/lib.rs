//! IKEv2 (RFC 7296) as a pure state machine: no I/O, no clock, no globals, no unsafe.
