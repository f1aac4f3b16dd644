//! The named things of a descriptor set, found but not read; and the reading of single fields of a descriptor.

use std::collections::BTreeMap;

use super::{DescriptorError, Result, fail};
use crate::limits;
use crate::wire::{Reader, Value};

/// What a file says that its types inherit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    pub(super) file: &'a str,
    pub(super) presence: Presence,
    pub(super) delimited: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Implicit,
    Explicit,
}

/// One named thing of the set, unread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) is: Is,
    pub(super) scope: Scope<'a>,
    pub(super) bytes: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Is {
    Message,
    Enum,
    Service,
}

/// Every named thing of the set by its full name: protobuf has one space of names for all of them.
#[derive(Debug, Default)]
pub(super) struct Index<'a>(pub(super) BTreeMap<String, Entry<'a>>);

impl<'a> Index<'a> {
    pub(super) fn read(set: &'a [u8]) -> Result<Self> {
        let mut index = Self::default();
        let mut files = Reader::new(set);
        while let Some((number, value)) = files.next_field()? {
            if let (1, Value::Bytes(file)) = (number, value) {
                index.file(file)?;
            }
        }
        Ok(index)
    }

    fn file(&mut self, file: &'a [u8]) -> Result<()> {
        let name = text(file, 1)?;
        let package = text(file, 2)?;
        let scope = file_scope(name, file)?;
        let mut fields = Reader::new(file);
        while let Some((number, value)) = fields.next_field()? {
            match (number, value) {
                (4, Value::Bytes(message)) => self.message(package, scope, message, 0)?,
                (5, Value::Bytes(bytes)) => self.insert(package, Entry { is: Is::Enum, scope, bytes })?,
                (6, Value::Bytes(bytes)) => self.insert(package, Entry { is: Is::Service, scope, bytes })?,
                _ => {}
            }
        }
        Ok(())
    }

    fn message(&mut self, parent: &str, scope: Scope<'a>, message: &'a [u8], depth: u32) -> Result<()> {
        let name = joined(parent, text(message, 1)?);
        if depth >= limits::TYPE_NESTING_MAX {
            return fail(format!("{}: type {name} is nested deeper than {}", scope.file, limits::TYPE_NESTING_MAX));
        }
        let scope = features(scope, bytes(message, 7)?, 12)?;
        let mut fields = Reader::new(message);
        while let Some((number, value)) = fields.next_field()? {
            match (number, value) {
                (3, Value::Bytes(nested)) => self.message(&name, scope, nested, depth + 1)?,
                (4, Value::Bytes(bytes)) => self.insert(&name, Entry { is: Is::Enum, scope, bytes })?,
                _ => {}
            }
        }
        self.insert(parent, Entry { is: Is::Message, scope, bytes: message })
    }

    fn insert(&mut self, parent: &str, entry: Entry<'a>) -> Result<()> {
        let (name, file) = (joined(parent, text(entry.bytes, 1)?), entry.scope.file);
        if self.0.len() >= limits::TYPES_MAX {
            return fail(format!("{file}: the descriptor set has more than {} types", limits::TYPES_MAX));
        }
        if self.0.contains_key(&name) {
            return fail(format!("{file}: {name} is in the descriptor set twice"));
        }
        self.0.insert(name, entry);
        Ok(())
    }

    pub(super) fn get(&self, name: &str, is: Is) -> Option<Entry<'a>> {
        self.0.get(name).copied().filter(|entry| entry.is == is)
    }
}

fn file_scope<'a>(name: &'a str, file: &'a [u8]) -> Result<Scope<'a>> {
    let presence = match text(file, 12)? {
        "proto3" => Presence::Implicit,
        _ => Presence::Explicit,
    };
    features(Scope { file: name, presence, delimited: false }, bytes(file, 8)?, 50)
}

/// Applies the `features` (editions) at field `at` of some options.
pub(super) fn features<'a>(mut scope: Scope<'a>, options: &'a [u8], at: u32) -> Result<Scope<'a>> {
    let set = bytes(options, at)?;
    match integer(set, 1)? {
        Some(2) => scope.presence = Presence::Implicit,
        Some(1 | 3) => scope.presence = Presence::Explicit,
        _ => {}
    }
    match integer(set, 5)? {
        Some(2) => scope.delimited = true,
        Some(1) => scope.delimited = false,
        _ => {}
    }
    Ok(scope)
}

#[inline(never)]
pub(super) fn joined(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") }
}

/// The last length-delimited field of a number. Not inlined: it is called everywhere here, and nowhere in a hurry.
#[inline(never)]
pub(super) fn optional_bytes(message: &[u8], number: u32) -> Result<Option<&[u8]>> {
    let mut found = None;
    let mut reader = Reader::new(message);
    while let Some((at, value)) = reader.next_field()? {
        if let (true, Value::Bytes(bytes)) = (at == number, value) {
            found = Some(bytes);
        }
    }
    Ok(found)
}

#[inline(never)]
pub(super) fn bytes(message: &[u8], number: u32) -> Result<&[u8]> {
    Ok(optional_bytes(message, number)?.unwrap_or_default())
}

#[inline(never)]
pub(super) fn text(message: &[u8], number: u32) -> Result<&str> {
    std::str::from_utf8(bytes(message, number)?)
        .map_err(|_| DescriptorError("the descriptor set holds a name that is not UTF-8".to_owned()))
}

#[inline(never)]
pub(super) fn integer(message: &[u8], number: u32) -> Result<Option<u64>> {
    let mut found = None;
    let mut reader = Reader::new(message);
    while let Some((at, value)) = reader.next_field()? {
        if let (true, Value::Varint(varint)) = (at == number, value) {
            found = Some(varint);
        }
    }
    Ok(found)
}

/// An `int32` of the wire: negative ones come as ten bytes.
pub(super) fn as_int32(varint: u64) -> i32 {
    let [a, b, c, d, ..] = varint.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}
