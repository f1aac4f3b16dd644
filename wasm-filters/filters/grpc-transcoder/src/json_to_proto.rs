//! One pass from JSON text to protobuf bytes, driven by the schema, without a tree between.
//! Follows the proto3 JSON mapping and refuses what it leaves open: unknown and repeated names, colliding keys, nesting.

use std::borrow::Cow;

use crate::json::{Json, Keys};
use crate::limits;
use crate::refusal::{Refusal, Result, shown};
use crate::scalar;
use crate::schema::{Cardinality, Field, Form, Kind, Message, MessageId, Schema};
use crate::seen::Seen;
use crate::well_known::{Instant, parse_duration, parse_mask_path, parse_timestamp};
use crate::wire::{close, open, put_bytes, put_varint, tag_of_bytes};

/// Field indices from the request message down to a field that the path or the query has set already.
pub type BoundPath = Box<[u16]>;

/// Writes one message; keeps what later parts of the same request need.
#[derive(Debug)]
pub struct Encoder<'s> {
    schema: &'s Schema,
    /// Skip members that the message does not have.
    ignore_unknown: bool,
    bound: &'s [BoundPath],
    /// The message so far.
    pub out: Vec<u8>,
}

/// Which bound paths lead through the message at hand (one bit each), and how far they have been followed.
#[derive(Clone, Copy, Debug)]
pub struct Followed {
    mask: u32,
    length: usize,
}

impl Followed {
    const NONE: Self = Self { mask: 0, length: 0 };
}

impl<'s> Encoder<'s> {
    /// Starts after what `out` holds already. At most [`limits::VARIABLES_MAX`] bound paths are looked at.
    #[must_use]
    pub fn new(schema: &'s Schema, ignore_unknown: bool, bound: &'s [BoundPath], out: Vec<u8>) -> Self {
        Self { schema, ignore_unknown, bound, out }
    }

    /// All bound paths, at the request message.
    #[must_use]
    pub fn from_root(&self) -> Followed {
        let mask = self.bound.iter().take(limits::VARIABLES_MAX).enumerate().fold(0u32, |mask, (bit, _)| mask | 1 << bit);
        Followed { mask, length: 0 }
    }

    /// Reads a whole body as this message.
    ///
    /// # Errors
    /// Not JSON, or not this message.
    pub fn body(&mut self, json: &mut Json<'_>, id: MessageId) -> Result<()> {
        let followed = self.from_root();
        self.message(json, id, 0, followed)?;
        json.end()
    }

    /// Reads one of several values of a body as this message.
    ///
    /// # Errors
    /// Not JSON, or not this message.
    pub fn element_of_body(&mut self, json: &mut Json<'_>, id: MessageId) -> Result<()> {
        self.message(json, id, 0, Followed::NONE)
    }

    /// Reads a whole body as one field of the request message.
    ///
    /// # Errors
    /// Not JSON, or not this field.
    pub fn body_field(&mut self, json: &mut Json<'_>, field: &Field, index: usize) -> Result<()> {
        let followed = self.follow(self.from_root(), index).map_err(|refusal| refusal.in_field(&field.json_name))?;
        self.field(json, field, 0, followed)?;
        json.end()
    }

    /// The bound paths that go on through field `index`.
    ///
    /// # Errors
    /// One of them ends there: the field has a value already.
    fn follow(&self, followed: Followed, index: usize) -> Result<Followed> {
        if followed.mask == 0 {
            return Ok(Followed::NONE);
        }
        let mut mask = 0;
        for (bit, path) in self.bound.iter().take(limits::VARIABLES_MAX).enumerate() {
            if followed.mask & 1 << bit == 0 || path.get(followed.length).map(|at| usize::from(*at)) != Some(index) {
                continue;
            }
            if path.len() == followed.length + 1 {
                return Err(Refusal::new("the path of the request gives this field a value already"));
            }
            mask |= 1 << bit;
        }
        Ok(Followed { mask, length: followed.length + 1 })
    }

