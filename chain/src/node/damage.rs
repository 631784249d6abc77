//! The database's library panics on some kinds of damage; then the process ends with words that help.

use std::panic;

use super::tell::tell;
use crate::{error::DAMAGED, store::inside_database};

/// From now on a panic inside the database's library ends the process and says what to do.
pub fn explain_damage() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !inside_database() {
            return before(info);
        }
        let cause = info.payload_as_str().unwrap_or("unknown");
        tell(format_args!("error: database: read chain.redb: {cause}. {DAMAGED}"));
        std::process::exit(1);
    }));
}
