//! Fingerprints of plain values, equal in every process, on every machine and in every build.
//! Derived `Hash` promises none of that, and encoded protobuf maps have no order.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

/// 128 bits that stand for a value. Not a security hash: whoever can choose a value can make two collide,
/// so a match is confirmed by comparing the values where that matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Fingerprint(u128);

impl Fingerprint {
    /// The fingerprint of `value` within `domain`; equal values in two domains differ.
    #[must_use]
    pub fn of(domain: &str, value: &(impl Canonical + ?Sized)) -> Self {
        let mut writer = Writer::default();
        domain.write(&mut writer);
        value.write(&mut writer);
        writer.finish()
    }

    /// The fingerprint whose 128 bits are given, as read back from [`fmt::Display`] or a disk.
    #[must_use]
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// The 128 bits.
    #[must_use]
    pub const fn bits(self) -> u128 {
        self.0
    }

    /// The fingerprint that [`fmt::Display`] wrote: exactly 32 lower-case hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let canonical = text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        canonical.then(|| u128::from_str_radix(text, 16).ok().map(Self)).flatten()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The canonical writer: a tagless, length-prefixed, little-endian stream of a value's parts.
#[derive(Default)]
pub struct Writer(Box<Xxh3>);

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writer")
    }
}

impl Writer {
    /// Appends raw bytes without a length; callers write the length first where it can vary.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Appends a length or count.
    pub fn length(&mut self, length: usize) {
        self.bytes(&(length as u64).to_le_bytes());
    }

    /// Appends the name of an enum's variant.
    pub fn variant(&mut self, name: &str) {
        name.write(self);
    }

    /// The fingerprint of everything written.
    #[must_use]
    pub fn finish(self) -> Fingerprint {
        Fingerprint(self.0.digest128())
    }
}

/// A value that can write all of itself into a [`Writer`], in an order that never depends on the process.
pub trait Canonical {
    /// Writes every part that makes two values differ.
    fn write(&self, w: &mut Writer);
}

macro_rules! integers {
    ($($t:ty),*) => {$(
        impl Canonical for $t {
            fn write(&self, w: &mut Writer) {
                w.bytes(&self.to_le_bytes());
            }
        }
    )*};
}
integers!(u8, u16, u32, u64, u128, i32, i64);

impl Canonical for bool {
    fn write(&self, w: &mut Writer) {
        w.bytes(&[u8::from(*self)]);
    }
}

impl Canonical for str {
    fn write(&self, w: &mut Writer) {
        w.length(self.len());
        w.bytes(self.as_bytes());
    }
}

impl Canonical for String {
    fn write(&self, w: &mut Writer) {
        self.as_str().write(w);
    }
}

impl Canonical for bytes::Bytes {
    fn write(&self, w: &mut Writer) {
        w.length(self.len());
        w.bytes(self);
    }
}

impl Canonical for Fingerprint {
    fn write(&self, w: &mut Writer) {
        self.0.write(w);
    }
}

impl Canonical for std::time::Duration {
    fn write(&self, w: &mut Writer) {
        self.as_secs().write(w);
        self.subsec_nanos().write(w);
    }
}

impl Canonical for std::net::IpAddr {
    fn write(&self, w: &mut Writer) {
        self.to_string().write(w);
    }
}

impl Canonical for std::net::SocketAddr {
    fn write(&self, w: &mut Writer) {
        self.to_string().write(w);
    }
}

impl<T: Canonical + ?Sized> Canonical for &T {
    fn write(&self, w: &mut Writer) {
        (**self).write(w);
    }
}

impl<T: Canonical + ?Sized> Canonical for Arc<T> {
    fn write(&self, w: &mut Writer) {
        (**self).write(w);
    }
}

impl<T: Canonical + ?Sized> Canonical for Box<T> {
    fn write(&self, w: &mut Writer) {
        (**self).write(w);
    }
}

impl<T: Canonical> Canonical for Option<T> {
    fn write(&self, w: &mut Writer) {
        self.is_some().write(w);
        if let Some(value) = self {
            value.write(w);
        }
    }
}

