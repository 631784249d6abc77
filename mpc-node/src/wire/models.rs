//! Messages about models and preprocessing packs.

use super::{Kind, MAX_STREAM, Message, PackId, SharingId, Task, flag, read_visibility, visibility_code};
use crate::codec::{DecodeError, Reader, Writer};
use crate::engine::{Assignment, GraphId, Visibility};

/// Asks which parts of a model a node holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HaveModel {
    /// The graph.
    pub graph: GraphId,
    /// [`sahara_circuits::graph::Graph::weights_root`].
    pub root: [u8; 32],
    /// Who knows the weights.
    pub visibility: Visibility,
    /// Which node is helper.
    pub assignment: Assignment,
}

impl Message for HaveModel {
    const KIND: Kind = Kind::HaveModel;
    const NAME: &'static str = "model question";

    fn write(&self, w: &mut Writer) {
        w.bytes(&self.graph.0).bytes(&self.root).u8(visibility_code(self.visibility)).u8(self.assignment.helper());
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            graph: GraphId(r.array()?),
            root: r.array()?,
            visibility: read_visibility(r)?,
            assignment: Assignment::new(r.u8()?).ok_or_else(|| r.field("assignment"))?,
        })
    }
}

/// The parts of a model that a node holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelParts {
    /// The graph is here.
    pub graph: bool,
    /// The weight material for this assignment, and of which sharing it is.
    pub weights: Option<SharingId>,
}

impl Message for ModelParts {
    const KIND: Kind = Kind::ModelParts;
    const NAME: &'static str = "model answer";

    fn write(&self, w: &mut Writer) {
        w.u8(u8::from(self.graph)).u8(u8::from(self.weights.is_some()));
        w.bytes(&self.weights.unwrap_or(SharingId([0; 16])).0);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let graph = flag(r, "graph")?;
        let weights = flag(r, "weights")?;
        let id = SharingId(r.array()?);
        Ok(Self { graph, weights: weights.then_some(id) })
    }
}

/// Announces the canonical bytes of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PutGraph {
    /// Its id, checked against the bytes.
    pub graph: GraphId,
    /// Length in bytes.
    pub len: u64,
}

impl Message for PutGraph {
    const KIND: Kind = Kind::PutGraph;
    const NAME: &'static str = "graph announcement";

    fn write(&self, w: &mut Writer) {
        w.bytes(&self.graph.0).u64(self.len);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { graph: GraphId(r.array()?), len: stream_length(r)? })
    }
}

fn stream_length(r: &mut Reader<'_>) -> Result<u64, DecodeError> {
    let len = r.u64()?;
    if len > MAX_STREAM { Err(r.field("length")) } else { Ok(len) }
}

/// Announces one node's part of a model's weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PutWeights {
    /// A registered graph that the weights belong to (it gives the shapes).
    pub graph: GraphId,
    /// Who knows the weights.
    pub visibility: Visibility,
    /// Which node is helper.
    pub assignment: Assignment,
    /// Which sharing this is.
    pub sharing: SharingId,
    /// Bytes that follow in chunks.
    pub len: u64,
}

impl Message for PutWeights {
    const KIND: Kind = Kind::PutWeights;
    const NAME: &'static str = "weights announcement";

    fn write(&self, w: &mut Writer) {
        w.bytes(&self.graph.0).u8(visibility_code(self.visibility)).u8(self.assignment.helper());
        w.bytes(&self.sharing.0).u64(self.len);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            graph: GraphId(r.array()?),
            visibility: read_visibility(r)?,
            assignment: Assignment::new(r.u8()?).ok_or_else(|| r.field("assignment"))?,
            sharing: SharingId(r.array()?),
            len: stream_length(r)?,
        })
    }
}

/// Asks a helper to make packs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepare {
    /// What they are for.
    pub task: Task,
    /// How many.
    pub count: u32,
}

impl Message for Prepare {
    const KIND: Kind = Kind::Prepare;
    const NAME: &'static str = "preparation request";

    fn write(&self, w: &mut Writer) {
        self.task.write(w);
        w.u32(self.count);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { task: Task::read(r)?, count: r.u32()? })
    }
}

/// A helper deals one pack to an evaluator; wiped from memory when dropped.
pub struct Deal {
    /// The pack's name.
    pub pack: PackId,
    /// What it is for.
    pub task: Task,
    /// The sharing of the weights that it is bound to.
    pub sharing: SharingId,
    /// The seed between helper and this evaluator.
    pub seed: zeroize::Zeroizing<[u8; 32]>,
    /// Bytes of corrections that follow in chunks (none for the first evaluator).
    pub corrections: u64,
}

impl Message for Deal {
    const KIND: Kind = Kind::Deal;
    const NAME: &'static str = "pack announcement";

    fn write(&self, w: &mut Writer) {
        w.bytes(&self.pack.0);
        self.task.write(w);
        w.bytes(&self.sharing.0).bytes(&self.seed[..]).u64(self.corrections);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            pack: PackId(r.array()?),
            task: Task::read(r)?,
            sharing: SharingId(r.array()?),
            seed: zeroize::Zeroizing::new(r.array()?),
            corrections: stream_length(r)?,
        })
    }
}
