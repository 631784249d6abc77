//! Signed transcripts on disk: a few hundred bytes a job, the oldest removed when there are too many.
//!
//! `<job>.transcript` is this node's signed record. The other evaluator's record is its mirror image, so of that one
//! only the signature is kept, in `<job>.countersigned`.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::identity::private_file;
use crate::transcript::SignedRecord;
use crate::wire::Message;

/// The transcripts of one node.
pub struct RecordStore {
    dir: PathBuf,
    keep: usize,
    names: Mutex<VecDeque<String>>,
}

impl RecordStore {
    /// Opens the store in `dir`.
    pub fn open(dir: &Path, keep: usize) -> io::Result<Self> {
        let mut found = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.ends_with(".transcript") {
                found.push((entry.metadata()?.modified()?, name));
            }
        }
        found.sort();
        let names = found.into_iter().map(|(_, name)| name).collect();
        Ok(Self { dir: dir.into(), keep, names: Mutex::new(names) })
    }

    /// Keeps both evaluators' records of a job: the own one, then the other's.
    pub fn keep(&self, own: &SignedRecord, other: &SignedRecord) -> io::Result<()> {
        if self.keep == 0 {
            return Ok(());
        }
        let job = own.record.session.job;
        let name = format!("{job}.transcript");
        private_file(&self.dir.join(&name))?.write_all(&own.encode())?;
        private_file(&self.dir.join(format!("{job}.countersigned")))?.write_all(&other.signature)?;
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.push_back(name);
        while names.len() > self.keep {
            if let Some(oldest) = names.pop_front() {
                let path = self.dir.join(oldest);
                fs::remove_file(&path)?;
                fs::remove_file(path.with_extension("countersigned"))?;
            }
        }
        Ok(())
    }
}
