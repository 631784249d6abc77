//! What a proof is about.

use sahara_circuits::bytes::{DecodeError, Reader, Writer};
use sahara_circuits::codec::GraphId;
use sahara_circuits::weights::MAX_TENSORS;

use crate::transcript::Transcript;
use crate::whir::Root;

/// First bytes of a statement.
const MAGIC: &[u8; 8] = b"SHSTATEM";
/// The version that this program knows.
const VERSION: u16 = 1;

/// That the graph gives the committed outputs on the committed inputs with the committed weights, for this market and
/// asset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The graph.
    pub graph: GraphId,
    /// The weights.
    pub weights: WeightsKey,
    /// The salted commitment to the inputs.
    pub input: Root,
    /// The salted commitment to the outputs.
    pub output: Root,
    /// For whom and what it is proven.
    pub context: Context,
}

/// The registered commitment to weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightsKey {
    /// The root.
    pub root: Root,
    /// Signed bits that each tensor is proven to fit, 1 to 30.
    pub bits: Vec<u8>,
}

/// For whom and what something is proven: a proof for one is none for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Context {
    /// The chain.
    pub chain: u64,
    /// The market's contract.
    pub market: [u8; 20],
    /// The asset.
    pub asset: [u8; 32],
    /// The asset's version.
    pub version: u64,
    /// The request that is answered, or zeros.
    pub request: [u8; 32],
}

impl Statement {
    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::with_header(MAGIC, VERSION);
        out.bytes(&self.graph.0);
        self.weights.root.write(&mut out);
        out.u32(self.weights.bits.len() as u32).bytes(&self.weights.bits);
        self.input.write(&mut out);
        self.output.write(&mut out);
        let Context { chain, market, asset, version, request } = &self.context;
        out.u64(*chain).bytes(market).bytes(asset).u64(*version).bytes(request);
        out.0
    }

    /// Reads the bytes of [`Statement::to_bytes`].
    ///
    /// # Errors
    /// When the bytes are not of this format and version, are cut short or go on after the end.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Reader::new("statement of a proof", bytes);
        input.header(MAGIC, VERSION)?;
        let graph = GraphId(input.array()?);
        let root = Root::read(&mut input)?;
        let len = input.count("widths of weights", MAX_TENSORS)?;
        let weights = WeightsKey { root, bits: input.take(len)?.to_vec() };
        let (consumed, produced) = (Root::read(&mut input)?, Root::read(&mut input)?);
        let context = Context {
            chain: input.u64()?,
            market: input.array()?,
            asset: input.array()?,
            version: input.u64()?,
            request: input.array()?,
        };
        input.finish()?;
        Ok(Self { graph, weights, input: consumed, output: produced, context })
    }

    /// The transcript of a proof of this, up to the commitment to the witness.
    pub fn transcript(&self, witness: &Root) -> Transcript {
        let digest = blake3::derive_key("sahara proof of a graph v1, succinct, not zero-knowledge", &self.to_bytes());
        let mut transcript = Transcript::new(&digest);
        // As the openings ask for it: each commitment is in the transcript before any challenge.
        for root in [&self.weights.root, &self.input, &self.output, witness] {
            root.observe(&mut transcript);
        }
        transcript
    }
}
