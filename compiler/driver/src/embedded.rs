//! Texts that are part of the compiler: the standard library and the pages of the diagnostics.

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// The standard library's files: module name below `std` and text.
pub fn library() -> &'static [(&'static str, &'static str)] {
    LIBRARY
}

/// Every page of `docs/errors`: code and Markdown.
pub fn error_pages() -> &'static [(&'static str, &'static str)] {
    ERROR_PAGES
}

/// The page of one diagnostic, by code in any case.
pub fn error_page(code: &str) -> Option<&'static str> {
    ERROR_PAGES.iter().find(|(c, _)| c.eq_ignore_ascii_case(code)).map(|(_, page)| *page)
}
