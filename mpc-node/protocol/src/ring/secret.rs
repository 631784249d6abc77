//! Vectors of secrets: wiped when dropped, no printable form.
//!
//! `zeroize` wipes a vector one volatile element at a time, which is too slow for packs of a hundred megabytes. Here the
//! memory is filled at full speed, and a barrier keeps the compiler from leaving the fill out.

use std::ops::{Deref, DerefMut};

use bytemuck::Zeroable;
use zeroize::optimization_barrier;

/// Overwrites values that are about to be freed.
pub fn wipe<T: Copy + Zeroable>(values: &mut [T]) {
    values.fill(T::zeroed());
    optimization_barrier(&*values);
}

/// Overwrites everything that a vector has ever held, also what it has been shortened by.
pub fn wipe_whole<T: Copy>(values: &mut Vec<T>, zero: T) {
    values.clear();
    values.resize(values.capacity(), zero);
    optimization_barrier(&values[..]);
    values.clear();
}

/// Makes room for `additional` more values; a vector that grows by itself leaves a copy behind in freed memory.
pub fn make_room<T: Copy + Zeroable>(values: &mut Vec<T>, additional: usize) {
    let needed = values.len() + additional;
    if needed > values.capacity() {
        let mut larger = Vec::with_capacity(needed.max(2 * values.capacity()));
        larger.extend_from_slice(values);
        wipe(values);
        *values = larger;
    }
}

/// A vector that is wiped when dropped. It cannot grow, so no copy of it is left behind in freed memory.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T: Copy + Zeroable>(Vec<T>);

impl<T: Copy + Zeroable> Secret<T> {
    /// The values without the wrapping: whoever takes them wraps them again.
    pub fn into_vec(mut self) -> Vec<T> {
        std::mem::take(&mut self.0)
    }
}

impl<T: Copy + Zeroable> Default for Secret<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Copy + Zeroable> From<Vec<T>> for Secret<T> {
    fn from(values: Vec<T>) -> Self {
        Self(values)
    }
}

impl<T: Copy + Zeroable> Deref for Secret<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Copy + Zeroable> DerefMut for Secret<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<T: Copy + Zeroable> Drop for Secret<T> {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

impl<T: Copy + Zeroable> std::fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secret({} elements)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wiping_leaves_zeros_and_debug_hides_the_values() {
        let mut words = vec![7u32; 1000];
        wipe(&mut words);
        assert!(words.iter().all(|w| *w == 0));
        let mut shortened = vec![7u32; 100];
        shortened.truncate(3);
        wipe_whole(&mut shortened, 0);
        assert!(shortened.is_empty() && shortened.capacity() >= 100);
        assert_eq!(format!("{:?}", Secret::from(vec![7u8; 3])), "Secret(3 elements)");
    }
}
