//! What the syntax of our parser has and RE2 has not, or reads as something else: refused by name, before a proxy
//! refuses a whole table for it or matches what nobody meant.

use regex_syntax::ast::{
    self, AssertionKind, Ast, ClassSetBinaryOp, ClassSetItem, ClassUnicodeKind, Flag, Flags, FlagsItemKind, GroupKind, HexLiteralKind,
    LiteralKind, RepetitionKind, RepetitionRange, Span, Visitor,
};

/// Times that RE2 repeats something, at most (`kMaxRepeat`).
const REPEAT_MAX: u32 = 1000;

/// The general categories by the names that RE2 knows; it knows no long names and no properties.
const CATEGORIES: [&str; 37] = [
    "Any", "C", "Cc", "Cf", "Co", "Cs", "L", "Ll", "Lm", "Lo", "Lt", "Lu", "M", "Mc", "Me", "Mn", "N", "Nd", "Nl", "No", "P", "Pc", "Pd",
    "Pe", "Pf", "Pi", "Po", "Ps", "S", "Sc", "Sk", "Sm", "So", "Z", "Zl", "Zp", "Zs",
];

/// Scripts of four letters; every other name of four letters is a code of a script, and RE2 knows no codes.
const SHORT_SCRIPTS: [&str; 7] = ["Ahom", "Cham", "Kawi", "Lisu", "Modi", "Thai", "Toto"];

/// Whether RE2 reads `pattern`, which was parsed to `ast`, and as the same.
///
/// # Errors
/// The part that it does not, in words for the one who wrote it.
pub(super) fn check(pattern: &str, ast: &Ast) -> Result<(), String> {
    ast::visit(ast, Judge { pattern })
}

struct Judge<'p> {
    pattern: &'p str,
}

impl Visitor for Judge<'_> {
    type Output = ();
    type Err = String;

    fn finish(self) -> Result<(), String> {
        Ok(())
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), String> {
        match ast {
            Ast::Flags(set) => self.flags(&set.span, &set.flags),
            Ast::Literal(literal) => self.literal(literal),
            Ast::Assertion(assertion) => self.assertion(assertion),
            Ast::ClassUnicode(class) => self.unicode(class),
            Ast::Repetition(repetition) => self.repetition(repetition),
            Ast::Group(group) => self.group(group),
            Ast::Empty(_) | Ast::Dot(_) | Ast::ClassPerl(_) | Ast::ClassBracketed(_) | Ast::Alternation(_) | Ast::Concat(_) => Ok(()),
        }
    }

    fn visit_class_set_item_pre(&mut self, item: &ClassSetItem) -> Result<(), String> {
        match item {
            ClassSetItem::Literal(literal) => self.literal(literal),
            ClassSetItem::Range(range) => self.literal(&range.start).and_then(|()| self.literal(&range.end)),
            ClassSetItem::Unicode(class) => self.unicode(class),
            ClassSetItem::Bracketed(class) => Err(self.unknown(&class.span, "a class within a class")),
            ClassSetItem::Empty(_) | ClassSetItem::Ascii(_) | ClassSetItem::Perl(_) | ClassSetItem::Union(_) => Ok(()),
        }
    }

    fn visit_class_set_binary_op_pre(&mut self, operation: &ClassSetBinaryOp) -> Result<(), String> {
        Err(self.unknown(&operation.span, "a set operation in a class"))
    }
}

