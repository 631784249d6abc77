//! One node process: started in the background, remembered by a pid file, stopped politely first.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use sahara::home::write_atomic;

/// How long a node may take to finish its jobs before it is killed.
const GRACE: Duration = Duration::from_secs(15);

/// A process that was started earlier, perhaps by another run of the program.
///
/// The start time guards against another process that got the same number later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Number of the process.
    pub pid: i32,
    /// When it started, in ticks since the machine's start; 0 where the system does not tell.
    started: u64,
}

impl Process {
    /// Starts `program` with its output appended to `log` and remembers it in `pid_file`. It outlives this program
    /// and does not get the terminal's Ctrl-C.
    pub fn start(program: &Path, args: &[&std::ffi::OsStr], log: &Path, pid_file: &Path) -> Result<Self> {
        let opened = File::options().create(true).append(true).open(log);
        let output = opened.map_err(|e| Error::io("opening", log, e))?;
        let errors = output.try_clone().map_err(|e| Error::io("opening", log, e))?;
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(output).stderr(errors);
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.spawn().map_err(|e| Error::io("starting", program, e))?;
        let pid = i32::try_from(child.id()).map_err(|e| Error::fault_from("the process number is too large", e))?;
        let process = Self { pid, started: start_time(pid).unwrap_or(0) };
        let json = serde_json::to_vec(&process).map_err(|e| Error::fault_from("encoding the pid file", e))?;
        write_atomic(pid_file, &json)?;
        Ok(process)
    }

    /// The process that a pid file remembers, if it still runs.
    pub fn recall(pid_file: &Path) -> Option<Self> {
        let bytes = fs::read(pid_file).ok()?;
        let process: Self = serde_json::from_slice(&bytes).ok()?;
        process.is_running().then_some(process)
    }

    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        let Some(pid) = Pid::from_raw(self.pid).filter(|_| self.pid > 1) else { return false };
        if test_kill_process(pid).is_err() {
            return false;
        }
        self.started == 0 || start_time(self.pid) == Some(self.started)
    }

    /// Asks it to stop, waits, and kills it if it does not. True if it went politely.
    pub fn stop(&self) -> bool {
        let Some(pid) = Pid::from_raw(self.pid).filter(|_| self.is_running()) else { return true };
        // A failure here means that it has just gone, which the wait below sees.
        let _ = kill_process(pid, Signal::TERM);
        if self.gone_within(GRACE) {
            return true;
        }
        let _ = kill_process(pid, Signal::KILL);
        self.gone_within(Duration::from_secs(5));
        false
    }

    fn gone_within(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.is_running() {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(20));
        }
        true
    }
}

/// Start time of a live process from `/proc` (field 22); none for a dead or unreaped one, or on other systems.
fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(PathBuf::from(format!("/proc/{pid}/stat"))).ok()?;
    // The name in parentheses may hold anything, so count from the last one.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    if matches!(fields.first(), Some(&"Z" | &"X")) {
        return None;
    }
    fields.get(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_remembered_and_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let (log, pid_file) = (dir.path().join("log"), dir.path().join("pid"));
        let args = ["-c".as_ref(), "echo started; exec sleep 60".as_ref()];
        let process = Process::start(Path::new("/bin/sh"), &args, &log, &pid_file).unwrap();
        assert_eq!(Process::recall(&pid_file), Some(process.clone()));
        assert!(process.stop());
        assert_eq!(Process::recall(&pid_file), None);
    }

    #[test]
    fn another_process_with_the_same_number_is_not_ours() {
        let me = i32::try_from(std::process::id()).unwrap();
        assert!(Process { pid: me, started: start_time(me).unwrap() }.is_running());
        assert!(!Process { pid: me, started: 1 }.is_running());
        assert!(!Process { pid: 0, started: 0 }.is_running());
    }

    #[test]
    fn a_damaged_pid_file_is_no_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        fs::write(&path, "{").unwrap();
        assert_eq!(Process::recall(&path), None);
    }
}
