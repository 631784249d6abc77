//! Canonical bytes: little-endian, explicit lengths, a magic and a version in front. Every length is checked against
//! its limit and against the bytes that are left before anything is allocated.

#[cfg(feature = "frontend")]
use std::io::Read as _;
use std::ops::RangeInclusive;
#[cfg(feature = "frontend")]
use std::path::Path;

/// Why stored or received bytes were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not this kind of file.
    #[error("not a Sahara {what}: the first bytes are not \"{magic}\"")]
    Magic {
        /// Kind of file expected.
        what: &'static str,
        /// The bytes it starts with.
        magic: String,
    },
    /// Made by another version of the program.
    #[error("{what} has version {found}; this program reads version {known}: update it, or make the file again")]
    Version {
        /// Kind of file.
        what: &'static str,
        /// Version in the file.
        found: u16,
        /// Version this program knows.
        known: u16,
    },
    /// The bytes end too early.
    #[error("{what} is cut short at byte {at}")]
    Short {
        /// Kind of file.
        what: &'static str,
        /// Where the next item should have been.
        at: usize,
    },
    /// More items than allowed.
    #[error("{what} declares {found} {items}, more than the limit of {limit}")]
    Limit {
        /// Kind of file.
        what: &'static str,
        /// What is counted.
        items: &'static str,
        /// Declared number.
        found: u64,
        /// Largest number allowed.
        limit: u64,
    },
    /// A value that cannot be.
    #[error("{what} has an impossible {item} at byte {at}")]
    Invalid {
        /// Kind of file.
        what: &'static str,
        /// What was being read.
        item: &'static str,
        /// Where.
        at: usize,
    },
    /// Bytes after the end.
    #[error("{what} has {left} bytes after its end")]
    Trailing {
        /// Kind of file.
        what: &'static str,
        /// How many.
        left: usize,
    },
    /// The digest at the end does not fit.
    #[error("{what} is damaged (its digest does not match): make or fetch it again")]
    Damaged {
        /// Kind of file.
        what: &'static str,
    },
}

/// A whole file; nothing if it is larger than `most` bytes.
///
/// # Errors
/// When it cannot be read.
#[cfg(feature = "frontend")]
pub(crate) fn read_at_most(path: &Path, most: u64) -> std::io::Result<Option<Vec<u8>>> {
    let file = std::fs::File::open(path)?;
    let len = file.metadata()?.len();
    let mut bytes = Vec::new();
    if len > most {
        return Ok(None);
    }
    bytes.reserve_exact(len as usize);
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= most).then_some(bytes))
}

/// Appends canonical bytes.
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn new(magic: &[u8], version: u16) -> Self {
        let mut writer = Self { bytes: magic.to_vec() };
        writer.u16(version);
        writer
    }

    pub(crate) fn u8(&mut self, x: u8) {
        self.bytes.push(x);
    }

    pub(crate) fn u16(&mut self, x: u16) {
        self.bytes.extend_from_slice(&x.to_le_bytes());
    }

    pub(crate) fn u32(&mut self, x: u32) {
        self.bytes.extend_from_slice(&x.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, x: u64) {
        self.bytes.extend_from_slice(&x.to_le_bytes());
    }

    pub(crate) fn i32(&mut self, x: i32) {
        self.u32(x as u32);
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// A length in 32 bits, then the bytes.
    pub(crate) fn text(&mut self, text: &str) {
        self.u32(text.len() as u32);
        self.raw(text.as_bytes());
    }

    pub(crate) fn words(&mut self, words: &[i32]) {
        self.bytes.reserve(words.len() * 4);
        for w in words {
            self.bytes.extend_from_slice(&w.to_le_bytes());
        }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    /// Appends the BLAKE3 digest of everything written.
    pub(crate) fn finish_with_digest(mut self) -> Vec<u8> {
        let digest = blake3::hash(&self.bytes);
        self.bytes.extend_from_slice(digest.as_bytes());
        self.bytes
    }
}

/// Reads what [`Writer`] wrote.
pub(crate) struct Reader<'a> {
    what: &'static str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Checks magic and version.
    pub(crate) fn new(what: &'static str, bytes: &'a [u8], magic: &[u8], version: u16) -> Result<Self, DecodeError> {
        Ok(Self::up_to(what, bytes, magic, version..=version)?.0)
    }

    /// Checks magic and version, where several are read; and which it is.
    pub(crate) fn up_to(
        what: &'static str,
        bytes: &'a [u8],
        magic: &[u8],
        versions: RangeInclusive<u16>,
    ) -> Result<(Self, u16), DecodeError> {
        if !bytes.starts_with(magic) {
            return Err(DecodeError::Magic { what, magic: String::from_utf8_lossy(magic).into_owned() });
        }
        let mut reader = Self { what, bytes, at: magic.len() };
        let found = reader.u16()?;
        if !versions.contains(&found) {
            return Err(DecodeError::Version { what, found, known: *versions.end() });
        }
        Ok((reader, found))
    }

    /// [`Reader::new`], and the digest at the end.
    pub(crate) fn with_digest(
        what: &'static str,
        bytes: &'a [u8],
        magic: &[u8],
        version: u16,
    ) -> Result<Self, DecodeError> {
        let mut reader = Self::new(what, bytes, magic, version)?;
        let body = bytes.len().checked_sub(32).filter(|&n| n >= reader.at);
        let body = body.ok_or(DecodeError::Short { what, at: bytes.len() })?;
        if blake3::hash(&bytes[..body]).as_bytes()[..] != bytes[body..] {
            return Err(DecodeError::Damaged { what });
        }
        reader.bytes = &bytes[..body];
        Ok(reader)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.take::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(self.take()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    pub(crate) fn i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_le_bytes(self.take()?))
    }

    pub(crate) fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut out = [0; N];
        out.copy_from_slice(self.raw(N)?);
        Ok(out)
    }

    pub(crate) fn raw(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let short = DecodeError::Short { what: self.what, at: self.at };
        let end = self.at.checked_add(len).filter(|&end| end <= self.bytes.len()).ok_or(short)?;
        let bytes = &self.bytes[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    /// A length in 32 bits, at most `limit` and at most the number of bytes left.
    pub(crate) fn count(&mut self, items: &'static str, limit: usize) -> Result<usize, DecodeError> {
        let found = self.u32()?;
        if found as usize > limit {
            return Err(DecodeError::Limit { what: self.what, items, found: found.into(), limit: limit as u64 });
        }
        if found as usize > self.bytes.len() - self.at {
            return Err(DecodeError::Short { what: self.what, at: self.at });
        }
        Ok(found as usize)
    }

    pub(crate) fn text(&mut self, item: &'static str, limit: usize) -> Result<String, DecodeError> {
        let len = self.count(item, limit)?;
        let bytes = self.raw(len)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(self.invalid(item)),
        }
    }

    pub(crate) fn words(&mut self, len: usize) -> Result<Vec<i32>, DecodeError> {
        let bytes = self.raw(len.saturating_mul(4))?;
        Ok(bytes.chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    }

    /// The error for a value that cannot be.
    pub(crate) fn invalid(&self, item: &'static str) -> DecodeError {
        DecodeError::Invalid { what: self.what, item, at: self.at }
    }

    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        match self.bytes.len() - self.at {
            0 => Ok(()),
            left => Err(DecodeError::Trailing { what: self.what, left }),
        }
    }
}