impl Judge<'_> {
    fn unknown(&self, span: &Span, what: &str) -> String {
        let part = self.pattern.get(span.start.offset..span.end.offset).unwrap_or_default();
        format!("has {what}, `{}`, which RE2 does not know", part.replace(char::is_control, "\u{fffd}"))
    }

    fn flags(&self, span: &Span, flags: &Flags) -> Result<(), String> {
        let foreign = flags.items.iter().any(|item| match &item.kind {
            FlagsItemKind::Flag(Flag::Unicode | Flag::CRLF | Flag::IgnoreWhitespace) => true,
            FlagsItemKind::Flag(Flag::CaseInsensitive | Flag::MultiLine | Flag::DotMatchesNewLine | Flag::SwapGreed)
            | FlagsItemKind::Negation => false,
        });
        if foreign { Err(self.unknown(span, "a flag besides i, m, s and U")) } else { Ok(()) }
    }

    fn literal(&self, literal: &ast::Literal) -> Result<(), String> {
        match &literal.kind {
            LiteralKind::HexFixed(HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong)
            | LiteralKind::HexBrace(HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong) => {
                Err(self.unknown(&literal.span, "an escape besides `\\x`"))
            }
            LiteralKind::HexFixed(HexLiteralKind::X)
            | LiteralKind::HexBrace(HexLiteralKind::X)
            | LiteralKind::Verbatim
            | LiteralKind::Meta
            | LiteralKind::Superfluous
            | LiteralKind::Octal
            | LiteralKind::Special(_) => Ok(()),
        }
    }

    fn assertion(&self, assertion: &ast::Assertion) -> Result<(), String> {
        match assertion.kind {
            AssertionKind::WordBoundaryStart
            | AssertionKind::WordBoundaryEnd
            | AssertionKind::WordBoundaryStartAngle
            | AssertionKind::WordBoundaryEndAngle
            | AssertionKind::WordBoundaryStartHalf
            | AssertionKind::WordBoundaryEndHalf => Err(self.unknown(&assertion.span, "a word boundary besides `\\b` and `\\B`")),
            AssertionKind::StartLine
            | AssertionKind::EndLine
            | AssertionKind::StartText
            | AssertionKind::EndText
            | AssertionKind::WordBoundary
            | AssertionKind::NotWordBoundary => Ok(()),
        }
    }

    fn unicode(&self, class: &ast::ClassUnicode) -> Result<(), String> {
        let known = match &class.kind {
            ClassUnicodeKind::OneLetter(letter) => CATEGORIES.contains(&letter.to_string().as_str()),
            ClassUnicodeKind::Named(name) => CATEGORIES.contains(&name.as_str()) || is_script(name),
            ClassUnicodeKind::NamedValue { .. } => false,
        };
        if known { Ok(()) } else { Err(self.unknown(&class.span, "a class besides general categories and scripts")) }
    }

    fn repetition(&self, repetition: &ast::Repetition) -> Result<(), String> {
        if matches!(*repetition.ast, Ast::Repetition(_)) {
            return Err(self.unknown(&repetition.span, "a repetition of a repetition"));
        }
        let RepetitionKind::Range(range) = &repetition.op.kind else { return Ok(()) };
        let (RepetitionRange::Exactly(most) | RepetitionRange::AtLeast(most) | RepetitionRange::Bounded(_, most)) = range;
        if *most > REPEAT_MAX { Err(self.unknown(&repetition.op.span, "a repetition of more than 1000 times")) } else { Ok(()) }
    }

    fn group(&self, group: &ast::Group) -> Result<(), String> {
        match &group.kind {
            GroupKind::CaptureName { name, .. } if !name.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') => {
                Err(self.unknown(&name.span, "a name besides letters, digits and `_`"))
            }
            GroupKind::NonCapturing(flags) => self.flags(&flags.span, flags),
            GroupKind::CaptureIndex(_) | GroupKind::CaptureName { .. } => Ok(()),
        }
    }
}

/// A script by its full name, as RE2 spells it. Our parser is less strict, and knows which names are scripts at all.
fn is_script(name: &str) -> bool {
    let part = |part: &str| part.starts_with(|c: char| c.is_ascii_uppercase()) && part.bytes().all(|b| b.is_ascii_alphabetic());
    let code = name.len() == 4 && !SHORT_SCRIPTS.contains(&name);
    name.split('_').all(part) && !code && regex_syntax::parse(&format!(r"\p{{Script={name}}}")).is_ok()
}
