//! The two processes of a validator: the ledger and its CometBFT.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    net::TcpStream,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::node::{Config, Driver, NodeError};

/// How often a state of another process is looked at.
const GLANCE: Duration = Duration::from_millis(20);
/// Glances that a process gets to end by itself: ten seconds.
const PATIENCE: usize = 500;
/// Of a log, what is looked at for its last line.
const TAIL: u64 = 4096;

/// How the two programs are started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The `cometbft` program.
    pub cometbft: PathBuf,
    /// This program.
    pub ledger: PathBuf,
    /// Words before `start`.
    pub words: Vec<String>,
}

/// A running process and its log. It is killed with this value.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

/// The two processes of a validator.
#[derive(Debug)]
pub struct Processes {
    /// CometBFT. Dropped first, because it cannot live without the ledger.
    pub cometbft: Process,
    /// The ledger.
    pub ledger: Process,
}

impl Launch {
    /// Starts the ledger of `home`.
    ///
    /// # Errors
    /// When it does not start.
    pub fn ledger(&self, home: &Path) -> Result<Process, NodeError> {
        let mut command = Command::new(&self.ledger);
        // The pipe is never written to: it ends with this process, and the ledger with the pipe.
        command.args(&self.words).args(["start", "--until-stdin-ends", "--home"]).arg(home).stdin(Stdio::piped());
        Process::spawn("ledger", command, home.join("ledger.log"))
    }

    /// Starts the CometBFT of `home`, once `ledger` listens: before, it would wait for three seconds.
    ///
    /// # Errors
    /// When it does not start, or the ledger ends before it listens.
    pub fn cometbft(&self, home: &Path, ledger: &mut Process) -> Result<Process, NodeError> {
        if let Driver::Cometbft { abci, .. } = Config::load(home)?.driver {
            while TcpStream::connect(abci).is_err() {
                if let Some(how) = ledger.ended() {
                    return Err(NodeError::Setup(how));
                }
                thread::sleep(GLANCE);
            }
        }
        Process::cometbft(&self.cometbft, home)
    }

    /// Starts both.
    ///
    /// # Errors
    /// When one of them does not start.
    pub fn validator(&self, home: &Path) -> Result<Processes, NodeError> {
        let mut ledger = self.ledger(home)?;
        Ok(Processes { cometbft: self.cometbft(home, &mut ledger)?, ledger })
    }
}

impl Process {
    /// Starts the CometBFT of `home`, whose ledger listens.
    ///
    /// # Errors
    /// When it does not start.
    pub fn cometbft(program: &Path, home: &Path) -> Result<Self, NodeError> {
        let mut command = Command::new(program);
        command.args(["node", "--home"]).arg(home).stdin(Stdio::null());
        Self::spawn("cometbft", command, home.join("cometbft.log"))
    }

    /// Ends it as a user would.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        self.wait();
    }

    fn spawn(name: &'static str, mut command: Command, log: PathBuf) -> Result<Self, NodeError> {
        let failed = |doing, path: &Path| {
            let path = path.display().to_string();
            move |cause| NodeError::File { doing, path, cause }
        };
        let out = File::options().create(true).append(true).open(&log).map_err(failed("write", &log))?;
        let err = out.try_clone().map_err(failed("write", &log))?;
        let program = PathBuf::from(command.get_program());
        // A group of its own: Ctrl-C reaches whoever started it, who ends it in good order.
        command.stdout(out).stderr(err).process_group(0);
        Ok(Self { name, child: command.spawn().map_err(failed("start", &program))?, log })
    }

    /// The number that the system knows it by.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, in words, if it did.
    pub fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        let last = last_line(&self.log).map(|line| format!(" after saying: {line}")).unwrap_or_default();
        Some(format!("{} {}{last} (its log: {})", self.name, in_words(status), self.log.display()))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        // A process that is gone needs none.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Ends it at once, and waits for that.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until it has ended by itself, and kills it if that takes long.
    fn wait(&mut self) {
        for _ in 0..PATIENCE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(GLANCE);
        }
        self.kill();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Ends validators as a user would: each CometBFT first, then its ledger.
pub fn stop_all<'a>(validators: impl Iterator<Item = &'a mut Processes>) {
    let (comets, ledgers): (Vec<_>, Vec<_>) = validators.map(|v| (&mut v.cometbft, &mut v.ledger)).unzip();
    for mut processes in [comets, ledgers] {
        processes.iter().for_each(|process| process.signal(Signal::TERM));
        processes.iter_mut().for_each(|process| process.wait());
    }
}

fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(9)) => "was killed".into(),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".into(),
    }
}

fn last_line(log: &Path) -> Option<String> {
    let mut file = File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_ends_is_reported_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let run = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            let mut process = Process::spawn("ledger", command, folder.path().join("log")).unwrap();
            process.wait();
            process.ended().unwrap()
        };
        let told = run("echo first; echo; echo the disk is full; exit 3");
        assert!(told.starts_with("ledger ended with exit code 3 after saying: the disk is full"), "{told}");
        assert!(run("kill -9 $$").starts_with("ledger was killed"));
    }
}
