//! The imports of proxy-wasm ABI 0.2.1 as safe functions over bytes: pointers in, owned values out. Every `unsafe` of the
//! filters is in this file (and in the names that `export!` gives its functions).
#![expect(unsafe_code, reason = "the ABI passes pointers into linear memory")]

use std::alloc::{Layout, alloc};
use std::ptr::null_mut;

use windrose_filter_kit::HostError;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, line: *const u8, line_len: usize) -> u32;
    fn proxy_get_current_time_nanoseconds(now: *mut u64) -> u32;
    fn proxy_get_buffer_bytes(buffer: u32, start: usize, max: usize, bytes: *mut *mut u8, len: *mut usize) -> u32;
    fn proxy_set_buffer_bytes(buffer: u32, start: usize, size: usize, bytes: *const u8, len: usize) -> u32;
    fn proxy_get_header_map_pairs(map: u32, bytes: *mut *mut u8, len: *mut usize) -> u32;
    fn proxy_replace_header_map_value(map: u32, name: *const u8, name_len: usize, value: *const u8, value_len: usize) -> u32;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_len: usize) -> u32;
    fn proxy_get_property(path: *const u8, path_len: usize, bytes: *mut *mut u8, len: *mut usize) -> u32;
    fn proxy_set_property(path: *const u8, path_len: usize, value: *const u8, value_len: usize) -> u32;
    fn proxy_get_shared_data(key: *const u8, key_len: usize, bytes: *mut *mut u8, len: *mut usize, cas: *mut u32) -> u32;
    fn proxy_set_shared_data(key: *const u8, key_len: usize, value: *const u8, value_len: usize, cas: u32) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_len: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, by: i64) -> u32;
    fn proxy_call_foreign_function(
        name: *const u8,
        name_len: usize,
        arguments: *const u8,
        arguments_len: usize,
        bytes: *mut *mut u8,
        len: *mut usize,
    ) -> u32;
    fn proxy_continue_stream(stream: u32) -> u32;
    fn proxy_close_stream(stream: u32) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_len: usize,
        body: *const u8,
        body_len: usize,
        headers: *const u8,
        headers_len: usize,
        grpc_status: i32,
    ) -> u32;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(clock: u32, precision: u64, now: *mut u64) -> u16;
}

unsafe extern "C" {
    fn __wasm_call_ctors();
}

/// WASI's number of the clock that never steps.
const CLOCK_MONOTONIC: u32 = 1;
/// The ABI's number of the metric kind "counter".
const METRIC_COUNTER: u32 = 0;

/// Runs the constructors of the module's statics; the body of the export `_initialize`.
pub fn construct() {
    // SAFETY: called once, by the host, before any other export.
    unsafe { __wasm_call_ctors() }
}

/// Memory for bytes that the host is about to hand over; the body of the export `proxy_on_memory_allocate`. The next
/// import that returns these bytes takes them back into a `Vec`. Null when there is no memory, which the host refuses.
pub fn allocate(len: usize) -> *mut u8 {
    match Layout::array::<u8>(len) {
        // SAFETY: the layout is not of size zero.
        Ok(layout) if len > 0 => unsafe { alloc(layout) },
        Ok(_) | Err(_) => null_mut(),
    }
}

