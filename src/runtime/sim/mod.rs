//! The seeded twin of the glommio backend: stubs until it is there (`active` is false).

pub mod disk;
pub mod net;

use super::clock::Instant;
use std::future::Future;

pub fn active() -> bool {
    false
}
pub fn now() -> Instant {
    todo!()
}
pub fn wall_clock_ms() -> i64 {
    todo!()
}
pub async fn sleep_until(_t: Instant) {
    todo!()
}
pub fn spawn(_f: impl Future<Output = ()> + 'static) {
    todo!()
}
pub async fn yield_now() {
    todo!()
}
pub fn random_u64() -> u64 {
    todo!()
}
pub async fn run_blocking<T>(_f: impl FnOnce() -> T) -> T {
    todo!()
}
