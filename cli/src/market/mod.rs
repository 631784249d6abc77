//! What the program knows of paid inference: networks, what was agreed and paid there, and what share nodes are owed.

pub mod network;
