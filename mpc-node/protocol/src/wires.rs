//! The tensors of one job at an evaluator, from when a gate has made them until the last gate has read them.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use sahara_circuits::graph::NodeId;

use crate::masked::Masked;
use crate::ring::secret::Secret;

/// All wires of a job.
pub(crate) struct Wires(Mutex<State>);

struct State {
    inputs: Vec<Option<Secret<u32>>>,
    shares: Vec<Option<Arc<Secret<u32>>>>,
    masked: Vec<Option<Arc<Masked>>>,
    /// Readers that have not been there.
    left: Vec<u32>,
}

impl Wires {
    /// `readers` has the number of readers of each node.
    pub(crate) fn new(inputs: Vec<Secret<u32>>, readers: Vec<u32>) -> Self {
        Self(Mutex::new(State {
            inputs: inputs.into_iter().map(Some).collect(),
            shares: vec![None; readers.len()],
            masked: readers.iter().map(|_| None).collect(),
            left: readers,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The share of an input of the graph, once.
    pub(crate) fn take_input(&self, index: usize) -> Vec<u32> {
        self.lock().inputs.get_mut(index).and_then(Option::take).map(Secret::into_vec).unwrap_or_default()
    }

    /// A node's additive share, when it is there.
    pub(crate) async fn shares(&self, id: NodeId) -> Arc<Secret<u32>> {
        poll_fn(|_| self.get(id).map_or(Poll::Pending, Poll::Ready)).await
    }

    /// A node's additive share, if it is there.
    pub(crate) fn get(&self, id: NodeId) -> Option<Arc<Secret<u32>>> {
        self.lock().shares[id.0 as usize].clone()
    }

    /// A node's value under a mask, when it has been opened.
    pub(crate) async fn masked(&self, id: NodeId) -> Arc<Masked> {
        poll_fn(|_| self.lock().masked[id.0 as usize].clone().map_or(Poll::Pending, Poll::Ready)).await
    }

    pub(crate) fn put_shares(&self, id: NodeId, shares: Arc<Secret<u32>>) {
        self.lock().shares[id.0 as usize] = Some(shares);
    }

    pub(crate) fn put_masked(&self, id: NodeId, masked: Masked) {
        self.lock().masked[id.0 as usize] = Some(Arc::new(masked));
    }

    /// A reader of these nodes is done; what nobody else reads is wiped.
    pub(crate) fn release(&self, operands: &[NodeId]) {
        let mut state = self.lock();
        for id in operands {
            let i = id.0 as usize;
            state.left[i] -= 1;
            if state.left[i] == 0 {
                state.shares[i] = None;
                state.masked[i] = None;
            }
        }
    }
}
