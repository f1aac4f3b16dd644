//! The real host: each call of the kit's port becomes one import of the ABI. It also knows how the ABI writes a header map.

use windrose_filter_kit::{Body, HeaderMap, Headers, Host, HostError, LocalReply, LogLevel, MetricId, SharedValue};

use crate::abi;

/// Buffer number of the plugin configuration.
const PLUGIN_CONFIGURATION: u32 = 7;

/// Envoy, of whatever stream the current callback is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envoy;

impl Envoy {
    /// The plugin configuration, `len` bytes as the host announced it.
    pub(crate) fn plugin_configuration(self, len: usize) -> Result<Vec<u8>, HostError> {
        if len == 0 { Ok(Vec::new()) } else { abi::buffer(PLUGIN_CONFIGURATION, 0, len) }
    }

    /// Ends the current stream with this reply.
    pub(crate) fn reply(self, reply: &LocalReply) -> Result<(), HostError> {
        let headers = serialize(reply.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())));
        let grpc_status = reply.grpc_status.and_then(|status| i32::try_from(status).ok()).unwrap_or(-1);
        abi::send_local_response(reply.status, reply.details, &reply.body, &headers, grpc_status)
    }
}

impl Host for Envoy {
    fn headers(&self, map: HeaderMap) -> Headers {
        abi::header_pairs(map_number(map)).map(parse).unwrap_or_default()
    }

    fn set_header(&self, map: HeaderMap, name: &str, value: &[u8]) -> Result<(), HostError> {
        abi::replace_header(changeable(map)?, name, value)
    }

    fn remove_header(&self, map: HeaderMap, name: &str) -> Result<(), HostError> {
        abi::remove_header(changeable(map)?, name)
    }

    fn body(&self, body: Body, start: usize, max: usize) -> Vec<u8> {
        abi::buffer(body_number(body), start, max).unwrap_or_default()
    }

    fn replace_body(&self, body: Body, start: usize, len: usize, bytes: &[u8]) -> Result<(), HostError> {
        abi::set_buffer(body_number(body), start, len, bytes)
    }

    fn property(&self, path: &[&str]) -> Result<Option<Vec<u8>>, HostError> {
        match abi::property(path.join("\0").as_bytes()) {
            Ok(value) => Ok(Some(value)),
            Err(HostError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn set_property(&self, name: &str, value: &[u8]) -> Result<(), HostError> {
        abi::set_property(name.as_bytes(), value)
    }

    fn shared_data(&self, key: &str) -> Option<SharedValue> {
        abi::shared_data(key).ok().map(|(bytes, cas)| SharedValue { bytes, cas })
    }

    fn set_shared_data(&self, key: &str, value: &[u8], cas: Option<u32>) -> Result<(), HostError> {
        abi::set_shared_data(key, value, cas.unwrap_or(0))
    }

    fn now_ns(&self) -> u64 {
        abi::now_ns()
    }

    fn monotonic_ns(&self) -> u64 {
        abi::monotonic_ns()
    }

    fn log(&self, level: LogLevel, line: &str) {
        let level = match level {
            LogLevel::Debug => 1,
            LogLevel::Info => 2,
            LogLevel::Warn => 3,
            LogLevel::Error => 4,
        };
        abi::log(level, line);
    }

    fn define_counter(&self, name: &str) -> Result<MetricId, HostError> {
        abi::define_counter(name).map(MetricId)
    }

    fn increment(&self, counter: MetricId, by: u32) {
        abi::increment(counter.0, by);
    }

    fn call_foreign(&self, name: &str, arguments: &[u8]) -> Result<Vec<u8>, HostError> {
        abi::call_foreign(name, arguments)
    }

    fn resume(&self, body: Body) -> Result<(), HostError> {
        abi::continue_stream(body_number(body))
    }

    fn reset(&self) -> Result<(), HostError> {
        abi::close_stream(body_number(Body::Response))
    }
}

/// The number of a map whose change moves no route.
fn changeable(map: HeaderMap) -> Result<u32, HostError> {
    if map == HeaderMap::Request { Err(HostError::BadArgument) } else { Ok(map_number(map)) }
}

fn map_number(map: HeaderMap) -> u32 {
    match map {
        HeaderMap::Request => 0,
        HeaderMap::RequestTrailers => 1,
        HeaderMap::Response => 2,
        HeaderMap::ResponseTrailers => 3,
    }
}

fn body_number(body: Body) -> u32 {
    match body {
        Body::Request => 0,
        Body::Response => 1,
    }
}

/// A header map as the ABI writes it: the number of pairs, the two lengths of each, then name NUL value NUL of each;
/// numbers are 32 bit little endian. Anything that does not fit ends the list.
fn parse(buffer: Vec<u8>) -> Headers {
    let count = number_at(&buffer, 0).unwrap_or(0).min(buffer.len() / 8);
    let mut pairs = Vec::with_capacity(count);
    let mut position = count.saturating_mul(8).saturating_add(4);
    for index in 0..count {
        let lengths = index.saturating_mul(8).saturating_add(4);
        let (Some(name), Some(value)) = (number_at(&buffer, lengths), number_at(&buffer, lengths.saturating_add(4))) else { break };
        let name_end = position.saturating_add(name);
        let value_start = name_end.saturating_add(1);
        let value_end = value_start.saturating_add(value);
        pairs.push((position..name_end, value_start..value_end));
        position = value_end.saturating_add(1);
    }
    Headers::from_parts(buffer, pairs)
}

fn number_at(buffer: &[u8], position: usize) -> Option<usize> {
    let bytes = buffer.get(position..)?.first_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*bytes)).ok()
}

fn serialize<'a>(pairs: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone) -> Vec<u8> {
    let mut buffer = Vec::new();
    let push_number = |buffer: &mut Vec<u8>, number: usize| {
        buffer.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
    };
    push_number(&mut buffer, pairs.clone().count());
    for (name, value) in pairs.clone() {
        push_number(&mut buffer, name.len());
        push_number(&mut buffer, value.len());
    }
    for (name, value) in pairs {
        buffer.extend_from_slice(name);
        buffer.push(0);
        buffer.extend_from_slice(value);
        buffer.push(0);
    }
    buffer
}
