//! A `FileDescriptorSet` as bytes becomes a [`Schema`]: the methods of the chosen services and every type they reach.
//! Types that no chosen method reaches cost their name and nothing more. It knows no HTTP; templates stay text.

mod index;

use std::fmt;

use self::index::{Entry, Index, Is, Presence, Scope, as_int32, bytes, features, integer, joined, optional_bytes, text};
use crate::json::quoted;
use crate::limits;
use crate::order::sort;
use crate::schema::{Cardinality, Enum, EnumId, Field, Form, HttpRule, Kind, Message, MessageId, Method, Schema, TypeId};
use crate::wire::{Malformed, Reader, Value};

/// Extension number of `google.api.http` in `MethodOptions`.
const HTTP_EXTENSION: u32 = 72_295_728;
/// Error details are written by servers without being asked, so their types are loaded whenever the set has them.
const DETAILS_PACKAGE: &str = "google.rpc";

/// Why a descriptor set was refused: a sentence that names the file, type, method or field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescriptorError(pub String);

impl fmt::Display for DescriptorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DescriptorError {}

impl From<Malformed> for DescriptorError {
    fn from(_: Malformed) -> Self {
        Self("the descriptor set is not a google.protobuf.FileDescriptorSet".to_owned())
    }
}

type Result<T> = std::result::Result<T, DescriptorError>;

/// Reads a descriptor set (`protoc --include_imports --descriptor_set_out`).
///
/// `services` are full names; `more_types` are messages that only occur inside `google.protobuf.Any`.
///
/// # Errors
/// Not a descriptor set, over a limit, a service or type that is not in it, or a type that cannot be transcoded.
pub fn load(set: &[u8], services: &[&str], more_types: &[&str]) -> Result<Schema> {
    if set.len() > limits::DESCRIPTOR_SET_BYTES_MAX {
        return fail(format!("the descriptor set has {} bytes, at most {} are allowed", set.len(), limits::DESCRIPTOR_SET_BYTES_MAX));
    }
    let index = Index::read(set)?;
    let mut builder = Builder { index: &index, schema: Schema::default(), pending: Vec::new() };
    for name in services {
        builder.service(name)?;
    }
    for name in more_types {
        builder.message_id(name, "any_types")?;
    }
    builder.error_details()?;
    builder.finish()
}

/// The names of all services of a set, for error messages and tools.
///
/// # Errors
/// Not a descriptor set, or over a limit.
pub fn service_names(set: &[u8]) -> Result<Vec<String>> {
    let services = Index::read(set)?.0.into_iter().filter(|(_, entry)| entry.is == Is::Service);
    Ok(services.map(|(name, _)| name).collect())
}

#[inline(never)]
fn fail<T>(message: impl Into<String>) -> Result<T> {
    Err(DescriptorError(message.into()))
}

/// Reads, from the index, what is reached.
struct Builder<'i, 'a> {
    index: &'i Index<'a>,
    schema: Schema,
    /// The names of the messages that are or will be read, by their ids.
    pending: Vec<String>,
}

