//! SentencePiece's table of characters and what is written in their place (`precompiled_charsmap`), looked through before
//! it is used: the library that walks it takes every place in it for a good one.
//!
//! Four bytes say how long the trie is, then come its units of four bytes (a double array, darts-clone's), then the
//! replacements, each ended by a zero byte.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Bytes of a replacement. The longest of SentencePiece's own tables has 33 (U+FDFA in NFKC).
const LONGEST: usize = 36;
/// Units of a trie; SentencePiece's tables have 46,000.
const MOST_UNITS: usize = 1 << 20;

/// Whether no text leads out of the table and every replacement is short. `map` is in base64, as `tokenizer.json` has it.
pub(super) fn is_sound(map: &str) -> bool {
    STANDARD.decode(map).is_ok_and(|bytes| walked(&bytes).is_some())
}

/// Walks to every place that some text reaches; nothing if one of them is not there.
fn walked(bytes: &[u8]) -> Option<()> {
    let (size, rest) = bytes.split_first_chunk::<4>()?;
    let units = usize::try_from(u32::from_le_bytes(*size)).ok()? / 4;
    let (trie, replacements) = rest.split_at_checked(units.checked_mul(4).filter(|_| units <= MOST_UNITS)?)?;
    let replacements = std::str::from_utf8(replacements).ok()?;
    let trie: Vec<u32> = trie.as_chunks().0.iter().map(|unit| u32::from_le_bytes(*unit)).collect();
    let mut seen = vec![false; trie.len()];
    let mut open = vec![offset(*trie.first()?)];
    while let Some(base) = open.pop() {
        // The place itself, too: it holds the replacement of what ends there.
        if std::mem::replace(seen.get_mut(base)?, true) {
            continue;
        }
        for byte in 1..=255u8 {
            let place = base ^ usize::from(byte);
            let unit = *trie.get(place)?;
            if unit & (1 << 31 | 0xff) != u32::from(byte) {
                continue;
            }
            let next = place ^ offset(unit);
            if unit >> 8 & 1 == 1 {
                let value = *trie.get(next)? & !(1 << 31);
                let replacement = replacements.get(usize::try_from(value).ok()?..)?;
                (replacement.bytes().position(|byte| byte == 0)? <= LONGEST).then_some(())?;
            }
            open.push(next);
        }
    }
    Some(())
}

/// How far from a unit its children are.
fn offset(unit: u32) -> usize {
    ((unit >> 10) << ((unit & (1 << 9)) >> 6)) as usize
}

/// A table with one entry: `a` becomes `with`.
#[cfg(test)]
pub(super) fn table(with: &str) -> Vec<u8> {
    let mut trie = vec![0u32; 512];
    // The root's children are at their own bytes; that of `a` says that something ends there, 256 further on.
    trie[usize::from(b'a')] = u32::from(b'a') | 1 << 8 | 256 << 10;
    trie[usize::from(b'a') ^ 256] = 1 << 31;
    let mut bytes = 2048u32.to_le_bytes().to_vec();
    bytes.extend(trie.iter().flat_map(|unit| unit.to_le_bytes()));
    bytes.extend(with.as_bytes());
    bytes.push(0);
    bytes
}

#[cfg(test)]
mod tests {
    use tokenizers::{NormalizedString, Normalizer, NormalizerWrapper};

    use super::*;
    use crate::testgraph::Rng;

    fn normalized(bytes: &[u8], text: &str) -> String {
        let map = serde_json::json!({"type": "Precompiled", "precompiled_charsmap": STANDARD.encode(bytes)});
        let library: NormalizerWrapper = serde_json::from_value(map).unwrap();
        let mut text = NormalizedString::from(text);
        library.normalize(&mut text).unwrap();
        text.get().to_owned()
    }

    #[test]
    fn a_sound_table_is_known_from_one_that_leads_out_of_itself() {
        let sound = |bytes: &[u8]| is_sound(&STANDARD.encode(bytes));
        let good = table("bc");
        assert!(sound(&good));
        assert_eq!(normalized(&good, "xax"), "xbcx");
        assert!(sound(&table(&"b".repeat(LONGEST))) && !sound(&table(&"b".repeat(LONGEST + 1))));
        let wrong = |at: usize, unit: u32| {
            let mut bytes = good.clone();
            bytes[4 + 4 * at..8 + 4 * at].copy_from_slice(&unit.to_le_bytes());
            bytes
        };
        let a = usize::from(b'a');
        assert!(!sound(&wrong(0, 1 << 20)), "a root whose children are outside");
        assert!(!sound(&wrong(a, u32::from(b'a') | 1 << 30)), "children outside");
        assert!(!sound(&wrong(a ^ 256, 1 << 31 | 7)), "a replacement outside");
        assert!(!sound(&good[..good.len() - 1]), "a replacement without an end");
        assert!(!sound(&good[..900]) && !sound(&[]) && !is_sound("%"));
    }

    /// Whatever passes is walked by the library without a panic, whatever the text.
    #[test]
    fn a_damaged_table_is_refused_or_harmless() {
        let mut rng = Rng::new(3);
        let mut passed = 0;
        for _ in 0..4_000 {
            let mut bytes = table("bc");
            for _ in 0..=rng.below(3) {
                let at = match rng.below(2) {
                    0 => 4 + 4 * usize::from(b'a') + rng.below(4) as usize,
                    _ => rng.below(bytes.len() as u64) as usize,
                };
                bytes[at] = rng.below(256) as u8;
            }
            if is_sound(&STANDARD.encode(&bytes)) {
                passed += 1;
                for text in ["a", "abc", "xyzä€", "\u{1}\u{7f}"] {
                    assert!(normalized(&bytes, text).len() <= text.len() * LONGEST);
                }
            }
        }
        assert!((100..4_000).contains(&passed), "{passed}");
    }
}
