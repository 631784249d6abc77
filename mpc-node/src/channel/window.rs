//! A byte buffer with a filled part.

/// Bytes `start..end` of a buffer; grows only through [`Window::reserve`] and [`Window::append`].
#[derive(Default)]
pub(super) struct Window {
    bytes: Vec<u8>,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Window {
    pub(super) fn new(capacity: usize) -> Self {
        Self { bytes: vec![0; capacity], start: 0, end: 0 }
    }

    /// Makes the buffer this large; it never shrinks.
    pub(super) fn reserve(&mut self, capacity: usize) {
        if self.bytes.len() < capacity {
            self.bytes.resize(capacity, 0);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(super) fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(super) fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    pub(super) fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.end..]
    }

    pub(super) fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Moves what is filled to the front.
    pub(super) fn make_room(&mut self) {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
    }

    /// Moves bytes from the front into `to`; says how many.
    pub(super) fn take(&mut self, to: &mut [u8]) -> usize {
        let n = to.len().min(self.end - self.start);
        to[..n].copy_from_slice(&self.bytes[self.start..self.start + n]);
        self.start += n;
        if self.is_empty() {
            self.clear();
        }
        n
    }

    pub(super) fn append(&mut self, more: &[u8]) {
        if more.is_empty() {
            return;
        }
        self.make_room();
        self.bytes.truncate(self.end);
        self.bytes.extend_from_slice(more);
        self.end = self.bytes.len();
    }
}
