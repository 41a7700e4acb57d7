//! Names, patterns, arguments and coverage.

use merge_base::Code;

/// A name that stands for nothing here.
pub const UNKNOWN_NAME: Code = Code("E1001");
/// Two things of one name in one scope.
pub const DEFINED_TWICE: Code = Code("E1002");
/// A name is used above its own `let`, or inside it.
pub const USED_TOO_EARLY: Code = Code("E1003");
/// A function uses a variable of the recipe's top level.
pub const NOT_SEEN_IN_FUNCTION: Code = Code("E1004");
/// A function calls itself, perhaps through others.
pub const RECURSION: Code = Code("E1005");
/// A type that does not exist, or has dims where it takes none.
pub const UNKNOWN_TYPE: Code = Code("E1006");
/// A function where a value is wanted, or a value where a function is.
pub const NOT_A_VALUE: Code = Code("E1007");
/// `as` with something other than `weight`, `delta` or `affine`.
pub const UNKNOWN_ROLE: Code = Code("E1008");
/// `whole` before something that is not a call.
pub const WHOLE_WITHOUT_CALL: Code = Code("E1009");
/// A pattern that cannot be read.
pub const BAD_PATTERN: Code = Code("E1010");
/// A hole of a string that cannot be read.
pub const BAD_HOLE: Code = Code("E1011");
/// A wildcard in the name of a tensor that a block gives.
pub const WILDCARD_IN_NAME: Code = Code("E1012");
/// A variable that nothing uses.
pub const UNUSED: Code = Code("W1020");

/// A library or file that cannot be found.
pub const UNKNOWN_MODULE: Code = Code("E1101");
/// A library has no function of that name.
pub const NOT_IN_MODULE: Code = Code("E1102");
/// A function that stays in its file.
pub const PRIVATE: Code = Code("E1103");

/// An argument that the function does not have.
pub const UNKNOWN_ARGUMENT: Code = Code("E1201");
/// One argument given twice.
pub const ARGUMENT_TWICE: Code = Code("E1202");
/// More arguments than the function has.
pub const TOO_MANY_ARGUMENTS: Code = Code("E1203");
/// An argument without a default is missing.
pub const MISSING_ARGUMENT: Code = Code("E1204");
/// An argument that must have its name in front of it.
pub const ARGUMENT_WANTS_NAME: Code = Code("E1205");
/// A word that the argument does not take.
pub const UNKNOWN_WORD: Code = Code("E1206");

/// `_` stands before other rules.
pub const REST_NOT_LAST: Code = Code("E1301");
/// A rule matches no tensor.
pub const MATCHES_NOTHING: Code = Code("E1302");
/// Rules above a rule take all that it matches.
pub const NEVER_REACHED: Code = Code("E1303");
/// No rule covers a tensor.
pub const NOT_COVERED: Code = Code("E1304");
/// A name fits a pattern in two ways.
pub const AMBIGUOUS_CAPTURE: Code = Code("E1305");

/// A primitive that this version does not have yet.
pub const PRIMITIVE_LATER: Code = Code("E1901");

/// Every code of this file.
pub const ALL: &[Code] = &[
    UNKNOWN_NAME,
    DEFINED_TWICE,
    USED_TOO_EARLY,
    NOT_SEEN_IN_FUNCTION,
    RECURSION,
    UNKNOWN_TYPE,
    NOT_A_VALUE,
    UNKNOWN_ROLE,
    WHOLE_WITHOUT_CALL,
    BAD_PATTERN,
    BAD_HOLE,
    WILDCARD_IN_NAME,
    UNUSED,
    UNKNOWN_MODULE,
    NOT_IN_MODULE,
    PRIVATE,
    UNKNOWN_ARGUMENT,
    ARGUMENT_TWICE,
    TOO_MANY_ARGUMENTS,
    MISSING_ARGUMENT,
    ARGUMENT_WANTS_NAME,
    UNKNOWN_WORD,
    REST_NOT_LAST,
    MATCHES_NOTHING,
    NEVER_REACHED,
    NOT_COVERED,
    AMBIGUOUS_CAPTURE,
    PRIMITIVE_LATER,
];
