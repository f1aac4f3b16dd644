//! The plugin configuration: which policies there are and what each transcodes. The control plane writes it with these
//! types and runs [`Config::compile`] itself, so that a reason for refusal is known before Envoy sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde::Serialize;
use windrose_filter_kit::ConfigError;

use crate::binding::{self, Binding, QueryRules};
use crate::descriptor;
use crate::json::{Json, Keys};
use crate::limits;
use crate::order::sort;
use crate::path::Router;
use crate::proto_to_json::Printing;
use crate::refusal::{self, Refusal, shown};
use crate::scalar::{decode_base64, encode_base64};
use crate::schema::Schema;

/// The whole configuration of the filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Config {
    /// Encoded `FileDescriptorSet`s (imports included) as base64, by a name that policies use.
    pub descriptors: BTreeMap<String, String>,
    /// Policies by the id that routes name in their metadata.
    pub policies: BTreeMap<String, Policy>,
    /// Ids under which nothing is transcoded, whatever they were before.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub closed: BTreeSet<String>,
}

/// What one policy transcodes, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Policy {
    /// Name of the descriptor set.
    pub descriptors: String,
    /// Full names of the services (`shop.v1.Orders`); at least one.
    pub services: Vec<String>,
    /// Full names of messages that only occur inside `google.protobuf.Any`. Those of package `google.rpc` are known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub any_types: Vec<String>,
    /// Also bind each method to `POST /package.Service/Method` with the whole body.
    #[serde(skip_serializing_if = "is_false")]
    pub auto_mapping: bool,
    /// Skip members of the request body that the message does not have; otherwise they are refused.
    #[serde(skip_serializing_if = "is_false")]
    pub ignore_unknown_fields: bool,
    /// Skip query parameters that are no field; otherwise they are refused.
    #[serde(skip_serializing_if = "is_false")]
    pub ignore_unknown_query_parameters: bool,
    /// Query parameters to skip even where they are fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignored_query_parameters: Vec<String>,
    /// Print empty scalars, lists and maps of responses.
    #[serde(skip_serializing_if = "is_false")]
    pub always_print_primitive_fields: bool,
    /// Print `unit_price`, not `unitPrice`.
    #[serde(skip_serializing_if = "is_false")]
    pub preserve_proto_field_names: bool,
    /// Print enum values as numbers.
    #[serde(skip_serializing_if = "is_false")]
    pub enums_as_ints: bool,
    /// Bytes of a request body; 1 MiB when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_bytes_max: Option<u32>,
    /// Bytes of one response message; 4 MiB when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_message_bytes_max: Option<u32>,
    /// Milliseconds to which a client's `grpc-timeout` is cut; a minute when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_max_ms: Option<u32>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// A policy, ready to answer requests.
#[derive(Debug)]
pub struct Compiled {
    /// The types; shared by the policies of one descriptor set.
    pub schema: Rc<Schema>,
    /// Which binding a path belongs to.
    pub router: Router,
    /// By the numbers of the router.
    pub bindings: Vec<Binding>,
    /// How queries are read.
    pub query: QueryRules,
    /// How bodies are read.
    pub ignore_unknown_fields: bool,
    /// How responses are written.
    pub printing: Printing,
    /// Bytes.
    pub request_bytes_max: usize,
    /// Bytes.
    pub response_message_bytes_max: usize,
    /// Milliseconds.
    pub timeout_max_ms: u64,
}

impl Config {
    /// Reads the JSON that Envoy hands over.
    ///
    /// # Errors
    /// Not JSON, or not this configuration.
    pub fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        read_config(json).map_err(|cause| ConfigError::new(format!("the configuration cannot be read: {cause}")))
    }

    /// The JSON that [`Config::parse`] reads.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// A descriptor set as it stands in [`Config::descriptors`].
    #[must_use]
    pub fn encode_descriptors(set: &[u8]) -> String {
        let mut text = Vec::new();
        encode_base64(set, &mut text);
        String::from_utf8(text).unwrap_or_default()
    }

    /// Everything that requests need, or the reason why it cannot be had.
    ///
    /// # Errors
    /// The first mistake, with the policy, method, template or type it is about.
    pub fn compile(&self) -> Result<BTreeMap<String, Rc<Compiled>>, ConfigError> {
        let mut schemas = Vec::new();
        for (name, text) in &self.descriptors {
            schemas.push((name, Rc::new(self.schema(name, text)?)));
        }
        let mut compiled = BTreeMap::new();
        for (id, policy) in &self.policies {
            let in_policy = |reason: String| ConfigError::new(format!("policy {id}: {reason}"));
            let schema = schemas.iter().find(|(name, _)| **name == policy.descriptors);
            let (_, schema) = schema.ok_or_else(|| in_policy(format!("there are no descriptors named {}", policy.descriptors)))?;
            compiled.insert(id.clone(), Rc::new(policy.compile(Rc::clone(schema)).map_err(in_policy)?));
        }
        Ok(compiled)
    }

    /// The types that the policies of one descriptor set reach.
    fn schema(&self, name: &str, text: &str) -> Result<Schema, ConfigError> {
        let in_set = |reason: String| ConfigError::new(format!("descriptors {name}: {reason}"));
        let mut set = Vec::new();
        if text.len() / 4 * 3 > limits::DESCRIPTOR_SET_BYTES_MAX + 3 || decode_base64(text.as_bytes(), &mut set).is_none() {
            return Err(in_set("not base64, or longer than the limit".to_owned()));
        }
        let users = || self.policies.values().filter(|policy| policy.descriptors == *name);
        let mut services: Vec<&str> = users().flat_map(|policy| &policy.services).map(String::as_str).collect();
        sort(&mut services, |a, b| a < b);
        services.dedup();
        let any_types: Vec<&str> = users().flat_map(|policy| &policy.any_types).map(String::as_str).collect();
        descriptor::load(&set, &services, &any_types).map_err(|error| in_set(error.0))
    }
}

