//! Numbers from 0 to below 2⁶⁴ with 256 bits after the point, for tables that must be right far beyond a double. Operations
//! round towards zero: each is right to 2⁻²⁵⁶, of a product with at most 2⁶⁴ times that.

/// Words, the least first; the last is the whole part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixed([u64; 5]);

impl Fixed {
    pub const ZERO: Self = Self([0; 5]);
    pub const ONE: Self = Self([0, 0, 0, 0, 1]);
    /// 2⁻²⁵⁰.
    pub const TINY: Self = Self([64, 0, 0, 0, 0]);

    /// A number below 1: the first 64 bits after the point, the next, and the next.
    pub fn below_one([first, second, third]: [u64; 3]) -> Self {
        Self([0, third, second, first, 0])
    }

    /// 1 / value of a positive, normal double from 2⁻⁶² to 2²⁰⁰.
    pub fn reciprocal(value: f64) -> Self {
        let (mantissa, exponent) = parts(value);
        Self::power_over(-exponent, u128::from(mantissa))
    }

    /// 1 / (2 value²), for doubles from 2⁻³⁰ to 2¹⁰⁰.
    pub fn reciprocal_of_twice_the_square(value: f64) -> Self {
        let (mantissa, exponent) = parts(value);
        Self::power_over(-2 * exponent - 1, u128::from(mantissa) * u128::from(mantissa))
    }

    /// 2^exponent / divisor, for divisors below 2¹²⁷.
    fn power_over(exponent: i32, divisor: u128) -> Self {
        let mut quotient = Self::ZERO;
        let mut rest = 1_u128;
        for _ in 0..exponent + 256 {
            quotient = quotient.doubled();
            rest <<= 1;
            if rest >= divisor {
                rest -= divisor;
                quotient.0[0] |= 1;
            }
        }
        quotient
    }

    /// e^{-self}, of numbers up to 1,000.
    pub fn exp_of_minus(self) -> Self {
        // Of a 1,024th part by Taylor's series, whose terms alternate and fall; then squared ten times.
        let mut part = self;
        (0..10).for_each(|_| part = part.halved());
        let (mut plus, mut minus, mut term) = (Self::ONE, Self::ZERO, Self::ONE);
        for k in 1..=80 {
            term = term.times(part).over(k);
            if k % 2 == 0 { plus = plus.plus(term) } else { minus = minus.plus(term) }
        }
        let mut power = plus.minus(minus);
        (0..10).for_each(|_| power = power.times(power));
        power
    }

    pub fn plus(self, other: Self) -> Self {
        let mut carry = false;
        Self(std::array::from_fn(|i| {
            let (sum, first) = self.0[i].overflowing_add(other.0[i]);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            carry = first | second;
            sum
        }))
    }

    /// Of a number that is not greater.
    pub fn minus(self, other: Self) -> Self {
        let mut borrow = false;
        Self(std::array::from_fn(|i| {
            let (rest, first) = self.0[i].overflowing_sub(other.0[i]);
            let (rest, second) = rest.overflowing_sub(u64::from(borrow));
            borrow = first | second;
            rest
        }))
    }

    pub fn times(self, other: Self) -> Self {
        let mut product = [0_u64; 10];
        for i in 0..5 {
            let mut carry = 0_u128;
            for j in 0..5 {
                let sum = u128::from(self.0[i]) * u128::from(other.0[j]) + u128::from(product[i + j]) + carry;
                product[i + j] = sum as u64;
                carry = sum >> 64;
            }
            product[i + 5] = carry as u64;
        }
        Self(std::array::from_fn(|i| product[i + 4]))
    }

    /// Times a whole number.
    pub fn by(self, factor: u64) -> Self {
        let mut carry = 0_u128;
        Self(std::array::from_fn(|i| {
            let sum = u128::from(self.0[i]) * u128::from(factor) + carry;
            carry = sum >> 64;
            sum as u64
        }))
    }

