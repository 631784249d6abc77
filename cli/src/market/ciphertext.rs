//! The file of a ciphertext that full-access licences sell: a folder or a file, sealed piece by piece.
//!
//! ```text
//! file       "SHSEALED"  version u16  bytes of the plaintext u64  hash of each plaintext piece, 32 bytes each  pieces
//! plaintext  bytes of the listing u32  listing  the files' bytes, one after the other
//! listing    "SHFOLDER"  version u16  count u32  for each file: length u16, path, bytes u64
//! ```
//!
//! Numbers are little-endian, paths UTF-8 with `/`. Pieces, their cipher and the tree over them are
//! [`sahara_market::ciphertext`]'s. Everything streams: memory holds 64 bytes for each piece of 4,096.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Component, Path, PathBuf};

use alloy_primitives::{B256, keccak256};
use sahara_circuits::bytes::{Reader, Writer};
use sahara_market::ciphertext::{MAX_PIECES, PIECE, apply, leaf, proof, root};
use sahara_mpc::durable;

use crate::error::{Error, Result};

const MAGIC: &[u8] = b"SHSEALED";
const LISTING: &[u8] = b"SHFOLDER";
const VERSION: u16 = 1;
/// Bytes before the hashes.
const HEADER: usize = 18;
/// Longest listing.
const MAX_LISTING: usize = 1 << 20;
/// Most files.
const MAX_FILES: usize = 4096;
/// Longest path, in bytes.
const MAX_PATH: usize = 512;
/// Deepest folder.
const MAX_DEPTH: usize = 16;

/// Something that is sealed, or was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    path: String,
    bytes: u64,
}

/// Seals a folder or a file into `out`, where nothing is yet; the root of its pieces. `leaves_out`: what of a folder stays away.
///
/// # Errors
/// When something of it cannot be read or is more than a ciphertext holds, or `out` cannot be written.
pub fn seal(source: &Path, leaves_out: &[&str], key: &B256, out: &Path) -> Result<B256> {
    let (base, entries) = listed(source, leaves_out)?;
    let listing = encode(&entries);
    let length = entries.iter().try_fold(4 + listing.len() as u64, |sum, entry| sum.checked_add(entry.bytes));
    let pieces = length.map(|length| length.div_ceil(PIECE as u64)).filter(|pieces| *pieces <= MAX_PIECES as u64);
    let (Some(length), Some(pieces)) = (length, pieces) else {
        return Err(Error::user(format!("{} is more than a ciphertext holds (16 GB)", source.display())));
    };
    let mut made = Ok(B256::ZERO);
    let written = durable::create(out, |file| {
        made = write(file, &base, &entries, &listing, (length, pieces as usize), key);
        match &made {
            Ok(_) => Ok(()),
            Err(_) => Err(io::ErrorKind::Other.into()),
        }
    });
    let root = made?;
    written.map_err(|e| Error::io("writing the ciphertext", out, e))?;
    Ok(root)
}

fn write(
    file: &mut File,
    base: &Path,
    entries: &[Entry],
    listing: &[u8],
    (length, pieces): (u64, usize),
    key: &B256,
) -> Result<B256> {
    let failed = |e| Error::fault_from("writing the ciphertext", e);
    let mut header = Writer::with_header(MAGIC, VERSION);
    header.u64(length);
    // The hashes are known when the pieces are written.
    let hashes = vec![0; pieces * 32];
    file.write_all(&header.0).and_then(|()| file.write_all(&hashes)).map_err(failed)?;
    let mut sealing = Sealing {
        to: BufWriter::new(&mut *file),
        key,
        index: 0,
        piece: Vec::with_capacity(PIECE),
        leaves: vec![],
        hashes: vec![],
    };
    sealing
        .write_all(&(listing.len() as u32).to_le_bytes())
        .and_then(|()| sealing.write_all(listing))
        .map_err(failed)?;
    for entry in entries {
        let path = base.join(&entry.path);
        let reading = |e| Error::io("reading", &path, e);
        let mut from = File::open(&path).map_err(reading)?.take(entry.bytes);
        let copied = io::copy(&mut from, &mut sealing).map_err(reading)?;
        if copied != entry.bytes {
            return Err(Error::user(format!("{} became shorter while it was read: try again", path.display())));
        }
    }
    let (leaves, hashes) = sealing.finish().map_err(failed)?;
    file.seek(SeekFrom::Start(HEADER as u64)).map_err(failed)?;
    let hashes: Vec<[u8; 32]> = hashes.iter().map(|hash| hash.0).collect();
    file.write_all(hashes.as_flattened()).map_err(failed)?;
    Ok(root(&leaves))
}

