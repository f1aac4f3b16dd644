//! The proto3 JSON mapping, both ways, against prost-reflect.

use prost_reflect::prost::Message as _;
use prost_reflect::{DynamicMessage, SerializeOptions};
use windrose_grpc_transcoder::proto_to_json::{Printing, Unprintable};

use crate::kitchen::{comparable, encode, everything, normal, oracle, print, schema};

/// Bodies that both must take, and read alike.
const GOOD: &[&str] = &[
    "{}",
    " { } ",
    r#"{"aDouble":1.5,"a_float":-0.25,"anInt32":-7,"anInt64":"-9007199254740993","aUint32":4294967295,"aUint64":"18446744073709551615"}"#,
    r#"{"aSint32":-2147483648,"aSint64":"-9223372036854775808","aFixed32":1,"aFixed64":2,"aSfixed32":-1,"aSfixed64":"-2"}"#,
    r#"{"aDouble":"NaN"}"#,
    r#"{"aDouble":"Infinity","aFloat":"-Infinity"}"#,
    r#"{"aDouble":1e300,"aFloat":1e-30,"doubles":[0,-0.0,1.0,123456789.123,1e21,5e-324,1.7976931348623157e308]}"#,
    r#"{"aBool":true,"text":"\u00e9\ud83d\ude00\n","blob":"AQID"}"#,
    r#"{"blob":"-_8"}"#,
    r#"{"color":"RED","colors":["COLOR_UNSPECIFIED","NEGATIVE",7,1]}"#,
    r#"{"anInt32":1.0,"anInt64":1e3}"#,
    r#"{"anInt32":"12"}"#,
    r#"{"inner":{"name":"a","inner":{"count":2},"inners":[{},{"name":"x"}]}}"#,
    r#"{"maybe":0}"#,
    r#"{"ints":[1,2,-3],"texts":["","a"],"blobs":["","AA=="],"inners":[{"name":"1"},{}]}"#,
    r#"{"byName":{"a":1,"":2},"byNumber":{"-1":{"name":"x"},"2":{}},"byBool":{"true":"t","false":""},"byIndex":{"7":"RED"}}"#,
    r#"{"choiceText":""}"#,
    r#"{"choiceNumber":0}"#,
    r#"{"choiceInner":{}}"#,
    r#"{"choiceText":null,"choiceNumber":5}"#,
    r#"{"at":"2024-02-29T12:00:00.123456789Z","lasting":"-1.5s","mask":"text,inner.name,anInt32"}"#,
    r#"{"at":"2024-02-29T12:00:00+02:00","lasting":"0s","mask":""}"#,
    r#"{"structure":{"a":1,"b":[true,null,{"c":"d"}],"e":{}}}"#,
    r#"{"value":null}"#,
    r#"{"value":{"x":[1,"2"]},"list":[1,[2,[3]]],"values":[null,1,"a",false,[],{}]}"#,
    r#"{"empty":{}}"#,
    r#"{"any":{"@type":"type.googleapis.com/kitchen.v1.Inner","name":"x","count":3}}"#,
    r#"{"any":{"@type":"type.googleapis.com/google.protobuf.Duration","value":"2s"}}"#,
    r#"{"doubleValue":0,"int64Value":"5","uint64Value":6,"int32Value":-1,"boolValue":false,"stringValue":"","bytesValue":"AA=="}"#,
    r#"{"doubleValue":null,"inner":null,"ints":null,"byName":null,"text":null,"at":null}"#,
    r#"{"times":["1970-01-01T00:00:00Z","9999-12-31T23:59:59Z"]}"#,
    "{\"quoted\\\"name\":\"x\"}",
];