impl<'a> Builder<'_, 'a> {
    fn service(&mut self, name: &str) -> Result<()> {
        let Some(service) = self.index.get(name, Is::Service) else {
            let known = self.index.0.iter().filter(|(_, entry)| entry.is == Is::Service).map(|(name, _)| name.as_str());
            let known: Vec<&str> = known.take(8).collect();
            return fail(format!("service {name} is not in the descriptor set; it has {}", known.join(", ")));
        };
        let mut fields = Reader::new(service.bytes);
        while let Some((number, value)) = fields.next_field()? {
            if let (2, Value::Bytes(method)) = (number, value) {
                self.method(service.scope.file, name, method)?;
            }
        }
        Ok(())
    }

    fn method(&mut self, file: &str, service: &str, method: &[u8]) -> Result<()> {
        let name = text(method, 1)?;
        let subject = format!("{file}: method {service}.{name}");
        let input = self.message_id(text(method, 2)?.trim_start_matches('.'), &subject)?;
        let output = self.message_id(text(method, 3)?.trim_start_matches('.'), &subject)?;
        let mut rules = Vec::new();
        if let Some(rule) = optional_bytes(bytes(method, 4)?, HTTP_EXTENSION)? {
            read_rule(rule, &subject, true, &mut rules)?;
        }
        self.schema.methods.push(Method {
            service: service.into(),
            name: name.into(),
            grpc_path: format!("/{service}/{name}").into(),
            input,
            output,
            client_streaming: integer(method, 5)? == Some(1),
            server_streaming: integer(method, 6)? == Some(1),
            rules,
        });
        Ok(())
    }

    fn error_details(&mut self) -> Result<()> {
        let prefix = format!("{DETAILS_PACKAGE}.");
        let index = self.index;
        for (name, entry) in &index.0 {
            if entry.is == Is::Message && name.starts_with(&prefix) {
                self.message_id(name, DETAILS_PACKAGE)?;
            }
        }
        Ok(())
    }

    /// The id of a message, which is read later if it was not yet.
    #[inline(never)]
    fn message_id(&mut self, name: &str, subject: &str) -> Result<MessageId> {
        if let Some(&TypeId::Message(id)) = self.schema.names.get(name) {
            return Ok(id);
        }
        if self.index.get(name, Is::Message).is_none() {
            return fail(format!("{subject}: message {name} is not in the descriptor set (was it written with --include_imports?)"));
        }
        let id = MessageId(u32::try_from(self.pending.len()).unwrap_or(u32::MAX));
        self.schema.names.insert(name.into(), TypeId::Message(id));
        self.pending.push(name.to_owned());
        Ok(id)
    }

    fn finish(mut self) -> Result<Schema> {
        // Ids are given in the order of `pending`, so pushing in that order keeps them true.
        let mut next = 0;
        while let Some(name) = self.pending.get(next).cloned() {
            let message = self.message(&name)?;
            self.schema.messages.push(message);
            next += 1;
        }
        Ok(self.schema)
    }

    #[inline(never)]
    fn message(&mut self, name: &str) -> Result<Message> {
        let Some(Entry { scope, bytes: message, .. }) = self.index.get(name, Is::Message) else {
            return fail(format!("message {name} is not in the descriptor set"));
        };
        let entries = MapEntries::read(name, message)?;
        let mut fields = Vec::new();
        let mut reader = Reader::new(message);
        while let Some((number, value)) = reader.next_field()? {
            if let (2, Value::Bytes(field)) = (number, value) {
                fields.push(self.field(name, scope, field, &entries)?);
            }
        }
        if fields.len() > limits::MEMBERS_MAX {
            return fail(format!("{}: message {name} has more than {} fields", scope.file, limits::MEMBERS_MAX));
        }
        sort(&mut fields, |a: &Field, b: &Field| a.number < b.number);
        let keys = keys_of(scope.file, name, &fields)?;
        let form = form_of(name);
        check_form(scope.file, name, form, &fields)?;
        Ok(Message { name: name.to_owned(), keys, form, fields })
    }

    #[inline(never)]
    fn field(&mut self, message: &str, scope: Scope<'a>, field: &'a [u8], entries: &MapEntries) -> Result<Field> {
        let name = text(field, 1)?;
        let subject = format!("{}: field {message}.{name}", scope.file);
        let scope = features(scope, bytes(field, 8)?, 21)?;
        let number = match integer(field, 3)?.map(u32::try_from) {
            Some(Ok(number)) if (1..=0x1fff_ffff).contains(&number) => number,
            _ => return fail(format!("{subject}: the field number is out of range")),
        };
        let type_name = text(field, 6)?.trim_start_matches('.');
        let kind = self.kind(integer(field, 5)?, type_name, scope, &subject)?;
        let synthetic = integer(field, 17)? == Some(1);
        let oneof = match integer(field, 9)? {
            Some(oneof) if !synthetic => Some(u16::try_from(oneof).map_err(|_| DescriptorError(format!("{subject}: too many oneofs")))?),
            _ => None,
        };
        let cardinality = match (integer(field, 4)?, kind) {
            (Some(3), Kind::Message(_)) if entries.0.iter().any(|entry| entry == type_name) => Cardinality::Map,
            (Some(3), _) => Cardinality::Repeated,
            (_, Kind::Message(_)) => Cardinality::Explicit,
            _ if synthetic || oneof.is_some() || scope.presence == Presence::Explicit => Cardinality::Explicit,
            _ => Cardinality::Implicit,
        };
        let json_name = match text(field, 10)? {
            "" => lower_camel(name),
            given => given.to_owned(),
        };
        Ok(Field {
            name: name.into(),
            name_prefix: member_prefix(name),
            json_prefix: member_prefix(&json_name),
            json_name: json_name.into(),
            number,
            kind,
            cardinality,
            oneof,
        })
    }

    #[inline(never)]
    fn kind(&mut self, number: Option<u64>, type_name: &str, scope: Scope<'a>, subject: &str) -> Result<Kind> {
        Ok(match number {
            Some(1) => Kind::Double,
            Some(2) => Kind::Float,
            Some(3) => Kind::Int64,
            Some(4) => Kind::Uint64,
            Some(5) => Kind::Int32,
            Some(6) => Kind::Fixed64,
            Some(7) => Kind::Fixed32,
            Some(8) => Kind::Bool,
            Some(9) => Kind::String,
            Some(11) if !scope.delimited => Kind::Message(self.message_id(type_name, subject)?),
            Some(12) => Kind::Bytes,
            Some(13) => Kind::Uint32,
            Some(14) => Kind::Enum(self.enum_id(type_name, subject)?),
            Some(15) => Kind::Sfixed32,
            Some(16) => Kind::Sfixed64,
            Some(17) => Kind::Sint32,
            Some(18) => Kind::Sint64,
            Some(10 | 11) => return fail(format!("{subject}: groups (delimited messages) cannot be transcoded")),
            _ => return fail(format!("{subject}: the field type is unknown")),
        })
    }

    #[inline(never)]
    fn enum_id(&mut self, name: &str, subject: &str) -> Result<EnumId> {
        if let Some(&TypeId::Enum(id)) = self.schema.names.get(name) {
            return Ok(id);
        }
        let Some(entry) = self.index.get(name, Is::Enum) else {
            return fail(format!("{subject}: enum {name} is not in the descriptor set (was it written with --include_imports?)"));
        };
        let id = EnumId(u32::try_from(self.schema.enums.len()).unwrap_or(u32::MAX));
        self.schema.enums.push(read_enum(name, entry.bytes)?);
        self.schema.names.insert(name.into(), TypeId::Enum(id));
        Ok(id)
    }
}