/// Cuts what is written to it into pieces, and seals them.
struct Sealing<'a, W: Write> {
    to: W,
    key: &'a B256,
    index: u64,
    piece: Vec<u8>,
    leaves: Vec<B256>,
    hashes: Vec<B256>,
}

impl<W: Write> Sealing<'_, W> {
    fn seal(&mut self) -> io::Result<()> {
        let plain = keccak256(&self.piece);
        apply(self.key, self.index, &mut self.piece);
        self.to.write_all(&self.piece)?;
        self.leaves.push(leaf(self.index, keccak256(&self.piece), plain));
        self.hashes.push(plain);
        self.index += 1;
        self.piece.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<(Vec<B256>, Vec<B256>)> {
        if !self.piece.is_empty() {
            self.seal()?;
        }
        self.to.flush()?;
        Ok((self.leaves, self.hashes))
    }
}

impl<W: Write> Write for Sealing<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == PIECE {
            self.seal()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A piece that a key does not open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Which one.
    pub index: u64,
    /// Its bytes.
    pub piece: Vec<u8>,
    /// The hash of its plaintext, as it was promised.
    pub plaintext: B256,
    /// The way to the root.
    pub proof: Vec<B256>,
}

/// A ciphertext's file, read once.
pub struct Sealed {
    path: PathBuf,
    length: u64,
    hashes: Vec<B256>,
    leaves: Vec<B256>,
}

impl Sealed {
    /// Reads the file, whoever it is of.
    ///
    /// # Errors
    /// When it cannot be read, or is none.
    pub fn read(path: &Path) -> Result<Self> {
        let none = |why: &str| Error::user(format!("{} is no ciphertext: {why}", path.display()));
        let reading = |e| Error::io("reading", path, e);
        let file = File::open(path).map_err(reading)?;
        let all = file.metadata().map_err(reading)?.len();
        let mut from = BufReader::new(file);
        let mut header = [0; HEADER];
        from.read_exact(&mut header).map_err(|_| none("it is too short"))?;
        let mut reader = Reader::new("a ciphertext", &header);
        reader.header(MAGIC, VERSION).map_err(|e| none(&e.to_string()))?;
        let length = reader.u64().map_err(|e| none(&e.to_string()))?;
        let pieces = length.div_ceil(PIECE as u64);
        let expected = length.checked_add(HEADER as u64 + pieces.saturating_mul(32));
        if length == 0 || pieces > MAX_PIECES as u64 || expected != Some(all) {
            return Err(none("its length is not what it says"));
        }
        let mut hashes = Vec::with_capacity(pieces as usize);
        for _ in 0..pieces {
            let mut hash = B256::ZERO;
            from.read_exact(hash.as_mut_slice()).map_err(reading)?;
            hashes.push(hash);
        }
        let mut sealed = Self { path: path.to_owned(), length, hashes, leaves: Vec::new() };
        let mut piece = Vec::with_capacity(PIECE);
        for index in 0..sealed.hashes.len() {
            sealed.next(&mut from, index, &mut piece).map_err(reading)?;
            sealed.leaves.push(leaf(index as u64, keccak256(&piece), sealed.hashes[index]));
        }
        Ok(sealed)
    }

    /// What names it on the chain.
    pub fn root(&self) -> B256 {
        root(&self.leaves)
    }

