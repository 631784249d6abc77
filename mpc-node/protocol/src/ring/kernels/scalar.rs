//! The scalar twins of the kernels that name instructions: what every other form of them must give.

pub(super) fn decode3(bytes: &[u8], out: &mut [u32]) {
    for (o, [a, b, c]) in out.iter_mut().zip(bytes.as_chunks::<3>().0) {
        *o = u32::from_le_bytes([*a, *b, *c, 0]);
    }
}

pub(super) fn encode3(values: &[u32], out: &mut [u8]) {
    for (o, v) in out.as_chunks_mut::<3>().0.iter_mut().zip(values) {
        let [a, b, c, _] = v.to_le_bytes();
        *o = [a, b, c];
    }
}

pub(super) fn plane(values: &[u32], bit: u8, out: &mut [u64]) {
    out.fill(0);
    for (word, part) in out.iter_mut().zip(values.chunks(64)) {
        for (i, v) in part.iter().enumerate() {
            *word |= u64::from(v >> bit & 1) << i;
        }
    }
}

pub(super) fn selected_sum(bits: &[u8], window: &[u32]) -> u32 {
    bits.iter().zip(window.chunks_exact(8)).fold(0u32, |sum, (byte, entries)| {
        entries.iter().enumerate().fold(sum, |sum, (i, e)| sum.wrapping_add(e * u32::from(byte >> i & 1)))
    })
}
