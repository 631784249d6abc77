//! Ethereum's keystore, version 3: a secret key under a password, in the JSON that geth, ethers and Foundry read and write.
//!
//! scrypt turns the password into 32 bytes. The first half is the key of AES-128 in counter mode, the second goes with the
//! ciphertext into a Keccak hash that tells a wrong password from a right one.

use aes::Aes128;
use alloy_primitives::hex;
use alloy_primitives::{Address, keccak256};
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Secret;

/// Longest file that is read.
pub const MAX_BYTES: u64 = 16 << 10;
/// Work of a new file: 2^17 rounds of 8 blocks, which take 128 MB and half a second.
const LOG_N: u8 = 17;
/// Work of a file whose key everybody knows: there is nothing to guess.
const KNOWN_LOG_N: u8 = 10;
const R: u32 = 8;
/// Most memory that a file may ask for: geth's own take 256 MB.
const MAX_MEMORY: u64 = 512 << 20;
/// Most work, in units of the same kind.
const MAX_WORK: u64 = 1 << 25;
/// Bytes that the password becomes.
const DERIVED: usize = 32;

/// Why a file gives no key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeystoreError {
    /// It is none, or of a kind that is not read: why.
    Format(String),
    /// The password is another one.
    Password,
}

impl std::fmt::Display for KeystoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Format(why) => write!(f, "{why}"),
            Self::Password => f.write_str("the password is wrong"),
        }
    }
}

impl std::error::Error for KeystoreError {}

/// The file.
#[derive(Debug, Deserialize, Serialize)]
pub struct Keystore {
    /// Without `0x`; some programs leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    // Files of long ago begin it with a capital letter.
    #[serde(alias = "Crypto")]
    crypto: Crypto,
    #[serde(default)]
    id: String,
    version: u32,
}

#[derive(Debug, Deserialize, Serialize)]
struct Crypto {
    cipher: String,
    cipherparams: CipherParams,
    ciphertext: String,
    kdf: String,
    kdfparams: serde_json::Value,
    mac: String,
}

#[derive(Debug, Deserialize, Serialize)]
struct CipherParams {
    iv: String,
}

#[derive(Debug, Deserialize, Serialize)]
struct ScryptParams {
    dklen: u32,
    n: u64,
    p: u32,
    r: u32,
    salt: String,
}

impl Keystore {
    /// Reads the JSON.
    ///
    /// # Errors
    /// When it is no keystore of version 3 with scrypt and AES-128-CTR.
    pub fn parse(text: &[u8]) -> Result<Self, KeystoreError> {
        let keystore: Self = serde_json::from_slice(text).map_err(|e| format(format!("not a keystore ({e})")))?;
        if keystore.version != 3 {
            return Err(format(format!("a keystore of version {}, only version 3 is read", keystore.version)));
        }
        let Crypto { cipher, kdf, .. } = &keystore.crypto;
        for (what, found, read) in [("cipher", cipher, "aes-128-ctr"), ("kdf", kdf, "scrypt")] {
            if found != read {
                return Err(format(format!("{what} '{}' is not read, only {read}", found.escape_debug())));
            }
        }
        Ok(keystore)
    }

    /// The address that the file names, which nothing but opening it proves.
    pub fn address(&self) -> Option<Address> {
        let text = self.address.as_deref()?;
        text.strip_prefix("0x").unwrap_or(text).parse().ok()
    }

