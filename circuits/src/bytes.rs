//! The byte formats of this project, all of them: little-endian, explicit lengths, a magic and a version in front of what
//! is kept or begins a conversation. Every length is checked against its limit and against the bytes that are left before
//! anything is allocated, and every error says what was being read.

use std::ops::RangeInclusive;

/// Why stored or received bytes were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Another format altogether.
    #[error("not a Sahara {what}: the first bytes are not \"{magic}\"")]
    Magic {
        /// What was being read.
        what: &'static str,
        /// The bytes it starts with.
        magic: String,
    },
    /// Made by another version of the program.
    #[error("{what} has version {found}, this program knows version {known}: upgrade the older side, or make it again")]
    Version {
        /// What was being read.
        what: &'static str,
        /// The version found.
        found: u16,
        /// The version known.
        known: u16,
    },
    /// The bytes end early.
    #[error("{what} is cut short at byte {at}")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Where the next field should have been.
        at: usize,
    },
    /// Bytes after the end.
    #[error("{what} has {left} bytes too many after its end")]
    Trailing {
        /// What was being read.
        what: &'static str,
        /// How many.
        left: usize,
    },
    /// More of something than allowed.
    #[error("{what} declares {found} {items}, more than the limit of {limit}")]
    Limit {
        /// What was being read.
        what: &'static str,
        /// What is counted.
        items: &'static str,
        /// Declared number.
        found: u64,
        /// Largest number allowed.
        limit: u64,
    },
    /// A field with a value that it cannot have.
    #[error("{what}: {field} is out of range")]
    Field {
        /// What was being read.
        what: &'static str,
        /// The field.
        field: &'static str,
    },
    /// A kind of thing that this program does not know.
    #[error("{what}: {field} of type {code} is not known to this program: upgrade it, or use another")]
    Unknown {
        /// What was being read.
        what: &'static str,
        /// The field.
        field: &'static str,
        /// The number of its kind.
        code: u8,
    },
    /// The digest at the end does not fit.
    #[error("{what} is damaged (its digest does not match): make or fetch it again")]
    Damaged {
        /// What was being read.
        what: &'static str,
    },
    /// Signed by nobody, or by somebody else.
    #[error("{0} does not have its owner's signature")]
    Signature(&'static str),
}

/// Appends fields to a byte vector.
#[derive(Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    /// A writer that begins with magic and version.
    pub fn with_header(magic: &[u8], version: u16) -> Self {
        let mut writer = Self::default();
        writer.bytes(magic).u16(version);
        writer
    }

    /// Raw bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// One byte.
    pub fn u8(&mut self, v: u8) -> &mut Self {
        self.bytes(&[v])
    }

    /// Two bytes.
    pub fn u16(&mut self, v: u16) -> &mut Self {
        self.bytes(&v.to_le_bytes())
    }

    /// Four bytes.
    pub fn u32(&mut self, v: u32) -> &mut Self {
        self.bytes(&v.to_le_bytes())
    }

    /// Four bytes of a signed number.
    pub fn i32(&mut self, v: i32) -> &mut Self {
        self.u32(v as u32)
    }

    /// Eight bytes.
    pub fn u64(&mut self, v: u64) -> &mut Self {
        self.bytes(&v.to_le_bytes())
    }

    /// Text, its length in 32 bits before it.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.u32(text.len() as u32).bytes(text.as_bytes())
    }

    /// Text as [`Writer::text`] writes it, cut at `limit` bytes on a character boundary.
    pub fn text_up_to(&mut self, text: &str, limit: usize) -> &mut Self {
        self.text(&text[..text.floor_char_boundary(limit)])
    }

    /// Signed words, without their number.
    pub fn words(&mut self, words: &[i32]) -> &mut Self {
        self.0.reserve(words.len() * 4);
        words.iter().for_each(|word| self.0.extend_from_slice(&word.to_le_bytes()));
        self
    }

    /// Tensors of 32-bit words: a count, then each length and its words.
    pub fn tensors(&mut self, tensors: &[Vec<u32>]) -> &mut Self {
        // All at once: a vector that grows leaves copies of a share behind in freed memory.
        self.0.reserve(4 + tensors.iter().map(|tensor| 4 + 4 * tensor.len()).sum::<usize>());
        self.u32(tensors.len() as u32);
        for tensor in tensors {
            self.u32(tensor.len() as u32);
            extend_words(&mut self.0, tensor);
        }
        self
    }

    /// Appends the BLAKE3 digest of everything written, and gives all of it.
    pub fn finish_with_digest(mut self) -> Vec<u8> {
        let digest = blake3::hash(&self.0);
        self.bytes(digest.as_bytes());
        self.0
    }
}

