//! The rules of a schema (`x-kubernetes-validations`), in the Common Expression Language, as Kubernetes evaluates them.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, LazyLock, OnceLock};

use cel::common::types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cel::extractors::This;
use cel::{Context, Env, Program, extensions};
use regex::Regex;
use serde_json::Value;

use super::{Additional, Schema};

/// One rule; `self` in it is the value of the place it stands at.
#[derive(Debug)]
pub struct Rule {
    /// The expression, as published.
    pub expression: Box<str>,
    /// What is wrong when it is false.
    pub message: Box<str>,
    program: OnceLock<Option<Program>>,
}

/// What a rule says of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Holds,
    /// It does not, or it could not be evaluated with this value, which Kubernetes refuses too.
    Broken,
    /// It compares with an earlier version of the object, which a single object does not have.
    NeedsEarlierObject,
    /// The expression itself cannot be run; a test lists all such rules.
    CannotRun,
}

/// A value as rules see it: made once for all rules of its place, and borrowed by each.
pub struct Subject<'v>(Box<dyn Val + 'v>);

impl<'v> Subject<'v> {
    /// `value`, which `schema` describes.
    #[must_use]
    pub fn new(schema: &Schema, value: &'v Value) -> Self {
        Self(to_cel(schema, value))
    }
}

impl std::fmt::Debug for Subject<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // It may hold a secret.
        f.write_str("Subject")
    }
}

impl VariableResolver for Subject<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        (variable == "self").then(|| CowVal::Borrowed(&*self.0))
    }
}

/// Functions of Kubernetes that the language does not have, in words that we registered.
const TRANSLATED: [(&str, &str); 2] = [
    ("!format.dns1123Subdomain().validate(self.split('/')[0]).hasValue()", "isDns1123Subdomain(self.split('/')[0])"),
    // The library's own compiles the expression at each call.
    (".matches(", ".matchesRegex("),
];

static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    let strings = env.add_extension(extensions::strings);
    debug_assert!(strings.is_ok(), "the strings extension declares nothing twice");
    Arc::new(env)
});

thread_local! {
    static FUNCTIONS: Context<'static, 'static> = functions();
    static REGEXES: RefCell<HashMap<Arc<String>, Option<Regex>>> = RefCell::new(HashMap::new());
}

/// Compiled expressions kept per thread. They come from schemas, which are few; the limit is against a schema to come.
const REGEXES_MAX: usize = 256;

impl Rule {
    pub(crate) fn new(expression: &str, message: Option<&str>) -> Self {
        let message = message.map_or_else(|| format!("must satisfy {expression}"), str::to_owned);
        Self { expression: expression.into(), message: message.into(), program: OnceLock::new() }
    }

    /// Judges a value.
    #[must_use]
    pub fn judge(&self, subject: &Subject<'_>) -> Verdict {
        if self.expression.contains("oldSelf") {
            return Verdict::NeedsEarlierObject;
        }
        let Some(program) = self.program.get_or_init(|| compile(&self.expression)) else { return Verdict::CannotRun };
        FUNCTIONS.with(|functions| if holds(program, functions, subject) { Verdict::Holds } else { Verdict::Broken })
    }

    /// Whether the expression can be run at all.
    #[must_use]
    pub fn compiles(&self) -> bool {
        self.program.get_or_init(|| compile(&self.expression)).is_some()
    }
}

fn holds<'v>(program: &Program, functions: &Context<'_, 'v>, subject: &'v Subject<'v>) -> bool {
    let mut scope = functions.new_inner_scope();
    scope.set_variable_resolver(subject);
    program.execute(&scope) == Ok(cel::Value::Bool(true))
}

fn compile(expression: &str) -> Option<Program> {
    let translated = TRANSLATED.iter().fold(expression.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours));
    ENVIRONMENT.compile(&translated).ok()
}

fn functions() -> Context<'static, 'static> {
    let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
    let added = [
        context.add_function("isIP", |text: Arc<String>| text.parse::<IpAddr>().is_ok()),
        context.add_function("isDns1123Subdomain", |text: Arc<String>| crate::name::is_subdomain(&text)),
        context.add_function("matchesRegex", |This(text): This<Arc<String>>, pattern: Arc<String>| matches_regex(&text, pattern)),
        context.add_function("duration", |text: Arc<String>| milliseconds(&text)),
    ];
    debug_assert!(added.iter().all(Result::is_ok), "no function has a name of the standard library");
    context
}

fn matches_regex(text: &str, pattern: Arc<String>) -> bool {
    REGEXES.with_borrow_mut(|regexes| {
        if regexes.len() >= REGEXES_MAX {
            regexes.clear();
        }
        let regex = regexes.entry(pattern).or_insert_with_key(|pattern| Regex::new(pattern).ok());
        regex.as_ref().is_some_and(|regex| regex.is_match(text))
    })
}

/// The schema's pattern has checked the text already; anything else is longer than all times.
fn milliseconds(text: &str) -> i64 {
    windrose_vocab::quantity::parse_duration(text).and_then(|time| i64::try_from(time.as_millis()).ok()).unwrap_or(i64::MAX)
}

/// The value as the language sees it: members that are named in the schema have their names escaped, keys of free mappings do not.
fn to_cel<'v>(schema: &Schema, value: &'v Value) -> Box<dyn Val + 'v> {
    match value {
        Value::Null => Box::new(CelNull),
        Value::Bool(value) => Box::new(CelBool::from(*value)),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Box::new(CelInt::from(number)),
            (None, Some(number)) => Box::new(CelUInt::from(number)),
            (None, None) => Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN))),
        },
        Value::String(text) => Box::new(CelString::from(text.as_str())),
        Value::Array(items) => {
            let inner = schema.items.as_deref().unwrap_or(&EMPTY);
            Box::new(CelList::from(items.iter().map(|item| to_cel(inner, item)).collect::<Vec<_>>()))
        }
        Value::Object(members) => {
            let member = |(name, value): (&'v String, &'v Value)| match (schema.properties.get(name.as_str()), &schema.additional) {
                (Some(inner), _) => (escape(name), to_cel(inner, value)),
                (None, Additional::Each(inner)) => (CelMapKey::from(name.as_str()), to_cel(inner, value)),
                (None, Additional::Any | Additional::Refused) => (CelMapKey::from(name.as_str()), to_cel(&EMPTY, value)),
            };
            Box::new(CelMap::from(members.iter().map(member).collect::<HashMap<_, _>>()))
        }
    }
}

static EMPTY: LazyLock<Schema> = LazyLock::new(Schema::default);

/// Words of the language that are names of fields too, as Kubernetes escapes them.
fn escape(name: &str) -> CelMapKey<'_> {
    const RESERVED: [&str; 21] = [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ];
    if RESERVED.contains(&name) { CelMapKey::from(format!("__{name}__")) } else { CelMapKey::from(name) }
}

/// Every expression of `schema` that cannot be run, with the places where it stands.
#[must_use]
pub fn unrunnable(schema: &Schema) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    schema.for_each_rule("", &mut |path, rule| {
        if !rule.compiles() {
            found.entry(rule.expression.to_string()).or_default().push(path.to_owned());
        }
    });
    found
}
