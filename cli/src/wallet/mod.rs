//! The account that pays: a secp256k1 key in a file under a password.

pub mod amount;
mod keystore;
pub mod password;

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use alloy_primitives::{Address, B256};
use sahara_chain::genesis::DEV_ACCOUNTS;
use sahara_chain::wallet::{BadSecret, Wallet};
use sahara_mpc::durable;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use keystore::{Keystore, KeystoreError, MAX_BYTES};
use password::PasswordArgs;
use sahara::home::{Home, create_private_dir};

/// A secret key, wiped when it goes.
#[derive(Clone)]
pub struct Secret {
    bytes: Zeroizing<[u8; 32]>,
    address: Address,
}

impl Secret {
    /// The key with these bytes.
    ///
    /// # Errors
    /// When they are none of secp256k1.
    pub fn new(bytes: &[u8; 32]) -> std::result::Result<Self, BadSecret> {
        let address = Wallet::new(B256::from(*bytes), 0)?.address();
        Ok(Self { bytes: Zeroizing::new(*bytes), address })
    }

    /// A new key.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn random() -> Result<Self> {
        let mut bytes = Zeroizing::new([0; 32]);
        loop {
            getrandom::fill(&mut *bytes)
                .map_err(|e| Error::fault(format!("the system gives no random numbers: {e}")))?;
            // All but one of 2^127 numbers are a key.
            if let Ok(secret) = Self::new(&bytes) {
                return Ok(secret);
            }
        }
    }

    /// A key in hexadecimal.
    fn from_hex(text: &[u8]) -> Option<Self> {
        let text = text.trim_ascii();
        let mut bytes = Zeroizing::new([0; 32]);
        alloy_primitives::hex::decode_to_slice(text.strip_prefix(b"0x").unwrap_or(text), &mut *bytes).ok()?;
        Self::new(&bytes).ok()
    }

    /// Whose it is.
    pub fn address(&self) -> Address {
        self.address
    }

    /// What signs with it on a chain.
    ///
    /// # Errors
    /// Never for a key that was one when it was made.
    pub fn wallet(&self, chain: u64) -> Result<Wallet> {
        Wallet::new(B256::from(*self.bytes), chain).map_err(|e| Error::fault(e.to_string()))
    }

    /// The key itself.
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }
}

/// The wallet's file.
pub fn path(home: &Home) -> PathBuf {
    home.path().join("wallet.json")
}

/// Whether everybody knows this account's key: those of development networks.
pub fn is_everybodys(account: Address) -> bool {
    DEV_ACCOUNTS.iter().any(|(known, _)| *known == account)
}

/// Makes a new wallet at `path`, where none is yet, or one that is everybody's: that is set aside.
///
/// # Errors
/// When there is one, or the file cannot be written.
pub fn create(path: &Path, secret: &Secret, password: &[u8]) -> Result<()> {
    free(path)?;
    if path.exists() {
        let aside = path.with_extension("development.json");
        std::fs::rename(path, &aside).map_err(|e| Error::io("setting a development wallet aside as", &aside, e))?;
    }
    keep(path, &Keystore::seal(secret, password).map_err(|e| unusable(path, &e))?)
}

/// Makes a wallet with one of the development accounts' keys at `path`, where none is yet: it opens quickly, as there is nothing
/// to guess.
///
/// # Errors
/// As [`create`].
pub fn create_known(path: &Path, secret: &Secret, password: &[u8]) -> Result<()> {
    keep(path, &Keystore::seal_known(secret, password).map_err(|e| unusable(path, &e))?)
}

fn keep(path: &Path, keystore: &Keystore) -> Result<()> {
    create_private_dir(durable::folder(path))?;
    let text = keystore.text();
    durable::create(path, |file| file.write_all(text.as_bytes())).map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => there_is(path),
        _ => Error::io("writing the wallet", path, e),
    })
}

/// Refuses a place where a wallet is: whoever overwrote one would lose what it holds. One that is everybody's holds nothing.
///
/// # Errors
/// When there is one.
pub fn free(path: &Path) -> Result<()> {
    let is_free = !path.exists() || address(path).is_ok_and(is_everybodys);
    if is_free { Ok(()) } else { Err(there_is(path)) }
}

