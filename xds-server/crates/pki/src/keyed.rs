//! Versions of secrets that are not ours: a keyed hash, so that a version shown in a status page or log
//! lets nobody test guesses of the secret.

use std::fmt;

use windrose_vocab::Fingerprint;
use zeroize::Zeroizing;

use crate::{Directory, Entropy, Error};

const VERSION_KEY: &str = "secret-version.key";
const KEY_BYTES: usize = 32;

/// The key under which secrets are fingerprinted (BLAKE3). Kept, so that versions survive a restart.
#[derive(Clone)]
pub struct SecretVersions(Zeroizing<[u8; KEY_BYTES]>);

impl SecretVersions {
    /// The key in `directory`, made when there is none.
    ///
    /// # Errors
    /// When it cannot be read or written, or is damaged.
    pub fn open(directory: &Directory, entropy: &dyn Entropy) -> Result<Self, Error> {
        open_key(directory, VERSION_KEY, entropy).map(Self)
    }

    /// The version of a secret that consists of these parts, in this order.
    #[must_use]
    pub fn of(&self, parts: &[&[u8]]) -> Fingerprint {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let mut half = [0; 16];
        hasher.finalize_xof().fill(&mut half);
        Fingerprint::from_bits(u128::from_le_bytes(half))
    }
}

impl fmt::Debug for SecretVersions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretVersions(key redacted)")
    }
}

/// The key in `name`, as hexadecimal digits, made when there is none; the one on the disk wins.
pub(crate) fn open_key(directory: &Directory, name: &str, entropy: &dyn Entropy) -> Result<Zeroizing<[u8; KEY_BYTES]>, Error> {
    if directory.read(name)?.is_none() {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        entropy.fill(key.as_mut())?;
        directory.write_first(name, &Zeroizing::new(spell(&key)), entropy)?;
    }
    let text = directory.read(name)?.unwrap_or_default();
    let damaged = || Error::MalformedKey { file: directory.path(name).display().to_string(), bytes: KEY_BYTES };
    unspell(text.trim_end()).ok_or_else(damaged)
}

fn spell(key: &[u8; KEY_BYTES]) -> String {
    let mut text = String::with_capacity(2 * KEY_BYTES + 1);
    for byte in key {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
        }
    }
    text.push('\n');
    text
}

fn unspell(text: &str) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    let digits = text.as_bytes();
    if digits.len() != 2 * KEY_BYTES || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemEntropy;

    #[test]
    fn versions_survive_a_restart_and_differ_between_installations() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path().join("a")).unwrap();
        let first = SecretVersions::open(&directory, &SystemEntropy).unwrap().of(&[b"cert", b"key"]);
        assert_eq!(SecretVersions::open(&directory, &SystemEntropy).unwrap().of(&[b"cert", b"key"]), first);
        let elsewhere = Directory::open(folder.path().join("b")).unwrap();
        assert_ne!(SecretVersions::open(&elsewhere, &SystemEntropy).unwrap().of(&[b"cert", b"key"]), first);
    }

    #[test]
    fn a_boundary_between_two_parts_cannot_be_moved() {
        let versions = SecretVersions(Zeroizing::new([7; KEY_BYTES]));
        assert_ne!(versions.of(&[b"ab", b"c"]), versions.of(&[b"a", b"bc"]));
    }

    #[test]
    fn a_damaged_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path().join("a")).unwrap();
        for text in ["", "00", &"0".repeat(63), &"g".repeat(64), &"+0".repeat(32)] {
            directory.write(VERSION_KEY, text, &SystemEntropy).unwrap();
            let error = SecretVersions::open(&directory, &SystemEntropy).unwrap_err().to_string();
            assert!(error.contains("secret-version.key: is not a key of 32 bytes"), "{error}");
        }
    }
}
