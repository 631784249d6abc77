//! Messages about unused packs between an evaluator and a helper, how many there are, and whether a job's consumer is here.

use sahara_circuits::bytes::{DecodeError, Reader, Writer};

use super::{JobId, Kind, Message, PackId, Task};
use crate::ids::{id_type, random_id};

/// Most names in one message.
pub const MAX_NAMES: usize = 2048;

id_type!(
    /// Names one run of a helper: drawn when it starts, so that packs dealt before are void.
    Incarnation, 16
);
random_id!(Incarnation, 16);

/// Names of packs that one helper dealt to one evaluator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackNames {
    /// The helper's incarnation.
    pub incarnation: Incarnation,
    /// The names.
    pub packs: Vec<PackId>,
}

impl PackNames {
    fn write_to(&self, w: &mut Writer) {
        w.bytes(&self.incarnation.0).u32(self.packs.len() as u32);
        self.packs.iter().for_each(|pack| {
            w.bytes(&pack.0);
        });
    }

    fn read_from(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let incarnation = Incarnation(r.array()?);
        let packs = (0..r.count("names", MAX_NAMES)?).map(|_| r.array().map(PackId)).collect::<Result<_, _>>()?;
        Ok(Self { incarnation, packs })
    }
}

/// An evaluator that stops hands the names of its unused packs back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandBack(pub PackNames);

impl Message for HandBack {
    const KIND: Kind = Kind::HandBack;
    const NAME: &'static str = "return of packs";

    fn write(&self, w: &mut Writer) {
        self.0.write_to(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        PackNames::read_from(r).map(Self)
    }
}

/// An evaluator that starts asks for the names that it has handed back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reclaim(pub PackNames);

impl Message for Reclaim {
    const KIND: Kind = Kind::Reclaim;
    const NAME: &'static str = "claim of packs";

    fn write(&self, w: &mut Writer) {
        self.0.write_to(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        PackNames::read_from(r).map(Self)
    }
}

/// Of the names asked for, those that are given back: they are given to nobody again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reclaimed(pub PackNames);

impl Message for Reclaimed {
    const KIND: Kind = Kind::Reclaimed;
    const NAME: &'static str = "packs given back";

    fn write(&self, w: &mut Writer) {
        self.0.write_to(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        PackNames::read_from(r).map(Self)
    }
}

/// Asks an evaluator how many packs are ready for one task: its status lists tasks of others too, and not all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountPacks(pub Task);

impl Message for CountPacks {
    const KIND: Kind = Kind::CountPacks;
    const NAME: &'static str = "question for packs";

    fn write(&self, w: &mut Writer) {
        self.0.write(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Task::read(r).map(Self)
    }
}

/// The answer to [`CountPacks`]: none also for whoever may not use the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackCount(pub u32);

impl Message for PackCount {
    const KIND: Kind = Kind::PackCount;
    const NAME: &'static str = "number of packs";

    fn write(&self, w: &mut Writer) {
        w.u32(self.0);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        r.u32().map(Self)
    }
}

/// The first evaluator asks the second whether a job's consumer is there, before it opens the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskJob {
    /// The job.
    pub job: JobId,
    /// What to compute.
    pub task: Task,
    /// Who asked the first evaluator.
    pub consumer: [u8; 32],
    /// [`super::Run::paid_with`]; nothing is sent for a job that is not paid.
    pub paid_with: Option<[u8; 32]>,
}

impl Message for AskJob {
    const KIND: Kind = Kind::AskJob;
    const NAME: &'static str = "question about a job";

    fn write(&self, w: &mut Writer) {
        w.bytes(&self.job.0);
        self.task.write(w);
        w.bytes(&self.consumer).bytes(self.paid_with.as_ref().map_or(&[][..], |digest| digest));
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            job: JobId(r.array()?),
            task: Task::read(r)?,
            consumer: r.array()?,
            paid_with: if r.left() == 0 { None } else { Some(r.array()?) },
        })
    }
}

/// The answer to [`AskJob`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Its consumer has not asked for it here.
    Unknown,
    /// It has asked and its input is on the way.
    Coming,
    /// All is there: the job can be opened.
    Here,
}

impl Message for Presence {
    const KIND: Kind = Kind::Presence;
    const NAME: &'static str = "presence of a job";

    fn write(&self, w: &mut Writer) {
        w.u8(*self as u8);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match r.u8()? {
            0 => Ok(Self::Unknown),
            1 => Ok(Self::Coming),
            2 => Ok(Self::Here),
            _ => Err(r.field("presence")),
        }
    }
}
