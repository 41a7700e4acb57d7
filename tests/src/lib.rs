//! Suites over files: recipes, diagnostics, kernels, command lines.
