//! What one HTTP binding does: which method it calls and where path, query and body go in the request message.
//! Everything that can be wrong with an annotation is found when it is compiled.

use crate::json_to_proto::{BoundPath, put_field_mask, put_instant};
use crate::limits;
use crate::path::{Router, query_parameters};
use crate::refusal::{Refusal, Result, shown};
use crate::scalar;
use crate::schema::{Cardinality, Field, Form, HttpRule, Kind, Message, MessageId, Method, Schema};
use crate::template::Template;
use crate::well_known::{parse_duration, parse_timestamp};
use crate::wire::{close, open, put_bytes, put_varint};

/// One binding, compiled.
#[derive(Debug)]
pub struct Binding {
    /// Index of the method in its schema.
    pub method: usize,
    /// Where the request body goes.
    pub body: Body,
    /// The number of the response field that is the response body; the whole response when absent.
    pub response_body: Option<u32>,
    /// The field of each variable, in the order of the template.
    pub variables: Vec<BoundPath>,
}

/// Where a request body goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// There is none.
    Nowhere,
    /// Into the whole request message.
    Message,
    /// Into one field, by its index.
    Field(u16),
}

/// How a policy treats query parameters that are no field.
#[derive(Debug, Default)]
pub struct QueryRules {
    /// Skip all of them.
    pub ignore_unknown: bool,
    /// Skip those of these names, whether they are fields or not.
    pub ignored: Vec<String>,
}

/// Compiles the bindings of all methods of a policy and adds them to its router.
///
/// # Errors
/// A sentence that names the method and the template.
pub fn compile(schema: &Schema, services: &[&str], auto_mapping: bool) -> std::result::Result<(Router, Vec<Binding>), String> {
    let mut router = Router::default();
    let mut bindings: Vec<Binding> = Vec::new();
    for (index, method) in schema.methods.iter().enumerate().filter(|(_, method)| services.contains(&&*method.service)) {
        let auto = HttpRule {
            http_method: "POST".to_owned(),
            template: method.grpc_path.to_string(),
            body: "*".to_owned(),
            ..HttpRule::default()
        };
        for rule in method.rules.iter().chain(Some(&auto).filter(|_| auto_mapping)) {
            let subject =
                |reason: String| format!("method {}.{}: {} {}: {reason}", method.service, method.name, rule.http_method, rule.template);
            let template = Template::parse(&rule.template).map_err(subject)?;
            let binding = Binding::compile(schema, index, method, rule, &template).map_err(subject)?;
            if bindings.len() >= limits::BINDINGS_MAX {
                return Err(format!("more than {} HTTP bindings", limits::BINDINGS_MAX));
            }
            bindings.push(binding);
            router.add(&rule.http_method, template).map_err(|other| subject(same_binding(schema, &bindings, other)))?;
        }
    }
    Ok((router, bindings))
}

fn same_binding(schema: &Schema, bindings: &[Binding], other: usize) -> String {
    let method = bindings.get(other).and_then(|binding| schema.methods.get(binding.method));
    let name = method.map(|method| format!("{}.{}", method.service, method.name)).unwrap_or_default();
    format!("{name} is bound to the same requests already")
}

impl Binding {
    fn compile(schema: &Schema, index: usize, method: &Method, rule: &HttpRule, template: &Template) -> std::result::Result<Self, String> {
        let input = schema.message(method.input);
        let mut variables: Vec<BoundPath> = Vec::new();
        for variable in &template.variables {
            let path = variable_path(schema, method.input, &variable.field_path)?;
            if variables.iter().any(|other| other.starts_with(&path) || path.starts_with(other)) {
                return Err(format!("variable {} sets a field that another variable sets", variable.field_path));
            }
            variables.push(path);
        }
        let body = body_of(input, &rule.body)?;
        if let Body::Field(field) = body
            && variables.iter().any(|path| **path == [field] || excludes(input, path, field))
        {
            return Err(format!("body {} cannot be given beside the variables of the path", rule.body));
        }
        if method.client_streaming && (body != Body::Message || !variables.is_empty()) {
            return Err("a client-streaming method needs body \"*\" and no variables".to_owned());
        }
        Ok(Self { method: index, body, response_body: response_body(schema, method, &rule.response_body)?, variables })
    }

