//! A pack's file: the front, the corrections, the prepared products, and a checksum (BLAKE3) over all of them.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sahara_circuits::bytes::{DecodeError, unhex};
use zeroize::Zeroizing;

use super::PackError;
use super::header::{CHECKSUM, PREFIX, PackHeader};
use crate::durable::{self, Readers};
use crate::engine::PackContents;

/// Writes a whole file and makes its bytes lasting; its name lasts after [`sync_dir`].
pub(super) fn write(path: &Path, header: &PackHeader, contents: &PackContents) -> Result<(), PackError> {
    let written = durable::put(path, Readers::Owner, |file| {
        let mut checksum = blake3::Hasher::new();
        let front = header.encode(&contents.seed);
        for part in [&front[..], &contents.corrections, &contents.prepared] {
            checksum.update(part);
            file.write_all(part)?;
        }
        file.write_all(checksum.finalize().as_bytes())
    });
    written.map(drop).map_err(at("write", path))
}

/// Reads a whole file and checks every byte of it.
pub(super) fn read(path: &Path) -> Result<(PackHeader, PackContents), PackError> {
    let mut file = File::open(path).map_err(at("open", path))?;
    let (header, front) = read_front(path, &mut file)?;
    let mut read = |len: u64| {
        let mut bytes = Vec::with_capacity(len as usize);
        (&mut file).take(len).read_to_end(&mut bytes).map(|_| bytes).map_err(at("read", path))
    };
    let (_, seed) = PackHeader::decode(&front[..]).map_err(damaged(path))?;
    let contents = PackContents { seed, corrections: read(header.corrections)?, prepared: read(header.prepared)? };
    let expected = read(CHECKSUM as u64)?;
    let mut checksum = blake3::Hasher::new();
    checksum.update(&front[..]).update(&contents.corrections).update(&contents.prepared);
    if checksum.finalize().as_bytes()[..] != expected[..] {
        return Err(damaged(path)(DecodeError::Field { what: "pack", field: "checksum" }));
    }
    Ok((header, contents))
}

/// Reads the front of a file, and compares name and length with it.
pub(super) fn read_header(path: &Path) -> Result<PackHeader, PackError> {
    let mut file = File::open(path).map_err(at("open", path))?;
    Ok(read_front(path, &mut file)?.0)
}

type Front = Zeroizing<[u8; PREFIX]>;

fn read_front(path: &Path, file: &mut File) -> Result<(PackHeader, Front), PackError> {
    let mut front = Zeroizing::new([0; PREFIX]);
    file.read_exact(front.as_mut()).map_err(at("read", path))?;
    let (header, _) = PackHeader::decode(&front[..]).map_err(damaged(path))?;
    let len = file.metadata().map_err(at("read", path))?.len();
    let named = path.file_stem().and_then(|s| s.to_str()).and_then(unhex::<16>) == Some(header.id.0);
    if !named || header.file_len() != Some(len) {
        return Err(damaged(path)(DecodeError::Field { what: "pack", field: "name or length" }));
    }
    Ok((header, front))
}

/// Removes a file if it is there.
pub(super) fn destroy(path: &Path) -> Result<(), PackError> {
    durable::remove(path).map_err(at("remove", path))
}

/// Makes names in a directory lasting.
pub(super) fn sync_dir(dir: &Path) -> Result<(), PackError> {
    durable::sync_dir(dir).map_err(at("sync", dir))
}

pub(super) fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PackError {
    let path: PathBuf = path.into();
    move |source| PackError::Io { action, path, source }
}

pub(super) fn damaged(path: &Path) -> impl FnOnce(DecodeError) -> PackError {
    let path: PathBuf = path.into();
    move |source| PackError::Damaged { path, source }
}
