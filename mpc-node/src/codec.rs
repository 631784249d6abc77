//! Little-endian readers and writers of the byte formats that leave the process: frames, packs, transcripts.
//!
//! A reader never allocates more than the bytes it was given allow, and every error says what was being read.

use thiserror::Error;

/// Bytes that do not have the announced form.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The bytes end early.
    #[error("{0} ends early")]
    Truncated(&'static str),
    /// Bytes are left over.
    #[error("{what} has {left} bytes too many")]
    Trailing {
        /// What was being read.
        what: &'static str,
        /// How many bytes are left.
        left: usize,
    },
    /// Another format altogether.
    #[error("these bytes are not a {0}")]
    Magic(&'static str),
    /// A version this program does not know.
    #[error("{what} has version {found}, this program knows version {known}: upgrade the older side")]
    Version {
        /// What was being read.
        what: &'static str,
        /// The version found.
        found: u16,
        /// The version known.
        known: u16,
    },
    /// A field out of its range.
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
    /// Signed by nobody, or by somebody else.
    #[error("{0} does not have its owner's signature")]
    Signature(&'static str),
}

/// Reads fields off the front of a byte slice.
pub struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader of `bytes`, which should be a `what`.
    pub fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, rest: bytes }
    }

    /// Checks the magic and the version at the front.
    pub fn header(&mut self, magic: &[u8; 8], known: u16) -> Result<(), DecodeError> {
        if self.take(8).map_err(|_| DecodeError::Magic(self.what))? != magic {
            return Err(DecodeError::Magic(self.what));
        }
        let found = self.u16()?;
        if found != known {
            return Err(DecodeError::Version { what: self.what, found, known });
        }
        Ok(())
    }

    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(DecodeError::Truncated(self.what))?;
        self.rest = rest;
        Ok(head)
    }

    /// A fixed number of bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated(self.what))?;
        self.rest = rest;
        Ok(*head)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A length of at most `limit`, as `field`.
    pub fn len(&mut self, field: &'static str, limit: usize) -> Result<usize, DecodeError> {
        let n = self.u32()? as usize;
        if n > limit { Err(self.field(field)) } else { Ok(n) }
    }

    /// Text of at most `limit` bytes, as `field`.
    pub fn text(&mut self, field: &'static str, limit: usize) -> Result<String, DecodeError> {
        let n = self.len(field, limit)?;
        let bytes = self.take(n)?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| self.field(field))
    }

    /// Tensors of 32-bit words: a count, then each length and its words.
    pub fn tensors(&mut self, max_tensors: usize) -> Result<Vec<Vec<u32>>, DecodeError> {
        let count = self.len("tensor count", max_tensors)?;
        let mut tensors = Vec::with_capacity(count);
        for _ in 0..count {
            let words = self.u32()? as usize;
            let bytes = words.checked_mul(4).ok_or_else(|| self.field("tensor length"))?;
            tensors.push(words_from_bytes(self.take(bytes)?));
        }
        Ok(tensors)
    }

    /// The error for a field out of range.
    pub fn field(&self, field: &'static str) -> DecodeError {
        DecodeError::Field { what: self.what, field }
    }

    /// The error for a field of an unknown kind.
    pub fn unknown(&self, field: &'static str, code: u8) -> DecodeError {
        DecodeError::Unknown { what: self.what, field, code }
    }

    /// Bytes that are left.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// What is left.
    pub fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Checks that nothing is left.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Trailing { what: self.what, left: self.rest.len() })
        }
    }
}

/// Appends fields to a byte vector.
#[derive(Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    /// A writer that begins with magic and version.
    pub fn with_header(magic: &[u8; 8], version: u16) -> Self {
        let mut w = Self::default();
        w.bytes(magic).u16(version);
        w
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

    /// Eight bytes.
    pub fn u64(&mut self, v: u64) -> &mut Self {
        self.bytes(&v.to_le_bytes())
    }

    /// Text with its length; cut at `limit` bytes on a character boundary.
    pub fn text(&mut self, text: &str, limit: usize) -> &mut Self {
        let mut end = text.len().min(limit);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.u32(end as u32).bytes(&text.as_bytes()[..end])
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

    #[test]
    fn fields_come_back_and_limits_hold() {
        let mut w = Writer::with_header(b"SHTEST\0\0", 3);
        w.u8(1).u16(2).u32(3).u64(4).text("héllo", 2).tensors(&[vec![1, 2], vec![]]);
        let mut r = Reader::new("test", &w.0);
        r.header(b"SHTEST\0\0", 3).unwrap();
        assert_eq!((r.u8(), r.u16(), r.u32(), r.u64()), (Ok(1), Ok(2), Ok(3), Ok(4)));
        assert_eq!(r.text("name", 8).unwrap(), "h");
        assert_eq!(r.tensors(2).unwrap(), vec![vec![1, 2], vec![]]);
        r.finish().unwrap();

        let error = Reader::new("test", &w.0).header(b"SHTEST\0\0", 4).unwrap_err();
        assert_eq!(error.to_string(), "test has version 3, this program knows version 4: upgrade the older side");
        assert_eq!(
            Reader::new("test", &[255; 4]).tensors(2),
            Err(DecodeError::Field { what: "test", field: "tensor count" })
        );
        assert!(Reader::new("test", &[1, 0, 0, 0, 255, 255, 255, 255]).tensors(2).is_err());
    }

    #[test]
    fn hexadecimal_round_trip() {
        assert_eq!(hex(&[0, 171, 255]), "00abff");
        assert_eq!(unhex::<3>("00abFF"), Some([0, 171, 255]));
        assert_eq!(unhex::<3>("00abf"), None);
        assert_eq!(unhex::<3>("00abfg"), None);
    }
}