    /// One value as this message, without tag and length.
    fn message(&mut self, json: &mut Json<'_>, id: MessageId, depth: u32, followed: Followed) -> Result<()> {
        if depth > limits::NESTING_MAX {
            return Err(Refusal::too_deep());
        }
        let schema = self.schema;
        let message = schema.message(id);
        match message.form {
            Form::Object | Form::HttpBody => self.object(json, message, depth, followed),
            Form::Any => self.any(json, depth),
            Form::Timestamp => self.instant(json, "a time like \"2026-01-31T10:00:00Z\"", parse_timestamp),
            Form::Duration => self.instant(json, "a duration like \"1.5s\"", parse_duration),
            Form::FieldMask => self.field_mask(json),
            Form::Struct => self.structure(json, depth),
            Form::Value => self.value(json, depth),
            Form::ListValue => self.list(json, depth),
            Form::Wrapper => match message.fields.first() {
                Some(field) => self.singular(json, field.kind, field.tag(), depth, Followed::NONE),
                None => Err(Refusal::new("a wrapper without a value")),
            },
        }
    }

    fn object(&mut self, json: &mut Json<'_>, message: &Message, depth: u32, followed: Followed) -> Result<()> {
        if json.peek() != Some(b'{') {
            return Err(json.unexpected("an object"));
        }
        let more = json.open(b'{', b'}')?;
        self.members(json, message, depth, followed, more)
    }

    /// The members of an object whose brace is read.
    fn members(&mut self, json: &mut Json<'_>, message: &Message, depth: u32, followed: Followed, mut more: bool) -> Result<()> {
        let mut seen = Seen::new(message.fields.len());
        let mut oneofs = self.bound_oneofs(message, followed);
        let mut ignored = Keys::default();
        let mut hint = 0;
        while more {
            let key = json.key()?;
            if let Some((index, field)) = message.by_key(&key, hint) {
                hint = index + 1;
                if !seen.insert(index) {
                    return Err(Refusal::new("given twice").in_field(&field.json_name));
                }
                self.member(json, field, index, depth, followed, &mut oneofs)?;
            } else if self.ignore_unknown {
                json.skip(depth + 1)?;
                ignored.push(key);
            } else {
                return Err(unknown(message, &key));
            }
            more = json.more(b'}')?;
        }
        ignored.all_different()
    }

    /// The oneofs of this message in which the path has chosen a member already.
    fn bound_oneofs(&self, message: &Message, followed: Followed) -> Vec<u16> {
        if followed.mask == 0 {
            return Vec::new();
        }
        let through = |(bit, path): (usize, &BoundPath)| {
            let index = path.get(followed.length).filter(|_| followed.mask & 1 << bit != 0)?;
            message.fields.get(usize::from(*index))?.oneof
        };
        self.bound.iter().take(limits::VARIABLES_MAX).enumerate().filter_map(through).collect()
    }

    fn member(
        &mut self,
        json: &mut Json<'_>,
        field: &Field,
        index: usize,
        depth: u32,
        followed: Followed,
        oneofs: &mut Vec<u16>,
    ) -> Result<()> {
        let named = |refusal: Box<Refusal>| refusal.in_field(&field.json_name);
        let inner = self.follow(followed, index).map_err(named)?;
        let before = self.out.len();
        self.field(json, field, depth, inner)?;
        if let Some(oneof) = field.oneof
            && self.out.len() > before
            && inner.mask == 0
        {
            if oneofs.contains(&oneof) {
                return Err(named(Refusal::new("another field of the same oneof is given too")));
            }
            oneofs.push(oneof);
        }
        Ok(())
    }

    /// One member's value, with tags; errors carry the field's name.
    fn field(&mut self, json: &mut Json<'_>, field: &Field, depth: u32, followed: Followed) -> Result<()> {
        let named = |refusal: Box<Refusal>| refusal.in_field(&field.json_name);
        if json.peek() == Some(b'n') && !self.takes_null(field) {
            return if json.word("null") { Ok(()) } else { Err(named(json.unexpected("a value"))) };
        }
        match field.cardinality {
            Cardinality::Implicit | Cardinality::Explicit => self.singular(json, field.kind, field.tag(), depth, followed),
            Cardinality::Repeated => self.repeated(json, field, depth),
            Cardinality::Map => self.map(json, field, depth),
        }
        .map_err(named)
    }

