//! A page as a browser shows it.

#[allow(dead_code, reason = "each test takes what it needs")]
use super::common;

use onebasin_testkit::{Look, browser_or_skip};

/// A look at `page` that holds whatever is held in every window.
fn sound(look: &Look, figures: usize) {
    assert!(look.console.is_empty(), "{:?}", look.console);
    assert!(look.requests.is_empty(), "{:?}", look.requests);
    assert!(look.overflow <= 0.0, "{} pixels stick out of {}", look.overflow, look.width);
    assert!(look.smallest_text >= 9.0, "{} pixels: {}", look.smallest_text, look.smallest_text_is);
    assert!(look.lowest_contrast >= 4.5, "{}: {}", look.lowest_contrast, look.lowest_contrast_is);
    assert!(look.cut_off.is_empty(), "{:?}", look.cut_off);
    assert!(look.colliding.is_empty(), "{:?}", look.colliding);
    assert_eq!(look.figures.len(), figures);
    for figure in &look.figures {
        let seen = figure.width > 200.0 && figure.height > 80.0 && figure.marks > 0;
        assert!(seen, "{figure:?}");
    }
}

#[test]
fn a_page_is_sound_wide_and_narrow_light_and_dark() {
    let Some(browser) = browser_or_skip("a_page_is_sound_wide_and_narrow_light_and_dark") else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let page = folder.path().join("page.html");
    std::fs::write(&page, common::page().html()).expect("room");
    let panels = common::page().sections.iter().flat_map(|s| &s.figures).map(|f| f.panels.len()).sum();
    let kept = std::env::var_os("ONEBASIN_LOOK").map(std::path::PathBuf::from);
    for width in [1200, 768, 360] {
        for dark in [false, true] {
            if let Some(folder) = &kept {
                let scheme = if dark { "dark" } else { "light" };
                browser.screenshot(&page, width, dark, &folder.join(format!("page-{width}-{scheme}.png")));
            }
            let look = browser.look(&page, width, dark);
            assert_eq!((look.width, look.dark), (f64::from(width), dark));
            sound(&look, panels);
        }
    }
}