/// Reads fields off the front of a byte slice.
pub struct Reader<'a> {
    what: &'static str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader of `bytes`, which should be a `what`.
    pub fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, bytes, at: 0 }
    }

    /// Checks the magic and the version at the front.
    ///
    /// # Errors
    /// When they are others, or the bytes end.
    pub fn header(&mut self, magic: &[u8], known: u16) -> Result<(), DecodeError> {
        self.header_of(magic, known..=known).map(|_| ())
    }

    /// Checks the magic, and that the version is one of those that are read; gives it.
    ///
    /// # Errors
    /// When it is another magic, another version, or the bytes end.
    pub fn header_of(&mut self, magic: &[u8], versions: RangeInclusive<u16>) -> Result<u16, DecodeError> {
        if !self.left_bytes().starts_with(magic) {
            let magic = String::from_utf8_lossy(magic).trim_end_matches('\0').to_owned();
            return Err(DecodeError::Magic { what: self.what, magic });
        }
        self.at += magic.len();
        let found = self.u16()?;
        if !versions.contains(&found) {
            return Err(DecodeError::Version { what: self.what, found, known: *versions.end() });
        }
        Ok(found)
    }

    /// Checks the BLAKE3 digest at the end, over everything before it, and takes it off.
    ///
    /// # Errors
    /// When the digest is another, or the bytes end.
    pub fn digest(&mut self) -> Result<(), DecodeError> {
        let body = self.bytes.len().checked_sub(32).filter(|&end| end >= self.at);
        let body = body.ok_or(DecodeError::Truncated { what: self.what, at: self.bytes.len() })?;
        if blake3::hash(&self.bytes[..body]).as_bytes()[..] != self.bytes[body..] {
            return Err(DecodeError::Damaged { what: self.what });
        }
        self.bytes = &self.bytes[..body];
        Ok(())
    }

    /// The next `n` bytes.
    ///
    /// # Errors
    /// When fewer bytes are left.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let (head, _) = self.left_bytes().split_at_checked(n).ok_or_else(|| self.truncated())?;
        self.at += n;
        Ok(head)
    }

    /// A fixed number of bytes.
    ///
    /// # Errors
    /// When fewer bytes are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let head = self.left_bytes().first_chunk::<N>().ok_or_else(|| self.truncated())?;
        self.at += N;
        Ok(*head)
    }

    /// One byte.
    ///
    /// # Errors
    /// When fewer bytes are left.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    /// Two bytes.
    ///
    /// # Errors
    /// When fewer bytes are left.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Four bytes.
    ///
    /// # Errors
    /// When fewer bytes are left.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Four bytes of a signed number.
    ///
    /// # Errors
    /// When fewer bytes are left.
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_le_bytes(self.array()?))
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// When fewer bytes are left.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// How many `items` follow, in 32 bits: at most `limit`, and at most one for each byte that is left.
    ///
    /// # Errors
    /// When they are more, or the bytes end.
    pub fn count(&mut self, items: &'static str, limit: usize) -> Result<usize, DecodeError> {
        let found = self.u32()?;
        if found as usize > limit {
            return Err(DecodeError::Limit { what: self.what, items, found: found.into(), limit: limit as u64 });
        }
        if found as usize > self.left() { Err(self.truncated()) } else { Ok(found as usize) }
    }

    /// Text of at most `limit` bytes, as `field`.
    ///
    /// # Errors
    /// When it is longer or no UTF-8, or the bytes end.
    pub fn text(&mut self, field: &'static str, limit: usize) -> Result<String, DecodeError> {
        let len = self.count(field, limit)?;
        let bytes = self.take(len)?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| self.field(field))
    }

    /// That many signed words.
    ///
    /// # Errors
    /// When fewer bytes are left.
    pub fn words(&mut self, len: usize) -> Result<Vec<i32>, DecodeError> {
        let bytes = self.take(len.saturating_mul(4))?;
        Ok(bytes.as_chunks::<4>().0.iter().map(|b| i32::from_le_bytes(*b)).collect())
    }

    /// At most so many tensors of 32-bit words: a count, then each length and its words.
    ///
    /// # Errors
    /// When there are more than `max_tensors`, or the bytes end.
    pub fn tensors(&mut self, max_tensors: usize) -> Result<Vec<Vec<u32>>, DecodeError> {
        let count = self.count("tensors", max_tensors)?;
        let mut tensors = Vec::with_capacity(count);
        for _ in 0..count {
            let words = self.u32()? as usize;
            tensors.push(words_from_bytes(self.take(words.saturating_mul(4))?));
        }
        Ok(tensors)
    }

    /// The error for a field with a value that it cannot have.
    pub fn field(&self, field: &'static str) -> DecodeError {
        DecodeError::Field { what: self.what, field }
    }

    /// The error for a field of an unknown kind.
    pub fn unknown(&self, field: &'static str, code: u8) -> DecodeError {
        DecodeError::Unknown { what: self.what, field, code }
    }

    fn truncated(&self) -> DecodeError {
        DecodeError::Truncated { what: self.what, at: self.at }
    }

    fn left_bytes(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// Bytes that are left.
    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// What is left.
    pub fn rest(self) -> &'a [u8] {
        self.left_bytes()
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// When something is left.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.left() {
            0 => Ok(()),
            left => Err(DecodeError::Trailing { what: self.what, left }),
        }
    }
}

