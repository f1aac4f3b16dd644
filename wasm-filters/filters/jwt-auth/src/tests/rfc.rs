//! The examples of RFC 7515 (appendix A) and RFC 8037 (appendix A.4), letter by letter: each verifies, and nothing that
//! differs from it in one byte does.

use windrose_filter_kit::fake::FakeHost;

use super::*;
use crate::keys::KeySet;
use crate::signature::Verification;

/// Header and claims of appendix A.1 to A.3, after the header.
const CLAIMS: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

struct Example {
    section: &'static str,
    algorithm: Algorithm,
    jwk: Value,
    header: &'static str,
    payload: &'static str,
    signature: &'static str,
}

fn examples() -> Vec<Example> {
    vec![
        Example {
            section: "RFC 7515, A.1",
            algorithm: Algorithm::HS256,
            jwk: json!({"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}),
            header: "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
            payload: CLAIMS,
            signature: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        },
        Example {
            section: "RFC 7515, A.2",
            algorithm: Algorithm::RS256,
            jwk: json!({"kty": "RSA", "e": "AQAB", "n": concat!(
                "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRP",
                "EwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qC",
                "o5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
            )}),
            header: "eyJhbGciOiJSUzI1NiJ9",
            payload: CLAIMS,
            signature: concat!(
                "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKB",
                "YNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6Bf",
                "I7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
            ),
        },
        Example {
            section: "RFC 7515, A.3",
            algorithm: Algorithm::ES256,
            jwk: json!({
                "kty": "EC", "crv": "P-256",
                "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
            }),
            header: "eyJhbGciOiJFUzI1NiJ9",
            payload: CLAIMS,
            signature: "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        },
        Example {
            section: "RFC 8037, A.4",
            algorithm: Algorithm::EdDSA,
            jwk: json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
            header: "eyJhbGciOiJFZERTQSJ9",
            payload: "RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
            signature: "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        },
    ]
}

impl Example {
    fn message(&self) -> Vec<u8> {
        format!("{}.{}", self.header, self.payload).into_bytes()
    }

    fn signature(&self) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(self.signature).unwrap()
    }

    fn holds(&self, message: &[u8], signature: &[u8]) -> bool {
        let keys = KeySet::parse(&json!({"keys": [self.jwk]}).to_string(), &[self.algorithm], true).unwrap();
        let (host, key) = (FakeHost::new(), keys.select(self.algorithm, None).unwrap());
        Verification { host: &host, algorithm: self.algorithm, key }.holds(message, signature)
    }
}

#[test]
fn the_examples_of_the_rfcs_verify() {
    for example in examples() {
        assert!(example.holds(&example.message(), &example.signature()), "{}", example.section);
    }
}

#[test]
fn an_example_with_one_changed_byte_does_not() {
    for example in examples() {
        let (message, signature) = (example.message(), example.signature());
        let flipped = |bytes: &[u8], index: usize| {
            let mut bytes = bytes.to_vec();
            bytes[index] ^= 1;
            bytes
        };
        for index in (0..message.len()).step_by(7) {
            assert!(!example.holds(&flipped(&message, index), &signature), "{} message {index}", example.section);
        }
        for index in (0..signature.len()).step_by(7) {
            assert!(!example.holds(&message, &flipped(&signature, index)), "{} signature {index}", example.section);
        }
        assert!(!example.holds(&message, &signature[1..]) && !example.holds(&message, &[]), "{}", example.section);
    }
}

#[test]
fn a_good_example_without_an_audience_is_still_refused() {
    for example in examples().into_iter().filter(|example| example.payload == CLAIMS) {
        let mut policy = policy();
        policy.providers[0].issuer = "joe".into();
        policy.providers[0].jwks = json!({"keys": [example.jwk]}).to_string();
        policy.providers[0].algorithms = vec![example.algorithm];
        let token = format!("{}.{}.{}", example.header, example.payload, example.signature);
        assert_eq!(refusal(&filter(policy), &bearing(token)), Some((401, "token_audience_wrong")), "{}", example.section);
    }
}
