//! The version of what the tables mean, which every database on disk says of itself.

use crate::error::StoreError;

/// Another number is refused by name.
pub const FORMAT: u8 = 3;
/// Its name in the table of names.
pub const FORMAT_KEY: &[u8] = b"format";

/// Whether this program understands a database with format `found`; `opening` says what was being done.
pub fn check(opening: &'static str, found: Option<u8>) -> Result<(), StoreError> {
    let found = found.unwrap_or_default();
    if found == FORMAT {
        return Ok(());
    }
    let why = format!(
        "it has format {found}, this program reads format {FORMAT}. Use the program that wrote it, or remove the data \
         folder and let the node sync again"
    );
    Err(StoreError::new(opening, why))
}
