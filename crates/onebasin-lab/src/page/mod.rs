//! A page: what was done and what came of it, as one HTML file that needs nothing else.
//!
//! Read in this order: the values here → `html` (values to text) → `style.css`; `network` (what a network holds) →
//! `network.css`.
//!
//! The file has its styles and figures in it, runs no script, asks for nothing over the network and forbids itself to;
//! it follows the reader's choice of light or dark, and prints. Text is text: whatever a title, a cell or a name holds, it
//! is shown and never obeyed.

mod html;
mod network;

use serde::{Deserialize, Serialize};

use crate::figure::Figure;
pub use network::network;

/// One page.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// What it is about.
    pub title: String,
    /// What a reader in a hurry should know.
    pub lead: String,
    /// In reading order; from three on the page has a table of contents.
    pub sections: Vec<Section>,
}

/// One part of a page. Everything in it may be empty; it is shown in this order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Section {
    /// Its heading.
    pub title: String,
    /// Paragraphs.
    #[serde(default)]
    pub text: Vec<String>,
    /// Numbered through the page.
    #[serde(default)]
    pub figures: Vec<Figure>,
    /// Numbered through the page.
    #[serde(default)]
    pub tables: Vec<PageTable>,
    /// `(name, value)`: commands, seeds, hardware, digests. Values are set as they are, and wrap.
    #[serde(default)]
    pub facts: Vec<(String, String)>,
}

/// A table, such as the paper's numbers beside those found here.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PageTable {
    /// What it shows.
    pub caption: String,
    /// Names of the columns.
    pub head: Vec<String>,
    /// Cells; a row may be shorter than the head.
    pub rows: Vec<Vec<String>>,
    /// One a column; columns beyond are aligned left.
    #[serde(default)]
    pub align: Vec<ColumnAlign>,
}

/// How a column of a table is aligned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnAlign {
    /// Words.
    #[default]
    Left,
    /// Numbers.
    Right,
    /// Marks.
    Centre,
}

impl Page {
    /// The page as the bytes of an HTML file; the same page gives the same bytes.
    pub fn html(&self) -> String {
        html::document(self)
    }
}