    /// The first piece that a key does not open, with what shows that; none when the key opens all.
    ///
    /// # Errors
    /// When the file cannot be read any more.
    pub fn wrong(&self, key: &B256) -> Result<Option<Wrong>> {
        let reading = |e| Error::io("reading", &self.path, e);
        let mut from = self.pieces().map_err(reading)?;
        let mut piece = Vec::with_capacity(PIECE);
        for (index, hash) in self.hashes.iter().enumerate() {
            self.next(&mut from, index, &mut piece).map_err(reading)?;
            let mut plain = piece.clone();
            apply(key, index as u64, &mut plain);
            if keccak256(&plain) != *hash {
                let proof = proof(&self.leaves, index);
                return Ok(Some(Wrong { index: index as u64, piece, plaintext: *hash, proof }));
            }
        }
        Ok(None)
    }

    /// Opens it into a folder, where nothing is yet; how many files there are.
    ///
    /// # Errors
    /// When the key is not its key, what it holds are no files, or the folder cannot be made.
    pub fn unpack(&self, key: &B256, folder: &Path) -> Result<usize> {
        if folder.exists() {
            return Err(Error::user(format!("{} is there already: name another folder", folder.display())));
        }
        let parent = durable::folder(folder);
        let making = |e| Error::io("making a folder in", parent, e);
        let fresh = tempfile::Builder::new().prefix(".opening-").tempdir_in(parent).map_err(making)?;
        let mut plain =
            Plain { sealed: self, from: self.pieces().map_err(making)?, key, index: 0, piece: vec![], at: 0 };
        let files = unpacked(&mut plain, self.length, fresh.path())?;
        durable::place(fresh.path(), folder).map_err(|e| Error::io("making", folder, e))?;
        Ok(files)
    }

    fn pieces(&self) -> io::Result<BufReader<File>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(HEADER as u64 + 32 * self.hashes.len() as u64))?;
        Ok(BufReader::new(file))
    }

    fn next(&self, from: &mut impl Read, index: usize, piece: &mut Vec<u8>) -> io::Result<()> {
        let rest = self.length - (index * PIECE) as u64;
        piece.resize(rest.min(PIECE as u64) as usize, 0);
        from.read_exact(piece)
    }
}

/// The plaintext of a ciphertext, each piece compared with what was promised.
struct Plain<'a> {
    sealed: &'a Sealed,
    from: BufReader<File>,
    key: &'a B256,
    index: usize,
    piece: Vec<u8>,
    at: usize,
}

impl Read for Plain<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() && self.index < self.sealed.hashes.len() {
            self.sealed.next(&mut self.from, self.index, &mut self.piece)?;
            apply(self.key, self.index as u64, &mut self.piece);
            if keccak256(&self.piece) != self.sealed.hashes[self.index] {
                return Err(io::Error::other(format!("the key does not open piece {}", self.index)));
            }
            (self.index, self.at) = (self.index + 1, 0);
        }
        let taken = into.len().min(self.piece.len() - self.at);
        into[..taken].copy_from_slice(&self.piece[self.at..self.at + taken]);
        self.at += taken;
        Ok(taken)
    }
}

fn unpacked(plain: &mut impl Read, length: u64, folder: &Path) -> Result<usize> {
    let opening = |e: io::Error| Error::user(format!("opening the ciphertext: {e}"));
    let mut size = [0; 4];
    plain.read_exact(&mut size).map_err(opening)?;
    let size = u32::from_le_bytes(size) as usize;
    if size > MAX_LISTING {
        return Err(Error::user("the ciphertext holds something else than files: its listing is too long"));
    }
    let mut listing = vec![0; size];
    plain.read_exact(&mut listing).map_err(opening)?;
    let entries = decode(&listing).map_err(|why| Error::user(format!("what the ciphertext holds: {why}")))?;
    let all = entries.iter().try_fold(4 + size as u64, |sum, entry| sum.checked_add(entry.bytes));
    if all != Some(length) {
        return Err(Error::user("what the ciphertext holds: its files are not as long as its listing says"));
    }
    for entry in &entries {
        let path = folder.join(&entry.path);
        let writing = |e| Error::io("writing", &path, e);
        std::fs::create_dir_all(durable::folder(&path)).map_err(writing)?;
        let mut file = File::options().write(true).create_new(true).open(&path).map_err(writing)?;
        let copied = io::copy(&mut plain.by_ref().take(entry.bytes), &mut file).map_err(opening)?;
        if copied != entry.bytes {
            return Err(Error::user("what the ciphertext holds ends too early"));
        }
        file.sync_all().map_err(writing)?;
    }
    Ok(entries.len())
}

