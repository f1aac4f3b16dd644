//! Every algorithm, by the host and in Rust; and the ways in which a signature can be almost right.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use windrose_filter_kit::HostError;

use super::*;

/// Protobuf fields of a `verify_signature` call: number and bytes.
fn fields(mut message: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut fields = Vec::new();
    while let Some((tag, rest)) = message.split_first() {
        let digits = rest.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
        let len = rest.iter().take(digits).rev().fold(0, |len, byte| (len << 7) | usize::from(byte & 0x7f));
        let (bytes, after) = rest.get(digits..).unwrap().split_at(len);
        fields.push((tag >> 3, bytes.to_vec()));
        message = after;
    }
    fields
}

#[test]
fn every_algorithm_is_verified_in_rust_where_the_host_refuses() {
    for algorithm in Algorithm::ALL {
        assert_eq!(verdict_on(vector(algorithm.name())), None, "{algorithm:?}");
    }
}

#[test]
fn a_changed_message_fails_under_every_algorithm() {
    for algorithm in Algorithm::ALL {
        let token = vector(algorithm.name());
        let parts: Vec<&str> = token.split('.').collect();
        let claims = encoded(good_claims().to_string());
        let forged = [parts[0], &claims, parts[2]].join(".");
        assert_eq!(verdict_on(forged), Some((401, "token_signature_invalid")), "{algorithm:?}");
    }
}

#[test]
fn the_host_is_asked_for_rsa_pkcs1_and_ecdsa_alone() {
    for algorithm in Algorithm::ALL {
        let host = bearing(vector(algorithm.name())).with_foreign("verify_signature", |_| Ok(vec![8, 1]));
        assert_eq!(refusal(&filter(policy()), &host), None);
        let expected = matches!(algorithm.name().as_bytes(), [b'R' | b'E', b'S', ..]);
        assert_eq!(!host.foreign_calls().is_empty(), expected, "{algorithm:?}");
    }
}

#[test]
fn the_host_s_no_is_final() {
    for reply in [vec![], vec![8, 0], vec![0x12, 1, b'x'], vec![8]] {
        let host = bearing(vector("RS256")).with_foreign("verify_signature", move |_| Ok(reply.clone()));
        assert_eq!(refusal(&filter(policy()), &host), Some((401, "token_signature_invalid")));
    }
}

#[test]
fn a_refused_call_is_not_a_no() {
    for error in [HostError::NotFound, HostError::BadArgument, HostError::Other(10)] {
        let host = bearing(vector("ES256")).with_foreign("verify_signature", move |_| Err(error));
        assert_eq!(refusal(&filter(policy()), &host), None);
    }
}

#[test]
fn the_host_gets_hash_public_key_der_signature_and_text() {
    let cases = [("RS256", "rsa", "sha256"), ("RS512", "rsa", "sha512"), ("ES256", "p256", "sha256"), ("ES384", "p384", "sha384")];
    for (algorithm, key, hash) in cases {
        let spki = STANDARD.decode(vectors()["spki"][key].as_str().unwrap()).unwrap();
        let text = vector(algorithm).rsplit_once('.').unwrap().0.as_bytes().to_vec();
        let host = bearing(vector(algorithm)).with_foreign("verify_signature", move |arguments| {
            let fields = fields(arguments);
            assert_eq!(fields[0], (1, hash.as_bytes().to_vec()));
            assert_eq!(fields[1], (2, spki.clone()), "{algorithm}");
            assert_eq!((fields[2].0, algorithm.starts_with('R') || fields[2].1.starts_with(&[0x30])), (3, true));
            assert_eq!(fields[3], (4, text.clone()));
            Ok(vec![8, 1])
        });
        assert_eq!(refusal(&filter(policy()), &host), None);
        assert_eq!(host.foreign_calls(), ["verify_signature"]);
    }
}

#[test]
fn ecdsa_with_r_or_s_zero_or_out_of_range_never_reaches_the_host() {
    let token = vector("ES256");
    let message = token.rsplit_once('.').unwrap().0;
    let (zero, one, order) = ([0_u8; 32], [1_u8; 32], [0xff_u8; 32]);
    for (r, s) in [(zero, zero), (zero, one), (one, zero), (order, one), (one, order)] {
        let forged = format!("{message}.{}", encoded([r, s].concat()));
        let host = bearing(forged).with_foreign("verify_signature", |_| Ok(vec![8, 1]));
        assert_eq!(refusal(&filter(policy()), &host), Some((401, "token_signature_invalid")));
        assert!(host.foreign_calls().is_empty());
    }
}

#[test]
fn ecdsa_in_der_or_of_another_length_is_refused() {
    let token = vector("ES256");
    let (message, signature) = token.rsplit_once('.').unwrap();
    let raw = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let der = p256::ecdsa::Signature::from_slice(&raw).unwrap().to_der();
    for other in [der.as_bytes(), &raw[..63], &[raw.as_slice(), &[0]].concat(), &[]] {
        let host = bearing(format!("{message}.{}", encoded(other))).with_foreign("verify_signature", |_| Ok(vec![8, 1]));
        assert_eq!(refusal(&filter(policy()), &host), Some((401, "token_signature_invalid")));
    }
}

#[test]
fn pss_with_another_salt_length_is_refused() {
    assert_eq!(verdict_on(vector("pss_short_salt")), Some((401, "token_signature_invalid")));
}

#[test]
fn the_scheme_of_one_rsa_signature_is_not_taken_for_the_other() {
    for (header_of, signature_of) in [("PS256", "RS256"), ("RS256", "PS256"), ("RS384", "RS256")] {
        let (header, signature) = (vector(header_of), vector(signature_of));
        let mixed = format!("{}.{}", header.rsplit_once('.').unwrap().0, signature.rsplit_once('.').unwrap().1);
        assert_eq!(verdict_on(mixed), Some((401, "token_signature_invalid")), "{header_of} {signature_of}");
    }
}

#[test]
fn a_key_of_another_curve_is_no_key() {
    let header = r#"{"alg":"ES256","kid":"p384"}"#;
    assert_eq!(verdict_on(sign_text(header, &good_claims().to_string())), Some((401, "token_key_unknown")));
}
