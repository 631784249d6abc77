//! What a node says about itself when asked.

use sahara_circuits::bytes::{DecodeError, Reader, Writer};

use crate::meter::ByteCounts;
use crate::wire::{Kind, Message, Task};

const MAGIC: &[u8; 8] = b"SHSTATUS";
const VERSION: u16 = 2;
const MAX_LIST: usize = 512;

/// A node's state and counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeStatus {
    /// Index in the committee.
    pub index: u8,
    /// Version of the program.
    pub program: String,
    /// Whether it takes jobs (false while shutting down).
    pub ready: bool,
    /// Seconds since start.
    pub uptime_seconds: u64,
    /// The node's clock, in milliseconds since 1970.
    pub clock_millis: u64,
    /// Operating system's process id, so that a devnet can tell its own nodes.
    pub process: u32,
    /// CPU time of the process (user and system), in nanoseconds.
    pub cpu_nanos: u64,
    /// Bytes sent, by purpose.
    pub sent: ByteCounts,
    /// Bytes received, by purpose.
    pub received: ByteCounts,
    /// Jobs that ended well (as an evaluator).
    pub jobs_done: u64,
    /// Jobs that failed.
    pub jobs_failed: u64,
    /// Jobs running now.
    pub jobs_running: u32,
    /// Rounds in all jobs.
    pub rounds: u64,
    /// Packs dealt as the helper.
    pub packs_dealt: u64,
    /// Sharings that the asker owns or may use; all of them for an operator.
    pub sharings: u32,
    /// Packs ready, by task.
    pub packs: Vec<(Task, u32)>,
}

impl NodeStatus {
    /// CPU time of the process in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        self.cpu_nanos as f64 * 1e-9
    }

    /// Packs ready for a task.
    pub fn packs_for(&self, task: &Task) -> u32 {
        self.packs.iter().find(|(t, _)| t == task).map_or(0, |(_, n)| *n)
    }
}

impl Message for NodeStatus {
    const KIND: Kind = Kind::StatusReply;
    const NAME: &'static str = "node status";

    fn write(&self, w: &mut Writer) {
        w.bytes(MAGIC).u16(VERSION).u8(self.index).text_up_to(&self.program, 64).u8(u8::from(self.ready));
        w.u64(self.uptime_seconds).u64(self.clock_millis).u32(self.process).u64(self.cpu_nanos);
        write_counts(w, &self.sent);
        write_counts(w, &self.received);
        w.u64(self.jobs_done).u64(self.jobs_failed).u32(self.jobs_running).u64(self.rounds).u64(self.packs_dealt);
        w.u32(self.sharings);
        w.u32(self.packs.len().min(MAX_LIST) as u32);
        for (task, count) in self.packs.iter().take(MAX_LIST) {
            task.write(w);
            w.u32(*count);
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        r.header(MAGIC, VERSION)?;
        Ok(Self {
            index: r.u8()?,
            program: r.text("program", 64)?,
            ready: r.u8()? != 0,
            uptime_seconds: r.u64()?,
            clock_millis: r.u64()?,
            process: r.u32()?,
            cpu_nanos: r.u64()?,
            sent: read_counts(r)?,
            received: read_counts(r)?,
            jobs_done: r.u64()?,
            jobs_failed: r.u64()?,
            jobs_running: r.u32()?,
            rounds: r.u64()?,
            packs_dealt: r.u64()?,
            sharings: r.u32()?,
            packs: list(r, "packs", |r| Ok((Task::read(r)?, r.u32()?)))?,
        })
    }
}

fn list<'a, T>(
    r: &mut Reader<'a>,
    field: &'static str,
    mut item: impl FnMut(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    (0..r.count(field, MAX_LIST)?).map(|_| item(r)).collect()
}

fn write_counts(w: &mut Writer, counts: &ByteCounts) {
    w.u64(counts.setup).u64(counts.offline).u64(counts.online).u64(counts.client);
}

fn read_counts(r: &mut Reader<'_>) -> Result<ByteCounts, DecodeError> {
    Ok(ByteCounts { setup: r.u64()?, offline: r.u64()?, online: r.u64()?, client: r.u64()? })
}
