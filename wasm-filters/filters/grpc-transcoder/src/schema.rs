//! The types of one descriptor set in the form requests are answered from: plain tables, addressed by number.
//! Knows nothing of HTTP and nothing of how the tables were read.

use std::collections::BTreeMap;

/// Index of a message in its [`Schema`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub(crate) u32);

/// Index of an enum in its [`Schema`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnumId(pub(crate) u32);

/// Either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TypeId {
    Message(MessageId),
    Enum(EnumId),
}

/// All types that the chosen methods reach.
#[derive(Debug, Default)]
pub struct Schema {
    pub(crate) messages: Vec<Message>,
    pub(crate) enums: Vec<Enum>,
    pub(crate) names: BTreeMap<Box<str>, TypeId>,
    /// The methods of the chosen services, in file order.
    pub methods: Vec<Method>,
}

impl Schema {
    /// The message of an id; every id the schema gave out has one.
    #[must_use]
    pub fn message(&self, id: MessageId) -> &Message {
        self.messages.get(id.0 as usize).unwrap_or(&NO_MESSAGE)
    }

    /// The enum of an id; every id the schema gave out has one.
    #[must_use]
    pub fn enumeration(&self, id: EnumId) -> &Enum {
        self.enums.get(id.0 as usize).unwrap_or(&NO_ENUM)
    }

    /// The message of a full name (`shop.v1.Order`).
    #[must_use]
    pub fn message_named(&self, full_name: &str) -> Option<MessageId> {
        match self.names.get(full_name) {
            Some(TypeId::Message(id)) => Some(*id),
            Some(TypeId::Enum(_)) | None => None,
        }
    }
}

/// What an id of another schema finds.
static NO_MESSAGE: Message = Message { name: String::new(), fields: Vec::new(), keys: Vec::new(), form: Form::Object };
static NO_ENUM: Enum = Enum { name: String::new(), by_name: Vec::new(), by_number: Vec::new(), is_null_value: false };

/// One message type.
#[derive(Debug)]
pub struct Message {
    /// `shop.v1.Order`
    pub name: String,
    /// Sorted by field number.
    pub fields: Vec<Field>,
    /// JSON names and original names, sorted, each with the index of its field.
    pub(crate) keys: Vec<(Box<str>, u16)>,
    /// The types that have a JSON form of their own.
    pub form: Form,
}

impl Message {
    /// The field of a JSON key (camelCase or original), looked for first at `hint`.
    #[inline]
    #[must_use]
    pub fn by_key(&self, key: &str, hint: usize) -> Option<(usize, &Field)> {
        if let Some(field) = self.fields.get(hint)
            && (*field.json_name == *key || *field.name == *key)
        {
            return Some((hint, field));
        }
        let at = self.keys.binary_search_by(|(name, _)| (**name).cmp(key)).ok()?;
        let index = usize::from(self.keys.get(at)?.1);
        Some((index, self.fields.get(index)?))
    }

    /// The field of a number, looked for first at `hint`.
    #[inline]
    #[must_use]
    pub fn by_number(&self, number: u32, hint: usize) -> Option<(usize, &Field)> {
        if let Some(field) = self.fields.get(hint)
            && field.number == number
        {
            return Some((hint, field));
        }
        let index = self.fields.binary_search_by(|field| field.number.cmp(&number)).ok()?;
        Some((index, self.fields.get(index)?))
    }

    /// The known key that is closest to a misspelt one, for error messages.
    #[must_use]
    pub fn nearest_key(&self, key: &str) -> Option<&str> {
        let same = |field: &&Field| field.json_name.eq_ignore_ascii_case(key) || field.name.eq_ignore_ascii_case(key);
        self.fields.iter().find(same).map(|field| &*field.json_name)
    }
}

/// How a message stands in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An object with a member for each field.
    Object,
    /// `google.protobuf.Any`
    Any,
    /// `google.protobuf.Timestamp`
    Timestamp,
    /// `google.protobuf.Duration`
    Duration,
    /// `google.protobuf.FieldMask`
    FieldMask,
    /// `google.protobuf.Struct`
    Struct,
    /// `google.protobuf.Value`
    Value,
    /// `google.protobuf.ListValue`
    ListValue,
    /// `google.protobuf.StringValue` and the others: the bare value.
    Wrapper,
    /// `google.api.HttpBody`: bytes of any content type, outside JSON.
    HttpBody,
}