    /// Appends the fields that path and query set.
    ///
    /// # Errors
    /// A value that its field cannot have, an unknown parameter, or a field that is set twice.
    pub fn put_path_and_query(
        &self,
        schema: &Schema,
        input: MessageId,
        values: &[String],
        query: &str,
        rules: &QueryRules,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let mut taken = Taken::default();
        for (path, value) in self.variables.iter().zip(values) {
            let named = |refusal: Box<Refusal>| refusal.in_field(&name_of(schema, input, path));
            taken.variable(schema, input, path).map_err(named)?;
            put_at(schema, input, path, value, out).map_err(named)?;
        }
        if query.is_empty() {
            return Ok(());
        }
        if let Body::Field(field) = self.body {
            taken.body(schema, input, field);
        }
        for (key, value) in query_parameters(query)? {
            if rules.ignored.contains(&key) {
                continue;
            }
            let named = |refusal: Box<Refusal>| refusal.in_field(&key);
            let path = match query_path(schema, input, &key) {
                Some(_) if self.body == Body::Message && !rules.ignore_unknown => {
                    return Err(named(Refusal::new("fields come in the body here, not in the query")));
                }
                Some(path) if self.body != Body::Message => path,
                _ if rules.ignore_unknown => continue,
                _ => return Err(named(Refusal::new(format!("{} has no such field for a query", schema.message(input).name)))),
            };
            taken.query(schema, input, &path).map_err(named)?;
            put_at(schema, input, &path, &value, out).map_err(named)?;
        }
        Ok(())
    }
}

/// Which fields have a value already. Lists, not sets: [`limits::QUERY_PARAMETERS_MAX`] bounds them.
#[derive(Default)]
struct Taken {
    paths: Vec<Vec<u16>>,
    /// Paths that nothing may be set at or below.
    closed: Vec<Vec<u16>>,
    /// Where a oneof stands, which it is, and the member that was chosen.
    oneofs: Vec<(Vec<u16>, u16, u16)>,
}

impl Taken {
    fn variable(&mut self, schema: &Schema, input: MessageId, path: &[u16]) -> Result<()> {
        self.closed.push(path.to_vec());
        self.choose(schema, input, path)
    }

    fn body(&mut self, schema: &Schema, input: MessageId, field: u16) {
        self.closed.push(vec![field]);
        // Whether the body sets it is known later; its oneof is taken in any case.
        let _ = self.choose(schema, input, &[field]);
    }

    fn query(&mut self, schema: &Schema, input: MessageId, path: &[u16]) -> Result<()> {
        if self.closed.iter().any(|closed| path.starts_with(closed) || closed.starts_with(path)) {
            return Err(Refusal::new("the path or the body of the request gives this field a value already"));
        }
        let repeated = leaf(schema, input, path).is_some_and(|field| field.cardinality == Cardinality::Repeated);
        if !repeated {
            if self.paths.iter().any(|known| known == path) {
                return Err(Refusal::new("given twice"));
            }
            self.paths.push(path.to_vec());
        }
        self.choose(schema, input, path)
    }

    /// In every message on the way, the oneof of the field that the way goes through.
    fn choose(&mut self, schema: &Schema, input: MessageId, path: &[u16]) -> Result<()> {
        let mut at = input;
        for (depth, index) in path.iter().enumerate() {
            let Some(field) = schema.message(at).fields.get(usize::from(*index)) else { break };
            if let Some(oneof) = field.oneof {
                let place = path.get(..depth).unwrap_or_default();
                match self.oneofs.iter().find(|(at, known, _)| at == place && *known == oneof) {
                    None => self.oneofs.push((place.to_vec(), oneof, *index)),
                    Some((_, _, chosen)) if chosen == index => {}
                    Some(_) => return Err(Refusal::new("another field of the same oneof is given too")),
                }
            }
            if let Kind::Message(id) = field.kind {
                at = id;
            }
        }
        Ok(())
    }
}

fn leaf<'s>(schema: &'s Schema, input: MessageId, path: &[u16]) -> Option<&'s Field> {
    let (last, way) = path.split_last()?;
    let mut at = input;
    for index in way {
        match schema.message(at).fields.get(usize::from(*index))?.kind {
            Kind::Message(id) => at = id,
            _ => return None,
        }
    }
    schema.message(at).fields.get(usize::from(*last))
}

fn name_of(schema: &Schema, input: MessageId, path: &[u16]) -> String {
    let names = (1..=path.len()).filter_map(|length| leaf(schema, input, path.get(..length)?)).map(|field| &*field.json_name);
    names.collect::<Vec<_>>().join(".")
}

/// Walks names through singular messages.
fn walk(schema: &Schema, input: MessageId, names: &str) -> Option<Vec<u16>> {
    let mut at = Some(input);
    let mut path = Vec::new();
    for name in names.split('.') {
        let message = schema.message(at?);
        if path.len() >= limits::FIELD_PATH_MAX || (!path.is_empty() && message.form != Form::Object) {
            return None;
        }
        let (index, field) = message.by_key(name, 0)?;
        at = match (field.cardinality, field.kind) {
            (Cardinality::Implicit | Cardinality::Explicit, Kind::Message(id)) => Some(id),
            _ => None,
        };
        path.push(u16::try_from(index).ok()?);
    }
    Some(path)
}

