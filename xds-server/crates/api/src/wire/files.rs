//! Values that stand in files of their own, put into the object's place before it is read:
//! `files` of a Secret or ConfigMap, `jwks.file` of an AuthPolicy, `descriptors.file` of a TranscodingPolicy.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value};
use windrose_vocab::{Code, Kind};

use crate::decode::{Path, Report, Source};
use crate::limits;
use crate::policy::check_key_set;

/// Puts the content of every file that `node` names into its place.
pub(crate) fn read_files(kind: Kind, node: &mut Value, source: Source<'_>, report: &mut Report) {
    let root = Path::ROOT;
    let spec = root.field("spec");
    if kind == Kind::Secret {
        keyed(node, "data", source, report);
    } else if kind == Kind::ConfigMap {
        keyed(node, "binaryData", source, report);
    } else if kind == Kind::AuthPolicy {
        let at = spec.field("jwt");
        for (index, provider) in node.pointer_mut("/spec/jwt").and_then(Value::as_array_mut).into_iter().flatten().enumerate() {
            inline(provider.get_mut("jwks"), key_set, source, &at.index(index).field("jwks"), report);
        }
    } else if kind == Kind::TranscodingPolicy {
        let encode = |content: &Bytes| Ok(STANDARD.encode(content));
        inline(node.pointer_mut("/spec/descriptors"), encode, source, &spec.field("descriptors"), report);
    }
}

fn key_set(content: &Bytes) -> Result<String, String> {
    if content.len() > limits::JWKS_BYTES_MAX {
        return Err("is larger than 1 MiB".to_owned());
    }
    let text = String::from_utf8(content.to_vec()).map_err(|_| "is not UTF-8".to_owned())?;
    check_key_set(content)?;
    Ok(text)
}

/// `files: {key: path}` → `data: {key: base64}`.
fn keyed(node: &mut Value, field: &str, source: Source<'_>, report: &mut Report) {
    let Some(members) = node.as_object_mut() else { return };
    let Some(Value::Object(files)) = members.remove("files") else { return };
    let root = Path::ROOT;
    let at = root.field("files");
    for (key, path) in files {
        let at = at.field(&key);
        let taken =
            ["data", "stringData", "binaryData"].iter().any(|field| members.get(*field).is_some_and(|data| data.get(&key).is_some()));
        if taken {
            report.error(&at, Code::Invalid, format!("`{}` has a value in the object too", key.escape_debug()));
            continue;
        }
        let Some(content) = path.as_str().and_then(|path| read(path, source, &at, report)) else { continue };
        let data = members.entry(field).or_insert_with(|| Value::Object(Map::new()));
        if let Some(data) = data.as_object_mut() {
            data.insert(key, STANDARD.encode(content).into());
        }
    }
}

/// `file` → `inline`, in the form that `encode` gives. What it refuses is told here, where the file has its name.
fn inline(
    place: Option<&mut Value>,
    encode: impl Fn(&Bytes) -> Result<String, String>,
    source: Source<'_>,
    at: &Path<'_>,
    report: &mut Report,
) {
    let Some(members) = place.and_then(Value::as_object_mut) else { return };
    let Some(Value::String(path)) = members.get("file").cloned() else { return };
    if members.len() > 1 {
        // Which one is meant is for the check of the object to ask.
        return;
    }
    let at = at.field("file");
    let Some(content) = read(&path, source, &at, report) else { return };
    match encode(&content) {
        Ok(text) => {
            members.remove("file");
            members.insert("inline".to_owned(), text.into());
        }
        Err(why) => report.error(&at, Code::File, format!("`{}` {why}", path.escape_debug())),
    }
}

fn read(path: &str, source: Source<'_>, at: &Path<'_>, report: &mut Report) -> Option<Bytes> {
    let read = match source {
        Source::Files(files) => files.read(path).map_err(|why| (Code::File, why)),
        Source::Cluster => Err((Code::Invalid, "files can be named in files only, not in a cluster".to_owned())),
    };
    read.map_err(|(code, why)| report.error(at, code, why)).ok()
}
