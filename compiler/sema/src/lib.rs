//! Names, types, shapes, degrees: from AST to tensor IR.