/// One field.
#[derive(Debug)]
pub struct Field {
    /// `unit_price`
    pub name: Box<str>,
    /// `unitPrice`
    pub json_name: Box<str>,
    /// `"unit_price":`, ready to be written
    pub(crate) name_prefix: Box<[u8]>,
    /// `"unitPrice":`, ready to be written
    pub(crate) json_prefix: Box<[u8]>,
    /// Field number.
    pub number: u32,
    /// What one value is.
    pub kind: Kind,
    /// How many values there may be.
    pub cardinality: Cardinality,
    /// Index of the oneof it belongs to; synthetic ones do not count.
    pub oneof: Option<u16>,
}

impl Field {
    /// The tag that precedes one (unpacked) value.
    #[must_use]
    pub fn tag(&self) -> u32 {
        self.number << 3 | self.kind.wire_type()
    }
}

/// How many values a field may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cardinality {
    /// One, and its absence equals the default value.
    Implicit,
    /// One, and its absence is told from the default value.
    Explicit,
    /// Any number.
    Repeated,
    /// Any number, by key; the field's kind is the entry message with key 1 and value 2.
    Map,
}

/// What one value of a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the scalar types of the protobuf language, by their own names")]
pub enum Kind {
    Double,
    Float,
    Int64,
    Uint64,
    Int32,
    Fixed64,
    Fixed32,
    Bool,
    String,
    Bytes,
    Uint32,
    Sfixed32,
    Sfixed64,
    Sint32,
    Sint64,
    Enum(EnumId),
    Message(MessageId),
}

impl Kind {
    /// The wire type of one unpacked value.
    #[must_use]
    pub const fn wire_type(self) -> u32 {
        match self {
            Self::Int64 | Self::Uint64 | Self::Int32 | Self::Bool | Self::Uint32 | Self::Sint32 | Self::Sint64 | Self::Enum(_) => 0,
            Self::Double | Self::Fixed64 | Self::Sfixed64 => 1,
            Self::String | Self::Bytes | Self::Message(_) => 2,
            Self::Float | Self::Fixed32 | Self::Sfixed32 => 5,
        }
    }

    /// Whether repeated values may share one length-delimited field.
    #[must_use]
    pub const fn is_packable(self) -> bool {
        self.wire_type() != 2
    }

    /// The name in the protobuf language.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Double => "double",
            Self::Float => "float",
            Self::Int64 => "int64",
            Self::Uint64 => "uint64",
            Self::Int32 => "int32",
            Self::Fixed64 => "fixed64",
            Self::Fixed32 => "fixed32",
            Self::Bool => "bool",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Uint32 => "uint32",
            Self::Sfixed32 => "sfixed32",
            Self::Sfixed64 => "sfixed64",
            Self::Sint32 => "sint32",
            Self::Sint64 => "sint64",
            Self::Enum(_) => "an enum value",
            Self::Message(_) => "an object",
        }
    }
}

/// One enum type.
#[derive(Debug)]
pub struct Enum {
    /// `shop.v1.Status`
    pub name: String,
    /// Names and numbers, sorted by name.
    pub(crate) by_name: Vec<(Box<str>, i32)>,
    /// Numbers with the first name that has them, sorted by number.
    pub(crate) by_number: Vec<(i32, Box<str>)>,
    /// `google.protobuf.NullValue`, which is `null` in JSON.
    pub(crate) is_null_value: bool,
}

impl Enum {
    /// The number of a value's name.
    #[must_use]
    pub fn number_of(&self, name: &str) -> Option<i32> {
        let at = self.by_name.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        self.by_name.get(at).map(|(_, number)| *number)
    }

    /// The (first) name of a number.
    #[must_use]
    pub fn name_of(&self, number: i32) -> Option<&str> {
        let at = self.by_number.binary_search_by(|(known, _)| known.cmp(&number)).ok()?;
        self.by_number.get(at).map(|(_, name)| &**name)
    }
}

/// One method of a service, with its HTTP rules.
#[derive(Debug)]
pub struct Method {
    /// `shop.v1.Orders`
    pub service: Box<str>,
    /// `CreateOrder`
    pub name: Box<str>,
    /// `/shop.v1.Orders/CreateOrder`
    pub grpc_path: Box<str>,
    /// The request type.
    pub input: MessageId,
    /// The response type.
    pub output: MessageId,
    /// The request is a stream.
    pub client_streaming: bool,
    /// The response is a stream.
    pub server_streaming: bool,
    /// `google.api.http` and its `additional_bindings`, in order.
    pub rules: Vec<HttpRule>,
}

/// One `google.api.HttpRule`, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpRule {
    /// `GET`, `POST`, …; any word for a custom pattern, `*` for any.
    pub http_method: String,
    /// `/v1/{name=shelves/*}/books`
    pub template: String,
    /// Empty (no body), `*`, or a field of the request.
    pub body: String,
    /// Empty (the whole response) or a field of the response.
    pub response_body: String,
}