/// Runs an import that returns bytes.
fn bytes_of(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Vec<u8>, HostError> {
    let (mut bytes, mut len) = (null_mut::<u8>(), 0_usize);
    check(call(&raw mut bytes, &raw mut len))?;
    if bytes.is_null() || len == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the host wrote `len` bytes to memory that it got from `allocate(len)`, whose layout is that of a `Vec<u8>` with
    // this capacity, and gave up its pointer.
    Ok(unsafe { Vec::from_raw_parts(bytes, len, len) })
}

fn check(status: u32) -> Result<(), HostError> {
    match status {
        0 => Ok(()),
        1 => Err(HostError::NotFound),
        2 => Err(HostError::BadArgument),
        8 => Err(HostError::CasMismatch),
        other => Err(HostError::Other(other)),
    }
}

pub(crate) fn log(level: u32, line: &str) {
    // SAFETY: pointer and length of one slice. The status says only that the level is off.
    let _ = unsafe { proxy_log(level, line.as_ptr(), line.len()) };
}

pub(crate) fn now_ns() -> u64 {
    let mut now = 0;
    // SAFETY: the host writes one u64 to a live variable; on failure it stays 0.
    let _ = unsafe { proxy_get_current_time_nanoseconds(&raw mut now) };
    now
}

pub(crate) fn monotonic_ns() -> u64 {
    let mut now = 0;
    // SAFETY: as above.
    let _ = unsafe { clock_time_get(CLOCK_MONOTONIC, 1, &raw mut now) };
    now
}

pub(crate) fn buffer(buffer: u32, start: usize, max: usize) -> Result<Vec<u8>, HostError> {
    // SAFETY: out pointers are live (so in every call of `bytes_of`).
    bytes_of(|bytes, len| unsafe { proxy_get_buffer_bytes(buffer, start, max, bytes, len) })
}

pub(crate) fn set_buffer(buffer: u32, start: usize, size: usize, bytes: &[u8]) -> Result<(), HostError> {
    // SAFETY: pointer and length of one slice.
    check(unsafe { proxy_set_buffer_bytes(buffer, start, size, bytes.as_ptr(), bytes.len()) })
}

pub(crate) fn header_pairs(map: u32) -> Result<Vec<u8>, HostError> {
    // SAFETY: out pointers are live.
    bytes_of(|bytes, len| unsafe { proxy_get_header_map_pairs(map, bytes, len) })
}

pub(crate) fn replace_header(map: u32, name: &str, value: &[u8]) -> Result<(), HostError> {
    // SAFETY: pointers and lengths of two slices.
    check(unsafe { proxy_replace_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

pub(crate) fn remove_header(map: u32, name: &str) -> Result<(), HostError> {
    // SAFETY: pointer and length of one slice.
    check(unsafe { proxy_remove_header_map_value(map, name.as_ptr(), name.len()) })
}

pub(crate) fn property(path: &[u8]) -> Result<Vec<u8>, HostError> {
    // SAFETY: pointer and length of one slice, live out pointers.
    bytes_of(|bytes, len| unsafe { proxy_get_property(path.as_ptr(), path.len(), bytes, len) })
}

pub(crate) fn set_property(path: &[u8], value: &[u8]) -> Result<(), HostError> {
    // SAFETY: pointers and lengths of two slices.
    check(unsafe { proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len()) })
}

pub(crate) fn shared_data(key: &str) -> Result<(Vec<u8>, u32), HostError> {
    let mut cas = 0;
    // SAFETY: pointer and length of one slice, live out pointers.
    let bytes = bytes_of(|bytes, len| unsafe { proxy_get_shared_data(key.as_ptr(), key.len(), bytes, len, &raw mut cas) })?;
    Ok((bytes, cas))
}

pub(crate) fn set_shared_data(key: &str, value: &[u8], cas: u32) -> Result<(), HostError> {
    // SAFETY: pointers and lengths of two slices.
    check(unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), cas) })
}

pub(crate) fn define_counter(name: &str) -> Result<u32, HostError> {
    let mut id = 0;
    // SAFETY: pointer and length of one slice, a live out pointer.
    check(unsafe { proxy_define_metric(METRIC_COUNTER, name.as_ptr(), name.len(), &raw mut id) })?;
    Ok(id)
}

pub(crate) fn increment(id: u32, by: u32) {
    // SAFETY: no pointers. An unknown id is ignored by contract.
    let _ = unsafe { proxy_increment_metric(id, i64::from(by)) };
}

pub(crate) fn call_foreign(name: &str, arguments: &[u8]) -> Result<Vec<u8>, HostError> {
    // SAFETY: pointers and lengths of two slices, live out pointers.
    bytes_of(|bytes, len| unsafe {
        proxy_call_foreign_function(name.as_ptr(), name.len(), arguments.as_ptr(), arguments.len(), bytes, len)
    })
}

/// A local reply. `headers` is a serialized header map; a negative `grpc_status` leaves the mapping to Envoy.
pub(crate) fn send_local_response(status: u16, details: &str, body: &[u8], headers: &[u8], grpc_status: i32) -> Result<(), HostError> {
    // SAFETY: pointers and lengths of three slices.
    check(unsafe {
        proxy_send_local_response(
            u32::from(status),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            grpc_status,
        )
    })
}

pub(crate) fn continue_stream(stream: u32) -> Result<(), HostError> {
    // SAFETY: no pointers.
    check(unsafe { proxy_continue_stream(stream) })
}

pub(crate) fn close_stream(stream: u32) -> Result<(), HostError> {
    // SAFETY: no pointers.
    check(unsafe { proxy_close_stream(stream) })
}