    /// Whether `null` is a value of the field and not its absence.
    fn takes_null(&self, field: &Field) -> bool {
        match (field.cardinality, field.kind) {
            (Cardinality::Repeated | Cardinality::Map, _) => false,
            (_, kind) => self.null_is_a_value(kind),
        }
    }

    fn null_is_a_value(&self, kind: Kind) -> bool {
        match kind {
            Kind::Message(id) => self.schema.message(id).form == Form::Value,
            Kind::Enum(id) => self.schema.enumeration(id).is_null_value,
            _ => false,
        }
    }

    #[inline]
    fn singular(&mut self, json: &mut Json<'_>, kind: Kind, tag: u32, depth: u32, followed: Followed) -> Result<()> {
        if let Kind::Message(id) = kind {
            let start = open(&mut self.out, tag);
            self.message(json, id, depth + 1, followed)?;
            close(&mut self.out, start);
            return Ok(());
        }
        put_varint(&mut self.out, u64::from(tag));
        self.scalar(json, kind)
    }

    fn repeated(&mut self, json: &mut Json<'_>, field: &Field, depth: u32) -> Result<()> {
        if json.peek() != Some(b'[') {
            return Err(json.unexpected("an array"));
        }
        let mut more = json.open(b'[', b']')?;
        let packed = (more && field.kind.is_packable()).then(|| open(&mut self.out, tag_of_bytes(field.number)));
        let mut index = 0;
        while more {
            match packed {
                Some(_) => self.scalar(json, field.kind),
                None => self.element(json, field.kind, field.tag(), depth),
            }
            .map_err(|refusal| refusal.in_index(index))?;
            index += 1;
            more = json.more(b']')?;
        }
        if let Some(start) = packed {
            close(&mut self.out, start);
        }
        Ok(())
    }

    fn element(&mut self, json: &mut Json<'_>, kind: Kind, tag: u32, depth: u32) -> Result<()> {
        if json.peek() == Some(b'n') && !self.null_is_a_value(kind) {
            return Err(json.unexpected(kind.name()));
        }
        self.singular(json, kind, tag, depth, Followed::NONE)
    }

    fn map(&mut self, json: &mut Json<'_>, field: &Field, depth: u32) -> Result<()> {
        let schema = self.schema;
        let Kind::Message(entry) = field.kind else { return Err(Refusal::new("a map without entries")) };
        let entry = schema.message(entry);
        let (Some((_, key_field)), Some((_, value_field))) = (entry.by_number(1, 0), entry.by_number(2, 1)) else {
            return Err(Refusal::new("a map without keys and values"));
        };
        if json.peek() != Some(b'{') {
            return Err(json.unexpected("an object"));
        }
        let mut keys = Keys::default();
        let mut more = json.open(b'{', b'}')?;
        while more {
            let key = json.key()?;
            let start = open(&mut self.out, field.tag());
            put_varint(&mut self.out, u64::from(key_field.tag()));
            self.map_key(key_field.kind, &key).map_err(|refusal| refusal.in_key(&key))?;
            self.element(json, value_field.kind, value_field.tag(), depth).map_err(|refusal| refusal.in_key(&key))?;
            close(&mut self.out, start);
            keys.push(key);
            more = json.more(b'}')?;
        }
        keys.all_different()
    }

