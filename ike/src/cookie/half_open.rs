//! How many IKE SAs are half open, and what follows for the next IKE_SA_INIT.
use std::{net::IpAddr, time::Instant};

/// The limits of strongswan.conf.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HalfOpenLimits {
    /// Master switch of the next three.
    pub dos_protection: bool,
    /// Half-open SAs from which on every request needs a cookie; zero: never.
    pub cookie_threshold: u32,
    /// The same per source address.
    pub cookie_threshold_ip: u32,
    /// Half-open SAs of one address from which on its requests are dropped; zero: never.
    pub block_threshold: u32,
    /// Half-open SAs from which on all requests are dropped; zero: never.
    pub init_limit_half_open: u32,
}
impl Default for HalfOpenLimits {
    fn default() -> Self {
        Self {
            dos_protection: true,
            cookie_threshold: 30,
            cookie_threshold_ip: 3,
            block_threshold: 5,
            init_limit_half_open: 0,
        }
    }
}
/// What becomes of an IKE_SA_INIT request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// Answer it.
    Accept,
    /// Answer with N(COOKIE) only.
    DemandCookie,
    /// Say nothing.
    Drop(DropReason),
}
/// Why a request is dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DropReason {
    /// block_threshold.
    AddressBlocked,
    /// init_limit_half_open.
    TooManyHalfOpen,
}
/// Counts half-open IKE SAs, in total and per address.
pub struct HalfOpen {
    limits: HalfOpenLimits,
}
impl HalfOpen {
    /// No SA is half open. `key` is random, so that strangers cannot choose whom they share a bucket with.
    #[must_use]
    pub fn new(_limits: HalfOpenLimits, _key: [u8; 16]) -> Self {
        todo!()
    }
    /// An IKE SA began.
    pub fn opened(&mut self, _source: IpAddr, _now: Instant) {
        todo!()
    }
    /// It was established or given up.
    pub fn closed(&mut self, _source: IpAddr, _now: Instant) {
        todo!()
    }
    /// Other limits from now on.
    pub fn set_limits(&mut self, limits: HalfOpenLimits) {
        self.limits = limits;
    }
    /// Half-open IKE SAs.
    #[must_use]
    pub fn count(&self) -> usize {
        todo!()
    }
    /// What becomes of a request from `source`; `has_cookie` if it carries a cookie that [`super::CookieJar`] accepts.
    #[must_use]
    pub fn decide(&self, _source: IpAddr, _has_cookie: bool, _now: Instant) -> Admission {
        todo!()
    }
}