/// The full names of the nested types that are map entries.
struct MapEntries(Vec<String>);

impl MapEntries {
    fn read(parent: &str, message: &[u8]) -> Result<Self> {
        let mut entries = Vec::new();
        let mut reader = Reader::new(message);
        while let Some((number, value)) = reader.next_field()? {
            if let (3, Value::Bytes(nested)) = (number, value)
                && integer(bytes(nested, 7)?, 7)? == Some(1)
            {
                entries.push(joined(parent, text(nested, 1)?));
            }
        }
        Ok(Self(entries))
    }
}

#[inline(never)]
fn read_enum(name: &str, enumeration: &[u8]) -> Result<Enum> {
    let mut by_name: Vec<(Box<str>, i32)> = Vec::new();
    let mut by_number: Vec<(i32, Box<str>)> = Vec::new();
    let mut reader = Reader::new(enumeration);
    while let Some((number, value)) = reader.next_field()? {
        if let (2, Value::Bytes(value)) = (number, value) {
            let value_name = text(value, 1)?;
            let value_number = as_int32(integer(value, 2)?.unwrap_or(0));
            by_name.push((value_name.into(), value_number));
            by_number.push((value_number, value_name.into()));
        }
    }
    if by_name.len() > limits::MEMBERS_MAX {
        return fail(format!("enum {name} has more than {} values", limits::MEMBERS_MAX));
    }
    sort(&mut by_name, |a, b| a.0 < b.0);
    // Equal numbers stay in their order: of several names for one number the first is kept.
    sort(&mut by_number, |a, b| a.0 < b.0);
    by_number.dedup_by_key(|(number, _)| *number);
    Ok(Enum { name: name.to_owned(), by_name, by_number, is_null_value: name == "google.protobuf.NullValue" })
}

fn read_rule(rule: &[u8], subject: &str, top: bool, rules: &mut Vec<HttpRule>) -> Result<()> {
    if rules.len() >= limits::BINDINGS_PER_METHOD_MAX {
        return fail(format!("{subject}: more than {} HTTP bindings", limits::BINDINGS_PER_METHOD_MAX));
    }
    let mut read = HttpRule { body: text(rule, 7)?.to_owned(), response_body: text(rule, 12)?.to_owned(), ..HttpRule::default() };
    for (number, method) in [(2, "GET"), (3, "PUT"), (4, "POST"), (5, "DELETE"), (6, "PATCH")] {
        if optional_bytes(rule, number)?.is_some() {
            (read.http_method, read.template) = (method.to_owned(), text(rule, number)?.to_owned());
        }
    }
    if let Some(custom) = optional_bytes(rule, 8)? {
        (read.http_method, read.template) = (text(custom, 1)?.to_owned(), text(custom, 2)?.to_owned());
    }
    if read.template.is_empty() || read.http_method.is_empty() {
        return fail(format!("{subject}: the google.api.http annotation names no method and path"));
    }
    rules.push(read);
    let mut reader = Reader::new(rule);
    while let Some((number, value)) = reader.next_field()? {
        match (number, value) {
            (11, Value::Bytes(more)) if top => read_rule(more, subject, false, rules)?,
            (11, _) => return fail(format!("{subject}: additional_bindings inside additional_bindings")),
            _ => {}
        }
    }
    Ok(())
}