fn there_is(path: &Path) -> Error {
    Error::user(format!("there is a wallet in {}: keep it, or name another file with --wallet FILE", path.display()))
}

/// Whose the wallet at `path` is, as its file says: no password is needed.
///
/// # Errors
/// When there is none, or its file names no address.
pub fn address(path: &Path) -> Result<Address> {
    read(path)?.address().ok_or_else(|| {
        Error::user(format!("{} names no address: `sahara wallet import` makes a file that does", path.display()))
    })
}

/// Opens the wallet at `path`.
///
/// # Errors
/// When there is none, it is damaged, or the password is wrong.
pub fn open(path: &Path, password: &PasswordArgs) -> Result<Secret> {
    let keystore = read(path)?;
    let password = password.known(&path.display().to_string())?;
    keystore.open(&password).map_err(|e| unusable(path, &e))
}

/// A key that somebody brings: another wallet's file, or its bytes in hexadecimal.
///
/// # Errors
/// When it is neither, or the password is wrong.
pub fn import(from: &Path, password: &PasswordArgs) -> Result<Secret> {
    let text = contents(from)?;
    if let Some(secret) = Secret::from_hex(&text) {
        return Ok(secret);
    }
    let keystore = Keystore::parse(&text)
        .map_err(|e| Error::user(format!("{}: {e}, nor a key of 64 hexadecimal digits", from.display())))?;
    let password = password.known(&from.display().to_string())?;
    keystore.open(&password).map_err(|e| unusable(from, &e))
}

fn read(path: &Path) -> Result<Keystore> {
    if !path.exists() {
        return Err(Error::user(format!(
            "there is no wallet in {}: make one with `sahara wallet new`, or bring one with `sahara wallet import`",
            path.display()
        )));
    }
    Keystore::parse(&contents(path)?).map_err(|e| unusable(path, &e))
}

fn contents(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_BYTES as usize + 1));
    let failed = |e| Error::io("reading", path, e);
    if path == Path::new("-") {
        std::io::stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut text).map_err(failed)?;
    } else {
        File::open(path).map_err(failed)?.take(MAX_BYTES + 1).read_to_end(&mut text).map_err(failed)?;
    }
    if text.len() as u64 > MAX_BYTES {
        return Err(Error::user(format!("{} is longer than a wallet's file ever is", path.display())));
    }
    Ok(text)
}

fn unusable(path: &Path, error: &KeystoreError) -> Error {
    Error::user(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_key_is_ethereums() {
        for (address, secret) in sahara_chain::genesis::DEV_ACCOUNTS {
            assert_eq!(Secret::new(&secret.0).unwrap().address(), address);
        }
        assert!(Secret::new(&[0; 32]).is_err() && Secret::new(&[0xff; 32]).is_err());
        assert_ne!(Secret::random().unwrap().bytes(), Secret::random().unwrap().bytes());
    }

    #[test]
    fn a_wallet_is_for_its_owner_alone_and_never_overwritten() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (file, word) = (dir.path().join("new/wallet.json"), dir.path().join("word"));
        std::fs::write(&word, "sesame\n").unwrap();
        let password = PasswordArgs::file(word);
        assert!(address(&file).unwrap_err().report().contains("sahara wallet new"));
        let secret = Secret::new(&[3; 32]).unwrap();
        create(&file, &secret, b"sesame").unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!((address(&file).unwrap(), open(&file, &password).unwrap().bytes()), (secret.address(), &[3; 32]));
        let before = std::fs::read(&file).unwrap();
        assert_eq!(create(&file, &Secret::random().unwrap(), b"x").unwrap_err().exit_code(), 2);
        assert_eq!(std::fs::read(&file).unwrap(), before);
        // Both forms in which a key is brought.
        assert_eq!(import(&file, &password).unwrap().bytes(), &[3; 32]);
        let bare = dir.path().join("bare");
        std::fs::write(&bare, format!("0x{}\n", "03".repeat(32))).unwrap();
        assert_eq!(import(&bare, &password).unwrap().bytes(), &[3; 32]);
        std::fs::write(&bare, "03").unwrap();
        assert_eq!(import(&bare, &password).err().unwrap().exit_code(), 2);
        std::fs::write(&bare, vec![b' '; 20_000]).unwrap();
        assert_eq!(import(&bare, &password).err().unwrap().exit_code(), 2);
    }
}
