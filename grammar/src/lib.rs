//! The surface syntax of Merge: lexer, parser, AST and printer.
