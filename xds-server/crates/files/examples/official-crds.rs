//! Makes `api/crds/` from the official CRDs: `cargo run -p windrose-files --example official-crds -- <config/crd/experimental> <api/crds>`.
//! Descriptions are kept for `v1` and dropped for older versions; a version that says the same as `v1` is stored as its name.

use std::error::Error;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value};
use windrose_files::{folder, parse};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to] = arguments.as_slice() else { return Err("two folders are needed: of the CRDs, and for the schemas".into()) };
    for file in folder::list(&[from.into()]).files {
        let text = fs::read_to_string(&file)?;
        // Policies of the API server stand in the same folder, several to a file.
        let Ok(crd) = parse(&text).map(|tree| tree.to_node()) else { continue };
        if crd.pointer("/spec/group") == Some(&"gateway.networking.k8s.io".into()) {
            write(&crd, Path::new(to))?;
        }
    }
    Ok(())
}

fn write(crd: &Value, to: &Path) -> Result<(), Box<dyn Error>> {
    let kind = crd.pointer("/spec/names/kind").and_then(Value::as_str).ok_or("a CRD without a kind")?;
    let versions = crd.pointer("/spec/versions").and_then(Value::as_array).ok_or("a CRD without versions")?;
    let served = versions.iter().filter(|version| version["served"] == true);
    let schema = |version: &Value| Some((version["name"].as_str()?.to_owned(), version.pointer("/schema/openAPIV3Schema")?.clone()));
    let schemas: Map<String, Value> = served.filter_map(schema).collect();
    let v1 = schemas.get("v1").ok_or("a CRD without v1")?;
    let stored: Map<String, Value> = schemas.iter().map(|(name, schema)| (name.clone(), stored(name, schema, v1))).collect();
    fs::write(to.join(format!("{kind}.json")), format!("{}\n", Value::Object(stored)))?;
    Ok(())
}

fn stored(name: &str, schema: &Value, v1: &Value) -> Value {
    let bare = without_descriptions(schema);
    match name {
        "v1" => schema.clone(),
        _ if bare == without_descriptions(v1) => "v1".into(),
        _ => bare,
    }
}

/// A description is a text; a property of that name is a schema.
fn without_descriptions(schema: &Value) -> Value {
    match schema {
        Value::Object(members) => {
            let kept = members.iter().filter(|(name, value)| *name != "description" || !value.is_string());
            Value::Object(kept.map(|(name, value)| (name.clone(), without_descriptions(value))).collect())
        }
        Value::Array(items) => items.iter().map(without_descriptions).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => schema.clone(),
    }
}
