//! The client part of a shared model: what a consumer needs who never has the weights, in one file.
//!
//! It holds the files of a compiled model but the weights: tokenizer, embedding tables and first norm, graphs and how
//! answers are read. Owners make it, nodes serve it, and its digest stands in the owner's manifest.

use std::io::{Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use sahara_circuits::model::CompiledModel;

use super::StoreError;
use crate::error::{Error, Result};
use crate::home::write_atomic;

const MAGIC: &[u8; 8] = b"SHCLIENT";
const VERSION: u16 = 1;
/// Most files in it, most bytes of one of them, and of all.
const MAX_FILES: u32 = 256;
const MAX_BYTES: u64 = 2 << 30;
/// Ways in which a file is stored.
const PLAIN: u8 = 0;
const DEFLATED: u8 = 1;

/// The client part of a model.
///
/// # Errors
/// Only when memory cannot be written, which does not happen.
pub fn pack(compiled: &CompiledModel) -> Result<Vec<u8>> {
    let files = compiled.client_files();
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&(files.len() as u32).to_le_bytes());
    for (name, bytes) in files {
        // Tables of embeddings hardly shrink; a fast pass over them is enough to find out.
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        let deflated = encoder.write_all(&bytes).and_then(|()| encoder.finish());
        let deflated = deflated.map_err(|e| Error::engine("packing the client part", e))?;
        let (way, stored) = if deflated.len() < bytes.len() { (DEFLATED, &deflated) } else { (PLAIN, &bytes) };
        out.push(name.len() as u8);
        out.extend_from_slice(name.as_bytes());
        out.push(way);
        out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        out.extend_from_slice(&(stored.len() as u64).to_le_bytes());
        out.extend_from_slice(stored);
    }
    Ok(out)
}

/// Writes the files of a client part into a folder.
///
/// # Errors
/// When the bytes are not a client part that this program reads, or the folder cannot be written.
pub fn unpack(bytes: &[u8], folder: &Path) -> Result<()> {
    let mut rest = bytes;
    if take(&mut rest, MAGIC.len())? != MAGIC {
        return Err(damaged("it does not begin as one"));
    }
    let version = u16::from_le_bytes(array(&mut rest)?);
    if version != VERSION {
        return Err(damaged(&format!("it has version {version}, this program reads {VERSION}: upgrade it")));
    }
    let count = u32::from_le_bytes(array(&mut rest)?);
    if count > MAX_FILES {
        return Err(damaged("it has too many files"));
    }
    let mut total = 0u64;
    for _ in 0..count {
        let [len] = array(&mut rest)?;
        let name = std::str::from_utf8(take(&mut rest, len.into())?).ok().filter(|name| is_file_name(name));
        let name = name.ok_or_else(|| damaged("a file in it has no plain name"))?;
        let [way] = array(&mut rest)?;
        let len = u64::from_le_bytes(array(&mut rest)?);
        let stored = u64::from_le_bytes(array(&mut rest)?);
        total = total.saturating_add(len);
        if total > MAX_BYTES || stored > rest.len() as u64 {
            return Err(damaged("it announces more than it may hold"));
        }
        let stored = take(&mut rest, stored as usize)?;
        let file = match way {
            PLAIN => stored.to_vec(),
            DEFLATED => inflate(stored, len)?,
            _ => return Err(damaged("a file in it is stored in an unknown way")),
        };
        if file.len() as u64 != len {
            return Err(damaged("a file in it is not as long as announced"));
        }
        write_atomic(&folder.join(name), &file)?;
    }
    if rest.is_empty() { Ok(()) } else { Err(damaged("it has bytes after its end")) }
}

/// At most one byte more than announced is ever inflated.
fn inflate(stored: &[u8], len: u64) -> Result<Vec<u8>> {
    let mut file = Vec::new();
    let read = DeflateDecoder::new(stored).take(len + 1).read_to_end(&mut file);
    read.map_err(|e| damaged(&format!("a file in it cannot be inflated: {e}")))?;
    Ok(file)
}

