//! Words on the wire: ring elements as little-endian integers of 1 to 4 bytes, XOR words of 8.

use super::kernels;

/// Bytes that hold one element of `Z_2^bits`.
pub const fn width(bits: u8) -> usize {
    bits.div_ceil(8) as usize
}

/// The low `bits` bits set.
pub const fn low_bits(bits: u8) -> u32 {
    if bits >= 32 { u32::MAX } else { (1 << bits) - 1 }
}

/// Appends each value's low `width` bytes to `out`.
pub fn encode(width: usize, values: &[u32], out: &mut Vec<u8>) {
    if width == 4 && cfg!(target_endian = "little") {
        out.extend_from_slice(bytemuck::cast_slice(values));
        return;
    }
    let start = out.len();
    out.resize(start + values.len() * width, 0);
    let bytes = &mut out[start..];
    match width {
        1 => kernels::encode1(values, bytes),
        2 => kernels::encode2(values, bytes),
        3 => kernels::encode3(values, bytes),
        _ => {
            for (bytes, value) in bytes.chunks_exact_mut(4).zip(values) {
                bytes.copy_from_slice(&value.to_le_bytes());
            }
        }
    }
}

/// Reads values of `width` bytes each; `bytes` holds exactly `out.len()` of them.
pub fn decode(width: usize, bytes: &[u8], out: &mut [u32]) {
    debug_assert_eq!(bytes.len(), out.len() * width);
    match width {
        1 => kernels::decode1(bytes, out),
        2 => kernels::decode2(bytes, out),
        3 => kernels::decode3(bytes, out),
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
        kernels::add_masked(out, &part, u32::MAX);
    }
}

/// Appends XOR words to `out`.
pub fn encode_u64(values: &[u64], out: &mut Vec<u8>) {
    if cfg!(target_endian = "little") {
        out.extend_from_slice(bytemuck::cast_slice(values));
        return;
    }
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
            let values: Vec<u32> = (0..3000u32).map(|i| i.wrapping_mul(0x9e37_79b9) & low_bits(8 * w as u8)).collect();
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