    /// Keys have one spelling each, so that equal keys are equal texts.
    fn map_key(&mut self, kind: Kind, key: &str) -> Result<()> {
        match kind {
            Kind::String => {
                put_text(&mut self.out, key);
                Ok(())
            }
            Kind::Bool => scalar::put_bool(&mut self.out, key),
            _ if key.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'-')) && key != "-0" => scalar::put_number(&mut self.out, kind, key),
            _ => Err(Refusal::new(format!("the key \"{}\" is no {}", shown(key), kind.name()))),
        }
    }

    #[inline]
    fn scalar(&mut self, json: &mut Json<'_>, kind: Kind) -> Result<()> {
        match (kind, json.peek()) {
            (Kind::String, Some(b'"')) => {
                put_text(&mut self.out, &json.string()?);
                Ok(())
            }
            (Kind::Bytes, Some(b'"')) => scalar::put_base64(&mut self.out, &json.string()?),
            (Kind::Bool, _) if json.word("true") => scalar::put_bool(&mut self.out, "true"),
            (Kind::Bool, _) if json.word("false") => scalar::put_bool(&mut self.out, "false"),
            (Kind::String | Kind::Bytes | Kind::Bool | Kind::Message(_), _) => Err(json.unexpected(kind.name())),
            (Kind::Enum(id), Some(b'"')) => scalar::put_enum_name(&mut self.out, self.schema.enumeration(id), &json.string()?),
            (Kind::Enum(_), Some(b'-' | b'0'..=b'9')) => scalar::put_enum_number(&mut self.out, json.number()?),
            (Kind::Enum(id), _) if self.schema.enumeration(id).is_null_value && json.word("null") => {
                self.out.push(0);
                Ok(())
            }
            (Kind::Enum(_), _) => Err(json.unexpected(kind.name())),
            (_, Some(b'"')) => scalar::put_number(&mut self.out, kind, &json.string()?),
            (_, Some(b'-' | b'0'..=b'9')) => scalar::put_number(&mut self.out, kind, json.number()?),
            _ => Err(json.unexpected(kind.name())),
        }
    }

    fn instant(&mut self, json: &mut Json<'_>, expected: &str, parse: fn(&str) -> Option<Instant>) -> Result<()> {
        let text = well_known_text(json, expected)?;
        put_instant(&mut self.out, &text, expected, parse)
    }

    fn field_mask(&mut self, json: &mut Json<'_>) -> Result<()> {
        let text = well_known_text(json, "a field mask like \"name,unitPrice\"")?;
        put_field_mask(&mut self.out, &text)
    }

    fn structure(&mut self, json: &mut Json<'_>, depth: u32) -> Result<()> {
        if json.peek() != Some(b'{') {
            return Err(json.unexpected("an object"));
        }
        let mut keys = Keys::default();
        let mut more = json.open(b'{', b'}')?;
        while more {
            let key = json.key()?;
            let entry = open(&mut self.out, tag_of_bytes(1));
            put_bytes(&mut self.out, tag_of_bytes(1), key.as_bytes());
            let value = open(&mut self.out, tag_of_bytes(2));
            self.value(json, depth + 1).map_err(|refusal| refusal.in_field(&key))?;
            close(&mut self.out, value);
            close(&mut self.out, entry);
            keys.push(key);
            more = json.more(b'}')?;
        }
        keys.all_different()
    }

    fn list(&mut self, json: &mut Json<'_>, depth: u32) -> Result<()> {
        if json.peek() != Some(b'[') {
            return Err(json.unexpected("an array"));
        }
        let mut index = 0;
        let mut more = json.open(b'[', b']')?;
        while more {
            let start = open(&mut self.out, tag_of_bytes(1));
            self.value(json, depth + 1).map_err(|refusal| refusal.in_index(index))?;
            close(&mut self.out, start);
            index += 1;
            more = json.more(b']')?;
        }
        Ok(())
    }

    /// `google.protobuf.Value`: whatever comes.
    fn value(&mut self, json: &mut Json<'_>, depth: u32) -> Result<()> {
        if depth > limits::NESTING_MAX {
            return Err(Refusal::too_deep());
        }
        match json.peek() {
            Some(b'{') => {
                let start = open(&mut self.out, tag_of_bytes(5));
                self.structure(json, depth)?;
                close(&mut self.out, start);
            }
            Some(b'[') => {
                let start = open(&mut self.out, tag_of_bytes(6));
                self.list(json, depth)?;
                close(&mut self.out, start);
            }
            Some(b'"') => {
                let text = json.string()?;
                put_bytes(&mut self.out, tag_of_bytes(3), text.as_bytes());
            }
            Some(b'-' | b'0'..=b'9') => {
                self.out.push(2 << 3 | 1);
                scalar::put_number(&mut self.out, Kind::Double, json.number()?)?;
            }
            _ if json.word("true") => self.out.extend([4 << 3, 1]),
            _ if json.word("false") => self.out.extend([4 << 3, 0]),
            _ if json.word("null") => self.out.extend([1 << 3, 0]),
            _ => return Err(json.unexpected("a value")),
        }
        Ok(())
    }

    /// `google.protobuf.Any` of a type that the schema has. `@type` comes first, as every writer puts it: so one pass is enough.
    fn any(&mut self, json: &mut Json<'_>, depth: u32) -> Result<()> {
        if json.peek() != Some(b'{') {
            return Err(json.unexpected("an object"));
        }
        if !json.open(b'{', b'}')? {
            return Ok(());
        }
        if json.key()? != "@type" {
            return Err(Refusal::new("the first member must be \"@type\""));
        }
        let url = well_known_text(json, "a type URL").map_err(|refusal| refusal.in_field("@type"))?;
        let schema = self.schema;
        let known = url.rsplit_once('/').and_then(|(_, name)| schema.message_named(name));
        let id = known.ok_or_else(|| Refusal::new(format!("the type \"{}\" is unknown here", shown(&url))).in_field("@type"))?;
        put_bytes(&mut self.out, tag_of_bytes(1), url.as_bytes());
        let more = json.more(b'}')?;
        let start = open(&mut self.out, tag_of_bytes(2));
        let message = schema.message(id);
        match message.form {
            Form::Object | Form::HttpBody => self.members(json, message, depth, Followed::NONE, more)?,
            _ => self.any_value(json, id, depth, more)?,
        }
        close(&mut self.out, start);
        Ok(())
    }

    /// A type with a JSON form of its own stands in the member `value`.
    fn any_value(&mut self, json: &mut Json<'_>, id: MessageId, depth: u32, more: bool) -> Result<()> {
        if !more || json.key()? != "value" {
            return Err(Refusal::new("the second member must be \"value\""));
        }
        self.message(json, id, depth + 1, Followed::NONE).map_err(|refusal| refusal.in_field("value"))?;
        if json.more(b'}')? { Err(Refusal::new("nothing may follow \"value\"")) } else { Ok(()) }
    }
}

