//! What a mechanism spends: upper bounds of ε for a δ, by composition.