impl Policy {
    fn compile(&self, schema: Rc<Schema>) -> Result<Compiled, String> {
        let services: Vec<&str> = self.services.iter().map(String::as_str).collect();
        if services.is_empty() {
            return Err("it names no service".to_owned());
        }
        let (router, bindings) = binding::compile(&schema, &services, self.auto_mapping)?;
        if bindings.is_empty() {
            return Err("none of its methods has a google.api.http annotation; set auto_mapping or annotate them".to_owned());
        }
        Ok(Compiled {
            schema,
            router,
            bindings,
            query: QueryRules { ignore_unknown: self.ignore_unknown_query_parameters, ignored: self.ignored_query_parameters.clone() },
            ignore_unknown_fields: self.ignore_unknown_fields,
            printing: Printing {
                always_print_primitive_fields: self.always_print_primitive_fields,
                preserve_proto_field_names: self.preserve_proto_field_names,
                enums_as_ints: self.enums_as_ints,
            },
            request_bytes_max: bounded("request_bytes_max", self.request_bytes_max, limits::REQUEST_BYTES_DEFAULT)?,
            response_message_bytes_max: bounded(
                "response_message_bytes_max",
                self.response_message_bytes_max,
                limits::RESPONSE_MESSAGE_BYTES_DEFAULT,
            )?,
            timeout_max_ms: self.timeout_max_ms.map_or(limits::TIMEOUT_MAX_DEFAULT, u64::from).max(limits::TIMEOUT_MIN),
        })
    }
}

fn bounded(name: &str, given: Option<u32>, default: usize) -> Result<usize, String> {
    match given.map_or(default, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX)) {
        bytes if (1..=limits::MESSAGE_BYTES_CEILING).contains(&bytes) => Ok(bytes),
        bytes => Err(format!("{name} is {bytes}, it must be from 1 to {}", limits::MESSAGE_BYTES_CEILING)),
    }
}

/// The configuration from its JSON, by the reader that requests are read with: a second one would double the module.
fn read_config(bytes: &[u8]) -> refusal::Result<Config> {
    let mut json = Json::new(bytes)?;
    let mut config = Config::default();
    members(&mut json, &mut |json, key| match key {
        "descriptors" => members(json, &mut |json, name| {
            config.descriptors.insert(name.to_owned(), json.string()?.into_owned());
            Ok(())
        }),
        "policies" => members(json, &mut |json, id| {
            config.policies.insert(id.to_owned(), read_policy(json)?);
            Ok(())
        }),
        "closed" => {
            config.closed = strings(json)?.into_iter().collect();
            Ok(())
        }
        _ => Err(Refusal::new("unknown member")),
    })?;
    json.end()?;
    Ok(config)
}

fn read_policy(json: &mut Json<'_>) -> refusal::Result<Policy> {
    let mut policy = Policy::default();
    members(json, &mut |json, key| {
        match key {
            "descriptors" => policy.descriptors = json.string()?.into_owned(),
            "services" => policy.services = strings(json)?,
            "any_types" => policy.any_types = strings(json)?,
            "auto_mapping" => policy.auto_mapping = boolean(json)?,
            "ignore_unknown_fields" => policy.ignore_unknown_fields = boolean(json)?,
            "ignore_unknown_query_parameters" => policy.ignore_unknown_query_parameters = boolean(json)?,
            "ignored_query_parameters" => policy.ignored_query_parameters = strings(json)?,
            "always_print_primitive_fields" => policy.always_print_primitive_fields = boolean(json)?,
            "preserve_proto_field_names" => policy.preserve_proto_field_names = boolean(json)?,
            "enums_as_ints" => policy.enums_as_ints = boolean(json)?,
            "request_bytes_max" => policy.request_bytes_max = Some(number(json)?),
            "response_message_bytes_max" => policy.response_message_bytes_max = Some(number(json)?),
            "timeout_max_ms" => policy.timeout_max_ms = Some(number(json)?),
            _ => return Err(Refusal::new("unknown member")),
        }
        Ok(())
    })?;
    Ok(policy)
}

fn members(json: &mut Json<'_>, read: &mut dyn FnMut(&mut Json<'_>, &str) -> refusal::Result<()>) -> refusal::Result<()> {
    let mut keys = Keys::default();
    let mut more = json.open(b'{', b'}')?;
    while more {
        let key = json.key()?;
        read(json, &key).map_err(|refusal| refusal.in_field(&key))?;
        keys.push(key);
        more = json.more(b'}')?;
    }
    keys.all_different()
}

#[inline(never)]
fn strings(json: &mut Json<'_>) -> refusal::Result<Vec<String>> {
    let mut strings = Vec::new();
    let mut more = json.open(b'[', b']')?;
    while more {
        strings.push(json.string()?.into_owned());
        more = json.more(b']')?;
    }
    Ok(strings)
}

#[inline(never)]
fn boolean(json: &mut Json<'_>) -> refusal::Result<bool> {
    match () {
        () if json.word("true") => Ok(true),
        () if json.word("false") => Ok(false),
        () => Err(json.unexpected("true or false")),
    }
}

#[inline(never)]
fn number(json: &mut Json<'_>) -> refusal::Result<u32> {
    let text = json.number()?;
    text.parse().map_err(|_| Refusal::new(format!("expected a whole number, got {}", shown(text))))
}