/// Bodies that are refused, and what the refusal must say.
const REFUSED: &[(&str, &str)] = &[
    ("", "expected an object, got the end"),
    ("[]", "expected an object, got an array"),
    ("null", "expected an object, got null"),
    (r#"{"nope":1}"#, "nope: kitchen.v1.Everything has no such field"),
    (r#"{"antInt32":1}"#, "antInt32: "),
    (r#"{"ANINT32":1}"#, "did you mean anInt32?"),
    (r#"{"text":"a","text":"b"}"#, "text: given twice"),
    (r#"{"anInt32":1,"an_int32":1}"#, "anInt32: given twice"),
    (r#"{"text":"a",}"#, "after the comma"),
    (r#"{'text':"a"}"#, "expected a key in double quotes"),
    (r#"{"text":'a'}"#, "text: expected string"),
    (r#"{"text":"a"} x"#, "expected the end of the body"),
    (r#"{"text":1}"#, "text: expected string, got 1"),
    (r#"{"text":"\ud83d"}"#, "lone surrogate"),
    (r#"{"anInt32":2147483648}"#, "anInt32: 2147483648 is out of range for int32"),
    (r#"{"anInt32":1.5}"#, "anInt32: expected int32, got \"1.5\""),
    (r#"{"anInt32":"x"}"#, "anInt32: expected int32, got \"x\""),
    (r#"{"anInt32":true}"#, "anInt32: expected int32, got true"),
    (r#"{"anInt32":[1]}"#, "anInt32: expected int32, got an array"),
    (r#"{"aUint64":-1}"#, "out of range for uint64"),
    (r#"{"aFloat":1e39}"#, "out of range for float"),
    (r#"{"aDouble":1e999}"#, "out of range for double"),
    (r#"{"aBool":"true"}"#, "aBool: expected bool, got \"true\""),
    (r#"{"aBool":1}"#, "aBool: expected bool"),
    (r#"{"blob":"*"}"#, "blob: expected base64"),
    (r#"{"color":"BLUE"}"#, "color: expected a value of kitchen.v1.Color, got \"BLUE\""),
    (r#"{"color":1.5}"#, "color: expected"),
    (r#"{"inner":{"count":"x"}}"#, "inner.count: expected int32"),
    (r#"{"inners":[{},{},{"count":"x"}]}"#, "inners[2].count: expected int32, got \"x\""),
    (r#"{"inners":{}}"#, "inners: expected an array, got an object"),
    (r#"{"ints":[1,null]}"#, "ints[1]: expected int32, got null"),
    (r#"{"texts":[null]}"#, "texts[0]: expected string, got null"),
    (r#"{"inners":[null]}"#, "inners[0]: expected an object"),
    (r#"{"byName":{"a":1,"a":2}}"#, "byName: the key \"a\" is given twice"),
    (r#"{"byNumber":{"1":{},"01":{}}}"#, "byNumber[\"01\"]: expected int64"),
    (r#"{"byNumber":{"1.0":{}}}"#, "is no int64"),
    (r#"{"byNumber":{"x":{}}}"#, "is no int64"),
    (r#"{"byBool":{"TRUE":""}}"#, "expected bool"),
    (r#"{"byName":{"a":null}}"#, "byName[\"a\"]: expected int32, got null"),
    (r#"{"choiceText":"a","choiceNumber":1}"#, "choiceNumber: another field of the same oneof"),
    (r#"{"at":"yesterday"}"#, "at: expected a time like"),
    (r#"{"at":1}"#, "at: expected a time like"),
    (r#"{"lasting":"1h"}"#, "lasting: expected a duration"),
    (r#"{"mask":"a_b"}"#, "mask: expected a field mask"),
    (r#"{"structure":[]}"#, "structure: expected an object"),
    (r#"{"structure":{"a":1,"a":2}}"#, "structure: the key \"a\" is given twice"),
    (r#"{"structure":{"a":{"b":[1,1e999]}}}"#, "structure.a.b[1]: 1e999 is out of range"),
    (r#"{"list":{}}"#, "list: expected an array"),
    (r#"{"any":{"@type":"type.googleapis.com/nope.Nope"}}"#, "any.@type: the type"),
    (r#"{"any":{"name":"x","@type":"type.googleapis.com/kitchen.v1.Inner"}}"#, "any: the first member must be \"@type\""),
    (r#"{"empty":{"a":1}}"#, "empty.a: google.protobuf.Empty has no such field"),
    (r#"{"stringValue":1}"#, "stringValue: expected string"),
    (r#"{"text":"a"#, "text: a string has no end"),
    (r#"{"text":nul}"#, "text: expected a value, got nul"),
    (r#"{"inner":nul}"#, "inner: expected a value, got nul"),
];

#[test]
fn both_readers_read_the_same() {
    let schema = schema();
    for json in GOOD {
        let ours = encode(&schema, json.as_bytes()).unwrap_or_else(|refusal| panic!("{json}: {refusal}"));
        let ours = DynamicMessage::decode(everything(), ours.as_slice()).unwrap_or_else(|cause| panic!("{json}: {cause}"));
        let theirs = oracle(json).unwrap_or_else(|cause| panic!("{json}: {cause}"));
        assert_eq!(comparable(&ours), comparable(&theirs), "{json}");
    }
}

#[test]
fn both_writers_write_the_same() {
    let schema = schema();
    let options = [
        (Printing::default(), SerializeOptions::new()),
        (Printing { always_print_primitive_fields: true, ..Printing::default() }, SerializeOptions::new().skip_default_fields(false)),
        (Printing { preserve_proto_field_names: true, ..Printing::default() }, SerializeOptions::new().use_proto_field_name(true)),
        (Printing { enums_as_ints: true, ..Printing::default() }, SerializeOptions::new().use_enum_numbers(true)),
    ];
    for json in GOOD {
        let message = oracle(json).unwrap();
        for (printing, theirs) in &options {
            let ours = print(&schema, *printing, &message.encode_to_vec()).unwrap_or_else(|reason| panic!("{json}: {reason}"));
            let back = oracle(&ours).unwrap_or_else(|cause| panic!("{ours}: {cause}"));
            assert_eq!(comparable(&back), comparable(&message), "{json} {printing:?}");
            let ours: serde_json::Value = serde_json::from_str(&ours).unwrap_or_else(|cause| panic!("{ours}: {cause}"));
            let theirs = message.serialize_with_options(serde_json::value::Serializer, theirs).unwrap();
            assert_eq!(normal(ours), normal(theirs), "{json} {printing:?}");
        }
    }
}

#[test]
fn refusals_name_the_field_and_the_reason() {
    let schema = schema();
    for (json, expected) in REFUSED {
        match encode(&schema, json.as_bytes()) {
            Ok(_) => panic!("{json} was taken"),
            Err(refusal) => assert!(refusal.contains(expected), "{json}: {refusal}"),
        }
    }
}

#[test]
fn nesting_ends_at_a_hundred() {
    let schema = schema();
    let messages = |depth: usize| format!("{}{{}}{}", r#"{"inner":"#.repeat(depth), "}".repeat(depth));
    assert!(encode(&schema, messages(100).as_bytes()).is_ok());
    assert!(encode(&schema, messages(101).as_bytes()).unwrap_err().contains("nested deeper than 100"));
    let values = |depth: usize| format!(r#"{{"value":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert!(encode(&schema, values(90).as_bytes()).is_ok());
    assert!(encode(&schema, values(5000).as_bytes()).unwrap_err().contains("nested deeper"));
}

#[test]
fn unknown_fields_can_be_skipped_but_must_be_json() {
    use windrose_grpc_transcoder::json::Json;
    use windrose_grpc_transcoder::json_to_proto::Encoder;
    let schema = schema();
    let encode = |json: &str| {
        let mut encoder = Encoder::new(&schema, true, &[], Vec::new());
        let id = schema.message_named("kitchen.v1.Inner").unwrap();
        encoder.body(&mut Json::new(json.as_bytes())?, id).map(|()| encoder.out)
    };
    assert_eq!(encode(r#"{"x":{"y":[1,{"z":null}]},"name":"n"}"#).unwrap(), [10, 1, b'n']);
    for bad in [r#"{"x":1,"x":2}"#, r#"{"x":[1,]}"#, r#"{"x":{"a":1,"a":1}}"#, r#"{"x":}"#] {
        assert!(encode(bad).is_err(), "{bad}");
    }
}

#[test]
fn fields_out_of_order_are_merged_as_readers_merge_them() {
    let schema = schema();
    let part = |json: &str| encode(&schema, json.as_bytes()).unwrap();
    let cases: [(&[&str], &str); 7] = [
        (&[r#"{"text":"a"}"#, r#"{"text":"b"}"#], r#"{"text":"b"}"#),
        (&[r#"{"ints":[1]}"#, r#"{"text":"b"}"#, r#"{"ints":[2]}"#], r#"{"text":"b","ints":[1,2]}"#),
        (&[r#"{"inner":{"name":"a"}}"#, r#"{"inner":{"count":2}}"#], r#"{"inner":{"name":"a","count":2}}"#),
        (&[r#"{"choiceText":"a"}"#, r#"{"choiceNumber":2}"#], r#"{"choiceNumber":2}"#),
        (&[r#"{"byName":{"a":1,"b":1}}"#, r#"{"byName":{"a":2}}"#], r#"{"byName":{"a":2,"b":1}}"#),
        (&[r#"{"value":1}"#, r#"{"value":"x"}"#], r#"{"value":"x"}"#),
        (&[r#"{"maybe":5}"#, r#"{"maybe":0}"#], r#"{"maybe":0}"#),
    ];
    for (parts, expected) in cases {
        let bytes: Vec<u8> = parts.iter().flat_map(|json| part(json)).collect();
        assert_eq!(print(&schema, Printing::default(), &bytes).unwrap(), expected);
    }
    // An `an_int32` of 5 and then of 0, and `text` alike: the last is the value that is not written.
    assert_eq!(print(&schema, Printing::default(), &[0x18, 5, 0x18, 0]).unwrap(), "{}");
    assert_eq!(print(&schema, Printing::default(), &[0x72, 1, b'a', 0x72, 0, 0x18, 1]).unwrap(), r#"{"anInt32":1}"#);
}

#[test]
fn a_response_that_json_cannot_say_is_an_error() {
    let schema = schema();
    let printed = |bytes: &[u8]| print(&schema, Printing::default(), bytes);
    assert_eq!(printed(&[0x72, 1, 0xff]), Err(Unprintable::NotUtf8));
    assert_eq!(printed(&[0x72, 9, 1]), Err(Unprintable::Malformed));
    assert_eq!(printed(&[0x70, 1]), Err(Unprintable::Malformed));
    // A timestamp of the year 10000, a duration whose signs differ, an Any of a strange type.
    assert_eq!(printed(&[0x9a, 3, 6, 8, 0x80, 0xdc, 0xee, 0xb1, 0xaf]), Err(Unprintable::Malformed));
    assert_eq!(printed(&[0x9a, 3, 7, 8, 0x80, 0xdc, 0x8e, 0xb1, 0xd6, 7]), Err(Unprintable::OutOfRange));
    assert_eq!(printed(&[0xa2, 3, 13, 8, 1, 16, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]), Err(Unprintable::OutOfRange));
    assert_eq!(printed(&[0xd2, 3, 3, 10, 1, b'x']), Err(Unprintable::UnknownType));
    let mut deep = Vec::new();
    for _ in 0..200 {
        let mut outer = vec![0x1a];
        windrose_grpc_transcoder::wire::put_varint(&mut outer, deep.len() as u64);
        outer.extend(&deep);
        deep = outer;
    }
    let mut inner = vec![0x8a, 1];
    windrose_grpc_transcoder::wire::put_varint(&mut inner, deep.len() as u64);
    inner.extend(&deep);
    assert_eq!(printed(&inner), Err(Unprintable::TooDeep));
}
