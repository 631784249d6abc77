//! Places where a test ends the process, as a power cut would: `SAHARA_CHAIN_FAIL=NAME` or `NAME:N` for the Nth time.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

static WANTED: OnceLock<Option<(String, u64)>> = OnceLock::new();
static SEEN: AtomicU64 = AtomicU64::new(0);

/// Ends the process if a test asked for that here.
pub fn reach(name: &str) {
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("SAHARA_CHAIN_FAIL").ok()?;
        let (name, count) = text.split_once(':').unwrap_or((&text, "1"));
        Some((name.to_owned(), count.parse().ok()?))
    });
    if let Some((wanted, count)) = wanted
        && wanted == name
        && SEEN.fetch_add(1, Ordering::SeqCst) + 1 == *count
    {
        std::process::abort();
    }
}