/// The files of a folder, or the one that is named, with the folder that they are in.
fn listed(source: &Path, leaves_out: &[&str]) -> Result<(PathBuf, Vec<Entry>)> {
    let reading = |path: &Path, e| Error::io("reading", path, e);
    let facts = std::fs::metadata(source).map_err(|e| reading(source, e))?;
    let mut entries = Vec::new();
    if facts.is_file() {
        let name = source.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| Error::user(format!("{} is not text", source.display())))?;
        entries.push(Entry { path: name.to_owned(), bytes: facts.len() });
        return Ok((durable::folder(source).to_owned(), entries));
    }
    let mut folders = vec![(String::new(), 0)];
    while let Some((below, depth)) = folders.pop() {
        let folder = source.join(&below);
        for entry in std::fs::read_dir(&folder).map_err(|e| reading(&folder, e))? {
            let entry = entry.map_err(|e| reading(&folder, e))?;
            let name = entry.file_name();
            let name = name.to_str().ok_or_else(|| Error::user(format!("{} is not text", entry.path().display())))?;
            if below.is_empty() && leaves_out.contains(&name) {
                continue;
            }
            let path = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
            let kind = entry.file_type().map_err(|e| reading(&entry.path(), e))?;
            // Files may lie elsewhere; folders that do could hold themselves.
            let facts = std::fs::metadata(entry.path()).map_err(|e| reading(&entry.path(), e))?;
            match (facts.is_file(), kind.is_dir()) {
                (true, _) => entries.push(Entry { path, bytes: facts.len() }),
                (false, true) if depth < MAX_DEPTH => folders.push((path, depth + 1)),
                _ => {
                    let path = entry.path();
                    return Err(Error::user(format!("{} is neither a file nor a folder of this one", path.display())));
                }
            }
        }
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    // What nobody could open is not sealed.
    let readable = decode(&encode(&entries)).map_err(|why| Error::user(format!("{}: {why}", source.display())))?;
    Ok((source.to_owned(), readable))
}

fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut listing = Writer::with_header(LISTING, VERSION);
    listing.u32(entries.len() as u32);
    for entry in entries {
        listing.u16(entry.path.len().min(u16::MAX.into()) as u16).bytes(entry.path.as_bytes()).u64(entry.bytes);
    }
    listing.0
}

