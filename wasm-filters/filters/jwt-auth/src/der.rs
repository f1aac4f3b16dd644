//! The little DER that Envoy's verifier wants: public keys as `SubjectPublicKeyInfo` (RFC 5280, RFC 5480, RFC 8017). Writing
//! only, from numbers that were checked before.

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;

/// `SEQUENCE { rsaEncryption, NULL }`
const RSA_ALGORITHM: &[u8] = &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
/// `SEQUENCE { id-ecPublicKey, secp256r1 }`
const P256_ALGORITHM: &[u8] =
    &[0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// `SEQUENCE { id-ecPublicKey, secp384r1 }`
const P384_ALGORITHM: &[u8] = &[0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];

/// An RSA public key from modulus and exponent, big endian.
pub(crate) fn rsa_public_key(n: &[u8], e: &[u8]) -> Vec<u8> {
    let key = element(SEQUENCE, &[unsigned(n), unsigned(e)].concat());
    public_key(RSA_ALGORITHM, &key)
}

/// A P-256 public key from an uncompressed point.
pub(crate) fn p256_public_key(point: &[u8]) -> Vec<u8> {
    public_key(P256_ALGORITHM, point)
}

/// A P-384 public key from an uncompressed point.
pub(crate) fn p384_public_key(point: &[u8]) -> Vec<u8> {
    public_key(P384_ALGORITHM, point)
}

/// A big endian number without its leading zero bytes.
pub(crate) fn significant(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

fn public_key(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    let bits = element(BIT_STRING, &[&[0], key].concat());
    element(SEQUENCE, &[algorithm, &bits].concat())
}

fn unsigned(number: &[u8]) -> Vec<u8> {
    let number = significant(number);
    let sign: &[u8] = if number.first().is_none_or(|byte| byte & 0x80 != 0) { &[0] } else { &[] };
    element(INTEGER, &[sign, number].concat())
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    let len = content.len().to_be_bytes();
    match significant(&len) {
        [] => bytes.push(0),
        [short] if *short < 0x80 => bytes.push(*short),
        long => {
            bytes.push(0x80 | u8::try_from(long.len()).unwrap_or(0x7f));
            bytes.extend_from_slice(long);
        }
    }
    bytes.extend_from_slice(content);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_minimal_and_never_negative() {
        assert_eq!(unsigned(&[0, 0, 1]), [2, 1, 1]);
        assert_eq!(unsigned(&[0x80]), [2, 2, 0, 0x80]);
        assert_eq!(unsigned(&[]), [2, 1, 0]);
    }

    #[test]
    fn lengths_take_the_short_form_below_128() {
        assert_eq!(element(4, &[0; 127]).get(..2), Some([4, 127].as_slice()));
        assert_eq!(element(4, &[0; 128]).get(..3), Some([4, 0x81, 128].as_slice()));
        assert_eq!(element(4, &[0; 300]).get(..4), Some([4, 0x82, 1, 44].as_slice()));
    }
}
