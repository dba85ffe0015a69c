//! What must hold for any bytes. Each module has a `check` that panics when it does not hold; cargo-fuzz, the runner on
//! stable Rust and the test that replays the seeds all call it.

pub mod answer;
pub mod body;
pub mod calls;
pub mod deflate;
pub mod dial;
pub mod etf;
pub mod frames;
pub mod http2;
pub mod json;
pub mod link;
pub mod mutate;
pub mod policy;
pub mod proxy;
pub mod request;
pub mod seeds;
#[path = "../../json/tests/support/mod.rs"]
mod term;
pub mod url;
mod world;

/// What a fuzzer calls with bytes of its own.
pub type Check = fn(&[u8]);

/// A target. Its name is also that of the folder of its seeds.
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// What must hold.
    pub check: Check,
    /// Mutations that a test makes, where no time is given.
    pub mutations: u64,
}

const fn target(name: &'static str, check: Check, mutations: u64) -> Target {
    Target {
        name,
        check,
        mutations,
    }
}

/// All targets.
pub const TARGETS: [Target; 14] = [
    target("answer", answer::check, 20_000),
    target("body", body::check, 20_000),
    target("calls", calls::check, 20_000),
    target("deflate", deflate::check, 20_000),
    target("dial", dial::check, 500),
    target("etf", etf::check, 20_000),
    target("frames", frames::check, 20_000),
    target("http2", http2::check, 500),
    target("json", json::check, 20_000),
    target("link", link::check, 2_000),
    target("policy", policy::check, 20_000),
    target("proxy", proxy::check, 20_000),
    target("request", request::check, 20_000),
    target("url", url::check, 20_000),
];

/// The first bytes of an input choose how it is run; what is missing reads as zero.
pub(crate) struct Choices<'a>(pub(crate) &'a [u8]);

impl Choices<'_> {
    pub(crate) fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }
}
