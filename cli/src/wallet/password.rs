//! The password of a wallet: from a file, the environment, or whoever sits at the terminal. It is never an argument, which
//! every user of the machine could read.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// Where the password may stand for programs.
pub const VARIABLE: &str = "SAHARA_WALLET_PASSWORD";
/// Longest password.
const MAX_BYTES: u64 = 4 << 10;

/// Where the password comes from.
#[derive(Args, Clone, Debug, Default)]
pub struct PasswordArgs {
    /// File whose first line is the wallet's password [default: $SAHARA_WALLET_PASSWORD, else you are asked]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// A password, wiped when it is not needed any more.
pub type Password = Zeroizing<Vec<u8>>;

impl PasswordArgs {
    /// Whether a file was named.
    pub fn is_given(&self) -> bool {
        self.password_file.is_some()
    }

    /// The password in a file.
    pub fn file(path: PathBuf) -> Self {
        Self { password_file: Some(path) }
    }

    /// Makes sure that nobody else on this machine can read the password's file, if there is one: for a file that lies there for
    /// good.
    ///
    /// # Errors
    /// When others can, or it is not there.
    pub fn is_private(&self) -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let Some(path) = &self.password_file else { return Ok(()) };
        let found = std::fs::metadata(path).map_err(|e| Error::io("looking at the password's file", path, e))?;
        match found.permissions().mode() & 0o777 {
            mode if mode & 0o077 == 0 => Ok(()),
            mode => Err(Error::user(format!(
                "others on this machine can read {} (mode {mode:o}): `chmod 600` it, and change the password if they are not \
                 trusted",
                path.display()
            ))),
        }
    }

    /// The password of a wallet that is there.
    ///
    /// # Errors
    /// When the file cannot be read, or there is nobody to ask.
    pub fn known(&self, whose: &str) -> Result<Password> {
        match self.given()? {
            Some(password) => Ok(password),
            None => asked(&format!("password of {whose}: ")),
        }
    }

    /// The password for a new wallet: who types it does so twice.
    ///
    /// # Errors
    /// As [`Self::known`]; when it is empty, or was typed differently the second time.
    pub fn chosen(&self, whose: &str) -> Result<Password> {
        let password = match self.given()? {
            Some(password) => password,
            None => {
                let first = asked(&format!("password for {whose}: "))?;
                if *first != *asked("the same again: ")? {
                    return Err(Error::user("the two passwords differ: nothing was written"));
                }
                first
            }
        };
        if password.is_empty() {
            return Err(Error::user("an empty password protects nothing: choose another"));
        }
        Ok(password)
    }

    fn given(&self) -> Result<Option<Password>> {
        if let Some(path) = &self.password_file {
            return from_file(path).map(Some);
        }
        let Some(value) = std::env::var_os(VARIABLE) else { return Ok(None) };
        Ok(Some(Zeroizing::new(value.into_encoded_bytes())))
    }
}

fn from_file(path: &Path) -> Result<Password> {
    let file = File::open(path).map_err(|e| Error::io("reading the password", path, e))?;
    first_line(file).map_err(|e| Error::io("reading the password", path, e))
}

/// The first line without its end.
fn first_line(from: impl Read) -> std::io::Result<Password> {
    // Room for all of it at once: what grows leaves copies behind.
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_BYTES as usize + 1));
    BufReader::new(from.take(MAX_BYTES)).read_until(b'\n', &mut line)?;
    if line.len() as u64 == MAX_BYTES {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "a line that long is no password"));
    }
    while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        line.pop();
    }
    Ok(line)
}

/// Asks at the terminal, which shows nothing of what is typed.
fn asked(prompt: &str) -> Result<Password> {
    let terminal = Path::new("/dev/tty");
    let nobody =
        |_| Error::user(format!("nobody is here to type the password: give --password-file FILE or set {VARIABLE}"));
    let mut tty = File::options().read(true).write(true).open(terminal).map_err(nobody)?;
    let failed = |e: std::io::Error| Error::io("asking at", terminal, e);
    write!(tty, "{prompt}").map_err(failed)?;
    let typed = {
        let _silence = Silence::begin(&tty).map_err(failed)?;
        typed(&tty).map_err(failed)?
    };
    writeln!(tty).map_err(failed)?;
    typed.ok_or_else(Error::interrupted)
}

/// What somebody types until Enter; nothing if they gave it up (Ctrl-C, Ctrl-D).
fn typed(mut keys: impl Read) -> std::io::Result<Option<Password>> {
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_BYTES as usize));
    let mut key = Zeroizing::new([0]);
    // One by one: what is read ahead would be lost, and left in memory.
    loop {
        match keys.read_exact(&mut *key) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(e) => return Err(e),
        }
        match key[0] {
            b'\n' | b'\r' => return Ok(Some(line)),
            0x03 | 0x04 => return Ok(None),
            0x08 | 0x7f => {
                // A letter of several bytes goes as a whole.
                while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            byte if line.len() < MAX_BYTES as usize => line.push(byte),
            _ => return Err(std::io::Error::other("a line that long is no password")),
        }
    }
}

/// While it lives the terminal shows nothing that is typed, and gives each key as it is: whoever presses Ctrl-C would otherwise
/// be left with a terminal that stays silent.
struct Silence<'a> {
    tty: &'a File,
    before: Termios,
}

impl<'a> Silence<'a> {
    fn begin(tty: &'a File) -> std::io::Result<Self> {
        let before = tcgetattr(tty)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(tty, OptionalActions::Flush, &silent)?;
        Ok(Self { tty, before })
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        // What else could be done about it?
        let _ = tcsetattr(self.tty, OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_the_first_line_without_its_end() {
        for (text, password) in [("a b\r\nc", "a b"), ("x", "x"), ("\n", ""), (" y \n", " y ")] {
            assert_eq!(first_line(text.as_bytes()).unwrap().as_slice(), password.as_bytes());
        }
        assert!(first_line(&[b'x'; 5000][..]).is_err());
    }

    #[test]
    fn what_is_typed_can_be_corrected_and_given_up() {
        for (keys, line) in [
            ("ab\n", Some("ab")),
            ("a\u{e9}\x7fb\r", Some("ab")),
            ("\x7fa\n", Some("a")),
            ("ab\x03", None),
            ("ab\x04", None),
            ("ab", None),
        ] {
            assert_eq!(
                typed(keys.as_bytes()).unwrap().as_deref().map(Vec::as_slice),
                line.map(str::as_bytes),
                "{keys:?}"
            );
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        std::fs::write(&path, "secret\n").unwrap();
        let private = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            PasswordArgs::file(path.clone()).is_private()
        };
        assert!(private(0o600).is_ok() && private(0o400).is_ok());
        for mode in [0o644, 0o640, 0o604, 0o660] {
            let error = private(mode).unwrap_err();
            assert!(error.exit_code() == 2 && error.report().contains("chmod 600"), "{mode:o}");
        }
        assert!(PasswordArgs::default().is_private().is_ok());
    }

    #[test]
    fn a_file_without_a_password_gives_none_for_a_new_wallet() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        std::fs::write(&path, "\n").unwrap();
        assert_eq!(PasswordArgs::file(path.clone()).chosen("it").unwrap_err().exit_code(), 2);
        std::fs::write(&path, "secret\n").unwrap();
        assert_eq!(PasswordArgs::file(path).chosen("it").unwrap().as_slice(), b"secret");
        let missing = PasswordArgs::file(dir.path().join("none")).known("it").unwrap_err();
        assert_eq!(missing.exit_code(), 2);
    }
}
