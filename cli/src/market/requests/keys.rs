//! A node's sealing keys: one for each epoch, told with the node's signature to anybody, and destroyed an answer's time after the
//! epoch. What was sealed to it lies in blocks for ever; whoever takes the node's disk later opens nothing of it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sahara::home::create_private_dir;
use sahara_circuits::bytes::{Reader, Writer};
use sahara_market::request::ANSWER_TIME;
use sahara_mpc::durable;
use sahara_mpc::identity::{Identity, PublicKey};
use zeroize::Zeroizing;

use super::seal::{self, Context, PUBLIC};
use crate::error::{Error, Result};

/// Seconds of an epoch.
pub const EPOCH: u64 = 6 * 3600;
/// Seconds after its epoch at which a key is destroyed: an answer's time, and what clocks differ by.
const GRACE: u64 = ANSWER_TIME + 900;
const MAGIC: &[u8; 8] = b"SHSEALK\0";
const VERSION: u16 = 1;
const SIGNED: &str = "sahara 2026 sealing key v1";

/// The keys of one node.
pub struct SealingKeys {
    folder: PathBuf,
    chain: u64,
    identity: Identity,
    clock: fn() -> u64,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    secrets: BTreeMap<u32, Zeroizing<[u8; 32]>>,
    told: Option<(u32, Vec<u8>)>,
}

/// A sealing key that a node tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealingKey {
    /// Its epoch.
    pub epoch: u32,
    /// When the epoch ends, in seconds since 1970.
    pub until: u64,
    /// The key.
    pub public: Box<[u8; PUBLIC]>,
}

impl SealingKeys {
    /// The keys in a folder, which is made if there is none; what is old is destroyed.
    ///
    /// # Errors
    /// When the folder or a key in it cannot be used.
    pub fn open(folder: PathBuf, chain: u64, identity: Identity, clock: fn() -> u64) -> Result<Self> {
        create_private_dir(&folder)?;
        let mut table = Table::default();
        for entry in std::fs::read_dir(&folder).map_err(|e| Error::io("reading", &folder, e))? {
            let path = entry.map_err(|e| Error::io("reading", &folder, e))?.path();
            let epoch = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            let (Some(epoch), true) = (epoch, path.extension().is_some_and(|end| end == "key")) else { continue };
            let mut secret = Zeroizing::new([0; 32]);
            let read = std::fs::File::open(&path).and_then(|mut file| file.read_exact(&mut secret[..]));
            read.map_err(|e| Error::io("reading the sealing key", &path, e))?;
            table.secrets.insert(epoch, secret);
        }
        let keys = Self { folder, chain, identity, clock, table: Mutex::new(table) };
        keys.destroy_old();
        Ok(keys)
    }

    /// The node whose keys they are.
    pub fn node(&self) -> PublicKey {
        self.identity.public()
    }

    /// The key of this epoch, signed; made if there is none.
    ///
    /// # Errors
    /// When it cannot be made or kept.
    pub fn tell(&self) -> Result<Vec<u8>> {
        let epoch = epoch_at((self.clock)());
        let mut table = self.table();
        if let Some((told, bytes)) = &table.told
            && *told == epoch
        {
            return Ok(bytes.clone());
        }
        if let Entry::Vacant(place) = table.secrets.entry(epoch) {
            let mut secret = Zeroizing::new([0; 32]);
            getrandom::fill(&mut secret[..])
                .map_err(|e| Error::fault(format!("the system gives no random numbers: {e}")))?;
            let path = self.path(epoch);
            durable::create(&path, |file| file.write_all(&secret[..]))
                .map_err(|e| Error::io("keeping the sealing key", &path, e))?;
            place.insert(secret);
        }
        let secret = table.secrets.get(&epoch).ok_or_else(|| Error::fault("a sealing key was lost"))?;
        let public = seal::public(secret).map_err(|e| Error::fault(format!("making a sealing key: {e}")))?;
        let mut w = signed_part(self.chain, epoch, &public);
        let signature = self.identity.sign(&digest(&w.0));
        w.bytes(&signature);
        table.told = Some((epoch, w.0.clone()));
        Ok(w.0)
    }

    /// Opens what was sealed to this node; nothing once the key of its epoch is destroyed.
    pub fn unseal(&self, epoch: u32, context: &Context, evaluator: u8, bytes: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        self.destroy_old();
        let secret = self.table().secrets.get(&epoch)?.clone();
        seal::open(&secret, context, evaluator, bytes).ok()
    }

    /// Destroys the keys whose time is over: overwritten, then removed. (What a disk keeps of it beside that, nobody knows.)
    pub fn destroy_old(&self) {
        let now = (self.clock)();
        let mut table = self.table();
        let old: Vec<u32> =
            table.secrets.keys().copied().filter(|epoch| end_of(*epoch).saturating_add(GRACE) < now).collect();
        for epoch in old {
            table.secrets.remove(&epoch);
            if let Err(error) = destroy(&self.path(epoch)) {
                tracing::error!(epoch, %error, "an old sealing key stays on the disk: remove it by hand");
            }
        }
    }

