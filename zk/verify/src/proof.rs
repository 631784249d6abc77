//! The bytes of a proof: a header, the root of the witness, then the messages in the order of the script, whose number
//! and kind follow from the graph.

use sahara_circuits::bytes::{DecodeError, Reader, Writer};

use crate::whir::Root;

/// First bytes of a proof.
const MAGIC: &[u8; 8] = b"SHPROOF\0";
/// The version that this program knows.
const VERSION: u16 = 1;
/// A proof that is succinct, and not zero-knowledge.
const NOT_HIDING: u8 = 0;
/// Longest proof that is read.
pub const MAX_PROOF_BYTES: usize = 16 << 20;
/// What everybody is told who makes, reads or passes on such a proof.
pub const NOTICE: &str = "succinct, not zero-knowledge: whoever has the proof may learn of inputs and weights";

/// A proof that is succinct and **not zero-knowledge**: it shows the right answer, and hides nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct NonHidingProof {
    bytes: Vec<u8>,
}

impl NonHidingProof {
    /// A proof from its bytes; what is in them is looked at when it is verified.
    ///
    /// # Errors
    /// When they are of another format or version, of a kind that hides, or too many.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_PROOF_BYTES {
            let (found, limit) = (bytes.len() as u64, MAX_PROOF_BYTES as u64);
            return Err(DecodeError::Limit { what: "proof", items: "bytes", found, limit });
        }
        messages(bytes)?;
        Ok(Self { bytes: bytes.to_vec() })
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A proof of these messages, which begin with the root of the witness.
    pub fn of_messages(messages: &[u8]) -> Self {
        let mut out = Writer::with_header(MAGIC, VERSION);
        out.u8(NOT_HIDING).bytes(messages);
        Self { bytes: out.0 }
    }

    /// The root of the witness, and the messages after it.
    pub(crate) fn messages(&self) -> Result<(Root, Reader<'_>), DecodeError> {
        let mut input = messages(&self.bytes)?;
        Ok((Root::read(&mut input)?, input))
    }
}

impl std::fmt::Debug for NonHidingProof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NonHidingProof({} bytes; {NOTICE})", self.bytes.len())
    }
}

fn messages(bytes: &[u8]) -> Result<Reader<'_>, DecodeError> {
    let mut input = Reader::new("proof", bytes);
    input.header(MAGIC, VERSION)?;
    match input.u8()? {
        NOT_HIDING => Ok(input),
        kind => Err(input.unknown("kind", kind)),
    }
}
