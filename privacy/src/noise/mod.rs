//! Noise on integers that nobody can predict, drawn in a time that does not depend on it.
