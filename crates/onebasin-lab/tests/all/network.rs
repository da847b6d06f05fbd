//! A network as a page.

use onebasin::core::graph::{Graph, Op, op::Binary};
use onebasin::{Model, Overview, Params, SymmetrySpec, Tensor};
use onebasin_lab::page::network;
use onebasin_testkit::browser_or_skip;

fn zeros(shape: &[usize]) -> Tensor {
    Tensor::from_f32(shape, vec![0.0; shape.iter().product()]).unwrap()
}

/// A residual network of `blocks` equal blocks.
fn residual(blocks: usize) -> Overview {
    let mut g = Graph::new();
    let x = g.input("x", &[1, 5]).unwrap();
    let mut h = g.linear("stem", x, 8).unwrap();
    for k in 0..blocks {
        let up = g.linear(&format!("blocks.{k}.up"), h, 6).unwrap();
        let up = g.relu(up).unwrap();
        let down = g.linear(&format!("blocks.{k}.down"), up, 8).unwrap();
        h = g.push(&format!("add{k}"), Op::Binary(Binary::Add), &[h, down]).unwrap();
    }
    let y = g.linear("head", h, 3).unwrap();
    g.output(y);
    let params: Params = g.params().map(|p| (p.name.clone(), zeros(&p.shape))).collect();
    Overview::of(&Model::with_graph("net", params, g).unwrap()).unwrap()
}

/// Names that are markup, turn the direction of writing, and have no place to be broken; terms of every kind.
fn hostile() -> Overview {
    let evil = "</style><script>alert(1)</script>\" onfocus=\"alert(2)\u{202e}&amp;";
    let long = "a_very_long_name_without_a_place_to_break_it".repeat(6);
    let tensors = [
        (evil, "h (b[0:2] + 3 + b[2:4])", vec![4, 7]),
        (long.as_str(), "(heads qk@heads) . 1", vec![12, 3, 1]),
        ("", "(h 2 + 1)", vec![9]),
        ("scalar", "", vec![]),
    ];
    let params: Params = tensors.iter().map(|(name, _, shape)| ((*name).to_owned(), zeros(shape))).collect();
    let mut spec = SymmetrySpec::from_patterns(tensors.iter().map(|(name, pattern, _)| (*name, *pattern))).unwrap();
    spec.sizes.insert("heads".to_owned(), 4);
    Overview::of(&Model::with_symmetry("net", params, spec)).unwrap()
}

#[test]
fn a_page_says_in_words_what_it_draws() {
    let html = network("net", &residual(32), &[("sha256".to_owned(), "0".repeat(64))]);
    assert!(html.contains("200 units in 33 groups may be exchanged"), "8 + 32 · 6");
    assert!(html.contains("<b>blocks.{0..31}.up</b> 32 groups × 6 units = 192"));
    assert!(html.contains("<b>× 32</b> <code>blocks.{0..31}</code>, 2 layers each"));
    assert!(html.contains("<summary>All 32 by name</summary>") && html.contains("<b>blocks.17.down.weight</b> [8, 6]"));
    assert!(html.contains("<b>axis 1</b>: 5 places stay: an input of the network <small>(axis 1 of `x`)</small>"));
    assert!(html.contains("<td class=\"long\">an output of the network</td><td class=\"right\">2</td>"));
    assert_eq!(html.matches("tabindex=\"0\"").count(), html.matches("class=\"tip\"").count() + 1, "and the table");
    assert_eq!(html, network("net", &residual(32), &[("sha256".to_owned(), "0".repeat(64))]));
}

#[test]
fn no_name_is_obeyed() {
    let html = network("<i>net</i>", &hostile(), &[("<b>".to_owned(), "</dd>".to_owned())]);
    for tag in ["<script", "<i>net", "<b></dt>", " onfocus=\"", "\u{202e}"] {
        assert!(!html.contains(tag), "{tag}");
    }
    assert_eq!(html.matches("</style>").count(), 1);
    assert!(html.contains("&lt;/style&gt;&lt;script&gt;") && html.contains("\\u{202e}&amp;amp;"));
}

#[test]
fn a_long_network_that_does_not_repeat_is_a_page_of_bounded_size() {
    let params: Params = (0..2000).map(|k| (format!("t{k}"), zeros(&[2 + k % 7, 3]))).collect();
    let patterns: Vec<(String, String)> = (0..2000).map(|k| (format!("t{k}"), format!("g{k} ."))).collect();
    let spec = SymmetrySpec::from_patterns(patterns.iter().map(|(n, p)| (n.as_str(), p.as_str()))).unwrap();
    let seen = Overview::of(&Model::with_symmetry("net", params, spec)).unwrap();
    let html = network("net", &seen, &[]);
    assert!(html.len() < 2000 * 1000, "{} bytes", html.len());
}

#[test]
fn a_network_is_sound_wide_and_narrow_light_and_dark() {
    let Some(browser) = browser_or_skip("a_network_is_sound_wide_and_narrow_light_and_dark") else { return };
    let folder = tempfile::tempdir().unwrap();
    let kept = std::env::var_os("ONEBASIN_LOOK").map(std::path::PathBuf::from);
    for (name, seen) in [("residual", residual(3)), ("hostile", hostile())] {
        let page = folder.path().join(format!("{name}.html"));
        std::fs::write(&page, network(name, &seen, &[("sha256".to_owned(), "0".repeat(64))])).unwrap();
        for width in [1400, 800, 360] {
            for dark in [false, true] {
                if let Some(folder) = &kept {
                    let scheme = if dark { "dark" } else { "light" };
                    browser.screenshot(
                        &page,
                        width,
                        dark,
                        &folder.join(format!("network-{name}-{width}-{scheme}.png")),
                    );
                }
                let look = browser.look(&page, width, dark);
                assert!(look.console.is_empty() && look.requests.is_empty(), "{look:?}");
                assert!(look.overflow <= 0.0, "{name}: {} pixels stick out of {width}", look.overflow);
                assert!(look.smallest_text >= 12.0, "{} pixels: {}", look.smallest_text, look.smallest_text_is);
                assert!(look.lowest_contrast >= 4.5, "{}: {}", look.lowest_contrast, look.lowest_contrast_is);
            }
        }
    }
}
