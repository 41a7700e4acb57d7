//! The codes of this crate: everything that can be wrong with a text before its names are looked at.

use merge_base::Code;

/// A character that means nothing in Merge.
pub const BAD_CHARACTER: Code = Code("E0001");
/// A token that cannot stand where it stands.
pub const UNEXPECTED: Code = Code("E0002");
/// A string without its closing quote.
pub const UNTERMINATED_STRING: Code = Code("E0003");
/// A `\` in a string with something behind it that is no escape.
pub const BAD_ESCAPE: Code = Code("E0004");
/// A number that cannot be read or is too large.
pub const BAD_NUMBER: Code = Code("E0005");
/// A bracket that is never closed.
pub const UNCLOSED: Code = Code("E0006");
/// A closing bracket without its opening one, or of another kind.
pub const MISMATCHED: Code = Code("E0007");
/// `a -b`: a minus that looks like a sign but stands between two operands.
pub const SIGN: Code = Code("E0008");
/// `f (x)`: a space before a bracket that calls or indexes.
pub const SPACE_BEFORE_BRACKET: Code = Code("E0009");
/// A word of the language where a name is needed.
pub const RESERVED: Code = Code("E0010");
/// Brackets or operators nested beyond what the compiler follows.
pub const TOO_DEEP: Code = Code("E0011");
/// Text at the top level that starts no item.
pub const ITEM_EXPECTED: Code = Code("E0012");
/// A comment of another language.
pub const FOREIGN_COMMENT: Code = Code("E0013");
/// A `;` or `,` where nothing separates.
pub const SEPARATOR: Code = Code("E0014");
/// `=` or `->` where a rule or an arm has `=>`.
pub const ARROW: Code = Code("E0015");
/// An operator of another language.
pub const FOREIGN_OPERATOR: Code = Code("E0016");
/// A block that ends without a value.
pub const NO_VALUE: Code = Code("E0017");
/// A value in the middle of a block, used by nothing.
pub const UNUSED_VALUE: Code = Code("E0018");
/// An `if` without an `else`.
pub const NO_ELSE: Code = Code("E0019");
/// A statement behind the rules of a model.
pub const STATEMENT_AFTER_RULE: Code = Code("E0020");

/// Every code of this crate.
pub const ALL: &[Code] = &[
    BAD_CHARACTER,
    UNEXPECTED,
    UNTERMINATED_STRING,
    BAD_ESCAPE,
    BAD_NUMBER,
    UNCLOSED,
    MISMATCHED,
    SIGN,
    SPACE_BEFORE_BRACKET,
    RESERVED,
    TOO_DEEP,
    ITEM_EXPECTED,
    FOREIGN_COMMENT,
    SEPARATOR,
    ARROW,
    FOREIGN_OPERATOR,
    NO_VALUE,
    UNUSED_VALUE,
    NO_ELSE,
    STATEMENT_AFTER_RULE,
];