#[inline(never)]
fn keys_of(file: &str, message: &str, fields: &[Field]) -> Result<Vec<(Box<str>, u16)>> {
    let mut keys: Vec<(Box<str>, u16)> = Vec::with_capacity(fields.len() * 2);
    for (index, field) in fields.iter().enumerate() {
        let index = u16::try_from(index).unwrap_or(u16::MAX);
        keys.push((field.json_name.clone(), index));
        if field.name != field.json_name {
            keys.push((field.name.clone(), index));
        }
    }
    sort(&mut keys, |a, b| a.0 < b.0);
    for pair in keys.windows(2) {
        if let [(first, _), (second, _)] = pair
            && first == second
        {
            return fail(format!("{file}: message {message} has two fields whose JSON name is {first}"));
        }
    }
    Ok(keys)
}

fn form_of(name: &str) -> Form {
    match name {
        "google.protobuf.Any" => Form::Any,
        "google.protobuf.Timestamp" => Form::Timestamp,
        "google.protobuf.Duration" => Form::Duration,
        "google.protobuf.FieldMask" => Form::FieldMask,
        "google.protobuf.Struct" => Form::Struct,
        "google.protobuf.Value" => Form::Value,
        "google.protobuf.ListValue" => Form::ListValue,
        "google.protobuf.DoubleValue"
        | "google.protobuf.FloatValue"
        | "google.protobuf.Int64Value"
        | "google.protobuf.UInt64Value"
        | "google.protobuf.Int32Value"
        | "google.protobuf.UInt32Value"
        | "google.protobuf.BoolValue"
        | "google.protobuf.StringValue"
        | "google.protobuf.BytesValue" => Form::Wrapper,
        "google.api.HttpBody" => Form::HttpBody,
        _ => Form::Object,
    }
}

/// A well-known type must look as it is known: the readers and writers use its field numbers.
#[inline(never)]
fn check_form(file: &str, name: &str, form: Form, fields: &[Field]) -> Result<()> {
    let has = |number: u32, fits: fn(&Field) -> bool| fields.iter().any(|field| field.number == number && fits(field));
    let known = match form {
        Form::Object => true,
        Form::Any => has(1, |f| f.kind == Kind::String) && has(2, |f| f.kind == Kind::Bytes),
        Form::Timestamp | Form::Duration => has(1, |f| f.kind == Kind::Int64) && has(2, |f| f.kind == Kind::Int32),
        Form::FieldMask => has(1, |f| f.kind == Kind::String && f.cardinality == Cardinality::Repeated),
        Form::Struct => has(1, |f| f.cardinality == Cardinality::Map),
        Form::ListValue => has(1, |f| f.cardinality == Cardinality::Repeated),
        Form::Value => (1..=6).all(|number| has(number, |f| f.cardinality == Cardinality::Explicit)),
        Form::Wrapper => fields.len() == 1 && has(1, |f| matches!(f.cardinality, Cardinality::Implicit | Cardinality::Explicit)),
        Form::HttpBody => has(1, |f| f.kind == Kind::String) && has(2, |f| f.kind == Kind::Bytes),
    };
    if known { Ok(()) } else { fail(format!("{file}: message {name} is not the well-known type of that name")) }
}

fn member_prefix(name: &str) -> Box<[u8]> {
    let mut out = quoted(name);
    out.push(b':');
    out.into_boxed_slice()
}

/// The JSON name that protoc derives from a field name.
fn lower_camel(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut upper = false;
    for letter in name.chars() {
        match letter {
            '_' => upper = true,
            _ if upper => {
                out.push(letter.to_ascii_uppercase());
                upper = false;
            }
            _ => out.push(letter),
        }
    }
    out
}