    /// The secret key.
    ///
    /// # Errors
    /// When the password is wrong, or the file is damaged or asks for more work than is done for anybody.
    pub fn open(&self, password: &[u8]) -> Result<Secret, KeystoreError> {
        let params = ScryptParams::deserialize(&self.crypto.kdfparams)
            .map_err(|e| format(format!("its scrypt parameters are damaged ({e})")))?;
        let ciphertext: [u8; 32] = bytes("ciphertext", &self.crypto.ciphertext)?;
        let iv: [u8; 16] = bytes("iv", &self.crypto.cipherparams.iv)?;
        let mac: [u8; 32] = bytes("mac", &self.crypto.mac)?;
        let derived = params.derive(password)?;
        if !equal(&mac, &checksum(&derived, &ciphertext)) {
            return Err(KeystoreError::Password);
        }
        let mut secret = Zeroizing::new(ciphertext);
        apply(&derived, &iv, &mut secret)?;
        let secret = Secret::new(&secret).map_err(|_| format("what it holds is no secp256k1 key".to_owned()))?;
        match self.address() {
            Some(named) if named != secret.address() => {
                Err(format(format!("it holds the key of {}, not of {named} as it says", secret.address())))
            }
            _ => Ok(secret),
        }
    }

    /// A key under a password.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn seal(secret: &Secret, password: &[u8]) -> Result<Self, KeystoreError> {
        Self::seal_with(secret, password, LOG_N)
    }

    /// A key that everybody knows, under a password that everybody knows, too: what opens it is quick.
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub fn seal_known(secret: &Secret, password: &[u8]) -> Result<Self, KeystoreError> {
        Self::seal_with(secret, password, KNOWN_LOG_N)
    }

    /// As [`Self::seal`], with 2^`log_n` rounds.
    fn seal_with(secret: &Secret, password: &[u8], log_n: u8) -> Result<Self, KeystoreError> {
        let salt: [u8; 32] = random()?;
        let iv: [u8; 16] = random()?;
        let params = ScryptParams { dklen: DERIVED as u32, n: 1 << log_n, p: 1, r: R, salt: hex::encode(salt) };
        let derived = params.derive(password)?;
        // Still the key here: only what the cipher made of it goes into the file.
        let mut ciphertext = Zeroizing::new(*secret.bytes());
        apply(&derived, &iv, &mut ciphertext)?;
        let crypto = Crypto {
            cipher: "aes-128-ctr".to_owned(),
            cipherparams: CipherParams { iv: hex::encode(iv) },
            ciphertext: hex::encode(*ciphertext),
            kdf: "scrypt".to_owned(),
            kdfparams: serde_json::to_value(&params).map_err(|e| format(e.to_string()))?,
            mac: hex::encode(checksum(&derived, &ciphertext)),
        };
        Ok(Self { address: Some(hex::encode(secret.address())), crypto, id: uuid(random()?), version: 3 })
    }

    /// The JSON.
    pub fn text(&self) -> String {
        // Strings and numbers only: nothing of it has no JSON.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

impl ScryptParams {
    /// What the password becomes, if that takes no more than is done for anybody.
    fn derive(&self, password: &[u8]) -> Result<Zeroizing<[u8; DERIVED]>, KeystoreError> {
        let (n, r, p) = (self.n, u64::from(self.r), u64::from(self.p));
        let memory = 128u64.saturating_mul(r).saturating_mul(n.saturating_add(p));
        let work = n.saturating_mul(r).saturating_mul(p);
        if !n.is_power_of_two() || n < 2 || r == 0 || p == 0 || memory > MAX_MEMORY || work > MAX_WORK {
            return Err(format(format!("its scrypt parameters (n {n}, r {r}, p {p}) are none that are read")));
        }
        if self.dklen as usize != DERIVED {
            return Err(format(format!("its dklen is {}, not {DERIVED}", self.dklen)));
        }
        let text = self.salt.strip_prefix("0x").unwrap_or(&self.salt);
        let salt = hex::decode(text).map_err(|_| format("its salt is not hexadecimal".to_owned()))?;
        let log_n = n.trailing_zeros() as u8;
        let params = scrypt::Params::new(log_n, self.r, self.p)
            .map_err(|_| format(format!("its scrypt parameters (n {n}, r {r}, p {p}) are none that are read")))?;
        let mut derived = Zeroizing::new([0; DERIVED]);
        scrypt::scrypt(password, &salt, &params, &mut *derived).map_err(|e| format(e.to_string()))?;
        Ok(derived)
    }
}

/// Encrypts or decrypts in place.
fn apply(derived: &[u8; DERIVED], iv: &[u8; 16], data: &mut [u8; 32]) -> Result<(), KeystoreError> {
    let mut cipher = Ctr128BE::<Aes128>::new_from_slices(&derived[..16], iv).map_err(|e| format(e.to_string()))?;
    cipher.apply_keystream(data);
    Ok(())
}

fn checksum(derived: &[u8; DERIVED], ciphertext: &[u8; 32]) -> [u8; 32] {
    let mut text = Zeroizing::new([0; 48]);
    text[..16].copy_from_slice(&derived[16..]);
    text[16..].copy_from_slice(ciphertext);
    keccak256(*text).0
}

/// Compares without telling by time where they differ.
fn equal(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

fn bytes<const N: usize>(what: &str, text: &str) -> Result<[u8; N], KeystoreError> {
    let found = hex::decode(text.strip_prefix("0x").unwrap_or(text)).ok().and_then(|found| found.try_into().ok());
    found.ok_or_else(|| format(format!("its {what} is not {N} bytes in hexadecimal")))
}

fn random<const N: usize>() -> Result<[u8; N], KeystoreError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| format(format!("the system gives no random numbers ({e})")))?;
    Ok(bytes)
}