    fn path(&self, epoch: u32) -> PathBuf {
        self.folder.join(format!("{epoch}.key"))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SealingKey {
    /// Reads a key as a node tells it.
    ///
    /// # Errors
    /// When it is none, of another chain, not signed by this node, or its epoch is not now.
    pub fn read(bytes: &[u8], chain: u64, node: &PublicKey, now: u64) -> std::result::Result<Self, String> {
        let form = |e: sahara_circuits::bytes::DecodeError| e.to_string();
        let mut r = Reader::new("sealing key", bytes);
        r.header(MAGIC, VERSION).map_err(form)?;
        let (found, epoch) = (r.u64().map_err(form)?, r.u32().map_err(form)?);
        let public: [u8; PUBLIC] = r.array().map_err(form)?;
        let signature: [u8; 64] = r.array().map_err(form)?;
        r.finish().map_err(form)?;
        if found != chain {
            return Err(format!("the sealing key is for chain {found}, not {chain}"));
        }
        if !node.verifies(&digest(&signed_part(found, epoch, &public).0), &signature) {
            return Err("the sealing key is not signed by the node".to_owned());
        }
        // Clocks differ: a key of the epoch before is good for some minutes more.
        if now.abs_diff(end_of(epoch).saturating_sub(EPOCH / 2)) > EPOCH / 2 + 300 {
            return Err("the sealing key is of another time: is a clock wrong?".to_owned());
        }
        Ok(Self { epoch, until: end_of(epoch), public: Box::new(public) })
    }
}

fn epoch_at(now: u64) -> u32 {
    u32::try_from(now / EPOCH).unwrap_or(u32::MAX)
}

fn end_of(epoch: u32) -> u64 {
    (u64::from(epoch) + 1) * EPOCH
}

fn signed_part(chain: u64, epoch: u32, public: &[u8; PUBLIC]) -> Writer {
    let mut w = Writer::with_header(MAGIC, VERSION);
    w.u64(chain).u32(epoch).bytes(public);
    w
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    alloy_primitives::keccak256([SIGNED.as_bytes(), bytes].concat()).0
}

fn destroy(path: &Path) -> std::io::Result<()> {
    if let Ok(mut file) = std::fs::OpenOptions::new().write(true).open(path) {
        file.write_all(&[0; 32])?;
        file.sync_all()?;
    }
    durable::remove(path)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use alloy_primitives::{Address, B256};
    use sahara_market::request::{Binding, Part, Sealed};
    use sahara_market::{Domain, INFERENCE_MARKET};
    use sahara_mpc::identity::generate;

    use super::*;

    static NOW: AtomicU64 = AtomicU64::new(0);

    fn clock() -> u64 {
        NOW.load(Ordering::Relaxed)
    }

    fn context() -> Context {
        let none = || Part { epoch: 0, bytes: Vec::new() };
        let sealed = Sealed { asker: [1; 32], reader: [2; 32], inputs: [[3; 32]; 2], parts: [none(), none()] };
        let asker = Address::ZERO;
        let binding = Binding { asset: B256::ZERO, lane: B256::ZERO, asker, callback: asker, is_public: true };
        Context::new(&Domain { chain_id: 7, market: INFERENCE_MARKET }, &binding, &sealed)
    }

    #[test]
    fn a_key_is_its_nodes_of_its_time_and_gone_when_no_answer_is_waited_for_any_more() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("sealing");
        let identity = generate().unwrap();
        let node = identity.public();
        let start = 100 * EPOCH + 5;
        NOW.store(start, Ordering::Relaxed);
        let keys = SealingKeys::open(folder.clone(), 7, identity, clock).unwrap();
        let told = keys.tell().unwrap();
        assert_eq!(told, keys.tell().unwrap());
        let key = SealingKey::read(&told, 7, &node, start).unwrap();
        assert_eq!((key.epoch, key.until), (100, 101 * EPOCH));
        let file = folder.join("100.key");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(SealingKey::read(&told, 8, &node, start).unwrap_err().contains("chain"));
        let stranger = generate().unwrap().public();
        assert!(SealingKey::read(&told, 7, &stranger, start).unwrap_err().contains("not signed"));
        assert!(SealingKey::read(&told, 7, &node, start + EPOCH + 300).unwrap_err().contains("clock"));
        let mut other = told.clone();
        other[30] ^= 1;
        assert!(SealingKey::read(&other, 7, &node, start).is_err());

        let bytes = seal::seal(&key.public, &context(), 1, b"x").unwrap();
        assert!(keys.unseal(100, &context(), 1, &bytes).is_some());
        assert!(keys.unseal(99, &context(), 1, &bytes).is_none(), "a key that never was");
        let again = || SealingKeys::open(folder.clone(), 7, generate().unwrap(), clock).unwrap();
        assert!(again().unseal(100, &context(), 1, &bytes).is_some(), "after a restart");
        NOW.store(101 * EPOCH + GRACE, Ordering::Relaxed);
        assert!(keys.unseal(100, &context(), 1, &bytes).is_some(), "somebody may still wait");
        assert_ne!(keys.tell().unwrap(), told, "the next epoch's");
        NOW.store(101 * EPOCH + GRACE + 1, Ordering::Relaxed);
        assert!(keys.unseal(100, &context(), 1, &bytes).is_none() && !file.exists());
        std::fs::write(&file, [7; 32]).unwrap();
        drop(again());
        assert!(!file.exists(), "one that was put back");
    }
}
