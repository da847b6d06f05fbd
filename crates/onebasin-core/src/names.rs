//! Names from files, as they are shown.

use std::borrow::Cow;
use std::fmt::Write;

/// A name from a file as it can be shown on a terminal and in one line: characters that move the cursor, change colours, end
/// lines, or turn the direction of writing, are written as escapes.
///
/// ```
/// use onebasin_core::escaped;
/// assert_eq!(escaped("fc1.weight"), "fc1.weight");
/// assert_eq!(escaped("a\nb\u{1b}[31m"), r"a\nb\u{1b}[31m");
/// ```
pub fn escaped(name: &str) -> Cow<'_, str> {
    if !name.contains(hides) {
        return Cow::Borrowed(name);
    }
    let mut shown = String::new();
    for c in name.chars() {
        if hides(c) {
            write!(shown, "{}", c.escape_default()).expect("a String takes all that is written");
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// Whether a character is not shown as itself: controls, line ends, and marks of the direction of writing.
fn hides(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}