/// Appends words to bytes.
pub fn extend_words(bytes: &mut Vec<u8>, words: &[u32]) {
    let start = bytes.len();
    bytes.resize(start + words.len() * 4, 0);
    for (to, word) in bytes[start..].as_chunks_mut::<4>().0.iter_mut().zip(words) {
        *to = word.to_le_bytes();
    }
}

/// The words in `bytes`, whose length is a multiple of four.
pub fn words_from_bytes(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect()
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)] as char, DIGITS[usize::from(b & 15)] as char]).collect()
}

/// Bytes from exactly `2·N` hexadecimal digits.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(digits.as_chunks::<2>().0) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = (high << 4 | low) as u8;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: &[u8; 8] = b"SHTEST\0\0";

    #[test]
    fn fields_come_back_and_limits_hold() {
        let mut w = Writer::with_header(MAGIC, 3);
        w.u8(1).u16(2).u32(3).u64(4).i32(-5).text("héllo").text_up_to("héllo", 2).words(&[-6, 7]);
        w.tensors(&[vec![1, 2], vec![]]);
        let mut r = Reader::new("test", &w.0);
        r.header(MAGIC, 3).unwrap();
        assert_eq!((r.u8(), r.u16(), r.u32(), r.u64(), r.i32()), (Ok(1), Ok(2), Ok(3), Ok(4), Ok(-5)));
        assert_eq!((r.text("name", 8).unwrap(), r.text("name", 8).unwrap()), ("héllo".into(), "h".into()));
        assert_eq!(r.words(2).unwrap(), [-6, 7]);
        assert_eq!(r.tensors(2).unwrap(), vec![vec![1, 2], vec![]]);
        r.finish().unwrap();

        let tensors = |bytes: &[u8]| Reader::new("test", bytes).tensors(2).unwrap_err();
        let limit = |items, found| DecodeError::Limit { what: "test", items, found, limit: 2 };
        assert_eq!(tensors(&[255; 4]), limit("tensors", u64::from(u32::MAX)));
        assert_eq!(tensors(&[3, 0, 0, 0, 1, 1, 1]), limit("tensors", 3));
        assert_eq!(tensors(&[1, 0, 0, 0, 255, 255, 255, 255]), DecodeError::Truncated { what: "test", at: 8 });
        let text = |limit, bytes: &[u8]| Reader::new("test", bytes).text("name", limit).unwrap_err();
        assert_eq!(text(2, &[3, 0, 0, 0, 97, 98, 99]), limit("name", 3));
        assert_eq!(text(9, &[1, 0, 0, 0, 255]), DecodeError::Field { what: "test", field: "name" });
    }

    #[test]
    fn more_items_than_bytes_that_are_left_are_not_made_room_for() {
        let count = |bytes: &[u8]| Reader::new("test", bytes).count("items", 1 << 30);
        assert_eq!(count(&[2, 0, 0, 0, 7, 7]), Ok(2));
        assert_eq!(count(&[3, 0, 0, 0, 7, 7]), Err(DecodeError::Truncated { what: "test", at: 4 }));
    }

    #[test]
    fn another_format_another_version_and_damage_are_told_apart() {
        let bytes = Writer::with_header(MAGIC, 3).finish_with_digest();
        let read = |bytes: &[u8], known: RangeInclusive<u16>| {
            let mut r = Reader::new("test", bytes);
            let version = r.header_of(MAGIC, known)?;
            r.digest()?;
            r.finish().map(|()| version)
        };
        assert_eq!(read(&bytes, 3..=3), Ok(3));
        assert_eq!(read(&bytes, 2..=4), Ok(3));
        assert_eq!(
            read(&bytes, 4..=4).unwrap_err().to_string(),
            "test has version 3, this program knows version 4: upgrade the older side, or make it again"
        );
        let other = [b"GIF89a\0\0", &bytes[8..]].concat();
        assert_eq!(
            read(&other, 3..=3).unwrap_err().to_string(),
            "not a Sahara test: the first bytes are not \"SHTEST\""
        );
        let mut damaged = bytes.clone();
        damaged[20] ^= 1;
        assert_eq!(read(&damaged, 3..=3), Err(DecodeError::Damaged { what: "test" }));
        assert_eq!(read(&bytes[..30], 3..=3), Err(DecodeError::Truncated { what: "test", at: 30 }));
        let mut longer = Reader::new("test", &bytes);
        longer.header(MAGIC, 3).unwrap();
        assert_eq!(longer.finish(), Err(DecodeError::Trailing { what: "test", left: 32 }));
    }

    #[test]
    fn hexadecimal_round_trip() {
        assert_eq!(hex(&[0, 171, 255]), "00abff");
        assert_eq!(unhex::<3>("00abFF"), Some([0, 171, 255]));
        assert_eq!(unhex::<3>("00abf"), None);
        assert_eq!(unhex::<3>("00abfg"), None);
    }
}