    /// Divided by a whole number.
    fn over(self, divisor: u64) -> Self {
        let mut quotient = [0; 5];
        let mut rest = 0_u128;
        for i in (0..5).rev() {
            let part = (rest << 64) | u128::from(self.0[i]);
            quotient[i] = (part / u128::from(divisor)) as u64;
            rest = part % u128::from(divisor);
        }
        Self(quotient)
    }

    pub fn doubled(self) -> Self {
        self.plus(self)
    }

    pub fn halved(self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] >> 1 | if i < 4 { self.0[i + 1] << 63 } else { 0 }))
    }

    /// Divided by 2⁶⁴.
    pub fn lowered(self) -> Self {
        Self(std::array::from_fn(|i| if i < 4 { self.0[i + 1] } else { 0 }))
    }

    pub fn whole(self) -> u64 {
        self.0[4]
    }

    /// ⌊2¹²⁶ self / other⌋ of a number that is less than the other.
    pub fn part_of(self, other: Self) -> u128 {
        let mut rest = self;
        (0..126).fold(0, |quotient, _| {
            rest = rest.doubled();
            let fits = !rest.is_less_than(other);
            if fits {
                rest = rest.minus(other);
            }
            quotient << 1 | u128::from(fits)
        })
    }

    pub fn is_less_than(self, other: Self) -> bool {
        self.0.iter().rev().lt(other.0.iter().rev())
    }
}

/// value = mantissa × 2^exponent.
fn parts(value: f64) -> (u64, i32) {
    let bits = value.to_bits();
    ((bits & ((1 << 52) - 1)) | 1 << 52, ((bits >> 52) & 0x7ff) as i32 - 1075)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// The same in whole numbers of 700 bits, for tables.
    pub mod big {
        use num_bigint::BigUint;

        use super::super::parts;

        /// 2⁷⁰⁰ e^{-factor / 2σ²}: the argument halved until it is less than 2⁻¹⁰, Taylor's series, and squares.
        pub fn exp_of_minus(factor: BigUint, sigma: f64) -> BigUint {
            const BITS: u64 = 1400;
            let one = BigUint::from(1_u32) << BITS;
            let (mantissa, exponent) = parts(sigma);
            let square = BigUint::from(mantissa) * mantissa;
            let shift = BITS as i64 - 2 * i64::from(exponent) - 1;
            let argument = (factor << shift as u64) / square;
            let halvings = argument.bits().saturating_sub(BITS - 10);
            let small = argument >> halvings;
            let (mut plus, mut minus, mut term) = (one.clone(), BigUint::ZERO, one);
            for k in 1..140_u32 {
                term = ((&term * &small) >> BITS) / k;
                if k % 2 == 0 { plus += &term } else { minus += &term }
            }
            let mut power = plus - minus;
            (0..halvings).for_each(|_| power = (&power * &power) >> BITS);
            power >> (BITS - 700)
        }
    }

    fn double(value: Fixed) -> f64 {
        value.0.iter().enumerate().map(|(i, word)| *word as f64 * 2_f64.powi(64 * i as i32 - 256)).sum()
    }

    #[test]
    fn operations_agree_with_doubles() {
        for value in [0.3, 1.0, 7.25, 1e6] {
            assert!((double(Fixed::reciprocal(value)) * value - 1.0).abs() < 1e-15);
            assert!((double(Fixed::reciprocal_of_twice_the_square(value)) * 2.0 * value * value - 1.0).abs() < 1e-15);
            let exponential = double(Fixed::reciprocal(value).exp_of_minus());
            assert!((exponential / (-1.0 / value).exp() - 1.0).abs() < 1e-15, "{value}");
        }
        let third = Fixed::ONE.over(3);
        assert_eq!(third.part_of(Fixed::ONE), (1_u128 << 126) / 3);
        assert_eq!(third.by(3).lowered().plus(Fixed::TINY).minus(Fixed::TINY), third.by(3).lowered());
        assert_eq!((Fixed::ONE.by(9).whole(), Fixed::ONE.halved().doubled()), (9, Fixed::ONE));
    }
}
