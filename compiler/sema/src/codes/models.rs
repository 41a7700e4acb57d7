//! Models, rules, files, settings and `save`.

use merge_base::Code;

/// Models that meet in one expression have different tensors.
pub const NAMES_DISAGREE: Code = Code("E3001");
/// A model has no tensor of a name.
pub const NO_SUCH_TENSOR: Code = Code("E3002");
/// A checkpoint cannot be opened.
pub const CANNOT_OPEN: Code = Code("E3003");
/// A file holds weights, deltas or statistics, and the recipe says otherwise.
pub const WRONG_ROLE: Code = Code("E3004");
/// A rule of `like` gives what only `from` may give.
pub const LIKE_GIVES_NAMES: Code = Code("E3005");
/// One name is given twice.
pub const NAME_TWICE: Code = Code("E3006");
/// A model without tensors.
pub const EMPTY_MODEL: Code = Code("E3007");
/// A setting that cannot have the value it is given: its default, `--set`, or a name the recipe does not know.
pub const BAD_ANSWER: Code = Code("E3101");
/// A decision without a default that nothing answers, in a recipe that is run.
pub const OPEN_DECISION: Code = Code("E3102");
/// A key behind `per` that has no text.
pub const BAD_KEY: Code = Code("E3103");
/// Something that cannot be saved.
pub const CANNOT_SAVE: Code = Code("E3201");
/// A key of `save { … }` that does not exist, or a value it cannot have.
pub const BAD_SAVE_SETTING: Code = Code("E3202");
/// Two `save`s write to one path.
pub const SAVED_TWICE: Code = Code("E3203");
/// Weights and deltas are mixed in one file.
pub const MIXED_ROLES: Code = Code("E3204");

/// Every code of this file.
pub const ALL: &[Code] = &[
    NAMES_DISAGREE,
    NO_SUCH_TENSOR,
    CANNOT_OPEN,
    WRONG_ROLE,
    LIKE_GIVES_NAMES,
    NAME_TWICE,
    EMPTY_MODEL,
    BAD_ANSWER,
    OPEN_DECISION,
    BAD_KEY,
    CANNOT_SAVE,
    BAD_SAVE_SETTING,
    SAVED_TWICE,
    MIXED_ROLES,
];
