//! Words on the wire: ring elements as little-endian integers of 1 to 4 bytes, XOR words of 8.

/// Bytes that hold one element of `Z_2^bits`.
pub const fn width(bits: u8) -> usize {
    bits.div_ceil(8) as usize
}

/// The low `bits` bits set.
pub const fn mask(bits: u8) -> u32 {
    if bits >= 32 { u32::MAX } else { (1 << bits) - 1 }
}

/// Appends each value's low `width` bytes to `out`.
pub fn encode(width: usize, values: &[u32], out: &mut Vec<u8>) {
    match width {
        1 => out.extend(values.iter().map(|v| *v as u8)),
        2 => out.extend(values.iter().flat_map(|v| (*v as u16).to_le_bytes())),
        4 if cfg!(target_endian = "little") => out.extend_from_slice(bytemuck::cast_slice(values)),
        _ => {
            let start = out.len();
            out.resize(start + values.len() * width, 0);
            for (bytes, value) in out[start..].chunks_exact_mut(width).zip(values) {
                bytes.copy_from_slice(&value.to_le_bytes()[..width]);
            }
        }
    }
}

/// Reads values of `width` bytes each; `bytes` holds exactly `out.len()` of them.
pub fn decode(width: usize, bytes: &[u8], out: &mut [u32]) {
    debug_assert_eq!(bytes.len(), out.len() * width);
    match width {
        1 => out.iter_mut().zip(bytes).for_each(|(o, b)| *o = u32::from(*b)),
        2 => {
            for (o, b) in out.iter_mut().zip(bytes.chunks_exact(2)) {
                *o = u32::from(u16::from_le_bytes([b[0], b[1]]));
            }
        }
        3 => {
            for (o, b) in out.iter_mut().zip(bytes.chunks_exact(3)) {
                *o = u32::from_le_bytes([b[0], b[1], b[2], 0]);
            }
        }
        _ => {
            for (o, b) in out.iter_mut().zip(bytes.chunks_exact(4)) {
                *o = u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            }
        }
    }
}

/// Adds values read from `bytes` to `acc` (wrapping).
pub fn decode_add(width: usize, bytes: &[u8], acc: &mut [u32]) {
    let mut part = [0; 1024];
    for (out, bytes) in acc.chunks_mut(1024).zip(bytes.chunks(1024 * width)) {
        decode(width, bytes, &mut part[..out.len()]);
        for (o, p) in out.iter_mut().zip(&part) {
            *o = o.wrapping_add(*p);
        }
    }
}

/// Appends XOR words to `out`.
pub fn encode_u64(values: &[u64], out: &mut Vec<u8>) {
    out.extend(values.iter().flat_map(|v| v.to_le_bytes()));
}

/// XORs words read from `bytes` into `acc`.
pub fn decode_xor_u64(bytes: &[u8], acc: &mut [u64]) {
    for (o, b) in acc.iter_mut().zip(bytes.chunks_exact(8)) {
        *o ^= u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_round_trips() {
        for w in 1..=4 {
            let values: Vec<u32> = (0..3000u32).map(|i| i.wrapping_mul(0x9e37_79b9) & mask(8 * w as u8)).collect();
            let mut bytes = Vec::new();
            encode(w, &values, &mut bytes);
            assert_eq!(bytes.len(), values.len() * w);
            let mut back = vec![0; values.len()];
            decode(w, &bytes, &mut back);
            assert_eq!(values, back);
            decode_add(w, &bytes, &mut back);
            assert!(back.iter().zip(&values).all(|(b, v)| *b == v.wrapping_mul(2)));
        }
    }
}