fn variable_path(schema: &Schema, input: MessageId, names: &str) -> std::result::Result<BoundPath, String> {
    let path = walk(schema, input, names).ok_or_else(|| format!("variable {names} is no field of {}", schema.message(input).name))?;
    let field = leaf(schema, input, &path);
    match field.map(|field| (field.cardinality, field.kind)) {
        Some((Cardinality::Implicit | Cardinality::Explicit, kind)) if !matches!(kind, Kind::Message(_)) => Ok(path.into()),
        _ => Err(format!("variable {names} is not a single value")),
    }
}

/// The field that a query parameter means, if a text can be its value.
fn query_path(schema: &Schema, input: MessageId, names: &str) -> Option<Vec<u16>> {
    let path = walk(schema, input, names)?;
    let field = leaf(schema, input, &path)?;
    let is_text = match field.kind {
        Kind::Message(id) => matches!(schema.message(id).form, Form::Timestamp | Form::Duration | Form::FieldMask | Form::Wrapper),
        _ => true,
    };
    (is_text && field.cardinality != Cardinality::Map).then_some(path)
}

fn body_of(input: &Message, body: &str) -> std::result::Result<Body, String> {
    match body {
        "" => Ok(Body::Nowhere),
        "*" => Ok(Body::Message),
        name => {
            let (index, _) = input.by_key(name, 0).ok_or_else(|| format!("body {name} is no field of {}", input.name))?;
            Ok(Body::Field(u16::try_from(index).unwrap_or(u16::MAX)))
        }
    }
}

/// Whether a variable chooses another member of the body field's oneof.
fn excludes(input: &Message, path: &[u16], field: u16) -> bool {
    let oneof = |index: u16| input.fields.get(usize::from(index)).and_then(|field| field.oneof);
    path.first().is_some_and(|first| *first != field && oneof(*first).is_some() && oneof(*first) == oneof(field))
}

fn response_body(schema: &Schema, method: &Method, name: &str) -> std::result::Result<Option<u32>, String> {
    if name.is_empty() {
        return Ok(None);
    }
    let output = schema.message(method.output);
    let found = output.by_key(name, 0).map(|(_, field)| field.number);
    found.map(Some).ok_or_else(|| format!("response_body {name} is no field of {}", output.name))
}

/// Appends one value, inside the messages that its path goes through; a reader merges them with others of the same field.
fn put_at(schema: &Schema, at: MessageId, path: &[u16], text: &str, out: &mut Vec<u8>) -> Result<()> {
    let Some((first, rest)) = path.split_first() else { return Ok(()) };
    let Some(field) = schema.message(at).fields.get(usize::from(*first)) else { return Ok(()) };
    match field.kind {
        Kind::Message(id) if !rest.is_empty() => {
            let start = open(out, field.tag());
            put_at(schema, id, rest, text, out)?;
            close(out, start);
            Ok(())
        }
        kind => put_text(schema, kind, field.tag(), text, out),
    }
}

fn put_text(schema: &Schema, kind: Kind, tag: u32, text: &str, out: &mut Vec<u8>) -> Result<()> {
    if let Kind::Message(id) = kind {
        let start = open(out, tag);
        put_well_known(schema, schema.message(id), text, out)?;
        close(out, start);
        return Ok(());
    }
    if kind == Kind::String {
        put_bytes(out, tag, text.as_bytes());
        return Ok(());
    }
    put_varint(out, u64::from(tag));
    match kind {
        Kind::Bytes => scalar::put_base64(out, text),
        Kind::Bool => scalar::put_bool(out, text),
        Kind::Enum(_) if text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => scalar::put_enum_number(out, text),
        Kind::Enum(id) => scalar::put_enum_name(out, schema.enumeration(id), text),
        _ => scalar::put_number(out, kind, text),
    }
}

fn put_well_known(schema: &Schema, message: &Message, text: &str, out: &mut Vec<u8>) -> Result<()> {
    match (message.form, message.fields.first()) {
        (Form::Timestamp, _) => put_instant(out, text, "a time like \"2026-01-31T10:00:00Z\"", parse_timestamp),
        (Form::Duration, _) => put_instant(out, text, "a duration like \"1.5s\"", parse_duration),
        (Form::FieldMask, _) => put_field_mask(out, text),
        (Form::Wrapper, Some(field)) => put_text(schema, field.kind, field.tag(), text, out),
        _ => Err(Refusal::new(format!("\"{}\" cannot be given as text", shown(text)))),
    }
}