fn decode(listing: &[u8]) -> std::result::Result<Vec<Entry>, String> {
    if listing.len() > MAX_LISTING {
        return Err(format!("a listing of {} bytes, at most {MAX_LISTING} are read", listing.len()));
    }
    let mut reader = Reader::new("a listing", listing);
    let read = |e: sahara_circuits::bytes::DecodeError| e.to_string();
    reader.header(LISTING, VERSION).map_err(read)?;
    let count = reader.u32().map_err(read)? as usize;
    if !(1..=MAX_FILES).contains(&count) {
        return Err(format!("{count} files: between 1 and {MAX_FILES} can be"));
    }
    let mut entries = Vec::with_capacity(count);
    let mut known = BTreeSet::new();
    for _ in 0..count {
        let length = reader.u16().map_err(read)?;
        let path = reader.take(length.into()).map_err(read)?;
        let path = std::str::from_utf8(path).map_err(|_| "a path that is not text".to_owned())?;
        let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        let clean = !path.is_empty() && path.len() <= MAX_PATH && !path.chars().any(char::is_control);
        // As it is written, so that two ways to write one path are not two files.
        let canonical = path.split('/').all(|part| !part.is_empty()) && !path.contains('\\');
        let fresh = known.insert(path.to_owned());
        if !(plain && clean && canonical && fresh) {
            return Err(format!("the path '{}' is none that can be", path.escape_debug()));
        }
        entries.push(Entry { path: path.to_owned(), bytes: reader.u64().map_err(read)? });
    }
    reader.finish().map_err(read)?;
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: B256 = B256::repeat_byte(7);

    fn sealed(files: &[(&str, usize)]) -> (tempfile::TempDir, Sealed, B256) {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("model");
        for (name, length) in files {
            let path = source.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, vec![name.len() as u8; *length]).unwrap();
        }
        let out = dir.path().join("out.sealed");
        let root = seal(&source, &["compiled"], &KEY, &out).unwrap();
        let sealed = Sealed::read(&out).unwrap();
        (dir, sealed, root)
    }

    #[test]
    fn a_folder_comes_back_with_its_key_and_with_no_other() {
        let (dir, sealed, root) = sealed(&[("a", 0), ("b/c.bin", 10_000), ("d", PIECE), ("compiled/x", 9)]);
        assert_eq!(sealed.root(), root);
        assert_eq!(sealed.wrong(&KEY).unwrap(), None);
        let out = dir.path().join("back");
        assert_eq!(sealed.unpack(&KEY, &out).unwrap(), 3);
        assert_eq!(std::fs::read(out.join("b/c.bin")).unwrap(), vec![7; 10_000]);
        assert!(!out.join("compiled").exists());
        assert_eq!(sealed.unpack(&KEY, &out).unwrap_err().exit_code(), 2, "nothing is written over");
        let other = B256::repeat_byte(8);
        let error = sealed.unpack(&other, &dir.path().join("other")).unwrap_err();
        assert!(error.report().contains("piece 0"), "{}", error.report());
        assert!(!dir.path().join("other").exists());
        let wrong = sealed.wrong(&other).unwrap().unwrap();
        let start = leaf(wrong.index, keccak256(&wrong.piece), wrong.plaintext);
        let climbed = wrong.proof.iter().fold(start, |at, other| sahara_market::ciphertext::root(&[at, *other]));
        assert_eq!(climbed, root, "the contract finds the way from the piece to the root");
    }

    #[test]
    fn a_file_that_is_damaged_is_another_one_or_none() {
        let (dir, sealed, root) = sealed(&[("a", 9000)]);
        let good = std::fs::read(&sealed.path).unwrap();
        let file = dir.path().join("damaged");
        for at in (0..good.len()).step_by(97) {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            std::fs::write(&file, &bytes).unwrap();
            assert!(Sealed::read(&file).map_or(true, |other| other.root() != root), "byte {at}");
        }
        for length in [0, 7, HEADER, HEADER + 31, good.len() - 1] {
            std::fs::write(&file, &good[..length]).unwrap();
            assert_eq!(Sealed::read(&file).err().map(|error| error.exit_code()), Some(2), "{length} bytes");
        }
        let huge = [&good[..10], &u64::MAX.to_le_bytes()].concat();
        std::fs::write(&file, huge).unwrap();
        assert!(Sealed::read(&file).is_err());
    }

    #[test]
    fn nothing_is_written_outside_the_folder() {
        let entry = |path: &str| Entry { path: path.to_owned(), bytes: 1 };
        for path in ["", "..", "../a", "/a", "a/../b", "a//b", "./a", "a/", "a\\b", "a\nb", &"x".repeat(513)] {
            assert!(decode(&encode(&[entry(path)])).is_err(), "{path}");
        }
        assert!(decode(&encode(&[entry("a"), entry("a")])).is_err());
        assert!(decode(&encode(&[])).is_err());
        assert_eq!(decode(&encode(&[entry("a/b")])).unwrap(), [entry("a/b")]);
        let mut random = 7u64;
        for _ in 0..2000 {
            let mut listing = encode(&[entry("a/b"), entry("c")]);
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (random >> 33) as usize % listing.len();
            listing[at] ^= (random >> 20) as u8 | 1;
            let _ = decode(&listing);
        }
    }
}
