//! The same as one after the other, with AVX-512: tables lie in registers.

use pulp::x86::V4;
use pulp::{Simd, cast, u32x16};

use super::{BYTES, COLUMN_BITS, Candidates, LANES, SERIES};

/// The widest vectors, if these are they.
#[inline(always)]
pub fn wide<S: Simd>(_: S) -> Option<V4> {
    if S::F32_LANES == 16 { V4::try_new() } else { None }
}

impl Candidates<'_, '_> {
    /// The same as one after the other, with AVX-512: tables lie in registers.
    #[inline(always)]
    pub fn in_vectors(self, simd: V4) -> usize {
        let Self { shape, bytes, values, more } = self;
        let (f, dq) = (simd.avx512f, simd.avx512dq);
        let number = |value: i32| f._mm512_set1_epi32(value);
        let (columns, chances) = (shape.columns.as_chunks::<LANES>().0, shape.chances.as_chunks::<LANES>().0);
        let columns = [cast(columns[0]), cast(columns[1])];
        let chances = [cast(chances[0]), cast(chances[1])];
        let shift = number(shape.shift as i32);
        let low = number((1 << shape.shift) - 1);
        let scale = f._mm512_set1_ps(-shape.scale);
        let mut count = 0;
        for bytes in bytes {
            let halves: &[[u8; BYTES / 2]; 2] = cast_halves(bytes);
            let (first, second) = (cast(halves[0]), cast(halves[1]));
            let column = f._mm512_permutex2var_epi32(columns[0], first, columns[1]);
            let part = f._mm512_and_si512(f._mm512_srli_epi32::<5>(first), number((1 << COLUMN_BITS) - 1));
            let stays = f._mm512_cmplt_epu32_mask(part, f._mm512_srli_epi32::<16>(column));
            let y = f._mm512_mask_blend_epi32(stays, column, first);
            let y = f._mm512_and_si512(y, number(31));
            let chance = f._mm512_permutex2var_ps(chances[0], y, chances[1]);
            let u = f._mm512_and_si512(second, low);
            let base = f._mm512_sllv_epi32(y, shift);
            let magnitude = f._mm512_or_si512(base, u);
            // Up to 2³²: without a sign.
            let sum = f._mm512_cvtepu32_ps(f._mm512_add_epi32(base, magnitude));
            let product = f._mm512_mul_ps(f._mm512_cvtepi32_ps(u), sum);
            let power = f._mm512_mul_ps(product, scale);
            let whole = f._mm512_roundscale_ps::<8>(power);
            let rest = f._mm512_sub_ps(power, whole);
            let mut series = f._mm512_set1_ps(SERIES[0]);
            for &term in &SERIES[1..] {
                series = f._mm512_fmadd_ps(series, rest, f._mm512_set1_ps(term));
            }
            let chance = f._mm512_cvtps_epi32(f._mm512_mul_ps(f._mm512_scalef_ps(series, whole), chance));
            let bits = f._mm512_srli_epi32::<16>(first);
            let negative = dq._mm512_movepi32_mask(second);
            let once = if shape.fine == 0 { !(f._mm512_testn_epi32_mask(magnitude, magnitude) & negative) } else { !0 };
            let mut accepted = f._mm512_cmplt_epi32_mask(bits, chance) & once;
            let apart = f._mm512_sub_epi32(f._mm512_add_epi32(bits, number(2)), chance);
            let undecided = f._mm512_testn_epi32_mask(apart, number(0xfffc)) & once;
            if undecided != 0 {
                accepted = shape.settle_all(bytes, (accepted.into(), undecided.into()), count, more) as u16;
            }
            let value = f._mm512_mask_xor_epi32(magnitude, negative, magnitude, number(-1));
            let together: u32x16 = cast(f._mm512_maskz_compress_epi32(accepted, value));
            if let Some(place) = values.get_mut(count..count + LANES) {
                place.copy_from_slice(&cast::<_, [i32; LANES]>(together));
            }
            count += accepted.count_ones() as usize;
        }
        count
    }
}

#[inline(always)]
fn cast_halves(bytes: &[u8; BYTES]) -> &[[u8; BYTES / 2]; 2] {
    bytes.as_chunks().0.first_chunk().unwrap_or(&[[0; BYTES / 2]; 2])
}
