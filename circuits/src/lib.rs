//! The integer graph: one exact definition of what a model computes, small enough to run on shares, prove and dispute.

pub mod graph;