impl<T: Canonical> Canonical for [T] {
    fn write(&self, w: &mut Writer) {
        w.length(self.len());
        self.iter().for_each(|item| item.write(w));
    }
}

impl<T: Canonical> Canonical for Vec<T> {
    fn write(&self, w: &mut Writer) {
        self.as_slice().write(w);
    }
}

impl<T: Canonical> Canonical for BTreeSet<T> {
    fn write(&self, w: &mut Writer) {
        w.length(self.len());
        self.iter().for_each(|item| item.write(w));
    }
}

impl<K: Canonical, V: Canonical> Canonical for BTreeMap<K, V> {
    fn write(&self, w: &mut Writer) {
        w.length(self.len());
        for (key, value) in self {
            key.write(w);
            value.write(w);
        }
    }
}

impl<A: Canonical, B: Canonical> Canonical for (A, B) {
    fn write(&self, w: &mut Writer) {
        self.0.write(w);
        self.1.write(w);
    }
}

/// Implements [`Canonical`] for structs and enums by naming all their parts; a part that is left out does not compile.
///
/// `canonical!(struct Name { a, b });`, `canonical!(newtype Name);`, `canonical!(enum Name { Unit, Tuple(x), Fields { a, b } });`
#[macro_export]
macro_rules! canonical {
    (struct $name:ident { $($field:ident),* $(,)? }) => {
        impl $crate::Canonical for $name {
            fn write(&self, w: &mut $crate::Writer) {
                let Self { $($field),* } = self;
                $($crate::Canonical::write($field, w);)*
                let _ = w;
            }
        }
    };
    (newtype $name:ident) => {
        impl $crate::Canonical for $name {
            fn write(&self, w: &mut $crate::Writer) {
                let Self(inner) = self;
                $crate::Canonical::write(inner, w);
            }
        }
    };
    (enum $name:ident { $($variant:ident $(($($part:ident),*))? $({ $($field:ident),* $(,)? })?),* $(,)? }) => {
        impl $crate::Canonical for $name {
            fn write(&self, w: &mut $crate::Writer) {
                match self {
                    $(Self::$variant $(($($part),*))? $({ $($field),* })? => {
                        w.variant(stringify!($variant));
                        $($($crate::Canonical::write($part, w);)*)?
                        $($($crate::Canonical::write($field, w);)*)?
                    })*
                }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Pair {
        a: String,
        b: Option<u32>,
    }
    canonical!(struct Pair { a, b });

    enum Shape {
        Unit,
        Tuple(u32),
        Fields { x: bool },
    }
    canonical!(enum Shape { Unit, Tuple(n), Fields { x } });

    #[test]
    fn equal_values_have_one_fingerprint_and_it_is_the_same_in_every_build() {
        let pair = Pair { a: "catalog".into(), b: Some(7) };
        assert_eq!(Fingerprint::of("test", &pair), Fingerprint::of("test", &pair));
        assert_eq!(Fingerprint::of("test", "windrose").to_string(), "e31eb2e96214cc03fcdc630c2b1402ce");
    }

    #[test]
    fn a_boundary_between_two_texts_cannot_be_moved() {
        let left = ("ab".to_owned(), "c".to_owned());
        let right = ("a".to_owned(), "bc".to_owned());
        assert_ne!(Fingerprint::of("t", &left), Fingerprint::of("t", &right));
    }

    #[test]
    fn variants_differ_even_when_their_parts_are_equal() {
        let all = [Shape::Unit, Shape::Tuple(0), Shape::Fields { x: false }].map(|s| Fingerprint::of("t", &s));
        assert_ne!(all[0], all[1]);
        assert_ne!(all[1], all[2]);
    }

    #[test]
    fn display_and_parse_are_inverse_and_other_spellings_are_refused() {
        let fingerprint = Fingerprint::of("t", "x");
        assert_eq!(Fingerprint::parse(&fingerprint.to_string()), Some(fingerprint));
        assert_eq!(Fingerprint::parse(&fingerprint.to_string().to_uppercase()), None);
        assert_eq!(Fingerprint::parse("+0000000000000000000000000000001"), None);
    }
}