/// A random name in the form that RFC 9562 gives to version 4.
fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = hex::encode(bytes);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

fn format(why: String) -> KeystoreError {
    KeystoreError::Format(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Web3 Secret Storage Definition (ethereum.org), with scrypt.
    const OFFICIAL: &str = r#"{
        "crypto" : {
            "cipher" : "aes-128-ctr",
            "cipherparams" : { "iv" : "83dbcc02d8ccb40e466191a123791e0e" },
            "ciphertext" : "d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c",
            "kdf" : "scrypt",
            "kdfparams" : {
                "dklen" : 32, "n" : 262144, "p" : 8, "r" : 1,
                "salt" : "ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19"
            },
            "mac" : "2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097"
        },
        "id" : "3198bc9c-6672-5ab3-d995-4942343ae5b6",
        "version" : 3
    }"#;

    fn sealed() -> (Secret, Keystore) {
        let secret = Secret::new(&[7; 32]).unwrap();
        let keystore = Keystore::seal_with(&secret, b"open sesame", 4).unwrap();
        (secret, keystore)
    }

    #[test]
    fn the_example_of_the_definition_opens() {
        let secret = Keystore::parse(OFFICIAL.as_bytes()).unwrap().open(b"testpassword").unwrap();
        assert_eq!(hex::encode(secret.bytes()), "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d");
    }

    /// `encryptKeystoreJson(account, "påss 1", { scrypt: { N: 1024, r: 8, p: 1 } })` of ethers 6, for a key of 32 bytes 0x2a.
    const OF_ETHERS: &str = r#"{"address":"b0e5863d0ddf7e105e409fee0ecc0123a362e14b",
        "id":"8bd0795f-4e6b-4e4e-a4b7-d435db581c88","version":3,"Crypto":{"cipher":"aes-128-ctr",
        "cipherparams":{"iv":"e5b5212d2a3e9d3038ab9b576b8c28d6"},
        "ciphertext":"0e0e1a1daabb74ebfaea6a387bd6490d6ab3369dd5f99d759ca0b9ff5dfb00aa","kdf":"scrypt",
        "kdfparams":{"salt":"20845619ae614ee83463a837c060ccbca725dc20d0641c739fd9bc0f55fce52d","n":1024,"dklen":32,
        "p":1,"r":8},"mac":"beca264008acc30fd0c931b389d7ad25ed1a337d35ace8be11b2bb687c2072df"}}"#;
    /// `cast wallet import ours --private-key 0x2a2a… --unsafe-password "påss 1"` of Foundry 1.7.1: it names no address.
    const OF_CAST: &str = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"52f430b35d4b636477b0138421e170ad"},
        "ciphertext":"8f5475c681a2e449dde8ff6c502ba67ce24281a5d83c51d074a0e17957fd7b2e","kdf":"scrypt",
        "kdfparams":{"dklen":32,"n":8192,"p":1,"r":8,
        "salt":"90db55a516169762fa601549ce8881f266b641c3917f3c15decb7039afb56132"},
        "mac":"6e758e7776d852069244bbfab7cfe485c55f8c79401f020507d883718e0fc10d"},
        "id":"61c6990d-7e6f-4485-838d-e37928858c85","version":3}"#;

    /// Both read what is written here, too: `Wallet.fromEncryptedJson` and `cast wallet address --keystore`.
    #[test]
    fn the_files_of_other_programs_open() {
        for text in [OF_ETHERS, OF_CAST] {
            let keystore = Keystore::parse(text.as_bytes()).unwrap();
            assert_eq!(keystore.open("påss 1".as_bytes()).unwrap().bytes(), &[0x2a; 32]);
            assert_eq!(keystore.open(b"pass 1").err(), Some(KeystoreError::Password));
        }
    }

    #[test]
    fn what_is_sealed_opens_with_its_password_alone() {
        let (secret, keystore) = sealed();
        let again = Keystore::parse(keystore.text().as_bytes()).unwrap();
        assert_eq!(again.open(b"open sesame").unwrap().bytes(), secret.bytes());
        assert_eq!(again.address(), Some(secret.address()));
        assert_eq!(again.open(b"open sesam").err(), Some(KeystoreError::Password));
        let text = keystore.text();
        assert!(!text.contains(&hex::encode(secret.bytes())) && text.contains("\"version\": 3"));
        let (_, other) = sealed();
        assert_ne!(other.crypto.ciphertext, keystore.crypto.ciphertext, "salt and counter are random");
    }

    #[test]
    fn a_file_that_asks_for_too_much_or_is_damaged_is_refused_before_the_work() {
        let (_, keystore) = sealed();
        let changed = |place: &[&str], value: serde_json::Value| {
            let mut json = serde_json::to_value(&keystore).unwrap();
            let at = place.iter().fold(&mut json, |json, key| &mut json[*key]);
            *at = value;
            Keystore::parse(json.to_string().as_bytes()).and_then(|keystore| keystore.open(b"open sesame"))
        };
        let params = ["crypto", "kdfparams"];
        for (place, value) in [
            (vec!["version"], 4.into()),
            (vec!["crypto", "cipher"], "aes-128-cbc".into()),
            (vec!["crypto", "kdf"], "pbkdf2".into()),
            (vec!["crypto", "mac"], "00".into()),
            (vec!["crypto", "ciphertext"], "zz".into()),
            (vec!["crypto", "cipherparams", "iv"], "".into()),
            ([&params[..], &["n"]].concat(), (1u64 << 40).into()),
            ([&params[..], &["n"]].concat(), 3.into()),
            ([&params[..], &["n"]].concat(), 0.into()),
            ([&params[..], &["r"]].concat(), u32::MAX.into()),
            ([&params[..], &["p"]].concat(), u32::MAX.into()),
            ([&params[..], &["p"]].concat(), 0.into()),
            ([&params[..], &["dklen"]].concat(), 16.into()),
            ([&params[..], &["salt"]].concat(), "x".into()),
            (vec!["address"], "00".repeat(20).into()),
        ] {
            let refused = changed(&place, value).err();
            assert!(matches!(refused, Some(KeystoreError::Format(_))), "{place:?}: {refused:?}");
        }
        assert!(changed(&["id"], "".into()).is_ok());
        assert!(Keystore::parse(b"{}").is_err() && Keystore::parse(b"\xff").is_err());
    }

    #[test]
    fn ids_have_the_form_of_random_uuids() {
        assert_eq!(uuid([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(uuid([0; 16]), "00000000-0000-4000-8000-000000000000");
    }
}
