//! Types, shapes and static values.

use merge_base::Code;

/// A value of one kind stands where another is wanted.
pub const WRONG_KIND: Code = Code("E2001");
/// Arguments of a primitive that do not go together.
pub const WRONG_ARGUMENTS: Code = Code("E2002");
/// Tensor shapes do not agree.
pub const SHAPES_DISAGREE: Code = Code("E2003");
/// A tensor has not the shape that a type, a rule or a file demands.
pub const WRONG_SHAPE: Code = Code("E2004");
/// An index or slice lies outside.
pub const OUT_OF_RANGE: Code = Code("E2005");
/// Int division with a rest, division by zero, overflow.
pub const INT_ARITHMETIC: Code = Code("E2006");
/// A value that is known only when the recipe runs decides something that must be known before.
pub const NOT_STATIC: Code = Code("E2007");
/// A number outside the range that a parameter or setting allows.
pub const OUTSIDE_RANGE: Code = Code("E2008");
/// A `requires` does not hold.
pub const REQUIRES_FAILED: Code = Code("E2009");
/// Arithmetic on a tensor of ints or bools.
pub const BUFFER_ARITHMETIC: Code = Code("E2010");
/// `whole` before something that is no call over models.
pub const WHOLE_MISUSED: Code = Code("E2011");

/// Every code of this file.
pub const ALL: &[Code] = &[
    WRONG_KIND,
    WRONG_ARGUMENTS,
    SHAPES_DISAGREE,
    WRONG_SHAPE,
    OUT_OF_RANGE,
    INT_ARITHMETIC,
    NOT_STATIC,
    OUTSIDE_RANGE,
    REQUIRES_FAILED,
    BUFFER_ARITHMETIC,
    WHOLE_MISUSED,
];
