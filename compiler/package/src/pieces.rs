//! Text that is written piece by piece, with values of settings between.

use merge_abi::{FilePiece, SettingId};

/// A text under construction.
#[derive(Default)]
pub(crate) struct Pieces {
    done: Vec<FilePiece>,
    text: String,
}

impl Pieces {
    /// Text as it stands.
    pub fn text(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// The value of a setting.
    pub fn setting(&mut self, id: SettingId) {
        self.cut();
        self.done.push(FilePiece::Setting(id));
    }

    /// What settings leave of 1.
    pub fn rest(&mut self, parts: Vec<SettingId>) {
        self.cut();
        self.done.push(FilePiece::Rest(parts));
    }

    /// All of it.
    pub fn finish(mut self) -> Vec<FilePiece> {
        self.cut();
        self.done
    }

    fn cut(&mut self) {
        if !self.text.is_empty() {
            self.done.push(FilePiece::Bytes(std::mem::take(&mut self.text).into_bytes()));
        }
    }

    /// `"key": [`, a line for each of `items`, `]`.
    pub fn list(&mut self, key: &str, items: impl IntoIterator<Item = serde_json::Value>) {
        self.text(&format!("  \"{key}\": ["));
        for (i, item) in items.into_iter().enumerate() {
            self.text(if i == 0 { "\n    " } else { ",\n    " });
            self.text(&item.to_string());
        }
        self.text("\n  ],\n");
    }

    /// `"key": value` on a line of its own.
    pub fn entry(&mut self, key: &str, value: impl Into<serde_json::Value>, last: bool) {
        self.text(&format!("  \"{key}\": {}{}\n", value.into(), if last { "" } else { "," }));
    }
}
