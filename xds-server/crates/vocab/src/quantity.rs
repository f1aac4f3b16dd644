//! Numbers with a unit and a range, checked once.

use std::fmt;
use std::num::NonZeroU16;

/// A length of time; always finite, never negative.
pub type Duration = std::time::Duration;

/// A TCP or UDP port, 1 to 65535.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Port(NonZeroU16);

impl Port {
    /// The port of that number, unless it is 0 or above 65535.
    #[must_use]
    pub fn new(number: i64) -> Option<Self> {
        u16::try_from(number).ok().and_then(NonZeroU16::new).map(Self)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl crate::Canonical for Port {
    fn write(&self, w: &mut crate::Writer) {
        self.get().write(w);
    }
}

/// The share of a backend among its neighbours, 0 to 1,000,000 (Gateway API's range).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Weight(u32);

impl Weight {
    /// The weight of a backend that names none.
    pub const DEFAULT: Self = Self(1);

    /// The weight of that number, if it is in range.
    #[must_use]
    pub fn new(number: i64) -> Option<Self> {
        u32::try_from(number).ok().filter(|n| *n <= 1_000_000).map(Self)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

crate::canonical!(newtype Weight);

/// Reads a Gateway API duration (GEP-2257): up to four of `1h`, `2m`, `3s`, `4ms` in any order, each number at most five digits.
/// `None` for everything else.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    for _ in 0..4 {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest.get(..digits).filter(|_| (1..=5).contains(&digits))?.parse().ok()?;
        rest = rest.get(digits..)?;
        let (unit, length) = unit_of(rest)?;
        total = total.checked_add(unit.checked_mul(u32::try_from(number).ok()?)?)?;
        rest = rest.get(length..)?;
        if rest.is_empty() {
            return Some(total);
        }
    }
    None
}

fn unit_of(text: &str) -> Option<(Duration, usize)> {
    let units =
        [("ms", Duration::from_millis(1)), ("s", Duration::from_secs(1)), ("m", Duration::from_secs(60)), ("h", Duration::from_secs(3600))];
    units.into_iter().find(|(unit, _)| text.starts_with(unit)).map(|(unit, length)| (length, unit.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_gep_2257() {
        let ms = Duration::from_millis;
        let good = [("0s", ms(0)), ("1h30m", ms(5_400_000)), ("500ms", ms(500)), ("1m1s1ms", ms(61_001)), ("10s", ms(10_000))];
        for (text, expected) in good {
            assert_eq!(parse_duration(text), Some(expected), "{text}");
        }
        for text in ["", "1", "s", "-1s", "1.5s", "1 s", "100000s", "1s1s1s1s1s", "1d", "٣s"] {
            assert_eq!(parse_duration(text), None, "{text:?}");
        }
    }

    #[test]
    fn ports_and_weights_keep_their_ranges() {
        assert_eq!(Port::new(0), None);
        assert_eq!(Port::new(65_536), None);
        assert_eq!(Port::new(443).map(Port::get), Some(443));
        assert_eq!(Weight::new(-1), None);
        assert_eq!(Weight::new(1_000_001), None);
    }
}