/// A plain file name: nothing that leaves the folder, and nothing hidden.
fn is_file_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(len).ok_or_else(|| damaged("it ends early"))?;
    *rest = tail;
    Ok(head)
}

fn array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or_else(|| damaged("it ends early"))?;
    *rest = tail;
    Ok(*head)
}

fn damaged(why: &str) -> Error {
    StoreError::ClientPart(why.to_owned()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sahara_circuits::testmodel::TestModel;

    fn packed() -> (CompiledModel, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        TestModel::default().write(dir.path(), 3).unwrap();
        let compiled = CompiledModel::compile(dir.path(), "small", &mut |_| ()).unwrap();
        let bytes = pack(&compiled).unwrap();
        (compiled, bytes)
    }

    #[test]
    fn a_client_part_encodes_like_the_model_and_holds_no_weights() {
        let (model, bytes) = packed();
        let dir = tempfile::tempdir().unwrap();
        unpack(&bytes, dir.path()).unwrap();
        let client = CompiledModel::load_client(dir.path()).unwrap();
        assert!(model.has_weights() && !client.has_weights());
        let text = "hello world";
        assert_eq!(client.frontend.encode(text), model.frontend.encode(text));
        assert_eq!(client.buckets(), model.buckets());
        let bucket = model.buckets()[0];
        assert_eq!(client.graph(bucket).unwrap().id(), model.graph(bucket).unwrap().id());
        let inputs = model.frontend.encode(text).unwrap().inputs;
        assert!(client.execute(bucket, &inputs, &Default::default()).is_err(), "it cannot be run");
        assert!(CompiledModel::load(dir.path()).is_err(), "it is no whole model");
        // No tensor of the inner layers is in it, stored as it is or deflated.
        let names: Vec<String> = model.client_files().into_iter().map(|(name, _)| name).collect();
        assert!(names.iter().all(|name| !name.contains("weights")), "{names:?}");
        let weights = model.weights.to_bytes();
        let window = &weights[weights.len() / 2..][..64];
        let inside = |bytes: &[u8]| bytes.windows(window.len()).any(|part| part == window);
        assert!(inside(&weights) && model.client_files().iter().all(|(_, bytes)| !inside(bytes)));
    }

    #[test]
    fn damaged_client_parts_are_refused_and_write_nothing_outside() {
        let (_, bytes) = packed();
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("in");
        std::fs::create_dir(&folder).unwrap();
        for end in (0..bytes.len()).step_by(1 + bytes.len() / 200) {
            assert!(unpack(&bytes[..end], &folder).is_err(), "cut at {end}");
        }
        let mut newer = bytes.clone();
        newer[8] = 9;
        assert!(unpack(&newer, &folder).unwrap_err().to_string().contains("version 9"));
        for name in ["../x", "/x", ".x", "a/b", ""] {
            let mut one = [&MAGIC[..], &[1, 0, 1, 0, 0, 0, name.len() as u8]].concat();
            one.extend_from_slice(name.as_bytes());
            one.extend_from_slice(&[PLAIN, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7]);
            assert!(unpack(&one, &folder).unwrap_err().to_string().contains("plain name"), "{name}");
        }
        // A few bytes that would inflate to much more than they announce.
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&vec![0; 1 << 24]).unwrap();
        let deflated = encoder.finish().unwrap();
        let mut bomb = [&MAGIC[..], &[1, 0, 1, 0, 0, 0, 1, b'x', DEFLATED]].concat();
        bomb.extend_from_slice(&10u64.to_le_bytes());
        bomb.extend_from_slice(&(deflated.len() as u64).to_le_bytes());
        bomb.extend_from_slice(&deflated);
        assert!(unpack(&bomb, &folder).unwrap_err().to_string().contains("not as long"));
        assert!(!dir.path().join("x").exists());
    }
}
