//! No bytes of a stranger panic, and what we write both readers read alike.

use std::sync::LazyLock;

use proptest::prelude::*;
use prost_reflect::prost::Message as _;
use prost_reflect::{DynamicMessage, Value};
use windrose_grpc_transcoder::frame::Deframer;
use windrose_grpc_transcoder::json::Json;
use windrose_grpc_transcoder::path::{Router, query_parameters};
use windrose_grpc_transcoder::proto_to_json::Printing;
use windrose_grpc_transcoder::schema::Schema;
use windrose_grpc_transcoder::template::Template;
use windrose_grpc_transcoder::{descriptor, well_known};

use crate::kitchen::{SERVICE, SET, comparable, encode, everything, oracle, print, schema};

thread_local! {
    static SCHEMA: LazyLock<Schema> = const { LazyLock::new(schema) };
}

/// JSON that mostly fits the message: names, values and punctuation from small sets.
fn jsonish() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            "null",
            "true",
            "1",
            "-1.5e3",
            "\"x\"",
            "\"\\ud83d\"",
            "\"inner\":",
            "\"name\":",
            "\"inners\":[",
            "\"byName\":{",
            "\"value\":",
            "\"structure\":{",
            "\"any\":{\"@type\":\"/kitchen.v1.Inner\"",
            "\"at\":\"2024-01-01T00:00:00Z\"",
            "\"anInt32\":",
            "\"count\":1",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,3}",
    ];
    prop::collection::vec(token, 0..24).prop_map(|tokens| format!("{{{}", tokens.concat()))
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i32>().prop_map(Into::into),
        any::<f64>().prop_filter("JSON has no others", |number| number.is_finite()).prop_map(Into::into),
        ".{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map(".{0,6}", inner, 0..4).prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Bodies that are messages.
fn body() -> impl Strategy<Value = serde_json::Value> {
    let numbers = (any::<i32>(), any::<i64>(), any::<u64>(), any::<f32>(), any::<f64>());
    let texts = (".{0,40}", prop::collection::vec(any::<u8>(), 0..40), prop::collection::vec(any::<i32>(), 0..5));
    let more =
        (prop::collection::btree_map(".{0,5}", any::<i32>(), 0..4), value(), -62_135_596_800i64..=253_402_300_799, 0..1_000_000_000i32);
    (numbers, texts, more).prop_map(|((i32, i64, u64, f32, f64), (text, blob, ints), (by_name, value, seconds, nanos))| {
        let mut encoded = Vec::new();
        windrose_grpc_transcoder::scalar::encode_base64(&blob, &mut encoded);
        let at = well_known::print_timestamp(well_known::Instant { seconds, nanos }).unwrap();
        serde_json::json!({
            "anInt32": i32, "anInt64": i64.to_string(), "aUint64": u64, "text": text, "blob": String::from_utf8(encoded).unwrap(), "ints": ints,
            "aFloat": if f32.is_finite() { serde_json::json!(f64::from(f32)) } else { "NaN".into() },
            "aDouble": if f64.is_finite() { f64.into() } else { serde_json::json!("Infinity") },
            "byName": by_name, "value": value, "at": at, "inners": [{"name": text}, {"count": i32, "inner": {}}],
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_json_never_panics_and_is_never_taken_where_the_oracle_refuses(text in jsonish()) {
        let ours = SCHEMA.with(|schema| encode(schema, text.as_bytes()));
        if let Ok(bytes) = ours {
            let theirs = oracle(&text).map_err(|cause| TestCaseError::fail(format!("{text}: {cause}")))?;
            let ours = DynamicMessage::decode(everything(), bytes.as_slice()).unwrap();
            prop_assert_eq!(comparable(&ours), comparable(&theirs));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        SCHEMA.with(|schema| {
            let _ = encode(schema, &bytes);
            let _ = print(schema, Printing::default(), &bytes);
            let _ = print(schema, Printing { always_print_primitive_fields: true, ..Printing::default() }, &bytes);
        });
        if let Ok(mut json) = Json::new(&bytes) {
            let _ = json.skip(0);
        }
        let _ = descriptor::load(&bytes, &["a.B"], &[]);
        let mut deframer = Deframer::new(64);
        for chunk in bytes.chunks(7) {
            deframer.push(chunk.to_vec());
            while let Ok(Some(_)) = deframer.next_message() {}
        }
        let text = String::from_utf8_lossy(&bytes);
        let _ = query_parameters(&text);
        let mut router = Router::default();
        if let Ok(template) = Template::parse(&text) {
            let _ = router.add("GET", template);
        }
        let _ = router.add("GET", Template::parse("/{a=**}").unwrap());
        let _ = router.matched("GET", &text);
        let _ = (well_known::parse_timestamp(&text), well_known::parse_duration(&text), well_known::parse_mask_path(&text));
    }

    #[test]
    fn a_damaged_descriptor_set_never_panics(damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), cut in any::<prop::sample::Index>()) {
        let mut set = SET.clone();
        for (at, byte) in damage {
            let at = at.index(set.len());
            set[at] = byte;
        }
        let _ = descriptor::load(&set, &[SERVICE], &[]);
        set.truncate(cut.index(set.len()));
        let _ = descriptor::load(&set, &[SERVICE], &[]);
    }

    #[test]
    fn a_damaged_message_never_panics_and_printed_ones_are_json(json in body(), damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)) {
        let mut bytes = oracle(&json.to_string()).unwrap().encode_to_vec();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(text) = SCHEMA.with(|schema| print(schema, Printing::default(), &bytes)) {
            prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{}", text);
        }
    }

    #[test]
    fn messages_survive_the_way_there_and_back(json in body()) {
        let text = json.to_string();
        let bytes = SCHEMA.with(|schema| encode(schema, text.as_bytes())).map_err(TestCaseError::fail)?;
        let ours = DynamicMessage::decode(everything(), bytes.as_slice()).unwrap();
        let theirs = oracle(&text).unwrap();
        prop_assert_eq!(comparable(&ours), comparable(&theirs));
        let printed = SCHEMA.with(|schema| print(schema, Printing::default(), &bytes)).unwrap();
        let back = oracle(&printed).map_err(|cause| TestCaseError::fail(format!("{printed}: {cause}")))?;
        prop_assert_eq!(comparable(&back), comparable(&theirs));
        prop_assert_eq!(back.get_field_by_name("text").map(|text| matches!(*text, Value::String(_))), Some(true));
    }
}
