//! Tokens made by somebody who wants in. Each name is the promise; each attack has the control that the same token
//! without the trick passes, or is signed with the right key, so that only the trick can be what refuses it.

use super::*;

fn with_header(header: &str) -> Option<(u16, &'static str)> {
    verdict_on(sign_text(header, &good_claims().to_string()))
}

fn with_claims(changes: Value) -> Option<(u16, &'static str)> {
    verdict_on(sign(&claims_with(changes)))
}

#[test]
fn the_control_token_passes() {
    assert_eq!(verdict_on(sign(&good_claims())), None);
    assert_eq!(with_header(r#"{"alg":"HS256"}"#), None, "one key fits, so kid may be missing");
}

#[test]
fn alg_none_is_refused_in_every_spelling() {
    for none in ["none", "None", "NONE", "nOnE", "NoNe", "none ", " none", "no\\u006ee"] {
        let header = format!(r#"{{"alg":"{none}"}}"#);
        assert_eq!(with_header(&header), Some((401, "token_algorithm_refused")), "{none}");
        let unsigned = format!("{}.{}.", encoded(&header), encoded(good_claims().to_string()));
        assert_eq!(verdict_on(unsigned), Some((401, "token_algorithm_refused")), "{none}");
    }
}

#[test]
fn alg_missing_null_array_or_unknown_is_refused() {
    assert_eq!(with_header("{}"), Some((401, "token_algorithm_refused")));
    assert_eq!(with_header(r#"{"alg":null}"#), Some((401, "token_malformed")));
    assert_eq!(with_header(r#"{"alg":["HS256"]}"#), Some((401, "token_malformed")));
    for name in ["hs256", "HS257", "ES512", "ES256K", ""] {
        assert_eq!(with_header(&format!(r#"{{"alg":"{name}"}}"#)), Some((401, "token_algorithm_refused")), "{name}");
    }
}

#[test]
fn an_algorithm_that_is_not_listed_is_refused() {
    let mut policy = policy();
    policy.providers[0].algorithms = vec![Algorithm::RS256];
    let filter = filter(policy);
    assert_eq!(refusal(&filter, &bearing(vector("RS256"))), None);
    for other in ["RS384", "PS256", "ES256", "HS256"] {
        assert_eq!(refusal(&filter, &bearing(vector(other))), Some((401, "token_algorithm_refused")), "{other}");
    }
}

#[test]
fn a_public_key_is_not_an_hmac_secret_in_any_form() {
    let vectors = vectors();
    let pem = vectors["pem"].as_str().unwrap().to_owned();
    let der = |name: &str| base64::engine::general_purpose::STANDARD.decode(vectors["spki"][name].as_str().unwrap()).unwrap();
    let jwk = |index: usize| vectors["jwks"]["keys"][index].to_string().into_bytes();
    let secrets = [pem.clone().into_bytes(), pem.trim_end().as_bytes().to_vec(), der("rsa"), der("p256"), jwk(0), jwk(1), Vec::new()];
    for secret in secrets {
        for kid in ["rsa", "p256", "hs"] {
            let token = sign_with(&secret, &format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#), &good_claims().to_string());
            let expected = if kid == "hs" { "token_signature_invalid" } else { "token_key_unknown" };
            assert_eq!(verdict_on(token), Some((401, expected)), "{kid}");
        }
    }
}

#[test]
fn a_kid_is_only_ever_compared() {
    let long = "k".repeat(5000);
    for kid in ["../../etc/passwd", "/dev/null", "' OR '1'='1", "hs\\u0000", "hs\\r\\nx: y", "HS", "hs ", "h", &long] {
        assert_eq!(with_header(&format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#)), Some((401, "token_key_unknown")), "{kid}");
    }
    for kid in ["null", "7", "[\"hs\"]", "{}"] {
        assert_eq!(with_header(&format!(r#"{{"alg":"HS256","kid":{kid}}}"#)), Some((401, "token_malformed")), "{kid}");
    }
}

#[test]
fn a_missing_kid_with_several_fitting_keys_tries_none() {
    let mut policy = policy();
    let second = json!({"kty": "oct", "kid": "hs2", "k": encoded([9; 64])});
    let mut jwks = vectors()["jwks"].clone();
    jwks["keys"].as_array_mut().unwrap().push(second);
    policy.providers[0].jwks = jwks.to_string();
    let filter = filter(policy);
    let token = sign_text(r#"{"alg":"HS256"}"#, &good_claims().to_string());
    assert_eq!(refusal(&filter, &bearing(token)), Some((401, "token_key_unknown")));
    assert_eq!(refusal(&filter, &bearing(sign(&good_claims()))), None);
}

#[test]
fn a_key_of_another_issuer_does_not_sign_for_this_one() {
    let other_secret = [7_u8; 32];
    let mut policy = policy();
    policy.providers.push(Provider {
        name: "other".into(),
        issuer: "https://other.example".into(),
        jwks: json!({"keys": [{"kty": "oct", "kid": "other", "k": encoded(other_secret)}]}).to_string(),
        algorithms: vec![Algorithm::HS256],
        ..provider()
    });
    let filter = filter(policy);
    let header = r#"{"alg":"HS256","kid":"other"}"#;
    let theirs = claims_with(json!({"iss": "https://other.example"})).to_string();
    assert_eq!(refusal(&filter, &bearing(sign_with(&other_secret, header, &theirs))), None);
    let ours = good_claims().to_string();
    assert_eq!(refusal(&filter, &bearing(sign_with(&other_secret, header, &ours))), Some((401, "token_key_unknown")));
}

#[test]
fn keys_that_the_token_brings_along_are_never_used() {
    let own = [5_u8; 32];
    let jwk = json!({"kty": "oct", "k": encoded(own), "kid": "mine"});
    for extra in [
        json!({"jwk": jwk}),
        json!({"jku": "http://127.0.0.1:1/jwks"}),
        json!({"x5u": "http://127.0.0.1:1/cert"}),
        json!({"x5c": ["MIIB"]}),
    ] {
        let mut header = json!({"alg": "HS256", "kid": "mine"});
        header.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let token = sign_with(&own, &header.to_string(), &good_claims().to_string());
        assert_eq!(verdict_on(token), Some((401, "token_key_unknown")), "{header}");
        header["kid"] = json!("hs");
        let token = sign_with(&own, &header.to_string(), &good_claims().to_string());
        assert!(verdict_on(token).is_some_and(|(status, _)| status == 401), "{header}");
    }
}

#[test]
fn crit_zip_and_nested_tokens_are_refused() {
    for extra in [
        r#""crit":["exp"],"exp":1"#,
        r#""crit":["b64"],"b64":false"#,
        r#""crit":[]"#,
        r#""crit":null"#,
        r#""b64":false"#,
        r#""zip":"DEF""#,
        r#""enc":"A128GCM""#,
        r#""cty":"jwt""#,
    ] {
        assert_eq!(with_header(&format!(r#"{{"alg":"HS256","kid":"hs",{extra}}}"#)), Some((401, "token_critical_header")), "{extra}");
    }
}

#[test]
fn duplicate_members_are_refused_in_header_and_claims() {
    assert_eq!(with_header(r#"{"alg":"none","alg":"HS256"}"#), Some((401, "token_malformed")));
    assert_eq!(with_header(r#"{"alg":"HS256","kid":"hs","x":1,"x":1}"#), Some((401, "token_malformed")));
    let claims = good_claims().to_string();
    for extra in [r#""sub":"admin""#, r#""s\u0075b":"admin""#, r#""tier":"a","tier":"b""#, r#""o":{"a":1,"a":2}"#, r#""l":[{"a":1,"a":2}]"#]
    {
        let text = format!("{},{extra}}}", claims.trim_end_matches('}'));
        assert_eq!(verdict_on(sign_text(r#"{"alg":"HS256","kid":"hs"}"#, &text)), Some((401, "token_malformed")), "{extra}");
    }
}

#[test]
fn nesting_beyond_32_is_refused() {
    let deep = |levels: usize| serde_json::from_str::<Value>(&("[".repeat(levels) + &"]".repeat(levels))).unwrap();
    assert_eq!(with_claims(json!({"x": deep(31)})), None);
    assert_eq!(with_claims(json!({"x": deep(32)})), Some((401, "token_malformed")));
    let brackets = format!("{{\"alg\":\"HS256\",\"x\":{}", "[".repeat(4000));
    assert_eq!(with_header(&brackets), Some((401, "token_malformed")));
}

#[test]
fn exp_iss_and_aud_are_required() {
    for (claim, code) in [("exp", "token_time_malformed"), ("iss", "token_issuer_unknown"), ("aud", "token_audience_wrong")] {
        let mut claims = good_claims();
        claims.as_object_mut().unwrap().remove(claim);
        assert_eq!(verdict_on(sign(&claims)), Some((401, code)), "{claim} missing");
        assert_eq!(with_claims(json!({claim: null})), Some((401, code)), "{claim} null");
        assert!(with_claims(json!({claim: {"a": 1}})).is_some_and(|(status, _)| status == 401), "{claim} an object");
    }
}

#[test]
fn iss_is_compared_exactly_and_as_a_string() {
    for iss in [
        json!("https://id.example/"),
        json!("https://ID.example"),
        json!("https://id.exampl"),
        json!(""),
        json!(["https://id.example"]),
        json!(7),
    ] {
        assert_eq!(with_claims(json!({"iss": iss})), Some((401, "token_issuer_unknown")), "{iss}");
    }
}

#[test]
fn aud_is_compared_exactly_and_one_match_of_an_array_is_enough() {
    for aud in [json!("orders"), json!(["orders"]), json!(["x", "orders"])] {
        assert_eq!(with_claims(json!({"aud": aud})), None, "{aud}");
    }
    for aud in [
        json!("order"),
        json!("orders2"),
        json!("Orders"),
        json!(" orders"),
        json!("orders,x"),
        json!([]),
        json!(["x"]),
        json!([["orders"]]),
        json!(7),
        json!(["orders", 7]),
        json!({"orders": true}),
    ] {
        assert_eq!(with_claims(json!({"aud": aud})), Some((401, "token_audience_wrong")), "{aud}");
    }
}

#[test]
fn times_are_checked_to_the_second_with_leeway() {
    for (changes, expected) in [
        (json!({"exp": NOW - 59}), None),
        (json!({"exp": NOW - 60}), Some((401, "token_expired"))),
        (json!({"exp": NOW - 61}), Some((401, "token_expired"))),
        (json!({"nbf": NOW + 59}), None),
        (json!({"nbf": NOW + 60}), None),
        (json!({"nbf": NOW + 61}), Some((401, "token_not_yet_valid"))),
        (json!({"iat": NOW + 61}), Some((401, "token_not_yet_valid"))),
        (json!({"nbf": "0"}), Some((401, "token_time_malformed"))),
        (json!({"exp": 253_402_300_800_u64}), Some((401, "token_time_malformed"))),
        (json!({"exp": -1}), Some((401, "token_time_malformed"))),
        (json!({"exp": 1e40}), Some((401, "token_time_malformed"))),
        (json!({"exp": u64::MAX}), Some((401, "token_time_malformed"))),
        (json!({"iat": 253_402_300_800_u64}), Some((401, "token_time_malformed"))),
    ] {
        assert_eq!(with_claims(changes.clone()), expected, "{changes}");
    }
}

#[test]
fn an_id_token_is_not_an_access_token() {
    let mut policy = policy();
    policy.providers[0].typ = vec!["at+JWT".into()];
    let filter = filter(policy);
    let typed = |typ: &str| sign_text(&format!(r#"{{"alg":"HS256"{typ}}}"#), &good_claims().to_string());
    for good in [r#","typ":"at+jwt""#, r#","typ":"AT+JWT""#, r#","typ":"application/at+jwt""#] {
        assert_eq!(refusal(&filter, &bearing(typed(good))), None, "{good}");
    }
    for bad in [r#","typ":"JWT""#, "", r#","typ":"""#, r#","typ":"at+jwt2""#] {
        assert_eq!(refusal(&filter, &bearing(typed(bad))), Some((401, "token_type_refused")), "{bad}");
    }
    assert_eq!(with_header(r#"{"alg":"HS256","typ":"logout+jwt"}"#), Some((401, "token_type_refused")), "without a list too");
}

#[test]
fn three_parts_of_unpadded_base64url_are_a_token_and_nothing_else() {
    let token = sign(&good_claims());
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = [parts[0], parts[1], parts[2]];
    let flipped = {
        // The last character of a 32 byte signature carries two spare bits.
        let (rest, last) = signature.split_at(signature.len() - 1);
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let index = alphabet.find(last).unwrap();
        format!("{rest}{}", alphabet.get(index + 1..index + 2).unwrap())
    };
    let strange = [
        format!("{header}.{claims}"),
        format!("{header}.{claims}.{signature}.x"),
        format!("{header}.{claims}.{signature}.x.y"),
        format!(".{header}.{claims}.{signature}"),
        format!("{token}."),
        format!("{token}="),
        format!("{header}=.{claims}.{signature}"),
        format!("{header}.{claims}.{flipped}"),
        format!("{header}.{claims} .{signature}"),
        format!("{header}.{claims}.{signature}\n"),
        format!("{header}.{claims}.{signature},Bearer {token}"),
        token.replace('.', ".."),
        "..".to_owned(),
        String::new(),
        "x".to_owned(),
    ];
    for text in strange {
        assert_eq!(verdict_on(&text), Some((401, "token_malformed")), "{text}");
    }
}

#[test]
fn standard_base64_is_not_base64url() {
    let token = sign_text(r#"{"alg":"HS256","kid":"hs","x":"???>>>"}"#, &good_claims().to_string());
    assert!(token.contains(['-', '_']), "the control needs such a character");
    assert_eq!(verdict_on(&token), None);
    assert_eq!(verdict_on(token.replace('-', "+").replace('_', "/")), Some((401, "token_malformed")));
}

#[test]
fn bytes_that_are_not_text_are_refused_without_harm() {
    for token in [b"\xff\xfe.\xff.\xff".as_slice(), b"\0\0.\0.\0", "é.é.é".as_bytes()] {
        assert_eq!(verdict_on(token), Some((401, "token_malformed")));
    }
    let not_utf8 = [b"{\"alg\":\"HS256\",\"kid\":\"".as_slice(), b"\xff\"}"].concat();
    let token = format!("{}.{}.{}", encoded(not_utf8), encoded("{}"), encoded("x"));
    assert_eq!(verdict_on(token), Some((401, "token_malformed")));
    assert_eq!(
        verdict_on(sign_text(r#"{"alg":"HS256","kid":"hs"}"#, &format!("\u{feff}{}", good_claims()))),
        Some((401, "token_malformed"))
    );
    assert_eq!(verdict_on(sign_text(r#"{"alg":"HS256","kid":"hs"}"#, "[1]")), Some((401, "token_malformed")));
}

#[test]
fn a_token_over_8_kib_is_refused_before_it_is_read() {
    let of_size = |size: usize| {
        let token = sign(&claims_with(json!({"pad": "x".repeat(size)})));
        (token.len(), verdict_on(&token))
    };
    assert!(matches!(of_size(5900), (8000..=8192, None)));
    assert!(matches!(of_size(6100), (8193.., Some((431, "token_too_large")))));
    assert_eq!(verdict_on("x".repeat(1 << 20)), Some((431, "token_too_large")));
}

#[test]
fn no_input_of_a_walk_over_a_token_panics() {
    let token = vector("ES256").into_bytes();
    let filter = filter(policy());
    for index in 0..token.len() {
        for byte in [0, b'.', b'=', b'A', 0xff] {
            let mut mutated = token.clone();
            if std::mem::replace(&mut mutated[index], byte) != byte {
                let spare_bits = refusal(&filter, &bearing(&mutated));
                assert!(spare_bits.is_some_and(|(status, _)| status == 401), "{index} {byte}");
            }
        }
        assert!(refusal(&filter, &bearing(&token[..index])).is_some(), "{index}");
    }
}
