//! The script of the argument: lookups first, then what is zero, then every tensor from the last to the first, whose
//! claims become claims about those that it is made of, until only columns are left; these are opened.

mod columns;
mod joined;
mod linear;
mod lookups;
mod matmul;
mod moved;
mod product;
mod row_sum;

use p3_field::PrimeCharacteristicRing;

use crate::field::E;
use crate::party::Party;
use crate::system::{Definition, System, TensorId, dimensions, logs};

pub use lookups::{blocks, places_variables};
pub use moved::place;

/// That a tensor's extension has a value at a point.
#[derive(Clone, Debug)]
struct Claim {
    point: Vec<E>,
    value: E,
}

/// Follows the script, from the first challenge after the commitments on.
///
/// # Errors
/// When the party cannot go on.
pub fn run<P: Party>(system: &System, party: &mut P) -> Result<(), P::Error> {
    let mut script = Script { system, party, claims: vec![Vec::new(); system.tensors.len()] };
    script.lookups()?;
    script.zeros()?;
    for id in (0..system.tensors.len()).rev() {
        script.tensor(TensorId(id))?;
    }
    script.openings()
}

struct Script<'a, P> {
    system: &'a System,
    party: &'a mut P,
    /// Of each tensor.
    claims: Vec<Vec<Claim>>,
}

impl<P: Party> Script<'_, P> {
    /// What is zero everywhere is zero at a random point; one point serves all, each uses its first variables.
    fn zeros(&mut self) -> Result<(), P::Error> {
        let most = |axis: usize| {
            self.system.zeros.iter().map(|&id| logs(self.system.tensor(id).shape)[axis]).max().unwrap_or(0)
        };
        let longest = [most(0), most(1), most(2)];
        let point = longest.map(|len| (0..len).map(|_| self.party.challenge()).collect::<Vec<E>>());
        for &id in &self.system.zeros {
            let logs = logs(self.system.tensor(id).shape);
            let point = point.iter().zip(logs).flat_map(|(axis, len)| &axis[..len]).copied().collect();
            self.claim(id, point, E::ZERO);
        }
        Ok(())
    }

    /// Turns the claims about a tensor into claims about what it is made of.
    fn tensor(&mut self, id: TensorId) -> Result<(), P::Error> {
        let tensor = self.system.tensor(id);
        if matches!(tensor.definition, Definition::Column { .. }) {
            return Ok(());
        }
        let Some(claim) = self.joined(id)? else { return Ok(()) };
        match &tensor.definition {
            Definition::Column { .. } => Ok(()),
            Definition::Linear { terms, constant } => self.linear(tensor.shape, terms, *constant, &claim),
            Definition::Product { a, b } => self.product(*a, *b, &claim),
            Definition::MatMul { a, b, transposed } => self.matmul(*a, *b, *transposed, &claim),
            Definition::RowSum { x } => self.row_sum(*x, &claim),
            Definition::Moved { parts, to } => self.moved(parts, *to, tensor.shape, &claim),
        }
    }

    fn claim(&mut self, id: TensorId, point: Vec<E>, value: E) {
        self.claims[id.0].push(Claim { point, value });
    }

    /// Whether a dimension of one tensor is repeated to that of another one.
    fn repeats(&self, id: TensorId, shape: sahara_circuits::graph::Shape, axis: usize) -> bool {
        let own = dimensions(self.system.tensor(id).shape)[axis];
        own == 1 && dimensions(shape)[axis] > 1
    }
}

/// A point cut into as many variables.
fn split(logs: [usize; 3], point: &[E]) -> [&[E]; 3] {
    let (batch, rest) = point.split_at(logs[0]);
    let (rows, cols) = rest.split_at(logs[1]);
    [batch, rows, cols]
}