/// Appends a Timestamp or Duration (without tag and length).
///
/// # Errors
/// The text is none, or out of range.
pub fn put_instant(out: &mut Vec<u8>, text: &str, expected: &str, parse: fn(&str) -> Option<Instant>) -> Result<()> {
    let Some(Instant { seconds, nanos }) = parse(text) else {
        return Err(Refusal::new(format!("expected {expected}, got \"{}\"", shown(text))));
    };
    if seconds != 0 {
        out.push(1 << 3);
        put_varint(out, seconds.cast_unsigned());
    }
    if nanos != 0 {
        out.push(2 << 3);
        put_varint(out, i64::from(nanos).cast_unsigned());
    }
    Ok(())
}

/// Appends a FieldMask (without tag and length).
///
/// # Errors
/// A path has an underscore or is empty.
pub fn put_field_mask(out: &mut Vec<u8>, text: &str) -> Result<()> {
    for path in text.split(',').filter(|_| !text.is_empty()) {
        let Some(path) = parse_mask_path(path).filter(|path| !path.is_empty()) else {
            return Err(Refusal::new(format!("expected a field mask like \"name,unitPrice\", got \"{}\"", shown(text))));
        };
        put_bytes(out, tag_of_bytes(1), path.as_bytes());
    }
    Ok(())
}

fn well_known_text<'a>(json: &mut Json<'a>, expected: &str) -> Result<Cow<'a, str>> {
    if json.peek() == Some(b'"') { json.string() } else { Err(json.unexpected(expected)) }
}

#[inline]
fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

#[cold]
fn unknown(message: &Message, key: &str) -> Box<Refusal> {
    let hint = message.nearest_key(key).map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
    Refusal::new(format!("{} has no such field{hint}", message.name)).in_field(key)
}
